//! Reads NocoDB's refusals, in either of their two envelopes, and names the reaction.
//!
//! Pure: from status, headers and body to a [`Refusal`]. Text quoted from the service is cut short, made one line and
//! freed of the token before it reaches a message; HTML from a proxy is never quoted.

use std::time::Duration;

use serde_json::Value;

use crate::remote::{Cause, Error};

/// Longest stretch of the service's own words in a message, in characters.
const QUOTE_LIMIT: usize = 240;

/// The connector's own remedy for a refusal, before the refusal becomes an error for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// No remedy: hand the error on.
    Final,
    /// A table or field is unknown: read the layout once more, then hand the error on.
    Stale,
    /// A value that must be unique is there already, in the field of this title: look again.
    Taken(String),
    /// A record no longer exists: somebody deleted it a moment ago.
    Gone,
    /// A page of a listing begins behind the last row.
    Beyond,
    /// The server takes no more than so many rows at once.
    TooMany(usize),
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
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { reaction: Reaction::Final, error }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        refusal.error
    }
}

/// The purpose of a request; decides which right a refusal asks the owner for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
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
            Purpose::ReadLayout => "read the tables",
            Purpose::CreateLayout => "create tables and fields",
            Purpose::ReadRows => "read rows",
            Purpose::WriteRows => "write rows",
        }
    }

    /// The role that the token's user needs in the base.
    fn role(self) -> &'static str {
        match self {
            Purpose::CreateLayout => "creator",
            Purpose::WriteRows => "editor",
            _ => "viewer",
        }
    }
}

/// The names that make a message useful.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    /// ``nocodb `grid` ``.
    pub service: String,
    /// `p…`
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

/// The words of an error body; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    kind: String,
    message: String,
    /// The code of the database behind, where the refusal is the database's.
    code: String,
    /// The field of a value that must be unique.
    field: String,
}

/// Reads both JSON envelopes; empty for whatever is no error body.
fn envelope(body: &[u8]) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = [text("message"), text("msg")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    Said { kind: text("error"), message, code: text("code"), field: text("fieldName") }
}

impl Wording {
    /// The refusal that `answer` is, by the table of reactions.
    pub(super) fn refusal(&self, purpose: Purpose, answer: &Answer, token: &str) -> Refusal {
        let said = envelope(answer.body);
        let words = quote(if said.message.is_empty() { &said.kind } else { &said.message }, token);
        let (reaction, error) = self.react(purpose, answer, &said, &words);
        Refusal { reaction, error }
    }

    fn react(&self, purpose: Purpose, answer: &Answer, said: &Said, words: &str) -> (Reaction, Error) {
        let service = &self.service;
        let end = |error| (Reaction::Final, error);
        match (answer.status, said.kind.as_str()) {
            (401, _) => end(self.token_refused(words)),
            (_, "ERR_PLAN_LIMIT_EXCEEDED") | (402 | 507, _) => end(self.full(words)),
            (_, "ERR_RECORD_NOT_FOUND") => {
                (Reaction::Gone, Error::rejected(format!("{service}: a row is gone{}", tail(words))))
            }
            (_, "ERR_BASE_NOT_FOUND") => end(self.base_missing(words)),
            (_, "ERR_TABLE_NOT_FOUND") => (Reaction::Stale, self.table_missing(words)),
            (_, "ERR_INVALID_OFFSET_VALUE") => {
                (Reaction::Beyond, Error::malformed(format!("{service}: a listing ends early{}", tail(words))))
            }
            (_, "ERR_FIELD_NOT_FOUND" | "ERR_INVALID_FILTER") => (Reaction::Stale, self.field_missing(words)),
            (_, "FIELD_UNIQUE_CONSTRAINT_VIOLATION") => (Reaction::Taken(said.field.clone()), self.unexplained(words)),
            (_, "ERR_MAX_PAYLOAD_LIMIT_EXCEEDED") => (most_rows(&said.message), self.unexplained(words)),
            (413, _) => {
                (Reaction::TooLarge, Error::rejected(format!("{service}: the row alone is too large for a request")))
            }
            (_, "ERR_DATABASE_OP_FAILED") => end(self.database(&said.code, words)),
            (403, _) => end(self.forbidden(purpose, words)),
            (404 | 405, _) => end(self.no_nocodb(answer.status, words)),
            (429, _) => end(Error::throttled(
                answer.retry_after,
                format!("{service}: too many requests at once{}", tail(words)),
            )),
            (408 | 500..=599, _) => end(self.down(answer, words)),
            (300..=399, _) => end(self.no_nocodb(answer.status, words)),
            (400 | 409 | 422, _) if purpose == Purpose::WriteRows => end(self.unexplained(words)),
            (400 | 409 | 422, _) if purpose == Purpose::CreateLayout => end(self.not_made(words)),
            (status, _) => {
                let what = format!("{service}: unexpected status {status} to {}", purpose.deed());
                end(Error::malformed(format!("{what}{}", tail(words))))
            }
        }
    }

