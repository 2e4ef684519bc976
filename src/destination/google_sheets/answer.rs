//! The answers of Google's that are read by hand: to writes, and to looks at cells. Pure.
//!
//! The API crate's own types would read them as well, through a tree of values: for ids of a long sheet that takes many
//! times the memory, and the types alone cost the program half a megabyte.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Number, Value as Json};

use super::placing::{End, SeenRow, Table};
use super::request::ResponseDetail;
use super::spreadsheet::{KnownTab, Tabs};
use crate::destination::readback::id_text;

/// The ids in the id column from row `first` on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowIds {
    pub first: usize,
    pub ids: Vec<Option<String>>,
    /// The tables of the tab, where the request asked for them.
    pub tables: Option<Vec<Table>>,
    /// Rows of the tab's grid, where the request asked for them.
    pub grid: Option<u32>,
}

impl RowIds {
    /// From the id column as it is read.
    pub fn column(column: Vec<Vec<Json>>) -> RowIds {
        let id = |cells: Vec<Json>| cells.first().and_then(id_text);
        RowIds { ids: column.into_iter().map(id).collect(), ..RowIds::default() }
    }

    /// The id in a row.
    pub fn at(&self, row: u32) -> Option<&str> {
        self.ids.get((row as usize).checked_sub(self.first)?)?.as_deref()
    }
}

/// The answer to a write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Titles and sizes of the tabs that the answer shows.
    pub tabs: Tabs,
    /// The ids that the request asked for; `None`: the answer lacks them.
    pub ids: Option<RowIds>,
}

impl Written {
    /// Reads the answer to a write on a tab. Parts that the answer lacks count as unknown: the write was applied all the
    /// same.
    pub fn read(answer: &[u8], response: &ResponseDetail, sheet: i32) -> Result<Written, serde_json::Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "replies")]
            _replies: Vec<IgnoredAny>,
            #[serde(rename = "updatedSpreadsheet")]
            updated: Option<Updated>,
        }
        #[derive(Deserialize)]
        struct Updated {
            #[serde(default)]
            sheets: Vec<Tab<IdCell>>,
        }
        let answer: Answer = serde_json::from_slice(answer)?;
        let shown = answer.updated.map(|updated| updated.sheets).unwrap_or_default();
        let tabs = shown.iter().filter_map(Tab::known).collect();
        let ids = match response {
            ResponseDetail::Nothing | ResponseDetail::Size => None,
            // Ids alone come without the tab's properties.
            ResponseDetail::Ids { .. } => shown.into_iter().find_map(Tab::ids),
            ResponseDetail::Placement { .. } => {
                let tab = shown.into_iter().find(|tab| tab.properties.sheet_id == sheet);
                tab.and_then(Tab::placement)
            }
        };
        Ok(Written { tabs, ids })
    }
}

/// A tab as answers show it, with cells of the kind that the request asked for.
#[derive(Debug, Deserialize)]
#[serde(bound = "C: Deserialize<'de>")]
struct Tab<C> {
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    tables: Vec<ShownTable>,
    #[serde(default)]
    data: Vec<Grid<C>>,
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
#[serde(bound = "C: Deserialize<'de>")]
struct Grid<C> {
    #[serde(default, rename = "startRow")]
    first: usize,
    #[serde(default, rename = "startColumn")]
    first_column: u32,
    #[serde(default, rename = "rowData")]
    rows: Vec<Row<C>>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "C: Deserialize<'de>")]
struct Row<C> {
    #[serde(default = "Vec::new")]
    values: Vec<C>,
}

/// The value that a cell shows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Effective {
    string_value: Option<String>,
    number_value: Option<Number>,
}

impl Effective {
    fn id(&self) -> Option<String> {
        let text = self.string_value.clone().map(Json::String);
        id_text(&text.or_else(|| self.number_value.clone().map(Json::Number))?)
    }
}

