//! The local store: accounts, transactions with the bank's payload, the change log, the watermark of each destination,
//! and the run history. Nothing else in the program says `sled`.
//!
//! What it promises: what [`Store::sync`] returned for is on the disk; a batch of writes is applied whole or not at all;
//! a row is never overwritten without its former version going into the change log; a store that has lost something says
//! so instead of being silently shorter. It knows nothing of services.
//!
//! How a loss is noticed: every batch raises a generation, which a file beside the database has noted too once it counts
//! as acknowledged ([`witness`]), so a lost tail shows at once. And the counters carry a sum over all records, so a
//! record that is gone or older than it should be shows whenever everything is read ([`Store::prove`]).
//!
//! One tree holds everything, so that one atomic batch can touch anything. Keys:
//! `t<number>` a transaction (its number is its place in the change log) · `c<seq>` a later change, with the former
//! version · `k<day><account>` what reconciling needs of the rows of one day · `a<number>` accounts · `s<name>` sources ·
//! `d<name>` destinations · `n<name>` notifiers · `r<number>` runs · `m` counters.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::ops::{Bound, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::destination::What;
use crate::model::{Account, Enrichment, Row, Transaction, id_hash};
use crate::reconcile::{IdentityHasher, Known, KnownRows, fingerprint};

pub mod backups;
mod codec;
mod damage;
mod disk;
mod open;
mod place;
pub mod portable;
mod records;
mod recover;
#[cfg(test)]
mod tests;
mod witness;

pub use codec::{Part, StoredRow};
pub use open::Proof;
pub use records::{
    Attention, DestinationState, Intent, Meta, NotifierState, Published, SourceState, StoredAccount, TabRules, Told,
};
pub use recover::{Recovered, recover};

/// Layout of the keys. A store with a higher one is refused, an older one is migrated. 1: without sums and generation.
const SCHEMA: u32 = 2;

/// Runs kept.
const RUNS_KEPT: u64 = 500;

/// Why the store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another process owns it.
    #[error("the store in {0} is in use by another process")]
    InUse(String),
    /// It lost or garbled something.
    #[error("the store is damaged: {0}; nothing is sent until it is whole again")]
    Damaged(String),
    /// Not written by this program or by a later release.
    #[error("{0}")]
    Foreign(String),
    /// A backup that cannot be used.
    #[error("{0}")]
    Backup(String),
    /// No space left.
    #[error("the disk that holds the store is full; nothing is lost: free some space, then run `bankfeed sync`")]
    Full,
    /// The file system says no.
    #[error("the store cannot be read or written: {0}")]
    Io(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full { Error::Full } else { Error::Io(error.to_string()) }
    }
}

impl From<codec::Broken> for Error {
    fn from(codec::Broken(what): codec::Broken) -> Error {
        Error::Damaged(what)
    }
}

type Result<T> = std::result::Result<T, Error>;

/// Numbers of transactions by the hash of their id.
pub type Numbers = HashMap<u64, u64, std::hash::BuildHasherDefault<IdentityHasher>>;

/// An open store. One process owns it at a time.
pub struct Store {
    disk: disk::Disk,
    witness: Mutex<witness::Witness>,
    /// Held while a batch is applied, and while everything is read: the sum over all records must fit what is read.
    writing: Mutex<()>,
    dir: PathBuf,
    codec: codec::Codec,
    meta: Mutex<Meta>,
    accounts: RwLock<Vec<StoredAccount>>,
    /// What was found damaged, in words.
    damage: Mutex<Option<String>>,
    /// When everything was read and found whole.
    proven: Mutex<Option<Instant>>,
    /// Last, so that it is given up after everything else.
    _lock: Option<File>,
}

/// One entry of the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Place in the log.
    pub seq: u64,
    /// Number of the transaction.
    pub number: u64,
    /// What happened.
    pub what: What,
    /// The transaction's record, where reading the log has come by it.
    record: Option<sled::IVec>,
}

/// A later change as stored: which row, what, when, and the version before.
#[derive(Serialize, Deserialize)]
struct StoredChange {
    number: u64,
    what: What,
    at: i64,
    former: Vec<u8>,
}