    fn token_refused(&self, words: &str) -> Error {
        let what = "the token is refused: make a new one in NocoDB (Account settings, Tokens) and put it into `token`";
        Error::attention(Cause::Token, format!("{}: {what}{}", self.service, tail(words)))
    }

    fn full(&self, words: &str) -> Error {
        let Wording { service, base, .. } = self;
        let what = format!("{service}: base `{base}` is full: make room, delete rows or change the plan");
        Error::attention(Cause::Quota, format!("{what}; rows wait until then{}", tail(words)))
    }

    fn base_missing(&self, words: &str) -> Error {
        let Wording { service, base, .. } = self;
        let what = format!(
            "{service}: there is no base `{base}` for this token's user: check `base`, or invite the user to it"
        );
        Error::attention(Cause::NotFound, format!("{what}{}", tail(words)))
    }

    pub(super) fn table_missing(&self, words: &str) -> Error {
        let Wording { service, base, table } = self;
        let what =
            format!("{service}: table `{table}` is not in base `{base}`: restore it, or name another one in `table`");
        Error::attention(Cause::NotFound, format!("{what}{}", tail(words)))
    }

    fn field_missing(&self, words: &str) -> Error {
        let Wording { service, table, .. } = self;
        let what = format!("{service}: table `{table}` has lost a field: look at its fields in a browser");
        Error::attention(Cause::Layout, format!("{what}{}", tail(words)))
    }

    fn not_made(&self, words: &str) -> Error {
        let Wording { service, table, .. } = self;
        let what = format!("{service}: table `{table}` or a field of it cannot be made: make it by hand");
        Error::attention(Cause::Layout, format!("{what}{}", tail(words)))
    }

    fn forbidden(&self, purpose: Purpose, words: &str) -> Error {
        let Wording { service, base, .. } = self;
        let (deed, role) = (purpose.deed(), purpose.role());
        let what =
            format!("{service}: the token's user may not {deed} in base `{base}`: give them the role {role} there");
        Error::attention(Cause::NotPermitted, format!("{what}{}", tail(words)))
    }

    fn no_nocodb(&self, status: u16, words: &str) -> Error {
        let what = format!("{}: no API of NocoDB 0.301 or later answers there (status {status})", self.service);
        let remedy = "check `url`, which ends before /dashboard, or update NocoDB";
        Error::attention(Cause::NotFound, format!("{what}: {remedy}{}", tail(words)))
    }

    fn unexplained(&self, words: &str) -> Error {
        let Wording { service, table, .. } = self;
        let remedy = match words.starts_with("Invalid option") {
            true => "; add the choice to the field, or make the field single line text",
            false => "",
        };
        Error::unexplained(format!("{service}: table `{table}`: the service refuses the rows{}{remedy}", tail(words)))
    }

    /// A refusal of the database behind the server, by the class of its SQLSTATE.
    fn database(&self, code: &str, words: &str) -> Error {
        let (service, table, said) = (&self.service, &self.table, tail(words));
        match code {
            _ if code.starts_with("53") => self.full(words),
            "25006" | "42501" => {
                let what = format!("{service}: table `{table}` may only be read: see what its database permits");
                Error::attention(Cause::NotPermitted, format!("{what}; rows wait until then{said}"))
            }
            _ if ["08", "57", "58", "40", "XX"].iter().any(|class| code.starts_with(class)) => {
                Error::unavailable(format!("{service}: the database behind it is down or busy{said}"))
            }
            _ => self.unexplained(words),
        }
    }

    fn down(&self, answer: &Answer, words: &str) -> Error {
        let message =
            format!("{}: the service is down or slow (status {}){}", self.service, answer.status, tail(words));
        match answer.retry_after {
            Some(wait) => Error::throttled(Some(wait), message),
            None => Error::unavailable(message),
        }
    }
}

/// The number of rows in "Maximum 10 entities are allowed per request".
fn most_rows(message: &str) -> Reaction {
    let number = message.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    number.and_then(|number| number.parse().ok()).filter(|most| *most > 0).map_or(Reaction::TooLarge, Reaction::TooMany)
}

