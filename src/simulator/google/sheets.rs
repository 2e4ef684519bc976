//! Requests about tabs and the spreadsheet as a whole.

use serde_json::{Map, Value, json};

use super::a1::Area;
use super::model::{Location, Sheet, Spreadsheet};
use super::read::{fields, index, int, text, tidy_colours};
use super::render;
use super::requests::{mask, nothing};

/// `addSheet`.
pub(super) fn add(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sent = request.get("properties").cloned().unwrap_or_else(|| json!({}));
    let sheet = build(book, &sent)?;
    let at = index(&sent, "index")?.unwrap_or(book.sheets.len());
    if at > book.sheets.len() {
        return Err(format!("Invalid index: {at}. There are only {} sheets.", book.sheets.len()));
    }
    book.sheets.insert(at, sheet);
    Ok(json!({ "addSheet": { "properties": render::sheet_properties(&book.sheets[at], at) } }))
}

/// A sheet from `SheetProperties`, checked against those that exist.
pub(super) fn build(book: &mut Spreadsheet, sent: &Value) -> Result<Sheet, String> {
    if !matches!(text(sent, "sheetType"), "" | "GRID") {
        return Err("Only sheets of type GRID are simulated.".to_owned());
    }
    let id = match sent.get("sheetId").and_then(Value::as_i64) {
        Some(id) if id < 0 => return Err(format!("Invalid sheet id: {id}")),
        // The words are a guess; that an id in use is refused was seen.
        Some(id) if book.sheet(id).is_some() => {
            return Err(format!("Sheet with id: {id} already exists. Please use a different id."));
        }
        Some(id) => id,
        None => book.next_id(),
    };
    let title = match text(sent, "title") {
        "" => fresh_title(book),
        title => title.to_owned(),
    };
    check_title(book, &title, None)?;
    let mut sheet = Sheet::new(id, &title, 1000, 26);
    let everything = super::mask::Mask::Some(
        ["gridProperties", "hidden", "tabColor", "tabColorStyle", "rightToLeft"]
            .iter()
            .filter(|field| sent.get(**field).is_some())
            .map(|field| ((*field).to_owned(), super::mask::Mask::All))
            .collect(),
    );
    set_properties(&mut sheet, sent, &everything)?;
    Ok(sheet)
}

/// `deleteSheet`.
pub(super) fn delete(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let id = int(request, "sheetId");
    let at = book.sheets.iter().position(|sheet| sheet.id == id).ok_or_else(|| format!("No sheet with id: {id}"))?;
    if !book.sheets.iter().any(|sheet| sheet.id != id && !sheet.hidden) {
        return Err("You can't remove all the visible sheets in a document.".to_owned());
    }
    book.sheets.remove(at);
    // The documentation says so for metadata. The removal of names is the reading that is hardest on a client.
    book.metadata.retain(|entry| entry.location.sheet() != Some(id));
    book.named_ranges.retain(|range| range.area.sheet != id);
    nothing()
}

/// `updateSheetProperties`.
pub(super) fn update(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "SheetProperties")?;
    let sent = request.get("properties").cloned().unwrap_or_else(|| json!({}));
    let id = int(&sent, "sheetId");
    let at = book.sheets.iter().position(|sheet| sheet.id == id).ok_or_else(|| format!("No sheet with id: {id}"))?;
    let named =
        |field: &str| mask.below(field).is_some() && (mask != super::mask::Mask::All || sent.get(field).is_some());
    if named("title") {
        let title = text(&sent, "title").to_owned();
        check_title(book, &title, Some(id))?;
        book.sheets[at].title = title;
    }
    set_properties(&mut book.sheets[at], &sent, &mask)?;
    forget_outside(book, at);
    if book.sheets.iter().all(|sheet| sheet.hidden) {
        return Err("You can't hide all the sheets in a document.".to_owned());
    }
    if named("index") {
        let to = index(&sent, "index")?.unwrap_or(0);
        if to > book.sheets.len() {
            return Err(format!("Invalid index: {to}. There are only {} sheets.", book.sheets.len()));
        }
        // The index is counted before the tab is taken out.
        let sheet = book.sheets.remove(at);
        book.sheets.insert(if to > at { to - 1 } else { to }, sheet);
    }
    nothing()
}

/// Removes the objects on rows and columns that a shrunken grid has lost.
fn forget_outside(book: &mut Spreadsheet, at: usize) {
    let sheet = &mut book.sheets[at];
    let (id, rows, columns) = (sheet.id, sheet.row_count, sheet.column_count);
    let areas = sheet.filter.iter_mut().map(|(area, _)| area);
    for area in areas.chain(sheet.filter_views.iter_mut().map(|view| &mut view.area)) {
        (area.bottom, area.right) = (area.bottom.min(rows), area.right.min(columns));
    }
    let gone = |area: &Area| area.top >= area.bottom || area.left >= area.right;
    sheet.filter.take_if(|(area, _)| gone(area));
    sheet.filter_views.retain(|view| !gone(&view.area));
    sheet.merges.retain(|area| area.bottom <= rows && area.right <= columns);
    book.metadata.retain(|entry| match entry.location {
        Location::Row(sheet, row) => sheet != id || row < rows,
        Location::Column(sheet, column) => sheet != id || column < columns,
        Location::Spreadsheet | Location::Sheet(_) => true,
    });
}

