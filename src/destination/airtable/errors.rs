//! Reads what Airtable says when it does not do what it was asked, in any of its five envelopes, and names the reaction.
//!
//! Pure: from status, headers and body to a [`Refusal`]. Whatever is quoted from the service is cut short, made one
//! line and freed of the token before it reaches a message; HTML from something in between is never quoted.

use std::time::Duration;

use serde_json::Value;

use crate::remote::{Cause, Error};

/// Airtable's penalty box: after a refusal for speed the whole base waits this long.
const PENALTY: Duration = Duration::from_secs(30);

/// Longest stretch of the service's own words in a message, in characters.
const QUOTE_LIMIT: usize = 240;

/// What the connector itself can do about a refusal before it becomes an error for the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Nothing: hand the error on.
    Final,
    /// A name or id is unknown: read the layout once more, then hand the error on.
    Stale,
    /// A cell does not suit its field: read the layout once more, then find the row that is to blame.
    Value,
    /// The base holds the id of a row more than once: find out which.
    Doubled,
    /// A record id no longer exists: somebody deleted the row a moment ago.
    Gone,
    /// The request is too large: send fewer rows at once.
    TooLarge,
    /// Refused for a reason never seen before: most likely one row, so find out which.
    Unknown,
}

/// A request that was not answered with what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// What to try first.
    pub reaction: Reaction,
    /// What it is where that does not help.
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

/// What a request was for; decides which permission a refusal asks the owner for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Whose token it is; optional.
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
        match answer.status {
            401 => (Reaction::Final, self.token_refused(said)),
            403 | 404 => self.unreachable(purpose, answer.status, kind, said),
            413 => (Reaction::TooLarge, Error::rejected(format!("{}: too large for one request", self.service))),
            422 => self.unprocessable(kind, message, said),
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
                 and its user at least the role {role} in that base{}",
                tail(said)
            );
            return (Reaction::Final, Error::attention(Cause::NotPermitted, message));
        }
        let message = format!(
            "{service}: cannot {deed} of table `{table}` in base `{base}`: check `base` and `table`, add the base to the \
             token's list, and give the token the scope {scope} (its user: at least {role}){}",
            tail(said)
        );
        let rows = matches!(purpose, Purpose::ReadRows | Purpose::WriteRows);
        (if rows { Reaction::Stale } else { Reaction::Final }, Error::attention(Cause::NotFound, message))
    }

    fn unprocessable(&self, kind: &str, message: &str, said: &str) -> (Reaction, Error) {
        let Wording { service, table, .. } = self;
        let layout =
            |why: &str| Error::attention(Cause::Layout, format!("{service}: table `{table}`: {why}{}", tail(said)));
        // Known by its text alone: nobody has published the type.
        if message.to_lowercase().contains("cannot update more than one record") {
            return (Reaction::Doubled, layout("a transaction stands there more than once: delete the extra rows"));
        }
        if is_full(kind, message) {
            let why = format!("{service}: base `{}` is full: delete rows or change the plan{}", self.base, tail(said));
            return (Reaction::Final, Error::attention(Cause::Quota, why));
        }
        match kind {
            "UNKNOWN_FIELD_NAME" => {
                (Reaction::Stale, layout("a field is missing: restore it or leave it out of `columns`"))
            }
            "INVALID_FILTER_BY_FORMULA" => (Reaction::Stale, layout("the id column cannot be searched")),
            "INVALID_VALUE_FOR_COLUMN" | "INVALID_MULTIPLE_CHOICE_OPTIONS" => {
                (Reaction::Value, layout("a field takes no such value: give it back its type"))
            }
            "ROW_DOES_NOT_EXIST" => {
                (Reaction::Gone, Error::rejected(format!("{service}: a row is gone{}", tail(said))))
            }
            "LIST_RECORDS_ITERATOR_NOT_AVAILABLE" | "INVALID_OFFSET_VALUE" => {
                (Reaction::Final, Error::unavailable(format!("{service}: the listing has expired and starts again")))
            }
            "INVALID_REQUEST_UNKNOWN" | "INVALID_RECORDS" => (
                Reaction::Final,
                Error::malformed(format!("{service}: a request of bankfeed's is not understood{}", tail(said))),
            ),
            _ => (Reaction::Unknown, layout("the service refuses the rows")),
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

/// Nobody has published what a base at its cap of records answers; any type or text that speaks of such a limit counts,
/// because setting ten rows aside one by one would be the wrong end of it.
fn is_full(kind: &str, message: &str) -> bool {
    let message = message.to_lowercase();
    let speaks_of_rows = ["record", "row"].iter().any(|word| message.contains(word));
    let speaks_of_limit = ["limit", "maximum number", "quota"].iter().any(|word| message.contains(word));
    // "A maximum of 10 records can be created per request" is a mistake of ours, not a full base.
    let of_a_request = message.contains("per request");
    let kind_says = kind.contains("LIMIT") && ["ROW", "RECORD"].iter().any(|word| kind.contains(word));
    !["INVALID_RECORDS", "INVALID_VALUE_FOR_COLUMN"].contains(&kind)
        && !of_a_request
        && (kind_says || (speaks_of_rows && speaks_of_limit))
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
