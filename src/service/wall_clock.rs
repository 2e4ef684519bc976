//! Waiting for an instant of the wall clock. The clock may be set meanwhile, and it stands still for the program while
//! the machine sleeps; the system reports both, so the program need not poll.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Longest wait where the system does not report that the clock was set.
const LOOK: Duration = Duration::from_secs(15 * 60);

/// An instant that never comes, in seconds since 1970.
const NEVER: i64 = 1 << 40;

/// A difference of two clocks that is no setting of either.
const UNSET_MS: i64 = 1_000;

/// Milliseconds by which the wall clock is ahead of the machine's own time, which cannot be set.
pub fn offset() -> i64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Utc::now().timestamp_millis() - (own.tv_sec * 1_000 + own.tv_nsec / 1_000_000)
}

/// True if the clock was set between these two offsets.
pub fn was_set(before: i64, now: i64) -> bool {
    before.abs_diff(now) > UNSET_MS.unsigned_abs()
}

/// Returns at this instant, or sooner if the clock is set, if its offset is no longer the `known` one, or if the machine
/// has slept. The caller looks at the time and waits again.
pub async fn wait(instant: DateTime<Utc>, known: Option<i64>) {
    // The watch comes before the comparison, so that no setting in between is missed.
    let setting = Setting::watch();
    if known.is_some_and(|known| was_set(known, offset())) {
        return;
    }
    let left = (instant - Utc::now()).max(TimeDelta::zero()).to_std().unwrap_or_default();
    match setting {
        Ok(setting) => tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = setting.seen() => {}
        },
        Err(error) => {
            tracing::debug!("the system does not say when the clock is set: {error}");
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }
}

/// A timer of the system that reports a setting of the clock.
struct Setting(OwnedFd);

impl Setting {
    fn watch() -> io::Result<Setting> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Realtime, flags)?;
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let never = Itimerspec { it_interval: none, it_value: Timespec { tv_sec: NEVER, ..none } };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        rustix::time::timerfd_settime(&timer, flags, &never)?;
        Ok(Setting(timer))
    }

    /// Returns when the clock is set.
    #[expect(
        deprecated,
        reason = "the safe way is deprecated for types that lie about their descriptor; this does not"
    )]
    async fn seen(&self) {
        let seen = async { AsyncFd::with_interest(self.0.as_fd(), Interest::READABLE)?.readable().await.map(drop) };
        if let Err(error) = seen.await {
            tracing::debug!("the system does not say when the clock is set: {error}");
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_is_not_one_that_is_set() {
        let before = offset();
        std::thread::yield_now();
        assert!(!was_set(before, offset()));
        assert!(was_set(before, before - 3 * 3_600_000) && was_set(before, before + 2_000));
    }

    #[tokio::test]
    async fn nobody_waits_for_an_instant_that_is_past_or_by_a_clock_that_was_set() {
        wait(Utc::now() - TimeDelta::hours(3), None).await;
        wait(Utc::now() + TimeDelta::milliseconds(5), Some(offset())).await;
        wait(Utc::now() + TimeDelta::hours(3), Some(offset() + 10_000)).await;
        drop(Setting::watch().unwrap());
    }
}
