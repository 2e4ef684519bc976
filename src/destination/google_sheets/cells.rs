//! The body of a batch of new rows, written by hand.
//!
//! A first delivery is 100,000 rows of typed cells. The API crate would build each cell as a struct of many optional
//! fields, turn the whole into a JSON tree, walk it and print it; here the bytes go straight from a transaction into the
//! buffer. Text is always a `stringValue`, so that nothing the bank says is ever parsed; dates and amounts are numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use chrono::{DateTime, FixedOffset, NaiveDate};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::layout::{Format, Layout, Place};
use crate::destination::readback::Cell;
use crate::model::{Field, Transaction, Value, is_in_bounds};

/// Most bytes of a request's body. Google recommends 2 MB at most.
pub(super) const MOST_BYTES: usize = 1_950_000;
/// Most characters of a cell.
pub(super) const MOST_CHARACTERS: usize = 50_000;
/// Most rows whose cells carry their number format along; more rows get it by column, or their size would double.
pub(super) const MOST_STYLED: usize = 500;

/// Field mask of cells that carry values only.
pub(super) const VALUE_ONLY: &str = "userEnteredValue";
/// Field mask of new rows' cells. An empty row that takes a new one may be struck through, because the owner inserted it
/// beside a row that the bank took back.
pub(super) const NEW_VALUE: &str = "userEnteredValue,userEnteredFormat.textFormat.strikethrough";
/// Field mask of new rows' cells with their number format.
pub(super) const VALUE_AND_FORMAT: &str =
    "userEnteredValue,userEnteredFormat.numberFormat,userEnteredFormat.textFormat.strikethrough";

/// Rows written so far.
pub(super) struct Rows {
    /// `{"values":[…]}` one after the other, without commas between.
    bytes: Vec<u8>,
    /// The end of each row in the bytes.
    ends: Vec<usize>,
    cells: Vec<Option<Field>>,
    styled: bool,
    owner: OwnerFormats,
}

/// Number formats of the cells in the owner's columns, by column. A new row whose cells carry formats carries these along,
/// or they would be cleared.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnerFormats(pub BTreeMap<u32, String>);

impl Rows {
    /// An empty buffer for rows of this layout; `styled`: each cell carries its number format, those of the owner's
    /// columns among ours too.
    pub fn new(layout: &Layout, styled: bool, owner: &OwnerFormats) -> Rows {
        let mut cells = vec![None; layout.width() as usize];
        for place in &layout.places {
            if let Some(cell) = cells.get_mut(place.index as usize) {
                *cell = Some(place.field.clone());
            }
        }
        Rows { bytes: Vec::new(), ends: Vec::new(), cells, styled, owner: owner.clone() }
    }

    /// Writes a transaction's row, unless the buffer would grow beyond `room` bytes. The first row always fits: it could
    /// not be sent otherwise.
    pub fn push(&mut self, transaction: &Transaction, room: usize) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"{\"values\":[");
        for (at, cell) in self.cells.iter().enumerate() {
            if at > 0 {
                self.bytes.push(b',');
            }
            match cell {
                // A column of the owner: an empty cell keeps the place and carries no value.
                None => match self.owner.0.get(&(at as u32)).filter(|_| self.styled) {
                    Some(format) => {
                        let _ = write!(self.bytes, r#"{{"userEnteredFormat":{{"numberFormat":{format}}}}}"#);
                    }
                    None => self.bytes.extend_from_slice(b"{}"),
                },
                Some(field) => write_cell(&mut self.bytes, field, &field.value(transaction), self.styled),
            }
        }
        self.bytes.extend_from_slice(b"]}");
        // A comma joins each row to the next.
        if !self.ends.is_empty() && self.bytes.len() + self.ends.len() > room {
            self.bytes.truncate(start);
            return false;
        }
        self.ends.push(self.bytes.len());
        true
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field mask these cells need.
    pub fn fields(&self) -> &'static str {
        if self.styled { VALUE_AND_FORMAT } else { NEW_VALUE }
    }

    /// The rows as elements of a JSON array, in order or turned round.
    pub fn write(&self, out: &mut Vec<u8>, reversed: bool) {
        out.reserve(self.bytes.len() + self.ends.len());
        let row = |at: usize| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            &self.bytes[start..self.ends[at]]
        };
        for at in 0..self.ends.len() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(row(if reversed { self.ends.len() - 1 - at } else { at }));
        }
    }

    /// The content, for its hash.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes one cell.
