//! Reconciles fetched pages into the store, the rows of all accounts in the order of their times.

use chrono::{DateTime, NaiveDate, Utc};

use super::unreadable::Unreadable;
use super::{Fetch, Preview};
use crate::config;
use crate::model::{Account, ChangeKind, Row, Transaction, id_hash};
use crate::reconcile::{Break, Chain, Difference, KnownRows, Look, Reconciler, as_first_seen, compare};
use crate::remote::Error;
use crate::rules::Enricher;
use crate::source::{Coverage, Page, Refused};
use crate::store::{self, StoredAccount, StoredRow, Writer};
use crate::sync::Engine;

/// Rows per batch of writes: large enough to be quick, small enough to stay out of the way of memory.
const ROWS_PER_BATCH: usize = 1000;

/// The rows of one account as they come.
type Rows = Box<dyn Iterator<Item = Result<Row, Refused>> + Send>;

/// An account on its way into the store.
pub(super) struct AccountIngest {
    pub account: Account,
    pub known_before: Option<StoredAccount>,
    pub number: u16,
    pub from: Option<NaiveDate>,
    pub until: NaiveDate,
    pub opening: Option<rust_decimal::Decimal>,
    pub closing: Option<rust_decimal::Decimal>,
    rows: std::iter::Peekable<Rows>,
    pub coverage: Coverage,
    pub unlisted: Option<NaiveDate>,
    pub unreadable: Unreadable,
    /// The source's own doubt about the rows.
    pub doubt: Option<String>,
    /// The fetch proves that known rows which did not come have vanished.
    pub proof: bool,
    pub reconciler: Reconciler,
    /// Known rows of the account outside the window; read when a row is not in the window.
    elsewhere: Option<KnownRows>,
    pub chain: Chain,
    pub fetched: u64,
    /// Numbers of known rows whose bank data changed: rules may apply to the new data.
    touched: Vec<u64>,
}

/// Counts of one pull.
#[derive(Default)]
pub(super) struct Counts {
    pub fetched: u64,
    pub new: u64,
    pub changed: u64,
    pub vanished: u64,
}

/// A pull on its way into the store.
pub(super) struct Ingest<'a> {
    engine: &'a Engine,
    source: &'a config::Source,
    now: DateTime<Utc>,
    notes: &'a mut Vec<String>,
    pub counts: Counts,
    pub failures: Vec<Error>,
    /// The rules, once a new row needs them.
    enricher: Option<Enricher>,
}

/// The relation of a row to the store.
enum Judgement {
    Nothing,
    New,
    Again(crate::reconcile::Known, Box<StoredRow>, ChangeKind),
}

