//! Google's tables (Format > Convert to table), as they were measured from outside.
//!
//! A row appended to the sheet lands below a full table and outside of it; a row appended to the table by its id makes
//! it grow and loses its values. Types belong to columns: a number pattern sent to one is dropped silently, a
//! validation is refused. A table grows by rows that are inserted inside of it (a guess) and by `updateTable`; an
//! update that names no last row takes in every row below. The words of refusals are guesses but for that of typed
//! columns.

use serde_json::{Map, Value, json};

use super::a1::{Area, OPEN};
use super::cells::Kept;
use super::model::{Sheet, Spreadsheet};
use super::read::{self, area, fields, grid_range, list, text};
use super::requests::{mask, nothing};

/// A table of a tab: its first row is its header.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Id of the table.
    pub id: String,
    /// Name of the table.
    pub name: String,
    /// The area covered, with the header.
    pub area: Area,
    /// Other fields as sent: columns and their types, colours.
    pub(super) rest: Map<String, Value>,
}

impl Table {
    /// True if a column of the tab has a type in this table.
    fn is_typed(&self, column: usize) -> bool {
        let typed = |one: &Value| {
            read::index(one, "columnIndex").ok().flatten().unwrap_or(0) + self.area.left == column
                && !matches!(text(one, "columnType"), "" | "COLUMN_TYPE_UNSPECIFIED")
        };
        self.rest.get("columnProperties").and_then(Value::as_array).is_some_and(|columns| columns.iter().any(typed))
    }
}

/// The part of a written format that the cell keeps; a typed column drops the number format.
pub(super) fn kept(sheet: &Sheet, row: usize, column: usize) -> Kept {
    let inside = |table: &&Table| table.area.contains(row, column) && row > table.area.top;
    match sheet.tables.iter().find(inside) {
        Some(table) if table.is_typed(column) => Kept::AllButNumberFormat,
        _ => Kept::All,
    }
}

/// Refuses a validation over a typed column, in the words that were seen.
pub(super) fn check_validation(sheet: &Sheet, area: &Area) -> Result<(), String> {
    let touches = |table: &Table| {
        let body = Area { top: table.area.top + 1, ..table.area };
        body.intersects(area) && (area.left..area.right.min(sheet.column_count)).any(|column| table.is_typed(column))
    };
    match sheet.tables.iter().any(touches) {
        true => Err("This operation is not allowed on cells in typed columns".to_owned()),
        false => Ok(()),
    }
}

/// `appendCells` with a table's id. Measured: the table grows, the values are dropped, and all is said to be well.
pub(super) fn append(book: &mut Spreadsheet, id: &str, rows: usize) -> Result<Value, String> {
    let (sheet, at) = position(book, id)?;
    let sheet = &mut book.sheets[sheet];
    let area = &mut sheet.tables[at].area;
    if area.bottom != OPEN {
        area.bottom += rows;
        sheet.row_count = sheet.row_count.max(area.bottom);
    }
    nothing()
}

/// `addTable`.
pub(super) fn add(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sent = request.get("table").ok_or("table is required.")?;
    let area = area(book, sent.get("range"))?;
    check_place(book, "", &area)?;
    let id = match text(sent, "tableId") {
        "" => book.next_id().to_string(),
        id if position(book, id).is_ok() => return Err(format!("A table with id {id} already exists.")),
        id => id.to_owned(),
    };
    let mut rest = fields(request, "table");
    ["tableId", "name", "range"].iter().for_each(|field| drop(rest.remove(*field)));
    let table = Table { id, name: text(sent, "name").to_owned(), area, rest };
    let shown = show(&table);
    read::sheet(book, area.sheet)?.tables.push(table);
    Ok(json!({ "addTable": { "table": shown } }))
}

/// `updateTable`: range, name, columns.
pub(super) fn update(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "Table")?;
    let sent = fields(request, "table");
    let id = sent.get("tableId").and_then(Value::as_str).unwrap_or("").to_owned();
    let (sheet, at) = position(book, &id)?;
    if mask.names("range") {
        let area = area(book, sent.get("range"))?;
        if area.sheet != book.sheets[sheet].id {
            return Err("A table cannot be moved to another sheet.".to_owned());
        }
        check_place(book, &id, &area)?;
        book.sheets[sheet].tables[at].area = area;
    }
    let table = &mut book.sheets[sheet].tables[at];
    if mask.names("name") {
        table.name = sent.get("name").and_then(Value::as_str).unwrap_or("").to_owned();
    }
    for field in ["columnProperties", "rowsProperties"].into_iter().filter(|field| mask.names(field)) {
        match sent.get(field) {
            Some(value) => drop(table.rest.insert(field.to_owned(), value.clone())),
            None => drop(table.rest.remove(field)),
        }
    }
    nothing()
}

