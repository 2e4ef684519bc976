//! Charts, slicers and rules of conditional formatting: kept as sent, checked for the mistakes that a set-up can make.
//!
//! No traffic about these objects was ever recorded. The answers rest on the discovery document: ids may be chosen, a
//! chosen id in use is refused, the reply repeats the object with its id.

use serde_json::{Value, json};

use super::model::Spreadsheet;
use super::read::{self, area, int, list};
use super::requests::nothing;

/// `addChart`.
pub(super) fn add_chart(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut chart = request.get("chart").cloned().ok_or("chart is required.")?;
    if chart.get("spec").is_none() {
        return Err("chart.spec is required.".to_owned());
    }
    check_sources(book, &chart)?;
    let id = free_id(book, int(&chart, "chartId"), "Chart")?;
    chart["chartId"] = json!(id);
    let on = anchor(book, &chart)?;
    read::sheet(book, on)?.charts.push(chart.clone());
    Ok(json!({ "addChart": { "chart": chart } }))
}

/// `updateChartSpec`.
pub(super) fn update_chart(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let id = int(request, "chartId");
    let spec = request.get("spec").cloned().ok_or("spec is required.")?;
    check_sources(book, &spec)?;
    let mut charts = book.sheets.iter_mut().flat_map(|sheet| &mut sheet.charts);
    let chart = charts.find(|chart| int(chart, "chartId") == id);
    chart.ok_or_else(|| format!("No chart with id: {id}"))?["spec"] = spec;
    nothing()
}

/// `addSlicer`.
pub(super) fn add_slicer(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let mut slicer = request.get("slicer").cloned().ok_or("slicer is required.")?;
    area(book, slicer.get("spec").and_then(|spec| spec.get("dataRange")))?;
    let id = free_id(book, int(&slicer, "slicerId"), "Slicer")?;
    slicer["slicerId"] = json!(id);
    let on = anchor(book, &slicer)?;
    read::sheet(book, on)?.slicers.push(slicer.clone());
    Ok(json!({ "addSlicer": { "slicer": slicer } }))
}

/// `deleteEmbeddedObject`: a chart or a slicer.
pub(super) fn delete(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let id = int(request, "objectId");
    let count = |book: &Spreadsheet| book.sheets.iter().map(|sheet| sheet.charts.len() + sheet.slicers.len()).sum();
    let before: usize = count(book);
    for sheet in &mut book.sheets {
        sheet.charts.retain(|chart| int(chart, "chartId") != id);
        sheet.slicers.retain(|slicer| int(slicer, "slicerId") != id);
    }
    match count(book) == before {
        true => Err(format!("No embedded object with id: {id}")),
        false => nothing(),
    }
}

/// `addConditionalFormatRule`.
pub(super) fn add_rule(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let rule = request.get("rule").cloned().ok_or("rule is required.")?;
    let mut on = None;
    for range in list(&rule, "ranges") {
        on = Some(area(book, Some(range))?.sheet);
    }
    if rule.get("booleanRule").is_some() == rule.get("gradientRule").is_some() {
        return Err("Exactly one of booleanRule and gradientRule must be set.".to_owned());
    }
    let rules = &mut read::sheet(book, on.ok_or("rule.ranges is required.")?)?.conditional_formats;
    let at = read::index(request, "index")?.unwrap_or(0).min(rules.len());
    rules.insert(at, rule);
    nothing()
}

/// `deleteConditionalFormatRule`.
pub(super) fn delete_rule(book: &mut Spreadsheet, request: &Value) -> Result<Value, String> {
    let at = read::index(request, "index")?.unwrap_or(0);
    let rules = &mut read::sheet(book, int(request, "sheetId"))?.conditional_formats;
    if at >= rules.len() {
        return Err(format!("No conditional format on sheet at index: {at}"));
    }
    let rule = rules.remove(at);
    Ok(json!({ "deleteConditionalFormatRule": { "rule": rule } }))
}

fn free_id(book: &mut Spreadsheet, wanted: i64, what: &str) -> Result<i64, String> {
    if wanted == 0 {
        return Ok(book.next_id());
    }
    let taken = book.sheets.iter().any(|sheet| {
        sheet.charts.iter().any(|chart| int(chart, "chartId") == wanted)
            || sheet.slicers.iter().any(|slicer| int(slicer, "slicerId") == wanted)
    });
    if taken { Err(format!("{what} with id: {wanted} already exists.")) } else { Ok(wanted) }
}

/// The sheet an object floats over; where its position names a new sheet, that is made.
fn anchor(book: &mut Spreadsheet, object: &Value) -> Result<i64, String> {
    let position = object.get("position").ok_or("position is required.")?;
    let cell = position.get("overlayPosition").and_then(|overlay| overlay.get("anchorCell"));
    match cell {
        Some(cell) => Ok(read::sheet(book, int(cell, "sheetId"))?.id),
        None => Err("Only a position with overlayPosition.anchorCell is simulated.".to_owned()),
    }
}

/// Every source range inside must lie on a sheet that exists and be one row or one column wide.
fn check_sources(book: &Spreadsheet, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            for source in map.get("sources").and_then(Value::as_array).into_iter().flatten() {
                let area = area(book, Some(source))?;
                let Some(sheet) = book.sheet(area.sheet) else { continue };
                let area = area.within(sheet);
                if area.bottom - area.top != 1 && area.right - area.left != 1 {
                    return Err("A source range must have one dimension of length 1.".to_owned());
                }
            }
            map.values().try_for_each(|inner| check_sources(book, inner))
        }
        Value::Array(items) => items.iter().try_for_each(|inner| check_sources(book, inner)),
        _ => Ok(()),
    }
}
