//! The spreadsheet and its tabs: titles, sizes, and the room that is left. Pure.

use std::collections::BTreeMap;

use google_sheets4::api;
use serde::{Deserialize, Serialize};

use super::metadata::Metadata;
use crate::model::Language;

/// The fields of the API that [`Spreadsheet::read`] reads.
pub(super) const SPREADSHEET_FIELDS: &str = "properties(title,locale),namedRanges(namedRangeId,name),sheets(properties(sheetId,title,gridProperties(rowCount,columnCount,frozenRowCount)),basicFilter.range,tables(tableId,range))";

/// Cells a spreadsheet may have.
const MOST_CELLS: u64 = 10_000_000;

/// True where so few cells are left that the owner should make room.
pub(super) fn is_nearly_full(cells: u64) -> bool {
    cells >= MOST_CELLS / 10 * 9
}

/// The advice to the owner. Per cents keep the advice the same for a while, so that it is news only now and then.
pub(super) fn fullness(cells: u64, language: Language) -> String {
    let part = cells * 100 / MOST_CELLS;
    match language {
        Language::En => format!(
            "the spreadsheet has {part} % of the {MOST_CELLS} cells that Google allows, empty ones included: delete empty rows, columns and tabs, or move older rows into another spreadsheet and set `since`; once it is full, new rows wait"
        ),
        Language::Bg => format!(
            "таблицата има {part} % от {MOST_CELLS} клетки, които Google допуска, заедно с празните: изтрийте празни редове, колони и листове или преместете по-стари редове в друга таблица и задайте `since`; щом се напълни, новите редове чакат"
        ),
    }
}

/// A tab of the spreadsheet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tab {
    pub id: i32,
    pub title: String,
    pub rows: u32,
    pub columns: u32,
    pub filtered: bool,
    /// Number of frozen rows at the top.
    pub frozen: u32,
    /// The tab holds a table of Google's.
    pub has_tables: bool,
}

/// The spreadsheet as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spreadsheet {
    pub title: String,
    /// The locale, like `bg_BG`.
    pub locale: String,
    pub tabs: Vec<Tab>,
    /// Named ranges: id and name.
    pub named: Vec<(String, String)>,
}

impl Spreadsheet {
    /// From the API's answer to [`SPREADSHEET_FIELDS`].
    pub fn read(answer: api::Spreadsheet) -> Spreadsheet {
        let tabs = answer.sheets.unwrap_or_default().into_iter().filter_map(|sheet| {
            let properties = sheet.properties?;
            // Tabs that are a single chart have no grid.
            let grid = properties.grid_properties?;
            Some(Tab {
                id: properties.sheet_id.unwrap_or(0),
                title: properties.title.unwrap_or_default(),
                rows: grid.row_count.unwrap_or(0).max(0) as u32,
                columns: grid.column_count.unwrap_or(0).max(0) as u32,
                filtered: sheet.basic_filter.is_some(),
                frozen: grid.frozen_row_count.unwrap_or(0).max(0) as u32,
                has_tables: sheet.tables.is_some_and(|tables| !tables.is_empty()),
            })
        });
        let named = answer.named_ranges.unwrap_or_default().into_iter();
        let properties = answer.properties.unwrap_or_default();
        Spreadsheet {
            title: properties.title.unwrap_or_default(),
            locale: properties.locale.unwrap_or_default(),
            tabs: tabs.collect(),
            named: named.filter_map(|range| Some((range.named_range_id?, range.name?))).collect(),
        }
    }

    /// Titles and sizes of the tabs.
    pub fn known_tabs(&self) -> Tabs {
        let known = |tab: &Tab| {
            (tab.id, KnownTab { title: tab.title.clone(), cells: u64::from(tab.rows) * u64::from(tab.columns) })
        };
        self.tabs.iter().map(known).collect()
    }

    /// Number of cells, empty ones included.
    pub fn cells(&self) -> u64 {
        cells_of(&self.known_tabs())
    }

    /// A title for a tab of ours that no other tab has.
    pub fn free_title(&self, title: &str, destination: &str) -> String {
        let taken = |title: &String| self.tabs.iter().any(|tab| tab.title.to_lowercase() == title.to_lowercase());
        let numbered = (2..).map(|n| format!("{title} ({destination} {n})"));
        let mut titles = [title.to_owned(), format!("{title} ({destination})")].into_iter().chain(numbered);
        titles.find(|title| !taken(title)).unwrap_or_else(|| title.to_owned())
    }

    /// An id for a tab that no other tab has: the same for the same seed.
    pub fn free_id(&self, seed: &str) -> i32 {
        let mut id = (xxhash_rust::xxh3::xxh3_64(seed.as_bytes()) & 0x7fff_ffff) as i32;
        while self.tabs.iter().any(|tab| tab.id == id) {
            id = id.wrapping_add(1) & 0x7fff_ffff;
        }
        id
    }

    /// Our tab: the tab with our note, unless another title is configured since; else the tab with the configured title;
    /// else the duplicate that the owner went on with after deleting the original.
    pub fn ours(&self, found: &Metadata, title: &str) -> Option<&Tab> {
        let note = found.tab.as_ref().filter(|(_, note)| note.title == title);
        let noted = note.and_then(|(_, note)| self.tabs.iter().find(|tab| tab.id == note.sheet));
        let same = || self.tabs.iter().find(|tab| tab.title == title);
        // Google does not tell titles apart by case alone.
        let alike = || self.tabs.iter().find(|tab| tab.title.to_lowercase() == title.to_lowercase());
        let duplicate = || match self.duplicates(found, title)[..] {
            [one] => Some(one),
            _ => None,
        };
        noted.or_else(same).or_else(alike).or_else(duplicate)
    }

    /// Duplicates of the tab that was ours under this title.
    pub fn duplicates(&self, found: &Metadata, title: &str) -> Vec<&Tab> {
        let is_copy = |tab: &&Tab| found.copies.iter().any(|(_, here, note)| *here == tab.id && note.title == title);
        self.tabs.iter().filter(is_copy).collect()
    }
}

/// A tab that is known from an earlier answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownTab {
    /// The title at that time.
    pub title: String,
    /// Number of cells, empty ones included.
    pub cells: u64,
}

/// Tabs by their ids.
pub(super) type Tabs = BTreeMap<i32, KnownTab>;

/// The cells of all tabs.
pub(super) fn cells_of(tabs: &Tabs) -> u64 {
    tabs.values().fold(0, |sum, tab| sum.saturating_add(tab.cells))
}
