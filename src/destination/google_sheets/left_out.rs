//! The amounts that the sums of the dashboard leave out. The columns of the transactions do not tell which rows are halves
//! of transfers or were taken back, so the amounts of those rows stand in a table beside the charts, and the dashboard's
//! formulas take them off. The table is written with the balances whenever it changes; the other cells are the owner's.
//!
//! Pure. Columns and header row are found by their notes, wherever the owner moves them.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_64;

use super::cells::{VALUE_ONLY, push, write_cell, write_string};
use super::entries::{Entry, Location, create_metadata};
use crate::destination::LeftOut;
use crate::model::{Field, Language, Value};

/// Key of the notes on its columns and its header row.
pub(super) const LEFT_OUT_KEY: &str = "bankfeed.dashboard.left_out";

/// Rows of the tab when it is made, beyond those that are needed.
const SPARE_ROWS: u32 = 50;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOutColumn {
    Month,
    Currency,
    Type,
    Category,
    Counterparty,
    Debit,
    Credit,
}

/// Every column with its key, its English and its Bulgarian header, from left to right.
pub(super) const LEFT_OUT_COLUMNS: [(LeftOutColumn, &str, &str, &str); 7] = [
    (LeftOutColumn::Month, "month", "Month", "Месец"),
    (LeftOutColumn::Currency, "currency", "Currency", "Валута"),
    (LeftOutColumn::Type, "type", "Type", "Вид"),
    (LeftOutColumn::Category, "category", "Category", "Категория"),
    (LeftOutColumn::Counterparty, "counterparty", "Counterparty", "Контрагент"),
    (LeftOutColumn::Debit, "debit", "Debit", "Дебит"),
    (LeftOutColumn::Credit, "credit", "Credit", "Кредит"),
];

/// The title above the table.
pub(super) fn title(language: Language) -> &'static str {
    match language {
        Language::En => "Left out of the sums: transfers between your own accounts, rows the bank took back",
        Language::Bg => "Извън сборовете: преводи между собствени сметки, оттеглени от банката редове",
    }
}

/// A note on a column or on the header row; the latter says what was written last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LeftOutNote {
    destination: String,
    /// The tab it was made on: a duplicated tab copies the note, and is not ours.
    sheet: i32,
    /// Key of a column, or `header`.
    part: String,
    #[serde(default)]
    rows: u32,
    /// Rows of the grid as far as we know.
    #[serde(default)]
    grid: u32,
    #[serde(default)]
    print: String,
}

/// The table as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOutTable {
    /// Id of the note on the header row.
    entry: i32,
    note: LeftOutNote,
    header: u32,
    columns: Vec<(LeftOutColumn, u32)>,
}

impl LeftOutTable {
    /// Finds the tables of a destination among entries of developer metadata.
    pub fn find(entries: &[Entry], destination: &str) -> Vec<LeftOutTable> {
        let (mut tables, mut columns): (Vec<LeftOutTable>, Vec<(i32, LeftOutColumn, u32)>) = (Vec::new(), Vec::new());
        for entry in entries {
            let note = entry.note(LEFT_OUT_KEY).filter(|note: &LeftOutNote| note.destination == destination);
            let Some(note) = note else { continue };
            let Some(at) = entry.position_on(note.sheet) else { continue };
            match LEFT_OUT_COLUMNS.iter().find(|(_, key, ..)| *key == note.part) {
                Some((part, ..)) => columns.push((note.sheet, *part, at)),
                None => tables.push(LeftOutTable { entry: entry.id, note, header: at, columns: Vec::new() }),
            }
        }
        for table in &mut tables {
            let own = columns.iter().filter(|(sheet, ..)| *sheet == table.note.sheet);
            table.columns = own.map(|(_, part, at)| (*part, *at)).collect();
        }
        tables
    }

    /// The table as it is made: from this column on, its header in this row.
    pub fn new(sheet: i32, destination: &str, header: u32, first: u32) -> LeftOutTable {
        let part = "header".to_owned();
        let note = LeftOutNote { destination: destination.to_owned(), sheet, part, ..LeftOutNote::default() };
        LeftOutTable {
            entry: 0,
            note,
            header,
            columns: LEFT_OUT_COLUMNS.iter().zip(first..).map(|((part, ..), at)| (*part, at)).collect(),
        }
    }

    /// Rows the tab needs for this content.
    pub fn grid(&self, left_out: &[LeftOut]) -> u32 {
        self.header + 1 + rows(left_out) + SPARE_ROWS
    }

