//! Requests that share a limit share a pace, whoever sends them: two destinations in one base, two spreadsheets of one
//! account.
//!
//! A limit goes by a key. A connector that got its [`Paces`] from another by cloning sees the same requests; where a service has
//! asked for patience, everybody under that key waits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Error, Shutdown};

/// The requests that have been sent under each limit.
#[derive(Clone, Debug, Default)]
pub struct Paces(Arc<Mutex<HashMap<String, Sent>>>);

#[derive(Debug, Default)]
struct Sent {
    recent: VecDeque<Instant>,
    held_until: Option<Instant>,
}

/// A limit: so many requests in any window of that length.
#[derive(Clone, Debug)]
pub struct Pace {
    paces: Paces,
    key: String,
    most: usize,
    window: Duration,
}

impl Paces {
    /// The limit of this key.
    pub fn pace(&self, key: String, most: usize, window: Duration) -> Pace {
        Pace { paces: self.clone(), key, most, window }
    }
}

impl Pace {
    /// The length of the window.
    pub fn window(&self) -> Duration {
        self.window
    }

    /// Returns when the next request may leave, and counts it; the stop signal ends the wait.
    pub async fn wait(&self, shutdown: &Shutdown) -> Result<(), Error> {
        loop {
            if shutdown.requested() {
                return Err(Error::stopped());
            }
            let Err(wait) = self.book(Instant::now()) else { return Ok(()) };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.wait() => {}
            }
        }
    }

    /// Holds back every request under this key for so long: the service has asked for it.
    pub fn hold(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.with(|sent| sent.held_until = sent.held_until.max(Some(until)));
    }

    /// Books a request for `now`, or says how long to wait before asking again.
    fn book(&self, now: Instant) -> Result<(), Duration> {
        self.with(|sent| {
            if let Some(until) = sent.held_until.filter(|until| *until > now) {
                return Err(until - now);
            }
            while sent.recent.front().is_some_and(|first| now.duration_since(*first) >= self.window) {
                sent.recent.pop_front();
            }
            match sent.recent.front() {
                Some(first) if sent.recent.len() >= self.most => Err(self.window - now.duration_since(*first)),
                _ => {
                    sent.recent.push_back(now);
                    Ok(())
                }
            }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Sent) -> T) -> T {
        // A poisoned lock still holds good times.
        let mut all = self.paces.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(self.key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn no_window_sees_more_than_the_most_whoever_sends() {
        let (paces, start) = (Paces::default(), Instant::now());
        let both = [paces.pace("a".into(), 55, MINUTE), paces.pace("a".into(), 55, MINUTE)];
        let (mut now, mut sent) = (start, Vec::new());
        while sent.len() < 300 {
            match both[sent.len() % 2].book(now) {
                Ok(()) => sent.push(now),
                Err(wait) => now += wait,
            }
            now += Duration::from_millis(300);
        }
        for (at, first) in sent.iter().enumerate() {
            let within = sent[at..].iter().take_while(|later| later.duration_since(*first) < MINUTE).count();
            assert!(within <= 55, "{within}");
        }
        assert!(sent[299] - start > Duration::from_secs(4 * 60));
        assert_eq!(paces.pace("b".into(), 1, MINUTE).book(now), Ok(()), "another key has a pace of its own");
    }

    #[test]
    fn what_one_was_asked_to_wait_all_wait() {
        let (paces, now) = (Paces::default(), Instant::now());
        let (one, other) = (paces.pace("a".into(), 4, MINUTE), paces.pace("a".into(), 4, MINUTE));
        one.hold(Duration::from_secs(30));
        one.hold(Duration::from_secs(3));
        assert!(other.book(now).unwrap_err() > Duration::from_secs(29));
        assert_eq!(other.book(now + Duration::from_secs(31)), Ok(()));
    }

    #[tokio::test]
    async fn the_stop_signal_ends_the_wait() {
        let (stop, shutdown) = Shutdown::new();
        let pace = Paces::default().pace("a".into(), 1, Duration::from_secs(3600));
        pace.wait(&shutdown).await.unwrap();
        stop.send(true).unwrap();
        assert_eq!(pace.wait(&shutdown).await, Err(Error::stopped()));
    }
}
