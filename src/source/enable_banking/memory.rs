//! The connector's state in the store: how each account is called, how often the bank was asked today, and how far the
//! history is known.
//!
//! Promise: a call that the bank counts is counted on the disk before it leaves, so that no restart and no dry run makes it
//! forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::consent::BankAccount;
use crate::remote::Error;
use crate::source::State;

/// Longest name of an account.
const LONGEST_NAME: usize = 64;

/// Everything that is remembered of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// The session that the counts belong to.
    pub session: String,
    /// That session is known to have ended.
    pub is_ended: bool,
    /// The headers that the bank requires of a call with the owner present; `None`: not known.
    pub presence: Option<Vec<String>>,
    /// The bank fails where it is told of the owner's presence.
    pub fails_with_presence: bool,
    /// The bank does not take the filter by status.
    pub takes_no_filter: bool,
    /// The days back that the bank gives without a fresh consent, where it has refused the usual number.
    pub most_days: Option<u32>,
    /// The accounts, by the text that stays the same from one consent to the next.
    pub accounts: BTreeMap<String, Known>,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// The name of the account here, the same for ever.
    pub account: String,
    /// Number and currency that the name was made of.
    pub number: String,
    pub currency: String,
    /// Calls for transactions, and for balances.
    pub transactions: Calls,
    pub balances: Calls,
    /// A listing has come whole.
    pub is_listed: bool,
    /// The whole history was listed, as far as the bank goes.
    pub has_history: bool,
    /// The day on which as much was last listed as the bank gives without a fresh consent.
    pub swept: Option<NaiveDate>,
    /// The last balance, and the listing that it belongs to.
    pub balance: Option<KnownBalance>,
}

/// A balance as it was last asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownBalance {
    pub day: NaiveDate,
    pub amount: Option<Decimal>,
    /// Hash of the rows that were booked last before it.
    pub listing: u64,
}

/// The calls of one kind about one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Calls {
    /// The owner's day that is counted.
    pub day: Option<NaiveDate>,
    /// Unattended calls on that day.
    pub sent: u32,
    /// Calls that the last usual listing took.
    pub pages: u32,
    /// The end of a pause that the bank asked for.
    pub paused_until: Option<DateTime<Utc>>,
}

impl Calls {
    fn sent_on(&self, day: NaiveDate) -> u32 {
        if self.day == Some(day) { self.sent } else { 0 }
    }

    /// The time from which another listing may begin; `None`: now. A listing that has begun goes on to its end, so the
    /// calls that the last one took must be left.
    pub fn wait(&self, limit: u32, now: DateTime<Utc>, timezone: Tz) -> Option<DateTime<Utc>> {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Some(until);
        }
        let day = now.with_timezone(&timezone).date_naive();
        let sent = self.sent_on(day);
        if sent == 0 || sent.saturating_add(self.pages.max(1)) <= limit {
            return None;
        }
        Some(midnight_after(day, timezone))
    }

    /// Counts a call that is about to leave.
    pub fn count(&mut self, day: NaiveDate) {
        self.sent = self.sent_on(day).saturating_add(1);
        self.day = Some(day);
    }
}

fn midnight_after(day: NaiveDate, timezone: Tz) -> DateTime<Utc> {
    let next = day.succ_opt().unwrap_or(day).and_time(chrono::NaiveTime::MIN);
    // Where the clock jumps over midnight the day begins an hour later.
    let start = [0, 1, 2].into_iter().find_map(|hours| {
        let time = next + TimeDelta::hours(hours);
        time.and_local_timezone(timezone).earliest()
    });
    start.map_or_else(|| next.and_utc(), |start| start.to_utc())
}

/// The memory with its place in the store.
pub(super) struct Notebook {
    state: Arc<dyn State>,
    pub memory: Memory,
}

impl Notebook {
    /// Reads the memory. The memory of another release that cannot be read is empty.
    pub fn open(state: Arc<dyn State>) -> Result<Notebook, Error> {
        let memory = serde_json::from_str(&state.read()?).unwrap_or_default();
        Ok(Notebook { state, memory })
    }

    /// Writes the memory down; returns once it is on the disk.
    pub fn save(&self) -> Result<(), Error> {
        let text = serde_json::to_string(&self.memory);
        self.state.write(&text.map_err(|error| Error::malformed(format!("the state cannot be written: {error}")))?)
    }

    /// The account under this key.
    pub fn known(&mut self, key: &str) -> &mut Known {
        self.memory.accounts.entry(key.to_owned()).or_default()
    }
}

impl Memory {
    /// Begins with a new session: the bank has just seen the owner, and counts anew.
    pub fn begin(&mut self, session: &str) {
        if self.session == session {
            return;
        }
        session.clone_into(&mut self.session);
        self.is_ended = false;
        for known in self.accounts.values_mut() {
            for calls in [&mut known.transactions, &mut known.balances] {
                *calls = Calls { pages: calls.pages, ..Calls::default() };
            }
        }
    }

