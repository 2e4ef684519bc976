//! The one place that touches sled. It turns sled's ways into this program's promises: an error for everything, panics
//! on damaged pages included; a flush that reaches the disk; a failed disk that can be tried again.
//!
//! It knows keys and values, not what they mean.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::RangeBounds;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use super::{Error, Result};
use crate::threads;

/// Page cache; more costs resident memory (several times as much as is asked for) and gains nothing here.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// How long a lock is waited for: sled gives its own up in the background.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Room on the disk that writes leave alone. A write that fails for want of room is more than sled can take: it may
/// wait for ever for a page that never arrives. So a disk counts as full before it is.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// Room that opening needs, beside twice the present snapshot.
const OPENING_BYTES: u64 = 2 * 1024 * 1024;

/// How long a write may take, on the slowest of disks. Beyond, sled waits for something that will not come.
const WRITE_PATIENCE: Duration = Duration::from_secs(120);

/// A key with its value.
pub type Entry = (sled::IVec, sled::IVec);

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Error {
        match error {
            sled::Error::Io(error) => error.into(),
            sled::Error::Corruption { .. } => Error::Damaged("a page of it does not match its checksum".into()),
            sled::Error::ReportableBug(what) => Error::Damaged(what),
            other => Error::Io(other.to_string()),
        }
    }
}

/// An open database.
pub struct Disk {
    dir: PathBuf,
    /// `None` only while, or after, opening it again went wrong.
    db: RwLock<Option<sled::Db>>,
    /// A write went wrong. sled refuses everything from then on, so it has to be opened again.
    pub(super) failed: AtomicBool,
    /// Large values lie in files of their own; these are on the disk already.
    synced_blobs: Mutex<HashSet<OsString>>,
}

impl Disk {
    /// Opens the database in this directory, making it if there is none.
    pub fn open(dir: &Path) -> Result<Disk> {
        silence_panics();
        let db = open_locked(dir)?;
        let disk = Disk {
            dir: dir.to_owned(),
            db: RwLock::new(Some(db)),
            failed: false.into(),
            synced_blobs: Mutex::default(),
        };
        // The directory entries themselves must survive a power cut before anything counts as acknowledged.
        File::open(dir)?.sync_all()?;
        Ok(disk)
    }

    /// A write went wrong: nothing works until [`Disk::reopen`].
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Opens the database again after a failure.
    pub fn reopen(&self) -> Result<()> {
        let mut slot = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // Closing may wait for ever after a failure, so it is left to itself; usually it gives the lock up at once.
        let former = slot.take();
        std::thread::Builder::new().spawn(move || close(former)).map_err(threads::refused)?;
        let opened = open_locked(&self.dir).map_err(|error| match error {
            Error::InUse(_) => Error::Io("it does not come back after a failed write; restart bankfeed".into()),
            other => other,
        });
        *slot = Some(opened?);
        self.failed.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether there is room for so many bytes more, in whatever shape they reach the disk.
    pub fn room_for(&self, bytes: u64) -> Result<()> {
        room(&self.dir, RESERVE_BYTES.saturating_add(bytes.saturating_mul(4)))
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<sled::IVec>> {
        let db = self.db()?;
        guarded(|| db.get(key))
    }

    /// Entries within these bounds.
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, bounds: R) -> Entries {
        Entries::of(self.db().and_then(|db| guarded(|| Ok(db.range(bounds)))))
    }

    /// Entries whose key begins with this.
    pub fn prefix(&self, prefix: &[u8]) -> Entries {
        Entries::of(self.db().and_then(|db| guarded(|| Ok(db.scan_prefix(prefix)))))
    }

    /// Applies writes (`None` removes) at once or not at all, and puts them on the disk. sled reuses the place of what
    /// it has moved elsewhere, so a batch must not lie in the system's cache while the next one is written.
    pub fn apply(&self, writes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut bytes = 0;
        for (key, value) in writes {
            bytes += key.len() as u64 + value.as_ref().map_or(0, Vec::len) as u64;
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.room_for(bytes)?;
        let db = self.db()?;
        let written = within_patience(move || {
            guarded(|| {
                db.apply_batch(batch)?;
                db.flush()
            })
        });
        // sled's own flush hands pages to the kernel only.
        let synced = written.and_then(|_| {
            self.sync_blobs()?;
            Ok(File::open(self.dir.join("db"))?.sync_all()?)
        });
        self.noting_failure(synced)
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

    fn db(&self) -> Result<sled::Db> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.clone().ok_or_else(|| Error::Io("it could not be opened again after a failure".into()))
    }

    fn noting_failure<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        result
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        if self.has_failed() {
            // The process is about to end, and what counted is on the disk: no reason to wait for ever.
            std::mem::forget(db);
        } else {
            close(db);
        }
    }
}

/// Entries in the order of their keys; after an error there are no more.
pub struct Entries {
    inner: Option<sled::Iter>,
    failure: Option<Error>,
}

impl Entries {
    fn of(opened: Result<sled::Iter>) -> Entries {
        match opened {
            Ok(inner) => Entries { inner: Some(inner), failure: None },
            Err(failure) => Entries { inner: None, failure: Some(failure) },
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

/// Runs a call into sled, which panics on some kinds of damage. Unwinding leaves nothing of ours half done: whatever
/// went wrong inside sled shows in later errors of the same kind, and nothing is written any more by then.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::Damaged("its pages contradict one another".into())),
    }
}

/// Waits for a write, but not for ever.
fn within_patience<T: Send + 'static>(write: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, answer) = mpsc::channel();
    // Whoever asked may have lost patience.
    std::thread::Builder::new().spawn(move || drop(done.send(write()))).map_err(threads::refused)?;
    answer.recv_timeout(WRITE_PATIENCE).unwrap_or_else(|_| Err(Error::Io("the disk does not answer".into())))
}

fn room(dir: &Path, bytes: u64) -> Result<()> {
    let disk = rustix::fs::statvfs(dir).map_err(io::Error::from)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < bytes { Err(Error::Full) } else { Ok(()) }
}

/// Closing flushes, and on a failed disk sled panics over that. What counted was flushed before.
fn close(db: Option<sled::Db>) {
    if panic::catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
        tracing::debug!("the store could not be closed cleanly");
    }
}

/// Keeps panics that begin inside sled off the owner's terminal: each becomes an error there and then. Every other
/// panic is reported as ever.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            let in_sled = what.location().is_some_and(|place| place.file().contains("/sled-0.34"));
            let of_sled = std::thread::current().name().is_some_and(|name| name.starts_with("sled-io"));
            if !in_sled && !of_sled {
                report(what);
            }
        }));
    });
}

fn open_locked(dir: &Path) -> Result<sled::Db> {
    let started = Instant::now();
    threads::prove_room()?;
    loop {
        let snapshots = tidy_snapshots(dir)?;
        room(dir, OPENING_BYTES + 2 * snapshots)?;
        // No background flushes: they would wake an idle machine, and a failed one is only logged. Everything is
        // flushed explicitly.
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match panic::catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock || is_lock(&error) => {
                if started.elapsed() > LOCK_PATIENCE {
                    return Err(Error::InUse(dir.display().to_string()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(opened) => return Ok(opened?),
            Err(_) => return Err(Error::Damaged("its pages contradict one another".into())),
        }
    }
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
