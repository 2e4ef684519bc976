//! The memory of a source of files in the store: the files that stay in the directory, known by their content, and the
//! latest statement of each account, because files come in any order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::prepared::Prepared;
use super::statement::Statement;
use crate::model::is_in_bounds;

/// The most accounts whose latest statement is kept.
const MOST_ACCOUNTS: usize = 2000;

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// A hash of the settings: with other settings a refused file is tried again.
    pub settings: String,
    /// The files that lie in the directory and were read, by name.
    pub files: BTreeMap<String, KnownFile>,
    /// The latest statement of each account.
    pub accounts: BTreeMap<String, Latest>,
}

/// A file that was read and stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// The length in bytes.
    pub size: u64,
    /// The time of the last change in nanoseconds.
    pub modified: i64,
    /// SHA-256 of the content.
    pub sha256: String,
    /// Why the file was refused; `None`: its rows are in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The latest statement of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// The last day of the latest statement.
    pub until: NaiveDate,
    /// The currency of that statement.
    pub currency: String,
    /// The latest closing balance in that currency, with its day.
    pub closing: Option<(NaiveDate, Decimal)>,
}

impl Latest {
    /// The balance of the account.
    pub fn balance(&self) -> Option<Decimal> {
        self.closing.map(|(_, amount)| amount)
    }
}

impl Saved {
    /// The state as it was kept; a text of another form counts as none.
    pub fn read(text: &str) -> Saved {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The state as text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes note of the statements of a file.
    pub fn learn(&mut self, prepared: &Prepared) {
        for statement in prepared.order().iter().map(|index| &prepared.statements()[*index]) {
            self.learn_statement(statement);
        }
    }

    fn learn_statement(&mut self, statement: &Statement) {
        let (Some(account), Some(currency)) = (&statement.account, &statement.currency) else { return };
        let closing = statement.closing.as_ref().filter(|balance| is_in_bounds(balance.amount));
        let day = |balance: &super::Balance| balance.date.or(statement.until);
        let closing = closing.and_then(|balance| Some((day(balance)?, balance.amount)));
        let Some(until) = statement.until.or(closing.map(|(day, _)| day)) else { return };
        if !self.accounts.contains_key(account) && self.accounts.len() >= MOST_ACCOUNTS {
            return;
        }
        let fresh = || Latest { until, currency: currency.clone(), closing: None };
        let latest = self.accounts.entry(account.clone()).or_insert_with(fresh);
        if latest.currency != *currency {
            if until <= latest.until {
                return;
            }
            *latest = fresh();
        }
        latest.until = latest.until.max(until);
        if closing.is_some_and(|(day, _)| latest.closing.is_none_or(|(known, _)| known <= day)) {
            latest.closing = closing;
        }
    }

    /// Forgets files that are gone.
    pub fn keep_files(&mut self, names: &BTreeSet<String>) {
        self.files.retain(|name, _| names.contains(name));
    }
}
