//! Keeping below Google's quota of 60 requests a minute: a sliding window over our own requests.
//!
//! Pure; who waits passes the time in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most requests in any window. Google allows 60 reads and 60 writes; some room stays for a second machine or a retry.
const MOST: usize = 55;
/// Length of the window.
const WINDOW: Duration = Duration::from_secs(60);

/// When the latest requests left.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent: VecDeque<Instant>,
}

impl Pace {
    /// Books a request for `now`, or says how long to wait before asking again.
    pub fn book(&mut self, now: Instant) -> Result<(), Duration> {
        while self.sent.front().is_some_and(|sent| now.duration_since(*sent) >= WINDOW) {
            self.sent.pop_front();
        }
        match self.sent.front() {
            Some(oldest) if self.sent.len() >= MOST => Err(WINDOW - now.duration_since(*oldest)),
            _ => {
                self.sent.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_than_the_most() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (mut now, mut sent) = (start, Vec::new());
        while sent.len() < 300 {
            match pace.book(now) {
                Ok(()) => sent.push(now),
                Err(wait) => now += wait,
            }
            now += Duration::from_millis(300);
        }
        for (at, first) in sent.iter().enumerate() {
            let within = sent[at..].iter().take_while(|later| later.duration_since(*first) < WINDOW).count();
            assert!(within <= MOST, "{within}");
        }
        assert!(sent[299] - start > Duration::from_secs(4 * 60));
    }
}
