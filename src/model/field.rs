//! The fields of a transaction that a column can show: their keys, their headers, and their typed values.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;

use super::{Language, Transaction, payload};

/// A field's value, typed so that no destination has to parse text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value; an empty cell.
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
    /// `raw.<path>`: a value inside the bank's payload, path parts separated by dots; `raw` with an empty path is the
    /// whole payload as received.
    Raw(String),
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
        match self {
            Field::Raw(path) if path.is_empty() => return Cow::Borrowed("raw"),
            Field::Raw(path) => return Cow::Owned(format!("raw.{path}")),
            _ => {}
        }
        let found = FIELDS.iter().find(|(field, ..)| field == self);
        Cow::Borrowed(found.map_or("", |(_, key, ..)| key))
    }

    /// The default header of a column that shows this field.
    pub fn header(&self, language: Language) -> String {
        if let Field::Raw(path) = self {
            return if path.is_empty() { "raw".to_owned() } else { path.clone() };
        }
        let found = FIELDS.iter().find(|(field, ..)| field == self);
        found.map_or("", |(_, _, en, bg)| if language == Language::En { en } else { bg }).to_owned()
    }

    /// True for cells that belong to the owner once written (filled by rules, never by the bank).
    pub fn belongs_to_owner(&self) -> bool {
        matches!(self, Field::Category | Field::Vendor | Field::Tags | Field::Note)
    }

    /// True for cells that hold an amount.
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
            Field::Raw(path) if path.is_empty() => text(&row.raw),
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
        if key == "raw" {
            return Ok(Field::Raw(String::new()));
        }
        let found = FIELDS.iter().find(|(_, name, ..)| *name == key);
        found.map(|(field, ..)| field.clone()).ok_or_else(|| UnknownField(key.to_owned()))
    }
}

/// A name that is no field of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no field is called `{0}`")]
pub struct UnknownField(pub String);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
}