    /// Gives every account of a session its name: the one it has had before, else its number. Accounts that share a
    /// number, such as the pockets of one IBAN, get their currency behind it. A name is never changed and never given to
    /// another account, unless the bank has replaced the account's key.
    pub fn name(&mut self, accounts: &[BankAccount]) {
        for (at, account) in accounts.iter().enumerate() {
            if self.accounts.get(&account.key).is_some_and(|known| !known.account.is_empty()) {
                continue;
            }
            let is_present = |key: &str| accounts.iter().any(|other| other.key == key);
            let same = |known: &Known| known.number == account.number && known.currency == account.currency;
            let former = self.accounts.iter().find(|(key, known)| !is_present(key) && same(known));
            if let Some(former) = former.filter(|_| !account.number.is_empty()).map(|(key, _)| key.clone()) {
                let known = self.accounts.remove(&former).unwrap_or_default();
                self.accounts.insert(account.key.clone(), known);
                continue;
            }
            let shares = |other: &BankAccount| other.number == account.number && other.key != account.key;
            let is_shared = accounts.iter().any(shares);
            let name = self.free_name(account, is_shared, at);
            let known = self.accounts.entry(account.key.clone()).or_default();
            known.account = name;
            (known.number, known.currency) = (account.number.clone(), account.currency.clone());
        }
    }

    fn free_name(&self, account: &BankAccount, is_shared: bool, at: usize) -> String {
        let number = plain(&account.number);
        let number = if number.is_empty() { format!("account-{}", at + 1) } else { number };
        let with_currency = match account.currency.as_str() {
            "" => format!("{number}-XXX"),
            currency => format!("{number}-{}", plain(currency)),
        };
        let mut names = (!is_shared).then_some(number).into_iter().chain([with_currency.clone()]);
        let is_free = |name: &String| !self.accounts.values().any(|known| known.account == *name);
        let free = names.find(is_free);
        free.or_else(|| (2..).map(|number| format!("{with_currency}-{number}")).find(is_free)).unwrap_or(with_currency)
    }
}

/// A text as the name of an account: ASCII, no blanks, no colons.
fn plain(text: &str) -> String {
    let is_kept = |char: &char| char.is_ascii_graphic() && *char != ':';
    text.chars().filter(is_kept).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &str, number: &str, currency: &str) -> BankAccount {
        BankAccount { key: key.into(), number: number.into(), currency: currency.into(), ..BankAccount::default() }
    }

    fn names(memory: &mut Memory, accounts: &[BankAccount]) -> Vec<String> {
        memory.name(accounts);
        accounts.iter().map(|account| memory.accounts[&account.key].account.clone()).collect()
    }

    #[test]
    fn pockets_of_one_number_differ_and_no_name_ever_changes() {
        let mut memory = Memory::default();
        let eur = account("a", "LT123", "EUR");
        assert_eq!(names(&mut memory, std::slice::from_ref(&eur)), ["LT123"]);
        let pockets = [account("b", "LT123", "USD"), eur.clone(), account("c", "", "GBP"), account("d", "", "GBP")];
        assert_eq!(names(&mut memory, &pockets), ["LT123-USD", "LT123", "account-3-GBP", "account-4-GBP"]);
        let reversed: Vec<BankAccount> = pockets.into_iter().rev().collect();
        assert_eq!(names(&mut memory, &reversed), ["account-4-GBP", "account-3-GBP", "LT123", "LT123-USD"]);
        // The bank gives the same account another key.
        assert_eq!(names(&mut memory, &[account("e", "LT123", "USD"), eur]), ["LT123-USD", "LT123"]);
        assert_eq!(names(&mut Memory::default(), &[account("f", "x y:z\u{e4}", "")]), ["xyz"]);
    }

    #[test]
    fn calls_of_a_day_are_limited_and_a_listing_begins_only_if_it_can_end() {
        let zone = chrono_tz::Europe::Sofia;
        let now: DateTime<Utc> = "2026-12-01T12:00:00Z".parse().unwrap();
        let day = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
        let midnight = "2026-12-01T22:00:00Z".parse().unwrap();
        let mut calls = Calls::default();
        for _ in 0..4 {
            assert_eq!(calls.wait(4, now, zone), None);
            calls.count(day);
        }
        assert_eq!(calls.wait(4, now, zone), Some(midnight));
        assert_eq!(calls.wait(4, midnight, zone), None);
        let calls = Calls { day: Some(day), sent: 2, pages: 3, paused_until: None };
        assert_eq!((calls.wait(4, now, zone), calls.wait(5, now, zone)), (Some(midnight), None));
        let paused = Calls { paused_until: Some(now + TimeDelta::hours(1)), ..Calls::default() };
        assert_eq!(paused.wait(4, now, zone), Some(now + TimeDelta::hours(1)));
    }

    #[test]
    fn a_new_consent_counts_anew() {
        let mut memory = Memory { session: "one".into(), is_ended: true, ..Memory::default() };
        let day = NaiveDate::from_ymd_opt(2026, 12, 1);
        let calls = Calls { day, sent: 4, pages: 2, paused_until: Some(DateTime::UNIX_EPOCH) };
        let known = Known { transactions: calls, account: "A".into(), ..Known::default() };
        memory.accounts.insert("a".into(), known);
        let before = memory.clone();
        memory.begin("one");
        assert_eq!(memory, before);
        memory.begin("two");
        assert!(!memory.is_ended);
        assert_eq!(memory.accounts["a"].transactions, Calls { pages: 2, ..Calls::default() });
    }
}
