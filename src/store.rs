//! The local store: accounts, transactions with the bank's payload, the change log, the watermark of each destination,
//! and the run history. Nothing else in the program says `sled`.
//!
//! What it promises: what [`Store::sync`] returned for is on the disk; a batch of writes is applied whole or not at all;
//! a row is never overwritten without its former version going into the change log; a store that has lost something says
//! so instead of being silently shorter. It knows nothing of services.
//!
//! One tree holds everything, so that one atomic batch can touch anything. Keys:
//! `t<number>` a transaction (its number is its place in the change log) · `c<seq>` a later change, with the former
//! version · `k<day><account>` what reconciling needs of the rows of one day · `a<number>` accounts · `s<name>` sources ·
//! `d<name>` destinations · `r<number>` runs · `m` counters.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::{Bound, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::destination::What;
use crate::model::{Account, Enrichment, Row, Transaction};
use crate::reconcile::{IdentityHasher, Known, KnownRows, fingerprint, id_hash};

mod codec;
mod records;
#[cfg(test)]
mod tests;

pub use codec::StoredRow;
pub use records::{Attention, DestinationState, Intent, Meta, Published, SourceState, StoredAccount};

/// Layout of the keys. A store with a higher one is refused, an older one is migrated (there is none yet).
const SCHEMA: u32 = 1;

/// Page cache; more costs resident memory and gains nothing here.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// How long another process's lock is waited for: sled gives its own up in the background.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Runs kept.
const RUNS_KEPT: u64 = 500;

