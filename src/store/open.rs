//! Opening: who owns the store, whether it is all there, and what an older release left.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Mark};
use super::data_dir::{self, Found};
use super::private;
use super::records::{STATES, Sums};
use super::sled_db::{SledDb, surely};
use super::{Error, Meta, Result, SCHEMA, Store, StoredAccount, backup, codec, get, lock, readable};

/// The time for which a proof holds: the disk may damage later what was whole.
const PROOF_HOLDS: Duration = Duration::from_secs(24 * 60 * 60);

/// Counters and accounts, as held in memory.
type Loaded = (Meta, Vec<StoredAccount>);

impl Store {
    /// Opens the store in this data directory, making it if there is none.
    pub fn open(data_dir: &Path) -> Result<Store> {
        Store::open_under(data_dir, surely(|| Store::own(data_dir))?)
    }

    fn own(data_dir: &Path) -> Result<File> {
        data_dir::create_private_dir(data_dir)?;
        private::close_to_others(data_dir);
        data_dir::lock(data_dir)
    }

    /// Opens the store in this data directory under a lock that is held already ([`Store::lock`]).
    pub fn open_under(data_dir: &Path, lock: File) -> Result<Store> {
        if surely(|| data_dir::prepare(data_dir))? == Found::Former {
            surely(|| migrate(data_dir))?;
        }
        let dir = data_dir::store_dir(data_dir);
        let mut store = match surely(|| Store::at(data_dir, &dir)) {
            Err(Error::Damaged(why)) => {
                reindex(data_dir, &dir).map_err(|error| match error {
                    // The reason why the original was refused says more than the defect of its copy.
                    Error::Damaged(_) => Error::Damaged(why),
                    other => other,
                })?;
                Store::at(data_dir, &dir)?
            }
            opened => opened?,
        };
        store._lock = Some(lock);
        Ok(store)
    }

    /// Opens the store in this very directory.
    pub(super) fn at(data_dir: &Path, dir: &Path) -> Result<Store> {
        let checkpoint =
            Checkpoint::open(dir)?.ok_or_else(|| Error::Damaged("the file witness in it is missing".into()))?;
        let (db, (meta, accounts)) = SledDb::open(dir, |db| load(db, checkpoint.noted()))?;
        Ok(Store {
            db,
            checkpoint: Mutex::new(checkpoint),
            writing: Mutex::default(),
            changing: Mutex::default(),
            dir: data_dir.to_owned(),
            codec: codec::Codec::default(),
            meta: Mutex::new(meta),
            accounts: RwLock::new(accounts.into()),
            transfers: Mutex::default(),
            damage: Mutex::default(),
            proven: Mutex::default(),
            _lock: None,
        })
    }

    /// The lock of the data directory: it outlives the store, for whoever opens it again.
    pub fn lock(&self) -> io::Result<File> {
        self._lock.as_ref().ok_or_else(|| io::Error::other("the store was opened without a lock"))?.try_clone()
    }

    /// True where the store is known to be whole and can be written.
    pub fn is_well(&self) -> bool {
        !self.db.has_failed() && lock(&self.damage).is_none() && self.room().is_ok()
    }

    /// Refuses to go on without room for the notes of a cycle.
    pub fn room(&self) -> Result<()> {
        self.db.room_for(0)
    }

    /// Makes a store usable again whose disk has failed, a full one for instance.
    pub fn revive(&self) -> Result<()> {
        if !self.db.has_failed() {
            return Ok(());
        }
        let _writing = lock(&self.writing);
        let noted = lock(&self.checkpoint).noted();
        let (meta, accounts) = self.db.reopen(|db| load(db, noted))?;
        *lock(&self.meta) = meta;
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = accounts.into();
        *lock(&self.damage) = None;
        *lock(&self.proven) = None;
        Ok(())
    }

