//! Where transactions come from.
//!
//! A [`Source`] signs in and gives a [`Session`]; a session lists accounts and fetches what was booked on one of them.
//! It reads only: fetching the same window twice is harmless. A source knows nothing of the store or of destinations.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;

use crate::model::{Account, Row};
use crate::remote::attempts::Attempts;
use crate::remote::{Context, Error};

pub mod fibank;

/// A place transactions come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// Signs in. One session serves one pull. A password whose outcome is not known is not sent again.
    async fn open(&self) -> Result<Box<dyn Session>, Error>;
}

/// A signed-in source.
#[async_trait]
pub trait Session: Send {
    /// Every account of every customer the login may act for, restricted to the configured ones.
    async fn accounts(&mut self) -> Result<Vec<Account>, Error>;

    /// Everything booked on `account` from `from` (`None`: from the beginning of its history) until now.
    /// A window the source refuses is split into smaller ones.
    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error>;

    /// Signs out where the source has a way.
    async fn close(self: Box<Self>);
}

/// Everything booked on one account in one window, fetched whole.
pub struct Page {
    /// The account as the reply describes it: today's currency and balance.
    pub account: Account,
    /// First day of the window; `None`: from the beginning.
    pub from: Option<NaiveDate>,
    /// Last day of the window, inclusive.
    pub until: NaiveDate,
    /// Balance before the first row, where the source says so.
    pub opening: Option<Decimal>,
    /// Balance after the last row, where the source says so.
    pub closing: Option<Decimal>,
    /// How many rows follow.
    pub count: usize,
    /// The rows, oldest first, made one by one so that a long history is not held twice. Rows that are no transactions
    /// are left out already. An `Err` is a row that cannot be read.
    pub rows: Box<dyn Iterator<Item = Result<Row, Refused>> + Send>,
    /// What the source has said of the rows.
    pub told: Told,
    /// The first day of the parts of the window for which no list of rows came, where others have one.
    pub unlisted: Option<NaiveDate>,
    /// What else of the reply cannot be read, by name: a balance, a currency.
    pub unread: Vec<String>,
    /// Oddities worth a line in the report, e.g. a reply without the list of rows.
    pub notes: Vec<String>,
}

/// A row that cannot be read: refused by name, and no other row of its account is held back by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The id that it has, where that much can be read: a row known by it has not vanished.
    pub id: Option<String>,
    /// When it was booked, where that much can be read.
    pub time: Option<DateTime<FixedOffset>>,
    /// The first day on which it may stand: it is asked for again from there.
    pub since: NaiveDate,
    /// Which row it is and what is wrong with it: `entry 7 of 2026-02-03 cannot be read: it has no amount`.
    pub why: String,
}

/// What a source has said of the rows of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// These are all.
    Rows,
    /// Nothing, which may mean that there are none.
    Nothing,
    /// It does not speak of the account at all.
    NoAccount,
}

/// Makes the connector that a configuration entry asks for. What it sends that a service counts goes through `attempts`.
pub fn build(
    config: &crate::config::Source,
    context: Context,
    attempts: Arc<dyn Attempts>,
) -> Result<Box<dyn Source>, Error> {
    match &config.kind {
        crate::config::SourceKind::Fibank(fibank) => {
            Ok(Box::new(fibank::Fibank::new(&config.name, fibank, context, attempts)?))
        }
    }
}
