//! The basic filter of a tab, and filter views.
//!
//! A filter hides rows from everybody. A view hides and orders rows only for its viewers: the API reads and writes the
//! same with it and without. No traffic with views is recorded: they rest on the published description.

use serde_json::{Map, Value, json};

use super::a1::Area;
use super::cells::order_of;
use super::dimension::Shift;
use super::model::{FilterView, Sheet, Spreadsheet};
use super::read::{self, area, fields, grid_range, int, list, text};
use super::render::formatted;
use super::requests::{mask, nothing};

/// `setBasicFilter`. A sheet has one filter: a new one takes the place of the old.
pub(super) fn set_basic(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let filter = request.get("filter").ok_or("A filter is required.")?;
    if filter.get("tableId").is_some() {
        return Err("Tables are not simulated.".to_owned());
    }
    let area = area(book, filter.get("range"))?;
    let mut rest = fields(request, "filter");
    rest.remove("range");
    let sheet = read::sheet(book, area.sheet)?;
    // Recorded: open bounds are filled in with the grid's edges.
    sheet.filter = Some((area.within(sheet), rest));
    refresh(sheet);
    nothing()
}

/// `clearBasicFilter`.
pub(super) fn clear_basic(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sheet = read::sheet(book, int(request, "sheetId"))?;
    sheet.filter = None;
    refresh(sheet);
    nothing()
}

/// `addFilterView`. An id in use is refused, as documented; the words are a guess.
pub(super) fn add_view(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sent = fields(request, "filter");
    let id = match sent.get("filterViewId").and_then(Value::as_i64).unwrap_or(0) {
        0 => book.next_id(),
        id if views(book).any(|view| view.id == id) => {
            return Err(format!("Cannot add filter view with id: {id}, a filter view with that id already exists."));
        }
        id => id,
    };
    let area = area_of_view(book, &sent)?;
    let mut view = FilterView { id, area, rest: tidy(sent) };
    if view.title().is_empty() {
        view.rest.insert("title".to_owned(), json!(format!("Filter {}", views(book).count() + 1)));
    }
    let shown = show_view(&view);
    read::sheet(book, area.sheet)?.filter_views.push(view);
    Ok(json!({ "addFilterView": { "filter": shown } }))
}

/// `updateFilterView`.
pub(super) fn update_view(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "FilterView")?;
    let sent = fields(request, "filter");
    let id = sent.get("filterViewId").and_then(Value::as_i64).unwrap_or(0);
    let area = if mask.names("range") { Some(area_of_view(book, &sent)?) } else { None };
    let view = view_mut(book, id)?;
    if area.is_some_and(|area| area.sheet != view.area.sheet) {
        return Err("A filter view cannot be moved to another sheet.".to_owned());
    }
    view.area = area.unwrap_or(view.area);
    mask.merge(&mut view.rest, &sent);
    view.rest = tidy(std::mem::take(&mut view.rest));
    nothing()
}

/// `deleteFilterView`.
pub(super) fn delete_view(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let id = int(request, "filterId");
    view_mut(book, id)?;
    book.sheets.iter_mut().for_each(|sheet| sheet.filter_views.retain(|view| view.id != id));
    nothing()
}

/// `duplicateFilterView`.
pub(super) fn duplicate_view(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut copy = view_mut(book, int(request, "filterId"))?.clone();
    copy.id = book.next_id();
    copy.rest.insert("title".to_owned(), json!(format!("Copy of {}", copy.title())));
    let shown = show_view(&copy);
    read::sheet(book, copy.area.sheet)?.filter_views.push(copy);
    Ok(json!({ "duplicateFilterView": { "filter": shown } }))
}

/// Hides and shows rows as the filter's hidden values say. Conditions are kept but not evaluated.
pub(super) fn refresh(sheet: &mut Sheet) {
    let hiding = sheet.filter.as_ref().map(|(area, rest)| (*area, hiding(rest)));
    for row in 0..sheet.rows.len() {
        let hide = hiding.as_ref().is_some_and(|(area, hiding)| hides(sheet, area, hiding, row));
        if sheet.rows[row].line.hidden_by_filter != hide {
            sheet.row_mut(row).line.hidden_by_filter = hide;
        }
    }
}

