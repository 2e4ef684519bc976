//! A spreadsheet as an answer shows it.

use serde_json::{Map, Value, json};

use super::a1::Area;
use super::filters::{show_basic, show_view};
use super::formula;
use super::mask::Mask;
use super::metadata;
use super::model::{Cell, CellValue, Line, Location, Sheet, Spreadsheet};
use super::ranges::{show_named, show_protected};
use super::read::grid_range;
use super::shown;
use super::tables;

/// Pixels of a row and of a column with their first sizes.
const SIZES: (i64, i64) = (21, 100);

/// The part of a spreadsheet that a request asks for.
pub(super) struct View<'a> {
    /// The areas asked for; empty: every sheet whole.
    pub areas: &'a [Area],
    /// True if cells belong to the answer.
    pub data: bool,
    /// The part of the answer that will be kept; used to leave out work, not for projecting.
    pub mask: &'a Mask,
}

/// The message `Spreadsheet`.
pub(super) fn spreadsheet(book: &Spreadsheet, view: &View<'_>) -> Value {
    let asked = |sheet: &Sheet| view.areas.is_empty() || view.areas.iter().any(|area| area.sheet == sheet.id);
    let sheets: Vec<Value> = book
        .sheets
        .iter()
        .enumerate()
        .filter(|(_, sheet)| asked(sheet))
        .map(|(index, sheet)| show_sheet(book, sheet, index, view))
        .collect();
    let mut shown = json!({
        "spreadsheetId": book.id,
        "properties": spreadsheet_properties(book),
        "sheets": sheets,
        "spreadsheetUrl": format!("https://docs.google.com/spreadsheets/d/{}/edit", book.id),
    });
    let named: Vec<Value> = book.named_ranges.iter().map(show_named).collect();
    put_list(&mut shown, "namedRanges", named);
    put_list(&mut shown, "developerMetadata", entries(book, |location| location == Location::Spreadsheet));
    shown
}

/// The message `SheetProperties`.
pub(super) fn sheet_properties(sheet: &Sheet, index: usize) -> Value {
    let mut shown = sheet.properties.clone();
    let grid = shown.entry("gridProperties").or_insert_with(|| json!({}));
    grid["rowCount"] = json!(sheet.row_count);
    grid["columnCount"] = json!(sheet.column_count);
    if sheet.hidden {
        shown.insert("hidden".to_owned(), json!(true));
    }
    shown.insert("sheetId".to_owned(), json!(sheet.id));
    shown.insert("title".to_owned(), json!(sheet.title));
    shown.insert("index".to_owned(), json!(index));
    shown.insert("sheetType".to_owned(), json!("GRID"));
    Value::Object(shown)
}

/// The text that a cell shows.
pub(super) fn formatted(sheet: &Sheet, row: usize, column: usize) -> String {
    match formula::value_at(sheet, row, column) {
        CellValue::Empty => String::new(),
        CellValue::Text(text) | CellValue::Formula(text) => text,
        CellValue::Bool(value) => if value { "TRUE" } else { "FALSE" }.to_owned(),
        CellValue::Number(number) => {
            let format = sheet.cell(row, column).and_then(Cell::number_format);
            let (kind, pattern) = format.unwrap_or(("", ""));
            shown::number(number, kind, pattern)
        }
    }
}

/// True if a cell's number is a date or a time.
pub(super) fn is_date(sheet: &Sheet, row: usize, column: usize) -> bool {
    let format = sheet.cell(row, column).and_then(Cell::number_format);
    format.is_some_and(|(kind, _)| matches!(kind, "DATE" | "TIME" | "DATE_TIME"))
}