pub(super) fn write_cell(out: &mut Vec<u8>, field: &Field, value: &Value<'_>, styled: bool) {
    let style = if styled { style_of(field) } else { "" };
    let start = out.len();
    out.push(b'{');
    match value {
        Value::Empty => {}
        Value::Text(text) => write_text(out, text),
        Value::Date(date) => write_number(out, serial_day(*date)),
        Value::Time(time) => write_number(out, serial_time(time)),
        Value::Money(amount) if is_in_bounds(*amount) => write_number(out, amount.normalize()),
        // As a number it would drown every sum over it, and lose its digits.
        Value::Money(amount) => write_text(out, &amount.to_string()),
    }
    if !style.is_empty() {
        if out.len() > start + 1 {
            out.push(b',');
        }
        out.extend_from_slice(style.as_bytes());
    }
    out.push(b'}');
}

/// The content that a cell written by [`write_cell`] shows when it is read.
pub(super) fn cell(value: &Value<'_>) -> Cell {
    match value {
        Value::Empty => Cell::Empty,
        Value::Text(text) if text.is_empty() => Cell::Empty,
        Value::Text(text) => Cell::Text(text.to_string()),
        Value::Date(date) => Cell::Number(serial_day(*date) as f64),
        Value::Time(time) => number(serial_time(time)),
        Value::Money(amount) if is_in_bounds(*amount) => number(*amount),
        Value::Money(amount) => Cell::Text(amount.to_string()),
    }
}

fn number(amount: Decimal) -> Cell {
    amount.to_f64().map_or(Cell::Empty, Cell::Number)
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        return;
    }
    out.extend_from_slice(b"\"userEnteredValue\":{\"stringValue\":");
    write_string(out, text);
    out.push(b'}');
}

/// Writes a JSON string.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing text into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    // The decimal text itself is sent: Google reads it as the nearest double, and no float is ever made here.
    let _ = write!(out, "\"userEnteredValue\":{{\"numberValue\":{number}}}");
}

/// Strikes the bank's cells of a row through, or no longer.
pub(super) fn strike(out: &mut Vec<u8>, layout: &Layout, on: bool, row: u32) {
    let (sheet, end) = (layout.sheet, row + 1);
    let bank = layout.places.iter().filter(|place| !place.field.belongs_to_owner());
    for (from, to) in runs(bank.map(|place| place.index)) {
        comma(out);
        push(
            out,
            format_args!(
                r#"{{"repeatCell":{{"range":{{"sheetId":{sheet},"startRowIndex":{row},"endRowIndex":{end},"startColumnIndex":{from},"endColumnIndex":{to}}},"cell":{{"userEnteredFormat":{{"textFormat":{{"strikethrough":{on}}}}}}},"fields":"userEnteredFormat.textFormat.strikethrough"}}}}"#
            ),
        );
    }
}

/// Writes these cells of a row.
pub(super) fn write_cells(out: &mut Vec<u8>, sheet: i32, transaction: &Transaction, places: &[Place], row: u32) {
    write_each(out, sheet, places, row, |out, field| write_cell(out, field, &field.value(transaction), false));
}

/// Empties these cells of a row.
pub(super) fn write_nothing(out: &mut Vec<u8>, sheet: i32, places: &[Place], row: u32) {
    write_each(out, sheet, places, row, |out, _| out.extend_from_slice(b"{}"));
}

