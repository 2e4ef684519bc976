//! The part of a destination's settings that every kind has: which transactions it gets, which columns they fill, and
//! what happens to its rows when the bank changes its mind.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::model::{Direction, Field, Language, Transaction};
use crate::settings::words::quote;
use crate::settings::{BASE_URL_EXPECTED, Error, Key, Table, Value, key, values};

/// The keys of `[[destination]]` that every kind has.
pub const KEYS: &[Key] = &[
    key("base_url", BASE_URL_EXPECTED),
    key("columns", "a list of fields, each a name in quotes or { field = \"…\", header = \"…\" }"),
    key("updates", "`apply` or `ignore` in quotes"),
    key("vanished", "`mark`, `ignore` or `delete` in quotes"),
    key("language", "`en` or `bg` in quotes"),
    key("since", "a date such as 2024-01-01"),
    key("accounts", "a list of IBANs in quotes"),
    key("direction", "`debit` or `credit` in quotes"),
    key("min_amount", "an amount of at least 0 such as 50 or 12.50"),
    key("type", "a type of operation in quotes as the bank calls it, or a list of them"),
];

/// The keys of an entry of `columns`.
const COLUMN: &[Key] = &[key("field", "the name of a field in quotes"), key("header", "the column's header in quotes")];

/// Columns and policies of the rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns in order; the id column is always among them.
    pub columns: Vec<Column>,
    /// The fate of late corrections by the bank.
    pub updates: Updates,
    /// The fate of rows that the bank took back.
    pub vanished: Vanished,
    /// Language of default headers.
    pub language: Language,
}

/// A column of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The field that the column shows.
    pub field: Field,
    /// The header of a new column.
    pub header: String,
}

/// `updates = …`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// Corrections overwrite the bank-owned cells.
    #[default]
    Apply,
    /// Rows stay as first written.
    Ignore,
}

/// `vanished = …`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vanished {
    /// The row is marked.
    #[default]
    Mark,
    /// The row stays as it is.
    Ignore,
    /// The row is deleted.
    Delete,
}

/// The transactions that a destination gets; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Booked on or after this day.
    pub since: Option<NaiveDate>,
    /// Only of these accounts.
    pub accounts: Option<Vec<String>>,
    /// Only money in or money out.
    pub direction: Option<Direction>,
    /// Only amounts of at least this much, whichever way the money went.
    pub min_amount: Option<Decimal>,
    /// Only of these types, by the bank's words or its code, in lower case.
    pub types: Option<Vec<String>>,
}

impl Rows {
    /// Reads columns and policies of an entry.
    pub fn read(table: &Table<'_>) -> Result<Rows, Error> {
        let updates = [("apply", Updates::Apply), ("ignore", Updates::Ignore)];
        let vanished = [("mark", Vanished::Mark), ("ignore", Vanished::Ignore), ("delete", Vanished::Delete)];
        let languages = [("en", Language::En), ("bg", Language::Bg)];
        let language = table.read("language", |value| value.choice(&languages))?.unwrap_or_default();
        let columns = table.read("columns", |value| columns(value, language))?;
        Ok(Rows {
            columns: columns.unwrap_or_else(|| default_columns(language)),
            updates: table.read("updates", |value| value.choice(&updates))?.unwrap_or_default(),
            vanished: table.read("vanished", |value| value.choice(&vanished))?.unwrap_or_default(),
            language,
        })
    }

    /// The usual title of the tab or table with the transactions.
    pub fn usual_title(&self) -> String {
        match self.language {
            Language::En => "Transactions".into(),
            Language::Bg => "Транзакции".into(),
        }
    }
}

impl Filter {
    /// Reads the conditions of an entry.
    pub fn read(table: &Table<'_>) -> Result<Filter, Error> {
        let directions = [Direction::Debit, Direction::Credit].map(|direction| (direction.as_str(), direction));
        Ok(Filter {
            since: table.read("since", values::date)?,
            accounts: table.read("accounts", values::accounts)?,
            direction: table.read("direction", |value| value.choice(&directions))?,
            min_amount: table.read("min_amount", least)?,
            types: table.read("type", types)?,
        })
    }

    /// True for a transaction that passes.
    pub fn accepts(&self, transaction: &Transaction) -> bool {
        self.since.is_none_or(|since| transaction.row.date >= since)
            && self
                .accounts
                .as_ref()
                .is_none_or(|accounts| accounts.iter().any(|account| **account == *transaction.account))
            && self.direction.is_none_or(|direction| transaction.row.direction() == direction)
            && self.min_amount.is_none_or(|least| transaction.row.amount.abs() >= least)
            && self.types.as_ref().is_none_or(|types| {
                let row = &transaction.row;
                [&row.kind, &row.kind_code].iter().any(|kind| types.contains(&kind.trim().to_lowercase()))
            })
    }
}

/// An amount without a direction.
fn least(value: &Value<'_>) -> Result<Decimal, Error> {
    let amount = values::amount(value)?;
    match amount.is_sign_negative() && !amount.is_zero() {
        true => Err(value.error("is negative; it is the least amount either way, `direction` says which")),
        false => Ok(amount),
    }
}

/// A type of operation or a list of types, in lower case.
fn types(value: &Value<'_>) -> Result<Vec<String>, Error> {
    let items = if value.value.is_array() { value.list()? } else { Vec::new() };
    if value.value.is_array() && items.is_empty() {
        return Err(value.error("names no type, leave the key out to mean all"));
    }
    let lower = |value: &Value<'_>| value.text().map(|text| text.trim().to_lowercase());
    if items.is_empty() { Ok(vec![lower(value)?]) } else { items.iter().map(lower).collect() }
}

/// The columns in their order; the id column is added where it is not among them.
fn columns(value: &Value<'_>, language: Language) -> Result<Vec<Column>, Error> {
    let items = value.list()?;
    if items.is_empty() {
        return Err(value.error("names no field, leave the key out for the usual columns"));
    }
    let mut columns = Vec::new();
    for item in &items {
        let column = column(item, language)?;
        check_column(item, &column, &columns)?;
        columns.push(column);
    }
    if !columns.iter().any(|column| column.field == Field::Id) {
        let id = Column { header: Field::Id.header(language), field: Field::Id };
        check_column(value, &id, &columns)?;
        columns.push(id);
    }
    Ok(columns)
}

/// The columns where the configuration names none.
fn default_columns(language: Language) -> Vec<Column> {
    let column = |field: Field| Column { header: field.header(language), field };
    Field::default_columns().into_iter().map(column).collect()
}

fn column(value: &Value<'_>, language: Language) -> Result<Column, Error> {
    let Some(table) = value.table(None, COLUMN) else {
        let field = values::field(value)?;
        return Ok(Column { header: field.header(language), field });
    };
    table.check_keys()?;
    let field = table.require("field", values::field)?;
    let header = table.read("header", values::title)?.unwrap_or_else(|| field.header(language));
    Ok(Column { field, header })
}

/// Two columns of one field or one header could not be told apart when the sheet is read back.
fn check_column(value: &Value<'_>, column: &Column, others: &[Column]) -> Result<(), Error> {
    if others.iter().any(|other| other.field == column.field) {
        return Err(value.error(format!("the field {} stands in two columns", quote(&column.field.key()))));
    }
    let plain = |header: &str| header.trim().to_lowercase();
    let taken: BTreeSet<String> = others.iter().map(|other| plain(&other.header)).collect();
    if taken.contains(&plain(&column.header)) {
        return Err(value.error(format!("two columns have the header {}", quote(&column.header))));
    }
    Ok(())
}
