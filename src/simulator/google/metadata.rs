//! Developer metadata: create, update, delete, and the filters that find it.

use serde_json::{Value, json};

use super::a1::{self, Area};
use super::mask::Mask;
use super::model::{Location, Metadata, Spreadsheet};
use super::read::{Axis, area, flag, int, list, span, text};

/// Characters of key and value together that one sheet, or the spreadsheet itself, holds. Inferred from the one place
/// where a real service was seen to refuse.
const STORAGE_LIMIT: usize = 30_000;

/// `createDeveloperMetadata`.
pub(super) fn create(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sent = request.get("developerMetadata").ok_or("developerMetadata is required.")?;
    if text(sent, "metadataKey").is_empty() {
        return Err("developerMetadata.metadataKey must be specified.".to_owned());
    }
    let visibility = visibility(sent)?;
    let location = location(book, sent.get("location"))?;
    let id = match int(sent, "metadataId") {
        0 => book.next_id(),
        id if id < 0 => return Err(format!("developerMetadata.metadataId[{id}] must be > 0")),
        id => id,
    };
    // The documentation says that an id is unique; the words of the refusal are a guess.
    if book.metadata.iter().any(|entry| entry.id == id) {
        return Err(format!("Developer metadata with id {id} already exists."));
    }
    let value = sent.get("metadataValue").and_then(Value::as_str).map(str::to_owned);
    let entry = Metadata { id, key: text(sent, "metadataKey").to_owned(), value, location, visibility };
    let shown = show(&entry);
    book.metadata.push(entry);
    check_storage(book)?;
    Ok(json!({ "createDeveloperMetadata": { "developerMetadata": shown } }))
}

/// `updateDeveloperMetadata`. Real behaviour of a filter without matches is unknown; here such a filter is no error,
/// because a client must not be harmed by that reading.
pub(super) fn update(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = super::requests::mask(request, "DeveloperMetadata")?;
    let sent = request.get("developerMetadata").cloned().unwrap_or_else(|| json!({}));
    let found = matches(book, filters(request)?)?;
    let place = if mask.names("location") { Some(location(book, sent.get("location"))?) } else { None };
    for entry in book.metadata.iter_mut().filter(|entry| found.contains(&entry.id)) {
        if mask.names("metadataKey") {
            entry.key = text(&sent, "metadataKey").to_owned();
        }
        if mask.names("metadataValue") {
            entry.value = sent.get("metadataValue").and_then(Value::as_str).map(str::to_owned);
        }
        if mask.below("visibility") == Some(&Mask::All) && sent.get("visibility").is_some() {
            entry.visibility = visibility(&sent)?;
        }
        if let Some(place) = place {
            entry.location = place;
        }
    }
    check_storage(book)?;
    Ok(json!({ "updateDeveloperMetadata": shown_list(book, &found) }))
}

/// `deleteDeveloperMetadata`.
pub(super) fn delete(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let filter = request.get("dataFilter").ok_or("dataFilter is required.")?;
    let found = matches(book, std::slice::from_ref(filter))?;
    let shown: Vec<Value> = book.metadata.iter().filter(|entry| found.contains(&entry.id)).map(show).collect();
    book.metadata.retain(|entry| !found.contains(&entry.id));
    let deleted = if shown.is_empty() { json!({}) } else { json!({ "deletedDeveloperMetadata": shown }) };
    Ok(json!({ "deleteDeveloperMetadata": deleted }))
}

/// An entry as `DeveloperMetadata`.
pub(super) fn show(entry: &Metadata) -> Value {
    let along = |sheet: i64, dimension: &str, index: usize| {
        let mut range = json!({ "dimension": dimension, "startIndex": index, "endIndex": index + 1 });
        if sheet != 0 {
            range["sheetId"] = json!(sheet);
        }
        range
    };
    let location = match entry.location {
        Location::Spreadsheet => json!({ "locationType": "SPREADSHEET", "spreadsheet": true }),
        Location::Sheet(id) => json!({ "locationType": "SHEET", "sheetId": id }),
        Location::Row(id, row) => json!({ "locationType": "ROW", "dimensionRange": along(id, "ROWS", row) }),
        Location::Column(id, column) => {
            json!({ "locationType": "COLUMN", "dimensionRange": along(id, "COLUMNS", column) })
        }
    };
    let mut shown = json!({
        "metadataId": entry.id,
        "metadataKey": entry.key,
        "location": location,
        "visibility": entry.visibility,
    });
    if let Some(value) = &entry.value {
        shown["metadataValue"] = json!(value);
    }
    shown
}

/// The body of `developerMetadata:search`. Recorded answers are not in row order; here the newest entry comes first.
pub(super) fn search(book: &Spreadsheet, request: &Value) -> Result<Value, String> {
    let filters = filters(request)?;
    let mut found = Vec::new();
    for entry in book.metadata.iter().rev() {
        let mut by = Vec::new();
        for filter in filters {
            if matches_one(book, entry, filter)? {
                by.push(filter.clone());
            }
        }
        if !by.is_empty() {
            found.push(json!({ "developerMetadata": show(entry), "dataFilters": by }));
        }
    }
    Ok(if found.is_empty() { json!({}) } else { json!({ "matchedDeveloperMetadata": found }) })
}

