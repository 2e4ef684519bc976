//! The methods of the API, for requests that are known to be well formed and allowed.

use serde_json::{Value, json};

use super::a1::{self, Area};
use super::mask::Mask;
use super::method::{Call, Parameters};
use super::model::Spreadsheet;
use super::read::{flag, list};
use super::refusal::Refusal;
use super::render::{self, View};
use super::requests::{self, Wording};
use super::values::{self, Reading, Writing};
use super::{metadata, sheets};

/// Differences between years that the simulator can be told to show.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Wording of the refusal of a named range that exists.
    pub wording: Wording,
    /// True if batch replies carry `commentUpdateState`, as they do since 2026.
    pub comment_state: bool,
}

/// A request in its parts.
pub(super) struct Request<'a> {
    /// The method and the names in its path.
    pub call: &'a Call,
    /// The query.
    pub parameters: &'a Parameters,
    /// The checked body.
    pub body: &'a Value,
    /// The mask of the query's `fields`, if there is one.
    pub mask: Option<&'a Mask>,
    /// The manner of the answer.
    pub manner: Manner,
}

/// The answer, and the spreadsheet as it is afterwards where the method wrote.
type Done = Result<(Value, Option<Spreadsheet>), Refusal>;

impl Request<'_> {
    fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).and_then(|values| values.last()).map_or("", String::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        self.parameter(name).eq_ignore_ascii_case("true")
    }

    fn ranges(&self) -> Vec<&str> {
        self.parameters.get("ranges").map_or_else(Vec::new, |ranges| ranges.iter().map(String::as_str).collect())
    }

    fn reading(&self) -> Reading<'_> {
        let (render, dates) = (self.parameter("valueRenderOption"), self.parameter("dateTimeRenderOption"));
        Reading::new(render, dates, self.parameter("majorDimension"))
    }

    fn writing(&self) -> Writing<'_> {
        let (render, dates) =
            (self.parameter("responseValueRenderOption"), self.parameter("responseDateTimeRenderOption"));
        Writing {
            input: self.parameter("valueInputOption"),
            repeat: self.flag("includeValuesInResponse"),
            reading: Reading::new(render, dates, ""),
        }
    }
}

/// Carries a request on an existing spreadsheet out.
pub(super) fn run(book: &Spreadsheet, request: &Request<'_>) -> Done {
    let (range, body) = (request.call.rest.as_str(), request.body);
    let read = |answer: Value| Ok((answer, None));
    match request.call.method.name {
        "GetSpreadsheet" => read(get(book, request)?),
        "GetSpreadsheetByDataFilter" => read(get_by_filter(book, request)?),
        "BatchUpdateSpreadsheet" => batch(book, request),
        "GetDeveloperMetadata" => {
            let found = book.metadata.iter().find(|entry| entry.id.to_string() == range);
            read(metadata::show(found.ok_or_else(Refusal::not_found)?))
        }
        "SearchDeveloperMetadata" => read(metadata::search(book, body)?),
        "GetValues" => {
            let (sheet, area) = a1::parse(book, range)?;
            read(values::value_range(sheet, &area, request.reading()))
        }
        "BatchGetValues" => read(values::batch_get(book, &request.ranges(), request.reading())?),
        "BatchGetValuesByDataFilter" => read(values::batch_get_by_filter(book, body)?),
        "UpdateValues" => on_copy(book, |copy| values::update(copy, range, body, request.writing())),
        "AppendValues" => {
            let insert = request.parameter("insertDataOption") == "INSERT_ROWS";
            on_copy(book, |copy| values::append(copy, range, insert, body, request.writing()))
        }
        "ClearValues" => on_copy(book, |copy| {
            let area = a1::parse(copy, range)?.1;
            Ok(json!({ "clearedRange": values::clear(copy, area)?, "spreadsheetId": copy.id }))
        }),
        "BatchClearValues" => on_copy(book, |copy| batch_clear(copy, body)),
        "BatchClearValuesByDataFilter" => on_copy(book, |copy| batch_clear_by_filter(copy, body)),
        "BatchUpdateValues" => values::batch_update(book, body).map(|(after, answer)| (answer, Some(after))),
        "BatchUpdateValuesByDataFilter" => {
            values::batch_update_by_filter(book, body).map(|(after, answer)| (answer, Some(after)))
        }
        other => Err(Refusal::not_simulated(other)),
    }
}

