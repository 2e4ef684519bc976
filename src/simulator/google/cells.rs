//! Requests that write cells.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::a1::Area;
use super::formula;
use super::mask::Mask;
use super::model::{Cell, CellValue, Location, Sheet, Spreadsheet};
use super::ranges::check_protected;
use super::read::{self, Axis, area, index, int, list, text, tidy_colours};
use super::requests::{mask, nothing};
use super::tables;

/// Longest text of a cell in characters.
pub(super) const TEXT_LIMIT: usize = 50_000;

/// Fields of a cell that only the service sets; sending them has no effect.
const READ_ONLY: &[&str] = &["effectiveValue", "effectiveFormat", "formattedValue", "hyperlink", "userEnteredValue"];

/// The part of a written format that a cell keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// The whole format.
    All,
    /// A number format is dropped without a word: the cell is in a typed column of a table.
    AllButNumberFormat,
}

/// Brings cells in, and shares equal formats: thousands of rows carry the same few.
struct Writer {
    /// The written fields beside the value.
    rest: Mask,
    value: bool,
    seen: HashMap<usize, Arc<Map<String, Value>>>,
}

impl Writer {
    fn new(mask: Mask) -> Writer {
        let rest = match &mask {
            Mask::All => Mask::All,
            Mask::Some(fields) => {
                let meant = |(name, _): &&(String, Mask)| !READ_ONLY.contains(&name.as_str());
                Mask::Some(fields.iter().filter(meant).cloned().collect())
            }
        };
        Writer { value: mask.below("userEnteredValue").is_some(), rest, seen: HashMap::new() }
    }

    /// Writes one cell of a sheet.
    fn put(&mut self, sheet: &mut Sheet, row: usize, column: usize, data: &Map<String, Value>) -> Result<(), String> {
        let before = sheet.cell(row, column).and_then(|cell| cell.format()?.get("numberFormat").cloned());
        let kept = tables::kept(sheet, row, column);
        let cell = sheet.cell_mut(row, column);
        self.write(cell, column, data)?;
        if kept == Kept::AllButNumberFormat {
            cell.restore_number_format(before);
        }
        Ok(())
    }

