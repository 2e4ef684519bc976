//! Requests about areas: named ranges, protection, merges.

use serde_json::{Value, json};

use super::a1::Area;
use super::formula;
use super::model::{CellValue, NamedRange, Protected, Sheet, Spreadsheet};
use super::read::{self, area, fields, flag, grid_range, int, text};
use super::requests::{Wording, mask, nothing};

/// `addNamedRange`. A name is taken for good until its range is deleted; case does not tell names apart.
pub(super) fn add_named(book: &mut Spreadsheet, request: &Value, wording: Wording) -> Result<Value, String> {
    let sent = request.get("namedRange").ok_or("namedRange is required.")?;
    let name = text(sent, "name");
    check_name(name)?;
    if book.named_ranges.iter().any(|range| range.name.eq_ignore_ascii_case(name)) {
        let colon = if wording.without_colon { "" } else { ":" };
        return Err(format!(
            "Cannot add named range with name{colon} {name}, a named range with that name already exists."
        ));
    }
    let area = area(book, sent.get("range"))?;
    let id = match text(sent, "namedRangeId") {
        "" => book.next_id().to_string(),
        id if book.named_ranges.iter().any(|range| range.id == id) => {
            return Err(format!("Cannot add named range with id: {id}, a named range with that id already exists."));
        }
        id => id.to_owned(),
    };
    let range = NamedRange { id, name: name.to_owned(), area };
    let shown = show_named(&range);
    book.named_ranges.push(range);
    Ok(json!({ "addNamedRange": { "namedRange": shown } }))
}

/// `updateNamedRange`.
pub(super) fn update_named(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "NamedRange")?;
    let sent = request.get("namedRange").cloned().unwrap_or_else(|| json!({}));
    let id = text(&sent, "namedRangeId");
    let at = position(book, id)?;
    if mask.names("name") {
        let name = text(&sent, "name");
        check_name(name)?;
        let taken = |range: &NamedRange| range.id != id && range.name.eq_ignore_ascii_case(name);
        if book.named_ranges.iter().any(taken) {
            return Err(format!("A named range with the name {name} already exists."));
        }
        book.named_ranges[at].name = name.to_owned();
    }
    if mask.names("range") {
        book.named_ranges[at].area = area(book, sent.get("range"))?;
    }
    nothing()
}

/// `deleteNamedRange`. The refusal of an unknown id is a guess, and the harder reading.
pub(super) fn delete_named(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let at = position(book, text(request, "namedRangeId"))?;
    book.named_ranges.remove(at);
    nothing()
}

/// A named range as the wire has it.
pub(super) fn show_named(range: &NamedRange) -> Value {
    json!({ "namedRangeId": range.id, "name": range.name, "range": grid_range(&range.area) })
}

/// `addProtectedRange`. A range protected by the service account stays open to the service account.
pub(super) fn add_protected(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let sent = request.get("protectedRange").ok_or("protectedRange is required.")?;
    let area = match (sent.get("namedRangeId").and_then(Value::as_str), sent.get("range")) {
        (Some(id), None) => book.named_ranges[position(book, id)?].area,
        (None, range) => area(book, range)?,
        _ => return Err("Only one of range and namedRangeId can be set.".to_owned()),
    };
    let taken = |id: i64| book.sheets.iter().any(|sheet| sheet.protected.iter().any(|range| range.id == id));
    let id = match sent.get("protectedRangeId").and_then(Value::as_i64) {
        Some(id) if taken(id) => return Err(format!("Protected range with id: {id} already exists.")),
        Some(id) => id,
        None => book.next_id(),
    };
    let mut rest = fields(request, "protectedRange");
    ["protectedRangeId", "range", "requestingUserCanEdit", "warningOnly"].iter().for_each(|field| {
        rest.remove(*field);
    });
    let warning_only = flag(sent, "warningOnly");
    match warning_only {
        true => rest.remove("editors"),
        // Recorded: empty lists of users and groups come back as an empty message.
        false => {
            let mut editors = fields(sent, "editors");
            editors.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
            rest.insert("editors".to_owned(), Value::Object(editors))
        }
    };
    let range = Protected { id, area, warning_only, editable: true, rest };
    let shown = show_protected(&range);
    read::sheet(book, area.sheet)?.protected.push(range);
    Ok(json!({ "addProtectedRange": { "protectedRange": shown } }))
}

/// `updateProtectedRange`.
pub(super) fn update_protected(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mask = mask(request, "ProtectedRange")?;
    let sent = request.get("protectedRange").cloned().unwrap_or_else(|| json!({}));
    let id = int(&sent, "protectedRangeId");
    let to = if mask.names("range") { Some(area(book, sent.get("range"))?) } else { None };
    let range = protected_mut(book, id)?;
    if !range.editable {
        return Err(PROTECTED.to_owned());
    }
    if let Some(to) = to {
        range.area = to;
    }
    if mask.names("warningOnly") {
        range.warning_only = flag(&sent, "warningOnly");
    }
    mask.merge(&mut range.rest, &fields(request, "protectedRange"));
    ["protectedRangeId", "range", "requestingUserCanEdit", "warningOnly"].iter().for_each(|field| {
        range.rest.remove(*field);
    });
    nothing()
}

