//! The first half of a cycle: one session per source, every account fetched, the pages reconciled into the store.

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::attempts::{Asking, Ledger, fingerprint};
use super::{Engine, Outcome, Request, SourceReport, Step, Watcher, outcome_of};
use crate::config;
use crate::model::{Account, Transaction};
use crate::remote::{Cause, Context, Error, Kind};
use crate::source::{Page, Session, Setup};
use crate::store::{self, Attention, Resting};

mod carry_out;
mod completeness;
mod identity;
mod ingest;
mod unreadable;

pub(super) use ingest::{Ingest, Listing};

/// The rows that a dry run would have added, for the destinations' preview.
#[derive(Default)]
pub struct Preview {
    /// Transactions not in the store yet.
    pub new: Vec<Transaction>,
}

/// An account with its page, or with the reason why there is none.
type Fetch = (Account, Result<Page, Error>);

/// A pull that goes on.
struct Pull<'a> {
    source: &'a config::Source,
    request: &'a Request,
    now: DateTime<Utc>,
    watcher: &'a Watcher,
    ledger: &'a Ledger,
    report: &'a mut SourceReport,
    /// The accounts that the source lists.
    listed: Vec<String>,
    /// The failures of single accounts.
    failures: Vec<Error>,
    listing: Listing,
}

impl Engine {
    /// Pulls one source.
    pub(super) async fn pull(
        &self,
        source: &config::Source,
        request: &Request,
        now: DateTime<Utc>,
        watcher: &Watcher,
        preview: &mut Preview,
    ) -> Result<SourceReport, store::Error> {
        let mut report = SourceReport { name: source.name.clone(), ..SourceReport::default() };
        let asking = if request.by_hand { Asking::Owner } else { Asking::Unattended };
        let state = self.store.source(&source.name)?;
        if let Some(attention) = self.held_back(source, &state, asking) {
            self.note_held_back(source, &attention, now)?;
            report.outcome = Outcome::Attention;
            report.cause = self.store.source(&source.name)?.attention.map(|attention| attention.cause.word());
            report.error = Some(attention);
            return Ok(report);
        }
        if let Some(resting) = state.resting.filter(|resting| now < resting.until && !request.by_hand) {
            report.outcome = Outcome::Skipped;
            report.notes.push(self.resting_note(&resting));
            return Ok(report);
        }
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let ledger = self.ledger(source, asking);
        let setup = ledger.setup(self, context.clone(), request.at_terminal);
        let (listed, failures, listing) = (Vec::new(), Vec::new(), Listing::default());
        let mut pull =
            Pull { source, request, now, watcher, ledger: &ledger, report: &mut report, listed, failures, listing };
        let ended = self.rounds(setup, &mut pull, preview).await;
        let mut failures = pull.failures;
        report.requests = context.requests.get();
        ledger.failure()?;
        failures.extend(ended?.err());
        self.record_result(source, &mut report, failures, now)?;
        report.notes.extend(self.session_note(source, now));
        Ok(report)
    }

    /// Signs in, fetches every account and stores the rows, as often as the session has more to give.
    async fn rounds(
        &self,
        setup: Setup,
        pull: &mut Pull<'_>,
        preview: &mut Preview,
    ) -> Result<Result<(), Error>, store::Error> {
        pull.step("signing in", 0, 0);
        let opened = async { pull.source.connect(setup)?.open().await }.await;
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let ended = loop {
            let round = self.round(&mut *session, pull, preview).await;
            match round {
                Ok(Ok(())) => {}
                ended => break ended,
            }
            let next = session.next(!pull.request.dry_run).await;
            pull.report.notes.extend(session.take_notes());
            match next {
                Ok(true) => {}
                Ok(false) => break Ok(Ok(())),
                // The pages of this round are stored, and the list of accounts was whole.
                Err(error) => {
                    pull.failures.push(error);
                    break Ok(Ok(()));
                }
            }
        };
        let lists_every_account = session.lists_every_account();
        session.close().await;
        if matches!(ended, Ok(Ok(()))) && lists_every_account && !pull.request.dry_run {
            self.note_unlisted(pull.source, &pull.listed, &mut pull.report.notes)?;
        }
        ended
    }

    /// Fetches every account and stores the rows. A failure of one account alone stands beside the pages of the others.
    async fn round(
        &self,
        session: &mut dyn Session,
        pull: &mut Pull<'_>,
        preview: &mut Preview,
    ) -> Result<Result<(), Error>, store::Error> {
        let today = pull.now.with_timezone(&self.config.timezone).date_naive();
        let accounts = match session.accounts().await {
            Ok(accounts) => accounts,
            Err(error) => return Ok(Err(error)),
        };
        let mut pages = Vec::new();
        for (at, account) in accounts.iter().enumerate() {
            pull.step(&format!("fetching {}", account.account), at as u64, accounts.len() as u64);
            if !pull.listed.contains(&account.account) {
                pull.listed.push(account.account.clone());
                pull.report.accounts += 1;
            }
            let from = self.window_start(pull.source, account, today);
            match session.fetch(account, from).await {
                Err(error) if matches!(error.kind, Kind::Attention(_) | Kind::Stopped) => return Ok(Err(error)),
                other => pages.push((account.clone(), other)),
            }
        }
        // An attempt that could not be noted is the store's failure, whatever the source has answered.
        pull.ledger.failure()?;
        let is_partial = !session.lists_every_account();
        let mut ingest =
            Ingest::new(self, pull.source, is_partial, pull.now, &mut pull.report.notes, &mut pull.listing);
        match pull.request.dry_run {
            true => ingest.preview(pages, preview)?,
            false => ingest.store(pages)?,
        }
        let Ingest { counts, failures, .. } = ingest;
        pull.report.fetched += counts.fetched;
        pull.report.new += counts.new;
        pull.report.changed += counts.changed;
        pull.report.vanished += counts.vanished;
        pull.failures.extend(failures);
        Ok(Ok(()))
    }

