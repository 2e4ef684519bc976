//! The one place that touches sled, whose ways become this program's promises: an error for everything, panics
//! on damaged pages included; a flush that reaches the disk; a failed disk that can be tried again; an opening that goes
//! wrong changes nothing ([`Preimage`]).
//!
//! Keys and values are known here, their meaning is not.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::preimage::Preimage;
use super::{Error, Result};
use crate::threads;

mod guard;

pub use guard::{PAUSE, surely};
use guard::{guarded, silence_panics, within_patience};

/// Page cache. sled divides it into 256 parts, and a part that cannot hold a page of the index beside a page of rows reads
/// both again and again.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// The wait for a lock: sled gives its own up in the background.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Room on the disk that writes leave alone. A write that fails for want of room is more than sled can take: it may
/// wait for ever for a page that never arrives. A disk therefore counts as full before it is.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// Room that opening needs, beside twice the present snapshot.
const OPENING_BYTES: u64 = 2 * 1024 * 1024;

/// Written since the database was opened, after which it is opened anew where nobody is reading. Opening makes a snapshot:
/// the log to be read at the next start, and to be kept meanwhile, stays short.
const WRITTEN_MOST: u64 = 8 * 1024 * 1024;

/// A key with its value.
pub type Entry = (sled::IVec, sled::IVec);

/// An open database.
pub struct SledDb {
    dir: PathBuf,
    /// `None` only while, or after, opening it again went wrong.
    open: RwLock<Option<Open>>,
    /// A write went wrong. sled refuses everything from then on, so it has to be opened again.
    pub(super) failed: AtomicBool,
    /// Large values lie in files of their own; these are on the disk already.
    synced_blobs: Mutex<HashSet<OsString>>,
    /// Bytes written since it was opened.
    written: AtomicU64,
}

/// sled's handles. Every user of the database holds a copy.
#[derive(Clone)]
struct Open {
    db: sled::Db,
    config: sled::Config,
    /// Counts the copies.
    users: Arc<()>,
}

impl SledDb {
    /// Opens the database in this directory, making it if there is none, and lets `check` look at it. A database
    /// that fails in either is left as it was.
    pub fn open<T>(dir: &Path, check: impl Fn(&SledDb) -> Result<T>) -> Result<(SledDb, T)> {
        SledDb::open_after(dir, &Preimage::read(dir)?, check)
    }

    fn open_after<T>(dir: &Path, before: &Preimage, check: impl Fn(&SledDb) -> Result<T>) -> Result<(SledDb, T)> {
        let opened = SledDb::open_as_it_is(dir).and_then(|disk| check(&disk).map(|found| (disk, found)));
        match opened {
            Err(error @ Error::InUse(_)) => Err(error),
            Err(error) => before.put_back().and(Err(error)),
            opened => opened,
        }
    }

    fn open_as_it_is(dir: &Path) -> Result<SledDb> {
        silence_panics();
        let open = open_locked(dir)?;
        let disk = SledDb {
            dir: dir.to_owned(),
            open: RwLock::new(Some(open)),
            failed: false.into(),
            synced_blobs: Mutex::default(),
            written: 0.into(),
        };
        // The directory entries themselves must survive a power cut before anything counts as acknowledged.
        File::open(dir)?.sync_all()?;
        Ok(disk)
    }

