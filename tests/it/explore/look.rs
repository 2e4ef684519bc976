//! The contents of sheet and base, read as their owner sees them, and the contents that the bank's entries demand.

use std::collections::BTreeMap;

use bankfeed::simulator::fibank::Entry;
use bankfeed::simulator::google::{CellValue, Location, Spreadsheet};
use chrono::NaiveDate;
use serde_json::Value;

use crate::world::World;

/// A row as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub date: String,
    pub amount: String,
    pub currency: String,
    pub counterparty: String,
    pub description: String,
}

/// Rows by id, in their order; more than one where a row is doubled.
pub type Rows = BTreeMap<String, Vec<Seen>>;

/// The positions of the sheet's columns: the tab's title and the index by field, from our own notes in the spreadsheet.
pub fn columns(book: &Spreadsheet) -> Option<(String, BTreeMap<String, usize>)> {
    let mut places = BTreeMap::new();
    let mut tab = None;
    for entry in book.metadata().iter().filter(|entry| entry.key == "bankfeed.column") {
        let note: Value = serde_json::from_str(entry.value.as_deref().unwrap_or_default()).unwrap();
        let Location::Column(sheet, index) = entry.location else { continue };
        places.insert(note["field"].as_str().unwrap().to_owned(), index);
        tab = Some(sheet);
    }
    Some((book.sheet(tab?)?.title.clone(), places))
}

/// The rows of the sheet.
pub fn sheet(world: &World) -> Rows {
    world.google.read(&world.spreadsheet, |book| {
        let mut rows = Rows::new();
        let Some((tab, places)) = columns(book) else { return rows };
        let Some(&ids) = places.get("id") else { return rows };
        for row in book.rows(&tab).iter().skip(1) {
            let cell = |at: Option<&usize>| at.and_then(|at| row.get(*at)).cloned().unwrap_or_default();
            let CellValue::Text(id) = cell(Some(&ids)) else { continue };
            if !id.starts_with("fibank:") {
                continue;
            }
            let text = |field: &str| match cell(places.get(field)) {
                CellValue::Text(text) => text,
                CellValue::Empty => String::new(),
                other => format!("{other:?}"),
            };
            let number = |field: &str| match cell(places.get(field)) {
                CellValue::Number(number) => number,
                other => panic!("{field} of {id} is {other:?}"),
            };
            let epoch = NaiveDate::from_ymd_opt(1899, 12, 30).unwrap();
            let seen = Seen {
                date: (epoch + chrono::TimeDelta::days(number("date") as i64)).to_string(),
                amount: format!("{:.2}", number("amount")),
                currency: text("currency"),
                counterparty: text("counterparty"),
                description: text("description"),
            };
            rows.entry(id).or_default().push(seen);
        }
        rows
    })
}

/// The rows of the base. `names` are the owner's present names of the fields.
pub fn base(world: &World, names: &BTreeMap<&'static str, String>) -> Rows {
    world.airtable.read(&world.base, |base| {
        let mut rows = Rows::new();
        let Some(table) = base.tables.first() else { return rows };
        for record in base.records(&table.id) {
            let cell = |field: &str| record.get(&names[field]).cloned().unwrap_or_default();
            let text = |field: &str| cell(field).as_str().unwrap_or_default().to_owned();
            let id = text("id");
            if !id.starts_with("fibank:") {
                continue;
            }
            let seen = Seen {
                date: text("date"),
                amount: format!("{:.2}", cell("amount").as_f64().unwrap_or(f64::NAN)),
                currency: text("currency"),
                counterparty: text("counterparty"),
                description: text("description"),
            };
            rows.entry(id).or_default().push(seen);
        }
        rows
    })
}

/// An entry as it should be seen.
pub fn expected(entry: &Entry, currency: &str) -> Seen {
    Seen {
        date: entry.time.with_timezone(&chrono_tz::Europe::Sofia).date_naive().to_string(),
        amount: format!("{:.2}", entry.amount),
        currency: currency.to_owned(),
        counterparty: entry.counterparty.trim().to_owned(),
        description: entry.remittance[0].trim().to_owned(),
    }
}
