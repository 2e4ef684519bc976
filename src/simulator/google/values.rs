//! The `values` methods: whole rows of plain values, read and written by range.

use serde_json::{Value, json};

use super::a1::{self, Area, show};
use super::cells::checked_text;
use super::dimension::{Shift, shift};
use super::formula;
use super::metadata;
use super::model::{CellValue, Sheet, Spreadsheet};
use super::ranges::check_protected;
use super::read::{self, Axis, flag, list, text};
use super::refusal::Refusal;
use super::render::{formatted, is_date};
use super::shown;

/// The form in which values are read: as shown, as they are, or as formulas; dates as text or as numbers; by rows or by
/// columns.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    render: &'a str,
    dates: &'a str,
    columns: bool,
}

impl<'a> Reading<'a> {
    /// The reading that a request's options mean.
    pub fn new(render: &'a str, dates: &'a str, dimension: &str) -> Reading<'a> {
        Reading { render, dates, columns: dimension == "COLUMNS" }
    }
}

/// `values.get`, and each part of the batch forms.
pub(super) fn value_range(sheet: &Sheet, area: &Area, reading: Reading<'_>) -> Value {
    let mut rows: Vec<Vec<Value>> = (area.top..area.bottom.min(sheet.rows.len()))
        .map(|row| {
            let width = sheet.rows[row].cells.len().min(area.right);
            (area.left..width).map(|column| one(sheet, row, column, reading)).collect()
        })
        .collect();
    if reading.columns {
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let turned =
            |column: usize| rows.iter().map(|row| row.get(column).cloned().unwrap_or_else(|| json!(""))).collect();
        rows = (0..width).map(turned).collect();
    }
    let blank = |value: &Value| value.as_str() == Some("");
    for row in &mut rows {
        row.truncate(row.iter().rposition(|value| !blank(value)).map_or(0, |last| last + 1));
    }
    rows.truncate(rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
    let dimension = if reading.columns { "COLUMNS" } else { "ROWS" };
    let mut shown = json!({ "range": show(&sheet.title, area), "majorDimension": dimension });
    if !rows.is_empty() {
        shown["values"] = json!(rows);
    }
    shown
}

fn one(sheet: &Sheet, row: usize, column: usize, reading: Reading<'_>) -> Value {
    if reading.render == "FORMULA"
        && let CellValue::Formula(formula) = sheet.value(row, column)
    {
        return json!(formula);
    }
    match formula::value_at(sheet, row, column) {
        CellValue::Empty => json!(""),
        _ if !matches!(reading.render, "UNFORMATTED_VALUE" | "FORMULA") => json!(formatted(sheet, row, column)),
        CellValue::Number(_) if reading.dates == "FORMATTED_STRING" && is_date(sheet, row, column) => {
            json!(formatted(sheet, row, column))
        }
        CellValue::Number(number) => super::number(number),
        CellValue::Text(text) | CellValue::Formula(text) => json!(text),
        CellValue::Bool(value) => json!(value),
    }
}

/// `values.batchGet`.
pub(super) fn batch_get(book: &Spreadsheet, ranges: &[&str], reading: Reading<'_>) -> Result<Value, Refusal> {
    let mut found = Vec::new();
    for range in ranges {
        let (sheet, area) = a1::parse(book, range)?;
        found.push(value_range(sheet, &area, reading));
    }
    Ok(json!({ "spreadsheetId": book.id, "valueRanges": found }))
}

/// `values.batchGetByDataFilter`.
pub(super) fn batch_get_by_filter(book: &Spreadsheet, body: &Value) -> Result<Value, Refusal> {
    let reading =
        Reading::new(text(body, "valueRenderOption"), text(body, "dateTimeRenderOption"), text(body, "majorDimension"));
    let mut found: Vec<(Area, Vec<Value>)> = Vec::new();
    for filter in list(body, "dataFilters") {
        for area in metadata::areas(book, filter)? {
            match found.iter_mut().find(|(known, _)| *known == area) {
                Some((_, filters)) => filters.push(filter.clone()),
                None => found.push((area, vec![filter.clone()])),
            }
        }
    }
    let mut shown = json!({ "spreadsheetId": book.id });
    let ranges: Vec<Value> = found
        .iter()
        .filter_map(|(area, filters)| {
            let values = value_range(book.sheet(area.sheet)?, area, reading);
            Some(json!({ "valueRange": values, "dataFilters": filters }))
        })
        .collect();
    if !ranges.is_empty() {
        shown["valueRanges"] = json!(ranges);
    }
    Ok(shown)
}

/// The form in which values are written, and the answer's form.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    /// `RAW` or `USER_ENTERED`; anything else is refused.
    pub input: &'a str,
    /// True if the answer repeats the values.
    pub repeat: bool,
    /// The form of the values in the answer.
    pub reading: Reading<'a>,
}

