//! Identity of entries where banks give none: content first, the bank's id second, and the number of equal entries counted
//! within one account and day of one file.
//!
//! Two files that overlap give the same ids to the entries they share, in whichever order they are read: an entry that two
//! files hold once is one row, and an entry that one of them holds three times is three. Names of files, numbers of rows,
//! running balances and categories have no part in an id.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::statement::{FileRow, says_none};

/// Counts equal entries while the rows of one file go by.
#[derive(Debug, Default)]
pub struct Occurrences {
    seen: HashMap<u64, u32>,
}

impl Occurrences {
    /// The id of the next row of the file: `files:<account>:<date>:<hash>:<n>`, ASCII and without blanks.
    pub fn id(&mut self, account: &str, row: &FileRow) -> String {
        let content = content(row);
        let place = xxh3_64(format!("{account}\n{}\n{content}", row.date).as_bytes());
        let count = self.seen.entry(place).or_default();
        *count += 1;
        let content = xxh3_64(content.as_bytes());
        format!("files:{}:{}:{content:016x}:{count}", plain(account), row.date)
    }
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

/// A text without case and without white space, which banks break lines by.
fn folded(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// An account as a part of an id.
fn plain(account: &str) -> String {
    let mut plain = String::with_capacity(account.len());
    for byte in account.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'%' | b':') => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("%{byte:02X}")),
        }
    }
    plain
}
