//! What a transaction is, to every part of the program: accounts, rows as a bank gives them, transactions as the
//! store keeps them, and the fields a destination may show.
//!
//! Pure data. It knows no service, no clock and no file; money is decimal throughout.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

mod money;
pub mod payload;

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

/// One booked entry as a source gave it: what the bank owns of a transaction.
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
    /// What kind of operation, in the bank's words.
    pub kind: String,
    /// The bank's code of that kind.
    pub kind_code: String,
    /// The bank's reference; not unique.
    pub reference: String,
    /// The payload exactly as received (JSON text).
    pub raw: String,
}

/// What the owner's rules add to a row; never from the bank.
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
    /// What the bank says.
    pub row: Row,
    /// What rules say.
    pub enrichment: Enrichment,
    /// The owner's other account, where the row is one half of a transfer, as far as that was asked for; else empty.
    pub transfer: Arc<str>,
    /// The bank no longer shows it.
    pub vanished: bool,
}

/// A field's value, typed so that no destination has to parse text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing to say; an empty cell.
    Empty,
    /// Text, never to be parsed.
    Text(Cow<'a, str>),
    /// A calendar date.
    Date(NaiveDate),
    /// An instant with offset.
    Time(DateTime<FixedOffset>),
    /// An amount of money.
    Money(Decimal),
}

/// A field of a transaction that a column can show (design: "A transaction").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Field {
    Id,
    Source,
    Account,
    AccountName,
    Customer,
    Time,
    Date,
    ValueDate,
    Amount,
    Currency,
    Direction,
    Debit,
    Credit,
    AmountEur,
    Balance,
    Counterparty,
    CounterpartyAccount,
    Description,
    Type,
    TypeCode,
    Reference,
    Transfer,
    Category,
    Vendor,
    Tags,
    Note,
    /// `raw.<path>`: a value inside the bank's payload, path parts separated by dots.
    Raw(String),
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

/// Every named field with its key, its English and its Bulgarian header, in the order of the contract.
const FIELDS: [(Field, &str, &str, &str); 26] = [
    (Field::Id, "id", "Transaction ID", "Номер на запис"),
    (Field::Source, "source", "Source", "Източник"),
    (Field::Account, "account", "Account", "Сметка"),
    (Field::AccountName, "account_name", "Account name", "Име на сметка"),
    (Field::Customer, "customer", "Customer", "Клиент"),
    (Field::Time, "time", "Time", "Време"),
    (Field::Date, "date", "Date", "Дата"),
    (Field::ValueDate, "value_date", "Value date", "Вальор"),
    (Field::Amount, "amount", "Amount", "Сума"),
    (Field::Currency, "currency", "Currency", "Валута"),
    (Field::Direction, "direction", "Direction", "Посока"),
    (Field::Debit, "debit", "Debit", "Дебит"),
    (Field::Credit, "credit", "Credit", "Кредит"),
    (Field::AmountEur, "amount_eur", "Amount EUR", "Сума в евро"),
    (Field::Balance, "balance", "Balance", "Салдо"),
    (Field::Counterparty, "counterparty", "Counterparty", "Контрагент"),
    (Field::CounterpartyAccount, "counterparty_account", "Counterparty account", "Сметка на контрагента"),
    (Field::Description, "description", "Description", "Основание"),
    (Field::Type, "type", "Type", "Вид"),
    (Field::TypeCode, "type_code", "Type code", "Код на вида"),
    (Field::Reference, "reference", "Reference", "Референция"),
    (Field::Transfer, "transfer", "Transfer", "Собствен превод"),
    (Field::Category, "category", "Category", "Категория"),
    (Field::Vendor, "vendor", "Vendor", "Търговец"),
    (Field::Tags, "tags", "Tags", "Етикети"),
    (Field::Note, "note", "Note", "Бележка"),
];

impl Field {
    /// Every named field (all but `raw.<path>`), in the order of the contract.
    pub fn all() -> impl Iterator<Item = Field> {
        FIELDS.iter().map(|(field, ..)| field.clone())
    }

    /// The default columns of a destination, in order (design section 5).
    pub fn default_columns() -> Vec<Field> {
        use Field::*;
        vec![
            Date,
            Amount,
            Currency,
            Counterparty,
            Description,
            Category,
            Type,
            Account,
            Balance,
            ValueDate,
            Reference,
            Id,
        ]
    }

