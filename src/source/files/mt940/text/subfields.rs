//! Sub-fields: a separator and a code of two characters before each, often behind a code of three digits.

use super::{About, collapse, push};
use crate::source::files::keywords;
use crate::source::files::statement::looks_like_iban;

/// The length of a piece that runs on into the next.
const FULL_PIECE: usize = 27;
/// The text by its sub-fields; `None` where it has none.
pub(super) fn read(text: &str) -> Option<About> {
    let (code, separator, rest) = start(text)?;
    let pieces = split(rest, separator);
    // A single hit may be chance: some text that asks a question before a number.
    let first = pieces.first()?;
    if code.is_empty() && !matches!(first.0.as_bytes(), [b'0', b'0'] | [b'1', b'0'] | [b'2', _]) {
        return None;
    }
    let mut about = About { code: code.to_owned(), ..About::default() };
    let mut remittance = String::new();
    let mut full = false;
    let mut name_is_full = false;
    let mut parties: [&str; 3] = [""; 3];
    for (key, value) in &pieces {
        match key.as_bytes() {
            [b'0', b'0'] => value.trim().clone_into(&mut about.kind),
            [b'2', _] | [b'6', b'0'..=b'5'] => {
                let keyword = keywords::begins_with_one(value.trim_start());
                push(&mut remittance, value, full && !keyword);
                full = value.chars().count() >= FULL_PIECE;
            }
            [b'3', b'0'] => parties[0] = value.trim(),
            [b'3', b'1'] => parties[1] = value.trim(),
            [b'3', b'8'] => parties[2] = value.trim(),
            [b'3', b'2' | b'3'] => {
                push(&mut about.counterparty, value, name_is_full);
                name_is_full = value.chars().count() >= FULL_PIECE;
            }
            _ => {}
        }
    }
    about.counterparty = collapse(&about.counterparty);
    about.account = account(&parties, separator);
    let remittance = keywords::read(&remittance);
    about.description = remittance.subject;
    about.reference = remittance.reference;
    if about.account.is_empty() {
        about.account = remittance.account;
    }
    if about.counterparty.is_empty() {
        about.counterparty = remittance.party;
    }
    Some(about)
}

/// The code before the sub-fields, their separator, and everything from the first separator on.
fn start(text: &str) -> Option<(&str, char, &str)> {
    let separator = |rest: &str| {
        let char = rest.chars().next().filter(|char| "?>+^<!|*#§~".contains(*char))?;
        is_code(&rest[char.len_utf8()..], char).then_some(char)
    };
    if let Some(found) = separator(text) {
        return Some(("", found, text));
    }
    let (code, rest) = text.split_at_checked(3)?;
    let plausible = code.bytes().all(|byte| byte.is_ascii_digit()) || code == "TBB";
    let rest = rest.trim_start();
    let found = separator(rest).filter(|_| plausible)?;
    Some((code, found, rest))
}

/// True if the two characters at the start are the code of a sub-field. A plus is followed by telephone numbers as well, so
/// fewer codes count behind one.
fn is_code(rest: &str, separator: char) -> bool {
    match (rest.as_bytes(), separator) {
        ([b'0', b'0', ..], _) => true,
        ([b'1', b'0', ..], _) => true,
        ([b'2', second, ..], _) => second.is_ascii_digit() || (*second == b'A' && separator == '?'),
        ([b'3', b'0' | b'1' | b'2' | b'3' | b'8', ..], '+') => !rest[1..].starts_with("59") && !rest.starts_with("359"),
        ([b'3', second, ..], _) => second.is_ascii_digit() && separator != '+',
        ([b'6', b'0'..=b'9', ..], _) => true,
        ([b'7', b'0'..=b'3', ..], _) => separator == '?',
        _ => false,
    }
}

/// The pieces with their codes, in the order of the text.
fn split(text: &str, separator: char) -> Vec<(&str, &str)> {
    let mut starts: Vec<usize> = Vec::new();
    let width = separator.len_utf8();
    for (at, _) in text.match_indices(separator) {
        let overlaps = starts.last().is_some_and(|last| at < last + width + 2);
        if !overlaps && is_code(&text[at + width..], separator) {
            starts.push(at);
        }
    }
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    starts.iter().zip(ends).filter_map(|(start, end)| text.get(start + width..end)?.split_at_checked(2)).collect()
}

/// The account of the other side among the fields 30, 31 and 38, by what they look like.
fn account(parties: &[&str; 3], separator: char) -> String {
    let iban = [parties[2], parties[1], parties[0]].into_iter().map(|text| text.replace(' ', ""));
    if let Some(iban) = iban.clone().find(|text| looks_like_iban(text)) {
        return iban;
    }
    // Fibank has the account where others have the bank.
    if separator == '^' && !parties[0].is_empty() { parties[0].to_owned() } else { parties[1].to_owned() }
}
