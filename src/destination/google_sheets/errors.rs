//! What Google says when it refuses, turned into errors named by the reaction they cause.
//!
//! It reads both shapes of an error body (with `details`, and the older one with `errors`), and promises that a message
//! is one line, names the remedy and carries no address with a query. It knows nothing of how a request was sent.

use std::time::Duration;

use serde_json::Value;

use crate::remote::{Cause, Error};

/// Names an error text needs.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The destination's name.
    pub destination: String,
    /// The spreadsheet's id.
    pub spreadsheet: String,
    /// The service account's address, once the key has been read.
    pub account: String,
}

impl Names {
    /// The message with the destination in front.
    pub fn say(&self, what: impl std::fmt::Display) -> String {
        format!("google-sheets `{}`: {what}", self.destination)
    }
}

/// What an error body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The text for people.
    pub message: String,
    /// Reasons for programs, from `details`, `errors` and `status`.
    reasons: Vec<String>,
}

/// Longest piece of Google's own text that is passed on.
const LONGEST_QUOTE: usize = 200;

impl Said {
    /// A bare message.
    pub fn plain(message: &str) -> Said {
        Said { message: message.to_owned(), reasons: Vec::new() }
    }

    /// Reads an error body; `None` where it is not one.
    pub fn read(body: &Value) -> Option<Said> {
        let body = body.as_array().and_then(|list| list.first()).unwrap_or(body);
        let error = body.get("error")?;
        if let Some(code) = error.as_str() {
            let message = body["error_description"].as_str().unwrap_or(code).to_owned();
            return Some(Said { message, reasons: vec![code.to_owned()] });
        }
        let mut reasons: Vec<String> = error["status"].as_str().map(str::to_owned).into_iter().collect();
        for list in ["details", "errors"] {
            let entries = error[list].as_array().into_iter().flatten();
            reasons.extend(entries.filter_map(|entry| entry["reason"].as_str()).map(str::to_owned));
        }
        Some(Said { message: error["message"].as_str().unwrap_or_default().to_owned(), reasons })
    }

    /// Reads the bytes of a body.
    pub fn parse(body: &[u8]) -> Option<Said> {
        Said::read(&serde_json::from_slice(body).ok()?)
    }

    fn because(&self, reason: &str) -> bool {
        self.reasons.iter().any(|known| known.eq_ignore_ascii_case(reason))
    }

    fn mentions(&self, text: &str) -> bool {
        self.message.to_lowercase().contains(&text.to_lowercase())
    }

    /// Google's words on one line, without addresses and of bounded length.
    pub fn quote(&self) -> String {
        let words: Vec<&str> = self.message.split_whitespace().filter(|word| !word.contains("://")).collect();
        let line = words.join(" ");
        let end = line.char_indices().nth(LONGEST_QUOTE).map_or(line.len(), |(at, _)| at);
        line[..end].trim_end_matches('.').to_owned()
    }
}

/// What was being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A read.
    Read,
    /// A write.
    Write,
}

