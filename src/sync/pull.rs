//! The first half of a cycle: one session per source, every account fetched, what came reconciled into the store.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, Utc};

use super::attempts::{Asking, Ledger, fingerprint};
use super::{Engine, Outcome, Request, SourceReport, Step, Watcher, outcome_of};
use crate::config;
use crate::destination::What;
use crate::model::{Account, Row, Transaction, id_hash};
use crate::reconcile::{Break, Chain, Difference, KnownRows, Look, Reconciler, as_first_seen, compare};
use crate::remote::{Cause, Context, Error, Kind};
use crate::rules::Enricher;
use crate::source::{Page, Refused, Told};
use crate::store::{self, Attention, StoredAccount, StoredRow, Writer};

mod completeness;
mod unreadable;

use unreadable::Unreadable;

/// Rows per batch of writes: large enough to be quick, small enough to stay out of the way of memory.
const ROWS_PER_BATCH: usize = 1000;

/// What a dry run would have added, for the destinations' preview.
#[derive(Default)]
pub struct Preview {
    /// Transactions not in the store yet.
    pub new: Vec<Transaction>,
}

/// The rows of one account as they come.
type Rows = Box<dyn Iterator<Item = Result<Row, Refused>> + Send>;

/// One account on its way into the store.
struct Arrival {
    account: Account,
    known_before: Option<StoredAccount>,
    number: u16,
    from: Option<NaiveDate>,
    until: NaiveDate,
    opening: Option<rust_decimal::Decimal>,
    closing: Option<rust_decimal::Decimal>,
    rows: std::iter::Peekable<Rows>,
    told: Told,
    unlisted: Option<NaiveDate>,
    unreadable: Unreadable,
    /// What is missing has vanished.
    proof: bool,
    /// Why rows may be missing that the bank has.
    doubt: Option<String>,
    reconciler: Reconciler,
    /// Known rows of the account outside the window; read when a row is not in it.
    elsewhere: Option<KnownRows>,
    chain: Chain,
    fetched: u64,
    /// Numbers of known rows whose bank data changed: rules may have something to say to what is new in them.
    touched: Vec<u64>,
}

/// An account and what was fetched of it.
type Fetch = (Account, Result<Page, Error>);

/// What the bank has given.
struct Fetched {
    /// The accounts it lists.
    listed: Vec<String>,
    /// What it has of them.
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
        let asking = if request.by_hand { Asking::Owner } else { Asking::Nobody };
        if let Some(attention) = self.left_alone(source, &self.store.source(&source.name)?, asking) {
            self.note_left_alone(source, &attention, now)?;
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
                let (counts, failures) =
                    self.absorb(source, pages, now, request.dry_run, preview, &mut report.notes)?;
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
        self.conclude(source, &mut report, failure, now)?;
        report.notes.extend(self.session_note(source, now));
        Ok(report)
    }

    /// Signs in and fetches every account. What fails for one account alone is kept beside the pages of the others.
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
    fn note_left_alone(&self, source: &config::Source, message: &str, now: DateTime<Utc>) -> Result<(), store::Error> {
        let state = self.store.source(&source.name)?;
        if state.attention.is_some_and(|known| known.message == message) {
            return Ok(());
        }
        let (message, config) = (message.to_owned(), fingerprint(&self.store, source));
        let attention = Attention { cause: Cause::OutcomeUnknown, message, since: now, config };
        self.store.change_source(&source.name, |state| state.attention = Some(attention)).map(drop)
    }

