//! The store as lines of JSON, for what is made of it in the process that asked: a database to question, a file for
//! another program. So the owner of the store only reads and sends, however long a question takes.
//!
//! Both ends are the same release; lines of another are refused. Decimals are text all the way.

use std::io;

use serde::{Deserialize, Serialize};

use crate::model::{Field, Transaction};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// The names of the fields of a transaction, in their order; the first line.
    Fields(Vec<String>),
    /// An account.
    Account(Account),
    /// The name of a destination; they come before the transactions.
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
    /// Its fields, in the order of [`Field::all`].
    pub fields: Vec<Option<String>>,
    /// The bank no longer shows it.
    pub vanished: bool,
    /// The bank's payload.
    pub raw: String,
    /// How it stands in each destination; `None`: it is none of that one's.
    pub deliveries: Vec<Option<Delivery>>,
}

/// How a transaction stands in a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Where it stands.
    pub state: State,
    /// Why the service refuses it, if so.
    pub reason: Option<String>,
}

/// Where a transaction stands in a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was written there.
    Delivered,
    /// It has yet to be.
    Waiting,
    /// The service refuses it.
    Refused,
    /// It was written there, and the owner has deleted it.
    Deleted,
    /// The bank took it back before it was ever written there.
    Withheld,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Delivered => "delivered",
            State::Waiting => "waiting",
            State::Refused => "refused",
            State::Deleted => "deleted",
            State::Withheld => "withheld",
        }
    }
}

impl Row {
    /// A transaction as it is sent.
    pub fn of(transaction: &Transaction, deliveries: Vec<Option<Delivery>>) -> Row {
        let fields = Field::all().map(|field| crate::listing::plain(&field.value(transaction))).collect();
        Row { fields, vanished: transaction.vanished, raw: transaction.row.raw.clone(), deliveries }
    }
}

/// The first line.
pub fn fields() -> Line {
    Line::Fields(Field::all().map(|field| field.key().into_owned()).collect())
}

/// A line read back.
pub fn parse(text: &str) -> io::Result<Line> {
    let line: Line = serde_json::from_str(text).map_err(|_| other_release())?;
    if matches!(line, Line::Fields(_)) && line != fields() { Err(other_release()) } else { Ok(line) }
}

fn other_release() -> io::Error {
    io::Error::other("the running daemon is of another release; restart it")
}
