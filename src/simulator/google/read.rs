//! Reading checked request bodies, and writing the small messages answers are made of.

use serde_json::{Map, Value, json};

use super::a1::column_name;
use super::a1::{Area, OPEN, quote};
use super::model::{Sheet, Spreadsheet};

/// An integer field; absent counts as 0, as it does on the wire.
pub(super) fn int(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap_or(0)
}

/// An index or count that may be absent. Negative ones are refused.
pub(super) fn index(value: &Value, field: &str) -> Result<Option<usize>, String> {
    match value.get(field).and_then(Value::as_i64) {
        None => Ok(None),
        Some(number) => match usize::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{field}[{number}] must be >= 0")),
        },
    }
}

/// A text field; absent counts as empty.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

/// A flag; absent counts as false.
pub(super) fn flag(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

/// A list; absent counts as empty.
pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The fields of a message; absent counts as empty.
pub(super) fn fields(value: &Value, field: &str) -> Map<String, Value> {
    value.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The sheet a request means.
pub(super) fn sheet(book: &mut Spreadsheet, id: i64) -> Result<&mut Sheet, String> {
    book.sheet_mut(id).ok_or_else(|| format!("No grid with id: {id}"))
}

/// A `GridRange`, its bounds checked against the grid, open where the request leaves them open.
pub(super) fn area(book: &Spreadsheet, range: Option<&Value>) -> Result<Area, String> {
    let range = range.ok_or("A range is required.")?;
    let id = int(range, "sheetId");
    let sheet = book.sheet(id).ok_or_else(|| format!("No grid with id: {id}"))?;
    let area = Area {
        sheet: id,
        top: index(range, "startRowIndex")?.unwrap_or(0),
        bottom: index(range, "endRowIndex")?.unwrap_or(OPEN),
        left: index(range, "startColumnIndex")?.unwrap_or(0),
        right: index(range, "endColumnIndex")?.unwrap_or(OPEN),
    };
    if area.top >= area.bottom || area.left >= area.right {
        return Err("GridRange: a start index must be less than its end index.".to_owned());
    }
    let beyond = |bound: usize, count: usize| bound != OPEN && bound > count;
    if area.top >= sheet.row_count
        || area.left >= sheet.column_count
        || beyond(area.bottom, sheet.row_count)
        || beyond(area.right, sheet.column_count)
    {
        return Err(exceeds(sheet, &area));
    }
    Ok(area)
}

/// The sentence for an area outside the grid.
pub(super) fn exceeds(sheet: &Sheet, area: &Area) -> String {
    let first = format!("{}{}", column_name(area.left), area.top + 1);
    let bottom = if area.bottom == OPEN { sheet.row_count.max(area.top + 1) } else { area.bottom };
    let right = if area.right == OPEN { sheet.column_count.max(area.left + 1) } else { area.right };
    let last = format!("{}{bottom}", column_name(right - 1));
    let cells = if first == last { first } else { format!("{first}:{last}") };
    format!(
        "Range ({}!{cells}) exceeds grid limits. Max rows: {}, max columns: {}",
        quote(&sheet.title),
        sheet.row_count,
        sheet.column_count
    )
}

/// An area as `GridRange`. On the wire, sheet 0 was seen to be left out and a start of 0 to be printed.
pub(super) fn grid_range(area: &Area) -> Value {
    let mut range = Map::new();
    if area.sheet != 0 {
        range.insert("sheetId".to_owned(), json!(area.sheet));
    }
    // An area whose cells were all deleted keeps its sheet only.
    if area.top < area.bottom && area.left < area.right {
        if (area.top, area.bottom) != (0, OPEN) {
            range.insert("startRowIndex".to_owned(), json!(area.top));
        }
        if area.bottom != OPEN {
            range.insert("endRowIndex".to_owned(), json!(area.bottom));
        }
        if (area.left, area.right) != (0, OPEN) {
            range.insert("startColumnIndex".to_owned(), json!(area.left));
        }
        if area.right != OPEN {
            range.insert("endColumnIndex".to_owned(), json!(area.right));
        }
    }
    Value::Object(range)
}

/// Rows or columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Rows.
    Rows,
    /// Columns.
    Columns,
}

/// Rows or columns by the name of the enum.
pub(super) fn axis(name: &str) -> Result<Axis, String> {
    match name {
        "ROWS" => Ok(Axis::Rows),
        "COLUMNS" => Ok(Axis::Columns),
        _ => Err("Unsupported or unspecified dimension.".to_owned()),
    }
}

/// A `DimensionRange`: sheet, axis, start, end. Absent bounds are the grid's edges.
pub(super) fn span(book: &Spreadsheet, range: Option<&Value>) -> Result<(i64, Axis, usize, usize), String> {
    let range = range.ok_or("A dimension range is required.")?;
    let id = int(range, "sheetId");
    let sheet = book.sheet(id).ok_or_else(|| format!("No grid with id: {id}"))?;
    let axis = axis(text(range, "dimension"))?;
    let count = match axis {
        Axis::Rows => sheet.row_count,
        Axis::Columns => sheet.column_count,
    };
    let start = index(range, "startIndex")?.unwrap_or(0);
    let end = index(range, "endIndex")?.unwrap_or(count.max(start + 1));
    if start >= end {
        return Err(format!("range.startIndex[{start}] must be less than range.endIndex[{end}]"));
    }
    Ok((id, axis, start, end))
}

/// A colour as the service keeps it: 32-bit components, zero ones dropped. Applied to every colour inside.
pub(super) fn tidy_colours(value: &mut Value) {
    let Value::Object(map) = value else {
        if let Value::Array(items) = value {
            items.iter_mut().for_each(tidy_colours);
        }
        return;
    };
    for (key, inner) in map.iter_mut() {
        if (key.ends_with("olor"))
            && let Value::Object(parts) = inner
        {
            parts.retain(|_, part| part.as_f64() != Some(0.0));
            for part in parts.values_mut() {
                let short = part.as_f64().and_then(|number| (number as f32).to_string().parse().ok());
                if let Some(number) = short {
                    *part = super::number(number);
                }
            }
        }
        tidy_colours(inner);
    }
}