/// A former version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// When it was replaced, seconds since 1970.
    pub replaced_at: i64,
    /// What replaced it.
    pub what: What,
    /// The version.
    pub transaction: Transaction,
}

/// Which rows an account has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// Days with rows that the bank shows, oldest first.
    pub days: Vec<NaiveDate>,
    /// Numbers of the rows that it no longer shows.
    pub vanished: Vec<u64>,
}

impl Store {
    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.dir
    }

    /// Counters.
    pub fn meta(&self) -> Meta {
        lock(&self.meta).clone()
    }

    /// Accounts in the order they were first seen.
    pub fn accounts(&self) -> Vec<StoredAccount> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The account of a source, if it was seen before.
    pub fn account(&self, source: &str, account: &str) -> Option<StoredAccount> {
        self.accounts().into_iter().find(|stored| stored.source == source && stored.account.account == account)
    }

    /// What is remembered of a source.
    pub fn source(&self, name: &str) -> Result<SourceState> {
        Ok(self.record(&named(b's', name))?.unwrap_or_default())
    }

    /// What is remembered of a destination; `target` names the very sheet or base, so that pointing the entry at
    /// another one starts afresh.
    pub fn destination(&self, name: &str, target: &str) -> Result<DestinationState> {
        Ok(self.record(&named(b'd', &format!("{name}\0{target}")))?.unwrap_or_default())
    }

    /// Stores what is remembered of a source, durably.
    pub fn put_source(&self, name: &str, state: &SourceState) -> Result<()> {
        self.put(named(b's', name), codec::encode_json(state)?)
    }

    /// Stores what is remembered of a destination, durably.
    pub fn put_destination(&self, name: &str, target: &str, state: &DestinationState) -> Result<()> {
        self.put(named(b'd', &format!("{name}\0{target}")), codec::encode_json(state)?)
    }

    /// What is remembered of a notifier, if anything.
    pub fn notifier(&self, name: &str) -> Result<Option<NotifierState>> {
        self.record(&named(b'n', name))
    }

    /// Stores what is remembered of a notifier, durably.
    pub fn put_notifier(&self, name: &str, state: &NotifierState) -> Result<()> {
        self.put(named(b'n', name), codec::encode_json(state)?)
    }

    /// Records a finished run and forgets the oldest.
    pub fn put_run<T: Serialize>(&self, report: &T) -> Result<()> {
        let mut writer = self.writer();
        writer.meta.runs += 1;
        let number = writer.meta.runs;
        writer.batch.insert(numbered(b'r', number).to_vec(), codec::encode_json(report)?);
        if number > RUNS_KEPT {
            writer.batch.remove(numbered(b'r', number - RUNS_KEPT).to_vec());
        }
        writer.commit()?;
        self.sync()
    }

    /// The latest runs, newest first.
    pub fn runs<T: DeserializeOwned>(&self, most: usize) -> Result<Vec<T>> {
        let latest = self.disk.prefix(b"r").rev().take(most);
        latest.map(|entry| Ok(codec::decode_json(&entry?.1)?)).collect()
    }

    /// Makes everything written so far count: the generation is noted beside the database, because a store that lost
    /// its tail would otherwise look like a younger one. The batches themselves are on the disk already.
    pub fn sync(&self) -> Result<()> {
        let meta = self.meta();
        lock(&self.witness).note(witness::Noted { generation: meta.generation, last_seq: meta.last_seq })
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.apply(Batch(BTreeMap::from([(key, Some(value))])), |_| {})?;
        self.sync()
    }

    /// Applies a batch with the counters that belong to it.
    fn apply(&self, batch: Batch, count: impl FnOnce(&mut Meta)) -> Result<()> {
        let _writing = lock(&self.writing);
        let mut meta = self.meta();
        count(&mut meta);
        meta.generation += 1;
        let mut writes = batch.0;
        for (key, value) in &writes {
            if let Some(former) = self.disk.get(key)? {
                meta.sums.remove(key, &former);
            }
            value.iter().for_each(|value| meta.sums.add(key, value));
        }
        writes.insert(b"m".to_vec(), Some(codec::encode_json(&meta)?));
        self.disk.apply(writes)?;
        *lock(&self.meta) = meta;
        Ok(())
    }

    fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        get(&self.disk, key)
    }

    /// Gives memory back that only work needs.
    pub fn rest(&self) {
        self.codec.rest();
    }

    /// Known rows of an account dated within these days.
    pub fn known(&self, account: u16, days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        let mut known = KnownRows::default();
        let (first, last) = (day_key(*days.start(), 0), day_key(*days.end(), u16::MAX));
        for entry in self.disk.range(&first[..]..=&last[..]) {
            let (key, value) = entry?;
            let (date, of) = parse_day_key(&key)?;
            if of == account {
                for seen in parse_day(&value, date)? {
                    known.insert(seen.0, seen.1);
                }
            }
        }
        Ok(known)
    }

    /// The rows of the account's last day before `day`.
    pub fn last_before(&self, account: u16, day: NaiveDate) -> Result<Vec<Row>> {
        let (first, last) = (day_key(NaiveDate::MIN, 0), day_key(day, 0));
        for entry in self.disk.range(&first[..]..&last[..]).rev() {
            let (key, value) = entry?;
            let (date, of) = parse_day_key(&key)?;
            if of == account {
                let numbers = parse_day(&value, date)?;
                return numbers.iter().map(|(_, known)| Ok(self.stored(known.number)?.row)).collect();
            }
        }
        Ok(Vec::new())
    }

    /// A stored row by number.
    pub fn stored(&self, number: u64) -> Result<StoredRow> {
        let value = self.disk.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        self.decode(&value, Part::Whole)
    }

    /// What the index says of every account's rows, without opening a record.
    pub fn outlines(&self) -> Result<HashMap<u16, Outline>> {
        let mut outlines: HashMap<u16, Outline> = HashMap::new();
        for entry in self.disk.prefix(b"k") {
            let (key, value) = entry?;
            let (date, account) = parse_day_key(&key)?;
            let outline = outlines.entry(account).or_default();
            let mut live = false;
            for (_, known) in parse_day(&value, date)? {
                if known.vanished { outline.vanished.push(known.number) } else { live = true }
            }
            if live {
                outline.days.push(date);
            }
        }
        Ok(outlines)
    }

    /// The rows of one account-day that the bank still shows, by time.
    pub fn rows_of_day(&self, account: u16, date: NaiveDate) -> Result<Vec<Row>> {
        let Some(value) = self.disk.get(day_key(date, account))? else { return Ok(Vec::new()) };
        let live = parse_day(&value, date)?.into_iter().filter(|(_, known)| !known.vanished);
        let mut rows = live.map(|(_, known)| Ok(self.stored(known.number)?.row)).collect::<Result<Vec<Row>>>()?;
        rows.sort_by_key(|row| row.time);
        Ok(rows)
    }

    /// The transaction a change speaks of, as it was when the log was read. A part may be read where it is only delivered.
    pub fn transaction_of(&self, change: &Change, part: Part) -> Result<Transaction> {
        match &change.record {
            Some(value) => Ok(self.in_context(self.decode(value, part)?)),
            None => self.transaction(change.number),
        }
    }

    /// A transaction by number.
    pub fn transaction(&self, number: u64) -> Result<Transaction> {
        Ok(self.in_context(self.stored(number)?))
    }

    /// Transactions with their numbers in the order they were first seen, after `number`, `most` of them.
    pub fn transactions_after(&self, number: u64, most: usize) -> Result<Vec<(u64, Transaction)>> {
        let found = self.disk.range(after(b't', number)).take(most);
        found
            .map(|entry| {
                let (key, value) = entry?;
                Ok((parse_number(&key)?, self.in_context(self.decode(&value, Part::Whole)?)))
            })
            .collect()
    }

    /// How many transactions were first seen after `number`.
    pub fn count_after(&self, number: u64) -> Result<u64> {
        self.disk.range(after(b't', number)).try_fold(0, |count, entry| entry.map(|_| count + 1))
    }

    /// A transaction's number by its id.
    pub fn find(&self, id: &str) -> Result<Option<u64>> {
        let hash = id_hash(id);
        for entry in self.disk.prefix(b"k") {
            let (key, value) = entry?;
            let (date, _) = parse_day_key(&key)?;
            if let Some((_, known)) = parse_day(&value, date)?.into_iter().find(|(of, _)| *of == hash) {
                return Ok(Some(known.number));
            }
        }
        Ok(None)
    }

    /// The change log after `seq`, oldest first, `most` entries.
    pub fn changes_after(&self, seq: u64, most: usize) -> Result<Vec<Change>> {
        let mut log = BTreeMap::new();
        for entry in self.disk.range(after(b't', seq)).take(most) {
            let (key, value) = entry?;
            let number = parse_number(&key)?;
            log.insert(number, Change { seq: number, number, what: What::New, record: Some(value) });
        }
        for entry in self.disk.range(after(b'c', seq)).take(most) {
            let (key, value) = entry?;
            let seq = parse_number(&key)?;
            let change: StoredChange = parse_change(&value)?;
            log.insert(seq, Change { seq, number: change.number, what: change.what, record: None });
        }
        Ok(log.into_values().take(most).collect())
    }

    /// The version of a transaction that the change at `seq` replaced.
    pub fn former(&self, seq: u64) -> Result<Former> {
        let value = self.disk.get(numbered(b'c', seq))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("change {seq} is gone")))?;
        self.parse_former(&value)
    }

    /// Every former version, by the number of the transaction.
    pub fn history(&self) -> Result<HashMap<u64, Vec<Former>>> {
        self.history_of(|_| true)
    }

    /// The former versions of the wanted transactions, by number.
    pub fn history_of(&self, wanted: impl Fn(u64) -> bool) -> Result<HashMap<u64, Vec<Former>>> {
        let mut history: HashMap<u64, Vec<Former>> = HashMap::new();
        for entry in self.disk.prefix(b"c") {
            let (_, value) = entry?;
            let number = parse_change(&value)?.number;
            if wanted(number) {
                history.entry(number).or_default().push(self.parse_former(&value)?);
            }
        }
        Ok(history)
    }

    /// Versions that changes after `seq` replaced, by the number of the transaction.
    pub fn replaced_after(&self, seq: u64) -> Result<HashMap<u64, Vec<Transaction>>> {
        let mut replaced: HashMap<u64, Vec<Transaction>> = HashMap::new();
        for entry in self.disk.range(after(b'c', seq)) {
            let (_, value) = entry?;
            let number = parse_change(&value)?.number;
            replaced.entry(number).or_default().push(self.parse_former(&value)?.transaction);
        }
        Ok(replaced)
    }

    /// The number of every transaction by the hash of its id.
    pub fn numbers(&self) -> Result<Numbers> {
        let mut numbers = Numbers::default();
        for entry in self.disk.prefix(b"k") {
            let (key, value) = entry?;
            let (date, _) = parse_day_key(&key)?;
            numbers.extend(parse_day(&value, date)?.into_iter().map(|(hash, known)| (hash, known.number)));
        }
        Ok(numbers)
    }

    fn parse_former(&self, value: &[u8]) -> Result<Former> {
        let change = parse_change(value)?;
        let transaction = self.in_context(self.decode(&change.former, Part::Whole)?);
        Ok(Former { replaced_at: change.at, what: change.what, transaction })
    }

    /// Transactions with their numbers by date and time, oldest first, within these days.
    pub fn chronological(&self, since: Option<NaiveDate>, until: Option<NaiveDate>) -> Chronological<'_> {
        let first = day_key(since.unwrap_or(NaiveDate::MIN), 0);
        let last = day_key(until.unwrap_or(NaiveDate::MAX), u16::MAX);
        let days = self.disk.range(&first[..]..=&last[..]);
        Chronological { store: self, days, newest_first: false, next: None, ready: Vec::new().into_iter() }
    }

    /// Begins a batch of writes.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            store: self,
            batch: Batch::default(),
            days: HashMap::new(),
            meta: self.meta(),
            accounts: self.accounts(),
            rows: 0,
        }
    }

    fn decode(&self, value: &[u8], part: Part) -> Result<StoredRow> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let prefix =
            |number: u16| accounts.get(usize::from(number)).map_or(String::new(), |account| account.id_prefix.clone());
        Ok(self.codec.decode_row(value, part, prefix)?)
    }

    fn in_context(&self, stored: StoredRow) -> Transaction {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.get(usize::from(stored.account));
        let of = |get: fn(&StoredAccount) -> &String| account.map_or(String::new(), |account| get(account).clone());
        Transaction {
            source: of(|account| &account.source),
            account: of(|account| &account.account.account),
            account_name: of(|account| &account.account.name),
            customer: of(|account| &account.account.customer),
            row: stored.row,
            enrichment: stored.enrichment,
            vanished: stored.vanished,
        }
    }
}

