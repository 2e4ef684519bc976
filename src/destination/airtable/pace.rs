//! Keeps the limits of Airtable: requests per second of a base and of a user, and requests per month of a plan.
//!
//! The first two are shared with every destination of the process; [`Spending`] counts requests by calendar month (UTC,
//! as Airtable's quota does) and is kept in the connector's memory. No request is sent here; time comes as an argument.

use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use crate::remote::rate_limit::Pace;
use crate::remote::{Backoff, Error, Shutdown};

/// The pause between two requests to a base: four per second, where Airtable refuses the sixth.
const SPACING: Duration = Duration::from_millis(250);

/// Most requests of a user in a second, over all bases; Airtable refuses the fifty-first.
const MOST_OF_A_USER: usize = 40;

/// The limits per second that a request is under.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub base: Pace,
    user: Pace,
    /// The longest wait of one cycle.
    patience: Duration,
}

impl Limits {
    /// The limits of a base and of whoever this token is of. The default patience gives Airtable's own pace; a shorter
    /// one, meant for a service on this machine, a shorter.
    pub(super) fn new(backoff: &Backoff, root: &Url, base: &str, token: &str) -> Limits {
        let (spacing, second) = (SPACING.min(backoff.first / 2), Duration::from_secs(1).min(backoff.first * 2));
        let user = format!("airtable {root} {:016x}", xxh3_64(token.as_bytes()));
        Limits {
            base: backoff.paces.pace(format!("airtable {root} {base}"), 1, spacing),
            user: backoff.paces.pace(user, MOST_OF_A_USER, second),
            patience: backoff.patience,
        }
    }

    /// Returns when the next request may leave.
    pub(super) async fn wait(&self, shutdown: &Shutdown) -> Result<(), Error> {
        self.user.wait(shutdown).await?;
        self.base.wait(shutdown).await
    }

    /// Holds back the requests of every destination in the base for `pause`, because the service has asked for it. A
    /// pause longer than the patience of a cycle is not kept here: the service tells each destination, which then ends.
    pub(super) fn hold(&self, pause: Duration) {
        if pause <= self.patience {
            self.base.hold(pause);
        }
    }
}

/// Requests of one calendar month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spending {
    /// The first of the month it speaks of.
    month: NaiveDate,
    /// Requests sent in it.
    sent: u32,
    /// The owner has been told that it runs low.
    warned: bool,
    /// Airtable has said that the plan's calls are used up.
    used_up: Option<UsedUp>,
}

/// The configuration under which Airtable said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UsedUp {
    monthly_requests: Option<u32>,
}

/// The permission to send another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// The request may be sent, and has been counted.
    Granted,
    /// The request may be sent, and has been counted; four fifths are gone, for the first time this month.
    RunningLow,
    /// `monthly_requests` is reached.
    Spent,
    /// Airtable refuses until the month ends.
    UsedUp,
}

impl Spending {
    /// Counts one request before it is sent, if it may be sent.
    pub(super) fn take(&mut self, now: DateTime<Utc>, limit: Option<u32>) -> Allowance {
        self.turn(now);
        // A plan changed in mid-month shows in a changed `monthly_requests`: the owner's way to lift the block.
        if self.used_up.as_ref().is_some_and(|then| then.monthly_requests == limit) {
            return Allowance::UsedUp;
        }
        self.used_up = None;
        if limit.is_some_and(|limit| self.sent >= limit) {
            return Allowance::Spent;
        }
        self.sent += 1;
        let low = limit.is_some_and(|limit| u64::from(self.sent) * 5 >= u64::from(limit) * 4);
        if low && !self.warned {
            self.warned = true;
            return Allowance::RunningLow;
        }
        Allowance::Granted
    }

    /// Airtable has said that nothing more will be answered this month.
    pub(super) fn exhaust(&mut self, now: DateTime<Utc>, limit: Option<u32>) {
        self.turn(now);
        self.used_up = Some(UsedUp { monthly_requests: limit });
    }

    /// Requests sent this month.
    pub(super) fn sent(&mut self, now: DateTime<Utc>) -> u32 {
        self.turn(now);
        self.sent
    }

    fn turn(&mut self, now: DateTime<Utc>) {
        let month = first_of_month(now);
        if self.month != month {
            *self = Spending { month, ..Spending::default() };
        }
    }
}

/// The day on which a used-up budget is full again.
pub(super) fn refills(now: DateTime<Utc>) -> NaiveDate {
    first_of_month(now).checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX)
}

fn first_of_month(now: DateTime<Utc>) -> NaiveDate {
    let day = now.date_naive();
    day.with_day(1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_budget_warns_once_is_never_overspent_and_refills_with_the_month() {
        let (mut spending, november) = (Spending::default(), at("2026-11-30T23:59:59Z"));
        let taken: Vec<_> = (0..7).map(|_| spending.take(november, Some(5))).collect();
        use Allowance::*;
        assert_eq!(taken, [Granted, Granted, Granted, RunningLow, Granted, Spent, Spent]);
        assert_eq!(spending.sent(november), 5);
        assert_eq!(spending.take(november, Some(10)), Granted);
        assert_eq!(spending.take(at("2026-12-01T00:00:00Z"), Some(5)), Granted);
        assert_eq!(refills(at("2026-12-31T10:00:00Z")).to_string(), "2027-01-01");
    }

    #[test]
    fn a_plan_used_up_blocks_until_the_month_or_the_configuration_changes() {
        let (mut spending, november) = (Spending::default(), at("2026-11-10T00:00:00Z"));
        spending.exhaust(november, None);
        assert_eq!(spending.take(november, None), Allowance::UsedUp);
        assert_eq!(spending.sent(november), 0);
        let mut spending: Spending = serde_json::from_str(&serde_json::to_string(&spending).unwrap()).unwrap();
        assert_eq!(spending.take(november, None), Allowance::UsedUp);
        let mut upgraded = spending.clone();
        assert_eq!(upgraded.take(november, Some(100_000)), Allowance::Granted);
        assert_eq!(spending.take(at("2026-12-01T00:00:00Z"), None), Allowance::Granted);
    }
}