    /// A write went wrong: nothing works until [`SledDb::reopen`].
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Makes [`SledDb::reopen`] due.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Opens the database again after a failure and lets `check` look at it. A damaged one stays open for reading.
    pub fn reopen<T>(&self, check: impl Fn(&SledDb) -> Result<T>) -> Result<T> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // Closing may wait for ever after a failure, so it is left to itself; usually it gives the lock up at once.
        let former = slot.take();
        std::thread::Builder::new().spawn(move || close(former)).map_err(threads::refused)?;
        let reopened = surely(|| {
            let before = Preimage::read(&self.dir)?;
            before.rewrite()?;
            SledDb::open_after(&self.dir, &before, &check)
        });
        match reopened {
            Ok((fresh, found)) => {
                *slot = fresh.take();
                self.failed.store(false, Ordering::SeqCst);
                self.written.store(0, Ordering::SeqCst);
                Ok(found)
            }
            Err(Error::InUse(_)) => {
                Err(Error::Io("it does not come back after a failed write; restart bankfeed".into()))
            }
            Err(error) => {
                if matches!(error, Error::Damaged(_)) {
                    *slot = SledDb::open_as_it_is(&self.dir).ok().and_then(|damaged| damaged.take());
                }
                Err(error)
            }
        }
    }

    /// Opens the database anew where it has grown and nobody reads it, which makes a snapshot. The last write
    /// must be there afterwards.
    fn make_snapshot(&self, last: &(Vec<u8>, Option<Vec<u8>>)) -> Result<()> {
        let mut slot = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let is_used = slot.as_ref().is_none_or(|open| Arc::strong_count(&open.users) > 1);
        if is_used || self.written.load(Ordering::SeqCst) < WRITTEN_MOST {
            return Ok(());
        }
        close(slot.take());
        let is_there = |disk: &SledDb| match disk.get(&last.0)?.as_deref() == last.1.as_deref() {
            true => Ok(()),
            false => Err(Error::Damaged("what was written last is not there".into())),
        };
        let (fresh, ()) = surely(|| SledDb::open(&self.dir, is_there))?;
        *slot = fresh.take();
        self.written.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// Takes the open handles, for others in their place.
    fn take(&self) -> Option<Open> {
        self.open.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Refuses bytes for which there is no room, in whatever shape they reach the disk.
    pub fn room_for(&self, bytes: u64) -> Result<()> {
        room(&self.dir, RESERVE_BYTES.saturating_add(bytes.saturating_mul(4)))
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<sled::IVec>> {
        let open = self.opened()?;
        guarded(|| open.db.get(key))
    }

    /// Entries within these bounds.
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, bounds: R) -> Entries {
        Entries::of(self.opened(), |db| db.range(bounds))
    }

    /// Entries whose key begins with this.
    pub fn prefix(&self, prefix: &[u8]) -> Entries {
        Entries::of(self.opened(), |db| db.scan_prefix(prefix))
    }

    /// Applies writes (`None` removes) at once or not at all, and puts them on the disk. sled reuses the place of what
    /// it has moved elsewhere, so a batch must not lie in the system's cache while the next one is written.
    pub fn apply(&self, writes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        if self.has_failed() {
            return Err(Error::Io("an earlier write failed; nothing is written until it was opened again".into()));
        }
        let mut batch = sled::Batch::default();
        let (mut bytes, mut last) = (0, None);
        for (key, value) in writes {
            bytes += key.len() as u64 + value.as_ref().map_or(0, Vec::len) as u64;
            match &value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
            last = Some((key, value));
        }
        self.room_for(bytes)?;
        let open = self.opened()?;
        let written = within_patience(&open.config.clone(), open.clone(), move || {
            guarded(|| {
                open.db.apply_batch(batch)?;
                open.db.flush()
            })
        });
        // sled's own flush hands pages to the kernel only.
        let synced = written.and_then(|_| {
            self.sync_blobs()?;
            Ok(File::open(self.dir.join("db"))?.sync_all()?)
        });
        self.noting_failure(synced)?;
        self.written.fetch_add(bytes, Ordering::SeqCst);
        // The write itself is done: whatever hinders this shows at the next one.
        let kept_short = last.map_or(Ok(()), |last| self.make_snapshot(&last));
        if let Err(error) = self.noting_failure(kept_short) {
            tracing::debug!("the store is opened again later: {error}");
        }
        Ok(())
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.dir.join("blobs");
        let mut fresh = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                match File::open(dir.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // Replaced by a newer one meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                fresh.push(name);
            }
        }
        if !fresh.is_empty() {
            File::open(&dir)?.sync_all()?;
            synced.extend(fresh);
        }
        Ok(())
    }

    fn opened(&self) -> Result<Open> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::Io("it could not be opened again after a failure".into()))
    }

    fn noting_failure<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.fail();
        }
        result
    }
}

