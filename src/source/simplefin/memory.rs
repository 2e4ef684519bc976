//! The connector's own state in the store: the requests of the day, the accounts that were seen, and the accounts that go
//! on under another id.
//!
//! Promise: a request is counted on the disk before it leaves, whoever asks and whatever becomes of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use crate::remote::{Cause, Error};
use crate::source::State;

/// Requests that the service allows in a day of UTC.
const DAILY: u32 = 24;

/// Requests of a day that only a person at a terminal may use.
const RESERVE: u32 = 2;

/// The state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// The day of UTC that `spent` is of.
    day: Option<NaiveDate>,
    /// Requests of that day.
    spent: u32,
    /// Accounts that the service could not read, with the first day of that.
    pub failing: BTreeMap<String, NaiveDate>,
    /// The accounts of the last whole answer by their ids here.
    pub seen: BTreeMap<String, Seen>,
}

/// An account as it was seen last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    /// The connection or bank that it belongs to, which tells equal ids apart.
    pub within: String,
    /// The bank.
    pub bank: String,
    /// The name of the account.
    pub name: String,
    /// The currency of the account.
    pub currency: String,
}

impl Memory {
    /// Reads the state of the source with this name.
    pub fn read(name: &str, state: &dyn State) -> Result<Memory, Error> {
        let text = state.read()?;
        if text.is_empty() {
            return Ok(Memory::default());
        }
        serde_json::from_str(&text).map_err(|error| {
            let what = format!("{name}: what is remembered of this source cannot be read ({error})");
            Error::attention(Cause::Machine, format!("{what}; a newer bankfeed may have written it: update this one"))
        })
    }

    /// Writes the state.
    pub fn write(&self, state: &dyn State) -> Result<(), Error> {
        let text = serde_json::to_string(self).map_err(|error| Error::malformed(error.to_string()))?;
        state.write(&text)
    }

    /// Counts a request that is about to leave; nothing may leave after an error.
    pub fn spend(&mut self, name: &str, state: &dyn State, now: DateTime<Utc>, by_hand: bool) -> Result<(), Error> {
        let today = now.date_naive();
        if self.day != Some(today) {
            (self.day, self.spent) = (Some(today), 0);
        }
        let most = if by_hand { DAILY } else { DAILY - RESERVE };
        if self.spent >= most {
            return Err(Error::resting(next_day(now), format!("{name}: the {DAILY} requests of today are used up")));
        }
        self.spent += 1;
        self.write(state)
    }

    /// Notes that the service takes no more requests today.
    pub fn exhaust(&mut self, state: &dyn State, now: DateTime<Utc>) -> Result<(), Error> {
        (self.day, self.spent) = (Some(now.date_naive()), self.spent.max(DAILY - RESERVE));
        self.write(state)
    }
}

/// The first instant of the next day of UTC.
pub(super) fn next_day(now: DateTime<Utc>) -> DateTime<Utc> {
    let day = now.date_naive();
    day.checked_add_days(Days::new(1)).unwrap_or(day).and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::Memory as Stored;

    #[test]
    fn no_day_has_more_requests_than_the_service_allows() {
        let state = Stored::default();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let spend = |now, by_hand| {
            let mut memory = Memory::read("us", &state).unwrap();
            memory.spend("us", &state, now, by_hand)
        };
        let evening = at("2026-11-30T23:59:59Z");
        for _ in 0..DAILY - RESERVE {
            spend(evening, false).unwrap();
        }
        assert_eq!(spend(evening, false).unwrap_err().resting_until(), Some(at("2026-12-01T00:00:00Z")));
        for _ in 0..RESERVE {
            spend(evening, true).unwrap();
        }
        assert!(spend(evening, true).unwrap_err().resting_until().is_some());
        spend(at("2026-12-01T00:00:00Z"), false).unwrap();
        state.write("{\"spent\":").unwrap();
        assert_eq!(Memory::read("us", &state).unwrap_err().cause(), Some(Cause::Machine));
    }
}