/// `values.update`: the written range, as `UpdateValuesResponse`.
pub(super) fn update(
    book: &mut Spreadsheet,
    range: &str,
    body: &Value,
    writing: Writing<'_>,
) -> Result<Value, Refusal> {
    let (sheet, area) = a1::parse(book, range)?;
    if let Some(named) = body.get("range").and_then(Value::as_str)
        && a1::parse(book, named)? != (sheet, area)
    {
        return Err(format!("Requested range {range} does not match the range of the values: {named}").into());
    }
    let single = area.bottom - area.top == 1 && area.right - area.left == 1;
    let (wrote, cells) = write(book, area, single, body, writing.input)?;
    answer(book, &wrote, cells, writing)
}

/// `values.batchUpdate`: the whole batch or none of it.
pub(super) fn batch_update(book: &Spreadsheet, body: &Value) -> Result<(Spreadsheet, Value), Refusal> {
    let mut copy = book.clone();
    let writing = batch_writing(body);
    let mut total = Totals::default();
    let mut responses = Vec::new();
    for (index, data) in list(body, "data").iter().enumerate() {
        let place = format!("data[{index}]");
        let part = update(&mut copy, text(data, "range"), data, writing);
        let mut part = part.map_err(|refusal| refusal.within(&place))?;
        let wrote = a1::parse(&copy, text(&part, "updatedRange")).map(|(_, area)| area);
        total.add(wrote.ok(), &part);
        if let Some(part) = part.as_object_mut() {
            part.retain(|_, value| value.as_u64() != Some(0));
        }
        responses.push(part);
    }
    let shown = total.show(&copy.id, responses);
    Ok((copy, shown))
}

/// `values.batchUpdateByDataFilter`: the whole batch or none of it.
pub(super) fn batch_update_by_filter(book: &Spreadsheet, body: &Value) -> Result<(Spreadsheet, Value), Refusal> {
    let mut copy = book.clone();
    let writing = batch_writing(body);
    let mut total = Totals::default();
    let mut responses = Vec::new();
    for (index, data) in list(body, "data").iter().enumerate() {
        let place = format!("data[{index}]");
        let filter = data.get("dataFilter").cloned().unwrap_or_else(|| json!({}));
        let areas = metadata::areas(&copy, &filter).map_err(|message| Refusal::invalid(message).within(&place))?;
        for area in areas {
            let (wrote, cells) = write(&mut copy, area, false, data, writing.input)
                .map_err(|message| Refusal::invalid(message).within(&place))?;
            let mut part = answer(&copy, &wrote, cells, writing)?;
            total.add(Some(wrote), &part);
            part["dataFilter"] = filter.clone();
            if let Some(part) = part.as_object_mut() {
                part.remove("spreadsheetId");
            }
            responses.push(part);
        }
    }
    let shown = total.show(&copy.id, responses);
    Ok((copy, shown))
}

