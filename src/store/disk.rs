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
use std::sync::{Mutex, Once, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Error, Result};

/// Page cache; more costs resident memory and gains nothing here.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// How long a lock is waited for: sled gives its own up in the background.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(2);

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
    failed: AtomicBool,
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
        close(slot.take());
        *slot = Some(open_locked(&self.dir)?);
        self.failed.store(false, Ordering::SeqCst);
        Ok(())
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
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let db = self.db()?;
        self.noting_failure(guarded(|| db.apply_batch(batch)))?;
        self.flush()
    }

    /// Makes everything applied so far survive a power cut. sled's own flush hands pages to the kernel only.
    fn flush(&self) -> Result<()> {
        let db = self.db()?;
        let flushed = guarded(|| db.flush()).and_then(|_| {
            self.sync_blobs()?;
            Ok(File::open(self.dir.join("db"))?.sync_all()?)
        });
        self.noting_failure(flushed)
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
        close(self.db.write().unwrap_or_else(PoisonError::into_inner).take());
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
            if !what.location().is_some_and(|place| place.file().contains("sled-0.34")) {
                report(what);
            }
        }));
    });
}

fn open_locked(dir: &Path) -> Result<sled::Db> {
    let started = Instant::now();
    loop {
        remove_unfinished_snapshots(dir)?;
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

/// A power cut while sled writes its snapshot leaves a part of it, which sled would take for a damaged one.
fn remove_unfinished_snapshots(dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
