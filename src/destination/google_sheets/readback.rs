//! Reading the sheet back: one request for every column of ours, hidden and filtered rows included, at one instant.
//!
//! Columns are asked for by the notes on them, so that none is mistaken for another when the owner moves some meanwhile.
//! The answer stays bytes, from which cells are taken one by one. Reading back writes and sets up nothing.

use std::collections::HashSet;

use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::GoogleSheets;
use super::answer::{END_FIELDS, read_end};
use super::cells;
use super::client::Failure;
use super::layout::{Layout, Place, is_data};
use super::placing::End;
use crate::destination::readback::{Cell, FoundRow, Reader, Shown, id_text};
use crate::model::Field;
use crate::remote::{Cause, Error};

/// Columns of the bank's and of the id, as they are now.
pub(super) struct Columns {
    /// The positions.
    pub layout: Layout,
    /// Metadata ids, in the order of the layout's places.
    entries: Vec<i32>,
    /// The position of the id column among the entries.
    id: usize,
}

impl Columns {
    /// The cells that each row shows beside its id.
    pub fn shown(&self) -> Shown {
        let fields: Vec<Field> = self.fields().cloned().collect();
        let expected = fields.clone();
        Shown::new(fields, Box::new(move |at, transaction| cells::cell(&expected[at].value(transaction))))
    }

    /// The bank's fields without the id.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.layout.places.iter().map(|place| &place.field).filter(|field| **field != Field::Id)
    }
}

/// The values of columns as they came.
pub(super) struct Values(Bytes);

/// The cells of columns, each still in the answer's own words.
type Cells<'a> = Vec<Vec<&'a RawValue>>;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default, rename = "valueRanges")]
    ranges: Vec<Matched<'a>>,
}

#[derive(Deserialize)]
struct Matched<'a> {
    #[serde(borrow, rename = "valueRange")]
    range: Range<'a>,
    #[serde(rename = "dataFilters")]
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
struct Range<'a> {
    #[serde(borrow, default)]
    values: Cells<'a>,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(rename = "developerMetadataLookup")]
    lookup: Lookup,
}

#[derive(Deserialize)]
struct Lookup {
    #[serde(rename = "metadataId")]
    entry: i32,
}

impl GoogleSheets {
    /// Reads rows and their cells. `marked` are the ids of rows that are struck through, where that is asked for.
    pub(super) async fn read_back_once(
        &mut self,
        reader: &mut dyn Reader,
        marked: &HashSet<String>,
    ) -> Result<(), Error> {
        let Some(columns) = self.columns().await? else {
            // No tab, no rows.
            reader.begin(Shown::nothing());
            return Ok(());
        };
        let values = self.column_values(&columns).await?;
        reader.begin(columns.shown());
        self.each_row(&columns, &values, |row, id, cells| {
            let is_marked = marked.contains(&id);
            let found = FoundRow { id, place: format!("{row:010}"), cells: cells(), is_marked };
            if !found.is_blank() {
                reader.row(found);
            }
        })
    }

    /// Our columns by their notes. `None`: there is no tab of ours.
    pub(super) async fn columns(&mut self) -> Result<Option<Columns>, Error> {
        let found = self.find().await?;
        let title = self.config.tab.clone();
        let complete = found.complete(&self.config.rows.columns, &title, &self.memory.gone).is_some();
        let (sheet, gone, header) = match &found.tab {
            Some((_, note)) if complete => (note.sheet, self.memory.gone.clone(), found.header(note.sheet)),
            _ => {
                let (spreadsheet, plan) = self.plan(&found, 0).await?;
                let Some(tab) = spreadsheet.ours(&found, &title) else { return Ok(None) };
                (tab.id, plan.gone, plan.layout.header)
            }
        };
        let (mut places, mut missing) = (Vec::new(), Vec::new());
        for column in self.config.rows.columns.iter().filter(|column| !column.field.belongs_to_owner()) {
            match found.column(sheet, &column.field) {
                Some(bound) => places.push((Place { field: column.field.clone(), index: bound.index }, bound.entry)),
                None if gone.contains(&column.field.key().into_owned()) => {}
                None => missing.push(column.header.clone()),
            }
        }
        places.sort_by_key(|(place, _)| place.index);
        let id = places.iter().position(|(place, _)| place.field == Field::Id);
        let Some(id) = id.filter(|_| missing.is_empty()) else {
            let missing = missing.join("`, `");
            let what = format!(
                "tab `{title}` has no column bound for `{missing}`: the next delivery, or `bankfeed verify --repair`, sets it up"
            );
            return Err(Error::attention(Cause::Layout, self.names.say(what)));
        };
        let (places, entries): (Vec<Place>, Vec<i32>) = places.into_iter().unzip();
        let id_entry = Some(entries[id]);
        let layout = Layout { header, ..Layout::new(sheet, places, id_entry) };
        Ok(Some(Columns { layout, entries, id }))
    }

