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
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::destination::What;
use crate::model::{Row, Transaction, id_hash};
use crate::reconcile::{IdentityHasher, KnownRows};

pub mod backups;
mod chronological;
mod codec;
mod damage;
mod disk;
mod keys;
mod open;
mod place;
pub mod portable;
mod preimage;
mod private;
mod readable;
mod records;
mod recover;
mod row_states;
#[cfg(test)]
mod tests;
mod transfers;
mod unsettled;
mod witness;
mod write;

pub use chronological::Chronological;
pub use codec::{Part, StoredRow, Unfit, fits};
use keys::{after, day_key, named, numbered, parse_day, parse_day_key, parse_number};
pub use open::Proof;
pub use records::{
    Attention, DestinationState, Meta, NotifierState, PendingBatch, Published, SourceState, StoredAccount, TabRules,
    Told, UnverifiedBatch,
};
pub use recover::{Recovered, recover};
pub use row_states::{Absence, RowState, RowStates};
pub use unsettled::Unsettled;
use write::Batch;
pub use write::Writer;

/// Layout of the keys. A store with a higher one is refused, an older one is migrated. 1: without sums and generation.
const SCHEMA: u32 = 2;

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
    /// It could not be read back if it were written.
    #[error("{0}")]
    Unfit(String),
    /// No space left.
    #[error("the disk that holds the store is full; nothing is lost: free some space, then run `bankfeed sync`")]
    Full,
    /// The file system says no.
    #[error("the store cannot be read or written now: {0}")]
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

impl From<codec::Unfit> for Error {
    fn from(codec::Unfit(why): codec::Unfit) -> Error {
        Error::Unfit(why)
    }
}

type Result<T> = std::result::Result<T, Error>;

/// Numbers of transactions by the hash of their id.
pub type Numbers = HashMap<u64, u64, std::hash::BuildHasherDefault<IdentityHasher>>;

/// The accounts, and of each the texts that all its transactions share.
#[derive(Default)]
struct Accounts {
    stored: Vec<StoredAccount>,
    texts: Vec<Texts>,
}

#[derive(Clone, Default)]
struct Texts {
    source: Arc<str>,
    account: Arc<str>,
    account_name: Arc<str>,
    customer: Arc<str>,
}

impl From<Vec<StoredAccount>> for Accounts {
    fn from(stored: Vec<StoredAccount>) -> Accounts {
        let texts = stored.iter().map(|stored| Texts {
            source: stored.source.as_str().into(),
            account: stored.account.account.as_str().into(),
            account_name: stored.account.name.as_str().into(),
            customer: stored.account.customer.as_str().into(),
        });
        Accounts { texts: texts.collect(), stored }
    }
}

/// An open store. One process owns it at a time.
pub struct Store {
    disk: disk::Disk,
    witness: Mutex<witness::Witness>,
    /// Held while a batch is applied, and while everything is read: the sum over all records must fit what is read.
    writing: Mutex<()>,
    /// Held while what is remembered of a source is read, changed and written.
    changing: Mutex<()>,
    dir: PathBuf,
    codec: codec::Codec,
    meta: Mutex<Meta>,
    accounts: RwLock<Accounts>,
    transfers: Mutex<transfers::Transfers>,
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
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).stored.clone()
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

    /// Changes what is remembered of a source, durably. A cycle and a `login` may do so at the same time.
    pub fn change_source(&self, name: &str, change: impl FnOnce(&mut SourceState)) -> Result<SourceState> {
        let _changing = lock(&self.changing);
        let mut state = self.source(name)?;
        change(&mut state);
        self.put_source(name, &state)?;
        Ok(state)
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
            Some(value) => Ok(self.in_context(change.number, self.decode(value, part)?)),
            None => self.transaction(change.number),
        }
    }

    /// A transaction by number.
    pub fn transaction(&self, number: u64) -> Result<Transaction> {
        Ok(self.in_context(number, self.stored(number)?))
    }

    /// Transactions with their numbers in the order they were first seen, after `number`, `most` of them.
    pub fn transactions_after(&self, number: u64, most: usize) -> Result<Vec<(u64, Transaction)>> {
        let found = self.disk.range(after(b't', number)).take(most);
        found
            .map(|entry| {
                let (key, value) = entry?;
                let number = parse_number(&key)?;
                Ok((number, self.in_context(number, self.decode(&value, Part::Whole)?)))
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
        let transaction = self.in_context(change.number, self.decode(&change.former, Part::Whole)?);
        Ok(Former { replaced_at: change.at, what: change.what, transaction })
    }

    fn decode(&self, value: &[u8], part: Part) -> Result<StoredRow> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let prefix = |number: u16| accounts.stored.get(usize::from(number)).map_or("", |account| &account.id_prefix);
        Ok(self.codec.decode_row(value, part, prefix)?)
    }

    fn in_context(&self, number: u64, stored: StoredRow) -> Transaction {
        let other = lock(&self.transfers).other(number);
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let transfer = other.and_then(|other| accounts.texts.get(usize::from(other)));
        let transfer = transfer.map(|texts| texts.account.clone()).unwrap_or_default();
        let texts = accounts.texts.get(usize::from(stored.account)).cloned().unwrap_or_default();
        let Texts { source, account, account_name, customer } = texts;
        let StoredRow { row, enrichment, vanished, .. } = stored;
        Transaction { source, account, account_name, customer, row, enrichment, transfer, vanished }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced whole, so a thread that panicked left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get<T: DeserializeOwned>(disk: &disk::Disk, key: &[u8]) -> Result<Option<T>> {
    disk.get(key)?.map(|value| Ok(codec::decode_json(&value)?)).transpose()
}

fn parse_change(value: &[u8]) -> Result<StoredChange> {
    postcard::from_bytes(codec::decode_bytes(value)?).map_err(|error| Error::Damaged(error.to_string()))
}
