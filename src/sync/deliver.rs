//! The second half of a cycle: each destination brought up to date with the change log.
//!
//! The order of things is the guarantee. A batch is noted in the store, durably, before its first byte leaves; a batch
//! whose answer was lost is settled before anything else is sent; the watermark moves only after an answer, and past a
//! batch that may still arrive only once its number is taken. Together with a write that cannot apply twice (the
//! destination's own affair) each row arrives exactly once.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{NaiveDate, TimeDelta, Utc};

use super::pull::Preview;
use super::{DestinationReport, Engine, Step, Watcher, outcome_of};
use crate::config;
use crate::destination::readback::Ids;
use crate::destination::{Destination, Opened, Reading, Summary};
use crate::model::{Field, id_hash};
use crate::remote::{Context, Counter, Error};
use crate::schedule;
use crate::store::{self, Attention, DestinationState};

mod backfill;
mod misplaced;
mod plan;
mod repair;
mod restore;
mod send;
mod transfers;

use plan::Plan;
pub use restore::{Left, Restored};

/// Number of times in one delivery that another writer may be first, before the delivery is put off to the next cycle.
const SUPERSEDED_AT_MOST: u32 = 8;

/// The least silence that a destination is allowed, however near the next run is.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

/// Time between the end of a delivery and the next run.
const BEFORE_NEXT_RUN: TimeDelta = TimeDelta::seconds(2);

/// Why a delivery stops: the service's failure is data, the store's is not.
enum Stop {
    Service(Error),
    Store(store::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Service(error)
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Stop {
        Stop::Store(error)
    }
}

/// The work of bringing one destination up to date.
struct Delivery<'a> {
    engine: &'a Engine,
    config: &'a config::Destination,
    target: String,
    state: DestinationState,
    report: DestinationReport,
    watcher: &'a Watcher,
    /// Hashes of ids that are there without this store having delivered them.
    existing: HashSet<u64>,
    /// Changes that were read from the log and not delivered yet.
    ahead: Option<Plan>,
    /// The last batch found rows deleted or refused.
    decided: bool,
    /// The existing ids of an older form, with the transaction that each belongs to.
    claimed: HashMap<u64, u64>,
    /// Number of times that another writer was first.
    superseded: u32,
    /// The most rows worth offering to the destination at once.
    batch_limit: usize,
    /// `Some(true)`: the place has accepted rows in this delivery after it had refused some; `None`: it has refused
    /// none.
    contrast: Option<bool>,
}

impl Engine {
    /// Brings one destination up to date.
    pub(super) async fn deliver(
        &self,
        config: &config::Destination,
        watcher: &Watcher,
    ) -> Result<DestinationReport, store::Error> {
        let mut delivery = Delivery::new(self, config, watcher)?;
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let result = delivery.run(context.clone()).await;
        delivery.report.requests = context.requests.get();
        delivery.record_result(result)
    }

    /// A cycle's delivery in a dry run: the waiting changes, and the rows of a dry pull.
    pub(super) fn preview(
        &self,
        config: &config::Destination,
        preview: &Preview,
    ) -> Result<DestinationReport, store::Error> {
        let state = self.store.destination(&config.name, &config.target())?;
        let waiting = self.waiting(config, &state)?;
        let new = preview.new.iter().filter(|transaction| config.filter.accepts(transaction)).count() as u64;
        Ok(DestinationReport {
            name: config.name.clone(),
            appended: waiting + new,
            waiting: waiting + new,
            ..DestinationReport::default()
        })
    }
}

/// Patience with one destination.
struct Patient {
    name: String,
    requests: Counter,
    longest: Duration,
}

impl Patient {
    /// Lets `work` go on for as long as the service answers. After too long a silence the request under way is given
    /// up, as if its answer were lost.
    async fn with<T>(&self, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        tokio::select! {
            done = work => done,
            () = self.requests.silence(self.longest) => Err(Error::unavailable(format!(
                "`{}`: gave no good answer for {} s, so this run ends without it; its rows wait for the next",
                self.name,
                self.longest.as_secs()
            ))
            .into()),
        }
    }
}

impl<'a> Delivery<'a> {
    /// The time that the destination may hold up this run.
    fn patient(&self, requests: &Counter) -> Patient {
        let config = &self.engine.config;
        let now = Utc::now().with_timezone(&config.timezone);
        let left = schedule::next_run(&config.schedule, now).map(|next| next - now - BEFORE_NEXT_RUN);
        // No run is late for one destination's sake.
        let left = left.map_or(Duration::MAX, |left| left.to_std().unwrap_or_default().max(SHORTEST_SILENCE));
        let longest = left.min(self.engine.backoff.silence);
        Patient { name: self.config.name.clone(), requests: requests.clone(), longest }
    }

