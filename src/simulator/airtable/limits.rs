//! The limits of the simulated service: calls a second with the penalty after too many, calls a month, records a base.
//!
//! The rate is measured on the real clock, because clients use the real clock.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// The limits and how far they are used up.
pub(super) struct Limits {
    per_second: Option<u32>,
    penalty: Duration,
    /// The calls by base id; the empty id counts the calls of the user over all bases.
    boxes: HashMap<String, Window>,
    pub monthly: Option<u32>,
    pub spent: u32,
    pub records: Option<usize>,
}

#[derive(Default)]
struct Window {
    recent: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

/// Calls a user has in a second over all bases and tokens.
const PER_USER: u32 = 50;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            per_second: Some(5),
            penalty: Duration::from_secs(30),
            boxes: HashMap::new(),
            monthly: None,
            spent: 0,
            records: None,
        }
    }
}

impl Limits {
    pub fn set_rate(&mut self, per_second: Option<u32>, penalty: Duration) {
        (self.per_second, self.penalty) = (per_second, penalty);
        self.boxes.clear();
    }

    pub fn rate(&self) -> (Option<u32>, Duration) {
        (self.per_second, self.penalty)
    }

    /// Lets a call pass and counts it, or refuses it. `data` calls stop when the month is spent; other calls were seen
    /// to go on, so that a successful one proves nothing about writes. Real counting of refused calls is not known;
    /// here a refused call does not count.
    pub fn admit(&mut self, base: Option<&str>, data: bool) -> Result<(), Refusal> {
        self.admit_at(Instant::now(), base, data)
    }

    fn admit_at(&mut self, now: Instant, base: Option<&str>, data: bool) -> Result<(), Refusal> {
        if let Some(per_second) = self.per_second {
            let user = self.boxes.entry(String::new()).or_default().admit(now, PER_USER, self.penalty);
            let base = base.map(|base| self.boxes.entry(base.to_owned()).or_default());
            let base = base.is_none_or(|window| window.admit(now, per_second, self.penalty));
            if !user || !base {
                return Err(Refusal::rate_limited());
            }
        }
        if data && self.monthly.is_some_and(|monthly| self.spent >= monthly) {
            return Err(Refusal::month_spent());
        }
        self.spent += 1;
        Ok(())
    }
}

impl Window {
    /// A call inside the penalty is refused and, as the documentation says "wait 30 seconds", does not lengthen it.
    fn admit(&mut self, now: Instant, limit: u32, penalty: Duration) -> bool {
        if self.closed_until.is_some_and(|until| now < until) {
            return false;
        }
        self.closed_until = None;
        while self.recent.front().is_some_and(|then| now.duration_since(*then) >= Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        if self.recent.len() >= limit as usize {
            self.closed_until = Some(now + penalty);
            self.recent.clear();
            return false;
        }
        self.recent.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Limits};

    #[test]
    fn a_base_refuses_all_calls_until_thirty_seconds_after_the_first_refusal() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let mut passes =
            |base: &str, millis: u64| limits.admit_at(start + Duration::from_millis(millis), Some(base), true).is_ok();
        assert!((0..5).all(|at| passes("a", at * 100)));
        assert!(passes("a", 1_000), "the first call is a second ago by now");
        assert!(!passes("a", 1_050));
        assert!(!passes("a", 10_000) && !passes("a", 31_049));
        assert!(passes("b", 10_000));
        assert!((31_050..31_055).all(|at| passes("a", at)), "a refused call inside the penalty did not lengthen it");
    }

    #[test]
    fn a_user_has_fifty_calls_a_second_over_all_bases() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let mut passes = |base: usize| limits.admit_at(now, Some(&base.to_string()), true).is_ok();
        assert!((0..50).all(|at| passes(at / 5)));
        assert!(!passes(99));
    }
}
