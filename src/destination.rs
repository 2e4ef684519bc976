//! The destinations of transactions.
//!
//! A [`Destination`] takes [`RowChange`]s in batches and promises that delivering a batch again changes nothing: the engine
//! may send a batch whose outcome it does not know a second time. *How* a write cannot apply twice is the destination's
//! own affair: an upsert by id, a once-only guard beside a ledger. A destination knows nothing of the store or of
//! sources; what it must remember between cycles it hands to the engine as an opaque [`Destination::state`].

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::model::{Direction, Field, Transaction};
use crate::remote::Error;
use crate::rules::Rule;

pub mod airtable;
mod figures;
pub mod google_sheets;
pub mod kind;
pub mod nocodb;
pub mod odoo;
pub mod policy;
pub mod postgres;
pub mod readback;
pub mod row_op;

use kind::Kind;
use readback::Reader;
use row_op::RowOp;

/// Every kind of destination.
pub const KINDS: &[Kind] = &[
    google_sheets::settings::KIND,
    airtable::settings::KIND,
    nocodb::settings::KIND,
    odoo::settings::KIND,
    postgres::settings::KIND,
];

/// Kinds that later versions will know.
pub const PLANNED: &[&str] = &[];

/// A change of one row: data of the engine's, which a connector carries out.
#[derive(Clone, Debug)]
pub struct RowChange {
    /// Position in the change log.
    pub seq: u64,
    /// The operation on the row.
    pub op: RowOp,
    /// The transaction as it is now.
    pub transaction: Transaction,
    /// The transaction before the change: for `Update`, `Reinsert` and `Fill`.
    pub previous: Option<Box<Transaction>>,
    /// For `Rewrite`: the parts to write once more.
    pub rewrite: Rewrite,
}

impl RowChange {
    /// A change of a row.
    pub fn new(seq: u64, op: RowOp, transaction: Transaction, previous: Option<Transaction>) -> RowChange {
        RowChange { seq, op, transaction, previous: previous.map(Box::new), rewrite: Rewrite::default() }
    }
}

/// A batch ready to be sent. The engine makes number and hash durable before the first byte leaves.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of the batch at this destination: one more than the last one its ledger holds.
    pub number: u64,
    /// Number of changes from the front of the offered slice that the batch covers (at least one).
    pub taken: usize,
    /// Hash of its content, so that a batch of the same number can be told from it.
    pub hash: u64,
    /// The request body, in whatever form the destination likes.
    pub body: Vec<u8>,
    /// The batch writes to rows at the positions at which they were found. Rows that the service itself finds by their ids
    /// cannot be missed.
    pub by_position: bool,
}

/// The result for one row change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Written as a new row.
    Appended,
    /// Written over the row it had.
    Updated,
    /// Already as it should be.
    Unchanged,
    /// The owner has deleted the row; it stays deleted.
    Deleted,
    /// The service refuses this one row, for the reason given.
    Rejected(String),
}

/// A batch that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// A verdict per change of the batch, in order.
    pub verdicts: Vec<Verdict>,
    /// Rows that the batch hit in place of others, or missed.
    pub misplaced: Misplaced,
}

impl From<Vec<Verdict>> for Written {
    fn from(verdicts: Vec<Verdict>) -> Written {
        Written { verdicts, misplaced: Misplaced::default() }
    }
}

/// The result of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The batch was carried out.
    Done(Written),
    /// Another batch of this number was applied, and this one was refused whole. The hash is the applied batch's.
    Superseded {
        /// Hash found in the ledger.
        hash: u64,
    },
}

/// Rows that a write by position hit in place of others, or missed, because the owner moved rows in that instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Misplaced {
    /// The rewrites that set such rows right, by id; some ids may be of no row that was ever delivered.
    pub rewrites: BTreeMap<String, Rewrite>,
    /// Ids of rows that were deleted in place of others.
    pub gone: Vec<String>,
    /// A write by position was carried out, and the rows that it hit are unknown.
    pub unverified: bool,
}

