//! Answers as they go out: headers, layout and order of the body, and the refusals that every method shares.

use axum::body::{Body, Bytes};
use axum::http::Response;
use serde_json::{Value, json};

use super::refusal::Refusal;

/// The number of the Cloud project that all errors speak of.
const PROJECT: &str = "100000000001";

/// Fields in the order in which recorded bodies have them; the others follow by name.
const ORDER: &[&str] = &[
    "error",
    "code",
    "message",
    "errors",
    "status",
    "spreadsheetId",
    "clearedRange",
    "clearedRanges",
    "tableRange",
    "updates",
    "range",
    "majorDimension",
    "values",
    "updatedRange",
    "updatedRows",
    "updatedColumns",
    "updatedCells",
    "totalUpdatedRows",
    "totalUpdatedColumns",
    "totalUpdatedCells",
    "totalUpdatedSheets",
    "replies",
    "responses",
    "namedRangeId",
    "protectedRangeId",
    "name",
    "properties",
    "sheets",
    "sheetId",
    "title",
    "locale",
    "autoRecalc",
    "timeZone",
    "index",
    "sheetType",
    "gridProperties",
    "rowCount",
    "columnCount",
    "startRowIndex",
    "endRowIndex",
    "startColumnIndex",
    "endColumnIndex",
    "metadataId",
    "metadataKey",
    "metadataValue",
    "location",
    "locationType",
    "visibility",
    "red",
    "green",
    "blue",
    "requestingUserCanEdit",
    "editors",
];

/// A body as text: indented by two spaces with a final newline, or without any white space.
pub(super) fn to_text(value: &Value, pretty: bool) -> String {
    let mut out = String::new();
    write(value, pretty.then_some(0), &mut out);
    if pretty {
        out.push('\n');
    }
    out
}

fn write(value: &Value, indent: Option<usize>, out: &mut String) {
    let inner = indent.map(|depth| depth + 1);
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                separate(at, inner, out);
                write(item, inner, out);
            }
            line(indent, out);
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(name, _)| ORDER.iter().position(|known| known == name).unwrap_or(ORDER.len()));
            out.push('{');
            for (at, (name, value)) in fields.into_iter().enumerate() {
                separate(at, inner, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write(value, inner, out);
            }
            line(indent, out);
            out.push('}');
        }
        scalar_or_empty => out.push_str(&scalar_or_empty.to_string()),
    }
}

fn separate(at: usize, indent: Option<usize>, out: &mut String) {
    if at > 0 {
        out.push(',');
    }
    line(indent, out);
}

fn line(indent: Option<usize>, out: &mut String) {
    if let Some(depth) = indent {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    }
}

/// An answer of the API, sent in chunks as the real one is.
pub(super) fn json_answer(code: u16, body: &Value, pretty: bool) -> Response<Body> {
    let chunk: Result<Bytes, std::convert::Infallible> = Ok(to_text(body, pretty).into());
    let answer = Response::builder()
        .status(code)
        .header("content-type", "application/json; charset=UTF-8")
        .header("vary", "Origin")
        .header("vary", "X-Origin")
        .header("vary", "Referer")
        .header("server", "ESF")
        .header("cache-control", "private")
        .header("x-xss-protection", "0")
        .header("x-frame-options", "SAMEORIGIN")
        .header("x-content-type-options", "nosniff")
        .header("x-l2-request-path", "l2-managed-6")
        .body(Body::from_stream(futures_util::stream::iter([chunk])));
    answer.unwrap_or_default()
}

/// The page for an unknown address.
pub(super) fn no_such_page(path: &str) -> Response<Body> {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> <ins>That's an \
         error.</ins>\n  <p>The requested URL <code>{}</code> was not found on this server.  <ins>That's all we \
         know.</ins>\n",
        path.replace('<', "&lt;")
    );
    let answer =
        Response::builder().status(404).header("content-type", "text/html; charset=UTF-8").body(Body::from(page));
    answer.unwrap_or_default()
}

/// No token was sent at all.
pub(super) fn no_token() -> Refusal {
    Refusal::forbidden("The request is missing a valid API key.")
}

/// The token is good for something else.
pub(super) fn wrong_scope(method: &str) -> Refusal {
    let mut refusal = Refusal::forbidden("Request had insufficient authentication scopes.");
    refusal.details.push(error_info(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        json!({
            "service": "sheets.googleapis.com",
            "method": format!("google.apps.sheets.v4.SpreadsheetsService.{method}"),
        }),
    ));
    refusal
}

/// The project's owner has not turned the API on.
pub(super) fn disabled() -> Refusal {
    let address =
        format!("https://console.developers.google.com/apis/api/sheets.googleapis.com/overview?project={PROJECT}");
    let mut refusal = Refusal::forbidden(format!(
        "Google Sheets API has not been used in project {PROJECT} before or it is disabled. Enable it by visiting \
         {address} then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our \
         systems and retry."
    ));
    let metadata = json!({ "consumer": format!("projects/{PROJECT}"), "service": "sheets.googleapis.com" });
    refusal.details.push(help("Google developers console API activation", &address));
    refusal.details.push(error_info("SERVICE_DISABLED", metadata));
    refusal
}

/// The refusal of a request over the quota, without `Retry-After`, because none was ever seen.
pub(super) fn over_quota(write: bool, limit: u32, window: u64) -> Refusal {
    let (word, metric) = if write { ("Write", "write") } else { ("Read", "read") };
    let message = format!(
        "Quota exceeded for quota metric '{word} requests' and limit '{word} requests per minute per user' of service \
         'sheets.googleapis.com' for consumer 'project_number:{PROJECT}'."
    );
    let info = error_info(
        "RATE_LIMIT_EXCEEDED",
        json!({
            "window_start_time": window.to_string(),
            "quota_metric": format!("sheets.googleapis.com/{metric}_requests"),
            "quota_location": "global",
            "service": "sheets.googleapis.com",
            "quota_unit": "1/min/{project}/{user}",
            "quota_limit": format!("{word}RequestsPerMinutePerUser"),
            "consumer": format!("projects/{PROJECT}"),
            "quota_limit_value": limit.to_string(),
        }),
    );
    let link = help("Request a higher quota limit.", "https://cloud.google.com/docs/quotas/help/request_increase");
    Refusal { code: 429, status: "RESOURCE_EXHAUSTED", message, details: vec![info, link] }
}

fn error_info(reason: &str, metadata: Value) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": metadata,
    })
}

fn help(description: &str, address: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{ "description": description, "url": address }],
    })
}
