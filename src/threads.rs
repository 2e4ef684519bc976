//! Threads, whose making can fail: the machine has a limit for each user and each service. The standard library and the
//! runtime panic at the limit; this module returns an error that names the limit. The work of the threads is not known
//! here.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Threads that an open store and a command beside it need at most: the database's seven, one that writes, one that
/// carries the command out, one that looks up names.
const NEEDED: usize = 10;

/// Does `work` on a thread of its own, inside the caller's runtime, and hands its result over. The result is lost if
/// the caller does not wait for the thread's end.
pub fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (done, answer) = oneshot::channel();
    let runtime = Handle::try_current();
    let begin = move || {
        let _inside = runtime.as_ref().map(Handle::enter);
        // The asking task may have gone away.
        drop(done.send(work()));
    };
    std::thread::Builder::new().name(name.into()).spawn(begin).map_err(refused)?;
    Ok(answer)
}

/// Proves that the threads of an open store can be made: the store's database would wait for ever for a missing thread.
pub fn prove_room() -> io::Result<()> {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let made: io::Result<Vec<_>> = (0..NEEDED)
        .map(|_| {
            let held = held.clone();
            // The thread waits until the others are there, or until it is clear that they never will be.
            let wait = move || held.lock().unwrap_or_else(PoisonError::into_inner).recv().is_ok();
            std::thread::Builder::new().spawn(wait)
        })
        .collect();
    drop(release);
    let made = made.map_err(refused)?;
    made.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Why a thread could not be made, with the remedy.
pub fn refused(error: io::Error) -> io::Error {
    io::Error::other(format!(
        "no more threads can be started ({error}); raise TasksMax= of the service, or the limit of processes of this user \
         (`ulimit -u`)"
    ))
}
