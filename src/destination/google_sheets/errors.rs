//! Refusals of Google's, turned into errors named by the reaction they cause.
//!
//! Error bodies come in two shapes (with `details`, and the older one with `errors`). A message is one line, names
//! the remedy and carries no address with a query. The way in which a request was sent is not known here.

use std::time::Duration;

use serde_json::Value;

use crate::remote::{Cause, Error};

/// MessageContext an error text needs.
#[derive(Clone, Debug)]
pub(super) struct MessageContext {
    /// The destination's name.
    pub destination: String,
    /// The spreadsheet's id.
    pub spreadsheet: String,
    /// The service account's address, once the key has been read.
    pub account: String,
}

impl MessageContext {
    /// The message with the destination in front.
    pub fn say(&self, what: impl std::fmt::Display) -> String {
        format!("google-sheets `{}`: {what}", self.destination)
    }
}

/// The content of an error body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ApiError {
    /// The text for people.
    pub message: String,
    /// Reasons for programs, from `details`, `errors` and `status`.
    reasons: Vec<String>,
}

/// The reason behind a refusal that is no missing right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    Suspended,
    Billing,
    Organisation,
}

/// Longest piece of Google's own text that is passed on.
const LONGEST_QUOTE: usize = 200;

impl ApiError {
    /// A message with its code; either may be empty.
    pub fn coded(message: &str, code: &str) -> ApiError {
        let reasons = [code].into_iter().filter(|code| !code.is_empty()).map(str::to_owned).collect();
        ApiError { message: if message.is_empty() { code } else { message }.to_owned(), reasons }
    }

    /// Reads an error body; `None` where it is not one.
    pub fn read(body: &Value) -> Option<ApiError> {
        let body = body.as_array().and_then(|list| list.first()).unwrap_or(body);
        let error = body.get("error")?;
        if let Some(code) = error.as_str() {
            let message = body["error_description"].as_str().unwrap_or(code).to_owned();
            return Some(ApiError { message, reasons: vec![code.to_owned()] });
        }
        let mut reasons: Vec<String> = error["status"].as_str().map(str::to_owned).into_iter().collect();
        for list in ["details", "errors"] {
            let entries = error[list].as_array().into_iter().flatten();
            reasons.extend(entries.filter_map(|entry| entry["reason"].as_str()).map(str::to_owned));
        }
        Some(ApiError { message: error["message"].as_str().unwrap_or_default().to_owned(), reasons })
    }

    /// Reads the bytes of a body.
    pub fn parse(body: &[u8]) -> Option<ApiError> {
        ApiError::read(&serde_json::from_slice(body).ok()?)
    }

    fn because(&self, reason: &str) -> bool {
        self.reasons.iter().any(|known| known.eq_ignore_ascii_case(reason))
    }

    fn mentions(&self, text: &str) -> bool {
        self.message.to_lowercase().contains(&text.to_lowercase())
    }

    /// Looks for one of these words as a word of its own.
    fn has_any(&self, words: &[&str]) -> bool {
        let text = self.message.to_lowercase();
        let mut found = text.split(|c: char| !c.is_alphanumeric() && c != '-');
        found.any(|word| words.contains(&word))
    }

