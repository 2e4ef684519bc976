//! A transaction as every part of the program knows it: accounts, rows as a bank gives them, transactions as the
//! store keeps them, and the fields a destination may show.
//!
//! Pure data: no service, no clock and no file is known here; money is decimal throughout.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

mod field;
mod money;
pub mod payload;

pub use field::{Field, UnknownField, Value};
pub use money::{is_in_bounds, is_near, minus, plus, total};

/// The fixed rate of 2026-01-01: one euro is 1.95583 leva (EU Council Regulation of 2025-07-08).
pub const BGN_PER_EUR: Decimal = Decimal::from_parts(195_583, 0, 0, false, 5);

/// Hash of an id. Stored here and there, so it must never change.
pub fn id_hash(id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id.as_bytes())
}

/// An amount in leva as euros, rounded to the cent the way Bulgarian banks converted their books.
pub fn bgn_to_eur(amount: Decimal) -> Decimal {
    (amount / BGN_PER_EUR).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// An amount as text: with at least two decimals, as money is written, and never fewer than the bank gave.
pub fn money_text(amount: Decimal) -> String {
    let mut amount = amount;
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

/// An account as a source describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// IBAN without spaces, or whatever else names the account in its source.
    pub account: String,
    /// The owner's alias, else the bank's product name; may be empty.
    pub name: String,
    /// The customer (person or company) whose account it is; may be empty.
    pub customer: String,
    /// ISO 4217 code as the bank says today.
    pub currency: String,
    /// The bank's own balance at the time of the fetch.
    pub balance: Option<Decimal>,
}

/// A booked entry as a source gave it: the bank's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Stable for ever: ASCII, no spaces, e.g. `fibank:<IBAN>:<acEntrySrNo>`.
    pub id: String,
    /// Booking time with the offset of the bank's own zone.
    pub time: DateTime<FixedOffset>,
    /// The local (bank zone) date of `time`.
    pub date: NaiveDate,
    /// Value date, where the bank gives one.
    pub value_date: Option<NaiveDate>,
    /// Signed: money out is negative.
    pub amount: Decimal,
    /// ISO 4217.
    pub currency: String,
    /// Balance after the entry, where the bank gives one.
    pub balance: Option<Decimal>,
    /// Name of the other side.
    pub counterparty: String,
    /// Account of the other side.
    pub counterparty_account: String,
    /// The remittance lines.
    pub description: String,
    /// The kind of operation, in the bank's words.
    pub kind: String,
    /// The bank's code of that kind.
    pub kind_code: String,
    /// The bank's reference; not unique.
    pub reference: String,
    /// The payload exactly as received (JSON text).
    pub raw: String,
}

/// The additions of the owner's rules to a row; never from the bank.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrichment {
    /// Category.
    pub category: String,
    /// Vendor.
    pub vendor: String,
    /// Tags, comma-separated.
    pub tags: String,
    /// Note.
    pub note: String,
}

/// A row in its context: the unit that is stored, listed, exported and delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Name of the source it came from.
    pub source: Arc<str>,
    /// IBAN of the account.
    pub account: Arc<str>,
    /// The account's name today.
    pub account_name: Arc<str>,
    /// The account's customer.
    pub customer: Arc<str>,
    /// The bank's part.
    pub row: Row,
    /// The rules' part.
    pub enrichment: Enrichment,
    /// The owner's other account, where the row is one half of a transfer, as far as that was asked for; else empty.
    pub transfer: Arc<str>,
    /// The bank no longer shows it.
    pub vanished: bool,
}

/// Language of headers, tab names and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Bulgarian.
    Bg,
}

/// The direction of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Money out.
    Debit,
    /// Money in.
    Credit,
}

impl Direction {
    /// The word used in configuration, JSON and cells.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Debit => "debit",
            Direction::Credit => "credit",
        }
    }
}

impl Row {
    /// The direction of the money; an entry of zero counts as credit.
    pub fn direction(&self) -> Direction {
        if self.amount.is_sign_negative() && !self.amount.is_zero() { Direction::Debit } else { Direction::Credit }
    }

    /// The balance before the entry, where the bank gives one after it and the two can be told apart.
    pub fn balance_before(&self) -> Option<Decimal> {
        self.balance?.checked_sub(self.amount)
    }

    /// True where a text that is shown has lost a character.
    pub fn has_broken_text(&self) -> bool {
        let shown = [&self.counterparty, &self.counterparty_account, &self.description, &self.kind, &self.reference];
        shown.iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER))
    }

    /// Money out as a positive amount.
    pub fn debit(&self) -> Option<Decimal> {
        (self.direction() == Direction::Debit).then(|| -self.amount)
    }

    /// Money in as a positive amount.
    pub fn credit(&self) -> Option<Decimal> {
        (self.direction() == Direction::Credit).then_some(self.amount)
    }

    /// The amount in euros where that is certain: euros as they are, leva at the fixed rate.
    pub fn amount_eur(&self) -> Option<Decimal> {
        match self.currency.as_str() {
            "EUR" => Some(self.amount),
            "BGN" => Some(bgn_to_eur(self.amount)),
            _ => None,
        }
    }
}

/// An account number shortened to `BG32…0001`; any other word as it is.
pub fn shortened(word: &str) -> String {
    let bytes = word.as_bytes();
    let iban = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit);
    if iban { format!("{}…{}", &word[..4], &word[word.len() - 4..]) } else { word.to_owned() }
}

/// The kind of an entry of the change log. Stored by its place in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A transaction was first seen.
    New,
    /// The bank changed a transaction.
    Changed,
    /// The bank no longer shows a transaction.
    Vanished,
    /// A vanished transaction is back.
    Reappeared,
    /// The owner's rules give a known transaction other values.
    Enriched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_decimals_or_more() {
        let shown = |text: &str| money_text(text.parse().unwrap());
        assert_eq!([shown("-1.9"), shown("100"), shown("0.125"), shown("-0.00")], ["-1.90", "100.00", "0.125", "0.00"]);
    }

    #[test]
    fn leva_become_euros_at_the_fixed_rate() {
        assert_eq!(bgn_to_eur("1.95583".parse().unwrap()), "1.00".parse().unwrap());
        assert_eq!(bgn_to_eur("-100".parse().unwrap()), "-51.13".parse().unwrap());
    }
}
