//! The local store: accounts, transactions with the bank's payload, the change log, the watermark of each destination,
//! and the run history. No other module names `sled`.
//!
//! Promises: everything that [`Store::sync`] returned for is on the disk; a batch of writes is applied whole or not at all;
//! a row is never overwritten without its former version going into the change log; a store that has lost something says
//! so instead of being silently shorter. Services are not known here.
//!
//! A loss is noticed in two ways. Every batch raises a generation, which a file beside the database has noted too once it counts
//! as acknowledged ([`checkpoint`]), so a lost tail shows at once. And the counters carry a sum over all records, so a
//! record that is gone or older than it should be shows whenever everything is read ([`Store::prove`]).
//!
//! A single tree holds everything, so that one atomic batch can touch anything. Keys:
//! `t<number>` a transaction (its number is its place in the change log) · `c<seq>` a later change, with the former
//! version · `k<day><account>` what reconciling needs of the rows of one day · `i<day><account>` further ids that a source
//! has given to rows · `u<account><hash>` rows that are kept apart · `a<number>` accounts by source · `s<name>` sources · `d<name>` destinations · `n<name>` notifiers ·
//! `r<number>` runs · `m` counters.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use serde::de::DeserializeOwned;

use crate::reconcile::IdentityHasher;

mod accounts;
pub mod backup;
pub mod backup_format;
mod by_date;
mod checkpoint;
mod codec;
mod damage;
mod data_dir;
mod doubtful;
mod keys;
mod open;
mod preimage;
mod private;
mod read;
mod readable;
mod records;
mod row_states;
mod sled_db;
#[cfg(test)]
mod tests;
mod transfers;
mod unsettled;
mod write;

pub use accounts::{KnownAccount, StoredAccount};
pub use backup::Recovered;
pub use by_date::ByDate;
pub use codec::{Part, StoredRow, Unfit, fits};
pub use doubtful::DoubtfulRow;
use keys::named;
pub use open::Proof;
pub use read::{Change, Former, Outline};
pub use records::{
    Attention, DestinationState, Meta, NotifierState, PendingBatch, Published, Resting, SourceState, TabRules, Told,
    UnverifiedBatch,
};
pub use row_states::{Absence, RowState, RowStates};
pub use unsettled::Unsettled;
use write::Batch;
pub use write::Writer;

/// Layout of the keys. A store with a higher one is refused, an older one is migrated. 1: without sums and generation.
const SCHEMA: u32 = 2;

/// Why the store cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store is owned by another process.
    #[error("the store in {0} is in use by another process")]
    InUse(String),
    /// The store lost or garbled something.
    #[error("the store is damaged: {0}; nothing is sent until it is whole again")]
    Damaged(String),
    /// Not written by this program or by a later release.
    #[error("{0}")]
    Foreign(String),
    /// A backup that cannot be used.
    #[error("{0}")]
    Backup(String),
    /// A record that could not be read back if it were written.
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

/// The accounts by source, and of each the texts that all its transactions share.
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
        let mut texts = vec![Texts::default(); stored.len()];
        for known in KnownAccount::all(&stored) {
            let account: Arc<str> = known.account.account.as_str().into();
            let account_name: Arc<str> = known.account.name.as_str().into();
            let customer: Arc<str> = known.account.customer.as_str().into();
            for feed in &known.feeds {
                let Some(texts) = texts.get_mut(usize::from(feed.number)) else { continue };
                let (account, account_name, customer) = (account.clone(), account_name.clone(), customer.clone());
                *texts = Texts { source: feed.source.as_str().into(), account, account_name, customer };
            }
        }
        Accounts { texts, stored }
    }
}

/// An open store, owned by one process at a time.
pub struct Store {
    db: sled_db::SledDb,
    checkpoint: Mutex<checkpoint::Checkpoint>,
    /// Held while a batch is applied, and while everything is read: the sum over all records must fit what is read.
    writing: Mutex<()>,
    /// Held while what is remembered of a source is read, changed and written.
    changing: Mutex<()>,
    dir: PathBuf,
    codec: codec::Codec,
    meta: Mutex<Meta>,
    accounts: RwLock<Accounts>,
    transfers: Mutex<transfers::Transfers>,
    /// The damage that was found, in words.
    damage: Mutex<Option<String>>,
    /// When everything was read and found whole.
    proven: Mutex<Option<Instant>>,
    /// Last, so that it is given up after everything else.
    _lock: Option<File>,
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
    pub fn accounts(&self) -> Vec<KnownAccount> {
        KnownAccount::all(&self.accounts.read().unwrap_or_else(PoisonError::into_inner).stored)
    }

    /// The records of accounts by source, in the order they were first seen.
    pub fn feeds(&self) -> Vec<StoredAccount> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).stored.clone()
    }

    /// The record of an account of this source, if the source has given it before.
    pub fn feed(&self, source: &str, account: &str) -> Option<StoredAccount> {
        self.feeds().into_iter().find(|stored| stored.source == source && stored.account.account == account)
    }

    /// The state of a source.
    pub fn source(&self, name: &str) -> Result<SourceState> {
        Ok(self.record(&named(b's', name))?.unwrap_or_default())
    }

    /// The state of a destination; `target` names the very sheet or base, so that pointing the entry at
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

    /// The state of a notifier, if there is one.
    pub fn notifier(&self, name: &str) -> Result<Option<NotifierState>> {
        self.record(&named(b'n', name))
    }

    /// Stores what is remembered of a notifier, durably.
    pub fn put_notifier(&self, name: &str, state: &NotifierState) -> Result<()> {
        self.put(named(b'n', name), codec::encode_json(state)?)
    }

    /// The latest runs, newest first.
    pub fn runs<T: DeserializeOwned>(&self, most: usize) -> Result<Vec<T>> {
        let latest = self.db.prefix(b"r").rev().take(most);
        latest.map(|entry| Ok(codec::decode_json(&entry?.1)?)).collect()
    }

    /// Makes everything written so far count: the generation is noted beside the database, because a store that lost
    /// its tail would otherwise look like a younger one. The batches themselves are on the disk already.
    pub fn sync(&self) -> Result<()> {
        let meta = self.meta();
        lock(&self.checkpoint).note(checkpoint::Mark { generation: meta.generation, last_seq: meta.last_seq })
    }

    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.apply(Batch(BTreeMap::from([(key, Some(value))])), |_| {})?;
        self.sync()
    }

    fn record<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>> {
        get(&self.db, key)
    }

    /// Gives memory back that only work needs.
    pub fn rest(&self) {
        self.codec.rest();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values behind these locks are replaced whole, so a thread that panicked left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get<T: DeserializeOwned>(db: &sled_db::SledDb, key: &[u8]) -> Result<Option<T>> {
    db.get(key)?.map(|value| Ok(codec::decode_json(&value)?)).transpose()
}
