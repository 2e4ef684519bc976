//! The small records of the store: counters, what is remembered of each source and destination, run history. Stored as
//! JSON with defaults for absent keys, so that a later release can add some.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::row_states::RowStates;
use super::unsettled::Unsettled;
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
