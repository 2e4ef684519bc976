//! Requests about rows and columns as such.

use serde_json::Value;

use super::a1::Area;
use super::dimension::{Shift, shift};
use super::model::{Line, Sheet, Spreadsheet};
use super::ranges::check_protected;
use super::read::{self, Axis, axis, flag, index, int, span, text};
use super::requests::{mask, nothing};

/// `insertDimension`.
pub(super) fn insert(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let (id, axis, start, end) = span(book, request.get("range"))?;
    let inherit = flag(request, "inheritFromBefore");
    let sheet = read::sheet(book, id)?;
    if start > count(sheet, axis) {
        return Err(format!("range.startIndex[{start}] is after the last {} of the grid", name(axis)));
    }
    if inherit && start == 0 {
        // The documentation says that the first row or column has no neighbour to inherit from.
        return Err("Cannot inherit from before the first row or column.".to_owned());
    }
    // Refused before anything is made: a huge count must not be built first.
    let cells = match axis {
        Axis::Rows => sheet.column_count,
        Axis::Columns => sheet.row_count,
    };
    check_growth(book, (end - start).saturating_mul(cells))?;
    shift(book, id, axis, Shift::Insert { at: start, count: end - start }, inherit);
    nothing()
}

/// `appendDimension`.
pub(super) fn append(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let axis = axis(text(request, "dimension"))?;
    let more = index(request, "length")?.unwrap_or(0);
    if more == 0 {
        return Err("length must be at least 1.".to_owned());
    }
    let sheet = read::sheet(book, int(request, "sheetId"))?;
    match axis {
        Axis::Rows => sheet.row_count += more,
        Axis::Columns => sheet.column_count += more,
    }
    nothing()
}

/// `deleteDimension`.
pub(super) fn delete(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let (id, axis, start, end) = span(book, request.get("range"))?;
    let sheet = read::sheet(book, id)?;
    let (count, one) = (count(sheet, axis), name(axis));
    if end > count {
        return Err(format!(
            "Cannot delete a {one} that doesn't exist. Tried to delete {one} index {} but there are only {count} {one}s.",
            end - 1
        ));
    }
    if end - start == count {
        return Err(format!("You can't delete all the {one}s on the sheet."));
    }
    check_protected(sheet, &along(sheet, axis, start, end))?;
    shift(book, id, axis, Shift::Delete { start, end }, false);
    nothing()
}

/// `moveDimension`.
pub(super) fn relocate(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let (id, axis, start, end) = span(book, request.get("source"))?;
    let to = index(request, "destinationIndex")?.unwrap_or(0);
    let sheet = read::sheet(book, id)?;
    let count = count(sheet, axis);
    if end > count || to > count {
        return Err(format!("source or destinationIndex[{to}] is after the last {} of the grid", name(axis)));
    }
    if to > start && to < end {
        return Err("destinationIndex cannot lie inside of the source.".to_owned());
    }
    check_protected(sheet, &along(sheet, axis, start, end))?;
    shift(book, id, axis, Shift::Move { start, end, to }, false);
    nothing()
}

/// `updateDimensionProperties`: hidden and size.
pub(super) fn update(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "DimensionProperties")?;
    let (id, axis, start, end) = span(book, request.get("range"))?;
    let properties = Value::Object(read::fields(request, "properties"));
    let sheet = read::sheet(book, id)?;
    if end > count(sheet, axis) {
        return Err(format!("range.endIndex[{end}] is after the last {} of the grid", name(axis)));
    }
    for at in start..end {
        let line = line_mut(sheet, axis, at);
        if mask.names("hiddenByUser") {
            line.hidden_by_user = flag(&properties, "hiddenByUser");
        }
        if mask.names("pixelSize") {
            line.pixel_size = properties.get("pixelSize").and_then(Value::as_i64);
        }
    }
    nothing()
}

/// `autoResizeDimensions`: accepted without effect, because no width here follows its text.
pub(super) fn auto_resize(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    span(book, request.get("dimensions"))?;
    nothing()
}

/// The settings of a row or column, made if need be.
pub(super) fn line_mut(sheet: &mut Sheet, axis: Axis, at: usize) -> &mut Line {
    match axis {
        Axis::Rows => &mut sheet.row_mut(at).line,
        Axis::Columns => sheet.columns.entry(at).or_default(),
    }
}

fn check_growth(book: &Spreadsheet, more: usize) -> Result<(), String> {
    use super::model::CELL_LIMIT;
    match book.cell_count().saturating_add(more) > CELL_LIMIT {
        true => Err(format!(
            "This action would increase the number of cells in the workbook above the limit of {CELL_LIMIT} cells."
        )),
        false => Ok(()),
    }
}

fn count(sheet: &Sheet, axis: Axis) -> usize {
    match axis {
        Axis::Rows => sheet.row_count,
        Axis::Columns => sheet.column_count,
    }
}

fn name(axis: Axis) -> &'static str {
    match axis {
        Axis::Rows => "row",
        Axis::Columns => "column",
    }
}

fn along(sheet: &Sheet, axis: Axis, start: usize, end: usize) -> Area {
    match axis {
        Axis::Rows => Area { top: start, bottom: end, ..sheet.whole() },
        Axis::Columns => Area { left: start, right: end, ..sheet.whole() },
    }
}
