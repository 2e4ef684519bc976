//! Turns a record into a row.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::super::charset::shown;
use super::super::keywords;
use super::super::layouts::Layout;
use super::super::numbers;
use super::super::statement::{Clock, FileRow, says_none};
use super::columns::Columns;
use super::records::Record;
use super::{Column, Found};

/// The meaning of a record.
pub(super) enum Read {
    /// A transaction.
    Row(Box<FileRow>),
    /// A line that is no transaction and says so by itself: prose, a total, an opening balance.
    Skipped(&'static str),
    /// The header again.
    Nothing,
}

/// True if the layout leaves the record out.
pub(super) fn left_out(found: &Found<'_>, record: &Record) -> bool {
    left_out_by(&found.columns, record)
}

fn left_out_by(columns: &Columns, record: &Record) -> bool {
    let holds = |(at, texts): &(usize, Vec<String>)| texts.iter().any(|text| text == record.field(*at));
    let too_short = |at: usize| at >= record.fields.len();
    columns.leave_out.iter().any(holds) || columns.only.iter().any(|only| !holds(only) && !too_short(only.0))
}

/// Reads a record.
pub(super) fn read(found: &Found<'_>, format: &str, record: &Record) -> Result<Read, String> {
    let (layout, columns) = (found.layout, &found.columns);
    let last_needed = [Some(columns.date), columns.amount, columns.debit.min(columns.credit)];
    let last_needed = last_needed.into_iter().flatten().max().unwrap_or_default();
    if record.fields.len() <= last_needed {
        return Ok(Read::Skipped("it has too few columns for a transaction"));
    }
    if !found.header.is_empty()
        && record.fields.iter().zip(&found.header).all(|(field, name)| super::columns::tidy(field) == *name)
    {
        return Ok(Read::Nothing);
    }
    let cell = record.field(columns.date);
    let day = date(cell, format);
    let amount = amount(layout, columns, record);
    let (day, amount) = match (day, amount) {
        (Some(day), Ok(Some(amount))) => (day, amount),
        (_, Ok(None)) => return Ok(Read::Skipped("it has no amount")),
        (None, Err(_)) if !cell.bytes().any(|byte| byte.is_ascii_digit()) => {
            return Ok(Read::Skipped("it has neither a date nor an amount"));
        }
        (None, Ok(Some(_))) if cell.is_empty() && few_fields(record) => return Ok(Read::Skipped("it has no date")),
        (None, _) if cell.is_empty() => return Err("the row has no date".to_owned()),
        (None, _) => return Err(format!("the date `{}` is not of the form `{format}`", shown(cell))),
        (Some(_), Err(why)) => return Err(why),
    };
    let remittance = keywords::read(&description(columns, record));
    let text = |at: Option<usize>| at.map(|at| collapse(record.field(at))).unwrap_or_default();
    let side = if amount.is_sign_negative() { columns.payee } else { columns.payer };
    let value_format = layout.value_date_format.as_deref().unwrap_or(format);
    Ok(Read::Row(Box::new(FileRow {
        date: day.0,
        time: day.1,
        value_date: columns.value_date.and_then(|at| date(record.field(at), value_format)).map(|(date, _)| date),
        amount,
        currency: columns.currency.map(|at| record.field(at).to_ascii_uppercase()).unwrap_or_else(|| fixed(layout)),
        balance: columns.balance.and_then(|at| money(layout, record.field(at))),
        counterparty: text(columns.counterparty.or(side)),
        counterparty_account: text(columns.counterparty_account),
        reference: Some(text(columns.reference)).filter(|text| !says_none(text)).unwrap_or(remittance.reference),
        description: remittance.subject,
        bank_id: Some(text(columns.id)).filter(|id| !says_none(id)),
        kind: text(columns.kind),
        raw: raw(found, record).to_string(),
        ..FileRow::default()
    })))
}

/// The currency that the layout names itself.
fn fixed(layout: &Layout) -> String {
    match &layout.currency {
        Some(Column::Name(name)) => name.clone(),
        _ => String::new(),
    }
}

/// A line of totals has next to nothing in it.
fn few_fields(record: &Record) -> bool {
    record.fields.iter().filter(|field| !field.trim().is_empty()).count() <= 3
}

/// The signed amount; `None`: the row has none.
fn amount(layout: &Layout, columns: &Columns, record: &Record) -> Result<Option<Decimal>, String> {
    let number = |at: usize| match record.field(at) {
        "" => Ok(None),
        text => money(layout, text).map(Some).ok_or_else(|| format!("the amount `{}` cannot be read", shown(text))),
    };
    let plain = match columns.amount {
        Some(at) => number(at)?,
        None => {
            let debit = columns.debit.map(number).transpose()?.flatten();
            let credit = columns.credit.map(number).transpose()?.flatten();
            let (out, into) = (debit.unwrap_or_default().abs(), credit.unwrap_or_default().abs());
            if !out.is_zero() && !into.is_zero() {
                return Err("the row has money in and money out at once".to_owned());
            }
            debit.or(credit).map(|_| into - out)
        }
    };
    let Some(mut amount) = plain else { return Ok(None) };
    if let (Some(direction), Some(at)) = (&layout.direction, columns.direction) {
        let text = record.field(at);
        let is = |texts: &[String]| texts.iter().any(|one| one == text);
        amount = match (is(&direction.out), is(&direction.into)) {
            (true, false) => -amount.abs(),
            (false, true) => amount.abs(),
            _ => return Err(format!("the direction `{}` is neither money in nor money out", shown(text))),
        };
    }
    if let Some(fee) = columns.fee.map(number).transpose()?.flatten() {
        amount = amount.checked_sub(fee).ok_or("the amount is beyond all amounts")?;
    }
    Ok(Some(if layout.invert { -amount } else { amount }))
}

fn money(layout: &Layout, text: &str) -> Option<Decimal> {
    numbers::written(text, layout.decimal.unwrap_or('.'), layout.thousands)
}

/// A date by a format. A time may follow a date whose format has none.
pub(super) fn date(cell: &str, format: &str) -> Option<(NaiveDate, Option<Clock>)> {
    let (date, clock) = if format.contains("%z") {
        let time = DateTime::parse_from_str(cell, format).ok()?;
        (time.date_naive(), Some(Clock { time: time.time(), offset: Some(*time.offset()) }))
    } else if format.contains("%H") {
        let time = NaiveDateTime::parse_from_str(cell, format).ok()?;
        (time.date(), Some(Clock { time: time.time(), offset: None }))
    } else {
        let (date, rest) = NaiveDate::parse_and_remainder(cell, format).ok()?;
        let rest = rest.trim_start_matches(['T', ' ', ',']);
        let clock = if rest.is_empty() { None } else { Some(numbers::clock(rest)?) };
        (date, clock)
    };
    let known = clock.filter(|clock| clock.time != NaiveTime::MIN);
    numbers::plausible(date).then_some((date, known))
}

fn description(columns: &Columns, record: &Record) -> String {
    let parts = columns.description.iter().map(|at| collapse(record.field(*at))).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The record as received: by its headers, or as a list where there are none or more fields than headers.
fn raw(found: &Found<'_>, record: &Record) -> Value {
    let field = |field: &String| Value::String(field.clone());
    if found.header.is_empty() {
        return Value::Array(record.fields.iter().map(field).collect());
    }
    let mut object = Map::new();
    for (at, value) in record.fields.iter().enumerate() {
        let name = found.header.get(at).filter(|name| !name.is_empty() && !object.contains_key(*name));
        let name = name.cloned().unwrap_or_else(|| format!("column {}", at + 1));
        object.insert(name, field(value));
    }
    Value::Object(object)
}

/// True if the first records are of a layout without a header: every column of the layout can be read in nearly all of them.
/// A layout of the owner needs one such record; the others are judged when they are read.
pub(super) fn fits(layout: &Layout, columns: &Columns, head: &[&Record]) -> bool {
    let format =
        |record: &Record| layout.date_format.iter().any(|format| date(record.field(columns.date), format).is_some());
    let whole = |record: &Record| {
        let filled = |at: Option<usize>, good: &dyn Fn(&str) -> bool| at.is_none_or(|at| good(record.field(at)));
        format(record)
            && matches!(amount(layout, columns, record), Ok(Some(_)))
            && filled(columns.value_date, &|text| {
                text.is_empty() || layout.date_format.iter().any(|format| date(text, format).is_some())
            })
            && filled(columns.balance, &|text| text.is_empty() || money(layout, text).is_some())
            && filled(columns.currency, &|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))
    };
    let fitting = head.iter().filter(|record| left_out_by(columns, record) || whole(record)).count();
    if layout.ships { fitting > 0 && fitting * 20 >= head.len() * 19 } else { fitting > 0 }
}
