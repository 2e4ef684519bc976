//! Reads Airtable's refusals, in any of their five envelopes, and names the reaction.
//!
//! Pure: from status, headers and body to a [`Refusal`]. Text quoted from the service is cut short, made one line and
//! freed of the token before it reaches a message; HTML from a proxy is never quoted.

use std::time::Duration;

use serde_json::Value;

use crate::remote::{Cause, Error};

/// Airtable's penalty box: after a refusal for speed the whole base waits this long.
const PENALTY: Duration = Duration::from_secs(30);

/// Longest stretch of the service's own words in a message, in characters.
const QUOTE_LIMIT: usize = 240;

/// The connector's own remedy for a refusal, before the refusal becomes an error for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// No remedy: hand the error on.
    Final,
    /// A name or id is unknown: read the layout once more, then hand the error on.
    Stale,
    /// A cell does not suit its field: read the layout once more, then find the row that is to blame.
    Value,
    /// A select lacks the choice in a cell, and the choice may not be made; the words name no field. The remedy is that
    /// of [`Reaction::Value`].
    Choice,
    /// The base holds the id of a row more than once: find out which.
    Doubled,
    /// A record id no longer exists: somebody deleted the row a moment ago.
    Gone,
    /// The place in a listing is no longer known: list again from the beginning.
    Expired,
    /// The request is too large: send fewer rows at once.
    TooLarge,
}

/// A request that was not answered with what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// The remedy to try first.
    pub reaction: Reaction,
    /// The error if the remedy does not help.
    pub error: Error,
    /// The service's own words, fit for a verdict.
    pub said: String,
    /// The plan's calls of this month are used up, says the service.
    pub quota: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { reaction: Reaction::Final, said: error.message.clone(), error, quota: false }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        refusal.error
    }
}

/// The purpose of a request; decides which permission a refusal asks the owner for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Asking for the token's owner; optional.
    Token,
    /// The bases the token may see; optional.
    Bases,
    /// Tables and fields.
    ReadLayout,
    /// A new table or field.
    CreateLayout,
    /// Finding rows.
    ReadRows,
    /// Writing or deleting rows.
    WriteRows,
}

impl Purpose {
    fn deed(self) -> &'static str {
        match self {
            Purpose::Token => "ask about the token",
            Purpose::Bases => "list bases",
            Purpose::ReadLayout => "read the tables",
            Purpose::CreateLayout => "create tables and fields",
            Purpose::ReadRows => "read rows",
            Purpose::WriteRows => "write rows",
        }
    }

    /// The scope a token needs for it.
    pub(super) fn scope(self) -> &'static str {
        match self {
            Purpose::Token => "user.email:read",
            Purpose::Bases | Purpose::ReadLayout => "schema.bases:read",
            Purpose::CreateLayout => "schema.bases:write",
            Purpose::ReadRows => "data.records:read",
            Purpose::WriteRows => "data.records:write",
        }
    }

    /// The role the token's user needs in the base.
    fn role(self) -> &'static str {
        match self {
            Purpose::CreateLayout => "creator",
            Purpose::WriteRows => "editor",
            _ => "reader",
        }
    }
}

/// Every scope a token needs, in the words of a remedy: who adds one is told of the others at once.
pub(super) fn in_all() -> String {
    let [read, write, schema] = [Purpose::ReadRows, Purpose::WriteRows, Purpose::ReadLayout].map(Purpose::scope);
    let create = Purpose::CreateLayout.scope();
    format!("in all it needs {read}, {write} and {schema}, and {create} to make tables and fields")
}

/// The names that make a message useful.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    /// ``airtable `household` ``.
    pub service: String,
    /// `app…`
    pub base: String,
    /// The table as configured.
    pub table: String,
}

/// An answer that is no success, as it came.
pub(super) struct Answer<'a> {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: &'a [u8],
}

/// Type and message of an error body; both may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub kind: String,
    pub message: String,
}