    pub(super) async fn column_values(&mut self, columns: &Columns) -> Result<Values, Error> {
        Ok(Values(self.client().await?.columns(&columns.entries).await?))
    }

    /// Calls `each` with the position, the id (empty where there is none) and (made when asked for) the other cells of
    /// every row below the header.
    pub(super) fn each_row(
        &self,
        columns: &Columns,
        values: &Values,
        mut each: impl FnMut(u32, String, &dyn Fn() -> Vec<Cell>),
    ) -> Result<(), Error> {
        let answer: Answer<'_> = serde_json::from_slice(&values.0).map_err(|error| self.unreadable(&error))?;
        let mut cells: Vec<Option<Vec<&RawValue>>> = vec![None; columns.entries.len()];
        for matched in answer.ranges {
            let of = |filter: &Filter| columns.entries.iter().position(|entry| *entry == filter.lookup.entry);
            if let Some(at) = matched.filters.iter().find_map(of) {
                cells[at] = Some(matched.range.values.into_iter().next().unwrap_or_default());
            }
        }
        let cells: Option<Vec<Vec<&RawValue>>> = cells.into_iter().collect();
        let cells = cells
            .ok_or_else(|| Error::unavailable(self.names.say("a column of ours was removed while it was in use")))?;
        let ids = &cells[columns.id];
        let rows = cells.iter().map(Vec::len).max().unwrap_or(0) as u32;
        for row in 0..rows {
            let id = ids.get(row as usize).and_then(|id| id_text(&json(id))).unwrap_or_default();
            if !is_data(columns.layout.header, row, &id) {
                continue;
            }
            each(row, id, &|| {
                let others = cells.iter().enumerate().filter(|(at, _)| *at != columns.id);
                others
                    .map(|(_, cells)| cells.get(row as usize).map_or(Cell::Empty, |cell| Cell::from_json(&json(cell))))
                    .collect()
            });
        }
        Ok(())
    }

    fn unreadable(&self, error: &serde_json::Error) -> Error {
        if error.is_data() {
            return Error::malformed(self.names.say("Google's answer has another shape than its API promises"));
        }
        self.garbled()
    }

    /// The error of an answer that was cut or comes from elsewhere.
    pub(super) fn garbled(&self) -> Error {
        Error::unavailable(self.names.say("Google's answer cannot be read"))
    }

    /// The rows of a tab with all of their cells, and its tables. The ids are in column `id`.
    pub(super) async fn end(&mut self, sheet: i32, rows: (u32, Option<u32>), id: u32) -> Result<End, Failure> {
        let (first, end) = rows;
        let mut range = serde_json::json!({ "sheetId": sheet, "startRowIndex": first });
        if let Some(end) = end {
            range["endRowIndex"] = end.into();
        }
        let answer = self.client().await?.look(range, END_FIELDS).await?;
        read_end(&answer, first, id).map_err(|_| self.garbled().into())
    }
}

/// A cell's value. The cell was parsed once already, so parsing cannot fail.
fn json(cell: &RawValue) -> serde_json::Value {
    serde_json::from_str(cell.get()).unwrap_or_default()
}