/// `deleteProtectedRange`.
pub(super) fn delete_protected(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let id = int(request, "protectedRangeId");
    if !protected_mut(book, id)?.editable {
        return Err(PROTECTED.to_owned());
    }
    book.sheets.iter_mut().for_each(|sheet| sheet.protected.retain(|range| range.id != id));
    nothing()
}

/// A protected range as the wire has it.
pub(super) fn show_protected(range: &Protected) -> Value {
    let mut shown = range.rest.clone();
    shown.insert("protectedRangeId".to_owned(), json!(range.id));
    shown.insert("range".to_owned(), grid_range(&range.area));
    if range.editable {
        shown.insert("requestingUserCanEdit".to_owned(), json!(true));
    }
    if range.warning_only {
        shown.insert("warningOnly".to_owned(), json!(true));
    }
    Value::Object(shown)
}

const PROTECTED: &str = "You are trying to edit a protected cell or object. Please contact the spreadsheet owner to \
                         remove protection if you need to edit.";

/// Refuses to touch a range that somebody else protected.
pub(super) fn check_protected(sheet: &Sheet, area: &Area) -> Result<(), String> {
    let against = |range: &&Protected| !range.editable && !range.warning_only && range.area.intersects(area);
    match sheet.protected.iter().find(against) {
        Some(_) => Err(PROTECTED.to_owned()),
        None => Ok(()),
    }
}

/// `mergeCells`: the first cell keeps its value, the others lose theirs.
pub(super) fn merge(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let area = area(book, request.get("range"))?;
    let sheet = read::sheet(book, area.sheet)?;
    let area = area.within(sheet);
    check_protected(sheet, &area)?;
    let parts: Vec<Area> = match text(request, "mergeType") {
        "MERGE_ROWS" => (area.top..area.bottom).map(|row| Area { top: row, bottom: row + 1, ..area }).collect(),
        "MERGE_COLUMNS" => {
            (area.left..area.right).map(|column| Area { left: column, right: column + 1, ..area }).collect()
        }
        _ => vec![area],
    };
    let cuts = |merge: &Area| {
        merge.intersects(&area)
            && (merge.top < area.top
                || merge.bottom > area.bottom
                || merge.left < area.left
                || merge.right > area.right)
    };
    if sheet.merges.iter().any(cuts) {
        return Err("You must select all cells in a merged range to merge or unmerge them.".to_owned());
    }
    sheet.merges.retain(|merge| !merge.intersects(&area));
    for part in parts.into_iter().filter(|part| part.bottom - part.top > 1 || part.right - part.left > 1) {
        for row in part.top..part.bottom {
            for column in part.left..part.right {
                if (row, column) != (part.top, part.left) && sheet.cell(row, column).is_some() {
                    sheet.cell_mut(row, column).value = CellValue::Empty;
                }
            }
        }
        sheet.merges.push(part);
    }
    nothing()
}

/// `unmergeCells`.
pub(super) fn unmerge(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let area = area(book, request.get("range"))?;
    let sheet = read::sheet(book, area.sheet)?;
    let area = area.within(sheet);
    check_protected(sheet, &area)?;
    sheet.merges.retain(|merge| !merge.intersects(&area));
    nothing()
}

/// Letters, digits and underscores, not starting with a digit and not like a cell's address.
fn check_name(name: &str) -> Result<(), String> {
    let letters = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let first = name.chars().next().is_some_and(|letter| letter.is_alphabetic() || letter == '_');
    let address = matches!(super::a1::cell(name), Some((Some(_), Some(_))));
    let word = name.eq_ignore_ascii_case("true") || name.eq_ignore_ascii_case("false");
    match letters && first && !address && !word && name.len() <= 250 && !formula::looks_like_r1c1(name) {
        true => Ok(()),
        false => Err(format!("Invalid name: {name}")),
    }
}

fn position(book: &Spreadsheet, id: &str) -> Result<usize, String> {
    let at = book.named_ranges.iter().position(|range| range.id == id);
    at.ok_or_else(|| format!("Cannot find a named range with id: {id}"))
}

fn protected_mut(book: &mut Spreadsheet, id: i64) -> Result<&mut Protected, String> {
    let mut ranges = book.sheets.iter_mut().flat_map(|sheet| &mut sheet.protected);
    ranges.find(|range| range.id == id).ok_or_else(|| format!("No protected range with id: {id}"))
}