    /// Proves that every record is there, whole and the latest. Reads everything, at most once a day.
    pub fn prove(&self) -> Result<()> {
        self.prove_on(&mut Proof::default(), usize::MAX).map(drop)
    }

    /// [`Store::prove`] a slice of so many records at a time, until it returns `true`. A write in between makes
    /// it begin anew.
    pub fn prove_on(&self, proof: &mut Proof, slice: usize) -> Result<bool> {
        if let Some(damage) = lock(&self.damage).clone() {
            return Err(Error::Damaged(damage));
        }
        if lock(&self.proven).is_some_and(|at| at.elapsed() < PROOF_HOLDS) {
            return Ok(true);
        }
        self.read_slice(proof, slice).map_err(|error| self.note(error))
    }

    fn read_slice(&self, proof: &mut Proof, slice: usize) -> Result<bool> {
        let _writing = lock(&self.writing);
        let meta = self.meta();
        if proof.generation != meta.generation {
            *proof = Proof { generation: meta.generation, ..Proof::default() };
        }
        let from = proof.read_to.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut left = slice;
        for entry in self.db.range((from, Bound::Unbounded)).take(slice) {
            let (key, value) = entry?;
            proof.tally.count(&key, &value)?;
            proof.read_to = Some(key);
            left -= 1;
        }
        if left == 0 {
            return Ok(false);
        }
        proof.tally.check(&meta)?;
        *lock(&self.proven) = Some(Instant::now());
        Ok(true)
    }

    /// Gives every record but the counters to `each`, in the order of the keys, while nothing is written, and proves
    /// that nothing is missing and everything can be read. Returns how many there are, and the counters.
    pub(super) fn walk(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<(u64, Meta)> {
        let _writing = lock(&self.writing);
        let meta = self.meta();
        let mut tally = Tally::default();
        for entry in self.db.range::<&[u8], _>(..) {
            let (key, value) = entry?;
            if tally.count(&key, &value)? {
                readable::read(&self.codec, &key, &value)?;
                each(&key, &value)?;
            }
        }
        tally.check(&meta)?;
        *lock(&self.proven) = Some(Instant::now());
        Ok((tally.records, meta))
    }
}

/// The progress of a proof.
#[derive(Default)]
pub struct Proof {
    tally: Tally,
    /// The last key that was read.
    read_to: Option<sled::IVec>,
    /// The generation that it holds for.
    generation: u64,
}

/// The sums of the records read so far, for comparison with the counters.
#[derive(Default)]
struct Tally {
    sums: Sums,
    rows: u64,
    records: u64,
}

impl Tally {
    /// Checks a record and counts it in, unless it is the counters themselves.
    fn count(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        codec::check(value)?;
        if key == b"m" {
            return Ok(false);
        }
        self.sums.add(key, value);
        self.rows += u64::from(key.first() == Some(&b't'));
        self.records += 1;
        Ok(true)
    }