/// The parts of one row that have to be written once more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rewrite {
    /// Keys of the fields whose cells are written again.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
    /// The mark of a row that the bank took back is set again, or removed again.
    #[serde(alias = "struck", skip_serializing_if = "std::ops::Not::not")]
    pub mark: bool,
    /// The row should be gone.
    #[serde(alias = "deleted", skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// The whole row stands elsewhere than it belongs and is moved there.
    #[serde(alias = "misplaced", skip_serializing_if = "std::ops::Not::not")]
    pub relocate: bool,
}

impl Rewrite {
    /// Takes in another rewrite of the same row.
    pub fn merge(&mut self, other: Rewrite) {
        self.fields.extend(other.fields);
        self.mark |= other.mark;
        self.delete |= other.delete;
        self.relocate |= other.relocate;
    }
}

/// The fate of a batch whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchStatus {
    /// The batch has been applied.
    Applied,
    /// The batch has not been applied (and may be sent again: it cannot apply twice).
    NotApplied,
    /// A batch of the same number with another hash has been applied.
    Superseded {
        /// Hash found in the ledger.
        hash: u64,
    },
}

/// A place that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Number of the last batch the ledger holds (0: none, or no ledger needed).
    pub last_batch: u64,
    /// The most changes worth offering to [`Destination::prepare`] at once.
    pub batch_limit: usize,
    /// Columns filled by rules that were added below rows written without them, since [`Extras::columns_filled`].
    pub late_columns: Vec<Field>,
    /// Misplaced rows that no answer has told the engine of yet.
    pub misplaced: Misplaced,
}

/// The parts of a place that a read is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Ids only, older forms of them as well. Rows of a place that is open.
    Ids,
    /// Ids and the bank's cells. The place may be closed.
    Rows,
    /// Ids, the bank's cells and the marks of rows that the bank took back. Rows of a place that is open.
    RowsAndMarks,
}

/// The destination's own account of former deliveries, other stores' deliveries included: the rows that it was given, as
/// far as two numbers can say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryDigest {
    /// Number of rows ever written; a row that was put back counts once.
    pub rows: u64,
    /// Sum of the hashes of their ids.
    pub ids: u64,
    /// The latest time (seconds since 1970) among the rows written, by account.
    pub through: BTreeMap<String, i64>,
}

/// The connector's state that the engine keeps between cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectorState {
    /// The connector's own memory (schema cache, request budget), handed to its next construction; small.
    pub memory: Vec<u8>,
    /// Remarks on the place and the remedy for each, in sentences; none of them keeps rows waiting.
    pub notes: Vec<String>,
}

/// The summary for destinations that show more than rows. Times are in the owner's zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When it was drawn up.
    pub at: DateTime<FixedOffset>,
    /// When the next scheduled cycle runs.
    pub next_run: Option<DateTime<FixedOffset>>,
    /// The owner's tasks, in sentences.
    pub attention: Vec<String>,
    /// Failures that will be tried again by themselves.
    pub trouble: Vec<String>,
    /// The accounts this destination gets rows of. An account that changed its currency comes once per currency.
    pub accounts: Vec<AccountSummary>,
    /// Rows that sums have to leave out, for destinations that show sums.
    pub left_out: Vec<LeftOut>,
}

/// Rows that are neither spent nor earned, though they stand among the others: what those alike come to in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LeftOut {
    /// The first day of the month.
    pub month: Option<chrono::NaiveDate>,
    pub currency: String,
    pub kind: String,
    pub category: String,
    pub counterparty: String,
    pub debit: Decimal,
    pub credit: Decimal,
}

/// The summary of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountSummary {
    /// IBAN.
    pub account: String,
    /// Name.
    pub name: String,
    /// Customer.
    pub customer: String,
    /// Currency of the amounts here.
    pub currency: String,
    /// The account had another currency, too: only rows in this one count.
    pub mixed: bool,
    /// The bank's balance; of a former currency, the last one in it.
    pub balance: Option<Decimal>,
    /// The balance before the first row.
    pub opening: Option<Decimal>,
    /// Sum of rows that the bank took back and that are still shown here.
    pub taken_back: Decimal,
    /// The sum of the delivered rows, for a destination without formulas of its own.
    pub sum: Option<Decimal>,
    /// Why the rows here are not all of the account's.
    pub partial: Option<Partial>,
    /// Rows that the owner deleted here.
    pub deleted: u64,
    /// Rows that the service refuses.
    pub rejected: u64,
    /// Why the history may be incomplete; `None`: it is whole.
    pub problem: Option<String>,
    /// Date of the first row here.
    pub first: Option<NaiveDate>,
    /// Date of the last row here.
    pub last: Option<NaiveDate>,
    /// Last pull of its source that went through.
    pub last_success: Option<DateTime<FixedOffset>>,
}

