//! The idle daemon: it waits for the next run, a command, a browser or a statement file with the store closed, without the threads and the
//! memory of the last cycle.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reexec::{IdleDaemon, SavedState};
use super::signals::{Signals, Wanted};
use super::{notify, watchdog};
use crate::control;
use crate::service::wall_clock;
use crate::threads;

/// Shortest and longest time that the daemon stays active without work.
const SHORTEST: Duration = Duration::from_millis(1_700);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The time that the daemon stays active without work after this idle time, or after the start. Opening the store writes some
/// megabytes, so the time doubles with each wake-up until a monitor that asks again and again finds the daemon active;
/// a run resets it.
pub fn patience(saved: Option<&SavedState>) -> Duration {
    match saved {
        Some(saved) if saved.timetable.due().is_none_or(|due| due > Utc::now()) => {
            (saved.patience * 2).clamp(SHORTEST, LONGEST)
        }
        _ => SHORTEST,
    }
}

/// Why an idle time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A run or notice is due, or a client or a file came.
    Needed,
    /// The configuration is to be read again.
    Reload,
    /// The daemon was told to stop.
    Stop,
}

/// Waits until this time, or until a client or a file comes.
pub async fn wait(daemon: &IdleDaemon, due: Option<DateTime<Utc>>, signals: &Signals) -> io::Result<Woken> {
    let time = async {
        match due {
            Some(due) => wall_clock::wait(due, daemon.saved.timetable.offset).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        wanted = signals.next() => match wanted? {
            Wanted::Reload => Ok(Woken::Reload),
            Wanted::Stop => {
                notify(&[sd_notify::NotifyState::Stopping]);
                tracing::info!("stopping");
                Ok(Woken::Stop)
            }
        },
        needed = until_needed(daemon, time) => needed.map(|()| Woken::Needed),
        () = watchdog() => Ok(Woken::Needed),
    }
}

/// Answers the commands that wait for a daemon that cannot open its store: the reason and the exit status.
pub fn reject_connections(daemon: &IdleDaemon, why: &str, status: u8) {
    notify(&[sd_notify::NotifyState::Status(why)]);
    while let Ok((stream, _)) = daemon.socket.listener.accept() {
        let why = why.to_owned();
        let begun = threads::run("command", move || {
            let told = control::answer(stream, |_, output| {
                output.talk(&format!("bankfeed: {why}\n"))?;
                Ok(status)
            });
            if let Err(error) = told {
                tracing::debug!("a command went away: {error}");
            }
        });
        if let Err(error) = begun {
            tracing::warn!("{error}");
        }
    }
    // A browser shows by itself that the page does not answer.
    while daemon.page.as_ref().is_some_and(|page| page.accept().is_ok()) {}
}

/// Waits until `time`, until a client comes, or until a file lies in a watched directory. The client stays in the queue of the
/// socket, and the report of the file in the queue of the kernel.
#[expect(deprecated, reason = "the safe way is deprecated for types that lie about their descriptor; these do not")]
async fn until_needed(daemon: &IdleDaemon, time: impl Future<Output = ()>) -> io::Result<()> {
    let control = AsyncFd::with_interest(daemon.socket.listener.as_fd(), Interest::READABLE)?;
    let page = daemon.page.as_ref().map(|page| AsyncFd::with_interest(page.as_fd(), Interest::READABLE)).transpose()?;
    let browser = async {
        match &page {
            Some(page) => page.readable().await.map(drop),
            None => std::future::pending().await,
        }
    };
    let file = async {
        match &daemon.directories {
            Some(directories) => directories.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        somebody = control.readable() => somebody.map(drop),
        somebody = browser => somebody,
        file = file => file,
        () = time => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::timetable::Timetable;

    #[test]
    fn a_daemon_that_is_often_woken_stays_awake_longer() {
        let saved = |due: Option<i64>, patience: Duration| SavedState {
            timetable: Timetable {
                run: due.map(|seconds| Utc::now() + chrono::TimeDelta::seconds(seconds)),
                ..Timetable::default()
            },
            patience,
            ..SavedState::default()
        };
        assert_eq!(patience(None), SHORTEST);
        assert_eq!(patience(Some(&saved(Some(3600), SHORTEST))), SHORTEST * 2);
        assert_eq!(patience(Some(&saved(None, SHORTEST * 2))), SHORTEST * 4);
        assert_eq!(patience(Some(&saved(None, LONGEST))), LONGEST);
        assert_eq!(patience(Some(&saved(Some(-1), LONGEST))), SHORTEST, "it was time for a run");
    }
}
