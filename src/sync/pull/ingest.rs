//! Reconciles fetched pages into the store, the rows of all accounts in the order of their times.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::identity::{Identity, settle};
use super::unreadable::Unreadable;
use super::{Fetch, Preview};
use crate::config;
use crate::model::{Account, ChangeKind, Row, Transaction, id_hash};
use crate::reconcile::{
    Break, Chain, Difference, Known, KnownRows, Look, Reconciler, Shown, compare, compare_words, worded,
};
use crate::remote::Error;
use crate::rules::Enricher;
use crate::source::{Coverage, Ids, Page, Refused};
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
    /// The means to find rows under new ids; `None`: ids alone decide.
    pub identity: Option<Identity>,
    ids: Ids,
    /// Known rows of the account outside the window, and their further ids; read when a row is not in the window.
    elsewhere: Option<(KnownRows, KnownRows)>,
    pub chain: Chain,
    pub fetched: u64,
    /// Rows that this answer has added.
    pub added: u64,
    /// Numbers of known rows whose bank data changed: rules may apply to the new data.
    pub touched: Vec<u64>,
}

/// Counts of one pull.
#[derive(Default)]
pub(in crate::sync) struct Counts {
    pub fetched: u64,
    pub new: u64,
    pub changed: u64,
    pub vanished: u64,
}

/// A pull on its way into the store.
pub(in crate::sync) struct Ingest<'a> {
    pub engine: &'a Engine,
    pub source: &'a config::Source,
    /// The source gives parts of the history as they come, like files.
    is_partial: bool,
    pub now: DateTime<Utc>,
    pub notes: &'a mut Vec<String>,
    pub counts: Counts,
    pub failures: Vec<Error>,
    /// The rules, once a new row needs them.
    pub enricher: Option<Enricher>,
    listing: &'a mut Listing,
}

/// The rows that the present listing of each account has shown, for a listing that comes in several parts.
pub(in crate::sync) type Listing = HashMap<String, Shown>;

/// The relation of a row to the store.
pub(super) enum Judgement {
    Nothing,
    New,
    /// A known row whose bank data or standing differs, perhaps under a further id.
    Again(Known, Box<StoredRow>, ChangeKind, Option<Alias>),
    /// A known row under a further id, with nothing to change.
    Same(Alias),
    /// A row that the source that gave it has missed and this one shows.
    Back(Known, Box<StoredRow>, Alias),
    /// Any of the rows with these ids may be the same.
    Doubtful(Vec<String>),
    /// The row waits for the end of its day.
    Held(Option<Known>),
}

/// A further id of the row with this number.
pub(super) struct Alias {
    pub number: u64,
    /// The day under which the id is known already.
    pub known_at: Option<NaiveDate>,
}

