//! Ids for entries to which a source gives no dependable id: made of the content, with equal entries counted within one
//! account and day of one listing.
//!
//! Two listings that overlap give the same ids to the entries they share, in whichever order they are read: an entry that
//! two listings hold once is one row, and an entry that one of them holds three times is three.

use std::collections::HashMap;

use chrono::NaiveDate;
use xxhash_rust::xxh3::xxh3_64;

/// Counts the equal entries of one listing.
#[derive(Debug, Default)]
pub struct Occurrences {
    seen: HashMap<u64, u32>,
}

impl Occurrences {
    /// The id of the next entry of the listing: `<kind>:<account>:<date>:<hash>:<n>`, ASCII and without blanks. `content`
    /// holds the parts of the entry that stay as they are from one listing to the next. Stored ids depend on it, so the
    /// way in which a source makes it must never change.
    pub fn id(&mut self, kind: &str, account: &str, date: NaiveDate, content: &str) -> String {
        let place = xxh3_64(format!("{account}\n{date}\n{content}").as_bytes());
        let count = self.seen.entry(place).or_default();
        *count += 1;
        let content = xxh3_64(content.as_bytes());
        format!("{kind}:{}:{date}:{content:016x}:{count}", plain(account))
    }
}

/// A text without case and without white space, which banks break lines by.
pub fn folded(text: &str) -> String {
    text.chars().filter(|char| !char.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// A text as a part of an id: ASCII, without blanks and colons.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'%' | b':') => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("%{byte:02X}")),
        }
    }
    plain
}