    /// The column of a part.
    pub fn column(&self, part: LeftOutColumn) -> Option<u32> {
        self.columns.iter().find(|(known, _)| *known == part).map(|(_, at)| *at)
    }

    /// The requests that note where it stands, and what it says, on a tab of so many rows.
    pub fn notes(&self, left_out: &[LeftOut], grid: u32) -> Vec<Json> {
        let header = LeftOutNote { rows: rows(left_out), grid, print: print(left_out), ..self.note.clone() };
        let sheet = self.note.sheet;
        let columns = self.columns.iter().filter_map(|(part, at)| {
            let (_, key, ..) = LEFT_OUT_COLUMNS.iter().find(|(known, ..)| known == part)?;
            Some((LeftOutNote { part: (*key).to_owned(), ..self.note.clone() }, Location::Column(sheet, *at)))
        });
        let notes = columns.chain([(header, Location::Row(sheet, self.header))]);
        notes.map(|(note, location)| create_metadata(LEFT_OUT_KEY, &note, None, location)).collect()
    }

    /// The requests that bring it up to date, each followed by a comma; none where it says that already.
    pub fn update(&self, left_out: &[LeftOut]) -> Vec<u8> {
        let mut out = Vec::new();
        if self.note.print == print(left_out) {
            return out;
        }
        let (sheet, needed) = (self.note.sheet, self.header + 1 + rows(left_out));
        let grid = if needed > self.note.grid { needed + SPARE_ROWS } else { self.note.grid };
        if grid > self.note.grid {
            let length = grid - self.note.grid;
            push(
                &mut out,
                format_args!(r#"{{"appendDimension":{{"sheetId":{sheet},"dimension":"ROWS","length":{length}}}}},"#),
            );
        }
        self.cells(&mut out, left_out);
        let next = LeftOutNote { rows: rows(left_out), grid, print: print(left_out), ..self.note.clone() };
        push(
            &mut out,
            format_args!(
                r#"{{"updateDeveloperMetadata":{{"dataFilters":[{{"developerMetadataLookup":{{"metadataId":{}}}}}],"developerMetadata":{{"metadataValue":"#,
                self.entry
            ),
        );
        write_string(&mut out, &serde_json::to_string(&next).unwrap_or_default());
        out.extend_from_slice(br#"},"fields":"metadataValue"}},"#);
        out
    }

    /// Every column's cells below the header, each request followed by a comma. A first row of noughts keeps a filter over
    /// the table from finding nothing, which would be an error; what stood below the last row is cleared.
    pub fn cells(&self, out: &mut Vec<u8>, left_out: &[LeftOut]) {
        let (sheet, row, nothing) = (self.note.sheet, self.header + 1, LeftOut::default());
        let surplus = self.note.rows.saturating_sub(rows(left_out));
        for (part, column) in &self.columns {
            push(
                out,
                format_args!(
                    r#"{{"updateCells":{{"start":{{"sheetId":{sheet},"rowIndex":{row},"columnIndex":{column}}},"fields":"{VALUE_ONLY}","rows":["#
                ),
            );
            for (at, one) in std::iter::once(&nothing).chain(left_out).enumerate() {
                out.extend_from_slice(if at > 0 { b",{\"values\":[" } else { b"{\"values\":[" });
                write_cell(out, &Field::Note, &value(*part, one), false);
                out.extend_from_slice(b"]}");
            }
            for _ in 0..surplus {
                out.extend_from_slice(b",{\"values\":[{}]}");
            }
            out.extend_from_slice(b"]}},");
        }
    }
}

fn value(part: LeftOutColumn, one: &LeftOut) -> Value<'_> {
    let text = |text: &'_ str| Value::Text(text.to_owned().into());
    let money = |amount: Decimal| Value::Money(amount);
    match part {
        LeftOutColumn::Month => one.month.map_or(Value::Empty, Value::Date),
        LeftOutColumn::Currency => text(&one.currency),
        LeftOutColumn::Type => text(&one.kind),
        LeftOutColumn::Category => text(&one.category),
        LeftOutColumn::Counterparty => text(&one.counterparty),
        LeftOutColumn::Debit => money(one.debit),
        LeftOutColumn::Credit => money(one.credit),
    }
}

fn rows(left_out: &[LeftOut]) -> u32 {
    u32::try_from(left_out.len()).unwrap_or(u32::MAX).saturating_add(1)
}

/// Tells one content from another.
fn print(left_out: &[LeftOut]) -> String {
    format!("{:016x}", xxh3_64(format!("{left_out:?}").as_bytes()))
}