fn write_each(out: &mut Vec<u8>, sheet: i32, places: &[Place], row: u32, cell: impl Fn(&mut Vec<u8>, &Field)) {
    for (from, to) in runs(places.iter().map(|place| place.index)) {
        comma(out);
        push(
            out,
            format_args!(
                r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{row},"columnIndex":{from}}},"fields":"{VALUE_ONLY}","rows":[{{"values":["#
            ),
        );
        for place in places.iter().filter(|place| (from..to).contains(&place.index)) {
            if place.index > from {
                out.push(b',');
            }
            cell(out, &place.field);
        }
        out.extend_from_slice(b"]}]}}");
    }
}

/// Deletes rows from the bottom up, after all writes: so no row moves before its turn.
pub(super) fn delete_rows(out: &mut Vec<u8>, sheet: i32, rows: &BTreeSet<u32>) {
    for (from, to) in runs(rows.iter().copied()).into_iter().rev() {
        comma(out);
        push(
            out,
            format_args!(
                r#"{{"deleteDimension":{{"range":{{"sheetId":{sheet},"dimension":"ROWS","startIndex":{from},"endIndex":{to}}}}}}}"#
            ),
        );
    }
}

pub(super) fn comma(out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
}

/// Writes formatted text into memory, which cannot fail.
pub(super) fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

pub(super) fn push_number_format(out: &mut Vec<u8>, sheet: i32, rows: &str, columns: (u32, u32), format: Format) {
    let ((from, to), (kind, pattern)) = (columns, format.type_and_pattern());
    push(
        out,
        format_args!(
            r#"{{"repeatCell":{{"range":{{"sheetId":{sheet},{rows},"startColumnIndex":{from},"endColumnIndex":{to}}},"cell":{{"userEnteredFormat":{{"numberFormat":{{"type":"{kind}","pattern":"{pattern}"}}}}}},"fields":"userEnteredFormat.numberFormat"}}}}"#
        ),
    );
}

/// Runs of neighbouring positions: first, and one after the last.
pub(super) fn runs(positions: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for position in positions {
        match runs.last_mut() {
            Some((_, end)) if *end == position => *end += 1,
            _ => runs.push((position, position + 1)),
        }
    }
    runs
}

fn style_of(field: &Field) -> &'static str {
    match Format::of(field) {
        None => "",
        Some(Format::Date) => r#""userEnteredFormat":{"numberFormat":{"type":"DATE","pattern":"yyyy-mm-dd"}}"#,
        Some(Format::Time) => {
            r#""userEnteredFormat":{"numberFormat":{"type":"DATE_TIME","pattern":"yyyy-mm-dd hh:mm:ss"}}"#
        }
        Some(Format::Money) => r##""userEnteredFormat":{"numberFormat":{"type":"NUMBER","pattern":"#,##0.00"}}"##,
        Some(Format::SignedMoney) => {
            r##""userEnteredFormat":{"numberFormat":{"type":"NUMBER","pattern":"[Color10]#,##0.00;[Red]-#,##0.00;#,##0.00"}}"##
        }
    }
}

/// Days since 1899-12-30: a spreadsheet's idea of a date.
fn serial_day(date: NaiveDate) -> i64 {
    // 1899-12-30 is day 693,594 of the common era.
    i64::from(chrono::Datelike::num_days_from_ce(&date)) - 693_594
}

/// The local wall time as days and a fraction; a spreadsheet keeps no zone.
fn serial_time(time: &DateTime<FixedOffset>) -> Decimal {
    let local = time.naive_local();
    let seconds = chrono::Timelike::num_seconds_from_midnight(&local.time());
    let day = Decimal::from(serial_day(local.date()));
    (day + Decimal::from(seconds) / Decimal::from(86_400)).round_dp(11)
}

/// Why a row cannot be written, if it cannot.
pub(super) fn too_long(layout: &Layout, transaction: &Transaction) -> Option<String> {
    let long = layout.places.iter().find(|place| is_too_long(&place.field.value(transaction)))?;
    Some(format!("`{}` is longer than the {MOST_CHARACTERS} characters a cell holds", long.field))
}

fn is_too_long(value: &Value<'_>) -> bool {
    // Counted only where bytes leave a doubt; in UTF-16, the larger of the two ways Google may count.
    matches!(value, Value::Text(text) if text.len() > MOST_CHARACTERS && text.encode_utf16().count() > MOST_CHARACTERS)
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::{Enrichment, Row};

    /// An invented transaction.
    pub fn transaction(n: u32) -> Transaction {
        let time: DateTime<FixedOffset> = "2026-01-05T10:20:30+02:00".parse().unwrap();
        Transaction {
            source: "fibank".into(),
            account: "BG32FINV91501000000001".into(),
            account_name: "Разплащателна".into(),
            customer: "Иван Примеров".into(),
            row: Row {
                id: format!("fibank:BG32FINV91501000000001:{n}"),
                time,
                date: time.date_naive(),
                value_date: None,
                amount: "-12.30".parse().unwrap(),
                currency: "EUR".into(),
                balance: Some("1000.10".parse().unwrap()),
                counterparty: "=IMPORTXML(\"x\")".into(),
                counterparty_account: String::new(),
                description: "ред 1\nред \"2\"".into(),
                kind: "Card".into(),
                kind_code: "C1".into(),
                reference: "0012".into(),
                raw: "{}".into(),
            },
            enrichment: Enrichment::default(),
            transfer: Default::default(),
            vanished: false,
        }
    }

    pub fn layout(fields: &[(Field, u32)]) -> Layout {
        let places = fields.iter().map(|(field, index)| Place { field: field.clone(), index: *index }).collect();
        Layout { header: Some(0), ..Layout::new(7, places, Some(1)) }
    }

    fn written(rows: &Rows) -> serde_json::Value {
        let mut out = b"[".to_vec();
        rows.write(&mut out, false);
        out.push(b']');
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn cells_are_typed_and_keep_their_places() {
        let layout = layout(&[
            (Field::Date, 0),
            (Field::Counterparty, 2),
            (Field::Amount, 3),
            (Field::Category, 4),
            (Field::Description, 5),
            (Field::Time, 6),
        ]);
        let mut rows = Rows::new(&layout, false, &OwnerFormats::default());
        assert!(rows.push(&transaction(1), MOST_BYTES));
        assert_eq!(
            written(&rows),
            serde_json::json!([{"values": [
                {"userEnteredValue": {"numberValue": 46027}},
                {},
                {"userEnteredValue": {"stringValue": "=IMPORTXML(\"x\")"}},
                {"userEnteredValue": {"numberValue": -12.3}},
                {},
                {"userEnteredValue": {"stringValue": "ред 1\nред \"2\""}},
                {"userEnteredValue": {"numberValue": 46027.43090277778}},
            ]}])
        );
        assert_eq!(rows.fields(), NEW_VALUE);
    }

    #[test]
    fn styled_cells_carry_their_format_even_when_empty() {
        let mut rows = Rows::new(
            &layout(&[(Field::Date, 0), (Field::ValueDate, 1), (Field::Id, 2)]),
            true,
            &OwnerFormats::default(),
        );
        rows.push(&transaction(1), MOST_BYTES);
        let date = serde_json::json!({"numberFormat": {"type": "DATE", "pattern": "yyyy-mm-dd"}});
        assert_eq!(
            written(&rows)[0]["values"],
            serde_json::json!([
                {"userEnteredValue": {"numberValue": 46027}, "userEnteredFormat": date},
                {"userEnteredFormat": date},
                {"userEnteredValue": {"stringValue": "fibank:BG32FINV91501000000001:1"}},
            ])
        );
    }

    #[test]
    fn styles_agree_with_the_formats_of_columns() {
        for field in Field::all() {
            let Some(format) = Format::of(&field) else {
                assert_eq!(style_of(&field), "");
                continue;
            };
            let (kind, pattern) = format.type_and_pattern();
            let style: serde_json::Value = serde_json::from_str(&format!("{{{}}}", style_of(&field))).unwrap();
            assert_eq!(
                style["userEnteredFormat"]["numberFormat"],
                serde_json::json!({"type": kind, "pattern": pattern})
            );
        }
    }

    #[test]
    fn days_count_as_in_the_recordings() {
        let day = |text: &str| serial_day(text.parse().unwrap());
        assert_eq!([day("1899-12-30"), day("2020-01-01"), day("1999-01-02")], [0, 43_831, 36_162]);
        let noon: DateTime<FixedOffset> = "1900-01-01T12:00:00+01:34".parse().unwrap();
        assert_eq!(serial_time(&noon), "2.5".parse().unwrap());
    }

    #[test]
    fn amounts_are_sent_as_their_decimal_text() {
        for (amount, sent) in
            [("0.30", "0.3"), ("-0.00", "0"), ("100", "100"), ("1234567890123.45", "1234567890123.45")]
        {
            let mut out = Vec::new();
            write_cell(&mut out, &Field::Amount, &Value::Money(amount.parse().unwrap()), false);
            assert_eq!(String::from_utf8(out).unwrap(), format!(r#"{{"userEnteredValue":{{"numberValue":{sent}}}}}"#));
        }
    }

    #[test]
    fn no_text_is_ever_anything_but_itself() {
        for text in ["=1+1", "+359", "-5", "@x", "null", "'", "\u{0}\u{1f}\u{2028}\\\"", "😀 Ж"] {
            let mut out = Vec::new();
            write_cell(&mut out, &Field::Note, &Value::Text(Cow::Borrowed(text)), true);
            let cell: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(cell, serde_json::json!({"userEnteredValue": {"stringValue": text}}));
        }
        let mut out = Vec::new();
        write_cell(&mut out, &Field::Note, &Value::Text(Cow::Borrowed("")), false);
        assert_eq!(out, b"{}");
    }

    #[test]
    fn rows_stop_at_the_room_and_turn_round() {
        let mut rows = Rows::new(&layout(&[(Field::Id, 0)]), false, &OwnerFormats::default());
        let size = {
            rows.push(&transaction(1), 10);
            rows.bytes.len()
        };
        assert!(rows.push(&transaction(2), 2 * size + 1));
        assert!(!rows.push(&transaction(3), 3 * size + 1));
        assert_eq!(rows.len(), 2);
        let (mut out, id) =
            (b"[".to_vec(), |row: &serde_json::Value| row["values"][0]["userEnteredValue"]["stringValue"].clone());
        rows.write(&mut out, true);
        out.push(b']');
        let turned: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        assert_eq!([id(&turned[0]), id(&turned[1])], [transaction(2).row.id, transaction(1).row.id]);
        assert_eq!(out.len(), 2 * size + 3);
    }

    #[test]
    fn only_what_no_cell_can_hold_is_too_long() {
        let layout = layout(&[(Field::Description, 0)]);
        let mut transaction = transaction(1);
        transaction.row.description = "я".repeat(50_000);
        assert_eq!(too_long(&layout, &transaction), None);
        transaction.row.description.push('я');
        assert!(too_long(&layout, &transaction).unwrap().contains("description"));
    }
}
