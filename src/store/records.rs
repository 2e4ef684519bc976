//! The small records of the store: accounts, what is remembered of each source and destination, run history. Stored as
//! JSON with defaults for absent keys, so that a later release can add some.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::row_states::RowStates;
use super::unsettled::Unsettled;
use crate::model::Account;
use crate::remote::Cause;

/// Counters of the whole store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the layout of keys.
    pub schema: u32,
    /// Last change given out.
    pub last_seq: u64,
    /// Transactions held.
    pub rows: u64,
    /// Runs recorded.
    #[serde(default)]
    pub runs: u64,
    /// Random text that makes fingerprints of this store its own.
    #[serde(default)]
    pub salt: String,
    /// Batches applied so far.
    #[serde(default)]
    pub generation: u64,
    /// The sums over all records.
    #[serde(default)]
    pub sums: Sums,
    /// Fingerprint of the rules that every row has been looked at with.
    #[serde(default)]
    pub rules: u64,
}

/// Sums over the hashes of records, kept up to date with every write: a record that is gone, doubled or older than it
/// should be makes them differ from what is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The sum over all records but the counters themselves.
    all: u64,
    /// The sum over accounts, sources and destinations: few enough to be read at every start.
    states: u64,
}

impl Sums {
    /// Counts a record in.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let hash = hash(key, value);
        self.all = self.all.wrapping_add(hash);
        self.states = self.states.wrapping_add(if is_state(key) { hash } else { 0 });
    }

    /// Counts a record out.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        let hash = hash(key, value);
        self.all = self.all.wrapping_sub(hash);
        self.states = self.states.wrapping_sub(if is_state(key) { hash } else { 0 });
    }

    /// True if accounts, sources and destinations agree.
    pub fn agree_on_states(&self, other: &Sums) -> bool {
        self.states == other.states
    }
}

/// First bytes of the keys of accounts, sources and destinations.
pub const STATES: [u8; 3] = [b'a', b's', b'd'];

fn is_state(key: &[u8]) -> bool {
    key.first().is_some_and(|kind| STATES.contains(kind))
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest()
}

/// Breaks remembered by account: each is one long pull spared.
const UNMENDABLE_KEPT: usize = 16;

/// Most days between two long pulls for a break that none has closed.
const MENDING_REST: u32 = 32;

/// An account and how well its history is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAccount {
    /// Number in the store.
    pub number: u16,
    /// Name of the source it came from.
    pub source: String,
    /// The common beginning of its transactions' ids; not stored with each of them.
    pub id_prefix: String,
    /// As the bank describes it.
    pub account: Account,
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

    /// The whole history is known and its chain of balances holds.
    pub fn is_complete(&self) -> bool {
        self.why_incomplete().is_none()
    }

    /// Why its history may be incomplete; `None`: it is whole.
    pub fn why_incomplete(&self) -> Option<&str> {
        let unread = || self.fetched_until.is_none().then_some("its history has not been read whole yet");
        self.doubt.as_deref().or(self.problem.as_deref()).or_else(unread)
    }
}

/// A task that only the owner can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// The cause of the task.
    pub cause: Cause,
    /// The sentence for the owner.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Fingerprint of the configuration it happened with.
    #[serde(default)]
    pub config: String,
}

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceState {
    /// Last pull that went through.
    pub last_success: Option<DateTime<Utc>>,
    /// The owner's task, if there is one.
    pub attention: Option<Attention>,
    /// Why the last pull failed.
    pub error: Option<String>,
    /// The time before which the service wants no requests of the schedule, and its reason.
    pub resting: Option<Resting>,
    /// The connector's own state.
    pub connector: String,
    /// The attempts that the bank has not answered.
    #[serde(flatten)]
    pub unsettled: Unsettled,
}

/// A pause that a service asks for, while nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// The end of the pause.
    pub until: DateTime<Utc>,
    /// The reason, in a sentence.
    pub why: String,
}

/// A batch that is about to be sent, or was sent without an answer so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingBatch {
    /// Number of the batch.
    pub number: u64,
    /// Hash of its content.
    pub hash: u64,
    /// Last change it covers.
    pub through: u64,
    /// Ids of its rows that are rejected or suppressed so far; once the batch has arrived the rows are there.
    #[serde(default)]
    pub returning: Vec<String>,
    /// The rows of a batch that writes at the positions at which they were found.
    #[serde(default)]
    pub by_position: Option<UnverifiedBatch>,
}

