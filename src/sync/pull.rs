//! The first half of a cycle: one session per source, every account fetched, the pages reconciled into the store.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::attempts::{Asking, Ledger, fingerprint};
use super::{Engine, Outcome, Request, SourceReport, Step, Watcher, outcome_of};
use crate::config;
use crate::model::{Account, Transaction};
use crate::remote::{Cause, Context, Error, Kind};
use crate::source::Page;
use crate::store::{self, Attention};

mod completeness;
mod ingest;
mod unreadable;

use ingest::Ingest;

/// The rows that a dry run would have added, for the destinations' preview.
#[derive(Default)]
pub struct Preview {
    /// Transactions not in the store yet.
    pub new: Vec<Transaction>,
}

/// An account with its page, or with the reason why there is none.
type Fetch = (Account, Result<Page, Error>);

/// The result of one session at the bank.
struct Fetched {
    /// The accounts that the bank lists.
    listed: Vec<String>,
    /// The pages of the accounts.
    pages: Vec<Fetch>,
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
        if let Some(attention) = self.held_back(source, &self.store.source(&source.name)?, asking) {
            self.note_held_back(source, &attention, now)?;
            report.outcome = Outcome::Attention;
            report.cause = self.store.source(&source.name)?.attention.map(|attention| attention.cause.word());
            report.error = Some(attention);
            return Ok(report);
        }
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let ledger = self.ledger(source, asking);
        let fetched = self.fetch(source, context.clone(), ledger.clone(), watcher, &mut report, now).await;
        report.requests = context.requests.get();
        ledger.failure()?;
        let failure = match fetched {
            Ok(Fetched { listed, pages }) => {
                let mut ingest = Ingest::new(self, source, now, &mut report.notes);
                match request.dry_run {
                    true => ingest.preview(pages, preview)?,
                    false => ingest.store(pages)?,
                }
                let Ingest { counts, failures, .. } = ingest;
                report.fetched = counts.fetched;
                report.new = counts.new;
                report.changed = counts.changed;
                report.vanished = counts.vanished;
                if !request.dry_run {
                    self.note_unlisted(source, &listed, &mut report.notes)?;
                }
                failures
            }
            Err(error) => vec![error],
        };
        self.record_result(source, &mut report, failure, now)?;
        report.notes.extend(self.session_note(source, now));
        Ok(report)
    }

    /// Signs in and fetches every account. A failure of one account alone stands beside the pages of the others.
    async fn fetch(
        &self,
        source: &config::Source,
        context: Context,
        ledger: Arc<Ledger>,
        watcher: &Watcher,
        report: &mut SourceReport,
        now: DateTime<Utc>,
    ) -> Result<Fetched, Error> {
        let today = now.with_timezone(&self.config.timezone).date_naive();
        let step = |label: String, done, total| watcher(Step { label, done, total });
        step(format!("{}: signing in", source.name), 0, 0);
        let mut session = source.connect(context, ledger)?.open().await?;
        let fetched = async {
            let accounts = session.accounts().await?;
            report.accounts = accounts.len() as u64;
            let mut pages = Vec::new();
            for (at, account) in accounts.iter().enumerate() {
                step(format!("{}: fetching {}", source.name, account.account), at as u64, accounts.len() as u64);
                let from = self.window_start(source, account, today);
                match session.fetch(account, from).await {
                    Err(error) if matches!(error.kind, Kind::Attention(_) | Kind::Stopped) => return Err(error),
                    other => pages.push((account.clone(), other)),
                }
            }
            let listed = accounts.into_iter().map(|account| account.account).collect();
            Ok(Fetched { listed, pages })
        }
        .await;
        session.close().await;
        fetched
    }

    /// The first day to ask for: the last known one less the overlap, or everything where the chain needs mending.
    fn window_start(&self, source: &config::Source, account: &Account, today: NaiveDate) -> Option<NaiveDate> {
        let known = self.store.account(&source.name, &account.account);
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
        mut failures: Vec<Error>,
        now: DateTime<Utc>,
    ) -> Result<(), store::Error> {
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
            report.outcome = worst.as_ref().map_or(Outcome::Ok, outcome_of);
            report.cause = worst.as_ref().map(Error::word);
            report.error = worst.as_ref().map(|worst| match more {
                0 => worst.message.clone(),
                more => format!("{} (and {more} more)", worst.message),
            });
            match worst {
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
        });
        changed.map(drop)
    }
}