/// The rows below a view's header that its viewer sees, in the viewer's order.
pub(super) fn seen(sheet: &Sheet, view: &FilterView) -> Vec<usize> {
    let hiding = hiding(&view.rest);
    let below = Area { top: view.area.top + 1, ..view.area }.within(sheet);
    let mut rows = order_of(sheet, &below, &sorting(&view.rest));
    rows.retain(|row| !hides(sheet, &view.area, &hiding, *row));
    rows
}

/// The columns that a filter or view sorts by, with true for descending.
pub(super) fn sorting(rest: &Map<String, Value>) -> Vec<(usize, bool)> {
    let specs = rest.get("sortSpecs").and_then(Value::as_array).into_iter().flatten();
    specs.map(|spec| (column_of(spec, "dimensionIndex"), text(spec, "sortOrder") == "DESCENDING")).collect()
}

/// Moves the settings of a filter or view along with their columns, and drops the settings of deleted columns.
pub(super) fn shift_columns(rest: &mut Map<String, Value>, shift: Shift) {
    if let Some(Value::Object(criteria)) = rest.get_mut("criteria") {
        let moved = std::mem::take(criteria).into_iter().filter_map(|(column, criteria)| {
            let after = shift.index(column.parse().ok()?)?;
            Some((after.to_string(), criteria))
        });
        *criteria = moved.collect();
    }
    for (specs, index) in [("filterSpecs", "columnIndex"), ("sortSpecs", "dimensionIndex")] {
        let Some(Value::Array(specs)) = rest.get_mut(specs) else { continue };
        specs.retain_mut(|spec| {
            let after = shift.index(column_of(spec, index));
            if let Some(after) = after {
                spec[index] = json!(after);
            }
            after.is_some()
        });
    }
}

/// The filter as the wire has it.
pub(super) fn show_basic(area: &Area, rest: &Map<String, Value>) -> Value {
    let mut shown = rest.clone();
    shown.insert("range".to_owned(), grid_range(area));
    Value::Object(shown)
}

/// A filter view as the wire has it.
pub(super) fn show_view(view: &FilterView) -> Value {
    let mut shown = view.rest.clone();
    shown.insert("filterViewId".to_owned(), json!(view.id));
    shown.insert("range".to_owned(), grid_range(&view.area));
    Value::Object(shown)
}

/// Columns with the values that are hidden in them.
fn hiding(rest: &Map<String, Value>) -> Vec<(usize, Vec<String>)> {
    let hidden = |criteria: &Value| -> Vec<String> {
        list(criteria, "hiddenValues").iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let criteria = rest.get("criteria").and_then(Value::as_object).into_iter().flatten();
    let old = criteria.filter_map(|(column, criteria)| Some((column.parse().ok()?, hidden(criteria))));
    let specs = rest.get("filterSpecs").and_then(Value::as_array).into_iter().flatten();
    let new = specs.filter_map(|spec| {
        spec.get("filterCriteria").map(|criteria| (column_of(spec, "columnIndex"), hidden(criteria)))
    });
    old.chain(new).filter(|(_, values)| !values.is_empty()).collect()
}

fn hides(sheet: &Sheet, area: &Area, hiding: &[(usize, Vec<String>)], row: usize) -> bool {
    // The first row of the area is its header.
    let inside = row > area.top && row < area.bottom;
    inside && hiding.iter().any(|(column, values)| values.contains(&formatted(sheet, row, *column)))
}

fn column_of(spec: &Value, field: &str) -> usize {
    usize::try_from(int(spec, field)).unwrap_or(0)
}

fn area_of_view(book: &Spreadsheet, sent: &Map<String, Value>) -> Result<Area, String> {
    if sent.contains_key("tableId") || sent.contains_key("namedRangeId") {
        return Err("Only filter views over a range are simulated.".to_owned());
    }
    let area = area(book, sent.get("range"))?;
    Ok(book.sheet(area.sheet).map_or(area, |sheet| area.within(sheet)))
}

/// The fields of a view beside id and range.
fn tidy(mut sent: Map<String, Value>) -> Map<String, Value> {
    ["filterViewId", "range"].iter().for_each(|field| drop(sent.remove(*field)));
    sent
}

fn views(book: &Spreadsheet) -> impl Iterator<Item = &FilterView> {
    book.sheets.iter().flat_map(|sheet| &sheet.filter_views)
}

fn view_mut(book: &mut Spreadsheet, id: i64) -> Result<&mut FilterView, String> {
    let mut views = book.sheets.iter_mut().flat_map(|sheet| &mut sheet.filter_views);
    views.find(|view| view.id == id).ok_or_else(|| format!("No filter view with id: {id}"))
}