/// `values.append`: below the last table found in the range, from that table's first column.
pub(super) fn append(
    book: &mut Spreadsheet,
    range: &str,
    insert: bool,
    body: &Value,
    writing: Writing<'_>,
) -> Result<Value, Refusal> {
    let (sheet, area) = a1::parse(book, range)?;
    let id = sheet.id;
    let table = last_table(sheet, &area);
    let (top, left) = table.map_or((area.top, area.left), |table| (table.bottom, table.left));
    let title = sheet.title.clone();
    let columns = text(body, "majorDimension") == "COLUMNS";
    let (height, width) = extent(list(body, "values"), columns);
    let width_limit = sheet.column_count;
    if left + width > width_limit {
        let target = Area { sheet: id, top, bottom: top + height.max(1), left, right: left + width };
        return Err(read::exceeds(sheet, &target).into());
    }
    let below = sheet.rows.len() > top;
    if insert && table.is_some() && below {
        shift(book, id, Axis::Rows, Shift::Insert { at: top, count: height }, true);
    }
    let sheet = read::sheet(book, id)?;
    sheet.row_count = sheet.row_count.max(top + height);
    let target = Area { sheet: id, top, bottom: top + height.max(1), left, right: width_limit };
    book.check_size()?;
    let (wrote, cells) = write(book, target, true, body, writing.input)?;
    let mut shown = json!({ "spreadsheetId": book.id, "updates": answer(book, &wrote, cells, writing)? });
    if let Some(table) = table {
        shown["tableRange"] = json!(show(&title, &table));
    }
    Ok(shown)
}

/// Empties an area; formats and notes stay.
pub(super) fn clear(book: &mut Spreadsheet, area: Area) -> Result<String, Refusal> {
    let sheet = read::sheet(book, area.sheet)?;
    check_protected(sheet, &area)?;
    for row in area.top..area.bottom.min(sheet.rows.len()) {
        for column in area.left..area.right.min(sheet.rows[row].cells.len()) {
            sheet.cell_mut(row, column).value = CellValue::Empty;
        }
    }
    super::filters::refresh(sheet);
    Ok(show(&sheet.title, &area))
}

#[derive(Default)]
struct Totals {
    rows: std::collections::BTreeSet<(i64, usize)>,
    columns: std::collections::BTreeSet<(i64, usize)>,
    sheets: std::collections::BTreeSet<i64>,
    cells: u64,
}

impl Totals {
    fn add(&mut self, area: Option<Area>, part: &Value) {
        let Some(area) = area else { return };
        self.sheets.insert(area.sheet);
        self.rows.extend((area.top..area.bottom).map(|row| (area.sheet, row)));
        self.columns.extend((area.left..area.right).map(|column| (area.sheet, column)));
        self.cells += part.get("updatedCells").and_then(Value::as_u64).unwrap_or(0);
    }

    fn show(&self, id: &str, responses: Vec<Value>) -> Value {
        let mut shown = json!({ "spreadsheetId": id, "responses": responses });
        for (name, count) in [
            ("totalUpdatedRows", self.rows.len() as u64),
            ("totalUpdatedColumns", self.columns.len() as u64),
            ("totalUpdatedCells", self.cells),
            ("totalUpdatedSheets", self.sheets.len() as u64),
        ] {
            if count > 0 {
                shown[name] = json!(count);
            }
        }
        shown
    }
}

fn batch_writing(body: &Value) -> Writing<'_> {
    Writing {
        input: text(body, "valueInputOption"),
        repeat: flag(body, "includeValuesInResponse"),
        reading: Reading::new(text(body, "responseValueRenderOption"), text(body, "responseDateTimeRenderOption"), ""),
    }
}

fn answer(book: &Spreadsheet, wrote: &Area, cells: usize, writing: Writing<'_>) -> Result<Value, Refusal> {
    let sheet = book.sheet(wrote.sheet).ok_or_else(Refusal::not_found)?;
    let mut shown = json!({ "spreadsheetId": book.id, "updatedRange": show(&sheet.title, wrote) });
    if cells > 0 {
        shown["updatedRows"] = json!(wrote.bottom - wrote.top);
        shown["updatedColumns"] = json!(wrote.right - wrote.left);
        shown["updatedCells"] = json!(cells);
    }
    if writing.repeat {
        shown["updatedData"] = value_range(sheet, wrote, writing.reading);
    }
    Ok(shown)
}

/// Rows and columns that values take.
fn extent(values: &[Value], columns: bool) -> (usize, usize) {
    let longest = values.iter().filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
    if columns { (longest, values.len()) } else { (values.len(), longest) }
}