impl Drop for SledDb {
    fn drop(&mut self) {
        let Some(open) = self.take() else { return };
        // Closing flushes too, but may wait for ever for a write that fails.
        let flushed = !self.has_failed() && flush(&open).is_ok();
        if flushed {
            close(Some(open));
        } else {
            // Acknowledged writes are on the disk: no reason to wait for ever.
            std::mem::forget(open);
        }
    }
}

/// Entries in the order of their keys; after an error there are no more.
pub struct Entries {
    inner: Option<sled::Iter>,
    failure: Option<Error>,
    _open: Option<Open>,
}

impl Entries {
    fn of(open: Result<Open>, entries: impl FnOnce(&sled::Db) -> sled::Iter) -> Entries {
        match open.and_then(|open| guarded(|| Ok(entries(&open.db))).map(|inner| (open, inner))) {
            Ok((open, inner)) => Entries { inner: Some(inner), failure: None, _open: Some(open) },
            Err(failure) => Entries { inner: None, failure: Some(failure), _open: None },
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut sled::Iter) -> Option<sled::Result<Entry>>) -> Option<Result<Entry>> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        let inner = self.inner.as_mut()?;
        let next = guarded(|| step(inner).transpose());
        // sled gives the same error for ever.
        if next.is_err() {
            self.inner = None;
        }
        next.transpose()
    }
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.step(Iterator::next)
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Result<Entry>> {
        self.step(DoubleEndedIterator::next_back)
    }
}

fn flush(open: &Open) -> Result<usize> {
    let (config, flushing) = (open.config.clone(), open.clone());
    within_patience(&config, open.clone(), move || guarded(|| flushing.db.flush()))
}

fn room(dir: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(dir).map_err(io::Error::from)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes { Err(Error::Full) } else { Ok(()) }
}

/// Closing flushes, and on a failed disk sled panics over that. Acknowledged writes were flushed before.
fn close(open: Option<Open>) {
    let closed = guarded(|| {
        drop(open);
        Ok(())
    });
    if let Err(error) = closed {
        tracing::debug!("the store could not be closed cleanly: {error}");
    }
}

fn open_locked(dir: &Path) -> Result<Open> {
    let started = Instant::now();
    threads::prove_room()?;
    loop {
        let snapshots = tidy_snapshots(dir)?;
        room(dir, OPENING_BYTES + 2 * snapshots)?;
        // No background flushes: they would wake an idle machine, and a failed one is only logged. Everything is
        // flushed explicitly.
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match start(dir, &config) {
            Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock || is_lock(&error) => {
                if started.elapsed() > LOCK_PATIENCE {
                    return Err(Error::InUse(dir.display().to_string()));
                }
                std::thread::sleep(PAUSE);
            }
            Ok(opened) => return Ok(Open { db: opened?, config, users: Arc::default() }),
            Err(error) => return Err(error),
        }
    }
}

/// Starts sled. Only the making of a database waits for writes.
fn start(dir: &Path, config: &sled::Config) -> Result<sled::Result<sled::Db>> {
    let opening = config.clone();
    let open = move || guarded(|| Ok(opening.open()));
    if dir.join("db").try_exists()? { open() } else { within_patience(config, None, open) }
}

/// sled wraps the lock's `WouldBlock` in an error of kind `Other`.
fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other && error.to_string().contains("could not acquire lock")
}

/// A power cut while sled writes its snapshot leaves a part of it, which sled would take for a damaged one. Returns the
/// size of the whole ones.
fn tidy_snapshots(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        } else if name.starts_with("snap.") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