    fn check(&self, meta: &Meta) -> Result<()> {
        if meta.schema == SCHEMA && self.sums != meta.sums || self.rows != meta.rows {
            return Err(Error::Damaged(match meta.rows.saturating_sub(self.rows) {
                0 => "records of it are missing or older than its counters say".into(),
                gone => format!("{gone} of {} transactions are gone", meta.rows),
            }));
        }
        Ok(())
    }
}

/// Reads counters and accounts and compares them with what was acknowledged.
fn load(db: &SledDb, noted: Mark) -> Result<Loaded> {
    let meta: Option<Meta> = get(db, b"m")?;
    let meta = match meta {
        Some(meta) if meta.schema > SCHEMA => {
            return Err(Error::Foreign(format!(
                "the store was written by a later release (schema {}, this one knows {SCHEMA}); install that release",
                meta.schema
            )));
        }
        None if noted > Mark::default() => {
            return Err(Error::Damaged(format!("it is empty, but change {} was acknowledged", noted.last_seq)));
        }
        Some(meta) if meta.generation < noted.generation => {
            return Err(Error::Damaged(format!(
                "it ends at change {} (write {}), but change {} (write {}) was acknowledged",
                meta.last_seq, meta.generation, noted.last_seq, noted.generation
            )));
        }
        Some(meta) => meta,
        None => Meta { schema: SCHEMA, salt: format!("{:016x}", fastrand::u64(..)), ..Meta::default() },
    };
    let (mut sums, mut accounts) = (Sums::default(), Vec::new());
    for kind in STATES {
        for entry in db.prefix(&[kind]) {
            let (key, value) = entry?;
            sums.add(&key, &value);
            if kind == b'a' {
                accounts.push(codec::decode_json::<StoredAccount>(&value)?);
            }
        }
    }
    if meta.schema == SCHEMA && !sums.agree_on_states(&meta.sums) {
        return Err(Error::Damaged("what it remembers of accounts, sources or destinations is not the latest".into()));
    }
    Ok((meta, accounts))
}

/// Brings a store of the first format to the present one: a backup, then sums and generation, and a checkpoint. Done
/// again from the start if it was cut off.
fn migrate(data_dir: &Path) -> Result<()> {
    let dir = data_dir::store_dir(data_dir);
    let acknowledged = match std::fs::read_to_string(data_dir.join("high-water")) {
        Ok(text) => text.trim().parse().map_err(|_| Error::Damaged("the file high-water holds no number".into()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    if Checkpoint::open(&dir)?.is_none() {
        Checkpoint::create(&dir, Mark::default())?;
    }
    let store = Store::at(data_dir, &dir)?;
    let last_seq = store.meta().last_seq;
    if last_seq < acknowledged {
        return Err(Error::Damaged(format!(
            "it ends at change {last_seq}, but change {acknowledged} was acknowledged"
        )));
    }
    if store.meta().schema < SCHEMA {
        backup::keep(&store, chrono::Utc::now())?;
        let mut sums = Sums::default();
        store.walk(|key, value| {
            sums.add(key, value);
            Ok(())
        })?;
        store.apply(super::Batch::default(), |meta| (meta.schema, meta.sums) = (SCHEMA, sums))?;
    }
    store.sync()?;
    data_dir::mark(data_dir)?;
    // The file is of no use any more, and harmless if it stays.
    drop(std::fs::remove_file(data_dir.join("high-water")));
    Ok(())
}

/// A snapshot is sled's index of its own pages; where it is unreadable, sled opens nothing at all. Without one it reads
/// the pages themselves, but may then miss some without a word: so this is tried on a copy, and the copy takes the
/// place of the original only if it proves to hold every record.
fn reindex(data_dir: &Path, dir: &Path) -> Result<()> {
    let is_snapshot = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("snap.");
    let names: HashSet<_> =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<std::io::Result<_>>()?;
    if !names.iter().any(|name| is_snapshot(name)) {
        return Err(Error::Damaged("it has no snapshot to do without".into()));
    }
    let building = data_dir::start_building(data_dir)?;
    let copied = copy(dir, &building, &is_snapshot).and_then(|()| {
        let store = Store::at(data_dir, &building)?;
        store.prove()
    });
    if let Err(error) = copied {
        data_dir::remove_dir(&building)?;
        return Err(error);
    }
    data_dir::take_place(data_dir, chrono::Utc::now())?;
    tracing::warn!("the store's index of pages was damaged; it was made anew, and every record is there");
    Ok(())
}

fn copy(from: &Path, to: &Path, leave_out: &dyn Fn(&std::ffi::OsStr) -> bool) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if leave_out(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            data_dir::create_private_dir(&to.join(&name))?;
            copy(&entry.path(), &to.join(&name), leave_out)?;
        } else {
            std::fs::copy(entry.path(), to.join(&name))?;
            std::fs::File::open(to.join(&name))?.sync_all()?;
        }
    }
    data_dir::sync_dir(to)
}
