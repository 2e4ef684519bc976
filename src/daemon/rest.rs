//! When the daemon rests, and how long: it stays awake while anybody or anything needs it and a moment longer, then
//! waits for the next run, a command or a browser without store, threads or memory of the last cycle.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::handover::{Handover, Notes};
use super::signals::{Signals, Wanted};
use super::{alarm, notify, watchdog};
use crate::control;
use crate::threads;

/// How long the daemon stays awake with nothing to do, at least and at most.
const SHORTEST: Duration = Duration::from_millis(1_700);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What comes so soon is waited for awake.
const SOON: Duration = Duration::from_secs(5);

/// How often it is looked whether something that needs the daemon awake is over.
const LOOK: Duration = Duration::from_secs(60);

/// Counts what is going on.
#[derive(Clone, Debug)]
pub struct Activity(Arc<watch::Sender<Going>>);

#[derive(Clone, Copy, Debug)]
struct Going {
    on: usize,
    since: Instant,
}

/// Something is going on until this is dropped.
#[derive(Debug)]
pub struct Busy(Activity);

impl Default for Activity {
    fn default() -> Activity {
        Activity(Arc::new(watch::Sender::new(Going { on: 0, since: Instant::now() })))
    }
}

impl Activity {
    /// Something begins.
    pub fn begin(&self) -> Busy {
        self.0.send_modify(|going| going.on += 1);
        Busy(self.clone())
    }

    /// Returns once nothing has been going on for so long.
    async fn quiet(&self, patience: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let going = *changes.borrow_and_update();
            let left = patience.saturating_sub(going.since.elapsed());
            if going.on == 0 && left.is_zero() {
                return;
            }
            let wait = if going.on == 0 { left } else { Duration::MAX };
            // The sender lives in `self`.
            drop(tokio::time::timeout(wait, changes.changed()).await);
        }
    }

    /// Returns once nothing is going on, nothing is due soon and nothing else speaks against a rest.
    pub async fn may_rest(&self, patience: Duration, due: impl Fn() -> Option<DateTime<Utc>>, held: impl Fn() -> bool) {
        loop {
            self.quiet(patience).await;
            let soon = due().is_some_and(|due| due < Utc::now() + SOON);
            if !soon && !held() {
                return;
            }
            tokio::time::sleep(if soon { SOON } else { LOOK }).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.send_modify(|going| *going = Going { on: going.on - 1, since: Instant::now() });
    }
}

/// How long to stay awake after this rest, or after the start. Opening the store writes some megabytes, so whoever
/// asks again and again (a monitor) finds the daemon awake after a few times; the next run begins anew.
pub fn patience(notes: Option<&Notes>) -> Duration {
    match notes {
        Some(notes) if notes.clock.due().is_none_or(|due| due > Utc::now()) => {
            (notes.patience * 2).clamp(SHORTEST, LONGEST)
        }
        _ => SHORTEST,
    }
}

/// Why a rest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It is time, or somebody came.
    Needed,
    /// The configuration is to be read again.
    Reload,
    /// The daemon was told to stop.
    Stop,
}

/// Rests until it is time or somebody comes.
pub async fn rest(handover: &Handover, due: Option<DateTime<Utc>>, signals: &Signals) -> io::Result<Woken> {
    let time = async {
        match due {
            Some(due) => alarm::wait(due, handover.notes.clock.offset).await,
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
        needed = until_needed(handover, time) => needed.map(|()| Woken::Needed),
        () = watchdog() => Ok(Woken::Needed),
    }
}

/// Tells the commands that wait for a daemon that cannot work why it cannot, and with which status to end.
pub fn turn_away(handover: &Handover, why: &str, status: u8) {
    notify(&[sd_notify::NotifyState::Status(why)]);
    while let Ok((stream, _)) = handover.socket.listener.accept() {
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
    // A browser shows that nobody answers.
    while handover.page.as_ref().is_some_and(|page| page.accept().is_ok()) {}
}

/// Waits until somebody comes, whom it leaves at the socket, or it is time.
#[expect(deprecated, reason = "the safe way is deprecated for types that lie about their descriptor; these do not")]
async fn until_needed(handover: &Handover, time: impl Future<Output = ()>) -> io::Result<()> {
    let control = AsyncFd::with_interest(handover.socket.listener.as_fd(), Interest::READABLE)?;
    let page =
        handover.page.as_ref().map(|page| AsyncFd::with_interest(page.as_fd(), Interest::READABLE)).transpose()?;
    let browser = async {
        match &page {
            Some(page) => page.readable().await.map(drop),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        somebody = control.readable() => somebody.map(drop),
        somebody = browser => somebody,
        () = time => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::clock::Clock;

    #[tokio::test(start_paused = true)]
    async fn quiet_begins_when_the_last_thing_ends() {
        let activity = Activity::default();
        let (first, second) = (activity.begin(), activity.begin());
        drop(first);
        let quiet = activity.quiet(Duration::ZERO);
        tokio::pin!(quiet);
        assert!(tokio::time::timeout(Duration::from_secs(1000), &mut quiet).await.is_err());
        drop(second);
        quiet.await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_soon_or_holds_it_keeps_the_daemon_awake() {
        let activity = Activity::default();
        let soon = || Some(Utc::now() + chrono::TimeDelta::seconds(1));
        let later = || Some(Utc::now() + chrono::TimeDelta::hours(1));
        let rests = async |due: &dyn Fn() -> Option<DateTime<Utc>>, held: bool| {
            let rest = activity.may_rest(Duration::ZERO, due, || held);
            tokio::time::timeout(Duration::from_secs(600), rest).await.is_ok()
        };
        assert!(!rests(&soon, false).await);
        assert!(!rests(&later, true).await);
        assert!(rests(&later, false).await);
        assert!(rests(&|| None, false).await);
    }

    #[test]
    fn a_daemon_that_is_often_woken_stays_awake_longer() {
        let notes = |due: Option<i64>, patience: Duration| Notes {
            clock: Clock {
                run: due.map(|seconds| Utc::now() + chrono::TimeDelta::seconds(seconds)),
                ..Clock::default()
            },
            patience,
            ..Notes::default()
        };
        assert_eq!(patience(None), SHORTEST);
        assert_eq!(patience(Some(&notes(Some(3600), SHORTEST))), SHORTEST * 2);
        assert_eq!(patience(Some(&notes(None, SHORTEST * 2))), SHORTEST * 4);
        assert_eq!(patience(Some(&notes(None, LONGEST))), LONGEST);
        assert_eq!(patience(Some(&notes(Some(-1), LONGEST))), SHORTEST, "it was time for a run");
    }
}