/// The areas a filter selects, for the methods that read and write through filters.
pub(super) fn areas(book: &Spreadsheet, filter: &Value) -> Result<Vec<Area>, String> {
    if let Some(range) = filter.get("a1Range").and_then(Value::as_str) {
        return Ok(vec![a1::parse(book, range)?.1]);
    }
    if let Some(range) = filter.get("gridRange") {
        let area = area(book, Some(range))?;
        return Ok(book.sheet(area.sheet).map(|sheet| area.within(sheet)).into_iter().collect());
    }
    let mut areas = Vec::new();
    for entry in &book.metadata {
        if matches_one(book, entry, filter)? {
            areas.extend(covered(book, entry.location));
        }
    }
    Ok(areas)
}

fn filters(request: &Value) -> Result<&[Value], String> {
    match list(request, "dataFilters") {
        [] => Err("Must specify at least one dataFilter.".to_owned()),
        filters => Ok(filters),
    }
}

fn matches(book: &Spreadsheet, filters: &[Value]) -> Result<Vec<i64>, String> {
    let mut found = Vec::new();
    for entry in &book.metadata {
        for filter in filters {
            if matches_one(book, entry, filter)? {
                found.push(entry.id);
                break;
            }
        }
    }
    Ok(found)
}

fn matches_one(book: &Spreadsheet, entry: &Metadata, filter: &Value) -> Result<bool, String> {
    let Some(lookup) = filter.get("developerMetadataLookup") else {
        if filter.get("a1Range").is_none() && filter.get("gridRange").is_none() {
            return Err("A dataFilter must have a filter set.".to_owned());
        }
        let areas = areas(book, filter)?;
        let covered = covered(book, entry.location);
        return Ok(covered.is_some_and(|covered| areas.iter().any(|area| area.intersects(&covered))));
    };
    let (kind, sheet) = match entry.location {
        Location::Spreadsheet => ("SPREADSHEET", None),
        Location::Sheet(id) => ("SHEET", Some(id)),
        Location::Row(id, _) => ("ROW", Some(id)),
        Location::Column(id, _) => ("COLUMN", Some(id)),
    };
    let same = |field: &str, found: &str| lookup.get(field).is_none_or(|wanted| wanted.as_str() == Some(found));
    if !(same("metadataKey", &entry.key)
        && same("visibility", &entry.visibility)
        && same("locationType", kind)
        && same("metadataValue", entry.value.as_deref().unwrap_or(""))
        && lookup.get("metadataId").is_none_or(|wanted| wanted.as_i64() == Some(entry.id)))
    {
        return Ok(false);
    }
    let Some(wanted) = lookup.get("metadataLocation") else { return Ok(true) };
    let wanted = location(book, Some(wanted))?;
    // INTERSECTING is the default for lookups by location that do not say.
    if text(lookup, "locationMatchingStrategy") == "EXACT_LOCATION" {
        return Ok(wanted == entry.location);
    }
    Ok(match wanted {
        Location::Spreadsheet => true,
        Location::Sheet(id) => sheet == Some(id),
        place => match (covered(book, place), covered(book, entry.location)) {
            (Some(a), Some(b)) => a.intersects(&b),
            _ => false,
        },
    })
}

fn covered(book: &Spreadsheet, location: Location) -> Option<Area> {
    let whole = book.sheet(location.sheet()?)?.whole();
    Some(match location {
        Location::Row(_, row) => Area { top: row, bottom: row + 1, ..whole },
        Location::Column(_, column) => Area { left: column, right: column + 1, ..whole },
        Location::Spreadsheet | Location::Sheet(_) => whole,
    })
}

fn location(book: &Spreadsheet, sent: Option<&Value>) -> Result<Location, String> {
    let sent = sent.ok_or("developerMetadata.location must be specified.")?;
    if flag(sent, "spreadsheet") {
        return Ok(Location::Spreadsheet);
    }
    if sent.get("dimensionRange").is_some() {
        let (sheet, axis, start, end) = span(book, sent.get("dimensionRange"))?;
        if end != start + 1 {
            return Err("developerMetadata.location.dimensionRange must span exactly one row or column.".to_owned());
        }
        return Ok(match axis {
            Axis::Rows => Location::Row(sheet, start),
            Axis::Columns => Location::Column(sheet, start),
        });
    }
    let id = sent.get("sheetId").and_then(Value::as_i64).ok_or("developerMetadata.location must be specified.")?;
    match book.sheet(id) {
        Some(_) => Ok(Location::Sheet(id)),
        None => Err(format!("No grid with id: {id}")),
    }
}

fn visibility(sent: &Value) -> Result<String, String> {
    match text(sent, "visibility") {
        known @ ("DOCUMENT" | "PROJECT") => Ok(known.to_owned()),
        _ => Err("developerMetadata.visibility must be specified.".to_owned()),
    }
}

fn shown_list(book: &Spreadsheet, found: &[i64]) -> Value {
    let shown: Vec<Value> = book.metadata.iter().filter(|entry| found.contains(&entry.id)).map(show).collect();
    if shown.is_empty() { json!({}) } else { json!({ "developerMetadata": shown }) }
}

fn check_storage(book: &Spreadsheet) -> Result<(), String> {
    let places = std::iter::once(None).chain(book.sheets.iter().map(|sheet| Some(sheet.id)));
    for place in places {
        let here = book.metadata.iter().filter(|entry| entry.location.sheet() == place);
        let size = |text: &str| text.encode_utf16().count();
        let used: usize = here.map(|entry| size(&entry.key) + entry.value.as_deref().map_or(0, size)).sum();
        if used > STORAGE_LIMIT {
            return Err("Adding the requested developer metadata would exceed the allowed storage limit.".to_owned());
        }
    }
    Ok(())
}