/// A batch that was applied by position. The rows that it really hit are unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedBatch {
    /// The watermark before the batch.
    pub since: u64,
    /// Rows of the batch.
    pub ids: Vec<String>,
    /// The batch marks some rows as taken back, or unmarks them.
    pub strikes: bool,
}

/// When a destination was last told how things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The owner's day.
    pub day: NaiveDate,
    /// Fingerprint of everything the owner had to know then.
    pub attention: u64,
}

/// The rules that an owner keeps in a destination, as they were last read there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TabRules {
    /// The configured title of the tab.
    pub tab: String,
    /// The owner's day on which it was read.
    pub day: Option<NaiveDate>,
    /// The rules as text: most readers of this record have no use for them, and to make patterns of it is work.
    pub text: String,
    /// Tells one set of them from another; 0 where there are none.
    pub fingerprint: u64,
    /// Mistakes in the other rules, in sentences.
    pub notes: Vec<String>,
}

/// The state of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationState {
    /// Last change the destination has acknowledged.
    pub watermark: u64,
    /// Number of the last batch it acknowledged.
    pub last_batch: u64,
    /// Batches of one number that were sent and never answered.
    #[serde(alias = "intents")]
    pub pending: Vec<PendingBatch>,
    /// The rows that are there already are unknown, so an inventory comes before anything is appended.
    #[serde(alias = "adopting")]
    pub needs_inventory: bool,
    /// Hashes of ids that were found there and belong to no row of this store. A row that comes to light later (an account
    /// that could not be fetched, a late entry) may be among them.
    #[serde(alias = "strangers")]
    pub foreign_ids: Vec<u64>,
    /// Last delivery that went through.
    pub last_success: Option<DateTime<Utc>>,
    /// The thing that only the owner can do.
    pub attention: Option<Attention>,
    /// Why the last delivery failed.
    pub error: Option<String>,
    /// Rows with a fate of their own.
    #[serde(flatten)]
    pub rows: RowStates,
    /// The day on which balances were last published.
    pub published: Option<Published>,
    /// The last change up to which halves of transfers are known to be shown there as such.
    pub transfers: u64,
    /// Batches that were applied by position without anybody having seen where they landed.
    #[serde(alias = "doubts")]
    pub unverified: Vec<UnverifiedBatch>,
    /// The rules that the owner keeps there.
    pub rules: TabRules,
    /// Remarks on the place for the owner.
    pub notes: Vec<String>,
    /// The connector's own state, in base64.
    #[serde(alias = "memory")]
    connector: String,
}

/// A lasting cause that a notifier was told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The subject of the cause, e.g. `source fibank`.
    pub subject: String,
    /// The sentence.
    pub text: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it was told last.
    pub last: DateTime<Utc>,
    /// Number of times that the cause was told.
    pub times: u32,
    /// True if the owner must act.
    pub attention: bool,
}

/// The state of a notifier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotifierState {
    /// Fingerprint of where it tells, so that another address starts afresh.
    pub target: u64,
    /// Last change up to which new transactions were told of.
    pub seq: u64,
    /// The told causes that last, by key.
    pub told: BTreeMap<String, Told>,
    /// When something was last told.
    pub last_success: Option<DateTime<Utc>>,
    /// Why it could not be told, if so.
    pub error: Option<String>,
}

impl DestinationState {
    /// The connector's own state; empty at first. Unreadable text counts as empty: the state is a cache.
    pub fn connector(&self) -> Vec<u8> {
        BASE64.decode(&self.connector).unwrap_or_default()
    }

    /// Keeps the connector's own state.
    pub fn set_connector(&mut self, state: &[u8]) {
        self.connector = BASE64.encode(state);
    }
}

impl Default for DestinationState {
    fn default() -> DestinationState {
        DestinationState {
            watermark: 0,
            last_batch: 0,
            pending: Vec::new(),
            needs_inventory: true,
            foreign_ids: Vec::new(),
            last_success: None,
            attention: None,
            error: None,
            rows: RowStates::default(),
            published: None,
            transfers: 0,
            unverified: Vec::new(),
            rules: TabRules::default(),
            notes: Vec::new(),
            connector: String::new(),
        }
    }
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
        let mut known = StoredAccount {
            number: 0,
            source: "bank".into(),
            id_prefix: String::new(),
            account,
            fetched_until: None,
            reread_from: None,
            problem: None,
            doubt: None,
            unmendable: Vec::new(),
            again: None,
            waited: 0,
            former_currencies: Vec::new(),
        };
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