fn show_sheet(book: &Spreadsheet, sheet: &Sheet, index: usize, view: &View<'_>) -> Value {
    let mut shown = json!({ "properties": sheet_properties(sheet, index) });
    if let Some((area, rest)) = &sheet.filter {
        shown["basicFilter"] = show_basic(area, rest);
    }
    put_list(&mut shown, "filterViews", sheet.filter_views.iter().map(show_view).collect());
    put_list(&mut shown, "merges", sheet.merges.iter().map(grid_range).collect());
    put_list(&mut shown, "protectedRanges", sheet.protected.iter().map(show_protected).collect());
    put_list(&mut shown, "charts", sheet.charts.clone());
    put_list(&mut shown, "slicers", sheet.slicers.clone());
    put_list(&mut shown, "conditionalFormats", sheet.conditional_formats.clone());
    put_list(&mut shown, "tables", sheet.tables.iter().map(tables::show).collect());
    put_list(&mut shown, "developerMetadata", entries(book, |location| location == Location::Sheet(sheet.id)));
    if view.data {
        let whole = [sheet.whole()];
        let areas = if view.areas.is_empty() { &whole[..] } else { view.areas };
        let data =
            areas.iter().filter(|area| area.sheet == sheet.id).map(|area| grid_data(book, sheet, area, view.mask));
        shown["data"] = data.collect();
    }
    shown
}

fn grid_data(book: &Spreadsheet, sheet: &Sheet, area: &Area, mask: &Mask) -> Value {
    let mut shown = json!({});
    if area.top > 0 {
        shown["startRow"] = json!(area.top);
    }
    if area.left > 0 {
        shown["startColumn"] = json!(area.left);
    }
    let below = |path: &str| path.split('.').try_fold(mask, |mask, field| mask.below(field));
    if let Some(mask) = below("sheets.data.rowData.values") {
        put_list(&mut shown, "rowData", row_data(sheet, area, mask));
    }
    if below("sheets.data.rowMetadata").is_some() {
        let line = |row: usize| {
            let found = entries(book, |location| location == Location::Row(sheet.id, row));
            show_line(sheet.rows.get(row).map(|row| &row.line), SIZES.0, found)
        };
        shown["rowMetadata"] = (area.top..area.bottom).map(line).collect();
    }
    if below("sheets.data.columnMetadata").is_some() {
        let line = |column: usize| {
            let found = entries(book, |location| location == Location::Column(sheet.id, column));
            show_line(sheet.columns.get(&column), SIZES.1, found)
        };
        shown["columnMetadata"] = (area.left..area.right).map(line).collect();
    }
    shown
}

/// Rows and cells up to the last that is not blank.
fn row_data(sheet: &Sheet, area: &Area, mask: &Mask) -> Vec<Value> {
    let used = |row: usize| {
        let cells = sheet.rows.get(row).map_or(&[][..], |row| &row.cells[area.left.min(row.cells.len())..]);
        let cells = &cells[..cells.len().min(area.right - area.left)];
        cells.iter().rposition(|cell| !cell.is_blank()).map_or(0, |last| last + 1)
    };
    let bottom = area.bottom.min(sheet.rows.len());
    let Some(last) = (area.top..bottom).rev().find(|row| used(*row) > 0) else { return Vec::new() };
    (area.top..=last)
        .map(|row| match used(row) {
            0 => json!({}),
            width => {
                let values = (area.left..area.left + width).map(|column| cell_data(sheet, row, column, mask));
                json!({ "values": values.collect::<Vec<_>>() })
            }
        })
        .collect()
}

fn cell_data(sheet: &Sheet, row: usize, column: usize, mask: &Mask) -> Value {
    let Some(cell) = sheet.cell(row, column) else { return json!({}) };
    let mut shown = Map::new();
    let mut put = |name: &str, value: &dyn Fn() -> Option<Value>| {
        if mask.below(name).is_some()
            && let Some(value) = value()
        {
            shown.insert(name.to_owned(), value);
        }
    };
    put("userEnteredValue", &|| cell.value.extended());
    put("effectiveValue", &|| match formula::value_at(sheet, row, column) {
        CellValue::Text(text) if text.starts_with('#') && cell.value != CellValue::Text(text.clone()) => {
            Some(json!({ "errorValue": { "type": if text == "#DIV/0!" { "DIVIDE_BY_ZERO" } else { "NAME" } } }))
        }
        value => value.extended(),
    });
    put("formattedValue", &|| (cell.value != CellValue::Empty).then(|| json!(formatted(sheet, row, column))));
    put("effectiveFormat", &|| {
        let mut format = default_format();
        if let (Value::Object(usual), Some(Value::Object(own))) = (&mut format, cell.format()) {
            usual.extend(own.clone());
        }
        Some(format)
    });
    for (name, value) in cell.rest.iter().flat_map(|rest| rest.iter()) {
        put(name, &|| Some(value.clone()));
    }
    Value::Object(shown)
}

