//! Invented money for the simulated bank: people, companies and accounts that exist nowhere, over years of days.
//!
//! It promises to be a pure function of its arguments: the same day and seed give the same rows, to the second and the
//! cent. IBANs are invented but have the right check digits. It must not know any connector or destination.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, TimeZone};
use chrono_tz::Europe::Sofia;
use rust_decimal::{Decimal, RoundingStrategy};

mod small;

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

/// Leva as euros. A rate and a rounding of its own: what the program believes of them is under test.
pub fn in_euro(leva: Decimal) -> Decimal {
    let rate = Decimal::new(195_583, 5);
    (leva / rate).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// A moment by the Bulgarian clock; one that a change of the clock skipped or doubled is the earlier of its neighbours.
pub fn sofia(date: NaiveDate, hour: u32, minute: u32, second: u32) -> DateTime<FixedOffset> {
    let naive: NaiveDateTime = date.and_hms_opt(hour, minute, second).unwrap_or_default();
    let local = Sofia.from_local_datetime(&naive).earliest();
    local.map_or_else(|| Sofia.from_utc_datetime(&naive), |local| local).fixed_offset()
}

/// A calendar day; one that does not exist is the epoch.
pub(crate) fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}