/// Reads the four JSON envelopes; `None` for the fifth (empty, HTML) and for whatever is no error body at all.
pub(super) fn envelope(body: &[u8]) -> Option<Said> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = |error: &Value| match error {
        Value::String(kind) => Said { kind: kind.clone(), message: String::new() },
        other => {
            // The plural envelope calls the type `error`; read either name in either envelope.
            let kind = [text(other, "type"), text(other, "error")].into_iter().find(|kind| !kind.is_empty());
            Said { kind: kind.unwrap_or_default(), message: text(other, "message") }
        }
    };
    match (body.get("error"), body.get("errors")) {
        (Some(error), _) if !error.is_null() => Some(read(error)),
        (_, Some(Value::Array(errors))) if !errors.is_empty() => errors.first().map(read),
        _ => None,
    }
}

impl Wording {
    /// The refusal that `answer` is, by the table of reactions.
    pub(super) fn refusal(&self, purpose: Purpose, answer: &Answer, token: &str) -> Refusal {
        let found = envelope(answer.body);
        let Said { kind, message } = found.clone().unwrap_or_default();
        let said = quote(if message.is_empty() { &kind } else { &message }, token);
        let (reaction, error) = if is_quota(&kind, &message) {
            (Reaction::Final, self.quota(&said))
        } else {
            self.react(purpose, answer, &kind, &message, &said)
        };
        let said = if said.is_empty() { format!("status {} without a reason", answer.status) } else { said };
        Refusal { reaction, error, said, quota: is_quota(&kind, &message) }
    }

    fn react(&self, purpose: Purpose, answer: &Answer, kind: &str, message: &str, said: &str) -> (Reaction, Error) {
        if let Some(error) = self.shut(answer.status, kind, message, said) {
            return (Reaction::Final, error);
        }
        match answer.status {
            401 => (Reaction::Final, self.token_refused(said)),
            403 | 404 => self.unreachable(purpose, answer.status, kind, said),
            413 => (Reaction::TooLarge, Error::rejected(format!("{}: too large for one request", self.service))),
            422 => self.unprocessable(purpose, kind, message, said),
            429 => (Reaction::Final, self.throttled(answer.retry_after)),
            408 | 500..=599 => (Reaction::Final, self.down(answer, said)),
            300..=399 => (
                Reaction::Final,
                Error::malformed(format!(
                    "{}: the service points elsewhere (status {}): check `base_url`",
                    self.service, answer.status
                )),
            ),
            status => (
                Reaction::Final,
                Error::malformed(format!(
                    "{}: unexpected status {status} to {}{}",
                    self.service,
                    purpose.deed(),
                    tail(said)
                )),
            ),
        }
    }

    fn token_refused(&self, said: &str) -> Error {
        Error::attention(
            Cause::Token,
            format!(
                "{}: the token is refused: make a new one at airtable.com/create/tokens and put it into `token`{}",
                self.service,
                tail(said)
            ),
        )
    }

    /// The error of a place that is full or closed, whatever the status it comes under.
    fn shut(&self, status: u16, kind: &str, message: &str, said: &str) -> Option<Error> {
        let Wording { service, base, table } = self;
        if ![400, 402, 403, 409, 413, 422, 423, 507].contains(&status) {
            return None;
        }
        if is_full(kind, message) {
            let what =
                format!("{service}: base `{base}` is full: delete rows or change the plan; rows wait until then");
            return Some(Error::attention(Cause::Quota, format!("{what}{}", tail(said))));
        }
        if status == 423 || is_read_only(message) {
            let what =
                format!("{service}: table `{table}` may only be read: unlock it, or name another one in `table`");
            return Some(Error::attention(Cause::NotPermitted, format!("{what}; rows wait until then{}", tail(said))));
        }
        (status == 402 || is_decided_above(kind, message)).then(|| {
            let what = format!("{service}: base `{base}` is closed to bankfeed; do what airtable says, or ask whoever");
            Error::attention(
                Cause::Closed,
                format!("{what} administers the workspace; rows wait until then{}", tail(said)),
            )
        })
    }

