//! The line of an entry, `:61:`: value date, entry date, which way the money goes, amount, kind, references.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use super::fields::Field;
use crate::source::files::numbers;

/// An entry without its text.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) value_date: NaiveDate,
    pub(super) entry_date: Option<NaiveDate>,
    /// Money out is negative: `D` and the reversed credit `RC`.
    pub(super) amount: Decimal,
    pub(super) reversal: bool,
    /// Announced in an interim report, not booked.
    pub(super) expected: bool,
    pub(super) code: String,
    pub(super) reference: String,
    pub(super) bank_reference: String,
    pub(super) supplementary: String,
    /// The text of `:NS:` fields.
    pub(super) non_swift: String,
    /// The field as received.
    pub(super) received: String,
}

/// The first part of the line, cut up but not yet understood.
struct Head<'a> {
    value_date: &'a str,
    entry_date: &'a str,
    mark: &'a str,
    amount: &'a str,
    rest: &'a str,
}

/// True if a value is an entry, perhaps a damaged one, and not a text that begins with the same characters.
pub(super) fn looks_like_one(value: &str) -> bool {
    let digits = value.chars().take(6).filter(char::is_ascii_digit).count();
    let letters: Vec<char> = value.chars().take(18).collect();
    let money = letters.windows(2).enumerate().any(|(at, pair)| {
        let next = if pair[1].is_ascii_uppercase() { letters.get(at + 2).copied() } else { Some(pair[1]) };
        matches!(pair[0], 'C' | 'D') && next.is_some_and(|char| char.is_ascii_digit() || char == ',')
    });
    digits >= 5 || money
}

/// Reads the line and what stands below it.
pub(super) fn parse(field: &Field<'_>) -> Result<Entry, String> {
    let line = field.first_line();
    let shown = || super::super::charset::shown(line);
    let head = head(line).ok_or_else(|| format!("the entry `{}` cannot be read", shown()))?;
    let value_date = numbers::short_date(head.value_date)
        .ok_or_else(|| format!("the value date `{}` of the entry does not exist", head.value_date))?;
    let entry_date = match head.entry_date.trim() {
        "" => None,
        text => Some(entry_date(value_date, text).ok_or_else(|| format!("the entry date `{text}` does not exist"))?),
    };
    let amount = numbers::unsigned(head.amount)
        .or_else(|| numbers::signed(head.amount))
        .ok_or_else(|| format!("the amount `{}` of the entry cannot be read", head.amount))?;
    let reversal = head.mark.starts_with('R');
    let out = head.mark.trim_start_matches(['R', 'E']).starts_with('D') != reversal;
    let (code, references) = kind(head.rest);
    let (reference, bank_reference) = references.split_once("//").unwrap_or((references, ""));
    Ok(Entry {
        value_date,
        entry_date,
        amount: if out { -amount } else { amount },
        reversal,
        expected: head.mark.starts_with('E'),
        code: code.to_owned(),
        reference: reference.trim().to_owned(),
        bank_reference: bank_reference.trim().to_owned(),
        supplementary: field.lines[1..].iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned(),
        non_swift: String::new(),
        received: field.text(),
    })
}

fn head(line: &str) -> Option<Head<'_>> {
    let line = line.trim_start();
    let (value_date, rest) = line.split_at_checked(6)?;
    let mark_at = rest.find(|char: char| char.is_ascii_alphabetic())?;
    let entry_date = &rest[..mark_at];
    let rest = &rest[mark_at..];
    let mark_end = if rest.starts_with(['R', 'E']) { 2 } else { 1 };
    let (mark, rest) = rest.split_at_checked(mark_end)?;
    if !mark.ends_with(['C', 'D']) || entry_date.trim().len() > 4 {
        return None;
    }
    // The third letter of the currency may follow.
    let rest = rest.strip_prefix(|char: char| char.is_ascii_alphabetic()).unwrap_or(rest).trim_start();
    let end = rest.find(|char: char| !(char.is_ascii_digit() || matches!(char, ',' | '.'))).unwrap_or(rest.len());
    let (amount, rest) = rest.split_at(end);
    Some(Head { value_date, entry_date, mark, amount, rest })
}

/// Month and day, of the year that brings them nearest to the value date.
fn entry_date(value_date: NaiveDate, text: &str) -> Option<NaiveDate> {
    if text.len() != 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    numbers::nearest(value_date, text[..2].parse().ok()?, text[2..].parse().ok()?)
}

/// The kind of an entry, a letter and three more characters, and the references behind it. The kind is missing at some banks.
fn kind(rest: &str) -> (&str, &str) {
    if rest.starts_with("//") || !rest.starts_with(|char: char| char.is_ascii_alphabetic()) {
        return ("", rest);
    }
    let end = rest.char_indices().nth(4).map_or(rest.len(), |(at, _)| at);
    let (code, references) = rest.split_at(end);
    (code.trim(), references)
}
