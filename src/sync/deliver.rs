//! The second half of a cycle: each destination brought up to date with the change log.
//!
//! The order of things is the guarantee. A batch is noted in the store, durably, before its first byte leaves; a batch
//! whose answer was lost is settled before anything else is sent; the watermark moves only after an answer, and past a
//! batch that may still arrive only once its number is taken. Together with a write that cannot apply twice (the
//! destination's own affair) each row arrives exactly once.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, Utc};

use super::pull::Preview;
use super::{DestinationReport, Engine, Step, Watcher, outcome_of};
use crate::config;
use crate::destination::{self, Batch, Destination, Item, Settled, Verdict, What};
use crate::model::{Field, aliases, id_hash};
use crate::remote::{Context, Error, Kind};
use crate::rules::SET_BY_RULES;
use crate::store::{self, Attention, Change, DestinationState, Intent, Part};

mod backfill;
mod put_right;

pub use put_right::Restored;

/// Entries of the change log looked at in one go.
const CHANGES_PER_LOOK: usize = 1000;

/// Up to how many waiting changes are counted one by one; beyond, the log's own numbers are close enough.
const COUNTED_EXACTLY: u64 = 2000;

/// How often in one delivery another writer may be first before it is put off to the next cycle.
const SUPERSEDED_AT_MOST: u32 = 8;

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

/// What a change means for a destination.
enum Offer {
    /// Nothing to do.
    Nothing,
    /// To be delivered.
    Item(Box<Item>),
    /// The bank took the row back before it was ever delivered; it waits for a return.
    Withhold(String),
}

/// What the next entries of the change log come to.
#[derive(Default)]
struct Look {
    items: Vec<Item>,
    /// Ids of rows that are withheld.
    withheld: Vec<String>,
    /// The last change looked at.
    examined: u64,
}

impl Look {
    fn has(&self, id: &str) -> bool {
        self.items.iter().any(|item| item.transaction.row.id == id)
    }
}

