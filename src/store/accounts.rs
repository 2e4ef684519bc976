//! Accounts: a record for each source that feeds one, and the account that all of them make together.
//!
//! A row belongs to the record of the source that gave it first; only that source changes it or takes it back. Status,
//! page and destinations show [`KnownAccount`]s, in which every source of one account speaks.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::model::Account;

/// Breaks remembered by account: each is one long pull spared.
const UNMENDABLE_KEPT: usize = 16;

/// Most days between two long pulls for a break that none has closed.
const MENDING_REST: u32 = 32;

/// An account as one source feeds it, and how well that source knows its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAccount {
    /// Number in the store.
    pub number: u16,
    /// Name of the source.
    pub source: String,
    /// The common beginning of the ids that the source gives; not stored with each transaction.
    pub id_prefix: String,
    /// As the source describes it.
    pub account: Account,
    /// When the source described it last.
    #[serde(default)]
    pub described_at: Option<DateTime<Utc>>,
    /// The source gives parts of the history as they come, like files, and vouches for no more than those.
    #[serde(default)]
    pub is_partial: bool,
    /// Last day up to which its history was fetched whole.
    pub fetched_until: Option<NaiveDate>,
    /// The first day of a row that could not be read, or of a window for which no list of rows came: everything from
    /// there on is asked for again.
    #[serde(default)]
    pub reread_from: Option<NaiveDate>,
    /// Why its history may be incomplete; `None`: the chain of balances is whole.
    #[serde(default)]
    pub problem: Option<String>,
    /// Why the last fetch may not have given every row; `None`: it has. The next fetch answers it anew.
    #[serde(default)]
    pub doubt: Option<String>,
    /// Breaks of the chain, as `problem` words them, that were still there after the whole history was fetched for
    /// their sake. A known break is no reason to fetch the history again before [`StoredAccount::again`]; another break
    /// is one.
    #[serde(default)]
    pub unmendable: Vec<String>,
    /// The day from which on the whole history is fetched once more for a break that was still there the last time.
    #[serde(default)]
    pub again: Option<NaiveDate>,
    /// Days of waiting before that day.
    #[serde(default)]
    pub waited: u32,
    /// Currencies it had before, with the day of the change.
    #[serde(default)]
    pub former_currencies: Vec<(NaiveDate, String)>,
}

impl StoredAccount {
    /// An account that its source is about to give for the first time.
    pub fn new(number: u16, source: &str, account: &Account) -> StoredAccount {
        StoredAccount {
            number,
            source: source.to_owned(),
            id_prefix: String::new(),
            account: account.clone(),
            described_at: None,
            is_partial: false,
            fetched_until: None,
            reread_from: None,
            problem: None,
            doubt: None,
            unmendable: Vec::new(),
            again: None,
            waited: 0,
            former_currencies: Vec::new(),
        }
    }

    /// True if fetching the whole history again may close a gap.
    pub fn wants_mending(&self, today: NaiveDate) -> bool {
        let is_due = self.again.is_none_or(|day| day <= today);
        self.problem.as_ref().is_some_and(|problem| is_due || !self.unmendable.contains(problem))
    }

    /// Notes what a pull has found of the chain, of the whole history or of its latest part.
    pub fn note_problem(&mut self, found: Option<String>, everything: bool, today: NaiveDate) {
        if !everything {
            // A small window without a break proves nothing about a break outside of it.
            self.problem = found.or(self.problem.take());
            return;
        }
        let former = std::mem::replace(&mut self.problem, found);
        let (Some(former), Some(problem)) = (former, self.problem.clone()) else {
            // Whole; or a first look, which may have met the bank in the middle of something.
            self.unmendable.clear();
            (self.again, self.waited) = (None, 0);
            return;
        };
        for problem in [former, problem] {
            self.unmendable.retain(|known| *known != problem);
            self.unmendable.push(problem);
        }
        self.waited = (self.waited * 2).clamp(1, MENDING_REST);
        self.again = today.checked_add_days(Days::new(self.waited.into()));
        self.unmendable.drain(..self.unmendable.len().saturating_sub(UNMENDABLE_KEPT));
    }

    /// Notes the gaps that are left after rows of another source have closed some.
    pub fn shrink_problem(&mut self, left: Option<String>) {
        if left.is_none() {
            self.unmendable.clear();
            (self.again, self.waited) = (None, 0);
        }
        self.problem = left;
    }

    /// The whole history is known and its chain of balances holds.
    pub fn is_complete(&self) -> bool {
        self.why_incomplete().is_none()
    }

    /// Why its history may be incomplete; `None`: it is whole.
    pub fn why_incomplete(&self) -> Option<&str> {
        why_incomplete(self.doubt.as_deref(), self.problem.as_deref(), self.fetched_until)
    }
}

/// An account as the program shows it: everything that its sources know together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAccount {
    /// The account, with the newest balance that a source has given.
    pub account: Account,
    /// Name of the source that vouches for the account.
    pub source: String,
    /// Last day up to which its history was fetched whole.
    pub fetched_until: Option<NaiveDate>,
    /// The gap in its history; `None`: no gap is known.
    pub problem: Option<String>,
    /// Why the last fetch may not have given every row.
    pub doubt: Option<String>,
    /// Currencies it had before, with the day of the change.
    pub former_currencies: Vec<(NaiveDate, String)>,
    /// The record of each source, in the order they were first seen.
    pub feeds: Vec<StoredAccount>,
}

