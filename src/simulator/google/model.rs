//! A spreadsheet: tabs, cells, named and protected ranges, developer metadata.
//!
//! The file holds the state, with accessors for tests; requests live beside it. Rows are shared and copied on writing,
//! so that a batch can work on a copy of the whole spreadsheet and be thrown away when one of its requests is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::a1::Area;
use super::tables::Table;

/// Largest number of cells in a spreadsheet, empty ones included.
pub(super) const CELL_LIMIT: usize = 10_000_000;

/// The value of a cell, as typed in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CellValue {
    /// Nothing.
    #[default]
    Empty,
    /// Text of any form.
    Text(String),
    /// A number; dates are numbers with a format.
    Number(f64),
    /// TRUE or FALSE.
    Bool(bool),
    /// A formula with its `=`.
    Formula(String),
}

/// A cell: its value and the other fields of a `CellData`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// The value as typed in.
    pub value: CellValue,
    /// The other fields of `CellData`: `userEnteredFormat`, `note`, `dataValidation`, `pivotTable`, …
    pub(super) rest: Option<Arc<Map<String, Value>>>,
}

/// A row: its cells up to the last used one, and the settings of the row itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The cells from column A.
    pub cells: Vec<Cell>,
    /// The settings of the row itself.
    pub line: Line,
}

/// The settings of a row or a column: hidden, size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Hidden by hand.
    pub hidden_by_user: bool,
    /// Hidden because the filter leaves it out.
    pub hidden_by_filter: bool,
    /// Height or width where it is not the usual one.
    pub pixel_size: Option<i64>,
}

/// A tab.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Id of the tab.
    pub id: i64,
    /// Title of the tab.
    pub title: String,
    /// Rows of the grid, empty ones included.
    pub row_count: usize,
    /// Columns of the grid.
    pub column_count: usize,
    /// Rows up to the last used one.
    pub rows: Vec<Arc<Row>>,
    /// The settings of columns.
    pub columns: BTreeMap<usize, Line>,
    /// True if the tab is hidden.
    pub hidden: bool,
    /// Other fields of `SheetProperties`, with `gridProperties` less the counts.
    pub(super) properties: Map<String, Value>,
    /// The basic filter as set, with the area in `filter_area`.
    pub(super) filter: Option<(Area, Map<String, Value>)>,
    /// Filter views.
    pub filter_views: Vec<FilterView>,
    /// Merged areas.
    pub merges: Vec<Area>,
    /// Protected ranges.
    pub protected: Vec<Protected>,
    /// Charts as sent, with their ids.
    pub charts: Vec<Value>,
    /// Slicers as sent, with their ids.
    pub slicers: Vec<Value>,
    /// Rules of conditional formatting as sent.
    pub conditional_formats: Vec<Value>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A name for an area.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRange {
    /// Id of the range.
    pub id: String,
    /// Name of the range.
    pub name: String,
    /// The area named; empty after its cells were deleted.
    pub area: Area,
}

/// A filter that only its viewers see.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterView {
    /// Id of the view.
    pub id: i64,
    /// The area covered, with the header.
    pub area: Area,
    /// Other fields as sent: title, criteria, order.
    pub(super) rest: Map<String, Value>,
}

/// An area not everybody may edit.
#[derive(Clone, Debug, PartialEq)]
pub struct Protected {
    /// Id of the protected range.
    pub id: i64,
    /// The protected area.
    pub area: Area,
    /// True if editing only asks back (which the API never does).
    pub warning_only: bool,
    /// True if the service account may edit the area.
    pub editable: bool,
    /// Other fields as sent.
    pub(super) rest: Map<String, Value>,
}

/// The place to which a metadata entry is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// The whole spreadsheet.
    Spreadsheet,
    /// A tab.
    Sheet(i64),
    /// A row of a tab.
    Row(i64, usize),
    /// A column of a tab.
    Column(i64, usize),
}

impl Location {
    /// The tab, if it is not the whole spreadsheet.
    pub fn sheet(&self) -> Option<i64> {
        match *self {
            Location::Spreadsheet => None,
            Location::Sheet(id) | Location::Row(id, _) | Location::Column(id, _) => Some(id),
        }
    }
}

/// A developer metadata entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The entry's id, unique in the spreadsheet.
    pub id: i64,
    /// Key of the entry.
    pub key: String,
    /// The entry's value; often absent.
    pub value: Option<String>,
    /// The place to which the entry is attached.
    pub location: Location,
    /// `DOCUMENT` or `PROJECT`.
    pub visibility: String,
}

