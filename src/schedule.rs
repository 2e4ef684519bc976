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

/// The first run of any of these strictly after `now`.
pub fn next_run(schedules: &[Schedule], now: DateTime<Tz>) -> Option<DateTime<Tz>> {
    schedules.iter().filter_map(|schedule| schedule.next_after(now)).min()
}

/// Whether a run was due between `last_run` and `now`.
pub fn missed(schedules: &[Schedule], last_run: DateTime<chrono::Utc>, now: DateTime<chrono::Utc>, tz: Tz) -> bool {
    next_run(schedules, last_run.with_timezone(&tz)).is_some_and(|due| due <= now)
}