impl KnownAccount {
    /// The accounts that these records make, in the order they were first seen.
    pub fn all(feeds: &[StoredAccount]) -> Vec<KnownAccount> {
        let mut groups: Vec<Vec<StoredAccount>> = Vec::new();
        for feed in feeds {
            match groups.iter_mut().find(|group| group[0].account.account == feed.account.account) {
                Some(group) => group.push(feed.clone()),
                None => groups.push(vec![feed.clone()]),
            }
        }
        groups.into_iter().filter_map(KnownAccount::of).collect()
    }

    fn of(feeds: Vec<StoredAccount>) -> Option<KnownAccount> {
        let voucher = vouching(&feeds)?;
        let (source, fetched_until) = (voucher.source.clone(), voucher.fetched_until);
        // A source that gives parts speaks for those parts alone, so a gap in any of them counts where no other source
        // has the whole.
        let vouchers =
            feeds.iter().filter(|feed| if voucher.is_partial { true } else { feed.number == voucher.number });
        let (mut problem, mut doubt) = (None, None);
        for feed in vouchers {
            problem = problem.or_else(|| feed.problem.clone());
            doubt = doubt.or_else(|| feed.doubt.clone());
        }
        let former_currencies = feeds.iter().map(|feed| &feed.former_currencies).max_by_key(|former| former.len());
        let former_currencies = former_currencies.cloned().unwrap_or_default();
        let account = described(&feeds)?;
        Some(KnownAccount { account, source, fetched_until, problem, doubt, former_currencies, feeds })
    }

    /// The numbers of its records.
    pub fn numbers(&self) -> Vec<u16> {
        self.feeds.iter().map(|feed| feed.number).collect()
    }

    /// The whole history is known and its chain of balances holds.
    pub fn is_complete(&self) -> bool {
        self.why_incomplete().is_none()
    }

    /// Why its history may be incomplete; `None`: it is whole.
    pub fn why_incomplete(&self) -> Option<&str> {
        why_incomplete(self.doubt.as_deref(), self.problem.as_deref(), self.fetched_until)
    }
}

/// The record whose word on the history counts: a source that gives the whole history before one that gives parts, and a
/// complete one before others.
fn vouching(feeds: &[StoredAccount]) -> Option<&StoredAccount> {
    feeds.iter().min_by_key(|feed| {
        let latest = std::cmp::Reverse(if feed.is_partial { feed.fetched_until } else { None });
        (feed.is_partial, !feed.is_partial && !feed.is_complete(), latest, feed.number)
    })
}

/// The account in the words of its sources: names of the first that has any, the newest balance.
fn described(feeds: &[StoredAccount]) -> Option<Account> {
    let mut by_worth: Vec<&StoredAccount> = feeds.iter().collect();
    by_worth.sort_by_key(|feed| (feed.is_partial, feed.number));
    let text = |of: fn(&Account) -> &String| {
        by_worth.iter().map(|feed| of(&feed.account)).find(|text| !text.is_empty()).cloned().unwrap_or_default()
    };
    let (name, customer) = (text(|account| &account.name), text(|account| &account.customer));
    by_worth.sort_by_key(|feed| {
        let is_known = feed.account.balance.is_some() && !feed.account.currency.is_empty();
        let day = if feed.is_partial { feed.fetched_until } else { None };
        (!is_known, feed.is_partial, std::cmp::Reverse((day, feed.described_at)))
    });
    let newest = &by_worth.first()?.account;
    Some(Account { name, customer, ..newest.clone() })
}

fn why_incomplete<'a>(
    doubt: Option<&'a str>,
    problem: Option<&'a str>,
    fetched_until: Option<NaiveDate>,
) -> Option<&'a str> {
    let unread = || fetched_until.is_none().then_some("its history has not been read whole yet");
    doubt.or(problem).or_else(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_that_nothing_closes_is_looked_at_ever_more_seldom() {
        let account = Account {
            account: "A".into(),
            name: "".into(),
            customer: "".into(),
            currency: "EUR".into(),
            balance: None,
        };
        let mut known = StoredAccount::new(0, "bank", &account);
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let mut long = Vec::new();
        known.note_problem(Some("broken".into()), true, first);
        for day in 0..100 {
            let today = first + Days::new(day);
            // Two pulls a day.
            for _ in 0..2 {
                if known.wants_mending(today) {
                    long.push(day);
                    known.note_problem(Some("broken".into()), true, today);
                } else {
                    known.note_problem(None, false, today);
                }
            }
        }
        assert_eq!(long, [0, 1, 3, 7, 15, 31, 63, 95]);
        assert!(!known.is_complete());
        // A break that is not known yet wants a fetch of its own.
        known.note_problem(Some("another".into()), false, first);
        assert!(known.wants_mending(first));
        known.note_problem(None, true, first);
        assert_eq!((known.problem, known.again), (None, None));
    }
}