/// Why the store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another process owns it.
    #[error("the store in {0} is in use by another process")]
    InUse(String),
    /// It lost or garbled something.
    #[error(
        "the store is damaged: {0}; nothing was sent and nothing changed: put a backup of the data directory back, or move it aside to fetch everything anew"
    )]
    Damaged(String),
    /// Not written by this program or by a later release.
    #[error("{0}")]
    Foreign(String),
    /// No space left.
    #[error("the disk that holds the store is full; free some space")]
    Full,
    /// The file system says no.
    #[error("the store cannot be read or written: {0}")]
    Io(String),
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Error {
        match error {
            sled::Error::Io(error) => error.into(),
            sled::Error::Corruption { .. } => Error::Damaged("a page of it does not match its checksum".into()),
            other => Error::Io(other.to_string()),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::StorageFull { Error::Full } else { Error::Io(error.to_string()) }
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
    db: sled::Db,
    dir: PathBuf,
    codec: codec::Codec,
    meta: Mutex<Meta>,
    accounts: RwLock<Vec<StoredAccount>>,
    /// Last, so that it is given up after everything else.
    _lock: File,
}

/// One entry of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Place in the log.
    pub seq: u64,
    /// Number of the transaction.
    pub number: u64,
    /// What happened.
    pub what: What,
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
    /// Opens the store in this data directory, making it if there is none.
    pub fn open(data_dir: &Path) -> Result<Store> {
        create_private_dir(data_dir)?;
        let lock = lock(data_dir)?;
        check_format(data_dir)?;
        let dir = data_dir.join("store");
        let db = open_locked(&dir)?;
        // The directory entries themselves must survive a power cut before anything counts as acknowledged.
        File::open(data_dir)?.sync_all()?;
        File::open(&dir)?.sync_all()?;
        let meta: Option<Meta> = get(&db, b"m")?;
        let high_water = read_high_water(data_dir)?;
        let meta = match meta {
            Some(meta) if meta.schema > SCHEMA => {
                return Err(Error::Foreign(format!(
                    "the store was written by a later release (schema {}, this one knows {SCHEMA}); install that release",
                    meta.schema
                )));
            }
            Some(meta) if meta.last_seq < high_water => {
                return Err(Error::Damaged(format!(
                    "it ends at change {}, but change {high_water} was acknowledged",
                    meta.last_seq
                )));
            }
            None if high_water > 0 => {
                return Err(Error::Damaged(format!("it is empty, but change {high_water} was acknowledged")));
            }
            Some(meta) => meta,
            None => Meta { schema: SCHEMA, salt: format!("{:016x}", fastrand::u64(..)), ..Meta::default() },
        };
        let mut accounts = Vec::new();
        for entry in db.scan_prefix(b"a") {
            let (_, value) = entry?;
            accounts.push(codec::decode_json::<StoredAccount>(&value)?);
        }
        Ok(Store {
            db,
            dir: data_dir.to_owned(),
            codec: codec::Codec::default(),
            meta: Mutex::new(meta),
            accounts: RwLock::new(accounts),
            _lock: lock,
        })
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.dir
    }

    /// Counters.
    pub fn meta(&self) -> Meta {
        self.meta.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        Ok(get(&self.db, &named(b's', name))?.unwrap_or_default())
    }

    /// What is remembered of a destination; `target` names the very sheet or base, so that pointing the entry at
    /// another one starts afresh.
    pub fn destination(&self, name: &str, target: &str) -> Result<DestinationState> {
        Ok(get(&self.db, &named(b'd', &format!("{name}\0{target}")))?.unwrap_or_default())
    }

    /// Stores what is remembered of a source, durably.
    pub fn put_source(&self, name: &str, state: &SourceState) -> Result<()> {
        self.db.insert(named(b's', name), codec::encode_json(state)?)?;
        self.sync()
    }

    /// Stores what is remembered of a destination, durably.
    pub fn put_destination(&self, name: &str, target: &str, state: &DestinationState) -> Result<()> {
        self.db.insert(named(b'd', &format!("{name}\0{target}")), codec::encode_json(state)?)?;
        self.sync()
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
        let latest = self.db.scan_prefix(b"r").rev().take(most);
        latest.map(|entry| Ok(codec::decode_json(&entry?.1)?)).collect()
    }

    /// Makes everything written so far survive a power cut. sled's own flush hands pages to the kernel only, so the
    /// file is synced here; and the last change is noted beside it, because a store that lost its tail would otherwise
    /// look like a younger one.
    pub fn sync(&self) -> Result<()> {
        self.db.flush()?;
        File::open(self.dir.join("store").join("db"))?.sync_all()?;
        let last_seq = self.meta().last_seq;
        if last_seq > read_high_water(&self.dir)? {
            write_high_water(&self.dir, last_seq)?;
        }
        Ok(())
    }

    /// Gives memory back that only work needs.
    pub fn rest(&self) {
        self.codec.rest();
    }

    /// Known rows of an account dated within these days.
    pub fn known(&self, account: u16, days: RangeInclusive<NaiveDate>) -> Result<KnownRows> {
        let mut known = KnownRows::default();
        let (first, last) = (day_key(*days.start(), 0), day_key(*days.end(), u16::MAX));
        for entry in self.db.range(&first[..]..=&last[..]) {
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
        for entry in self.db.range(&first[..]..&last[..]).rev() {
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
        let value = self.db.get(numbered(b't', number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {number} is gone")))?;
        self.decode(&value)
    }

    /// What the index says of every account's rows, without opening a record.
    pub fn outlines(&self) -> Result<HashMap<u16, Outline>> {
        let mut outlines: HashMap<u16, Outline> = HashMap::new();
        for entry in self.db.scan_prefix(b"k") {
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
        let Some(value) = self.db.get(day_key(date, account))? else { return Ok(Vec::new()) };
        let live = parse_day(&value, date)?.into_iter().filter(|(_, known)| !known.vanished);
        let mut rows = live.map(|(_, known)| Ok(self.stored(known.number)?.row)).collect::<Result<Vec<Row>>>()?;
        rows.sort_by_key(|row| row.time);
        Ok(rows)
    }

    /// A transaction by number.
    pub fn transaction(&self, number: u64) -> Result<Transaction> {
        Ok(self.in_context(self.stored(number)?))
    }

    /// A transaction's number by its id.
    pub fn find(&self, id: &str) -> Result<Option<u64>> {
        let hash = id_hash(id);
        for entry in self.db.scan_prefix(b"k") {
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
        for entry in self.db.range(after(b't', seq)).take(most) {
            let number = parse_number(&entry?.0)?;
            log.insert(number, Change { seq: number, number, what: What::New });
        }
        for entry in self.db.range(after(b'c', seq)).take(most) {
            let (key, value) = entry?;
            let seq = parse_number(&key)?;
            let change: StoredChange = parse_change(&value)?;
            log.insert(seq, Change { seq, number: change.number, what: change.what });
        }
        Ok(log.into_values().take(most).collect())
    }

    /// The version of a transaction that the change at `seq` replaced.
    pub fn former(&self, seq: u64) -> Result<Former> {
        let value = self.db.get(numbered(b'c', seq))?;
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
        for entry in self.db.scan_prefix(b"c") {
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
        for entry in self.db.range(after(b'c', seq)) {
            let (_, value) = entry?;
            let number = parse_change(&value)?.number;
            replaced.entry(number).or_default().push(self.parse_former(&value)?.transaction);
        }
        Ok(replaced)
    }

    /// The number of every transaction by the hash of its id.
    pub fn numbers(&self) -> Result<Numbers> {
        let mut numbers = Numbers::default();
        for entry in self.db.scan_prefix(b"k") {
            let (key, value) = entry?;
            let (date, _) = parse_day_key(&key)?;
            numbers.extend(parse_day(&value, date)?.into_iter().map(|(hash, known)| (hash, known.number)));
        }
        Ok(numbers)
    }

    fn parse_former(&self, value: &[u8]) -> Result<Former> {
        let change = parse_change(value)?;
        let transaction = self.in_context(self.decode(&change.former)?);
        Ok(Former { replaced_at: change.at, what: change.what, transaction })
    }

    /// Transactions with their numbers by date and time, oldest first, within these days.
    pub fn chronological(&self, since: Option<NaiveDate>, until: Option<NaiveDate>) -> Chronological<'_> {
        let first = day_key(since.unwrap_or(NaiveDate::MIN), 0);
        let last = day_key(until.unwrap_or(NaiveDate::MAX), u16::MAX);
        let days = self.db.range(&first[..]..=&last[..]);
        Chronological { store: self, days, newest_first: false, next: None, ready: Vec::new().into_iter() }
    }

    /// Begins a batch of writes.
    pub fn writer(&self) -> Writer<'_> {
        Writer {
            store: self,
            batch: sled::Batch::default(),
            days: HashMap::new(),
            meta: self.meta(),
            accounts: self.accounts(),
            rows: 0,
        }
    }

    fn decode(&self, value: &[u8]) -> Result<StoredRow> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let prefix =
            |number: u16| accounts.get(usize::from(number)).map_or(String::new(), |account| account.id_prefix.clone());
        Ok(self.codec.decode_row(value, prefix)?)
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
    days: sled::Iter,
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

/// A batch of writes, applied whole by [`Writer::commit`] or not at all.
pub struct Writer<'a> {
    store: &'a Store,
    batch: sled::Batch,
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
                mending_failed: false,
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
        self.put_row(number, &StoredRow { account, vanished: false, row, enrichment: Enrichment::default() })?;
        Ok(number)
    }

    /// Replaces a transaction's bank data, or only its standing, keeping the former version in the change log.
    pub fn change(&mut self, known: Known, former: &StoredRow, row: Row, what: What, at: i64) -> Result<u64> {
        let value = self.store.db.get(numbered(b't', known.number))?;
        let value = value.ok_or_else(|| Error::Damaged(format!("transaction number {} is gone", known.number)))?;
        let seq = self.next_seq();
        let change = StoredChange { number: known.number, what, at, former: value.to_vec() };
        let change = postcard::to_stdvec(&change).map_err(|error| Error::Io(error.to_string()))?;
        self.batch.insert(numbered(b'c', seq).to_vec(), codec::encode_bytes(&change));
        let vanished = match what {
            What::Vanished => true,
            What::Reappeared => false,
            What::New | What::Changed | What::PutBack | What::Mend => former.vanished,
        };
        let hash = id_hash(&row.id);
        self.day(known.date, former.account)?.retain(|(of, _)| *of != hash);
        let now = Known { number: known.number, fingerprint: fingerprint(&row.raw), date: row.date, vanished };
        self.day(row.date, former.account)?.push((hash, now));
        let stored = StoredRow { account: former.account, vanished, row, enrichment: former.enrichment.clone() };
        self.put_row(known.number, &stored)?;
        Ok(seq)
    }

    /// Applies everything at once. Not yet durable: see [`Store::sync`].
    pub fn commit(mut self) -> Result<()> {
        for ((date, account), day) in self.days.drain() {
            let key = day_key(date, account).to_vec();
            if day.is_empty() { self.batch.remove(key) } else { self.batch.insert(key, format_day(&day)) }
        }
        self.batch.insert(&b"m"[..], codec::encode_json(&self.meta)?);
        self.store.db.apply_batch(self.batch)?;
        *self.store.meta.lock().unwrap_or_else(PoisonError::into_inner) = self.meta;
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
                let value = self.store.db.get(day_key(date, account))?;
                vacant.insert(value.map_or(Ok(Vec::new()), |value| parse_day(&value, date))?)
            }
        })
    }
}

fn get<T: DeserializeOwned>(db: &sled::Db, key: &[u8]) -> Result<Option<T>> {
    db.get(key)?.map(|value| Ok(codec::decode_json(&value)?)).transpose()
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

fn create_private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| Error::Io(format!("{}: {error}", dir.display())))
}

