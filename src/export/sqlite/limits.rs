//! Limits of a question in time and memory. A question beyond a limit gets an error that names the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error, ErrorCode};

use super::cell_bytes;

/// Longest time of work on a question; the time to read the answer does not count.
const LONGEST: Duration = Duration::from_secs(60);

/// Memory of a question without the rows of the store.
const MEMORY_MIB: u64 = 256;

/// The largest value, and the largest row of an answer.
const VALUE_MIB: usize = 16;

/// Steps of SQLite's virtual machine between two checks of the time.
const STEPS: i32 = 10_000;

const MIB: usize = 1024 * 1024;

/// The end of the present work on a question.
#[derive(Clone)]
pub(super) struct Watch {
    began: Instant,
    /// The end in milliseconds after `began`.
    until_ms: Arc<AtomicU64>,
}

impl Watch {
    fn new() -> Watch {
        Watch { began: Instant::now(), until_ms: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Begins work that may take so long.
    pub(super) fn begin(&self, left: Duration) {
        let until = self.began.elapsed() + left;
        self.until_ms.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// True if the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed().as_millis() > u128::from(self.until_ms.load(Ordering::Relaxed))
    }
}

/// The rest of the time for one question.
pub(super) struct Budget<'a> {
    watch: &'a Watch,
    left: Duration,
}

impl<'a> Budget<'a> {
    pub(super) fn new(watch: &'a Watch) -> Budget<'a> {
        Budget { watch, left: LONGEST }
    }

    /// Does a piece of the work and subtracts its time.
    pub(super) fn work<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        self.watch.begin(self.left);
        let done = work();
        self.left = self.left.saturating_sub(began.elapsed());
        done
    }
}

/// Sets the limits of a database that has all its rows. A question cannot change them.
pub(super) fn set(db: &mut Connection) -> rusqlite::Result<Watch> {
    let number = |pragma: &str| db.query_row(&format!("PRAGMA {pragma}"), (), |row| row.get::<_, i64>(0));
    let own = u64::try_from(number("page_count")?.saturating_mul(number("page_size")?)).unwrap_or_default();
    // The overhead of a page is well below a quarter of its bytes.
    let limit = own + own / 4 + MEMORY_MIB * MIB as u64;
    number(&format!("hard_heap_limit = {limit}"))?;
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, (VALUE_MIB * MIB) as i32)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // SQLite's own `zeroblob` allocates its memory much later, when it is too late for an error.
    db.create_scalar_function("zeroblob", 1, flags, |context| {
        let bytes = context.get::<Option<i64>>(0)?.unwrap_or_default().max(0);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= VALUE_MIB * MIB => Ok(vec![0_u8; bytes]),
            _ => Err(refused(too_big())),
        }
    })?;
    let watch = Watch::new();
    let looked = watch.clone();
    db.progress_handler(STEPS, Some(move || looked.is_over()))?;
    Ok(watch)
}

/// The error of a function defined here.
pub(super) fn refused(why: String) -> Error {
    Error::UserFunctionError(why.into())
}

/// The error of a question whose time is over.
pub(super) fn too_long() -> String {
    format!("the question takes longer than {} s, the limit; ask for less at a time", LONGEST.as_secs())
}

fn too_big() -> String {
    format!("a value of the answer is larger than {VALUE_MIB} MiB, the limit; ask for less at a time")
}

/// Refuses a row of an answer that is too large to be held.
pub(super) fn check_row(row: &rusqlite::Row<'_>, columns: usize) -> Result<(), String> {
    let mut bytes = 0;
    for at in 0..columns {
        bytes += row.get_ref(at).map_or(0, cell_bytes);
        if bytes > VALUE_MIB * MIB {
            return Err(format!(
                "a row of the answer is larger than {VALUE_MIB} MiB, the limit; ask for less at a time"
            ));
        }
    }
    Ok(())
}

/// The limit that caused an error; `None`: the cause is no limit.
pub(super) fn explain(error: &Error) -> Option<String> {
    match error.sqlite_error_code()? {
        ErrorCode::OperationInterrupted => Some(too_long()),
        ErrorCode::TooBig => Some(too_big()),
        ErrorCode::OutOfMemory => {
            Some(format!("the question takes more than {MEMORY_MIB} MiB of memory, the limit; ask for less at a time"))
        }
        _ => None,
    }
}