#[derive(Debug, Deserialize)]
struct IdCell {
    #[serde(default, rename = "effectiveValue")]
    value: Effective,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FilledCell {
    user_entered_value: Option<IgnoredAny>,
    effective_value: Option<Effective>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FormattedCell {
    effective_value: Option<Effective>,
    #[serde(default)]
    user_entered_format: Format,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Format {
    number_format: Json,
    text_format: TextFormat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TextFormat {
    strikethrough: bool,
}

impl Size {
    fn rows(&self) -> u32 {
        u32::try_from(self.row_count).unwrap_or(u32::MAX)
    }
}

impl Tab<IdCell> {
    /// Title and size. Tabs that are a single chart have no grid.
    fn known(&self) -> Option<(i32, KnownTab)> {
        let size = self.properties.grid_properties.as_ref()?;
        let cells = size.row_count.saturating_mul(size.column_count);
        Some((self.properties.sheet_id, KnownTab { title: self.properties.title.clone(), cells }))
    }

    fn ids(self) -> Option<RowIds> {
        let grid = self.data.into_iter().next()?;
        let id = |row: Row<IdCell>| row.values.first().and_then(|cell| cell.value.id());
        Some(RowIds { first: grid.first, ids: grid.rows.into_iter().map(id).collect(), ..RowIds::default() })
    }

    fn placement(mut self) -> Option<RowIds> {
        let tables = std::mem::take(&mut self.tables).into_iter().map(Table::from).collect();
        let grid = self.properties.grid_properties.as_ref().map(Size::rows);
        Some(RowIds { tables: Some(tables), grid, ..self.ids()? })
    }
}

/// A range of the API.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GridRange {
    start_row_index: u32,
    end_row_index: Option<u32>,
    start_column_index: u32,
    end_column_index: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownTable {
    #[serde(default)]
    table_id: String,
    #[serde(default)]
    range: GridRange,
    #[serde(default)]
    column_properties: Vec<ShownColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownColumn {
    #[serde(default)]
    column_index: u32,
    #[serde(default)]
    column_type: Option<String>,
}

impl From<ShownTable> for Table {
    fn from(shown: ShownTable) -> Table {
        let GridRange { start_row_index: top, end_row_index: bottom, start_column_index: left, end_column_index } =
            shown.range;
        let is_typed =
            |column: &ShownColumn| column.column_type.as_deref().is_some_and(|kind| kind != "COLUMN_TYPE_UNSPECIFIED");
        let typed = shown.column_properties.iter().filter(|column| is_typed(column));
        Table {
            id: shown.table_id,
            top,
            bottom,
            left,
            right: end_column_index.unwrap_or(u32::MAX),
            typed: typed.map(|column| left + column.column_index).collect(),
        }
    }
}

/// The first tab of an answer to a look at cells.
fn first_tab<C: DeserializeOwned>(answer: &[u8]) -> Result<Option<Tab<C>>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(bound = "C: Deserialize<'de>")]
    struct Answer<C> {
        #[serde(default = "Vec::new")]
        sheets: Vec<Tab<C>>,
    }
    let answer: Answer<C> = serde_json::from_slice(answer)?;
    Ok(answer.sheets.into_iter().next())
}

/// The fields that [`read_end`] reads.
pub(super) const END_FIELDS: &str = "sheets(properties.gridProperties.rowCount,tables(tableId,range,columnProperties(columnIndex,columnType)),data(startRow,rowData.values(userEnteredValue,effectiveValue)))";

/// Reads the rows of a tab from row `first` on, whose ids are in column `id`.
pub(super) fn read_end(answer: &[u8], first: u32, id: u32) -> Result<End, serde_json::Error> {
    let Some(tab) = first_tab::<FilledCell>(answer)? else { return Ok(End::default()) };
    let seen = |row: Row<FilledCell>| {
        let is_filled = |cell: &FilledCell| cell.user_entered_value.is_some() || cell.effective_value.is_some();
        SeenRow {
            id: row.values.get(id as usize).and_then(|cell| cell.effective_value.as_ref()?.id()),
            filled: (0..).zip(&row.values).filter(|(_, cell)| is_filled(cell)).map(|(at, _)| at).collect(),
        }
    };
    let mut rows: Vec<SeenRow> = tab.data.into_iter().flat_map(|data| data.rows).map(seen).collect();
    while rows.last().is_some_and(|row| row.filled.is_empty()) {
        rows.pop();
    }
    let tables = tab.tables.into_iter().map(Table::from).collect();
    Ok(End { grid: tab.properties.grid_properties.map_or(0, |size| size.rows()), first, rows, tables })
}

/// The fields that [`read_placement`] reads.
pub(super) const PLACEMENT_FIELDS: &str = "sheets(properties.gridProperties.rowCount,tables(tableId,range),data(startRow,rowData.values.effectiveValue(stringValue,numberValue)))";

/// Reads the ids in a part of the id column, with the tables of its tab.
pub(super) fn read_placement(answer: &[u8]) -> Result<Option<RowIds>, serde_json::Error> {
    Ok(first_tab::<IdCell>(answer)?.and_then(Tab::placement))
}

/// The fields that [`read_number_formats`] reads.
pub(super) const NUMBER_FORMAT_FIELDS: &str = "sheets.data(startColumn,rowData.values.userEnteredFormat.numberFormat)";

/// Reads the number formats of a row's cells by column, each as JSON.
pub(super) fn read_number_formats(answer: &[u8]) -> Result<BTreeMap<u32, String>, serde_json::Error> {
    let tab = first_tab::<FormattedCell>(answer)?;
    let Some(grid) = tab.and_then(|tab| tab.data.into_iter().next()) else { return Ok(BTreeMap::new()) };
    let cells = grid.rows.into_iter().next().map(|row| row.values).unwrap_or_default();
    let formats = (grid.first_column..).zip(cells.into_iter().map(|cell| cell.user_entered_format.number_format));
    Ok(formats.filter(|(_, format)| format["type"].is_string()).map(|(at, format)| (at, format.to_string())).collect())
}

/// The fields that [`read_struck_texts`] reads.
pub(super) const STRUCK_FIELDS: &str =
    "sheets.data.rowData.values(effectiveValue.stringValue,userEnteredFormat.textFormat.strikethrough)";

/// Reads the texts of a column's cells that are struck through.
pub(super) fn read_struck_texts(answer: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let tab = first_tab::<FormattedCell>(answer)?;
    let rows = tab.into_iter().flat_map(|tab| tab.data).flat_map(|grid| grid.rows);
    let cells = rows.filter_map(|row| row.values.into_iter().next());
    let struck = cells.filter(|cell| cell.user_entered_format.text_format.strikethrough);
    Ok(struck.filter_map(|cell| cell.effective_value?.string_value).collect())
}
