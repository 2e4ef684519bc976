//! Invented money for the simulated bank: people, companies and accounts that exist nowhere, over years of days.
//!
//! The worlds are pure functions of their arguments: the same day and seed give the same rows, to the second and the
//! cent. IBANs are invented but have the right check digits. No connector or destination is known here.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Europe::Sofia;
use rust_decimal::{Decimal, RoundingStrategy};

mod euro;
mod household;
mod small;
#[cfg(test)]
mod tests;
mod texts;

pub use euro::History;

/// A small generator of its own, so that the same seed gives the same world with every version of every library.
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where that is 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Draws an event that happens `chance` times in a hundred.
    pub(crate) fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }
}

/// An IBAN of the bank with these eight characters as its account part.
pub fn iban(account: &str) -> String {
    bulgarian_iban(&format!("FINV915010{account}"))
}

/// `BG`, the check digits and this, which is a bank's four letters, four digits of a branch, two of a kind of account
/// and eight characters of an account.
pub fn bulgarian_iban(rest: &str) -> String {
    let remainder = format!("{rest}BG00").bytes().fold(0u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
    });
    format!("BG{:02}{rest}", 98 - remainder)
}

/// The first instant of the euro in Bulgaria.
pub fn euro_day() -> DateTime<FixedOffset> {
    sofia(day(2026, 1, 1), 0, 0, 0)
}

/// Leva as euros. Rate and rounding are the simulator's own, because those of the program are under test.
pub fn in_euro(leva: Decimal) -> Decimal {
    let rate = Decimal::new(195_583, 5);
    (leva / rate).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// Euros as leva.
fn in_leva(euro: Decimal) -> Decimal {
    (euro * Decimal::new(195_583, 5)).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// A moment by the Bulgarian clock. A time that comes twice is the first; a time that a change of the clock skips is an
/// hour later on the new clock.
pub fn sofia(date: NaiveDate, hour: u32, minute: u32, second: u32) -> DateTime<FixedOffset> {
    let naive: NaiveDateTime = date.and_hms_opt(hour, minute, second).unwrap_or_default();
    let local = Sofia.from_local_datetime(&naive).earliest();
    local.unwrap_or_else(|| Sofia.from_utc_datetime(&(naive - TimeDelta::hours(2)))).fixed_offset()
}

/// A calendar day; one that does not exist is the epoch.
pub(crate) fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}
