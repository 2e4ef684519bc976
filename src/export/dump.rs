//! The dump: the store as lines of JSON. The process that asked builds an SQLite database or an Excel workbook from it,
//! so the process with the store only reads and sends, however long the building takes.
//!
//! The two ends are of the same release; the lines of another release are refused. Decimals are text all the way.

use std::io;

use serde::{Deserialize, Serialize};

use super::json::plain;
use crate::model::{Field, Transaction, money_text};
use crate::store::KnownAccount;

/// A line of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// The names of the fields of a transaction, in their order; the first line of a dump.
    Fields(Vec<String>),
    /// An account.
    Account(Account),
    /// The name of a destination; all destinations come before the transactions.
    Destination(String),
    /// A transaction.
    Row(Row),
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Account {
    pub account: String,
    pub account_name: String,
    pub customer: String,
    pub source: String,
    pub currency: String,
    pub balance: Option<String>,
    pub fetched_until: Option<String>,
    pub complete: bool,
    pub problem: Option<String>,
}

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The fields of the transaction, in the order of [`Field::all`].
    pub fields: Vec<Option<String>>,
    /// The bank no longer shows the transaction.
    pub vanished: bool,
    /// The bank's payload.
    pub raw: String,
    /// The delivery to each destination; `None`: the destination does not take the transaction.
    pub deliveries: Vec<Option<Delivery>>,
}

/// The delivery of a transaction to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The state of the delivery.
    pub state: DeliveryState,
    /// The reason of a service that refuses the row.
    pub reason: Option<String>,
}

/// The state of a transaction in a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// The row was written there.
    Delivered,
    /// The row has yet to be written.
    Waiting,
    /// The service refuses the row.
    Refused,
    /// The row was written there, and the owner has deleted it.
    Deleted,
    /// The bank took the transaction back before its row was written.
    Withheld,
}

impl DeliveryState {
    /// The state as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Delivered => "delivered",
            DeliveryState::Waiting => "waiting",
            DeliveryState::Refused => "refused",
            DeliveryState::Deleted => "deleted",
            DeliveryState::Withheld => "withheld",
        }
    }
}

impl Account {
    /// The line of an account.
    pub fn new(stored: &KnownAccount) -> Account {
        let account = &stored.account;
        Account {
            account: account.account.clone(),
            account_name: account.name.clone(),
            customer: account.customer.clone(),
            source: stored.source.clone(),
            currency: account.currency.clone(),
            balance: account.balance.map(money_text),
            fetched_until: stored.fetched_until.map(|day| day.to_string()),
            complete: stored.is_complete(),
            problem: stored.why_incomplete().map(str::to_owned),
        }
    }
}

impl Row {
    /// The line of a transaction.
    pub fn new(transaction: &Transaction, deliveries: Vec<Option<Delivery>>) -> Row {
        let fields = Field::all().map(|field| plain(&field.value(transaction))).collect();
        Row { fields, vanished: transaction.vanished, raw: transaction.row.raw.clone(), deliveries }
    }
}

/// The receiving end of a dump.
pub trait Builder: Send {
    /// Takes one more line.
    fn take(&mut self, line: &Line) -> io::Result<()>;
}

/// The first line of a dump.
pub fn fields() -> Line {
    Line::Fields(Field::all().map(|field| field.key().into_owned()).collect())
}

/// Reads a line.
pub fn parse(text: &str) -> io::Result<Line> {
    let line: Line = serde_json::from_str(text).map_err(|_| other_release())?;
    if matches!(line, Line::Fields(_)) && line != fields() { Err(other_release()) } else { Ok(line) }
}

fn other_release() -> io::Error {
    io::Error::other("the running daemon is of another release; restart it")
}