/// The rules that an owner keeps in a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRules {
    /// The usable rules, in their order.
    pub rules: Vec<Rule>,
    /// Mistakes in the other rules, in sentences.
    pub notes: Vec<String>,
}

/// Why a destination does not get all rows of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// Earlier ones are left out.
    Since(NaiveDate),
    /// Only money out, or only money in.
    Direction(Direction),
    /// Only rows that some other condition lets through.
    Some,
}

/// The message to the owner after the column with the ids was deleted and made again.
const ID_MADE_AGAIN: &str = "the column with the transaction ids was deleted and has been made again, because rows are found by it; \
     rows written before have no id now and get no corrections: bring the deleted one back (undo, or the history of versions), \
     or leave them as they are";

/// A place rows are copied to.
#[async_trait]
pub trait Destination: Send {
    /// Proves credentials and layout without writing. Every string is a line of good news for the owner.
    async fn check(&mut self) -> Result<Vec<String>, Error>;

    /// Makes ready for a cycle that has something to deliver: reads the layout and creates what is missing. Called once
    /// before the first batch, and again after another writer was first. A destination that shows balances writes the
    /// summary together with the last rows it is offered; `None`: the summary of the former call holds.
    async fn open(&mut self, summary: Option<&Summary>) -> Result<Opened, Error>;

    /// Cuts a batch from the front of `changes` (never empty). Preparing may read from the service, and never writes.
    async fn prepare(&mut self, number: u64, changes: &[RowChange]) -> Result<Batch, Error>;

    /// Sends a batch; `changes` are the ones it covers. A transient error means: outcome unknown. A refusal means that nothing
    /// was applied: for a row's sake, by the service's words (`Rejected`), or for a reason that may be the place's as well
    /// (`Unexplained`: the engine tries rows alone). A place that is full or closed is attention, never a refusal of rows.
    async fn write(&mut self, batch: &Batch, changes: &[RowChange]) -> Result<Outcome, Error>;

    /// Reads every row, hidden ones too, and writes nothing. A read of the ids returns the digest of former deliveries where
    /// the destination keeps one: where its numbers fit, a row that is absent was deleted by the owner.
    async fn read(&mut self, reading: Reading, reader: &mut dyn Reader) -> Result<Option<DeliveryDigest>, Error>;

    /// Finds out what became of the batch with this number and hash after its answer was lost, and which rows an applied
    /// batch has misplaced.
    async fn status(&mut self, number: u64, hash: u64) -> Result<(BatchStatus, Misplaced), Error>;

    /// Takes `number` with a batch that writes nothing, so that no batch of that number can be applied any more. The hash
    /// of the batch that had taken it already, where one had. A destination without numbers answers `None` and does
    /// nothing.
    async fn fence(&mut self, number: u64) -> Result<Option<u64>, Error>;

    /// True if this connector refused the row for a reason of its own that no longer holds, as far as it knows without a
    /// request: the configuration gives the row a place by now.
    fn is_lifted(&self, _transaction: &Transaction, _reason: &str) -> bool {
        false
    }

    /// The parts of a place beside its rows.
    fn extras(&mut self) -> &mut dyn Extras;

    /// The state to keep, also after a failure: budgets and caches count even then.
    fn state(&self) -> ConnectorState;
}

/// The parts of a place beside its rows: balances, dashboard, the owner's rules, and columns that came late.
#[async_trait]
pub trait Extras: Send {
    /// Called after the last batch: writes what no batch has carried. Sends nothing where there is nothing to write.
    /// Returns the number of the ledger's last batch, where that has become another by it.
    async fn publish(&mut self) -> Result<Option<u64>, Error>;

    /// Reads the rules that the owner keeps there, once the place is open; `None`: none are kept there.
    async fn read_rules(&mut self) -> Result<Option<OwnRules>, Error> {
        Ok(None)
    }

    /// Every row there was offered for the [late columns](Opened::late_columns).
    fn columns_filled(&mut self);
}