/// ` (nocodb says: …)`, or nothing.
fn tail(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" (nocodb says: {words})") }
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

    use super::*;
    use crate::remote::Kind;

    const TOKEN: &str = "SECRETtoken0123456789";

    fn refusal(purpose: Purpose, status: u16, body: &str) -> Refusal {
        let wording = Wording { service: "nocodb `grid`".into(), base: "p1".into(), table: "Transactions".into() };
        wording.refusal(purpose, &Answer { status, retry_after: None, body: body.as_bytes() }, TOKEN)
    }

    fn database(code: &str) -> Kind {
        let body = format!(r#"{{"error":"ERR_DATABASE_OP_FAILED","message":"no","code":"{code}"}}"#);
        refusal(Purpose::WriteRows, 422, &body).error.kind
    }

    #[test]
    fn a_refusal_of_the_database_is_told_by_its_class() {
        assert_eq!(database("53100"), Kind::Attention(Cause::Quota));
        assert_eq!(database("25006"), Kind::Attention(Cause::NotPermitted));
        assert_eq!(database("57P01"), Kind::Unavailable);
        assert_eq!(database("22P02"), Kind::Unexplained);
        assert_eq!(database(""), Kind::Unexplained);
    }

    #[test]
    fn each_refusal_has_its_remedy_and_no_token() {
        use Purpose::*;
        let long = "x ".repeat(400);
        let leak = format!(r#"{{"error":"ERR_X","message":"token {TOKEN}\n{long}"}}"#);
        for (purpose, status, kind, remedy) in [
            (WriteRows, 401, Kind::Attention(Cause::Token), "put it into `token`"),
            (WriteRows, 403, Kind::Attention(Cause::NotPermitted), "the role editor"),
            (CreateLayout, 403, Kind::Attention(Cause::NotPermitted), "the role creator"),
            (ReadLayout, 404, Kind::Attention(Cause::NotFound), "check `url`"),
            (ReadLayout, 302, Kind::Attention(Cause::NotFound), "check `url`"),
            (CreateLayout, 422, Kind::Attention(Cause::Layout), "make it by hand"),
            (WriteRows, 422, Kind::Unexplained, "refuses the rows"),
            (WriteRows, 429, Kind::Throttled { retry_after: None }, "too many requests"),
            (ReadRows, 503, Kind::Unavailable, "down or slow"),
            (ReadRows, 418, Kind::Malformed, "unexpected status 418"),
            (WriteRows, 402, Kind::Attention(Cause::Quota), "is full"),
        ] {
            let error = refusal(purpose, status, &leak).error;
            assert!(error.kind == kind && error.message.contains(remedy), "{status}: {error:?}");
            assert!(error.message.starts_with("nocodb `grid`: "), "{error}");
            assert!(!error.message.contains("SECRET") && !error.message.contains('\n') && error.message.len() < 600);
        }
        let page = refusal(WriteRows, 502, "<html>Bad Gateway</html>").error;
        assert!(page.kind == Kind::Unavailable && !page.message.contains("Gateway"), "{page}");
    }

    #[test]
    fn the_servers_own_limit_is_taken_from_its_words() {
        let body =
            r#"{"error":"ERR_MAX_PAYLOAD_LIMIT_EXCEEDED","message":"Maximum 5 entities are allowed per request"}"#;
        assert_eq!(refusal(Purpose::WriteRows, 422, body).reaction, Reaction::TooMany(5));
    }

    /// Recordings of a real server; read in place where the environment says where they are.
    #[test]
    fn recorded_refusals_get_their_reaction() {
        let Some(folder) = std::env::var_os("BANKFEED_RECORDINGS").map(PathBuf::from) else {
            println!("skipped: BANKFEED_RECORDINGS is not set");
            return;
        };
        let mut seen = 0;
        for entry in std::fs::read_dir(folder.join("nocodb")).unwrap() {
            let path = entry.unwrap().path();
            let Ok(recording) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()) else { continue };
            let response = &recording["response"];
            let status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
            if status < 400 {
                continue;
            }
            seen += 1;
            let purpose = match recording["request"]["method"].as_str().unwrap() {
                "GET" => Purpose::ReadRows,
                _ => Purpose::WriteRows,
            };
            let refusal = refusal(purpose, status, &response["body"].to_string());
            let kind = response["body"]["error"].as_str().unwrap_or_default();
            let expected = match kind {
                "ERR_AUTHENTICATION_REQUIRED" => Kind::Attention(Cause::Token),
                "ERR_BASE_NOT_FOUND" | "ERR_TABLE_NOT_FOUND" | "NOT_FOUND" => Kind::Attention(Cause::NotFound),
                "ERR_INVALID_FILTER" => Kind::Attention(Cause::Layout),
                "ERR_RECORD_NOT_FOUND" => Kind::Rejected,
                _ => Kind::Unexplained,
            };
            assert_eq!(refusal.error.kind, expected, "{}: {refusal:?}", path.display());
        }
        assert!(seen >= 25, "only {seen} recordings");
    }
}
