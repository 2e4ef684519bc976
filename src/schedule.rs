//! Cron text to instants: what crontab(5) means, on top of the `cron` crate. Pure: `now` is an argument.

use chrono::DateTime;
use chrono_tz::Tz;

/// One line of a crontab.
#[derive(Clone, Debug)]
pub struct Schedule {}

impl Schedule {
    /// Parses five fields (six: seconds first) or `@daily` and friends.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        Err(text.to_owned())
    }

    /// The first run strictly after `now`.
    pub fn next_after(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        let _ = now;
        None
    }
}
