//! The API's methods by verb and path, and the parameters of each.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::schema;

/// A path and a verb, resolved.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// The method's name in the remote procedure interface, which errors use.
    pub method: &'static Method,
    /// The spreadsheet.
    pub id: String,
    /// The range or metadata id in the path.
    pub rest: String,
}

/// A method of the API.
#[derive(Debug, PartialEq)]
pub(super) struct Method {
    /// The method's name in the remote procedure interface.
    pub name: &'static str,
    /// True if the method counts as a write.
    pub write: bool,
    /// True if a token for reading only is enough.
    pub readonly: bool,
    /// The message of the method's body, and its name in errors; empty for a method without a body.
    pub body: (&'static str, &'static str),
    /// The message it answers with.
    pub answer: &'static str,
    /// The method's query parameters.
    pub query: Query,
}

/// The query parameters of a method beside the common ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Query {
    /// None.
    Nothing,
    /// Parameters of `spreadsheets.get`.
    Get,
    /// Parameters of reading values.
    Values,
    /// Parameters of writing values.
    Write,
}

const fn get(name: &'static str, answer: &'static str, query: Query) -> Method {
    Method { name, write: false, readonly: true, body: ("", ""), answer, query }
}

const fn read(name: &'static str, body: &'static str, answer: &'static str) -> Method {
    Method { name, write: false, readonly: false, body: (body, ""), answer, query: Query::Nothing }
}

const fn write(name: &'static str, body: (&'static str, &'static str), answer: &'static str, query: Query) -> Method {
    Method { name, write: true, readonly: false, body, answer, query }
}

static METHODS: &[Method] = &[
    write("CreateSpreadsheet", ("Spreadsheet", "spreadsheet"), "Spreadsheet", Query::Nothing),
    get("GetSpreadsheet", "Spreadsheet", Query::Get),
    read("GetSpreadsheetByDataFilter", "GetSpreadsheetByDataFilterRequest", "Spreadsheet"),
    write(
        "BatchUpdateSpreadsheet",
        ("BatchUpdateSpreadsheetRequest", ""),
        "BatchUpdateSpreadsheetResponse",
        Query::Nothing,
    ),
    Method { readonly: false, ..get("GetDeveloperMetadata", "DeveloperMetadata", Query::Nothing) },
    read("SearchDeveloperMetadata", "SearchDeveloperMetadataRequest", "SearchDeveloperMetadataResponse"),
    get("GetValues", "ValueRange", Query::Values),
    get("BatchGetValues", "BatchGetValuesResponse", Query::Values),
    read("BatchGetValuesByDataFilter", "BatchGetValuesByDataFilterRequest", "BatchGetValuesByDataFilterResponse"),
    write("UpdateValues", ("ValueRange", "data"), "UpdateValuesResponse", Query::Write),
    write("AppendValues", ("ValueRange", "data"), "AppendValuesResponse", Query::Write),
    write("ClearValues", ("ClearValuesRequest", ""), "ClearValuesResponse", Query::Nothing),
    write("BatchUpdateValues", ("BatchUpdateValuesRequest", ""), "BatchUpdateValuesResponse", Query::Nothing),
    write("BatchClearValues", ("BatchClearValuesRequest", ""), "BatchClearValuesResponse", Query::Nothing),
    write(
        "BatchUpdateValuesByDataFilter",
        ("BatchUpdateValuesByDataFilterRequest", ""),
        "BatchUpdateValuesByDataFilterResponse",
        Query::Nothing,
    ),
    write(
        "BatchClearValuesByDataFilter",
        ("BatchClearValuesByDataFilterRequest", ""),
        "BatchClearValuesByDataFilterResponse",
        Query::Nothing,
    ),
];

