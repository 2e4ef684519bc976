//! The readers against files by strangers and against every trap in small.

use chrono::NaiveDate;

use super::*;

mod corpus;
mod identities;
mod order;
mod traps;
mod wild;

/// Options of a source that names an account and a currency for files that do not.
fn options() -> Options {
    Options {
        account: Some("BG80BNBA96611020345678".to_owned()),
        currency: Some("XXX".to_owned()),
        today: NaiveDate::from_ymd_opt(2026, 12, 1).unwrap(),
        ..Options::default()
    }
}