    fn mentions_any(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.mentions(text))
    }

    /// A limit is reached.
    fn is_of_a_limit(&self) -> bool {
        self.mentions_any(&["limit", "maximum", "exceed", "too many", "too large", "too big", "not enough", "no more"])
            || self.mentions_any(&["capacity", "quota", "run out", "cannot hold", "can't hold"])
            || self.has_any(&["full", "max", "most"])
    }

    /// A cell holds too much: a row is to blame.
    fn is_of_a_cell(&self) -> bool {
        let whole = self.has_any(&["workbook", "spreadsheet", "document", "file"]);
        !whole
            && (self.mentions("character") || self.mentions_any(&["single cell", "one cell", "per cell", "in a cell"]))
    }

    /// The request is too large as it is: a smaller one may pass.
    fn is_of_a_request(&self) -> bool {
        self.has_any(&["payload", "bytes"]) || self.mentions("request size") || self.mentions("request is too large")
    }

    /// The owner's storage is used up.
    fn is_of_storage(&self) -> bool {
        self.reasons.iter().any(|reason| reason.to_lowercase().contains("storage"))
            || self.mentions("storage") && (self.is_of_a_limit() || self.mentions("insufficient"))
    }

    /// A part that spreadsheets consist of has reached its limit. Google publishes no list of wordings and changes the
    /// figures, so every mention counts. Taken for a fault of rows, a full spreadsheet would set rows aside one by one.
    fn is_of_a_full_place(&self) -> bool {
        const PLACE: [&str; 12] = [
            "workbook",
            "workbooks",
            "spreadsheet",
            "spreadsheets",
            "document",
            "file",
            "cells",
            "rows",
            "columns",
            "tabs",
            "sheets",
            "sheet",
        ];
        let moved = self.mentions("grid limits") && !self.has_any(&["workbook", "spreadsheet"]);
        let right = self.mentions("permission");
        self.has_any(&PLACE)
            && self.is_of_a_limit()
            && !right
            && !moved
            && !self.is_of_a_cell()
            && !self.is_of_a_request()
    }

    /// The words of a right that is simply missing, and nothing else that would explain it.
    fn is_plain_denial(&self) -> bool {
        const PLAIN: [&str; 4] =
            ["permission_denied", "forbidden", "insufficientpermissions", "insufficientfilepermissions"];
        let is_plain = |reason: &String| PLAIN.contains(&reason.to_lowercase().as_str());
        let denied = self.mentions("permission") && self.mentions_any(&["not have", "insufficient", "denied", "lack"]);
        denied && self.reasons.iter().all(is_plain) && self.hint().is_none() && !self.mentions("project")
    }

    /// The code for programs that says more than the status.
    fn reason(&self) -> Option<&String> {
        let general = ["PERMISSION_DENIED", "FORBIDDEN", "INVALID_ARGUMENT"];
        let says_more =
            |reason: &&String| !general.contains(&reason.to_uppercase().as_str()) && **reason != self.message;
        self.reasons.iter().find(says_more)
    }

    /// The number of the project that the words name.
    fn project(&self) -> Option<String> {
        let (_, rest) = self.message.split_once("project ")?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(digits).filter(|digits| !digits.is_empty())
    }

    /// The reason behind a refusal, where the reason is no missing share.
    fn hint(&self) -> Option<Hint> {
        let code = self.reasons.join(" ").to_lowercase().replace('_', " ");
        let either = |texts: &[&str]| self.mentions_any(texts) || texts.iter().any(|text| code.contains(text));
        if either(&["suspend", "terms of service", "abuse", "consumer invalid"]) {
            Some(Hint::Suspended)
        } else if either(&["billing", "payment"]) {
            Some(Hint::Billing)
        } else if either(&[
            "organi",
            "policy",
            "domain",
            "admin",
            "constraint",
            "vpc",
            "perimeter",
            "org internal",
            "disabled",
        ]) {
            Some(Hint::Organisation)
        } else {
            None
        }
    }

    fn remedy(&self) -> &'static str {
        match self.hint() {
            Some(Hint::Suspended) => {
                "have the project restored in the Google Cloud console, or make a key in another project"
            }
            Some(Hint::Billing) => "set the billing of the project right in the Google Cloud console",
            Some(Hint::Organisation) => {
                "ask whoever administers that Google organisation; README.md, Google Sheets, names the ways out"
            }
            None => "do what it says, or ask whoever administers the Google Cloud project",
        }
    }

    /// Tells a decision of an authority above the owner from other refusals.
    pub fn is_decided_above(&self) -> bool {
        self.hint().is_some()
    }

    /// Google's words on one line, without addresses and of bounded length.
    pub fn quote(&self) -> String {
        let words: Vec<&str> = self.message.split_whitespace().filter(|word| !word.contains("://")).collect();
        let line = words.join(" ");
        let end = line.char_indices().nth(LONGEST_QUOTE).map_or(line.len(), |(at, _)| at);
        line[..end].trim_end_matches('.').to_owned()
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A read.
    Read,
    /// A write.
    Write,
}

