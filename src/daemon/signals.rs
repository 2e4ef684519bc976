//! What other processes say by signals, as values that are read one after the other.
//!
//! Signals wait from the first line of the program until it is known who reads them, so that none meets a moment in
//! which it would end the process: neither before the daemon is ready nor between the two programs of a rest, for what
//! waits outlives the start of a program. Signals that the daemon has no use for wait for ever.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Signals that say that the process itself is broken.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// Signals that have a meaning here.
const READ: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// What somebody wants of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It ends.
    Stop,
    /// It reads its configuration again.
    Reload,
}

/// Lets every signal wait. For the first thread, before there are others: these have it from the one that starts them.
pub fn hold() -> io::Result<()> {
    let mut held = SigSet::all();
    FAULTS.into_iter().for_each(|signal| held.remove(signal));
    // A person at a terminal may want to halt the program for a while.
    if io::stderr().is_terminal() {
        held.remove(Signal::SIGTSTP);
    }
    Ok(held.thread_block()?)
}

/// Signals do again what they do to any program.
pub fn release() -> io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// The signals that have a meaning, to be read instead of suffered.
pub struct Signals(SignalFd);

impl Signals {
    /// From now on they are read. For the first thread, before there are others.
    pub fn take() -> io::Result<Signals> {
        let read: SigSet = READ.into_iter().collect();
        read.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&read, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next thing that is wanted. None is lost where this is given up early.
    #[expect(
        deprecated,
        reason = "the safe way is deprecated for types that lie about their descriptor; this does not"
    )]
    pub async fn next(&self) -> io::Result<Wanted> {
        let readable = AsyncFd::with_interest(self.0.as_fd(), Interest::READABLE)?;
        loop {
            if let Some(signal) = self.0.read_signal()? {
                let is_hangup = i64::from(signal.ssi_signo) == i64::from(Signal::SIGHUP as i32);
                return Ok(if is_hangup { Wanted::Reload } else { Wanted::Stop });
            }
            readable.readable().await?.clear_ready();
        }
    }

    /// Returns when the process is to end; for a program that has nothing to reload.
    pub async fn stop(&self) {
        if let Err(error) = self.next().await {
            tracing::error!("signals cannot be read: {error}");
            std::future::pending().await
        }
    }

    /// They do again what they do to any program.
    pub fn give_back(self) -> io::Result<()> {
        let read: SigSet = READ.into_iter().collect();
        Ok(read.thread_unblock()?)
    }
}