/// Takes the directory's own lock, before anything in it is looked at or made: sled's covers its own files only.
fn lock(dir: &Path) -> Result<File> {
    let file = File::options().create(true).write(true).truncate(false).open(dir.join("lock"))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(dir.display().to_string())),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

const FORMAT: &str = "bankfeed store 1\n";

/// Refuses a directory that holds something else: sled would open it as an empty database, and everything would be
/// delivered again.
fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join("FORMAT");
    match fs::read_to_string(&path) {
        Ok(text) if text == FORMAT => Ok(()),
        Ok(text) if text.starts_with("bankfeed store ") => Err(Error::Foreign(format!(
            "{}: written by another release of bankfeed; install that release",
            path.display()
        ))),
        Ok(_) => Err(Error::Foreign(format!("{}: not bankfeed's; choose another data_dir", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !dir.join("store").exists() => {
            write_whole(dir, "FORMAT", FORMAT)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Error::Damaged(format!("{} is missing beside a store", path.display())))
        }
        Err(error) => Err(Error::Io(format!("{}: {error}", path.display()))),
    }
}

fn open_locked(dir: &Path) -> Result<sled::Db> {
    let started = Instant::now();
    loop {
        // No background flushes: they would wake an idle machine, and a failed one is only logged. Everything is
        // flushed explicitly.
        let opened = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).open();
        match opened {
            Err(sled::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock || is_lock(&error) => {
                if started.elapsed() > LOCK_PATIENCE {
                    return Err(Error::InUse(dir.display().to_string()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return Ok(other?),
        }
    }
}

/// sled wraps the lock's `WouldBlock` in an error of kind `Other`.
fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

fn read_high_water(dir: &Path) -> Result<u64> {
    match fs::read_to_string(dir.join("high-water")) {
        Ok(text) => text.trim().parse().map_err(|_| Error::Damaged("the file high-water holds no number".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn write_high_water(dir: &Path, last_seq: u64) -> Result<()> {
    write_whole(dir, "high-water", &format!("{last_seq}\n"))
}

/// Replaces a small file so that a power cut leaves the old or the new one.
fn write_whole(dir: &Path, name: &str, text: &str) -> Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()?;
    Ok(())
}
