//! Wrong tokens: they are counted by address. Tokens from an address with too many are compared one after the other.
//!
//! A right token always passes, so a person who shares an address with an attacker (a proxy, a browser that a foreign
//! page makes guess) is not locked out. The pace of the comparisons and the length of the token bound the guessing; a
//! right token may have to wait for a moment.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::access::lock;
use super::serve::network;

/// Wrong tokens that an address may send at once; afterwards one every [`PER_GUESS`].
pub(super) const GUESSES: u32 = 20;
pub(super) const PER_GUESS: Duration = Duration::from_secs(3);

/// Addresses whose wrong tokens are counted. A further address takes the place of the one that was quiet longest.
const GUESSERS: usize = 256;

/// Duration of a comparison for an address with too many wrong tokens, and for a sender that cannot be counted.
const PER_COMPARISON: Duration = Duration::from_millis(10);

/// The result of checking a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenCheck {
    /// The token is right.
    Right,
    /// The token is wrong.
    Wrong,
    /// The token is wrong, and so were too many before it.
    TooOften,
}

/// The sender of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    /// The address of the connection.
    pub address: IpAddr,
    /// True if the browser says that another site caused the request: the user of the browser has guessed nothing.
    pub is_foreign: bool,
}

/// The wrong tokens that were sent instead of one right token.
#[derive(Default)]
pub(super) struct Guesses {
    counted: Mutex<GuessCounts>,
    lane: tokio::sync::Mutex<()>,
}

impl Guesses {
    /// Checks a token; `is_right` compares it.
    pub async fn judge(&self, from: Sender, is_right: impl FnOnce() -> bool) -> TokenCheck {
        let is_over = lock(&self.counted).level(from.address, Instant::now()) >= GUESSES;
        if is_over || from.is_foreign {
            let _turn = self.lane.lock().await;
            tokio::time::sleep(PER_COMPARISON).await;
        }
        if is_right() {
            return TokenCheck::Right;
        }
        if from.is_foreign {
            return TokenCheck::Wrong;
        }
        lock(&self.counted).add(from.address, Instant::now())
    }

    /// True while a wrong token still counts.
    pub fn are_remembered(&self) -> bool {
        let (counted, now) = (lock(&self.counted), Instant::now());
        counted.0.keys().any(|address| counted.level(*address, now) > 0)
    }
}

/// Wrong tokens by address: a leaky bucket that drains one token every [`PER_GUESS`].
#[derive(Default)]
struct GuessCounts(HashMap<IpAddr, (u32, Instant)>);

impl GuessCounts {
    fn add(&mut self, address: IpAddr, now: Instant) -> TokenCheck {
        let level = self.level(address, now) + 1;
        if level > GUESSES {
            return TokenCheck::TooOften;
        }
        if self.0.len() >= GUESSERS
            && let Some(quiet) = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address)
        {
            self.0.remove(&quiet);
        }
        self.0.insert(network(address), (level, now));
        TokenCheck::Wrong
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
        let mut counted = GuessCounts::default();
        let (start, address) = (Instant::now(), IpAddr::from([192, 0, 2, 7]));
        for _ in 0..GUESSES {
            assert_eq!(counted.add(address, start), TokenCheck::Wrong);
        }
        assert_eq!(counted.add(address, start), TokenCheck::TooOften);
        assert_eq!(counted.add(IpAddr::from([192, 0, 2, 8]), start), TokenCheck::Wrong, "others are not punished");
        assert_eq!(counted.add(address, start + PER_GUESS), TokenCheck::Wrong);
        assert_eq!(counted.add(address, start + PER_GUESS), TokenCheck::TooOften);
        assert_eq!(counted.level(address, start + PER_GUESS * 100), 0);
    }

    #[test]
    fn neighbours_in_one_network_of_ipv6_count_as_one_and_the_table_is_bounded() {
        let mut counted = GuessCounts::default();
        let now = Instant::now();
        for host in 0..GUESSES {
            counted.add(IpAddr::from(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(host))), now);
        }
        assert_eq!(counted.add("2001:db8::ffff".parse().unwrap(), now), TokenCheck::TooOften);
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
            assert_eq!(guesses.judge(from(true), || false).await, TokenCheck::Wrong);
        }
        assert!(!guesses.are_remembered());
        for _ in 0..GUESSES {
            assert_eq!(guesses.judge(from(false), || false).await, TokenCheck::Wrong);
        }
        for _ in 0..3 {
            assert_eq!(guesses.judge(from(false), || false).await, TokenCheck::TooOften);
            assert_eq!(guesses.judge(from(false), || true).await, TokenCheck::Right);
            assert_eq!(guesses.judge(from(true), || true).await, TokenCheck::Right);
        }
    }
}