/// A spreadsheet.
#[derive(Clone, Debug, PartialEq)]
pub struct Spreadsheet {
    /// Id of the spreadsheet.
    pub id: String,
    /// Title of the spreadsheet.
    pub title: String,
    /// The spreadsheet's locale, such as `en_US`.
    pub locale: String,
    /// The spreadsheet's time zone, such as `Etc/GMT`.
    pub time_zone: String,
    /// The tabs in order.
    pub sheets: Vec<Sheet>,
    pub(super) named_ranges: Vec<NamedRange>,
    pub(super) metadata: Vec<Metadata>,
    /// Other fields of `SpreadsheetProperties`.
    pub(super) properties: Map<String, Value>,
    /// Ids made by the service are drawn from here, so that runs are alike.
    pub(super) last_id: u32,
}

impl Cell {
    /// Text of the note, if there is one.
    pub fn note(&self) -> Option<&str> {
        self.field("note")?.as_str()
    }

    /// Type and pattern of the number format, if one is set; the pattern may be empty.
    pub fn number_format(&self) -> Option<(&str, &str)> {
        let format = self.field("userEnteredFormat")?.get("numberFormat")?;
        Some((format.get("type")?.as_str()?, format.get("pattern").and_then(Value::as_str).unwrap_or("")))
    }

    /// The whole `userEnteredFormat` as set.
    pub fn format(&self) -> Option<&Value> {
        self.field("userEnteredFormat")
    }

    /// True if the cell has neither value nor format.
    pub fn is_blank(&self) -> bool {
        self.value == CellValue::Empty && self.rest.is_none()
    }

    pub(super) fn set_number_format(&mut self, format: Value) {
        let mut rest = self.rest.as_deref().cloned().unwrap_or_default();
        let whole = rest.entry("userEnteredFormat").or_insert_with(|| json!({}));
        whole["numberFormat"] = format;
        self.rest = Some(Arc::new(rest));
    }

    /// Puts the number format back that a write was to replace.
    pub(super) fn restore_number_format(&mut self, before: Option<Value>) {
        match before {
            Some(format) => self.set_number_format(format),
            None => {
                let Some(mut rest) = self.rest.as_deref().cloned() else { return };
                if let Some(Value::Object(format)) = rest.get_mut("userEnteredFormat") {
                    format.remove("numberFormat");
                }
                rest.retain(|_, value| value.as_object().is_none_or(|fields| !fields.is_empty()));
                self.rest = Some(Arc::new(rest)).filter(|rest| !rest.is_empty());
            }
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.rest.as_ref()?.get(name)
    }
}

impl FilterView {
    /// The view's title.
    pub fn title(&self) -> &str {
        self.rest.get("title").and_then(Value::as_str).unwrap_or("")
    }
}

impl Line {
    /// True if the line is out of sight for any reason.
    pub fn hidden(&self) -> bool {
        self.hidden_by_user || self.hidden_by_filter
    }
}

impl Sheet {
    pub(super) fn new(id: i64, title: &str, row_count: usize, column_count: usize) -> Sheet {
        Sheet {
            id,
            title: title.to_owned(),
            row_count,
            column_count,
            rows: Vec::new(),
            columns: BTreeMap::new(),
            hidden: false,
            properties: Map::new(),
            filter: None,
            filter_views: Vec::new(),
            merges: Vec::new(),
            protected: Vec::new(),
            charts: Vec::new(),
            slicers: Vec::new(),
            conditional_formats: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// The whole grid.
    pub fn whole(&self) -> Area {
        Area { sheet: self.id, top: 0, bottom: self.row_count, left: 0, right: self.column_count }
    }

    /// A cell; `None` if it was never written.
    pub fn cell(&self, row: usize, column: usize) -> Option<&Cell> {
        self.rows.get(row)?.cells.get(column)
    }

    /// The value of a cell, as typed in.
    pub fn value(&self, row: usize, column: usize) -> &CellValue {
        self.cell(row, column).map_or(&CellValue::Empty, |cell| &cell.value)
    }

    /// True if the row is out of sight.
    pub fn row_hidden(&self, row: usize) -> bool {
        self.rows.get(row).is_some_and(|row| row.line.hidden())
    }

    /// The area of the basic filter, if there is one.
    pub fn filter_area(&self) -> Option<Area> {
        self.filter.as_ref().map(|(area, _)| *area)
    }

    /// The rows that a viewer of the filter view with this title sees, in his order; `None` for an unknown view.
    pub fn seen_through(&self, title: &str) -> Option<Vec<usize>> {
        let view = self.filter_views.iter().find(|view| view.title() == title)?;
        Some(super::filters::seen(self, view))
    }

    /// The row after the last one that holds a value in any column.
    pub fn used_rows(&self) -> usize {
        let filled = |row: &Arc<Row>| row.cells.iter().any(|cell| cell.value != CellValue::Empty);
        self.rows.iter().rposition(filled).map_or(0, |last| last + 1)
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut Row {
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Arc::default);
        }
        Arc::make_mut(&mut self.rows[row])
    }

    pub(super) fn cell_mut(&mut self, row: usize, column: usize) -> &mut Cell {
        let cells = &mut self.row_mut(row).cells;
        if cells.len() <= column {
            cells.resize_with(column + 1, Cell::default);
        }
        &mut cells[column]
    }

    /// Drops the contents outside the grid after it shrank.
    pub(super) fn cut(&mut self) {
        self.rows.truncate(self.row_count);
        let width = self.column_count;
        for row in self.rows.iter_mut().filter(|row| row.cells.len() > width) {
            Arc::make_mut(row).cells.truncate(width);
        }
        self.columns.retain(|column, _| *column < width);
    }
}

impl Spreadsheet {
    /// A new spreadsheet as the service makes it: `Sheet1` with id 0, 1000 rows, 26 columns.
    pub fn new(id: &str, title: &str) -> Spreadsheet {
        Spreadsheet {
            id: id.to_owned(),
            title: title.to_owned(),
            locale: "en_US".to_owned(),
            time_zone: "Etc/GMT".to_owned(),
            sheets: vec![Sheet::new(0, "Sheet1", 1000, 26)],
            named_ranges: Vec::new(),
            metadata: Vec::new(),
            properties: Map::new(),
            last_id: crc32fast::hash(id.as_bytes()),
        }
    }

