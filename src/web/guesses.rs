//! Wrong tokens: counted by address, and compared one after the other where they have become many.
//!
//! A right token always passes, whatever was guessed before it and from wherever: whoever shares an address with
//! somebody who guesses (a proxy, a browser that a foreign page makes guess) is not locked out. What bounds the guessing
//! is the pace of the comparisons, which a right token may have to wait for by a moment, and the length of the token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::access::lock;
use super::serve::network;

/// Wrong tokens an address may send at once; after that one every [`PER_GUESS`].
pub(super) const GUESSES: u32 = 20;
pub(super) const PER_GUESS: Duration = Duration::from_secs(3);

/// Addresses whose wrong tokens are counted; one more forgets the one that has been quiet longest.
const GUESSERS: usize = 256;

/// One comparison takes so long where an address has guessed too often, or where nobody can be counted.
const PER_COMPARISON: Duration = Duration::from_millis(10);

/// What a token that somebody sent comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// It is the one.
    Right,
    /// It is not.
    Wrong,
    /// It is not, and neither were too many others.
    TooOften,
}

/// Who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// From where.
    pub address: IpAddr,
    /// A browser says that another site made it: that is no guess of whoever sits there.
    pub is_foreign: bool,
}

/// What was guessed for one token.
#[derive(Default)]
pub(super) struct Guesses {
    counted: Mutex<Counted>,
    lane: tokio::sync::Mutex<()>,
}

impl Guesses {
    /// Judges a token that somebody sent; `is_right` compares it.
    pub async fn judge(&self, from: Sender, is_right: impl FnOnce() -> bool) -> Given {
        let is_over = lock(&self.counted).level(from.address, Instant::now()) >= GUESSES;
        if is_over || from.is_foreign {
            let _turn = self.lane.lock().await;
            tokio::time::sleep(PER_COMPARISON).await;
        }
        if is_right() {
            return Given::Right;
        }
        if from.is_foreign {
            return Given::Wrong;
        }
        lock(&self.counted).add(from.address, Instant::now())
    }

    /// Whether a guess still counts.
    pub fn are_remembered(&self) -> bool {
        let (counted, now) = (lock(&self.counted), Instant::now());
        counted.0.keys().any(|address| counted.level(*address, now) > 0)
    }
}

/// Wrong tokens by address, each a bucket that drains one guess every [`PER_GUESS`].
#[derive(Default)]
struct Counted(HashMap<IpAddr, (u32, Instant)>);

impl Counted {
    fn add(&mut self, address: IpAddr, now: Instant) -> Given {
        let level = self.level(address, now) + 1;
        if level > GUESSES {
            return Given::TooOften;
        }
        if self.0.len() >= GUESSERS
            && let Some(quiet) = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address)
        {
            self.0.remove(&quiet);
        }
        self.0.insert(network(address), (level, now));
        Given::Wrong
    }

    fn level(&self, address: IpAddr, now: Instant) -> u32 {
        let Some((level, last)) = self.0.get(&network(address)) else { return 0 };
        let drained = now.saturating_duration_since(*last).as_secs() / PER_GUESS.as_secs();
        level.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_counted_and_forgotten() {
        let mut counted = Counted::default();
        let (start, address) = (Instant::now(), IpAddr::from([192, 0, 2, 7]));
        for _ in 0..GUESSES {
            assert_eq!(counted.add(address, start), Given::Wrong);
        }
        assert_eq!(counted.add(address, start), Given::TooOften);
        assert_eq!(counted.add(IpAddr::from([192, 0, 2, 8]), start), Given::Wrong, "others are not punished");
        assert_eq!(counted.add(address, start + PER_GUESS), Given::Wrong);
        assert_eq!(counted.add(address, start + PER_GUESS), Given::TooOften);
        assert_eq!(counted.level(address, start + PER_GUESS * 100), 0);
    }

    #[test]
    fn neighbours_in_one_network_of_ipv6_count_as_one_and_the_table_is_bounded() {
        let mut counted = Counted::default();
        let now = Instant::now();
        for host in 0..GUESSES {
            counted.add(IpAddr::from(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(host))), now);
        }
        assert_eq!(counted.add("2001:db8::ffff".parse().unwrap(), now), Given::TooOften);
        for host in 0..2_000_u32 {
            counted.add(IpAddr::from(std::net::Ipv4Addr::from_bits(host)), now);
        }
        assert!(counted.0.len() <= GUESSERS);
    }

    #[tokio::test]
    async fn the_right_token_passes_whatever_was_guessed() {
        let guesses = Guesses::default();
        let from = |is_foreign| Sender { address: IpAddr::from([192, 0, 2, 7]), is_foreign };
        for _ in 0..3 * GUESSES {
            assert_eq!(guesses.judge(from(true), || false).await, Given::Wrong);
        }
        assert!(!guesses.are_remembered());
        for _ in 0..GUESSES {
            assert_eq!(guesses.judge(from(false), || false).await, Given::Wrong);
        }
        for _ in 0..3 {
            assert_eq!(guesses.judge(from(false), || false).await, Given::TooOften);
            assert_eq!(guesses.judge(from(false), || true).await, Given::Right);
            assert_eq!(guesses.judge(from(true), || true).await, Given::Right);
        }
    }
}