    /// The key used in configuration, JSON and CSV.
    pub fn key(&self) -> Cow<'static, str> {
        if let Field::Raw(path) = self {
            return Cow::Owned(format!("raw.{path}"));
        }
        let found = FIELDS.iter().find(|(field, ..)| field == self);
        Cow::Borrowed(found.map_or("", |(_, key, ..)| key))
    }

    /// The default header of a column that shows this field.
    pub fn header(&self, language: Language) -> String {
        if let Field::Raw(path) = self {
            return path.clone();
        }
        let found = FIELDS.iter().find(|(field, ..)| field == self);
        found.map_or("", |(_, _, en, bg)| if language == Language::En { en } else { bg }).to_owned()
    }

    /// Whether the cell belongs to the owner once it has been written (filled by rules, never by the bank).
    pub fn belongs_to_owner(&self) -> bool {
        matches!(self, Field::Category | Field::Vendor | Field::Tags | Field::Note)
    }

    /// Whether the cell holds an amount.
    pub fn is_money(&self) -> bool {
        matches!(self, Field::Amount | Field::Debit | Field::Credit | Field::AmountEur | Field::Balance)
    }

    /// The value this field has in `transaction`.
    pub fn value<'a>(&self, transaction: &'a Transaction) -> Value<'a> {
        let row = &transaction.row;
        match self {
            Field::Id => text(&row.id),
            Field::Source => text(&transaction.source),
            Field::Account => text(&transaction.account),
            Field::AccountName => text(&transaction.account_name),
            Field::Customer => text(&transaction.customer),
            Field::Time => Value::Time(row.time),
            Field::Date => Value::Date(row.date),
            Field::ValueDate => row.value_date.map_or(Value::Empty, Value::Date),
            Field::Amount => Value::Money(row.amount),
            Field::Currency => text(&row.currency),
            Field::Direction => text(row.direction().as_str()),
            Field::Debit => row.debit().map_or(Value::Empty, Value::Money),
            Field::Credit => row.credit().map_or(Value::Empty, Value::Money),
            Field::AmountEur => row.amount_eur().map_or(Value::Empty, Value::Money),
            Field::Balance => row.balance.map_or(Value::Empty, Value::Money),
            Field::Counterparty => text(&row.counterparty),
            Field::CounterpartyAccount => text(&row.counterparty_account),
            Field::Description => text(&row.description),
            Field::Type => text(&row.kind),
            Field::TypeCode => text(&row.kind_code),
            Field::Reference => text(&row.reference),
            Field::Transfer => text(&transaction.transfer),
            Field::Category => text(&transaction.enrichment.category),
            Field::Vendor => text(&transaction.enrichment.vendor),
            Field::Tags => text(&transaction.enrichment.tags),
            Field::Note => text(&transaction.enrichment.note),
            Field::Raw(path) => raw_value(&row.raw, path),
        }
    }
}

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Empty } else { Value::Text(Cow::Borrowed(text)) }
}

fn raw_value(raw: &str, path: &str) -> Value<'static> {
    let Some(payload) = payload::read(raw) else { return Value::Empty };
    let found = path.split('.').try_fold(&payload, |value, part| match value {
        serde_json::Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    });
    match found {
        None | Some(serde_json::Value::Null) => Value::Empty,
        Some(serde_json::Value::String(text)) if text.is_empty() => Value::Empty,
        Some(serde_json::Value::String(text)) => Value::Text(Cow::Owned(text.clone())),
        Some(other) => Value::Text(Cow::Owned(other.to_string())),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(key: &str) -> Result<Field, UnknownField> {
        if let Some(path) = key.strip_prefix("raw.").filter(|path| !path.is_empty()) {
            return Ok(Field::Raw(path.to_owned()));
        }
        let found = FIELDS.iter().find(|(_, name, ..)| *name == key);
        found.map(|(field, ..)| field.clone()).ok_or_else(|| UnknownField(key.to_owned()))
    }
}

/// A name that is no field of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field is called `{0}`")]
pub struct UnknownField(pub String);

/// Which way money went.
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
    /// Which way money went; an entry of zero counts as credit.
    pub fn direction(&self) -> Direction {
        if self.amount.is_sign_negative() && !self.amount.is_zero() { Direction::Debit } else { Direction::Credit }
    }

    /// The balance before the entry, where the bank gives one after it and the two can be told apart.
    pub fn balance_before(&self) -> Option<Decimal> {
        self.balance?.checked_sub(self.amount)
    }

    /// Whether a text that is shown has lost a character.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_key_parses_back() {
        for field in Field::all() {
            assert_eq!(field.key().parse::<Field>(), Ok(field));
        }
        assert_eq!("raw.remI".parse::<Field>(), Ok(Field::Raw("remI".into())));
        assert!("raw.".parse::<Field>().is_err());
    }

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