    fn write(&mut self, cell: &mut Cell, column: usize, data: &Map<String, Value>) -> Result<(), String> {
        if self.value {
            cell.value = match data.get("userEnteredValue") {
                Some(value) => entered(value)?,
                None => CellValue::Empty,
            };
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        let mut rest = cell.rest.as_deref().cloned().unwrap_or_default();
        match &self.rest {
            Mask::All => {
                rest.clone_from(data);
                READ_ONLY.iter().for_each(|field| {
                    rest.remove(*field);
                });
            }
            some => some.merge(&mut rest, data),
        }
        rest.retain(|_, value| !is_nothing(value));
        if let Some(format) = rest.get_mut("userEnteredFormat") {
            check_format(format)?;
            tidy_colours(format);
        }
        cell.rest = match rest.is_empty() {
            true => None,
            false => Some(self.share(column, rest)),
        };
        Ok(())
    }

    fn share(&mut self, column: usize, rest: Map<String, Value>) -> Arc<Map<String, Value>> {
        match self.seen.get(&column) {
            Some(known) if **known == rest => known.clone(),
            _ => {
                let fresh = Arc::new(rest);
                self.seen.insert(column, fresh.clone());
                fresh
            }
        }
    }
}

/// `updateCells`.
pub(super) fn update(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut writer = Writer::new(mask(request, "CellData")?);
    let rows = list(request, "rows");
    match (request.get("start"), request.get("range")) {
        (Some(start), None) => {
            let id = int(start, "sheetId");
            let top = index(start, "rowIndex")?.unwrap_or(0);
            let left = index(start, "columnIndex")?.unwrap_or(0);
            read::sheet(book, id)?;
            write_rows(book, id, top, left, rows, &mut writer)
        }
        (None, Some(range)) => {
            let area = area(book, Some(range))?;
            let sheet = read::sheet(book, area.sheet)?;
            let area = area.within(sheet);
            check_protected(sheet, &area)?;
            check_fits(&area, rows)?;
            let nothing = Map::new();
            for row in area.top..area.bottom {
                let values = rows.get(row - area.top).map_or(&[][..], |row| list(row, "values"));
                for column in area.left..area.right {
                    let data = values.get(column - area.left).and_then(Value::as_object);
                    // Cells of the range that the rows leave out are cleared, but no empty cell is created for that.
                    if data.is_some() || sheet.cell(row, column).is_some() {
                        writer.put(sheet, row, column, data.unwrap_or(&nothing))?;
                    }
                }
            }
            nothing_said(sheet)
        }
        _ => Err("Exactly one of start and range must be set.".to_owned()),
    }
}

/// `repeatCell`.
pub(super) fn repeat(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut writer = Writer::new(mask(request, "CellData")?);
    let area = area(book, request.get("range"))?;
    let data = read::fields(request, "cell");
    let sheet = read::sheet(book, area.sheet)?;
    let area = area.within(sheet);
    check_protected(sheet, &area)?;
    for row in area.top..area.bottom {
        for column in area.left..area.right {
            writer.put(sheet, row, column, &data)?;
        }
    }
    nothing_said(sheet)
}

/// `appendCells`: after the last row that holds a value in any column, from column A. Rows grow, columns do not.
pub(super) fn append(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut writer = Writer::new(mask(request, "CellData")?);
    let rows = list(request, "rows");
    if let Some(table) = request.get("tableId").and_then(Value::as_str) {
        return tables::append(book, table, rows.len());
    }
    let id = int(request, "sheetId");
    let sheet = read::sheet(book, id)?;
    let top = sheet.used_rows();
    sheet.row_count = sheet.row_count.max(top + rows.len());
    write_rows(book, id, top, 0, rows, &mut writer)
}

/// `sortRange`. Metadata of a row was seen to follow its data if all columns with data are sorted. The real effect of a
/// partial sort is not known; here metadata stays with its row.
pub(super) fn sort(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let area = area(book, request.get("range"))?;
    let mut keys = Vec::new();
    for spec in list(request, "sortSpecs") {
        let column = index(spec, "dimensionIndex")?.unwrap_or(0);
        if !(area.left..area.right).contains(&column) {
            return Err(format!("sortSpecs.dimensionIndex[{column}] is outside of the range."));
        }
        keys.push((column, text(spec, "sortOrder") == "DESCENDING"));
    }
    if keys.is_empty() {
        return Err("At least one sort spec must be specified.".to_owned());
    }
    let sheet = read::sheet(book, area.sheet)?;
    check_protected(sheet, &area.within(sheet))?;
    sort_area(book, area, &keys);
    nothing()
}

/// `setDataValidation`: kept with the cells, never enforced.
pub(super) fn set_data_validation(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let area = area(book, request.get("range"))?;
    let data: Map<String, Value> =
        request.get("rule").map(|rule| ("dataValidation".to_owned(), rule.clone())).into_iter().collect();
    let mut writer = Writer::new(Mask::Some(vec![("dataValidation".to_owned(), Mask::All)]));
    let sheet = read::sheet(book, area.sheet)?;
    let area = area.within(sheet);
    tables::check_validation(sheet, &area)?;
    check_protected(sheet, &area)?;
    for row in area.top..area.bottom {
        for column in area.left..area.right {
            writer.put(sheet, row, column, &data)?;
        }
    }
    nothing()
}

/// `deleteRange`: the cells behind move up or left; the grid keeps its size.
pub(super) fn delete_range(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let area = area(book, request.get("range"))?;
    let axis = read::axis(text(request, "shiftDimension"))?;
    let sheet = read::sheet(book, area.sheet)?;
    let area = area.within(sheet);
    let reach = match axis {
        Axis::Rows => Area { bottom: sheet.row_count, ..area },
        Axis::Columns => Area { right: sheet.column_count, ..area },
    };
    check_protected(sheet, &reach)?;
    let old = sheet.clone();
    let (height, width) = (area.bottom - area.top, area.right - area.left);
    for row in area.top..old.rows.len().min(reach.bottom) {
        for column in area.left..reach.right {
            let from = match axis {
                Axis::Rows => old.cell(row + height, column),
                Axis::Columns => old.cell(row, column + width),
            };
            if from.is_some() || old.cell(row, column).is_some() {
                *sheet.cell_mut(row, column) = from.cloned().unwrap_or_default();
            }
        }
    }
    nothing()
}

/// Sorts the rows of an area; empty cells come last either way.
pub(super) fn sort_area(book: &mut Spreadsheet, area: Area, keys: &[(usize, bool)]) {
    let Some(sheet) = book.sheet(area.sheet) else { return };
    let area = area.within(sheet);
    let order = order_of(sheet, &area, keys);
    let outside = |row: usize| {
        let cells = sheet.rows.get(row).map_or(&[][..], |row| &row.cells);
        cells
            .iter()
            .enumerate()
            .any(|(at, cell)| cell.value != CellValue::Empty && !(area.left..area.right).contains(&at))
    };
    let whole_rows = !order.iter().any(|row| outside(*row));
    let Some(sheet) = book.sheet_mut(area.sheet) else { return };
    let old = sheet.rows.clone();
    for (offset, from) in order.iter().enumerate() {
        let row = area.top + offset;
        for column in area.left..area.right {
            let cell = old.get(*from).and_then(|row| row.cells.get(column));
            if cell.is_some() || sheet.cell(row, column).is_some() {
                *sheet.cell_mut(row, column) = cell.cloned().unwrap_or_default();
            }
        }
    }
    super::filters::refresh(sheet);
    if !whole_rows {
        return;
    }
    for entry in &mut book.metadata {
        if let Location::Row(id, row) = &mut entry.location
            && *id == area.sheet
            && let Some(offset) = order.iter().position(|from| from == row)
        {
            *row = area.top + offset;
        }
    }
}

/// The rows of an area as they stand once they are sorted.
pub(super) fn order_of(sheet: &Sheet, area: &Area, keys: &[(usize, bool)]) -> Vec<usize> {
    let value = |row: usize, column: usize| formula::value_at(sheet, row, column);
    let mut order: Vec<usize> = (area.top..area.bottom.min(sheet.rows.len())).collect();
    order.sort_by(|a, b| {
        let by = |(column, descending): &(usize, bool)| compare(&value(*a, *column), &value(*b, *column), *descending);
        keys.iter().map(by).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    });
    order
}

/// Orders numbers before text before TRUE and FALSE; empty cells come last in either direction.
fn compare(a: &CellValue, b: &CellValue, descending: bool) -> Ordering {
    let rank = |value: &CellValue| match value {
        CellValue::Number(_) => 0,
        CellValue::Text(_) | CellValue::Formula(_) => 1,
        CellValue::Bool(_) => 2,
        CellValue::Empty => 3,
    };
    let order = match (a, b) {
        (CellValue::Empty, _) | (_, CellValue::Empty) => return rank(a).cmp(&rank(b)),
        (CellValue::Number(a), CellValue::Number(b)) => a.total_cmp(b),
        (CellValue::Text(a), CellValue::Text(b)) => a.to_lowercase().cmp(&b.to_lowercase()),
        (CellValue::Bool(a), CellValue::Bool(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    };
    if descending { order.reverse() } else { order }
}

fn write_rows(
    book: &mut Spreadsheet,
    id: i64,
    top: usize,
    left: usize,
    rows: &[Value],
    writer: &mut Writer,
) -> Result<Value, String> {
    let sheet = read::sheet(book, id)?;
    let width = rows.iter().map(|row| list(row, "values").len()).max().unwrap_or(0);
    let area = Area { sheet: id, top, bottom: top + rows.len().max(1), left, right: left + width.max(1) };
    if area.bottom > sheet.row_count || area.left >= sheet.column_count {
        return Err(read::exceeds(sheet, &area));
    }
    if area.right > sheet.column_count {
        let (column, last) = (area.right - 1, sheet.column_count - 1);
        return Err(format!("Attempting to write column: {column}, beyond the last requested column of: {last}"));
    }
    check_protected(sheet, &area)?;
    for (offset, row) in rows.iter().enumerate() {
        for (at, data) in list(row, "values").iter().enumerate() {
            let Some(data) = data.as_object() else { continue };
            writer.put(sheet, top + offset, left + at, data)?;
        }
    }
    nothing_said(sheet)
}

fn nothing_said(sheet: &mut Sheet) -> Result<Value, String> {
    super::filters::refresh(sheet);
    nothing()
}

fn check_fits(area: &Area, rows: &[Value]) -> Result<(), String> {
    if rows.len() > area.bottom - area.top {
        let (row, last) = (area.top + rows.len() - 1, area.bottom - 1);
        return Err(format!("Attempting to write row: {row}, beyond the last requested row of: {last}"));
    }
    let width = rows.iter().map(|row| list(row, "values").len()).max().unwrap_or(0);
    if width > area.right - area.left {
        let (column, last) = (area.left + width - 1, area.right - 1);
        return Err(format!("Attempting to write column: {column}, beyond the last requested column of: {last}"));
    }
    Ok(())
}

fn entered(value: &Value) -> Result<CellValue, String> {
    let Some((kind, value)) = value.as_object().and_then(|fields| fields.iter().next()) else {
        return Ok(CellValue::Empty);
    };
    Ok(match (kind.as_str(), value) {
        ("stringValue", Value::String(text)) if text.is_empty() => CellValue::Empty,
        ("stringValue", Value::String(text)) => CellValue::Text(checked_text(text)?.to_owned()),
        ("formulaValue", Value::String(text)) => CellValue::Formula(checked_text(text)?.to_owned()),
        ("numberValue", number) => CellValue::Number(number.as_f64().unwrap_or(0.0)),
        ("boolValue", Value::Bool(value)) => CellValue::Bool(*value),
        _ => return Err(format!("userEnteredValue.{kind} cannot be set.")),
    })
}

/// The text, if a cell takes it.
pub(super) fn checked_text(text: &str) -> Result<&str, String> {
    // Counted as the service counts: in UTF-16 units. Bytes are never fewer, so short texts need no counting.
    match text.len() > TEXT_LIMIT && text.encode_utf16().count() > TEXT_LIMIT {
        true => Err(format!("Your input contains more than the maximum of {TEXT_LIMIT} characters in a single cell.")),
        false => Ok(text),
    }
}

/// A number format without a type is refused; the words are a guess.
fn check_format(format: &Value) -> Result<(), String> {
    match format.get("numberFormat") {
        Some(number) if matches!(text(number, "type"), "" | "NUMBER_FORMAT_TYPE_UNSPECIFIED") => {
            Err("userEnteredFormat.numberFormat.type must be specified.".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
