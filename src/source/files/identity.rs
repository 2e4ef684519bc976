//! The content of an entry that its id is made of. Names of files, numbers of rows, running balances and categories have
//! no part in an id.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_64;

use super::statement::{FileRow, says_none};
use crate::source::content_id::{Occurrences, folded};

/// Notices rows that stand twice in one listing.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: HashSet<u64>,
}

impl Repeats {
    /// True for a row that the listing holds already: with the same bank id and content, or with the same content and the
    /// same balance after it.
    pub fn holds(&mut self, account: &str, row: &FileRow) -> bool {
        let balance = row.balance.filter(|_| !row.amount.is_zero());
        if row.bank_id.is_none() && balance.is_none() {
            return false;
        }
        let content = content(row);
        let mut key =
            |by: &str| !self.seen.insert(xxh3_64(format!("{by}\n{account}\n{}\n{content}", row.date).as_bytes()));
        let by_id = row.bank_id.is_some() && key("id");
        let by_balance = balance.is_some_and(|balance| key(&balance.normalize().to_string()));
        by_id || by_balance
    }
}

/// The id of the next row of a file.
pub fn id(occurrences: &mut Occurrences, account: &str, row: &FileRow) -> String {
    occurrences.id("files", account, row.date, &content(row))
}

/// The parts of an entry that stay as they are from one download to the next. Stored ids depend on this text, so it must
/// never change.
fn content(row: &FileRow) -> String {
    let value_date = row.value_date.map(|date| date.to_string()).unwrap_or_default();
    let reference = if says_none(&row.reference) { "" } else { &row.reference };
    let parts = [
        row.amount.normalize().to_string(),
        row.currency.clone(),
        value_date,
        row.bank_id.clone().unwrap_or_default(),
        folded(&row.counterparty_account),
        folded(reference),
        folded(&row.description),
    ];
    parts.join("\n")
}