impl<'a> Ingest<'a> {
    /// Prepares; nothing is read or written.
    pub fn new(
        engine: &'a Engine,
        source: &'a config::Source,
        is_partial: bool,
        now: DateTime<Utc>,
        notes: &'a mut Vec<String>,
        listing: &'a mut Listing,
    ) -> Ingest<'a> {
        let counts = Counts::default();
        Ingest { engine, source, is_partial, now, notes, counts, failures: Vec::new(), enricher: None, listing }
    }

    /// Stores the rows of these pages.
    pub fn store(&mut self, pages: Vec<Fetch>) -> Result<(), store::Error> {
        let mut writer = self.engine.store.writer();
        let mut accounts = self.begin(pages, &mut writer)?;
        while let Some((at, row)) = next(&mut accounts) {
            for (row, judgement) in self.judged(&mut accounts[at], row)? {
                self.take(&mut accounts[at], row, judgement, &mut writer)?;
            }
            if writer.rows() >= ROWS_PER_BATCH {
                writer.commit()?;
                writer = self.engine.store.writer();
            }
        }
        for account in &mut accounts {
            for (row, judgement) in settle(&self.engine.store, account)? {
                self.take(account, row, judgement, &mut writer)?;
            }
        }
        self.finish_all(&mut accounts, &mut writer)?;
        writer.commit()?;
        self.engine.close_gaps(&accounts, self.notes)?;
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
            for (row, judgement) in self.judged(&mut accounts[at], row)? {
                self.count(&accounts[at], row, judgement, preview);
            }
        }
        for account in &mut accounts {
            for (row, judgement) in settle(&self.engine.store, account)? {
                self.count(account, row, judgement, preview);
            }
        }
        self.finish_all(&mut accounts, &mut writer)
    }

    fn count(&mut self, account: &AccountIngest, row: Row, judgement: Judgement, preview: &mut Preview) {
        match judgement {
            Judgement::Nothing | Judgement::Same(_) | Judgement::Doubtful(_) | Judgement::Held(_) => {}
            Judgement::Again(..) | Judgement::Back(..) => self.counts.changed += 1,
            Judgement::New => {
                self.counts.new += 1;
                preview.new.push(account.transaction(self.source, row));
            }
        }
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
        let known_before = store.feed(&source.name, &page.account.account);
        let identity = Identity::of(store, source, &page, known_before.as_ref())?;
        let today = self.today();
        let former = known_before.as_ref().map(|known| known.account.currency.clone());
        let changed = former.filter(|former| *former != page.account.currency && !former.is_empty());
        if let Some(former) = &changed {
            self.notes.push(format!(
                "{}: the currency changed from {former} to {}; rows known before keep the currency they were first seen in",
                page.account.account, page.account.currency
            ));
        }
        let (is_partial, now) = (self.is_partial, self.now);
        let number = writer.put_account(&source.name, &page.account, |stored| {
            (stored.is_partial, stored.described_at) = (is_partial, Some(now));
            stored.former_currencies.extend(changed.map(|former| (today, former)));
        })?;
        let days = page.from.unwrap_or(NaiveDate::MIN)..=page.until;
        let mut reconciler = match (&identity, &known_before) {
            (Some(identity), _) => {
                let window = store.known_of(identity.own(), days.clone())?;
                Reconciler::new(window).with_aliases(store.aliases_of(&identity.all(), days)?)
            }
            (None, Some(_)) => Reconciler::new(store.known(number, days)?),
            (None, None) => Reconciler::new(KnownRows::default()),
        };
        let before = self.listing.remove(&page.account.account).filter(|_| page.continues);
        reconciler.resume(before.unwrap_or_default());
        // A reply that is odd, or empty where there was something before, is no proof that rows are gone.
        let suspicious = !page.notes.is_empty() || (page.count == 0 && reconciler.known() > 2);
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
            reconciler,
            identity,
            ids: page.ids,
            elsewhere: None,
            chain: Chain::default(),
            fetched: 0,
            added: 0,
            touched: Vec::new(),
        })
    }

    /// Compares a row with the store: the rows of the account about which the row settles something, itself or the ones
    /// of the day before.
    fn judged(&self, account: &mut AccountIngest, row: Row) -> Result<Vec<(Row, Judgement)>, store::Error> {
        let is_over = account.identity.as_ref().is_some_and(|identity| identity.is_new_day(row.date));
        let mut judged = if is_over { settle(&self.engine.store, account)? } else { Vec::new() };
        match self.judge(account, &row)? {
            Judgement::Nothing => {}
            Judgement::Held(alias) => {
                account.identity.iter_mut().for_each(|identity| identity.hold(row.clone(), alias))
            }
            judgement => judged.push((row, judgement)),
        }
        Ok(judged)
    }

    /// Compares a row with the store by its id.
    fn judge(&self, account: &mut AccountIngest, row: &Row) -> Result<Judgement, store::Error> {
        let known = match account.reconciler.look(row) {
            Look::Unchanged | Look::Repeated => return Ok(Judgement::Nothing),
            Look::Compare(known) => known,
            Look::Alias(known) => return Ok(Judgement::Held(Some(known))),
            Look::Unknown if account.known_before.is_none() && account.identity.is_none() => return Ok(Judgement::New),
            Look::Unknown => {
                // The bank may have moved a known entry into the window from another date.
                let (hash, may_wait) = (id_hash(&row.id), account.identity.is_some());
                let (ids, aliases) = self.elsewhere(account)?;
                match (ids.get(&hash), aliases.get(&hash)) {
                    (Some(known), _) => *known,
                    (None, Some(alias)) => return Ok(Judgement::Held(Some(*alias))),
                    (None, None) if may_wait => return Ok(Judgement::Held(None)),
                    (None, None) => return Ok(Judgement::New),
                }
            }
        };
        account.reconciler.show(known.number);
        let stored = self.engine.store.stored(known.number)?;
        let difference = match account.ids {
            Ids::Dependable => compare(&stored.row, row),
            Ids::Reissued => compare_words(&stored.row, row),
        };
        Ok(match difference {
            _ if known.vanished => Judgement::Again(known, Box::new(stored), ChangeKind::Reappeared, None),
            Difference::Changed => Judgement::Again(known, Box::new(stored), ChangeKind::Changed, None),
            Difference::None | Difference::Restated => Judgement::Nothing,
        })
    }

    /// Every known row of this source in the account, and its further ids.
    fn elsewhere<'b>(&self, account: &'b mut AccountIngest) -> Result<&'b (KnownRows, KnownRows), store::Error> {
        let (store, days) = (&self.engine.store, NaiveDate::MIN..=NaiveDate::MAX);
        let AccountIngest { elsewhere, identity, number, .. } = account;
        let read = match (elsewhere.take(), identity) {
            (Some(read), _) => read,
            (None, Some(identity)) => {
                (store.known_of(identity.own(), days.clone())?, store.aliases_of(&identity.all(), days)?)
            }
            (None, None) => (store.known(*number, days)?, KnownRows::default()),
        };
        Ok(elsewhere.insert(read))
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
            self.listing.insert(account.account.account.clone(), account.reconciler.take_shown());
        }
        Ok(())
    }

    /// The known rows that did not come and that only this source can answer for.
    fn missing(&self, account: &AccountIngest) -> Result<Vec<Known>, store::Error> {
        let gone = account.reconciler.vanished();
        match &account.identity {
            Some(identity) => identity.vanished(&self.engine.store, gone, account.days()),
            None => Ok(gone),
        }
    }

    /// Marks the rows that vanished and notes how far the account is known now.
    fn finish(
        &mut self,
        account: &mut AccountIngest,
        breaks: &[Break],
        writer: &mut Writer<'_>,
    ) -> Result<(), store::Error> {
        let iban = account.account.account.clone();
        let gone = self.missing(account)?;
        if account.proof && !account.unreadable.may_hide_known() {
            for known in gone {
                let former: StoredRow = self.engine.store.stored(known.number)?;
                let row = former.row.clone();
                self.counts.vanished += 1;
                writer.change(known, &former, row, ChangeKind::Vanished, self.now.timestamp())?;
            }
            if let Some(identity) = &account.identity {
                for doubtful in identity.doubtful_gone(&account.reconciler, account.days()) {
                    writer.remove_doubtful(doubtful)?;
                }
            }
        } else if !gone.is_empty() {
            let count = gone.len();
            self.notes.push(format!("{iban}: {count} known rows have not come again; none is taken as vanished"));
        }
        let doubtful = account.identity.as_ref().map_or(0, |identity| identity.doubtful_count);
        if doubtful > 0 {
            self.notes.push(format!("{iban}: {doubtful} rows may be the same as rows of another source; they are kept apart, `bankfeed status` lists them"));
        }
        self.notes.extend(account.unreadable.notes().map(|note| format!("{iban}: {note}")));
        let doubt = account.doubt.take().or(self.engine.coverage_note(account)?);
        let noted = account.coverage == Coverage::NoAccount;
        self.notes.extend(doubt.iter().filter(|_| !noted).map(|doubt| format!("{iban}: {doubt}")));
        let doubt = account.unreadable.doubt().or(doubt);
        let everything = account.from.is_none_or(|from| self.source.scope.history_from == Some(from));
        let problem = worded(breaks);
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
    /// The days of the window.
    fn days(&self) -> std::ops::RangeInclusive<NaiveDate> {
        self.from.unwrap_or(NaiveDate::MIN)..=self.until
    }

    /// The records whose rows this source may change.
    pub(super) fn own_records(&self) -> Vec<u16> {
        self.identity.as_ref().map_or_else(|| vec![self.number], |identity| [&[self.number], identity.own()].concat())
    }

    /// Every record of the account.
    pub(super) fn records(&self) -> Vec<u16> {
        self.identity
            .as_ref()
            .map_or_else(|| vec![self.number], |identity| [&[self.number][..], &identity.all()].concat())
    }

    /// A new row of this account in its context.
    pub(super) fn transaction(&self, source: &config::Source, row: Row) -> Transaction {
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