/// `deleteTable`. The conditional formats over the table's range were seen to go with it; the guide says that its
/// values go, too.
pub(super) fn delete(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let (sheet, at) = position(book, text(request, "tableId"))?;
    let table = book.sheets[sheet].tables.remove(at);
    let ranges = |rule: &Value| list(rule, "ranges").iter().filter_map(|range| area(book, Some(range)).ok()).collect();
    let covered: Vec<bool> = book.sheets[sheet]
        .conditional_formats
        .iter()
        .map(|rule| {
            let ranges: Vec<Area> = ranges(rule);
            ranges.iter().any(|range| range.intersects(&table.area))
        })
        .collect();
    let sheet = &mut book.sheets[sheet];
    let mut covered = covered.into_iter();
    sheet.conditional_formats.retain(|_| !covered.next().unwrap_or(false));
    let area = table.area.within(sheet);
    for row in area.top..area.bottom.min(sheet.rows.len()) {
        for column in area.left..area.right {
            if sheet.cell(row, column).is_some() {
                sheet.cell_mut(row, column).value = super::model::CellValue::Empty;
            }
        }
    }
    nothing()
}

/// A table as the wire has it.
pub(super) fn show(table: &Table) -> Value {
    let mut shown = table.rest.clone();
    shown.insert("tableId".to_owned(), json!(table.id));
    shown.insert("name".to_owned(), json!(table.name));
    shown.insert("range".to_owned(), grid_range(&table.area));
    Value::Object(shown)
}

fn check_place(book: &Spreadsheet, own: &str, area: &Area) -> Result<(), String> {
    if area.bottom != OPEN && area.bottom < area.top + 2 {
        return Err("A table must have a header row and at least one row.".to_owned());
    }
    let others = book.sheets.iter().flat_map(|sheet| &sheet.tables).filter(|table| table.id != own);
    match others.into_iter().any(|table| table.area.intersects(area)) {
        true => Err("A table cannot overlap another table.".to_owned()),
        false => Ok(()),
    }
}

fn position(book: &Spreadsheet, id: &str) -> Result<(usize, usize), String> {
    let at = |(sheet, tab): (usize, &Sheet)| Some((sheet, tab.tables.iter().position(|table| table.id == id)?));
    book.sheets.iter().enumerate().find_map(at).ok_or_else(|| format!("No table with id: {id}"))
}

impl Spreadsheet {
    /// The owner converts an area of a tab to a table, some of its columns (counted from the tab's first) with types,
    /// and gets the table's id. Panics where Google would refuse it.
    pub fn make_table(&mut self, title: &str, area: Area, types: &[(usize, &str)]) -> String {
        let Some(sheet) = self.tab(title).map(|tab| tab.id) else { panic!("no tab with the title {title}") };
        let area = Area { sheet, ..area };
        let columns = (area.left..area.right.min(area.left + 100)).map(|at| {
            let kind = types.iter().find(|(column, _)| *column == at).map(|(_, kind)| *kind);
            let mut column = json!({ "columnIndex": at - area.left, "columnName": format!("Column {at}") });
            column["columnType"] = json!(kind.unwrap_or("COLUMN_TYPE_UNSPECIFIED"));
            column
        });
        let rest = [("columnProperties".to_owned(), columns.collect())].into_iter().collect();
        if let Err(error) = check_place(self, "", &area) {
            panic!("{error}");
        }
        let table = Table { id: self.next_id().to_string(), name: "Table1".to_owned(), area, rest };
        let id = table.id.clone();
        if let Some(tab) = self.sheet_mut(sheet) {
            tab.tables.push(table);
        }
        id
    }

    /// The owner reverts a table to a plain range.
    pub fn unmake_tables(&mut self, title: &str) {
        let Some(sheet) = self.tab(title).map(|tab| tab.id) else { panic!("no tab with the title {title}") };
        if let Some(tab) = self.sheet_mut(sheet) {
            tab.tables.clear();
        }
    }
}