/// Writes values from an area's first cell: the area written and how many cells. An `anchor` may be written past.
fn write(book: &mut Spreadsheet, area: Area, anchor: bool, body: &Value, input: &str) -> Result<(Area, usize), String> {
    let entered = match input {
        "RAW" => false,
        "USER_ENTERED" => true,
        _ => return Err("'valueInputOption' is required but not specified".to_owned()),
    };
    let values = list(body, "values");
    let columns = text(body, "majorDimension") == "COLUMNS";
    let (height, width) = extent(values, columns);
    let sheet = read::sheet(book, area.sheet)?;
    let reach = Area { bottom: area.top + height.max(1), right: area.left + width.max(1), ..area };
    let asked = show(&sheet.title, &area);
    if !anchor && reach.bottom > area.bottom {
        return Err(format!(
            "Requested writing within range [{asked}], but tried writing to row [{}]",
            area.bottom + 1
        ));
    }
    if !anchor && reach.right > area.right {
        let column = a1::column_name(area.right);
        return Err(format!("Requested writing within range [{asked}], but tried writing to column [{column}]"));
    }
    if reach.bottom > sheet.row_count || reach.right > sheet.column_count {
        return Err(read::exceeds(sheet, &reach));
    }
    check_protected(sheet, &reach)?;
    let mut written = 0;
    for (major, line) in values.iter().enumerate() {
        for (minor, value) in line.as_array().into_iter().flatten().enumerate() {
            let (row, column) = if columns { (minor, major) } else { (major, minor) };
            written += usize::from(
                put(sheet, area.top + row, area.left + column, value, entered)
                    .map_err(|message| format!("Invalid values[{major}][{minor}]: {message}"))?,
            );
        }
    }
    super::filters::refresh(sheet);
    Ok((reach, written))
}

/// Writes one value; null leaves the cell alone.
fn put(sheet: &mut Sheet, row: usize, column: usize, value: &Value, entered: bool) -> Result<bool, String> {
    let (value, format) = match value {
        Value::Null => return Ok(false),
        Value::Bool(value) => (CellValue::Bool(*value), None),
        Value::Number(number) => (CellValue::Number(number.as_f64().unwrap_or(0.0)), None),
        Value::String(text) if text.is_empty() => (CellValue::Empty, None),
        Value::String(text) if entered => shown::typed(checked_text(text)?),
        Value::String(text) => (CellValue::Text(checked_text(text)?.to_owned()), None),
        Value::Array(_) => return Err("list_value".to_owned()),
        Value::Object(_) => return Err("struct_value".to_owned()),
    };
    let cell = sheet.cell_mut(row, column);
    cell.value = value;
    if let Some(format) = format
        && cell.number_format().is_none()
    {
        cell.set_number_format(format);
    }
    Ok(true)
}

/// The last table that touches the area: a block of filled cells with blank ones all around. Recorded: of two in one
/// row the right one counts as last.
fn last_table(sheet: &Sheet, area: &Area) -> Option<Area> {
    let filled = |row: usize, column: usize| *sheet.value(row, column) != CellValue::Empty;
    let bottom = area.bottom.min(sheet.rows.len());
    let last = (area.top..bottom).rev().find_map(|row| {
        let width = sheet.rows[row].cells.len().min(area.right);
        (area.left..width).rev().find(|column| filled(row, *column)).map(|column| (row, column))
    });
    let (row, column) = last?;
    let mut table = Area { sheet: sheet.id, top: row, bottom: row + 1, left: column, right: column + 1 };
    loop {
        let before = table;
        let mut columns = table.left.saturating_sub(1)..(table.right + 1).min(sheet.column_count);
        let touches =
            |row: usize, columns: &mut std::ops::Range<usize>| columns.clone().any(|column| filled(row, column));
        if table.top > 0 && touches(table.top - 1, &mut columns) {
            table.top -= 1;
        }
        if touches(table.bottom, &mut columns) {
            table.bottom += 1;
        }
        let mut rows = table.top.saturating_sub(1)..table.bottom + 1;
        if table.left > 0 && rows.clone().any(|row| filled(row, table.left - 1)) {
            table.left -= 1;
        }
        if rows.any(|row| filled(row, table.right)) {
            table.right += 1;
        }
        if table == before {
            return Some(table);
        }
    }
}
