//! The row of a tab that holds the headers, and the columns that its texts name. Pure.

use serde_json::Value as Json;

use super::layout::{Place, letters};
use crate::destination::policy::Column;
use crate::destination::readback::is_id;
use crate::model::{Field, Language};

/// Most rows at the top of a tab among which the row with the headers is looked for.
pub(super) const MOST_ABOVE: usize = 200;

/// Values of our tab: all values of a tab that is new to us, but only the row with the headers, or the rows among which
/// that row must be, of a tab that is ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Top<'a> {
    /// The row of the first values.
    pub first: u32,
    pub cells: &'a [Vec<Json>],
}

impl Top<'_> {
    /// True where every cell is blank.
    pub fn is_blank(&self) -> bool {
        self.cells.iter().flatten().all(is_blank)
    }

    /// Number of columns that hold values.
    pub fn width(&self) -> u32 {
        self.cells.iter().map(Vec::len).max().unwrap_or(0) as u32
    }
}

/// The row with the headers.
pub(super) struct HeaderRow<'a> {
    columns: &'a [Column],
    top: Top<'a>,
    /// The position; none where the owner has deleted the row.
    pub row: Option<u32>,
}

impl<'a> HeaderRow<'a> {
    /// The row with our note; else the row above all ids that names the id or else most of our fields; else the last
    /// frozen row; else the first row.
    pub fn find(columns: &'a [Column], top: Top<'a>, noted: Option<u32>, frozen: u32) -> HeaderRow<'a> {
        let mut found = HeaderRow { columns, top, row: noted };
        if noted.is_none() {
            found.row = found.guess(frozen);
        }
        found
    }

    fn guess(&self, frozen: u32) -> Option<u32> {
        let has_id = |row: &Vec<Json>| row.iter().any(|cell| cell.as_str().is_some_and(is_id));
        let above = self.top.cells.iter().position(has_id);
        let candidates = &self.top.cells[..above.unwrap_or(self.top.cells.len()).min(MOST_ABOVE)];
        let scores = (self.top.first..).zip(candidates).map(|(row, cells)| (self.fields_named_in(cells), row));
        // Among equals the frozen row counts, else the topmost.
        let best = scores.max_by_key(|(score, row)| (*score, row + 1 == frozen, std::cmp::Reverse(*row)));
        if let Some((_, row)) = best.filter(|((_, score), _)| *score > 0) {
            return Some(row);
        }
        let has_text = |row: u32| {
            let cells = row.checked_sub(self.top.first).and_then(|at| candidates.get(at as usize));
            cells.is_some_and(|cells| !cells.iter().all(is_blank))
        };
        let last_frozen = frozen.checked_sub(1).filter(|row| has_text(*row));
        match above {
            Some(0) => None,
            Some(above) if last_frozen.is_none() => Some(self.top.first + above as u32 - 1),
            _ => last_frozen.or(Some(self.top.first)),
        }
    }

    /// Tells if a row's cells name the id, and the number of our fields that they name.
    fn fields_named_in(&self, cells: &[Json]) -> (bool, usize) {
        let headers: Vec<String> = cells.iter().map(normal).filter(|header| !header.is_empty()).collect();
        let is_named = |column: &&Column| headers.iter().any(|header| self.names(&column.field, header));
        let names_id = headers.iter().any(|header| self.names(&Field::Id, header));
        (names_id, self.columns.iter().filter(is_named).count())
    }

    /// The position; the first row where the owner has deleted the headers.
    pub fn row_or_first(&self) -> u32 {
        self.row.unwrap_or_default()
    }

    fn cells(&self) -> &'a [Json] {
        let at = self.row_or_first().checked_sub(self.top.first);
        at.and_then(|at| self.top.cells.get(at as usize)).map_or(&[][..], Vec::as_slice)
    }

    fn headers(&self) -> impl Iterator<Item = (u32, String)> {
        (0..).zip(self.cells()).map(|(index, cell)| (index, normal(cell)))
    }

    /// The problem with the headers of a tab with these columns of ours, if rows could not be found by them.
    pub fn problem(&self, kept: &[Place]) -> Option<String> {
        if kept.is_empty() && self.headers().all(|(_, header)| header.is_empty()) {
            return Some("has rows but no header in its first row: write one, or configure another tab".to_owned());
        }
        let ids: Vec<u32> =
            self.headers().filter(|(_, header)| self.names(&Field::Id, header)).map(|(index, _)| index).collect();
        if kept.iter().any(|place| place.field == Field::Id) || ids.len() == 1 {
            return None;
        }
        let header = self.id_header();
        if let [first, second, ..] = ids[..] {
            let (first, second) = (letters(first), letters(second));
            return Some(format!("has two columns headed `{header}` ({first} and {second}): rename one"));
        }
        let index = (0..self.top.width()).find(|index| self.is_nameless_id(*index))?;
        let column = letters(index);
        Some(format!("has ids in column {column} but no header above them: write `{header}` there"))
    }

    /// Finds texts that look like our ids in a column without a header. A second id column beside it would make every row
    /// of the tab look unknown.
    fn is_nameless_id(&self, index: u32) -> bool {
        let cell = |row: &'a Vec<Json>| row.get(index as usize);
        let is_id = |value: &Json| value.as_str().is_some_and(is_id);
        let header_blank = self.cells().get(index as usize).is_none_or(is_blank);
        header_blank && self.top.cells.iter().filter_map(cell).any(is_id)
    }

    /// The columns that become ours by their headers, beside those that are ours by their notes. Columns with a note, of
    /// whatever field, are `taken`.
    pub fn bind(&self, kept: &[Place], taken: &[u32]) -> Vec<Place> {
        let is_free = |(index, header): &(u32, String)| !header.is_empty() && !taken.contains(index);
        let mut free: Vec<(u32, String)> = self.headers().filter(is_free).collect();
        // The configured header first: it may be another field's default.
        let names = |column: &Column, header: &str, configured: bool| {
            if configured { normal_text(&column.header) == header } else { self.names(&column.field, header) }
        };
        let mut bound: Vec<Place> = Vec::new();
        for configured in [true, false] {
            for column in self.columns {
                if kept.iter().chain(&bound).any(|place| place.field == column.field) {
                    continue;
                }
                let Some(at) = free.iter().position(|(_, header)| names(column, header, configured)) else { continue };
                bound.push(Place { field: column.field.clone(), index: free.remove(at).0 });
            }
        }
        bound
    }

    /// True where a normalised header names the field.
    fn names(&self, field: &Field, header: &str) -> bool {
        let configured = self.columns.iter().find(|column| column.field == *field);
        let mut known = vec![field.key().into_owned(), field.header(Language::En), field.header(Language::Bg)];
        known.extend(configured.map(|column| column.header.clone()));
        known.iter().any(|name| normal_text(name) == header)
    }

    fn id_header(&self) -> String {
        let column = self.columns.iter().find(|column| column.field == Field::Id);
        column.map_or_else(|| Field::Id.header(Language::En), |column| column.header.clone())
    }
}

fn is_blank(cell: &Json) -> bool {
    cell.is_null() || cell.as_str().is_some_and(|text| text.trim().is_empty())
}

fn normal(cell: &Json) -> String {
    cell.as_str().map_or_else(|| if cell.is_null() { String::new() } else { cell.to_string() }, normal_text)
}

fn normal_text(text: &str) -> String {
    text.trim().to_lowercase()
}