    /// Airtable does not tell "missing" from "not for you", so the message names base, table and scope alike.
    fn unreachable(&self, purpose: Purpose, status: u16, kind: &str, said: &str) -> (Reaction, Error) {
        if kind == "MODEL_ID_NOT_FOUND" {
            return (Reaction::Gone, Error::rejected(format!("{}: a row is gone{}", self.service, tail(said))));
        }
        let Wording { service, base, table } = self;
        let (deed, scope, role) = (purpose.deed(), purpose.scope(), purpose.role());
        let forbidden = kind == "INVALID_PERMISSIONS" || purpose == Purpose::CreateLayout;
        if status == 403 && forbidden {
            let message = format!(
                "{service}: the token may not {deed} in base `{base}` (table `{table}`): it needs the scope {scope}, \
                 and its user at least the role {role} in that base; {}{}",
                in_all(),
                tail(said)
            );
            return (Reaction::Final, Error::attention(Cause::NotPermitted, message));
        }
        let message = format!(
            "{service}: cannot {deed} of table `{table}` in base `{base}`: check `base` and `table`, add the base to the \
             token's list, and give the token the scope {scope} (its user: at least {role}; {}){}",
            in_all(),
            tail(said)
        );
        let rows = matches!(purpose, Purpose::ReadRows | Purpose::WriteRows);
        (if rows { Reaction::Stale } else { Reaction::Final }, Error::attention(Cause::NotFound, message))
    }

    fn unprocessable(&self, purpose: Purpose, kind: &str, message: &str, said: &str) -> (Reaction, Error) {
        let Wording { service, table, .. } = self;
        let layout =
            |why: &str| Error::attention(Cause::Layout, format!("{service}: table `{table}`: {why}{}", tail(said)));
        // Known by its text alone: nobody has published the type.
        if message.to_lowercase().contains("cannot update more than one record") {
            return (Reaction::Doubled, layout("a transaction stands there more than once: delete the extra rows"));
        }
        match kind {
            "UNKNOWN_FIELD_NAME" => {
                (Reaction::Stale, layout("a field is missing: restore it or leave it out of `columns`"))
            }
            "INVALID_FILTER_BY_FORMULA" => (Reaction::Stale, layout("the id column cannot be searched")),
            "INVALID_MULTIPLE_CHOICE_OPTIONS" => (Reaction::Choice, layout("a field takes no such choice")),
            "INVALID_VALUE_FOR_COLUMN" => {
                (Reaction::Value, layout("a field takes no such value: give it back its type"))
            }
            "ROW_DOES_NOT_EXIST" => {
                (Reaction::Gone, Error::rejected(format!("{service}: a row is gone{}", tail(said))))
            }
            "LIST_RECORDS_ITERATOR_NOT_AVAILABLE" | "INVALID_OFFSET_VALUE" => {
                (Reaction::Expired, Error::unavailable(format!("{service}: the listing has expired and starts again")))
            }
            "INVALID_REQUEST_UNKNOWN" | "INVALID_RECORDS" => (
                Reaction::Final,
                Error::malformed(format!("{service}: a request of bankfeed's is not understood{}", tail(said))),
            ),
            _ if message.to_lowercase().contains("characters") => {
                (Reaction::Value, layout("a field takes no text as long as that"))
            }
            _ if purpose == Purpose::CreateLayout => {
                (Reaction::Final, layout("the table or a field of it cannot be made: make it by hand"))
            }
            _ => {
                let what = format!("{service}: table `{table}`: the service refuses the rows{}", tail(said));
                (Reaction::Final, Error::unexplained(what))
            }
        }
    }

    fn throttled(&self, asked: Option<Duration>) -> Error {
        // The jitter keeps several programs on one base from coming out of the penalty box together.
        let wait = PENALTY + Duration::from_millis(fastrand::u64(0..5_000));
        let wait = wait.max(asked.unwrap_or_default());
        Error::throttled(
            Some(wait),
            format!("{}: too many requests at once: base `{}` waits {} s", self.service, self.base, wait.as_secs()),
        )
    }

    fn down(&self, answer: &Answer, said: &str) -> Error {
        let message = format!("{}: the service is down or slow (status {}){}", self.service, answer.status, tail(said));
        match answer.retry_after {
            Some(wait) => Error::throttled(Some(wait), message),
            None => Error::unavailable(message),
        }
    }

    fn quota(&self, said: &str) -> Error {
        Error::attention(
            Cause::Quota,
            format!("{}: the plan's API calls of this month are used up{}", self.service, tail(said)),
        )
    }
}

/// ` (airtable says: …)`, or nothing.
fn tail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (airtable says: {said})") }
}