/// Transactions in the order of their dates, oldest first unless turned. See [`Store::chronological`].
pub struct Chronological<'a> {
    store: &'a Store,
    days: disk::Entries,
    newest_first: bool,
    /// The first account-day of the next date, read already.
    next: Option<(NaiveDate, Vec<u64>)>,
    ready: std::vec::IntoIter<(u64, Transaction)>,
}

impl Chronological<'_> {
    /// The same, newest first. To be called before the first item is taken.
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// Gathers the accounts of one date and sorts their rows by time.
    fn refill(&mut self) -> Result<bool> {
        let (mut date, mut numbers) = match self.next.take() {
            Some((date, numbers)) => (Some(date), numbers),
            None => (None, Vec::new()),
        };
        while let Some(entry) = if self.newest_first { self.days.next_back() } else { self.days.next() } {
            let (key, value) = entry?;
            let (day, _) = parse_day_key(&key)?;
            let of_day = parse_day(&value, day)?.iter().map(|(_, known)| known.number).collect();
            if date.is_some_and(|date| date != day) {
                self.next = Some((day, of_day));
                break;
            }
            date = Some(day);
            numbers.extend(of_day);
        }
        let mut rows = Vec::with_capacity(numbers.len());
        for number in numbers {
            rows.push((number, self.store.transaction(number)?));
        }
        rows.sort_by_key(|(number, transaction)| (transaction.row.time, *number));
        if self.newest_first {
            rows.reverse();
        }
        self.ready = rows.into_iter();
        Ok(date.is_some())
    }
}

