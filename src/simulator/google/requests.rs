//! `spreadsheets.batchUpdate`: all of its requests in order, or none of them.

use serde_json::{Value, json};

use super::mask::Mask;
use super::model::Spreadsheet;
use super::read::{list, text};
use super::refusal::Refusal;
use super::{cells, dimensions, filters, metadata, objects, ranges, sheets, tables};

/// Small differences between recordings of different years, which a client has to take either way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wording {
    /// `name X` for `name: X` in the refusal of a named range that exists; both were quoted.
    pub without_colon: bool,
}

/// Applies a checked body to a copy of the spreadsheet. The returned copy replaces the spreadsheet; a refusal leaves
/// the spreadsheet as it was.
pub(super) fn batch(book: &Spreadsheet, body: &Value, wording: Wording) -> Result<(Spreadsheet, Vec<Value>), Refusal> {
    let requests = list(body, "requests");
    if requests.is_empty() {
        return Err("Must specify at least one request.".into());
    }
    let mut copy = book.clone();
    let mut replies = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let only = request.as_object().and_then(|kinds| kinds.iter().next());
        let Some((kind, request)) = only else {
            return Err(Refusal::invalid("No request set.").within(&format!("requests[{index}]")));
        };
        let place = format!("requests[{index}].{kind}");
        let reply = apply(&mut copy, kind, request, wording).map_err(|refusal| refusal.within(&place))?;
        copy.check_size().map_err(|message| Refusal::invalid(message).within(&place))?;
        replies.push(reply);
    }
    Ok((copy, replies))
}

/// The `fields` of an update over `message`. Required, and every name in it must exist.
pub(super) fn mask(request: &Value, message: &str) -> Result<Mask, String> {
    let mask = Mask::parse(text(request, "fields"), message).map_err(|path| format!("Invalid field: {path}"))?;
    match mask.is_empty() {
        true => Err("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)".to_owned()),
        false => Ok(mask),
    }
}

fn apply(book: &mut Spreadsheet, kind: &str, request: &Value, wording: Wording) -> Result<Value, Refusal> {
    let done = match kind {
        "addSheet" => sheets::add(book, request),
        "deleteSheet" => sheets::delete(book, request),
        "updateSheetProperties" => sheets::update(book, request),
        "updateSpreadsheetProperties" => sheets::update_spreadsheet(book, request),
        "updateCells" => cells::update(book, request),
        "repeatCell" => cells::repeat(book, request),
        "appendCells" => cells::append(book, request),
        "sortRange" => cells::sort(book, request),
        "setDataValidation" => cells::set_data_validation(book, request),
        "deleteRange" => cells::delete_range(book, request),
        "insertDimension" => dimensions::insert(book, request),
        "appendDimension" => dimensions::append(book, request),
        "deleteDimension" => dimensions::delete(book, request),
        "moveDimension" => dimensions::relocate(book, request),
        "updateDimensionProperties" => dimensions::update(book, request),
        "autoResizeDimensions" => dimensions::auto_resize(book, request),
        "setBasicFilter" => filters::set_basic(book, request),
        "clearBasicFilter" => filters::clear_basic(book, request),
        "addFilterView" => filters::add_view(book, request),
        "updateFilterView" => filters::update_view(book, request),
        "deleteFilterView" => filters::delete_view(book, request),
        "duplicateFilterView" => filters::duplicate_view(book, request),
        "addTable" => tables::add(book, request),
        "updateTable" => tables::update(book, request),
        "deleteTable" => tables::delete(book, request),
        "addNamedRange" => ranges::add_named(book, request, wording),
        "updateNamedRange" => ranges::update_named(book, request),
        "deleteNamedRange" => ranges::delete_named(book, request),
        "addProtectedRange" => ranges::add_protected(book, request),
        "updateProtectedRange" => ranges::update_protected(book, request),
        "deleteProtectedRange" => ranges::delete_protected(book, request),
        "mergeCells" => ranges::merge(book, request),
        "unmergeCells" => ranges::unmerge(book, request),
        "createDeveloperMetadata" => metadata::create(book, request),
        "updateDeveloperMetadata" => metadata::update(book, request),
        "deleteDeveloperMetadata" => metadata::delete(book, request),
        "addChart" => objects::add_chart(book, request),
        "updateChartSpec" => objects::update_chart(book, request),
        "addSlicer" => objects::add_slicer(book, request),
        "deleteEmbeddedObject" => objects::delete(book, request),
        "addConditionalFormatRule" => objects::add_rule(book, request),
        "deleteConditionalFormatRule" => objects::delete_rule(book, request),
        other => return Err(Refusal::not_simulated(other)),
    };
    Ok(done?)
}

/// The reply of a request without result.
pub(super) fn nothing() -> Result<Value, String> {
    Ok(json!({}))
}