fn is_quota(kind: &str, message: &str) -> bool {
    kind == "PUBLIC_API_BILLING_LIMIT_EXCEEDED" || message.to_lowercase().contains("api billing plan limit exceeded")
}

/// True for the refusal of a full base. Its real text is not published; any type or text that speaks of such a limit
/// counts, because the alternative would set ten good rows aside one by one.
fn is_full(kind: &str, message: &str) -> bool {
    const KNOWN: [&str; 5] = [
        "INVALID_RECORDS",
        "INVALID_VALUE_FOR_COLUMN",
        "INVALID_MULTIPLE_CHOICE_OPTIONS",
        "INVALID_FILTER_BY_FORMULA",
        "UNKNOWN_FIELD_NAME",
    ];
    const PLACE: [&str; 10] =
        ["record", "records", "row", "rows", "base", "table", "workspace", "plan", "storage", "space"];
    const LIMIT: [&str; 11] =
        ["limit", "limits", "maximum", "quota", "full", "upgrade", "exceed", "exceeds", "exceeded", "capacity", "max"];
    let words = |text: &str| -> Vec<String> {
        text.to_lowercase().split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect()
    };
    let speaks = |words: &[String]| {
        let any = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
        any(&PLACE) && (any(&LIMIT) || words.windows(2).any(|two| two[0] == "too" && two[1] == "many"))
    };
    // "A maximum of 10 records can be created per request" is a mistake of ours, not a full base; and a text that is too
    // long for its cell is the row's affair.
    let other = words(message).iter().any(|word| word.starts_with("request") || word.starts_with("character"));
    !KNOWN.contains(&kind) && !kind.contains("RATE") && !other && (speaks(&words(kind)) || speaks(&words(message)))
}

fn is_read_only(message: &str) -> bool {
    let message = message.to_lowercase();
    ["read-only", "read only", "locked", "archived", "synced table"].iter().any(|word| message.contains(word))
}

/// True if an authority above the owner, or the provider, has decided the refusal.
fn is_decided_above(kind: &str, message: &str) -> bool {
    let text = format!("{} {}", kind.to_lowercase(), message.to_lowercase());
    ["organi", "administrator", "admin ", "policy", "suspend", "billing", "deactivated"]
        .iter()
        .any(|word| text.contains(word))
}