/// `updateSpreadsheetProperties`.
pub(super) fn update_spreadsheet(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "SpreadsheetProperties")?;
    let sent = fields(request, "properties");
    let known = |field: &str| mask.below(field).and_then(|_| sent.get(field)).and_then(Value::as_str);
    if let Some(locale) = known("locale") {
        let shaped = locale.len() == 2 || (locale.len() == 5 && locale.as_bytes().get(2) == Some(&b'_'));
        if !shaped {
            return Err(format!("Unsupported locale: {locale}"));
        }
        book.locale = locale.to_owned();
    }
    if let Some(zone) = known("timeZone") {
        // Zones of the database, and the custom form the documentation allows.
        if zone.parse::<chrono_tz::Tz>().is_err() && !zone.starts_with("GMT") {
            return Err(format!("Invalid time zone: {zone}"));
        }
        book.time_zone = zone.to_owned();
    }
    if let Some(title) = known("title") {
        book.title = title.to_owned();
    }
    mask.merge(&mut book.properties, &sent);
    ["locale", "timeZone", "title"].iter().for_each(|field| {
        book.properties.remove(*field);
    });
    nothing()
}

fn set_properties(sheet: &mut Sheet, sent: &Value, mask: &super::mask::Mask) -> Result<(), String> {
    if let Some(grid_mask) = mask.below("gridProperties") {
        let grid = sent.get("gridProperties").cloned().unwrap_or_else(|| json!({}));
        let count = |field: &str, now: usize| match grid_mask.below(field).and(index(&grid, field).transpose()) {
            None => Ok(now),
            Some(Ok(0)) => Err(format!("Invalid gridProperties: {field} must be at least 1.")),
            Some(count) => count,
        };
        (sheet.row_count, sheet.column_count) =
            (count("rowCount", sheet.row_count)?, count("columnCount", sheet.column_count)?);
        sheet.cut();
        let mut kept = sheet.properties.get("gridProperties").and_then(Value::as_object).cloned().unwrap_or_default();
        grid_mask.merge(&mut kept, grid.as_object().unwrap_or(&Map::new()));
        kept.retain(|field, value| {
            !matches!(field.as_str(), "rowCount" | "columnCount")
                && *value != Value::Bool(false)
                && value.as_f64() != Some(0.0)
        });
        check_frozen(&kept, sheet)?;
        match kept.is_empty() {
            true => sheet.properties.remove("gridProperties"),
            false => sheet.properties.insert("gridProperties".to_owned(), Value::Object(kept)),
        };
    }
    if mask.below("hidden").is_some() && (*mask != super::mask::Mask::All || sent.get("hidden").is_some()) {
        sheet.hidden = super::read::flag(sent, "hidden");
    }
    if mask.below("rightToLeft").is_some() {
        match super::read::flag(sent, "rightToLeft") {
            true => sheet.properties.insert("rightToLeft".to_owned(), Value::Bool(true)),
            false => sheet.properties.remove("rightToLeft"),
        };
    }
    set_colour(sheet, sent, mask);
    Ok(())
}

/// A tab's colour has an old and a new form; whichever is set, both are shown.
fn set_colour(sheet: &mut Sheet, sent: &Value, mask: &super::mask::Mask) {
    if mask.below("tabColor").is_none() && mask.below("tabColorStyle").is_none() {
        return;
    }
    let style = sent.get("tabColorStyle").cloned();
    let style = style.or_else(|| sent.get("tabColor").map(|colour| json!({ "rgbColor": colour })));
    sheet.properties.remove("tabColor");
    sheet.properties.remove("tabColorStyle");
    if let Some(mut style) = style {
        tidy_colours(&mut style);
        let mut both = json!({ "tabColorStyle": style });
        if let Some(colour) = both["tabColorStyle"].get("rgbColor").cloned() {
            both["tabColor"] = colour;
        }
        tidy_colours(&mut both);
        sheet.properties.extend(both.as_object().cloned().unwrap_or_default());
    }
}

fn check_frozen(grid: &Map<String, Value>, sheet: &Sheet) -> Result<(), String> {
    for (field, count, what) in
        [("frozenRowCount", sheet.row_count, "rows"), ("frozenColumnCount", sheet.column_count, "columns")]
    {
        let frozen = grid.get(field).and_then(Value::as_u64).unwrap_or(0);
        if frozen >= count as u64 {
            return Err(format!("You can't freeze all visible {what} on the sheet."));
        }
    }
    Ok(())
}

fn check_title(book: &Spreadsheet, title: &str, own: Option<i64>) -> Result<(), String> {
    if title.is_empty() {
        return Err("Sheet title cannot be empty.".to_owned());
    }
    let taken =
        book.sheets.iter().any(|sheet| Some(sheet.id) != own && sheet.title.to_lowercase() == title.to_lowercase());
    match taken {
        true => Err(format!("A sheet with the name \"{title}\" already exists. Please enter another name.")),
        false => Ok(()),
    }
}

fn fresh_title(book: &Spreadsheet) -> String {
    let mut number = book.sheets.len() + 1;
    while book.sheet_by_title(&format!("Sheet{number}")).is_some() {
        number += 1;
    }
    format!("Sheet{number}")
}
