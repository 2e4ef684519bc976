//! Signals of other processes, read as values one after the other.
//!
//! Signals are blocked from the first line of the program until their reader is known. A signal therefore cannot end the
//! process before the daemon is ready, nor in its re-execution, because a pending signal outlives the start of a program.
//! Signals that the daemon has no use for stay pending for ever.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Signals of a fault in the process itself.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// Signals that the program reads.
const READ: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// The wish that a signal expresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The process is to end.
    Stop,
    /// The process is to read its configuration again.
    Reload,
}

/// Blocks every signal. For the first thread before it starts others, which inherit the mask.
pub fn hold() -> io::Result<()> {
    let mut held = SigSet::all();
    FAULTS.into_iter().for_each(|signal| held.remove(signal));
    // A person at a terminal may want to suspend the program.
    if io::stderr().is_terminal() {
        held.remove(Signal::SIGTSTP);
    }
    Ok(held.thread_block()?)
}

/// Unblocks every signal.
pub fn release() -> io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// The signals that the program reads.
pub struct Signals(SignalFd);

impl Signals {
    /// Begins to read signals. For the first thread before it starts others.
    pub fn take() -> io::Result<Signals> {
        let read: SigSet = READ.into_iter().collect();
        read.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&read, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next signal. A cancelled call loses no signal.
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

    /// Returns when the process is to end; for a command, which has no configuration to reload.
    pub async fn stop(&self) {
        if let Err(error) = self.next().await {
            tracing::error!("signals cannot be read: {error}");
            std::future::pending().await
        }
    }

    /// Ends the reading and unblocks the signals.
    pub fn give_back(self) -> io::Result<()> {
        let read: SigSet = READ.into_iter().collect();
        Ok(read.thread_unblock()?)
    }
}