/// The error that an answer with a status other than 2xx means.
pub(super) fn refused(
    names: &MessageContext,
    asked: Asked,
    status: u16,
    retry_after: Option<Duration>,
    said: Option<&ApiError>,
) -> Error {
    let nothing = ApiError::default();
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
        402 | 423 | 507 => shut(names, said).unwrap_or_else(|| closed(names, &format!("access is refused (status {status})"), said)),
        413 => shut(names, said).unwrap_or_else(|| Error::rejected(names.say("the request is too large"))),
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

fn bad_request(names: &MessageContext, asked: Asked, said: &ApiError) -> Error {
    let quote = said.quote();
    if said.mentions("developer metadata") && said.is_of_a_limit() {
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
    if let Some(error) = shut(names, said) {
        return error;
    }
    // Tab or column was removed since the layout was read; the next opening lays out anew. No row is to blame.
    if ["no grid with id", "unable to parse range", "grid limits", "out of bounds", "beyond the last requested"]
        .iter()
        .any(|text| said.mentions(text))
    {
        return Error::unavailable(names.say(format!("the layout changed while it was in use: {quote}")));
    }
    let what = names.say(format!("Google refuses the request: {quote}"));
    match asked {
        Asked::Write if said.is_of_a_cell() || said.is_of_a_request() => Error::rejected(what),
        Asked::Write => Error::unexplained(what),
        Asked::Read => Error::malformed(names.say(format!("Google does not understand a request: {quote}"))),
    }
}

/// The error of a place that is full or may not be written to, whatever the status it comes under.
fn shut(names: &MessageContext, said: &ApiError) -> Option<Error> {
    let (quote, account) = (said.quote(), &names.account);
    if said.is_of_storage() {
        let remedy = "make room in the Google storage of the spreadsheet's owner, or buy more; rows wait until then";
        return Some(Error::attention(
            Cause::Quota,
            names.say(format!("Google's storage is full ({quote}): {remedy}")),
        ));
    }
    if said.mentions("protected") {
        let what = format!("a protected range stands in the way: allow {account} to edit it; rows wait until then");
        return Some(Error::attention(Cause::NotPermitted, names.say(what)));
    }
    if said.has_any(&["read-only", "view-only", "locked", "archived"]) || said.mentions("read only") {
        let what = format!(
            "the spreadsheet may only be read ({quote}): have its owner let {account} write; rows wait until then"
        );
        return Some(Error::attention(Cause::NotPermitted, names.say(what)));
    }
    said.is_of_a_full_place().then(|| {
        let remedy = "delete empty rows, columns and tabs, or move older rows into another spreadsheet and set `since`";
        let what = format!("the spreadsheet is full ({quote}): {remedy}; rows wait until then");
        Error::attention(Cause::Quota, names.say(what))
    })
}

fn forbidden(names: &MessageContext, asked: Asked, retry_after: Option<Duration>, said: &ApiError) -> Error {
    if ["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"]
        .iter()
        .any(|reason| said.because(reason))
        || said.mentions("quota metric")
    {
        return Error::throttled(retry_after, names.say("too many requests for Google's quota"));
    }
    if said.because("SERVICE_DISABLED") || said.mentions("has not been used in project") {
        let project =
            said.project().map_or_else(|| "the key's project".to_owned(), |digits| format!("project {digits}"));
        return Error::attention(
            Cause::Closed,
            names.say(format!("the Google Sheets API is off: enable it in the Google Cloud console for {project}")),
        );
    }
    if said.because("ACCESS_TOKEN_SCOPE_INSUFFICIENT") || said.mentions("insufficient authentication scopes") {
        return Error::attention(Cause::Token, names.say("the token lacks the scope for spreadsheets: make a new key"));
    }
    if said.mentions("valid API key") {
        return Error::unavailable(names.say("a request went out without a token"));
    }
    if let Some(error) = shut(names, said) {
        return error;
    }
    if said.is_plain_denial() {
        let cause = if asked == Asked::Read { Cause::NotFound } else { Cause::NotPermitted };
        let (quote, account) = (said.quote(), &names.account);
        let what = format!("not permitted ({quote}): share the spreadsheet with {account} as editor");
        return Error::attention(cause, names.say(what));
    }
    closed(names, "access is refused", said)
}

/// The error of a refusal that no sharing and no new key ends, in Google's own words.
pub(super) fn closed(names: &MessageContext, what: &str, said: &ApiError) -> Error {
    let quote = said.quote();
    if quote.is_empty() {
        let what = format!(
            "{what} without a reason: something between here and Google may do that (a proxy, a firewall); if not, see whether {} is an editor of the spreadsheet",
            names.account
        );
        return Error::attention(Cause::Closed, names.say(what));
    }
    let reason = said.reason().map_or_else(String::new, |reason| format!(" ({reason})"));
    let remedy = said.remedy();
    Error::attention(Cause::Closed, names.say(format!("{what}; Google says: {quote}{reason}: {remedy}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Kind;

    fn names() -> MessageContext {
        MessageContext {
            destination: "household".into(),
            spreadsheet: "1AbC".into(),
            account: "bot@p.iam.example".into(),
        }
    }

    fn refuse(status: u16, body: &str) -> Error {
        refused(&names(), Asked::Write, status, None, ApiError::parse(body.as_bytes()).as_ref())
    }

    #[test]
    fn both_body_shapes_are_read() {
        let new = r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED","details":[{"@type":"x","reason":"SERVICE_DISABLED"}]}}"#;
        let old = r#"{"error":{"code":403,"message":"slow","errors":[{"message":"slow","domain":"usageLimits","reason":"rateLimitExceeded"}]}}"#;
        assert_eq!(refuse(403, new).cause(), Some(Cause::Closed));
        assert_eq!(refuse(403, old).kind, Kind::Throttled { retry_after: None });
        let token =
            ApiError::parse(br#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#).unwrap();
        assert_eq!(token.quote(), "Invalid JWT Signature");
        assert_eq!(ApiError::parse(b"<html>502</html>"), None);
    }

    #[test]
    fn remedies_are_named() {
        let denied = refuse(
            403,
            r#"{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}"#,
        );
        assert_eq!(
            denied.message,
            "google-sheets `household`: not permitted (The caller does not have permission): share the spreadsheet with bot@p.iam.example as editor"
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
        assert_eq!(refuse(400, &body("Invalid value at 'x'")).kind, Kind::Unexplained);
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

    fn refuse_with(status: u16, message: &str, reason: &str) -> Error {
        let body = serde_json::json!({"error": {"code": status, "message": message, "status": "PERMISSION_DENIED",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]}});
        refuse(status, &body.to_string())
    }

    #[test]
    fn a_full_place_is_known_by_its_kind_whatever_the_words_and_the_figure() {
        for text in [
            "Invalid requests[1].appendCells: This action would increase the number of cells in the workbook above the limit of 10000000 cells.",
            "This action would increase the number of cells in the workbook above the limit of 20000000 cells.",
            "Your workbook has reached its maximum size.",
            "The spreadsheet is too large.",
            "Invalid requests[0].addSheet: The document has too many sheets.",
            "This action would increase the number of columns in the sheet above the limit of 18278 columns",
            "Cell limit reached: the file can't hold more cells",
            "The spreadsheet exceeds 10,000,000 characters",
        ] {
            let error = refuse_with(400, text, "INVALID_ARGUMENT");
            assert_eq!(error.cause(), Some(Cause::Quota), "{text}: {error}");
            assert!(error.message.contains("delete empty rows"), "{error}");
        }
        for (status, text) in [
            (403, "The user's Drive storage quota has been exceeded."),
            (400, "Google storage is full"),
            (413, "Not enough storage"),
            (507, "Insufficient storage"),
        ] {
            let error = refuse_with(status, text, "x");
            assert!(
                error.cause() == Some(Cause::Quota) && error.message.contains("make room in the Google"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_cell_a_request_and_a_moved_column_are_no_full_place() {
        for (text, kind) in [
            ("Your input contains more than the maximum of 50000 characters in a single cell.", Kind::Rejected),
            ("Invalid requests[1].appendCells: more than the maximum of 60000 characters", Kind::Rejected),
            ("Request payload size exceeds the limit: 10485760 bytes.", Kind::Rejected),
            ("Range (Sheet1!Z1) exceeds grid limits. Max rows: 10, max columns: 26", Kind::Unavailable),
            (
                "Invalid requests[0].appendCells: Attempting to write column: 26, beyond the last requested column of: 25",
                Kind::Unavailable,
            ),
            ("The response is too large.", Kind::Unexplained),
            ("Invalid requests[1].appendCells: Not today.", Kind::Unexplained),
        ] {
            assert_eq!(refuse_with(400, text, "INVALID_ARGUMENT").kind, kind, "{text}");
        }
    }

    #[test]
    fn sharing_is_advised_for_a_plain_missing_right_alone() {
        for text in ["The caller does not have permission", "Insufficient permissions for this file."] {
            assert!(refuse_with(403, text, "forbidden").message.contains("share the spreadsheet"), "{text}");
        }
        for (text, reason, remedy) in [
            ("Permission denied: Consumer 'project_number:42' has been suspended.", "CONSUMER_SUSPENDED", "restored"),
            ("The caller does not have permission", "CONSUMER_SUSPENDED", "(CONSUMER_SUSPENDED)"),
            ("This API method requires billing to be enabled.", "BILLING_DISABLED", "billing of the project"),
            ("Request is prohibited by organization's policy.", "SECURITY_POLICY_VIOLATED", "administers that Google"),
            ("The domain administrators have disabled Drive apps.", "domainPolicy", "administers that Google"),
            ("Caller does not have required permission to use project p.", "USER_PROJECT_DENIED", "do what it says"),
            ("Something nobody has read before.", "NEW_REASON", "do what it says"),
        ] {
            let error = refuse_with(403, text, reason);
            assert_eq!(error.cause(), Some(Cause::Closed), "{error}");
            assert!(error.message.contains(text.trim_end_matches('.')) && error.message.contains(remedy), "{error}");
            assert!(!error.message.contains("share"), "{error}");
        }
        assert!(refuse(403, "<html>403</html>").message.contains("a proxy, a firewall"));
    }

    #[test]
    fn statuses_without_a_body_have_a_kind_too() {
        for (status, transient) in [(429, true), (500, true), (502, true), (503, true), (302, true), (418, false)] {
            assert_eq!(refused(&names(), Asked::Write, status, None, None).is_transient(), transient, "{status}");
        }
    }

    #[test]
    fn a_quote_has_no_address_and_an_end() {
        let said =
            ApiError { message: format!("see https://a.example/?k=v\nnow {}", "я".repeat(500)), reasons: vec![] };
        assert!(said.quote().starts_with("see now я") && said.quote().chars().count() == LONGEST_QUOTE);
    }
}