    fn new(engine: &'a Engine, config: &'a config::Destination, watcher: &'a Watcher) -> Result<Self, store::Error> {
        let target = config.target();
        let state = engine.store.destination(&config.name, &target)?;
        let report = DestinationReport { name: config.name.clone(), ..DestinationReport::default() };
        let existing = state.foreign_ids.iter().copied().collect();
        let (claimed, ahead, decided, superseded, contrast) = (HashMap::new(), None, false, 0, None);
        Ok(Delivery {
            engine,
            config,
            target,
            state,
            report,
            watcher,
            existing,
            claimed,
            ahead,
            decided,
            superseded,
            batch_limit: 1,
            contrast,
        })
    }
}

impl Delivery<'_> {
    async fn run(&mut self, context: Context) -> Result<(), Stop> {
        self.retry_refused()?;
        self.follow_transfers().await?;
        let first = self.plan(1)?;
        let repairs = self.state.rows.is_any_to_repair() || !self.state.unverified.is_empty();
        if first.items.is_empty() && self.state.pending.is_empty() && !repairs {
            self.advance_watermark(first.examined, &first.suppressed)?;
            let now = Utc::now();
            if !self.engine.summary_due(self.config, &self.state, now)?
                && !self.engine.sheet_rules_due(self.config, &self.state, now)
            {
                return Ok(());
            }
        }
        let (memory, patient) = (self.state.connector(), self.patient(&context.requests));
        let mut destination = self.config.connect(context, &memory)?;
        let result = patient.with(self.bring_up_to_date(destination.as_mut())).await;
        self.keep_connector(destination.as_ref());
        self.save()?;
        result
    }

    async fn bring_up_to_date(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        if self.config.shows(&Field::Transfer) || self.config.shown().dashboard {
            self.engine.know_transfers().await?;
        }
        let (now, mut published) = (Utc::now(), None);
        if self.config.shown().balances {
            published = Some(self.engine.published(now)?);
        }
        let mut summary = None;
        if self.config.shown().balances || self.config.shown().dashboard {
            summary = Some(self.engine.summary(self.config, &self.state, now)?);
        }
        let ledger = self.open(destination, summary.as_ref()).await?.last_batch;
        self.settle(destination).await?;
        self.catch_up(ledger);
        // First, so that a correction of such a row finds it there.
        self.put_right(destination).await?;
        self.inventory(destination).await?;
        let total = self.engine.store.meta().last_seq.saturating_sub(self.state.watermark);
        loop {
            if self.engine.shutdown.requested() {
                return Err(Error::stopped().into());
            }
            let left = self.engine.store.meta().last_seq.saturating_sub(self.state.watermark);
            let label = format!("{}: delivering", self.config.name);
            (self.watcher)(Step { label, done: total - left, total });
            let ahead = self.next_changes(self.batch_limit)?;
            let taken = if ahead.items.is_empty() { 0 } else { self.send(destination, &ahead.items).await? };
            // The number went to another batch, so the items are planned anew.
            let superseded = !ahead.items.is_empty() && taken == 0;
            if superseded || !self.fence(destination).await? {
                self.start_over(destination).await?;
                continue;
            }
            let through = if taken == ahead.items.len() { ahead.examined } else { ahead.items[taken - 1].seq };
            self.state.set_connector(&destination.state().memory);
            self.advance_watermark(through, &ahead.suppressed)?;
            let rivals = self.superseded;
            self.rewrite_misplaced(destination).await?;
            if self.superseded > rivals {
                self.inventory(destination).await?;
                continue;
            }
            if ahead.items.is_empty() {
                break;
            }
            self.keep_ahead(ahead, taken);
        }
        self.state.needs_inventory = false;
        self.keep_foreign_ids()?;
        self.save()?;
        let read = self.read_own_rules(destination).await;
        if let Some(ledger) = destination.extras().publish().await? {
            self.state.last_batch = self.state.last_batch.max(ledger);
        }
        self.state.published = published;
        read
    }

    /// Opens the place for this delivery.
    async fn open(&mut self, destination: &mut dyn Destination, summary: Option<&Summary>) -> Result<Opened, Error> {
        let opened = destination.open(summary).await?;
        self.batch_limit = opened.batch_limit;
        self.note_misplaced(&opened.misplaced);
        Ok(opened)
    }

    /// Keeps the connector's state, also after a failure: budgets and caches count even then.
    fn keep_connector(&mut self, destination: &dyn Destination) {
        let state = destination.state();
        self.state.set_connector(&state.memory);
        self.state.notes = state.notes;
    }

    /// Rows that the service refuses are tried again ever more seldom: their cause may be gone. Rows that the connector
    /// refused by itself are tried again as soon as its reason is gone.
    fn retry_refused(&mut self) -> Result<(), store::Error> {
        let is_due = self.state.rows.is_retry_due(self.today());
        if self.state.rows.rejected().next().is_none() {
            self.state.rows.retry_on = self.state.rows.retry_on.filter(|_| !is_due);
            return Ok(());
        }
        // A connector that cannot be made says so when the delivery needs it.
        let context = Context::new(self.engine.shutdown.clone(), self.engine.backoff.clone());
        let connector = self.config.connect(context, &self.state.connector()).ok();
        let mut again = Vec::new();
        for (id, reason) in self.state.rows.rejected() {
            let Some(number) = self.engine.store.find(id)? else { continue };
            let transaction = self.engine.store.transaction(number)?;
            let is_lifted = || connector.as_ref().is_some_and(|connector| connector.is_lifted(&transaction, reason));
            if !transaction.vanished && self.config.filter.accepts(&transaction) && (is_due || is_lifted()) {
                again.push(id.clone());
            }
        }
        self.state.rows.ask_to_restore(again);
        self.state.rows.retry_on = self.state.rows.retry_on.filter(|_| !is_due);
        Ok(())
    }

    fn today(&self) -> NaiveDate {
        Utc::now().with_timezone(&self.engine.config.timezone).date_naive()
    }

    /// Reads the rules that the owner keeps there, after the rows: neither waits for the other's trouble.
    async fn read_own_rules(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        if let (Some(tab), Some(own)) = (self.config.shown().rules_tab, destination.extras().read_rules().await?) {
            self.state.rules = self.engine.kept(tab, own, Utc::now());
            self.save()?;
        }
        Ok(())
    }

    /// Keeps the found ids that belong to no row of the store, because a row may come to light later.
    fn keep_foreign_ids(&mut self) -> Result<(), store::Error> {
        let mut strangers = std::mem::take(&mut self.existing);
        strangers.retain(|hash| !self.claimed.contains_key(hash));
        for account in self.engine.store.feeds() {
            if strangers.is_empty() {
                break;
            }
            let known = self.engine.store.known(account.number, NaiveDate::MIN..=NaiveDate::MAX)?;
            strangers.retain(|hash| !known.contains_key(hash));
        }
        self.state.foreign_ids = strangers.into_iter().collect();
        self.state.foreign_ids.sort_unstable();
        Ok(())
    }

    /// A ledger that is further than the store says that somebody else delivers to the same place, or that the store
    /// was put back to an older state: then what is there must be read before anything is appended.
    fn catch_up(&mut self, ledger: u64) {
        if ledger > self.state.last_batch {
            self.state.last_batch = ledger;
            self.state.pending.retain(|intent| intent.number > ledger);
            self.state.needs_inventory = true;
        }
    }

    /// Reads the ids at the destination before anything is appended, if they are unknown.
    async fn inventory(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        if self.state.needs_inventory {
            let mut ids = Ids::default();
            let digest = destination.read(Reading::Ids, &mut ids).await?;
            self.existing = ids.0.iter().map(|id| id_hash(id)).collect();
            // Rows that were rejected or suppressed are there: somebody else has delivered them.
            self.state.rows.answered_where(|id| self.existing.contains(&id_hash(id)));
            if self.state.watermark == 0
                && let Some(digest) = digest
            {
                self.recognise_deletions(&digest)?;
            }
        }
        Ok(())
    }

    /// Plans anew after another writer was first.
    async fn start_over(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        self.read_ledger_again(destination).await?;
        self.inventory(destination).await
    }

    /// Reads the ledger again after another writer was first. A writer that always is must not keep this cycle going
    /// for ever.
    async fn read_ledger_again(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        self.superseded += 1;
        if self.superseded >= SUPERSEDED_AT_MOST {
            let name = &self.config.name;
            return Err(Error::unavailable(format!(
                "`{name}`: something else keeps writing to the same place; the next run tries again"
            ))
            .into());
        }
        let ledger = self.open(destination, None).await?.last_batch;
        self.catch_up(ledger);
        Ok(())
    }

    /// Everything up to here is delivered or needs no delivery.
    fn advance_watermark(&mut self, through: u64, suppressed: &[String]) -> Result<(), store::Error> {
        if through > self.state.watermark {
            self.state.watermark = through;
            suppressed.iter().for_each(|id| self.state.rows.suppress(id.clone()));
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), store::Error> {
        self.engine.store.put_destination(&self.config.name, &self.target, &self.state)
    }

    /// Remembers how the delivery ended.
    fn record_result(mut self, result: Result<(), Stop>) -> Result<DestinationReport, store::Error> {
        let now = Utc::now();
        let before = self.state.clone();
        self.state.error = None;
        match result {
            Ok(()) => {
                self.state.last_success = Some(now);
                self.state.attention = None;
            }
            Err(Stop::Store(error)) => return Err(error),
            Err(Stop::Service(error)) => {
                self.report.outcome = outcome_of(&error);
                self.report.error = Some(error.message.clone());
                self.report.cause = Some(error.word());
                match error.cause() {
                    Some(cause) => {
                        let since =
                            before.attention.as_ref().filter(|old| old.cause == cause).map_or(now, |old| old.since);
                        self.state.attention =
                            Some(Attention { cause, message: error.message, since, config: String::new() });
                    }
                    None => self.state.error = Some(error.message),
                }
            }
        }
        self.state.rows.plan_retry(self.today());
        self.report.notes = self.state.notes.clone();
        self.report.waiting = self.engine.waiting(self.config, &self.state)?;
        self.save()?;
        Ok(self.report)
    }
}