/// The service's words on one line, not too long, without the token.
fn quote(text: &str, token: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = if token.is_empty() { line } else { line.replace(token, "…") };
    match line.char_indices().nth(QUOTE_LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::remote::Kind;

    use super::*;

    const TOKEN: &str = "patSECRET0000000.abcdef";

    fn refusal(purpose: Purpose, status: u16, body: &str) -> Refusal {
        let wording = Wording { service: "airtable `books`".into(), base: "app1".into(), table: "Transactions".into() };
        wording.refusal(purpose, &Answer { status, retry_after: None, body: body.as_bytes() }, TOKEN)
    }

    fn written(status: u16, body: &str) -> Refusal {
        refusal(Purpose::WriteRows, status, body)
    }

    #[test]
    fn all_five_envelopes_are_read() {
        let said = |kind: &str, message: &str| Some(Said { kind: kind.into(), message: message.into() });
        assert_eq!(envelope(br#"{"error":{"type":"A","message":"b"}}"#), said("A", "b"));
        assert_eq!(envelope(br#"{"error":{"type":"A"}}"#), said("A", ""));
        assert_eq!(envelope(br#"{"error":"A"}"#), said("A", ""));
        assert_eq!(envelope(br#"{"errors":[{"error":"A","message":"b"}]}"#), said("A", "b"));
        assert_eq!(envelope(b""), None);
        assert_eq!(envelope(b"<html>502</html>"), None);
        assert_eq!(envelope(br#"{"records":[]}"#), None);
    }

    #[test]
    fn both_kinds_of_429_are_told_apart_in_any_envelope() {
        for body in
            [r#"{"error":{"type":"RATE_LIMIT_REACHED"}}"#, r#"{"errors":[{"error":"RATE_LIMIT_REACHED"}]}"#, "", "<p>"]
        {
            let error = written(429, body).error;
            let Kind::Throttled { retry_after: Some(wait) } = error.kind else { panic!("{body}: {error:?}") };
            assert!((30..36).contains(&wait.as_secs()), "{wait:?}");
        }
        for body in [
            r#"{"errors":[{"error":"PUBLIC_API_BILLING_LIMIT_EXCEEDED","message":"x"}]}"#,
            r#"{"error":{"type":"PUBLIC_API_BILLING_LIMIT_EXCEEDED"}}"#,
            r#"{"error":"PUBLIC_API_BILLING_LIMIT_EXCEEDED"}"#,
        ] {
            let refusal = written(429, body);
            assert_eq!(refusal.error.cause(), Some(Cause::Quota), "{body}");
            assert!(refusal.quota);
        }
    }

    #[test]
    fn a_longer_wait_asked_for_is_kept() {
        let wording = Wording { service: "airtable `books`".into(), base: "app1".into(), table: "T".into() };
        let asked = |status| Answer { status, retry_after: Some(Duration::from_secs(90)), body: b"" };
        for status in [429, 503] {
            let kind = wording.refusal(Purpose::WriteRows, &asked(status), TOKEN).error.kind;
            assert_eq!(kind, Kind::Throttled { retry_after: Some(Duration::from_secs(90)) });
        }
    }

    #[test]
    fn a_service_that_is_down_is_unavailable_and_its_page_is_not_quoted() {
        for (status, body) in [(500, ""), (502, "<html><h1>Bad Gateway</h1></html>"), (503, "{}"), (408, "")] {
            let error = written(status, body).error;
            assert_eq!(error.kind, Kind::Unavailable, "{status}");
            assert!(!error.message.contains("Gateway"), "{error}");
        }
    }

    #[test]
    fn doubles_are_known_by_their_text_and_a_full_base_by_its_subject() {
        let doubled = r#"{"error":{"type":"ANY","message":"Cannot update more than one record for key"}}"#;
        assert_eq!(written(422, doubled).reaction, Reaction::Doubled);
        let full = written(422, r#"{"error":{"type":"ANY","message":"This base has reached its record limit"}}"#);
        assert_eq!(full.error.cause(), Some(Cause::Quota));
        let strange = written(422, r#"{"error":{"type":"ANY","message":"No"}}"#);
        assert_eq!((&strange.error.kind, strange.said.as_str()), (&Kind::Unexplained, "No"));
    }

    #[test]
    fn a_place_that_is_full_or_closed_is_known_by_its_kind_whatever_status_and_words() {
        for (status, kind, message) in [
            (422, "RECORD_LIMIT_EXCEEDED", "This base has reached the limit of 1000 records of its plan"),
            (403, "ANY", "You have exceeded the number of records of this base. Upgrade your plan."),
            (413, "BASE_FULL", ""),
            (402, "ANY", "The workspace is over its limits"),
            (422, "TOO_MANY_ROWS", "no"),
            (422, "ANY", "There are too many records in this table"),
        ] {
            let body = serde_json::json!({"error": {"type": kind, "message": message}}).to_string();
            let refusal = written(status, &body);
            assert_eq!((refusal.reaction, refusal.error.cause()), (Reaction::Final, Some(Cause::Quota)), "{message}");
            assert!(refusal.error.message.contains("`app1` is full: delete rows or change the plan"), "{refusal:?}");
        }
        for (status, message, cause) in [
            (422, "This table is locked", Cause::NotPermitted),
            (403, "You cannot create records in a synced table", Cause::NotPermitted),
            (403, "Your organization's policy forbids personal access tokens", Cause::Closed),
            (402, "Pay first", Cause::Closed),
        ] {
            let body = serde_json::json!({"error": {"type": "ANY", "message": message}}).to_string();
            let error = written(status, &body).error;
            assert!(error.cause() == Some(cause) && error.message.contains(message), "{error}");
        }
    }

    #[test]
    fn a_request_or_a_cell_that_is_too_large_is_no_full_base() {
        for (status, message, reaction) in [
            (422, "A maximum of 10 records can be created per request but you have provided 100.", Reaction::Final),
            (413, "Request entity exceeds the limit", Reaction::TooLarge),
            (422, "The text exceeds the maximum of 100000 characters in this table", Reaction::Value),
        ] {
            let body = serde_json::json!({"error": {"type": "ANY", "message": message}}).to_string();
            let refusal = written(status, &body);
            assert_eq!(refusal.reaction, reaction, "{message}");
            assert_ne!(refusal.error.cause(), Some(Cause::Quota), "{message}");
        }
    }

    #[test]
    fn messages_name_base_table_and_scope_and_never_the_token() {
        let missing = r#"{"error":{"type":"INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND","message":"no"}}"#;
        let scopes = [
            (Purpose::ReadLayout, "schema.bases:read"),
            (Purpose::CreateLayout, "schema.bases:write"),
            (Purpose::ReadRows, "data.records:read"),
            (Purpose::WriteRows, "data.records:write"),
        ];
        for (purpose, scope) in scopes {
            for (status, body) in [(403, missing), (403, r#"{"error":{"type":"INVALID_PERMISSIONS"}}"#), (404, "")] {
                let message = refusal(purpose, status, body).error.message;
                for part in ["airtable `books`", "`app1`", "`Transactions`", scope] {
                    assert!(message.contains(part), "{part} is not in: {message}");
                }
            }
        }
        let long = "x ".repeat(400);
        let leak = format!(r#"{{"error":{{"type":"A","message":"token {TOKEN}\n{long}"}}}}"#);
        for status in [400, 401, 403, 404, 422, 500] {
            let refusal = written(status, &leak);
            for text in [refusal.error.message, refusal.said] {
                assert!(!text.contains("SECRET") && !text.contains('\n') && text.len() < 700, "{text}");
            }
        }
    }

    /// Public recordings of the real service; read in place where the environment says where they are.
    #[test]
    fn recorded_refusals_get_their_reaction() {
        let Some(folder) = std::env::var_os("BANKFEED_RECORDINGS").map(PathBuf::from) else {
            println!("skipped: BANKFEED_RECORDINGS is not set");
            return;
        };
        let mut seen = 0;
        for entry in std::fs::read_dir(folder.join("airtable")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            if !["err_", "doc_", "reported_"].iter().any(|start| name.starts_with(start)) {
                continue;
            }
            seen += 1;
            let recording: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let response = &recording["response"];
            let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
            assert_recorded(&name, &written(status, &response["body"].to_string()));
        }
        assert!(seen >= 20, "only {seen} recordings");
    }

    fn assert_recorded(name: &str, refusal: &Refusal) {
        use Cause::*;
        let attention = |cause| Kind::Attention(cause);
        let (reaction, kind) = match name {
            "err_401_authentication_required" => (Reaction::Final, attention(Token)),
            "doc_403_model_not_found"
            | "doc_404_object"
            | "doc_404_string"
            | "err_404_bare_string_not_found"
            | "err_404_meta_tables_no_access_object"
            | "err_404_table_not_found_2022" => (Reaction::Stale, attention(NotFound)),
            "doc_403_invalid_permissions" => (Reaction::Final, attention(NotPermitted)),
            "err_404_record_not_found_2022" | "reported_422_row_does_not_exist" => (Reaction::Gone, Kind::Rejected),
            "doc_422_invalid_request_unknown"
            | "reported_422_invalid_records"
            | "reported_422_more_than_10_records" => (Reaction::Final, Kind::Malformed),
            "doc_422_iterator_expired" | "reported_422_invalid_offset" => (Reaction::Expired, Kind::Unavailable),
            "doc_503_retriable" => (Reaction::Final, Kind::Unavailable),
            "reported_422_unknown_field" => (Reaction::Stale, attention(Layout)),
            "err_422_computed_field_batch_of_two"
            | "err_422_computed_field_update_batch"
            | "reported_422_invalid_value" => (Reaction::Value, attention(Layout)),
            "reported_422_select_option" => (Reaction::Choice, attention(Layout)),
            "reported_429_monthly_quota" => (Reaction::Final, attention(Quota)),
            "doc_429_rate_limit" => {
                assert!(matches!(refusal.error.kind, Kind::Throttled { retry_after: Some(_) }), "{name}: {refusal:?}");
                return;
            }
            other => panic!("{other}: no reaction is known for this recording"),
        };
        assert_eq!((refusal.reaction, &refusal.error.kind), (reaction, &kind), "{name}: {refusal:?}");
    }
}