    /// Remembers how the pull ended.
    pub(super) fn conclude(
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
            // The bank let us in: whatever it wanted of the owner is over. Of other failures nothing is known.
            let is_in = worst.is_none() || report.accounts > 0;
            if is_in {
                state.unsettled.lift();
            }
            let worst = worst.map(|error| self.weighed(source, &state.unsettled, error));
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

    /// Reconciles pages into the store, the rows of all accounts in the order of their times.
    fn absorb(
        &self,
        source: &config::Source,
        pages: Vec<Fetch>,
        now: DateTime<Utc>,
        dry_run: bool,
        preview: &mut Preview,
        notes: &mut Vec<String>,
    ) -> Result<(Counts, Vec<Error>), store::Error> {
        let mut counts = Counts::default();
        let mut failures = Vec::new();
        let mut writer = self.store.writer();
        let mut arrivals = Vec::new();
        let mut enricher = None;
        for (account, page) in pages {
            match page {
                Ok(page) => arrivals.push(self.arrive(source, page, &mut writer, now, notes)?),
                Err(error) => {
                    self.note_unfetched(source, &account, &error, &mut writer)?;
                    failures.push(error);
                }
            }
        }
        while let Some(at) = earliest(&mut arrivals) {
            let arrival = &mut arrivals[at];
            let row = match arrival.rows.next() {
                Some(Ok(row)) => row,
                Some(Err(row)) => {
                    arrival.refuse(row);
                    continue;
                }
                None => continue,
            };
            arrival.fetched += 1;
            arrival.chain.add(&row);
            if dry_run {
                self.foresee(source, arrival, row, &mut counts, preview)?;
            } else {
                let enricher = &mut enricher;
                self.take(source, arrival, row, enricher, &mut writer, &mut counts, now, notes)?;
            }
            if writer.rows() >= ROWS_PER_BATCH && !dry_run {
                writer.commit()?;
                writer = self.store.writer();
            }
        }
        for arrival in &mut arrivals {
            counts.fetched += arrival.fetched;
            let breaks = self.breaks(arrival)?;
            if let Some(at) = breaks.first() {
                notes.push(format!("{}: {at}", arrival.account.account));
            }
            self.finish(source, arrival, &breaks, &mut writer, &mut counts, now, notes)?;
            failures.extend(arrival.failure(&source.name));
        }
        if !dry_run {
            writer.commit()?;
            let touched = arrivals.iter().flat_map(|arrival| arrival.touched.iter().copied());
            self.fill_touched(touched, now)?;
            self.store.sync()?;
        }
        Ok((counts, failures))
    }

    /// Makes an account ready for its rows.
    fn arrive(
        &self,
        source: &config::Source,
        page: Page,
        writer: &mut Writer<'_>,
        now: DateTime<Utc>,
        notes: &mut Vec<String>,
    ) -> Result<Arrival, store::Error> {
        let known_before = self.store.account(&source.name, &page.account.account);
        let today = now.with_timezone(&self.config.timezone).date_naive();
        let former = known_before.as_ref().map(|known| known.account.currency.clone());
        let changed = former.filter(|former| *former != page.account.currency && !former.is_empty());
        if let Some(former) = &changed {
            notes.push(format!(
                "{}: the currency changed from {former} to {}; rows known before keep the currency they were first seen in",
                page.account.account, page.account.currency
            ));
        }
        let number = writer.put_account(&source.name, &page.account, |stored| {
            stored.former_currencies.extend(changed.map(|former| (today, former)));
        })?;
        let days = page.from.unwrap_or(NaiveDate::MIN)..=page.until;
        let window = if known_before.is_some() { self.store.known(number, days)? } else { KnownRows::default() };
        // A reply that is odd, or empty where there was something before, is no proof that rows are gone.
        let suspicious = !page.notes.is_empty() || (page.count == 0 && window.len() > 2);
        notes.extend(page.notes.iter().map(|note| format!("{}: {note}", page.account.account)));
        Ok(Arrival {
            account: page.account,
            known_before,
            number,
            from: page.from,
            until: page.until,
            opening: page.opening,
            closing: page.closing,
            rows: (Box::new(page.rows.map(storable)) as Rows).peekable(),
            told: page.told,
            unlisted: page.unlisted,
            unreadable: Unreadable::of(page.unread),
            proof: !suspicious && page.unlisted.is_none(),
            doubt: None,
            reconciler: Reconciler::new(window),
            elsewhere: None,
            chain: Chain::default(),
            fetched: 0,
            touched: Vec::new(),
        })
    }

    /// Whether a row is new, and if not, how it differs.
    fn judge(&self, arrival: &mut Arrival, row: &Row) -> Result<Judgement, store::Error> {
        let known = match arrival.reconciler.look(row) {
            Look::Unchanged | Look::Repeated => return Ok(Judgement::Nothing),
            Look::Compare(known) => known,
            Look::Unknown if arrival.known_before.is_none() => return Ok(Judgement::New),
            Look::Unknown => {
                // The bank may have moved a known entry into the window from another date.
                if arrival.elsewhere.is_none() {
                    arrival.elsewhere = Some(self.store.known(arrival.number, NaiveDate::MIN..=NaiveDate::MAX)?);
                }
                match arrival.elsewhere.as_ref().and_then(|elsewhere| elsewhere.get(&id_hash(&row.id))) {
                    Some(known) => *known,
                    None => return Ok(Judgement::New),
                }
            }
        };
        let stored = self.store.stored(known.number)?;
        Ok(match compare(&stored.row, row) {
            _ if known.vanished => Judgement::Again(known, Box::new(stored), What::Reappeared),
            Difference::Changed => Judgement::Again(known, Box::new(stored), What::Changed),
            Difference::None | Difference::Restated => Judgement::Nothing,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn take(
        &self,
        source: &config::Source,
        arrival: &mut Arrival,
        row: Row,
        enricher: &mut Option<Enricher>,
        writer: &mut Writer<'_>,
        counts: &mut Counts,
        now: DateTime<Utc>,
        notes: &mut Vec<String>,
    ) -> Result<(), store::Error> {
        let judgement = self.judge(arrival, &row)?;
        if !matches!(judgement, Judgement::Nothing) && row.has_broken_text() {
            let account = &arrival.account.account;
            notes.push(format!("{account}: {} has a character that cannot be read; it is shown as \u{fffd}", row.id));
        }
        match judgement {
            Judgement::Nothing => {}
            Judgement::New => {
                counts.new += 1;
                let transaction = arrival.transaction(source, row);
                let ready = match enricher.take() {
                    Some(ready) => ready,
                    None => self.rules()?.ready(),
                };
                let enrichment = enricher.insert(ready).enrich(&transaction);
                writer.add_enriched(arrival.number, transaction.row, enrichment)?;
            }
            Judgement::Again(known, former, what) => {
                counts.changed += 1;
                arrival.touched.push(known.number);
                writer.change(known, &former, as_first_seen(&former.row, row), what, now.timestamp())?;
            }
        }
        Ok(())
    }

    fn foresee(
        &self,
        source: &config::Source,
        arrival: &mut Arrival,
        row: Row,
        counts: &mut Counts,
        preview: &mut Preview,
    ) -> Result<(), store::Error> {
        match self.judge(arrival, &row)? {
            Judgement::Nothing => {}
            Judgement::Again(..) => counts.changed += 1,
            Judgement::New => {
                counts.new += 1;
                preview.new.push(arrival.transaction(source, row));
            }
        }
        Ok(())
    }

    /// Marks what vanished and notes how far the account is known now.
    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        source: &config::Source,
        arrival: &mut Arrival,
        breaks: &[Break],
        writer: &mut Writer<'_>,
        counts: &mut Counts,
        now: DateTime<Utc>,
        notes: &mut Vec<String>,
    ) -> Result<(), store::Error> {
        let gone = arrival.reconciler.vanished();
        if arrival.proof && !arrival.unreadable.may_hide_known() {
            for known in gone {
                let former: StoredRow = self.store.stored(known.number)?;
                let row = former.row.clone();
                counts.vanished += 1;
                writer.change(known, &former, row, What::Vanished, now.timestamp())?;
            }
        } else if !gone.is_empty() {
            let (account, count) = (&arrival.account.account, gone.len());
            notes.push(format!("{account}: {count} known rows have not come again; none is taken as vanished"));
        }
        let account = &arrival.account.account;
        notes.extend(arrival.unreadable.notes().map(|note| format!("{account}: {note}")));
        let doubt = self.doubt(arrival)?;
        let noted = arrival.told == Told::NoAccount;
        notes.extend(doubt.iter().filter(|_| !noted).map(|doubt| format!("{account}: {doubt}")));
        arrival.doubt = arrival.unreadable.doubt().or(doubt);
        let everything = arrival.from.is_none_or(|from| source.scope.history_from == Some(from));
        let problem = breaks.first().map(|first| match breaks.len() {
            1 => first.to_string(),
            more => format!("{first} (and {} more)", more - 1),
        });
        let today = now.with_timezone(&self.config.timezone).date_naive();
        writer.put_account(&source.name, &arrival.account, |stored| {
            stored.doubt = arrival.doubt.clone();
            if arrival.told != Told::Rows {
                return;
            }
            let reread = arrival.unreadable.since().into_iter().chain(arrival.unlisted).min();
            // A chain with a hole in it cannot prove that a former break is closed.
            let former = stored.problem.clone().filter(|_| reread.is_some());
            stored.note_problem(problem.or(former), everything, today);
            if !arrival.is_emptied() {
                stored.fetched_until = stored.fetched_until.max(Some(arrival.until));
                stored.reread_from = reread;
            }
        })?;
        Ok(())
    }
}

impl Arrival {
    /// A new row of this account in its context.
    fn transaction(&self, source: &config::Source, row: Row) -> Transaction {
        Transaction {
            source: source.name.as_str().into(),
            account: self.account.account.as_str().into(),
            account_name: self.account.name.as_str().into(),
            customer: self.account.customer.as_str().into(),
            row,
            enrichment: Default::default(),
            transfer: Default::default(),
            vanished: false,
        }
    }
}

/// A row that could not be read back from the store counts as unreadable from the first.
fn storable(row: Result<Row, Refused>) -> Result<Row, Refused> {
    let row = row?;
    match store::fits(&row) {
        Ok(()) => Ok(row),
        Err(store::Unfit(what)) => {
            let why = format!("entry {} of {} cannot be stored: it has {what}", row.id, row.date);
            Err(Refused { since: row.date, time: Some(row.time), id: Some(row.id), why })
        }
    }
}

/// What a row is to the store.
enum Judgement {
    Nothing,
    New,
    Again(crate::reconcile::Known, Box<StoredRow>, What),
}

/// Counts of one pull.
#[derive(Default)]
struct Counts {
    fetched: u64,
    new: u64,
    changed: u64,
    vanished: u64,
}

/// Which account has the earliest next row; an unreadable row comes first, so that it is reported.
fn earliest(arrivals: &mut [Arrival]) -> Option<usize> {
    let next = |(at, arrival): (usize, &mut Arrival)| {
        let time = match arrival.rows.peek()? {
            Ok(row) => Some(row.time),
            Err(_) => None,
        };
        Some((time, at))
    };
    arrivals.iter_mut().enumerate().filter_map(next).min().map(|(_, at)| at)
}
