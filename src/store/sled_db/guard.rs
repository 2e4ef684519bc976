//! Calls into sled that end well whatever sled does: a panic becomes an error, a passing failure is tried again, and a
//! write that will never end is given up.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use super::Open;
use crate::store::{Error, Result};
use crate::threads;

/// The longest time for a write, on the slowest of disks. Beyond, sled waits for something that will not come.
const WRITE_PATIENCE: Duration = Duration::from_secs(120);

/// The interval in which a slow write is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// The time that sled may take to give up after it has met an error.
const GIVING_UP: Duration = Duration::from_secs(2);

/// Further attempts at what may pass, and the pause before each.
const TRIES: u32 = 3;
pub const PAUSE: Duration = Duration::from_millis(20);

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Error {
        match error {
            sled::Error::Io(error) => error.into(),
            sled::Error::Corruption { .. } => Error::Damaged("a page of it does not match its checksum".into()),
            // After a panic of one of its threads, which says nothing about the disk.
            sled::Error::ReportableBug(what) if what.starts_with("IO thread") => Error::Io(what),
            sled::Error::ReportableBug(what) => Error::Damaged(what),
            other => Error::Io(other.to_string()),
        }
    }
}

/// Runs a call into sled, which panics on some kinds of damage. Unwinding leaves nothing of ours half done: whatever
/// went wrong inside sled shows in later errors of the same kind, and nothing is written any more by then.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    GUARDED.set(true);
    let called = panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    match called {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::Damaged("its pages contradict one another".into())),
    }
}

/// Tries again what failed for a reason that may pass. Damage counts only if two attempts in a row find it: sled takes a
/// read that failed for damage.
pub fn surely<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut suspected = false;
    for _ in 0..TRIES {
        match attempt() {
            Err(Error::Damaged(_)) if !suspected => suspected = true,
            Err(Error::Io(_)) => suspected = false,
            other => return other,
        }
        std::thread::sleep(PAUSE);
    }
    match attempt() {
        Err(Error::Damaged(why)) if !suspected => Err(Error::Io(why)),
        other => other,
    }
}

/// Waits for a write, but neither for ever nor for one that cannot succeed any more.
pub(super) fn within_patience<T: Send + 'static>(
    config: &sled::Config,
    open: impl Into<Option<Open>>,
    write: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, answer) = mpsc::channel();
    // The asking thread may have lost patience.
    std::thread::Builder::new().spawn(move || drop(done.send(write()))).map_err(threads::refused)?;
    let (open, mut patience) = (open.into(), WRITE_PATIENCE);
    let started = Instant::now();
    while started.elapsed() < patience {
        match answer.recv_timeout(LOOK) {
            Ok(written) => return written,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if let Err(error) = config.global_error()
            && patience == WRITE_PATIENCE
        {
            tracing::debug!("sled has met an error: {error}");
            patience = started.elapsed() + GIVING_UP;
            // A thread that waits for the failed write is not told of it; another flush wakes it up.
            open.iter().for_each(|open: &Open| drop(guarded(|| open.db.flush())));
        }
    }
    match config.global_error() {
        Err(error) => Err(error.into()),
        Ok(()) => Err(Error::Io("the disk does not answer".into())),
    }
}

thread_local! {
    /// True while this thread is inside sled.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that begin inside sled off the owner's terminal: each becomes an error there and then. Every other
/// panic is reported as ever, and ends the program.
pub(super) fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            let in_sled = what.location().is_some_and(|place| place.file().contains("/sled-0.34"));
            let of_sled = std::thread::current().name().is_some_and(|name| name.starts_with("sled-io"));
            if !in_sled && !of_sled && !GUARDED.get() {
                report(what);
            }
        }));
    });
}