impl<'a> Ingest<'a> {
    /// Prepares; nothing is read or written.
    pub fn new(
        engine: &'a Engine,
        source: &'a config::Source,
        now: DateTime<Utc>,
        notes: &'a mut Vec<String>,
    ) -> Ingest<'a> {
        Ingest { engine, source, now, notes, counts: Counts::default(), failures: Vec::new(), enricher: None }
    }

    /// Stores the rows of these pages.
    pub fn store(&mut self, pages: Vec<Fetch>) -> Result<(), store::Error> {
        let mut writer = self.engine.store.writer();
        let mut accounts = self.begin(pages, &mut writer)?;
        while let Some((at, row)) = next(&mut accounts) {
            self.take(&mut accounts[at], row, &mut writer)?;
            if writer.rows() >= ROWS_PER_BATCH {
                writer.commit()?;
                writer = self.engine.store.writer();
            }
        }
        self.finish_all(&mut accounts, &mut writer)?;
        writer.commit()?;
        let touched = accounts.iter().flat_map(|account| account.touched.iter().copied());
        self.engine.fill_touched(touched, self.now)?;
        self.engine.store.sync()
    }

    /// Counts the rows of these pages and shows the new ones; nothing is stored.
    pub fn preview(&mut self, pages: Vec<Fetch>, preview: &mut Preview) -> Result<(), store::Error> {
        // The writer is never committed.
        let mut writer = self.engine.store.writer();
        let mut accounts = self.begin(pages, &mut writer)?;
        while let Some((at, row)) = next(&mut accounts) {
            let account = &mut accounts[at];
            match self.judge(account, &row)? {
                Judgement::Nothing => {}
                Judgement::Again(..) => self.counts.changed += 1,
                Judgement::New => {
                    self.counts.new += 1;
                    preview.new.push(account.transaction(self.source, row));
                }
            }
        }
        self.finish_all(&mut accounts, &mut writer)
    }

    /// Makes every account that was fetched ready for its rows.
    fn begin(&mut self, pages: Vec<Fetch>, writer: &mut Writer<'_>) -> Result<Vec<AccountIngest>, store::Error> {
        let mut accounts = Vec::new();
        for (account, page) in pages {
            match page {
                Ok(page) => accounts.push(self.stage(page, writer)?),
                Err(error) if error.resting_until().is_some() => self.failures.push(error),
                Err(error) => {
                    self.engine.note_unfetched(self.source, &account, &error, writer)?;
                    self.failures.push(error);
                }
            }
        }
        Ok(accounts)
    }

    /// Makes an account ready for its rows.
    fn stage(&mut self, page: Page, writer: &mut Writer<'_>) -> Result<AccountIngest, store::Error> {
        let (store, source) = (&self.engine.store, self.source);
        let known_before = store.account(&source.name, &page.account.account);
        let today = self.today();
        let former = known_before.as_ref().map(|known| known.account.currency.clone());
        let changed = former.filter(|former| *former != page.account.currency && !former.is_empty());
        if let Some(former) = &changed {
            self.notes.push(format!(
                "{}: the currency changed from {former} to {}; rows known before keep the currency they were first seen in",
                page.account.account, page.account.currency
            ));
        }
        let number = writer.put_account(&source.name, &page.account, |stored| {
            stored.former_currencies.extend(changed.map(|former| (today, former)));
        })?;
        let days = page.from.unwrap_or(NaiveDate::MIN)..=page.until;
        let window = if known_before.is_some() { store.known(number, days)? } else { KnownRows::default() };
        // A reply that is odd, or empty where there was something before, is no proof that rows are gone.
        let suspicious = !page.notes.is_empty() || (page.count == 0 && window.len() > 2);
        self.notes.extend(page.notes.iter().map(|note| format!("{}: {note}", page.account.account)));
        Ok(AccountIngest {
            account: page.account,
            known_before,
            number,
            from: page.from,
            until: page.until,
            opening: page.opening,
            closing: page.closing,
            rows: (Box::new(page.rows.map(storable)) as Rows).peekable(),
            coverage: page.coverage,
            unlisted: page.unlisted,
            unreadable: Unreadable::of(page.unread),
            proof: !suspicious && page.unlisted.is_none() && page.doubt.is_none(),
            doubt: page.doubt,
            reconciler: Reconciler::new(window),
            elsewhere: None,
            chain: Chain::default(),
            fetched: 0,
            touched: Vec::new(),
        })
    }

    /// Compares a row with the store.
    fn judge(&self, account: &mut AccountIngest, row: &Row) -> Result<Judgement, store::Error> {
        let known = match account.reconciler.look(row) {
            Look::Unchanged | Look::Repeated => return Ok(Judgement::Nothing),
            Look::Compare(known) => known,
            Look::Unknown if account.known_before.is_none() => return Ok(Judgement::New),
            Look::Unknown => {
                // The bank may have moved a known entry into the window from another date.
                if account.elsewhere.is_none() {
                    account.elsewhere = Some(self.engine.store.known(account.number, NaiveDate::MIN..=NaiveDate::MAX)?);
                }
                match account.elsewhere.as_ref().and_then(|elsewhere| elsewhere.get(&id_hash(&row.id))) {
                    Some(known) => *known,
                    None => return Ok(Judgement::New),
                }
            }
        };
        let stored = self.engine.store.stored(known.number)?;
        Ok(match compare(&stored.row, row) {
            _ if known.vanished => Judgement::Again(known, Box::new(stored), ChangeKind::Reappeared),
            Difference::Changed => Judgement::Again(known, Box::new(stored), ChangeKind::Changed),
            Difference::None | Difference::Restated => Judgement::Nothing,
        })
    }

    fn take(&mut self, account: &mut AccountIngest, row: Row, writer: &mut Writer<'_>) -> Result<(), store::Error> {
        let judgement = self.judge(account, &row)?;
        if !matches!(judgement, Judgement::Nothing) && row.has_broken_text() {
            let (iban, id) = (&account.account.account, &row.id);
            self.notes.push(format!("{iban}: {id} has a character that cannot be read; it is shown as \u{fffd}"));
        }
        match judgement {
            Judgement::Nothing => {}
            Judgement::New => {
                self.counts.new += 1;
                let transaction = account.transaction(self.source, row);
                let ready = match self.enricher.take() {
                    Some(ready) => ready,
                    None => self.engine.rules()?.ready(),
                };
                let enrichment = self.enricher.insert(ready).enrich(&transaction);
                writer.add_enriched(account.number, transaction.row, enrichment)?;
            }
            Judgement::Again(known, former, what) => {
                self.counts.changed += 1;
                account.touched.push(known.number);
                writer.change(known, &former, as_first_seen(&former.row, row), what, self.now.timestamp())?;
            }
        }
        Ok(())
    }

    fn finish_all(&mut self, accounts: &mut [AccountIngest], writer: &mut Writer<'_>) -> Result<(), store::Error> {
        for account in accounts {
            self.counts.fetched += account.fetched;
            let breaks = self.engine.breaks(account)?;
            if let Some(at) = breaks.first() {
                self.notes.push(format!("{}: {at}", account.account.account));
            }
            self.finish(account, &breaks, writer)?;
            self.failures.extend(account.failure(&self.source.name));
        }
        Ok(())
    }

    /// Marks the rows that vanished and notes how far the account is known now.
    fn finish(
        &mut self,
        account: &mut AccountIngest,
        breaks: &[Break],
        writer: &mut Writer<'_>,
    ) -> Result<(), store::Error> {
        let gone = account.reconciler.vanished();
        let iban = account.account.account.clone();
        if account.proof && !account.unreadable.may_hide_known() {
            for known in gone {
                let former: StoredRow = self.engine.store.stored(known.number)?;
                let row = former.row.clone();
                self.counts.vanished += 1;
                writer.change(known, &former, row, ChangeKind::Vanished, self.now.timestamp())?;
            }
        } else if !gone.is_empty() {
            let count = gone.len();
            self.notes.push(format!("{iban}: {count} known rows have not come again; none is taken as vanished"));
        }
        self.notes.extend(account.unreadable.notes().map(|note| format!("{iban}: {note}")));
        let doubt = account.doubt.take().or(self.engine.coverage_note(account)?);
        let noted = account.coverage == Coverage::NoAccount;
        self.notes.extend(doubt.iter().filter(|_| !noted).map(|doubt| format!("{iban}: {doubt}")));
        let doubt = account.unreadable.doubt().or(doubt);
        let everything = account.from.is_none_or(|from| self.source.scope.history_from == Some(from));
        let problem = breaks.first().map(|first| match breaks.len() {
            1 => first.to_string(),
            more => format!("{first} (and {} more)", more - 1),
        });
        let today = self.today();
        writer.put_account(&self.source.name, &account.account, |stored| {
            stored.doubt = doubt;
            if account.coverage != Coverage::Rows {
                return;
            }
            let reread = account.unreadable.since().into_iter().chain(account.unlisted).min();
            // A chain with a hole in it cannot prove that a former break is closed.
            let former = stored.problem.clone().filter(|_| reread.is_some());
            stored.note_problem(problem.or(former), everything, today);
            if !account.is_emptied() {
                stored.fetched_until = stored.fetched_until.max(Some(account.until));
                stored.reread_from = reread;
            }
        })?;
        Ok(())
    }

    /// The owner's day.
    fn today(&self) -> NaiveDate {
        self.now.with_timezone(&self.engine.config.timezone).date_naive()
    }
}

impl AccountIngest {
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

/// A row that could not be read back from the store counts as unreadable at once.
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

/// The next row in the order of times, with the account that it is of. Rows that cannot be read are set aside.
fn next(accounts: &mut [AccountIngest]) -> Option<(usize, Row)> {
    while let Some(at) = earliest(accounts) {
        let account = &mut accounts[at];
        match account.rows.next() {
            Some(Ok(row)) => {
                account.fetched += 1;
                account.chain.add(&row);
                return Some((at, row));
            }
            Some(Err(row)) => account.refuse(row),
            None => {}
        }
    }
    None
}

/// The account with the earliest next row; an unreadable row comes first, so that it is reported.
fn earliest(accounts: &mut [AccountIngest]) -> Option<usize> {
    let next = |(at, account): (usize, &mut AccountIngest)| {
        let time = match account.rows.peek()? {
            Ok(row) => Some(row.time),
            Err(_) => None,
        };
        Some((time, at))
    };
    accounts.iter_mut().enumerate().filter_map(next).min().map(|(_, at)| at)
}