fn show_line(line: Option<&Line>, usual: i64, metadata: Vec<Value>) -> Value {
    let mut shown = json!({ "pixelSize": line.and_then(|line| line.pixel_size).unwrap_or(usual) });
    if line.is_some_and(|line| line.hidden_by_user) {
        shown["hiddenByUser"] = json!(true);
    }
    if line.is_some_and(|line| line.hidden_by_filter) {
        shown["hiddenByFilter"] = json!(true);
    }
    put_list(&mut shown, "developerMetadata", metadata);
    shown
}

fn entries(book: &Spreadsheet, here: impl Fn(Location) -> bool) -> Vec<Value> {
    book.metadata.iter().filter(|entry| here(entry.location)).map(metadata::show).collect()
}

/// An empty list is not on the wire.
fn put_list(shown: &mut Value, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        shown[name] = Value::Array(list);
    }
}

fn spreadsheet_properties(book: &Spreadsheet) -> Value {
    let mut shown = json!({
        "title": book.title,
        "locale": book.locale,
        "autoRecalc": "ON_CHANGE",
        "timeZone": book.time_zone,
        "defaultFormat": default_format(),
        "spreadsheetTheme": theme(),
    });
    if let Value::Object(shown) = &mut shown {
        shown.extend(book.properties.clone());
    }
    shown
}

/// The look of an unformatted cell.
fn default_format() -> Value {
    let white = json!({ "red": 1, "green": 1, "blue": 1 });
    json!({
        "backgroundColor": white,
        "padding": { "top": 2, "right": 3, "bottom": 2, "left": 3 },
        "verticalAlignment": "BOTTOM",
        "wrapStrategy": "OVERFLOW_CELL",
        "textFormat": {
            "foregroundColor": {},
            "fontFamily": "arial,sans,sans-serif",
            "fontSize": 10,
            "bold": false,
            "italic": false,
            "strikethrough": false,
            "underline": false,
            "foregroundColorStyle": { "rgbColor": {} },
        },
        "backgroundColorStyle": { "rgbColor": white },
    })
}

fn theme() -> Value {
    let colour = |kind: &str, red: f64, green: f64, blue: f64| {
        let mut colour = json!({ "colorType": kind, "color": { "rgbColor": {} } });
        for (name, part) in [("red", red), ("green", green), ("blue", blue)] {
            if part != 0.0 {
                colour["color"]["rgbColor"][name] = super::number(part);
            }
        }
        colour
    };
    json!({
        "primaryFontFamily": "Arial",
        "themeColors": [
            colour("TEXT", 0.0, 0.0, 0.0),
            colour("BACKGROUND", 1.0, 1.0, 1.0),
            colour("ACCENT1", 0.25882354, 0.52156866, 0.95686275),
            colour("ACCENT2", 0.91764706, 0.2627451, 0.20784314),
            colour("ACCENT3", 0.9843137, 0.7372549, 0.015686275),
            colour("ACCENT4", 0.20392157, 0.65882355, 0.3254902),
            colour("ACCENT5", 1.0, 0.42745098, 0.003921569),
            colour("ACCENT6", 0.27450982, 0.7411765, 0.7764706),
            colour("LINK", 0.06666667, 0.33333334, 0.8),
        ],
    })
}