    /// Titles of the tabs in order.
    pub fn titles(&self) -> Vec<String> {
        self.sheets.iter().map(|sheet| sheet.title.clone()).collect()
    }

    /// The tab with this title, for tests.
    pub fn tab(&self, title: &str) -> Option<&Sheet> {
        self.sheet_by_title(title)
    }

    /// The values of a tab, row by row, blank ends cut. Empty where there is no such tab.
    pub fn rows(&self, title: &str) -> Vec<Vec<CellValue>> {
        let Some(sheet) = self.tab(title) else { return Vec::new() };
        let values = |row: &Arc<Row>| {
            let used = row.cells.iter().rposition(|cell| cell.value != CellValue::Empty).map_or(0, |last| last + 1);
            row.cells[..used].iter().map(|cell| cell.value.clone()).collect()
        };
        sheet.rows[..sheet.used_rows()].iter().map(values).collect()
    }

    /// The named ranges.
    pub fn named_ranges(&self) -> &[NamedRange] {
        &self.named_ranges
    }

    /// The developer metadata.
    pub fn metadata(&self) -> &[Metadata] {
        &self.metadata
    }

    /// The tab with this id.
    pub fn sheet(&self, id: i64) -> Option<&Sheet> {
        self.sheets.iter().find(|sheet| sheet.id == id)
    }

    pub(super) fn sheet_mut(&mut self, id: i64) -> Option<&mut Sheet> {
        self.sheets.iter_mut().find(|sheet| sheet.id == id)
    }

    /// Titles are compared as the service does it: without regard to case.
    pub(super) fn sheet_by_title(&self, title: &str) -> Option<&Sheet> {
        let same = |sheet: &&Sheet| sheet.title.to_lowercase() == title.to_lowercase();
        self.sheets.iter().find(|sheet| sheet.title == title).or_else(|| self.sheets.iter().find(same))
    }

    /// Cells of all grids together, empty ones included.
    pub fn cell_count(&self) -> usize {
        self.sheets.iter().map(|sheet| sheet.row_count * sheet.column_count).sum()
    }

    /// An id the service makes up: positive, below 2^31, the same in every run.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id = self.last_id.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i64::from((self.last_id >> 1).max(1))
    }

    /// Refuses a growth past the limit. `message` only; the caller knows which request it was.
    pub(super) fn check_size(&self) -> Result<(), String> {
        if self.cell_count() <= CELL_LIMIT {
            return Ok(());
        }
        Err(format!(
            "This action would increase the number of cells in the workbook above the limit of {CELL_LIMIT} cells."
        ))
    }
}

impl CellValue {
    /// The value as the service's `ExtendedValue`.
    pub(super) fn extended(&self) -> Option<Value> {
        match self {
            CellValue::Empty => None,
            CellValue::Text(text) => Some(json!({ "stringValue": text })),
            CellValue::Number(number) => Some(json!({ "numberValue": super::number(*number) })),
            CellValue::Bool(value) => Some(json!({ "boolValue": value })),
            CellValue::Formula(formula) => Some(json!({ "formulaValue": formula })),
        }
    }
}