/// The error that an answer with a status other than 2xx means.
pub(super) fn refused(
    names: &Names,
    asked: Asked,
    status: u16,
    retry_after: Option<Duration>,
    said: Option<&Said>,
) -> Error {
    let nothing = Said::default();
    let said = said.unwrap_or(&nothing);
    let quote = said.quote();
    match status {
        400 => bad_request(names, asked, said),
        401 => Error::attention(Cause::Token, names.say(format!("the sign-in as {} is refused: {quote}; make a new key for the service account", names.account))),
        403 => forbidden(names, asked, retry_after, said),
        404 => Error::attention(
            Cause::NotFound,
            names.say(format!(
                "there is no spreadsheet `{}`, or {} may not see it: check `spreadsheet` in the configuration and share the spreadsheet with that address as editor",
                names.spreadsheet, names.account
            )),
        ),
        413 => Error::rejected(names.say("the request is too large")),
        429 => Error::throttled(retry_after, names.say("too many requests for Google's quota")),
        408 | 409 | 499 | 500..=599 => Error::unavailable(names.say(format!("Google answers {status}{}", after_colon(&quote)))),
        // A captive portal or a proxy answers in Google's place.
        200..=399 => Error::unavailable(names.say(format!("something else than Google answers (status {status})"))),
        _ => Error::malformed(names.say(format!("unexpected status {status}{}", after_colon(&quote)))),
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn bad_request(names: &Names, asked: Asked, said: &Said) -> Error {
    let quote = said.quote();
    if said.mentions("protected cell or object") {
        return Error::attention(
            Cause::NotPermitted,
            names.say(format!("a protected range stands in the way: allow {} to edit it", names.account)),
        );
    }
    if said.mentions("above the limit of 10000000 cells") {
        return Error::attention(
            Cause::Quota,
            names.say(
                "the spreadsheet is full (10 million cells): delete empty rows, columns and tabs, or move older rows into another spreadsheet and set `since`",
            ),
        );
    }
    if said.mentions("developer metadata would exceed") {
        return Error::attention(
            Cause::Quota,
            names.say("the spreadsheet's store for developer metadata is full: remove what other programs keep there"),
        );
    }
    if said.mentions("not supported for this document") {
        return Error::attention(
            Cause::NotFound,
            names.say(
                "the document is an Excel file: open it and save it as Google Sheets, then configure the new address",
            ),
        );
    }
    // Tab or column was removed since the layout was read; the next opening lays out anew. Nothing is wrong with a row.
    if ["no grid with id", "unable to parse range", "grid limits", "out of bounds"]
        .iter()
        .any(|text| said.mentions(text))
    {
        return Error::unavailable(names.say(format!("the layout changed while it was in use: {quote}")));
    }
    match asked {
        Asked::Write => Error::rejected(names.say(format!("Google refuses the request: {quote}"))),
        Asked::Read => Error::malformed(names.say(format!("Google does not understand a request: {quote}"))),
    }
}

fn forbidden(names: &Names, asked: Asked, retry_after: Option<Duration>, said: &Said) -> Error {
    if said.because("rateLimitExceeded") || said.because("userRateLimitExceeded") || said.because("RATE_LIMIT_EXCEEDED")
    {
        return Error::throttled(retry_after, names.say("too many requests for Google's quota"));
    }
    if said.because("SERVICE_DISABLED")
        || said.mentions("has not been used in project")
        || said.mentions("it is disabled")
    {
        let project = said
            .message
            .split_once("project ")
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
            .filter(|digits| !digits.is_empty())
            .map_or_else(|| "the key's project".to_owned(), |digits| format!("project {digits}"));
        return Error::attention(
            Cause::NotPermitted,
            names.say(format!("the Google Sheets API is off: enable it in the Google Cloud console for {project}")),
        );
    }
    if said.because("ACCESS_TOKEN_SCOPE_INSUFFICIENT") || said.mentions("insufficient authentication scopes") {
        return Error::attention(Cause::Token, names.say("the token lacks the scope for spreadsheets: make a new key"));
    }
    if said.mentions("valid API key") {
        return Error::unavailable(names.say("a request went out without a token"));
    }
    let cause = if asked == Asked::Read { Cause::NotFound } else { Cause::NotPermitted };
    Error::attention(cause, names.say(format!("not permitted: share the spreadsheet with {} as editor", names.account)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Kind;

    fn names() -> Names {
        Names { destination: "household".into(), spreadsheet: "1AbC".into(), account: "bot@p.iam.example".into() }
    }

    fn refuse(status: u16, body: &str) -> Error {
        refused(&names(), Asked::Write, status, None, Said::parse(body.as_bytes()).as_ref())
    }

    #[test]
    fn both_body_shapes_are_read() {
        let new = r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED","details":[{"@type":"x","reason":"SERVICE_DISABLED"}]}}"#;
        let old = r#"{"error":{"code":403,"message":"slow","errors":[{"message":"slow","domain":"usageLimits","reason":"rateLimitExceeded"}]}}"#;
        assert_eq!(refuse(403, new).cause(), Some(Cause::NotPermitted));
        assert_eq!(refuse(403, old).kind, Kind::Throttled { retry_after: None });
        let token = Said::parse(br#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#).unwrap();
        assert_eq!(token.quote(), "Invalid JWT Signature");
        assert_eq!(Said::parse(b"<html>502</html>"), None);
    }

    #[test]
    fn remedies_are_named() {
        let denied = refuse(
            403,
            r#"{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}"#,
        );
        assert_eq!(
            denied.message,
            "google-sheets `household`: not permitted: share the spreadsheet with bot@p.iam.example as editor"
        );
        let off = refuse(
            403,
            r#"{"error":{"code":403,"message":"Google Sheets API has not been used in project 4711 before or it is disabled. Enable it by visiting https://console.example/apis?project=4711 then retry.","status":"PERMISSION_DENIED"}}"#,
        );
        assert!(off.message.ends_with("for project 4711"), "{off}");
        let gone =
            refuse(404, r#"{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}"#);
        assert!(gone.message.contains("`1AbC`") && gone.cause() == Some(Cause::NotFound));
    }

    #[test]
    fn a_400_is_a_rejection_unless_the_layout_is_to_blame() {
        let body = |text: &str| format!(r#"{{"error":{{"code":400,"message":"{text}","status":"INVALID_ARGUMENT"}}}}"#);
        assert_eq!(refuse(400, &body("Invalid value at 'x'")).kind, Kind::Rejected);
        assert_eq!(refuse(400, &body("Invalid requests[1].appendCells: No grid with id: 7")).kind, Kind::Unavailable);
        assert_eq!(
            refuse(
                400,
                &body(
                    "This action would increase the number of cells in the workbook above the limit of 10000000 cells."
                )
            )
            .cause(),
            Some(Cause::Quota)
        );
        assert_eq!(refused(&names(), Asked::Read, 400, None, None).kind, Kind::Malformed);
    }

    #[test]
    fn statuses_without_a_body_have_a_kind_too() {
        for (status, transient) in [(429, true), (500, true), (502, true), (503, true), (302, true), (418, false)] {
            assert_eq!(refused(&names(), Asked::Write, status, None, None).is_transient(), transient, "{status}");
        }
    }

    #[test]
    fn a_quote_has_no_address_and_an_end() {
        let said = Said { message: format!("see https://a.example/?k=v\nnow {}", "я".repeat(500)), reasons: vec![] };
        assert!(said.quote().starts_with("see now я") && said.quote().chars().count() == LONGEST_QUOTE);
    }
}
