//! The keys of `[[source.csv]]` and the layout that they describe.

use std::collections::BTreeMap;

use super::layouts::{Column, Direction, Layout};
use crate::settings::reader::Value;
use crate::settings::{Error, Key, Table, key};

const COLUMN: &str = "the header of a column in quotes, or its number from 1";
const CHARACTER: &str = "one character in quotes";
const TEXTS: &str = "a list of texts in quotes";

/// The keys of a layout.
pub(super) const CSV: &[Key] = &[
    key("name", "a name of your choice in quotes"),
    key("has", "a list of headers in quotes"),
    key("date", COLUMN),
    key("date_format", "a form such as \"%d.%m.%Y\" in quotes, or a list of them"),
    key("amount", COLUMN),
    key("debit", COLUMN),
    key("credit", COLUMN),
    key("direction", "a table such as { column = \"Af Bij\", out = [\"Af\"], in = [\"Bij\"] }"),
    key("fee", COLUMN),
    key("invert", "true or false"),
    key("decimal", CHARACTER),
    key("thousands", CHARACTER),
    key("delimiter", CHARACTER),
    key("header", "true or false"),
    key("skip_lines", "a whole number from 0 to 1000"),
    key("encoding", "the name of an encoding in quotes such as \"ISO-8859-1\""),
    key("only", "a table such as { Status = [\"Gebucht\"] }"),
    key("leave_out", "a table such as { Info = [\"Umsatz vorgemerkt\"] }"),
    key("value_date", COLUMN),
    key("value_date_format", "a form such as \"%d.%m.%Y\" in quotes"),
    key("balance", COLUMN),
    key("currency", "the header of a column, its number, or a currency such as \"EUR\""),
    key("account", COLUMN),
    key("counterparty", COLUMN),
    key("payer", COLUMN),
    key("payee", COLUMN),
    key("counterparty_account", COLUMN),
    key("reference", COLUMN),
    key("id", COLUMN),
    key("type", COLUMN),
    key("description", "the header of a column in quotes, its number, or a list of these"),
];

const DIRECTION: &[Key] = &[key("column", COLUMN), key("out", TEXTS), key("in", TEXTS)];

/// Reads a layout.
pub(super) fn layout(table: &Table<'_>, name: String) -> Result<Layout, Error> {
    let at = |key: &str| table.read(key, column);
    let layout = Layout {
        name,
        ships: false,
        has: table.read("has", texts)?.unwrap_or_default(),
        date: table.require("date", column)?,
        date_format: table.require("date_format", |value| one_or_several(value, format))?,
        amount: at("amount")?,
        debit: at("debit")?,
        credit: at("credit")?,
        direction: table.read("direction", direction)?,
        fee: at("fee")?,
        invert: table.read("invert", Value::boolean)?.unwrap_or_default(),
        decimal: table.read("decimal", character)?,
        thousands: table.read("thousands", character)?,
        delimiter: table.read("delimiter", character)?,
        header: table.read("header", Value::boolean)?,
        skip_lines: table.read("skip_lines", |value| value.whole(0..=1000))?.unwrap_or_default() as usize,
        encoding: table.read("encoding", |value| value.text().map(str::to_owned))?,
        only: table.read("only", choices)?.unwrap_or_default(),
        leave_out: table.read("leave_out", choices)?.unwrap_or_default(),
        value_date: at("value_date")?,
        value_date_format: table.read("value_date_format", format)?,
        balance: at("balance")?,
        currency: at("currency")?,
        account: at("account")?,
        counterparty: at("counterparty")?,
        payer: at("payer")?,
        payee: at("payee")?,
        counterparty_account: at("counterparty_account")?,
        reference: at("reference")?,
        id: at("id")?,
        kind: at("type")?,
        description: table.read("description", |value| one_or_several(value, column))?.unwrap_or_default(),
    };
    if let Some(problem) = layout.problem() {
        return Err(table.error(problem));
    }
    if layout.header == Some(false) && named_columns(&layout) {
        return Err(table.error("a file without a header has no names of columns: give each column by its number"));
    }
    Ok(layout)
}

/// True where a column is given by its header.
fn named_columns(layout: &Layout) -> bool {
    let direction = layout.direction.as_ref().map(|direction| &direction.column);
    let amounts = [&layout.amount, &layout.debit, &layout.credit, &layout.fee].map(Option::as_ref);
    let texts = [&layout.value_date, &layout.balance, &layout.account, &layout.counterparty, &layout.reference];
    let columns = amounts.into_iter().chain(texts.map(Option::as_ref)).flatten().chain(direction);
    let mut columns = columns.chain([&layout.date]).chain(&layout.description);
    columns.any(|column| matches!(column, Column::Name(_)))
}

fn column(value: &Value<'_>) -> Result<Column, Error> {
    match value.integer() {
        Some(number) => match usize::try_from(number) {
            Ok(number @ 1..=500) => Ok(Column::Number(number)),
            _ => Err(value.error(format!("columns are counted from 1, found {number}"))),
        },
        None => Ok(Column::Name(value.text()?.to_owned())),
    }
}

fn character(value: &Value<'_>) -> Result<char, Error> {
    let text = value.value.as_str().ok_or_else(|| value.wrong())?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) => Ok(char),
        _ => Err(value.wrong_value()),
    }
}

/// The form of a date as chrono reads it, with a day, a month and a year.
fn format(value: &Value<'_>) -> Result<String, Error> {
    use chrono::format::{Item, StrftimeItems};
    let text = value.text()?;
    let is_readable = !StrftimeItems::new(text).any(|item| matches!(item, Item::Error));
    if !is_readable || !text.contains('%') {
        return Err(
            value.error("is no form of a date: %d is the day, %m the month, %Y the year, %y the year of two digits")
        );
    }
    Ok(text.to_owned())
}

fn texts(value: &Value<'_>) -> Result<Vec<String>, Error> {
    let text = |item: &Value<'_>| item.value.as_str().map(str::to_owned).ok_or_else(|| item.wrong());
    value.list()?.iter().map(text).collect()
}

fn choices(value: &Value<'_>) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let table = value.table(None, &[]).ok_or_else(|| value.wrong())?;
    table.entries(TEXTS).iter().map(|(name, _, value)| Ok(((*name).to_owned(), texts(value)?))).collect()
}

fn one_or_several<T>(value: &Value<'_>, read: impl Fn(&Value<'_>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    match value.value.is_array() {
        true => value.list()?.iter().map(read).collect(),
        false => Ok(vec![read(value)?]),
    }
}

fn direction(value: &Value<'_>) -> Result<Direction, Error> {
    let table = value.table(None, DIRECTION).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    Ok(Direction {
        column: table.require("column", column)?,
        out: table.require("out", texts)?,
        into: table.require("in", texts)?,
    })
}