    /// The first day to ask for: the last known one less the overlap, or everything where the chain needs mending.
    fn window_start(&self, source: &config::Source, account: &Account, today: NaiveDate) -> Option<NaiveDate> {
        let known = self.store.feed(&source.name, &account.account);
        let mending = known.as_ref().is_some_and(|known| known.wants_mending(today));
        let reread = known.as_ref().and_then(|known| known.reread_from);
        // A clock that once went ahead must not make this window empty.
        let last = known.and_then(|known| known.fetched_until).filter(|_| !mending).map(|last| last.min(today));
        let overlapping = last.and_then(|last| last.checked_sub_days(Days::new(source.scope.overlap_days.into())));
        let overlapping = overlapping.map(|from| reread.map_or(from, |day| day.min(from)));
        match (overlapping, source.scope.history_from) {
            (Some(from), Some(first)) => Some(from.max(first)),
            (from, first) => from.or(first),
        }
    }

    /// Attempts that a crash cut off have told nobody: status and page get to know of them here.
    fn note_held_back(&self, source: &config::Source, message: &str, now: DateTime<Utc>) -> Result<(), store::Error> {
        let state = self.store.source(&source.name)?;
        if state.attention.is_some_and(|known| known.message == message) {
            return Ok(());
        }
        let (message, config) = (message.to_owned(), fingerprint(&self.store, source));
        let attention = Attention { cause: Cause::OutcomeUnknown, message, since: now, config };
        self.store.change_source(&source.name, |state| state.attention = Some(attention)).map(drop)
    }

    /// Remembers how the pull ended.
    pub(super) fn record_result(
        &self,
        source: &config::Source,
        report: &mut SourceReport,
        failures: Vec<Error>,
        now: DateTime<Utc>,
    ) -> Result<(), store::Error> {
        // A pause is no failure.
        let (pauses, mut failures): (Vec<Error>, Vec<Error>) =
            failures.into_iter().partition(|error| error.resting_until().is_some());
        let is_idle = failures.is_empty() && !pauses.is_empty() && report.fetched == 0;
        let resting =
            pauses.into_iter().filter_map(|error| Some(Resting { until: error.resting_until()?, why: error.message }));
        let resting = resting.min_by_key(|resting| resting.until);
        report.notes.extend(resting.as_ref().map(|resting| self.resting_note(resting)));
        let worst = failures.iter().position(|error| error.cause().is_some()).unwrap_or_default();
        let more = failures.len().saturating_sub(1);
        let worst = (!failures.is_empty()).then(|| failures.swap_remove(worst));
        let changed = self.store.change_source(&source.name, |state| {
            // A bank that let us in wants nothing more of the owner. Other failures say nothing about that.
            let is_in = worst.is_none() || report.accounts > 0;
            if is_in {
                state.unsettled.lift();
            }
            let worst = worst.map(|error| self.graded(source, &state.unsettled, error));
            let without_failure = if is_idle { Outcome::Skipped } else { Outcome::Ok };
            report.outcome = worst.as_ref().map_or(without_failure, outcome_of);
            report.cause = worst.as_ref().map(Error::word);
            report.error = worst.as_ref().map(|worst| match more {
                0 => worst.message.clone(),
                more => format!("{} (and {more} more)", worst.message),
            });
            match worst {
                None if is_idle => state.attention = None,
                None => (state.last_success, state.attention) = (Some(now), None),
                Some(Error { kind: Kind::Attention(cause), message }) => {
                    let since = state.attention.as_ref().filter(|old| old.cause == cause).map_or(now, |old| old.since);
                    let config = fingerprint(&self.store, source);
                    state.attention = Some(Attention { cause, message, since, config });
                }
                Some(_) if is_in => state.attention = None,
                Some(_) => {}
            }
            state.error = report.error.clone().filter(|_| report.outcome == Outcome::Failed);
            // While one account pauses, the others are asked.
            state.resting = resting.filter(|_| is_idle);
        });
        changed.map(drop)
    }
    /// The sentence about a pause.
    fn resting_note(&self, resting: &Resting) -> String {
        format!("{}; it goes on at {}", resting.why, self.local(resting.until))
    }
}

impl Pull<'_> {
    fn step(&self, what: &str, done: u64, total: u64) {
        (self.watcher)(Step { label: format!("{}: {what}", self.source.name), done, total });
    }
}
