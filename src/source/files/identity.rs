//! The content of an entry that its id is made of. Names of files, numbers of rows, running balances and categories have
//! no part in an id.

use super::statement::{FileRow, says_none};
use crate::source::content_id::{Occurrences, folded};

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
