//! Requests of the API that the tabs of ours are made of, each from the few things that vary. Pure, without decisions.

use serde_json::{Value as Json, json};

use super::layout::Format;

/// Adds a tab with frozen rows at its top.
pub(super) fn add_sheet(sheet: i32, title: &str, rows: u32, columns: u32, frozen: u32) -> Json {
    let mut grid = json!({"rowCount": rows, "columnCount": columns});
    if frozen > 0 {
        grid["frozenRowCount"] = frozen.into();
    }
    json!({"addSheet": {"properties": {"sheetId": sheet, "title": title, "gridProperties": grid}}})
}

/// Names the first cell of a tab; the name is also the id.
pub(super) fn add_named_range(sheet: i32, name: &str) -> Json {
    let range = json!({
        "sheetId": sheet, "startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1,
    });
    json!({"addNamedRange": {"namedRange": {"name": name, "namedRangeId": name, "range": range}}})
}

/// Takes a name away.
pub(super) fn delete_named_range(id: &str) -> Json {
    json!({"deleteNamedRange": {"namedRangeId": id}})
}

/// Inserts empty columns.
pub(super) fn insert_columns(sheet: i32, from: u32, to: u32) -> Json {
    json!({"insertDimension": {"inheritFromBefore": false, "range": dimension(sheet, "COLUMNS", from, to)}})
}

/// Writes bold texts into a row from a column on.
pub(super) fn label_cells<'a>(sheet: i32, row: u32, first: u32, labels: impl Iterator<Item = &'a str>) -> Json {
    let cell = |label: &str| json!({"userEnteredValue": {"stringValue": label}, "userEnteredFormat": {"textFormat": {"bold": true}}});
    json!({"updateCells": {
        "fields": "userEnteredValue,userEnteredFormat.textFormat.bold",
        "rows": [{"values": labels.map(cell).collect::<Vec<_>>()}],
        "start": {"sheetId": sheet, "rowIndex": row, "columnIndex": first},
    }})
}

/// Formats columns from a row down.
pub(super) fn number_format(sheet: i32, first_row: u32, from: u32, to: u32, format: Format) -> Json {
    let (kind, pattern) = format.type_and_pattern();
    json!({"repeatCell": {
        "cell": {"userEnteredFormat": {"numberFormat": {"type": kind, "pattern": pattern}}},
        "fields": "userEnteredFormat.numberFormat",
        "range": {"sheetId": sheet, "startRowIndex": first_row, "startColumnIndex": from, "endColumnIndex": to},
    }})
}

/// Makes columns this wide.
pub(super) fn width(sheet: i32, from: u32, to: u32, pixels: i32) -> Json {
    json!({"updateDimensionProperties": {
        "range": dimension(sheet, "COLUMNS", from, to), "properties": {"pixelSize": pixels}, "fields": "pixelSize",
    }})
}

/// Keeps the header in sight.
pub(super) fn freeze_header(sheet: i32) -> Json {
    json!({"updateSheetProperties": {
        "fields": "gridProperties.frozenRowCount",
        "properties": {"sheetId": sheet, "gridProperties": {"frozenRowCount": 1}},
    }})
}

/// Puts the filter buttons on the header. The range is open below, so that rows to come are covered, and at the side: an
/// owner who sorts by a button sorts the range, and cells beside our columns must go along with their rows.
pub(super) fn basic_filter(sheet: i32) -> Json {
    json!({"setBasicFilter": {"filter": {"range": {"sheetId": sheet, "startRowIndex": 0, "startColumnIndex": 0}}}})
}

/// Adds rows or columns at the end of the grid.
pub(super) fn append_dimension(sheet: i32, dimension: &str, length: u32) -> Json {
    json!({"appendDimension": {"dimension": dimension, "length": length, "sheetId": sheet}})
}

/// A span of rows or columns.
pub(super) fn dimension(sheet: i32, dimension: &str, from: u32, to: u32) -> Json {
    json!({"dimension": dimension, "sheetId": sheet, "startIndex": from, "endIndex": to})
}
