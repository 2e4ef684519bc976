//! Everything that keeps the daemon active: commands, connections and the worker's requests, counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// A run or notice that comes so soon is waited for without going idle.
const SOON: Duration = Duration::from_secs(5);

/// Time between two looks at the things that speak against going idle.
const LOOK: Duration = Duration::from_secs(60);

/// A counter of running things. Clones share it.
#[derive(Clone, Debug)]
pub struct Activity(Arc<watch::Sender<Running>>);

#[derive(Clone, Copy, Debug)]
struct Running {
    count: usize,
    /// The end of the latest thing.
    since: Instant,
}

/// A running thing, which ends when the guard is dropped.
#[derive(Debug)]
pub struct ActivityGuard(Activity);

impl Default for Activity {
    fn default() -> Activity {
        Activity(Arc::new(watch::Sender::new(Running { count: 0, since: Instant::now() })))
    }
}

impl Activity {
    /// Counts one more running thing.
    pub fn begin(&self) -> ActivityGuard {
        self.0.send_modify(|running| running.count += 1);
        ActivityGuard(self.clone())
    }

    /// Returns once no thing has been running for so long.
    async fn quiet(&self, patience: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let running = *changes.borrow_and_update();
            let left = patience.saturating_sub(running.since.elapsed());
            if running.count == 0 && left.is_zero() {
                return;
            }
            let wait = if running.count == 0 { left } else { Duration::MAX };
            // The sender lives in `self`.
            drop(tokio::time::timeout(wait, changes.changed()).await);
        }
    }

    /// Returns once the daemon may go idle: no thing is running, no run or notice is due soon, and `held` is false.
    pub async fn may_idle(&self, patience: Duration, due: impl Fn() -> Option<DateTime<Utc>>, held: impl Fn() -> bool) {
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

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.0.0.send_modify(|running| *running = Running { count: running.count - 1, since: Instant::now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn what_is_due_soon_or_holds_it_keeps_the_daemon_active() {
        let activity = Activity::default();
        let soon = || Some(Utc::now() + chrono::TimeDelta::seconds(1));
        let later = || Some(Utc::now() + chrono::TimeDelta::hours(1));
        let rests = async |due: &dyn Fn() -> Option<DateTime<Utc>>, held: bool| {
            let rest = activity.may_idle(Duration::ZERO, due, || held);
            tokio::time::timeout(Duration::from_secs(600), rest).await.is_ok()
        };
        assert!(!rests(&soon, false).await);
        assert!(!rests(&later, true).await);
        assert!(rests(&later, false).await);
        assert!(rests(&|| None, false).await);
    }
}