/// One destination being brought up to date.
struct Delivery<'a> {
    engine: &'a Engine,
    config: &'a config::Destination,
    target: String,
    state: DestinationState,
    report: DestinationReport,
    watcher: &'a Watcher,
    /// Hashes of ids that are there without this store having delivered them.
    adopted: HashSet<u64>,
    /// What was read of the change log and not delivered yet.
    ahead: Option<Look>,
    /// The last batch found rows deleted or refused.
    decided: bool,
    /// Which of them, being of an older form, belong to which transactions; each to one only.
    claimed: HashMap<u64, u64>,
    /// How often another writer was first.
    superseded: u32,
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
        delivery.conclude(result)
    }

    /// What a cycle would deliver: what waits, and what a dry pull has seen.
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

    /// How many changes a destination has not been given yet.
    pub fn waiting(&self, config: &config::Destination, state: &DestinationState) -> Result<u64, store::Error> {
        let behind = self.store.meta().last_seq.saturating_sub(state.watermark);
        if behind > COUNTED_EXACTLY {
            return Ok(behind);
        }
        let mut waiting = 0;
        for change in self.store.changes_after(state.watermark, CHANGES_PER_LOOK * 2)? {
            waiting += u64::from(matches!(self.offer(config, state, &HashSet::new(), &change)?, Offer::Item(_)));
        }
        Ok(waiting)
    }

    /// What a change means for a destination. `adopted` are the hashes of ids that were found there.
    fn offer(
        &self,
        config: &config::Destination,
        state: &DestinationState,
        adopted: &HashSet<u64>,
        change: &Change,
    ) -> Result<Offer, store::Error> {
        if matches!(change.what, What::Changed | What::Enriched)
            && change.number > state.watermark
            && adopted.is_empty()
        {
            // Its first delivery is still ahead and will carry the present version.
            return Ok(Offer::Nothing);
        }
        let transaction =
            self.store.transaction_of(change, if config.shows_raw() { Part::Whole } else { Part::WithoutRaw })?;
        let id = &transaction.row.id;
        if state.deleted.contains(id) {
            return Ok(Offer::Nothing);
        }
        let found = adopted.contains(&id_hash(id));
        let offered_before = change.number <= state.watermark || found;
        let previous = match change.what {
            What::Changed | What::Reappeared | What::Enriched if offered_before => {
                Some(self.store.former(change.seq)?.transaction)
            }
            _ => None,
        };
        // The filter may have kept back what the row was before; and what it let through is kept right.
        let was_accepted =
            previous.as_ref().is_some_and(|previous| config.filter.accepts(previous)) || state.outgrown.contains(id);
        let accepted = config.filter.accepts(&transaction);
        if !accepted && !was_accepted {
            return Ok(Offer::Nothing);
        }
        let kept_back = previous.is_some() && !was_accepted && !found;
        let not_there = kept_back || state.rejected.contains_key(id) || state.withheld.contains(id);
        let (what, previous) = match change.what {
            What::Changed | What::Enriched if !offered_before => return Ok(Offer::Nothing),
            What::New if found => return Ok(Offer::Nothing),
            What::New if transaction.vanished => return Ok(Offer::Withhold(id.clone())),
            // Not there yet, or in between back again: its own delivery says all there is to say.
            What::Vanished if not_there || !transaction.vanished || !offered_before => return Ok(Offer::Nothing),
            What::Changed | What::Reappeared if not_there && transaction.vanished => return Ok(Offer::Nothing),
            What::Changed | What::Reappeared if not_there => (What::New, None),
            What::Reappeared if !offered_before => return Ok(Offer::Nothing),
            // Whatever is delivered instead carries what the rules say now.
            What::Enriched if not_there => return Ok(Offer::Nothing),
            What::Enriched => {
                let differs = |field: &Field| {
                    previous.as_ref().is_none_or(|former| field.value(former) != field.value(&transaction))
                };
                if !SET_BY_RULES.iter().any(|field| config.shows(field) && differs(field)) {
                    return Ok(Offer::Nothing);
                }
                (What::Enriched, previous)
            }
            what => (what, previous),
        };
        Ok(Offer::Item(Box::new(Item { seq: change.seq, what, transaction, previous })))
    }
}

impl<'a> Delivery<'a> {
    fn new(engine: &'a Engine, config: &'a config::Destination, watcher: &'a Watcher) -> Result<Self, store::Error> {
        let target = config.target();
        let state = engine.store.destination(&config.name, &target)?;
        let report = DestinationReport { name: config.name.clone(), ..DestinationReport::default() };
        let adopted = state.strangers.iter().copied().collect();
        let (claimed, ahead, decided, superseded) = (HashMap::new(), None, false, 0);
        Ok(Delivery { engine, config, target, state, report, watcher, adopted, claimed, ahead, decided, superseded })
    }
}