impl Call {
    /// Finds the method; `None` for an unknown address.
    pub fn find(verb: &str, path: &str) -> Option<Call> {
        let rest = path.strip_prefix("/v4/spreadsheets")?;
        if rest.is_empty() {
            return (verb == "POST").then(|| Call::new("CreateSpreadsheet", "", ""))?;
        }
        let parts: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
        match (verb, parts.as_slice()) {
            ("GET", [id]) => Call::new("GetSpreadsheet", id, ""),
            ("POST", [last]) => match last.rsplit_once(':')? {
                (id, "batchUpdate") => Call::new("BatchUpdateSpreadsheet", id, ""),
                (id, "getByDataFilter") => Call::new("GetSpreadsheetByDataFilter", id, ""),
                _ => None,
            },
            ("GET", [id, "developerMetadata", entry]) => Call::new("GetDeveloperMetadata", id, entry),
            ("POST", [id, "developerMetadata:search"]) => Call::new("SearchDeveloperMetadata", id, ""),
            ("GET", [id, "values:batchGet"]) => Call::new("BatchGetValues", id, ""),
            ("POST", [id, "values:batchGetByDataFilter"]) => Call::new("BatchGetValuesByDataFilter", id, ""),
            ("POST", [id, "values:batchUpdate"]) => Call::new("BatchUpdateValues", id, ""),
            ("POST", [id, "values:batchClear"]) => Call::new("BatchClearValues", id, ""),
            ("POST", [id, "values:batchUpdateByDataFilter"]) => Call::new("BatchUpdateValuesByDataFilter", id, ""),
            ("POST", [id, "values:batchClearByDataFilter"]) => Call::new("BatchClearValuesByDataFilter", id, ""),
            ("GET", [id, "values", range]) => Call::new("GetValues", id, range),
            ("PUT", [id, "values", range]) => Call::new("UpdateValues", id, range),
            ("POST", [id, "values", last]) => match last.rsplit_once(':')? {
                (range, "append") => Call::new("AppendValues", id, range),
                (range, "clear") => Call::new("ClearValues", id, range),
                _ => None,
            },
            _ => None,
        }
    }

    fn new(name: &str, id: &str, rest: &str) -> Option<Call> {
        let method = METHODS.iter().find(|method| method.name == name)?;
        Some(Call { method, id: decode(id), rest: decode(rest) })
    }
}

/// The query as sent: each name with its values.
pub(super) type Parameters = HashMap<String, Vec<String>>;

/// Checks the query against the method's parameters.
pub(super) fn parameters(method: &Method, query: &str) -> Result<Parameters, Refusal> {
    let mut found = Parameters::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let Some(kind) = parameter_type(method.query, &name) else {
            let text = format!(
                "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' \
                 could not be found in request message."
            );
            return Err(Refusal::fields(vec![(String::new(), text)]));
        };
        let good = match kind {
            // Recorded: clients send Python's `False`, and it is taken.
            "bool" => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            "text" => true,
            choices => choices.split('|').any(|choice| choice == value),
        };
        if !good {
            let field = schema::snake_case(&name);
            let text = format!("Invalid value at '{field}' ({kind}), \"{value}\"");
            return Err(Refusal::fields(vec![(field, text)]));
        }
        found.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    Ok(found)
}

fn parameter_type(query: Query, name: &str) -> Option<&'static str> {
    const RENDER: &str = "FORMATTED_VALUE|UNFORMATTED_VALUE|FORMULA";
    const DATES: &str = "SERIAL_NUMBER|FORMATTED_STRING";
    Some(match (query, name) {
        (_, "fields" | "key" | "quotaUser" | "access_token" | "oauth_token" | "callback" | "uploadType")
        | (_, "upload_protocol") => "text",
        (_, "prettyPrint") => "bool",
        // Other forms exist; this simulator has only this one.
        (_, "alt") => "json",
        (_, "$.xgafv") => "1|2",
        (Query::Get, "ranges" | "commentsViewMode") | (Query::Values, "ranges") => "text",
        (Query::Get, "includeGridData" | "excludeTablesInBandedRanges") => "bool",
        (Query::Values, "valueRenderOption") | (Query::Write, "responseValueRenderOption") => RENDER,
        (Query::Values, "dateTimeRenderOption") | (Query::Write, "responseDateTimeRenderOption") => DATES,
        (Query::Values, "majorDimension") => "DIMENSION_UNSPECIFIED|ROWS|COLUMNS",
        (Query::Write, "valueInputOption") => "INPUT_VALUE_OPTION_UNSPECIFIED|RAW|USER_ENTERED",
        (Query::Write, "insertDataOption") => "OVERWRITE|INSERT_ROWS",
        (Query::Write, "includeValuesInResponse") => "bool",
        _ => return None,
    })
}

/// Reads and checks a body. An empty one is an empty message.
pub(super) fn body(method: &Method, content_type: &str, bytes: &[u8]) -> Result<Value, Refusal> {
    let (message, root) = method.body;
    if message.is_empty() {
        return Ok(json!({}));
    }
    if bytes.is_empty() {
        return schema::check(message, root, json!({}));
    }
    if !content_type.starts_with("application/json") {
        return Err(format!("Invalid content type: {content_type}").into());
    }
    let parsed = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::fields(vec![(String::new(), format!("Invalid JSON payload received. {error}"))]))?;
    schema::check(message, root, parsed)
}

/// Undoes percent signs. Text that is not valid UTF-8 stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