/// `spreadsheets.create`: properties and tabs; a tab with data is not simulated.
pub(super) fn create(id: &str, body: &Value) -> Result<Spreadsheet, Refusal> {
    let mut book = Spreadsheet::new(id, "Untitled spreadsheet");
    if let Some(properties) = body.get("properties").and_then(Value::as_object) {
        let named: Vec<&str> = properties.keys().map(String::as_str).collect();
        if !named.is_empty() {
            let update = json!({ "properties": properties, "fields": named.join(",") });
            sheets::update_spreadsheet(&mut book, &update)?;
        }
    }
    let tabs = list(body, "sheets");
    if !tabs.is_empty() {
        book.sheets.clear();
    }
    for tab in tabs {
        if tab.as_object().is_some_and(|fields| fields.keys().any(|field| field != "properties")) {
            return Err(Refusal::not_simulated("spreadsheets.create with more than a tab's properties"));
        }
        let properties = tab.get("properties").cloned().unwrap_or_else(|| json!({}));
        let sheet = sheets::build(&mut book, &properties)?;
        book.sheets.push(sheet);
    }
    book.check_size()?;
    Ok(book)
}

/// A spreadsheet whole, without its cells.
pub(super) fn overview(book: &Spreadsheet) -> Value {
    render::spreadsheet(book, &View { areas: &[], data: false, mask: &Mask::All })
}

fn on_copy(
    book: &Spreadsheet,
    change: impl FnOnce(&mut Spreadsheet) -> Result<Value, Refusal>,
) -> Result<(Value, Option<Spreadsheet>), Refusal> {
    let mut copy = book.clone();
    let answer = change(&mut copy)?;
    Ok((answer, Some(copy)))
}

fn get(book: &Spreadsheet, request: &Request<'_>) -> Result<Value, Refusal> {
    let mut areas = Vec::new();
    for range in request.ranges() {
        areas.push(a1::parse(book, range)?.1);
    }
    // The documentation says that a field mask alone decides if cells are returned.
    let data = match request.mask {
        Some(mask) => mask.names("sheets.data"),
        None => request.flag("includeGridData"),
    };
    Ok(render::spreadsheet(book, &View { areas: &areas, data, mask: request.mask.unwrap_or(&Mask::All) }))
}

fn get_by_filter(book: &Spreadsheet, request: &Request<'_>) -> Result<Value, Refusal> {
    let mut areas: Vec<Area> = Vec::new();
    let filters = list(request.body, "dataFilters");
    for filter in filters {
        areas.extend(metadata::areas(book, filter)?);
    }
    let data = match request.mask {
        Some(mask) => mask.names("sheets.data"),
        None => flag(request.body, "includeGridData"),
    };
    let mut shown = render::spreadsheet(book, &View { areas: &areas, data, mask: request.mask.unwrap_or(&Mask::All) });
    if !filters.is_empty() && areas.is_empty() {
        shown["sheets"] = json!([]);
    }
    Ok(shown)
}

fn batch(book: &Spreadsheet, request: &Request<'_>) -> Done {
    let body = request.body;
    let (after, replies) = requests::batch(book, body, request.manner.wording)?;
    let mut answer = json!({ "spreadsheetId": book.id, "replies": replies });
    if request.manner.comment_state {
        answer["commentUpdateState"] = json!("NO_UPDATES_REQUESTED");
    }
    if flag(body, "includeSpreadsheetInResponse") {
        let mut areas = Vec::new();
        for range in list(body, "responseRanges") {
            areas.push(a1::parse(&after, range.as_str().unwrap_or(""))?.1);
        }
        let below = request.mask.map(|mask| mask.below("updatedSpreadsheet"));
        let data = match below {
            Some(mask) => mask.is_some_and(|mask| mask.names("sheets.data")),
            None => flag(body, "responseIncludeGridData"),
        };
        let mask = below.flatten().unwrap_or(&Mask::All);
        answer["updatedSpreadsheet"] = render::spreadsheet(&after, &View { areas: &areas, data, mask });
    }
    Ok((answer, Some(after)))
}

fn batch_clear(book: &mut Spreadsheet, body: &Value) -> Result<Value, Refusal> {
    let mut cleared = Vec::new();
    for range in list(body, "ranges") {
        let area = a1::parse(book, range.as_str().unwrap_or(""))?.1;
        cleared.push(values::clear(book, area)?);
    }
    Ok(json!({ "spreadsheetId": book.id, "clearedRanges": cleared }))
}

fn batch_clear_by_filter(book: &mut Spreadsheet, body: &Value) -> Result<Value, Refusal> {
    let mut cleared = Vec::new();
    for filter in list(body, "dataFilters") {
        for area in metadata::areas(book, filter)? {
            cleared.push(values::clear(book, area)?);
        }
    }
    Ok(json!({ "spreadsheetId": book.id, "clearedRanges": cleared }))
}