impl Iterator for Chronological<'_> {
    type Item = Result<(u64, Transaction)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.ready.next() {
                return Some(Ok(next));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Rows of one account-day as reconciling sees them.
type Day = Vec<(u64, Known)>;

/// Writes by key; no value: removed. The last write of a key counts.
#[derive(Default)]
struct Batch(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Batch {
    fn insert(&mut self, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.0.insert(key.into(), Some(value));
    }

    fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.0.insert(key.into(), None);
    }
}

/// A batch of writes, applied whole by [`Writer::commit`] or not at all.
pub struct Writer<'a> {
    store: &'a Store,
    batch: Batch,
    days: HashMap<(NaiveDate, u16), Day>,
    meta: Meta,
    accounts: Vec<StoredAccount>,
    rows: usize,
}

impl Writer<'_> {
    /// Rows written so far, to keep batches small.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Stores an account; a new one gets the next number.
    pub fn put_account(
        &mut self,
        source: &str,
        account: &Account,
        change: impl FnOnce(&mut StoredAccount),
    ) -> Result<u16> {
        let of = |stored: &StoredAccount| stored.source == source && stored.account.account == account.account;
        let at = self.accounts.iter().position(of).unwrap_or(self.accounts.len());
        if at == self.accounts.len() {
            let number = u16::try_from(at).map_err(|_| Error::Io("more accounts than the store can hold".into()))?;
            self.accounts.push(StoredAccount {
                number,
                source: source.to_owned(),
                id_prefix: String::new(),
                account: account.clone(),
                fetched_until: None,
                problem: None,
                unmendable: Vec::new(),
                former_currencies: Vec::new(),
            });
        }
        let stored = &mut self.accounts[at];
        stored.account = account.clone();
        change(stored);
        let (number, value) = (stored.number, codec::encode_json(&*stored)?);
        self.batch.insert([&b"a"[..], &number.to_be_bytes()].concat(), value);
        Ok(number)
    }

    /// Stores a transaction seen for the first time.
    pub fn add(&mut self, account: u16, row: Row) -> Result<u64> {
        self.add_enriched(account, row, Enrichment::default())
    }

    /// Stores a transaction seen for the first time, with what rules give it.
    pub fn add_enriched(&mut self, account: u16, row: Row, enrichment: Enrichment) -> Result<u64> {
        if self.prefix(account).is_empty()
            && let Some((prefix, _)) = row.id.rsplit_once(':')
        {
            // Chosen by the account's first row and never changed: records leave it out of their ids.
            let stored = &mut self.accounts[usize::from(account)];
            stored.id_prefix = format!("{prefix}:");
            self.batch.insert([&b"a"[..], &account.to_be_bytes()].concat(), codec::encode_json(&*stored)?);
        }
        let number = self.next_seq();
        self.meta.rows += 1;
        let known = Known { number, fingerprint: fingerprint(&row.raw), date: row.date, vanished: false };
        let hash = id_hash(&row.id);
        self.day(row.date, account)?.push((hash, known));
        self.put_row(number, &StoredRow { account, vanished: false, row, enrichment })?;
        Ok(number)
    }

    /// Replaces a transaction's bank data, or only its standing, keeping the former version in the change log.
    pub fn change(&mut self, known: Known, former: &StoredRow, row: Row, what: What, at: i64) -> Result<u64> {
        let (seq, _) = self.log(known.number, what, at)?;
        let vanished = match what {
            What::Vanished => true,
            What::Reappeared => false,
            What::New | What::Changed | What::PutBack | What::Mend | What::Enriched => former.vanished,
        };
        let hash = id_hash(&row.id);
        self.day(known.date, former.account)?.retain(|(of, _)| *of != hash);
        let now = Known { number: known.number, fingerprint: fingerprint(&row.raw), date: row.date, vanished };
        self.day(row.date, former.account)?.push((hash, now));
        let stored = StoredRow { account: former.account, vanished, row, enrichment: former.enrichment.clone() };
        self.put_row(known.number, &stored)?;
        Ok(seq)
    }

    /// Replaces what rules have given a transaction, keeping the former version in the change log. What else this batch
    /// does to the same transaction would be lost: one batch, one change of it.
    pub fn enrich(&mut self, number: u64, enrichment: Enrichment, at: i64) -> Result<u64> {
        let (seq, value) = self.log(number, What::Enriched, at)?;
        let stored = self.store.decode(&value, Part::Whole)?;
        self.put_row(number, &StoredRow { enrichment, ..stored })?;
        Ok(seq)
    }

    /// Notes that every row has been looked at with these rules.
    pub fn note_rules(&mut self, fingerprint: u64) {
        self.meta.rules = fingerprint;
    }

    /// Writes a change with the present version as the former one, which is given back.
    fn log(&mut self, number: u64, what: What, at: i64) -> Result<(u64, sled::IVec)> {
        let value = self.store.disk.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        let seq = self.next_seq();
        let change = StoredChange { number, what, at, former: value.to_vec() };
        let change = postcard::to_stdvec(&change).map_err(|error| Error::Io(error.to_string()))?;
        self.batch.insert(numbered(b'c', seq).to_vec(), codec::encode_bytes(&change));
        Ok((seq, value))
    }

    /// Applies everything at once. It counts as acknowledged after [`Store::sync`].
    pub fn commit(mut self) -> Result<()> {
        for ((date, account), day) in self.days.drain() {
            let key = day_key(date, account).to_vec();
            if day.is_empty() { self.batch.remove(key) } else { self.batch.insert(key, format_day(&day)) }
        }
        let counted = self.meta;
        self.store.apply(self.batch, |meta| {
            // What every batch moves on is newer there.
            *meta = Meta { generation: meta.generation, sums: meta.sums, ..counted };
        })?;
        *self.store.accounts.write().unwrap_or_else(PoisonError::into_inner) = self.accounts;
        Ok(())
    }

    fn next_seq(&mut self) -> u64 {
        self.meta.last_seq += 1;
        self.meta.last_seq
    }

    fn prefix(&self, account: u16) -> &str {
        self.accounts.get(usize::from(account)).map_or("", |account| &account.id_prefix)
    }

    fn put_row(&mut self, number: u64, stored: &StoredRow) -> Result<()> {
        self.rows += 1;
        let value = self.store.codec.encode_row(stored, self.prefix(stored.account))?;
        self.batch.insert(numbered(b't', number).to_vec(), value);
        Ok(())
    }

    fn day(&mut self, date: NaiveDate, account: u16) -> Result<&mut Day> {
        use std::collections::hash_map::Entry;
        Ok(match self.days.entry((date, account)) {
            Entry::Occupied(day) => day.into_mut(),
            Entry::Vacant(vacant) => {
                let value = self.store.disk.get(day_key(date, account))?;
                vacant.insert(value.map_or(Ok(Vec::new()), |value| parse_day(&value, date))?)
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced whole, so a thread that panicked left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get<T: DeserializeOwned>(disk: &disk::Disk, key: &[u8]) -> Result<Option<T>> {
    disk.get(key)?.map(|value| Ok(codec::decode_json(&value)?)).transpose()
}

fn named(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

fn numbered(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn after(kind: u8, number: u64) -> (Bound<[u8; 9]>, Bound<[u8; 9]>) {
    (Bound::Excluded(numbered(kind, number)), Bound::Included(numbered(kind, u64::MAX)))
}

fn parse_number(key: &[u8]) -> Result<u64> {
    let digits = key.get(1..).and_then(|digits| digits.try_into().ok());
    digits.map(u64::from_be_bytes).ok_or_else(|| Error::Damaged("a key of impossible length".into()))
}

fn parse_change(value: &[u8]) -> Result<StoredChange> {
    postcard::from_bytes(codec::decode_bytes(value)?).map_err(|error| Error::Damaged(error.to_string()))
}

fn day_key(date: NaiveDate, account: u16) -> [u8; 7] {
    let mut key = [b'k'; 7];
    // Flipping the sign bit makes byte order the order of dates.
    let day = (date.num_days_from_ce() as u32) ^ 0x8000_0000;
    key[1..5].copy_from_slice(&day.to_be_bytes());
    key[5..].copy_from_slice(&account.to_be_bytes());
    key
}

fn parse_day_key(key: &[u8]) -> Result<(NaiveDate, u16)> {
    let odd = || Error::Damaged("a key that names no day".into());
    let key: &[u8; 7] = key.try_into().map_err(|_| odd())?;
    let day = u32::from_be_bytes([key[1], key[2], key[3], key[4]]) ^ 0x8000_0000;
    let date = NaiveDate::from_num_days_from_ce_opt(day as i32).ok_or_else(odd)?;
    Ok((date, u16::from_be_bytes([key[5], key[6]])))
}

/// Bytes per row of an account-day: hash of the id, number with the vanished flag on top, fingerprint.
const KNOWN_BYTES: usize = 8 + 5 + 8;
const VANISHED: u64 = 1 << 39;

fn format_day(day: &Day) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(day.len() * KNOWN_BYTES);
    for (hash, known) in day {
        let number = known.number | if known.vanished { VANISHED } else { 0 };
        bytes.extend_from_slice(&hash.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes()[..5]);
        bytes.extend_from_slice(&known.fingerprint.to_le_bytes());
    }
    codec::encode_bytes(&bytes)
}

fn parse_day(value: &[u8], date: NaiveDate) -> Result<Day> {
    let bytes = codec::decode_bytes(value)?;
    if bytes.len() % KNOWN_BYTES != 0 {
        return Err(Error::Damaged("an index entry of impossible length".into()));
    }
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let known = |entry: &[u8]| {
        let number = word(&entry[8..13]);
        let known = Known {
            number: number & !VANISHED,
            fingerprint: word(&entry[13..]),
            date,
            vanished: number & VANISHED != 0,
        };
        (word(&entry[..8]), known)
    };
    Ok(bytes.chunks_exact(KNOWN_BYTES).map(known).collect())
}