impl Delivery<'_> {
    async fn run(&mut self, context: Context) -> Result<(), Stop> {
        let first = self.look(1)?;
        let repairs = !self.state.restoring.is_empty() || !self.state.mending.is_empty();
        if first.items.is_empty() && self.state.intents.is_empty() && !repairs {
            self.pass(first.examined, &first.withheld)?;
            if !self.engine.summary_due(self.config, &self.state, Utc::now())? {
                return Ok(());
            }
        }
        let memory = self.state.memory();
        let mut destination = destination::build(self.config, context, &memory)?;
        let result = self.bring_up_to_date(destination.as_mut()).await;
        // Budgets and caches count even where the delivery failed.
        self.state.set_memory(&destination.memory());
        self.save()?;
        result
    }

    async fn bring_up_to_date(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        let (now, mut published) = (Utc::now(), None);
        if self.config.shows_balances() {
            published = Some(self.engine.published(now)?);
            destination.summarise(&self.engine.summary(self.config, &self.state, now)?);
        }
        let ledger = destination.open().await?;
        self.settle(destination).await?;
        self.catch_up(ledger);
        // First, so that a correction of such a row finds it there.
        self.put_right(destination).await?;
        self.take_stock(destination).await?;
        let total = self.engine.store.meta().last_seq.saturating_sub(self.state.watermark);
        loop {
            if self.engine.shutdown.requested() {
                return Err(Error::stopped().into());
            }
            let left = self.engine.store.meta().last_seq.saturating_sub(self.state.watermark);
            let label = format!("{}: delivering", self.config.name);
            (self.watcher)(Step { label, done: total - left, total });
            let ahead = self.look_ahead(destination.batch_limit())?;
            let taken = if ahead.items.is_empty() { 0 } else { self.send(destination, &ahead.items).await? };
            // Another batch took the number: its rows are past, the rest is planned anew.
            let superseded = !ahead.items.is_empty() && taken == 0;
            if superseded || !self.close_number(destination).await? {
                self.start_over(destination).await?;
                continue;
            }
            let through = if taken == ahead.items.len() { ahead.examined } else { ahead.items[taken - 1].seq };
            self.state.set_memory(&destination.memory());
            self.pass(through, &ahead.withheld)?;
            if ahead.items.is_empty() {
                break;
            }
            self.keep_ahead(ahead, taken);
        }
        self.state.adopting = false;
        self.remember_strangers()?;
        self.save()?;
        if let Some(ledger) = destination.publish().await? {
            self.state.last_batch = self.state.last_batch.max(ledger);
        }
        self.state.published = published;
        Ok(())
    }

    /// Of what was found there, what no row of the store is known by. It may become one later.
    fn remember_strangers(&mut self) -> Result<(), store::Error> {
        let mut strangers = std::mem::take(&mut self.adopted);
        strangers.retain(|hash| !self.claimed.contains_key(hash));
        for account in self.engine.store.accounts() {
            if strangers.is_empty() {
                break;
            }
            let known = self.engine.store.known(account.number, NaiveDate::MIN..=NaiveDate::MAX)?;
            strangers.retain(|hash| !known.contains_key(hash));
        }
        self.state.strangers = strangers.into_iter().collect();
        self.state.strangers.sort_unstable();
        Ok(())
    }

    /// A ledger that is further than the store says that somebody else delivers to the same place, or that the store
    /// was put back to an older state: then what is there must be read before anything is appended.
    fn catch_up(&mut self, ledger: u64) {
        if ledger > self.state.last_batch {
            self.state.last_batch = ledger;
            self.state.intents.retain(|intent| intent.number > ledger);
            self.state.adopting = true;
        }
    }

    /// Where it is unknown what is there already, asks before anything is appended.
    async fn take_stock(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        if self.state.adopting {
            self.adopted = destination.existing_ids().await?.iter().map(|id| id_hash(id)).collect();
            // What was set aside as not there is there: somebody else has delivered it.
            let found = |id: &String| self.adopted.contains(&id_hash(id));
            self.state.withheld.retain(|id| !found(id));
            self.state.rejected.retain(|id, _| !found(id));
            if self.state.watermark == 0
                && let Some(past) = destination.past()
            {
                self.recognise_deletions(&past)?;
            }
        }
        Ok(())
    }

    /// Plans anew after another writer was first.
    async fn start_over(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        self.read_ledger_again(destination).await?;
        self.take_stock(destination).await
    }

    /// After another writer was first. One that always is must not keep this cycle going for ever.
    async fn read_ledger_again(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        self.superseded += 1;
        if self.superseded >= SUPERSEDED_AT_MOST {
            let name = &self.config.name;
            return Err(Error::unavailable(format!(
                "`{name}`: something else keeps writing to the same place; the next run tries again"
            ))
            .into());
        }
        let ledger = destination.open().await?;
        self.catch_up(ledger);
        Ok(())
    }

    /// Before the watermark passes a batch that may still arrive, its number is taken, so that it never will. `false`:
    /// it, or somebody else's, has arrived.
    async fn close_number(&mut self, destination: &mut dyn Destination) -> Result<bool, Stop> {
        if self.state.intents.is_empty() {
            return Ok(true);
        }
        let number = self.state.last_batch + 1;
        match destination.close(number).await? {
            Some(hash) => {
                self.superseded(number, hash)?;
                Ok(false)
            }
            None => {
                self.state.last_batch = number;
                self.state.intents.clear();
                Ok(true)
            }
        }
    }

    /// The next items, at most `most`: those left over from the last look first, because reading and decoding rows
    /// twice would be most of the work of a first delivery.
    fn look_ahead(&mut self, most: usize) -> Result<Look, store::Error> {
        match self.ahead.take() {
            Some(ahead) => self.look_from(ahead, most),
            None => self.look(most),
        }
    }

    /// Keeps what a batch did not cover, unless the batch decided something that changes what the rest means.
    fn keep_ahead(&mut self, mut ahead: Look, taken: usize) {
        ahead.items.drain(..taken);
        let plain = ahead.items.iter().all(|item| item.what == What::New);
        self.ahead = (plain && !self.decided).then_some(ahead);
        self.decided = false;
    }

    /// The next items after the watermark, at most `most`. What is there already is passed over.
    fn look(&mut self, most: usize) -> Result<Look, store::Error> {
        self.look_from(Look { examined: self.state.watermark, ..Look::default() }, most)
    }

    fn look_from(&mut self, mut look: Look, most: usize) -> Result<Look, store::Error> {
        let (mut changed, mut enriched) = (HashSet::new(), HashSet::new());
        while look.items.len() < most {
            let changes = self.engine.store.changes_after(look.examined, CHANGES_PER_LOOK.min(most.max(16)))?;
            if changes.is_empty() {
                return Ok(look);
            }
            for change in changes {
                look.examined = change.seq;
                // Of several corrections of one row the first carries both the present version and the oldest before.
                let repeated = match change.what {
                    What::Changed => !changed.insert(change.number),
                    What::Enriched => !enriched.insert(change.number),
                    _ => false,
                };
                if repeated {
                    continue;
                }
                match self.engine.offer(self.config, &self.state, &self.adopted, &change)? {
                    Offer::Nothing => {}
                    Offer::Withhold(id) => look.withheld.push(id),
                    // A row that was set aside may have come back more than once since.
                    Offer::Item(item)
                        if item.what == What::New && change.what != What::New && look.has(&item.transaction.row.id) => {
                    }
                    Offer::Item(item) => look.items.push(self.adopt(*item)),
                }
                if look.items.len() >= most {
                    break;
                }
            }
        }
        Ok(look)
    }

    /// A new row that was found there under an older form of its id is made ours instead of written again.
    fn adopt(&mut self, mut item: Item) -> Item {
        if item.what != What::New || self.adopted.is_empty() {
            return item;
        }
        let id = &item.transaction.row.id;
        let found = aliases(id).iter().map(|alias| id_hash(alias)).find(|alias| self.adopted.contains(alias));
        if found.is_some_and(|alias| *self.claimed.entry(alias).or_insert(id_hash(id)) == id_hash(id)) {
            item.what = What::Mend;
        }
        item
    }

    /// Cuts a batch, sends it and stays with it until its outcome is known. Returns how many items it covered; 0: another
    /// batch took the number.
    async fn send(&mut self, destination: &mut dyn Destination, items: &[Item]) -> Result<usize, Stop> {
        let mut offered = items;
        loop {
            let number = self.state.last_batch + 1;
            let batch = self.prepare(destination, number, offered).await?;
            let covered = &offered[..batch.taken];
            match self.send_batch(destination, &batch, covered).await {
                Ok(Some(verdicts)) => {
                    self.note(covered, verdicts);
                    return Ok(covered.len());
                }
                Ok(None) => return Ok(0),
                // Refused whole for one of its rows: halve until that row is alone.
                Err(Stop::Service(Error { kind: Kind::Rejected, .. })) if covered.len() > 1 => {
                    offered = &covered[..covered.len() / 2];
                }
                Err(Stop::Service(Error { kind: Kind::Rejected, message })) => {
                    self.note(covered, vec![Verdict::Rejected(message)]);
                    return Ok(1);
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    async fn prepare(&self, destination: &mut dyn Destination, number: u64, items: &[Item]) -> Result<Batch, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match destination.prepare(number, items).await {
                Err(error) => self.pause(tried, error).await?,
                batch => return batch,
            }
        }
    }

    /// Sends one batch, again after a lost answer if it was not applied. `None`: superseded.
    async fn send_batch(
        &mut self,
        destination: &mut dyn Destination,
        batch: &Batch,
        items: &[Item],
    ) -> Result<Option<Vec<Verdict>>, Stop> {
        // A former try may still be under way: a refusal then speaks of this one only.
        let mut unclear = self.state.intents.iter().any(|old| old.number == batch.number && old.hash == batch.hash);
        self.note_outgrown(items);
        if !batch.body.is_empty() {
            self.state.intents.retain(|old| old.number == batch.number && old.hash != batch.hash);
            self.state.intents.push(self.intent(batch, items));
            // What the destination found or made must be known to whoever finds the batch.
            self.state.set_memory(&destination.memory());
            self.save()?;
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match destination.deliver(batch, items).await {
                Ok(destination::Outcome::Done(verdicts)) => {
                    self.acknowledge(batch);
                    return Ok(Some(verdicts));
                }
                Ok(destination::Outcome::Superseded { hash }) => {
                    self.superseded(batch.number, hash)?;
                    return Ok(None);
                }
                Err(error) => error,
            };
            unclear |= error.is_transient();
            if error.kind == Kind::Rejected && !unclear {
                self.state.intents.retain(|old| old.hash != batch.hash);
            }
            self.pause(tried, error).await?;
            match destination.settle(batch.number, batch.hash).await {
                Ok(Settled::Applied) => {
                    self.acknowledge(batch);
                    return Ok(Some(items.iter().map(applied).collect()));
                }
                Ok(Settled::NotApplied) => {}
                Ok(Settled::Superseded { hash }) => {
                    self.superseded(batch.number, hash)?;
                    return Ok(None);
                }
                // Still unclear: the next try of the same batch is harmless, it cannot apply twice.
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Rows that are there and would not be let through by what they say now: a later change would find no trace of their
    /// having been let through.
    fn note_outgrown(&mut self, items: &[Item]) {
        for item in items.iter().filter(|item| item.what != What::New && !self.config.filter.accepts(&item.transaction))
        {
            let id = &item.transaction.row.id;
            if !self.state.outgrown.contains(id) {
                self.state.outgrown.push(id.clone());
            }
        }
    }

    fn intent(&self, batch: &Batch, items: &[Item]) -> Intent {
        let set_aside = |id: &&String| self.state.rejected.contains_key(*id) || self.state.withheld.contains(*id);
        let returning = items.iter().map(|item| &item.transaction.row.id).filter(set_aside).cloned().collect();
        let through = items.last().map_or(0, |item| item.seq);
        Intent { number: batch.number, hash: batch.hash, through, returning }
    }

    /// Waits before another try, or gives the error back where trying again is pointless.
    async fn pause(&self, tried: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.engine.backoff.pause(tried, &error) else { return Err(error) };
        tracing::debug!("{error}; trying again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.engine.shutdown.wait() => Err(Error::stopped()),
        }
    }

    /// Finds out what became of batches whose answers a former cycle never got.
    async fn settle(&mut self, destination: &mut dyn Destination) -> Result<(), Stop> {
        for intent in self.state.intents.clone() {
            match destination.settle(intent.number, intent.hash).await? {
                Settled::Applied => {
                    return Ok(self.superseded(intent.number, intent.hash)?);
                }
                Settled::Superseded { hash } => {
                    self.superseded(intent.number, hash)?;
                    return Ok(());
                }
                // It may still arrive. The next batch bears the same number, so only one of the two can apply, and the
                // intent stays noted until that number is taken.
                Settled::NotApplied => {}
            }
        }
        Ok(())
    }

    /// A batch of this number is in the ledger. If it was one of ours, its rows are there; if not, somebody else writes
    /// to the same place and what is there must be read before anything is appended.
    fn superseded(&mut self, number: u64, hash: u64) -> Result<(), store::Error> {
        let ours = self.state.intents.iter().find(|intent| intent.number == number && intent.hash == hash).cloned();
        match ours {
            Some(ours) => {
                self.state.watermark = self.state.watermark.max(ours.through);
                self.state.rejected.retain(|id, _| !ours.returning.contains(id));
                self.state.withheld.retain(|id| !ours.returning.contains(id));
            }
            None => self.state.adopting = true,
        }
        self.ahead = None;
        self.state.last_batch = self.state.last_batch.max(number);
        self.state.intents.clear();
        self.save()
    }

    fn acknowledge(&mut self, batch: &Batch) {
        if !batch.body.is_empty() {
            self.state.last_batch = batch.number;
            self.state.intents.clear();
        }
    }

    /// Counts verdicts and remembers what the owner or the service decided about single rows.
    fn note(&mut self, items: &[Item], verdicts: Vec<Verdict>) {
        for (item, verdict) in items.iter().zip(verdicts) {
            let id = &item.transaction.row.id;
            self.decided |= matches!(verdict, Verdict::Deleted | Verdict::Rejected(_));
            let was_refused = self.state.rejected.remove(id).is_some();
            self.state.withheld.retain(|withheld| withheld != id);
            match verdict {
                Verdict::Appended => self.report.appended += 1,
                Verdict::Updated => self.report.updated += 1,
                Verdict::Unchanged => {}
                Verdict::Deleted => {
                    if !was_refused && !self.state.deleted.contains(id) {
                        self.state.deleted.push(id.clone());
                    }
                }
                // The row is there, and stays as it is: no reason to deliver it as a new one later.
                Verdict::Rejected(reason) if item.what == What::Enriched => {
                    self.report.rejected += 1;
                    tracing::warn!("{}: what rules give {id} is refused: {reason}", self.config.name);
                }
                Verdict::Rejected(reason) => {
                    self.report.rejected += 1;
                    self.state.rejected.insert(id.clone(), reason);
                }
            }
        }
    }

    /// Everything up to here is delivered or needs no delivery.
    fn pass(&mut self, through: u64, withheld: &[String]) -> Result<(), store::Error> {
        if through > self.state.watermark {
            self.state.watermark = through;
            let known = |id: &&String| !self.state.withheld.contains(id);
            let fresh: Vec<String> = withheld.iter().filter(known).cloned().collect();
            self.state.withheld.extend(fresh);
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), store::Error> {
        self.engine.store.put_destination(&self.config.name, &self.target, &self.state)
    }

    /// Remembers how the delivery ended.
    fn conclude(mut self, result: Result<(), Stop>) -> Result<DestinationReport, store::Error> {
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
        self.report.waiting = self.engine.waiting(self.config, &self.state)?;
        self.save()?;
        Ok(self.report)
    }
}

/// What an item has become, where only the ledger says that its batch was applied.
fn applied(item: &Item) -> Verdict {
    match item.what {
        What::New | What::PutBack => Verdict::Appended,
        What::Changed | What::Vanished | What::Reappeared | What::Mend | What::Enriched => Verdict::Updated,
    }
}
