//! The tabs of the spreadsheet as answers to writes show them: titles, sizes, tables, and the ids that are asked for.
//!
//! Not by the API crate's own types: reading those from a tree of values as well would cost the program half a megabyte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::landing::{Landed, ShownRow};
use super::placed::ShownTable;
use super::setup::Book;

/// A tab that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownTab {
    /// Its title, when it was seen last.
    pub title: String,
    /// Its cells, empty ones included.
    pub cells: u64,
}

/// Tabs by their ids.
pub(super) type Tabs = BTreeMap<i32, KnownTab>;

/// The cells of all tabs.
pub(super) fn cells_of(tabs: &Tabs) -> u64 {
    tabs.values().fold(0, |sum, tab| sum.saturating_add(tab.cells))
}

/// The tabs that a spreadsheet was read to have.
pub(super) fn tabs_of(book: &Book) -> Tabs {
    let known = |tab: &super::setup::Tab| {
        (tab.id, KnownTab { title: tab.title.clone(), cells: u64::from(tab.rows) * u64::from(tab.columns) })
    };
    book.tabs.iter().map(known).collect()
}

/// A spreadsheet as an answer to a write shows it. Should it look otherwise than promised, the write was applied all the
/// same: what cannot be read counts as not said.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Seen {
    #[serde(default)]
    sheets: Vec<Tab>,
}

#[derive(Debug, Deserialize)]
struct Tab {
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    tables: Vec<ShownTable>,
    #[serde(default)]
    data: Vec<Grid>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    sheet_id: i32,
    title: String,
    grid_properties: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Size {
    row_count: u64,
    column_count: u64,
}

#[derive(Debug, Deserialize)]
struct Grid {
    #[serde(default, rename = "startRow")]
    first: usize,
    #[serde(default, rename = "rowData")]
    rows: Vec<ShownRow>,
}

impl Seen {
    /// Titles and sizes. Tabs that are a single chart have no grid.
    pub fn tabs(&self) -> Tabs {
        let known = |tab: &Tab| {
            let size = tab.properties.grid_properties.as_ref()?;
            let cells = size.row_count.saturating_mul(size.column_count);
            Some((tab.properties.sheet_id, KnownTab { title: tab.properties.title.clone(), cells }))
        };
        self.sheets.iter().filter_map(known).collect()
    }

    /// The ids that were asked for of a tab, with the tables there; `None`: they are not in it.
    pub fn landed(self, sheet: i32) -> Option<Landed> {
        let tab = self.sheets.into_iter().find(|tab| tab.properties.sheet_id == sheet)?;
        let grid = tab.data.into_iter().next()?;
        let ids = grid.rows.into_iter().map(ShownRow::id).collect();
        let tables = Some(tab.tables.into_iter().map(Into::into).collect());
        let rows = tab.properties.grid_properties.map(|size| size.row_count.min(u32::MAX.into()) as u32);
        Some(Landed { first: grid.first, ids, tables, grid: rows })
    }
}
