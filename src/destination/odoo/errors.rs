//! Reads Odoo's refusals, in JSON-2, in JSON-RPC and from whatever stands in front of it, and names the reaction.
//!
//! Pure. A refusal is known by the name of its exception, never by a code. Tracebacks are not looked at; words of the
//! service are cut short, made one line and freed of the key before they reach a message; pages are never quoted.

use std::time::Duration;

use serde::Deserialize;

use crate::remote::{Cause, Error};

/// Longest stretch of the service's own words in a message, in characters.
const QUOTE_LIMIT: usize = 240;

/// The groups that may book bank lines, in the words of a remedy.
pub(super) const GROUPS: &str = "give it the group Basic (account.group_account_basic) or Show Full Accounting Features \
     (account.group_account_user), which the form of users hides";

/// The connector's own remedy for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// No remedy: hand the error on.
    Final,
    /// The books refuse it as it stands: a rule of accounting.
    Books,
    /// A record is gone.
    Gone,
    /// The request is too large: send fewer rows at once.
    TooLarge,
    /// The server has no such method or field.
    Unknown,
    /// The server is not what it was when it was met: meet it anew.
    Changed,
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
}

impl Refusal {
    /// True where the server keeps the answer to itself, which need be no reason to stop.
    pub fn is_no_answer(&self) -> bool {
        matches!(self.reaction, Reaction::Unknown | Reaction::Books | Reaction::Gone)
            || self.error.cause() == Some(Cause::NotPermitted)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal { reaction: Reaction::Final, said: error.message.clone(), error }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        refusal.error
    }
}

/// The names that make a message useful.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    /// ``odoo `books` ``.
    pub service: String,
    /// The database.
    pub database: String,
    /// The key, so that it is never repeated.
    pub key: secrecy::SecretString,
}

/// An exception as both protocols describe it, without its traceback.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Exception {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub message: String,
}

impl Wording {
    /// An exception of Odoo's, by its name.
    pub(super) fn exception(&self, exception: &Exception) -> Refusal {
        let said = self.quote(&exception.message);
        let (reaction, error) = self.react(&exception.name, &exception.message, &said);
        let said = if said.is_empty() { format!("{} without a reason", exception.name) } else { said };
        Refusal { reaction, error, said }
    }

    fn react(&self, name: &str, message: &str, said: &str) -> (Reaction, Error) {
        let Wording { service, database, .. } = self;
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_conflict(message) {
            return (Reaction::Final, self.conflict());
        }
        match last {
            "AccessDenied" | "Unauthorized" | "SessionExpiredException" => (Reaction::Final, self.key_refused()),
            "AccessError" => (Reaction::Final, self.not_permitted(message)),
            "MissingError" if message.contains("res.users(") => {
                (Reaction::Changed, Error::unavailable(format!("{service}: the user has another number by now")))
            }
            "MissingError" => (Reaction::Gone, Error::rejected(format!("{service}: a record is gone{}", tail(said)))),
            // The words name host and port: they are not shown.
            "OperationalError" if message.contains("does not exist") => (Reaction::Final, self.no_database()),
            _ if name.starts_with("psycopg2.") => {
                (Reaction::Final, Error::unavailable(format!("{service}: the database of Odoo gives up ({last})")))
            }
            _ if message.contains("does not exist") && message.starts_with("the model")
                || message.starts_with("Object ") && message.ends_with("doesn't exist") =>
            {
                let what =
                    format!("{service}: database `{database}` has no accounting: install the application Invoicing");
                (Reaction::Unknown, Error::attention(Cause::NotFound, format!("{what}{}", tail(said))))
            }
            "AttributeError" | "NotFound" => (Reaction::Unknown, self.not_understood(said)),
            "UserError" | "ValidationError" | "RedirectWarning" => {
                (Reaction::Books, Error::unexplained(format!("{service}: the books refuse the rows{}", tail(said))))
            }
            // A row among others may be to blame, so that the engine tries rows alone.
            "ValueError" | "TypeError" => {
                (Reaction::Unknown, Error::unexplained(format!("{service}: the request is refused{}", tail(said))))
            }
            _ => (Reaction::Final, self.not_understood(said)),
        }
    }

    /// An answer that no Odoo has written as an answer of its API, by its status.
    pub(super) fn status(&self, status: u16, retry_after: Option<Duration>) -> Refusal {
        let Wording { service, .. } = self;
        let attention = |cause: Cause, what: String| (Reaction::Final, Error::attention(cause, what));
        let (reaction, error) = match status {
            429 => {
                let what = format!("{service}: too many requests at once, says the server");
                (Reaction::Final, Error::throttled(retry_after, what))
            }
            408 | 500..=599 => {
                let what = format!("{service}: the server is down or slow (status {status})");
                let error = match retry_after {
                    Some(wait) => Error::throttled(Some(wait), what),
                    None => Error::unavailable(what),
                };
                (Reaction::Final, error)
            }
            413 => (Reaction::TooLarge, Error::rejected(format!("{service}: too large for one request"))),
            300..=399 => {
                let what = format!(
                    "{service}: the server points elsewhere (status {status}) instead of answering: check `url`, and that no \
                     login page stands in front of Odoo"
                );
                (Reaction::Changed, Error::attention(Cause::NotFound, what))
            }
            401 | 403 => attention(
                Cause::Token,
                format!(
                    "{service}: refused before Odoo was reached (status {status}): let bankfeed through the proxy in front \
                     of it, or check `api_key`"
                ),
            ),
            404 => (Reaction::Changed, self.no_database()),
            200..=299 => attention(
                Cause::NotFound,
                format!(
                    "{service}: a web page came instead of an answer: check `url`, and whether a login page stands in front"
                ),
            ),
            _ => (Reaction::Final, Error::malformed(format!("{service}: unexpected status {status}: check `url`"))),
        };
        Refusal { reaction, said: format!("status {status}"), error }
    }

    pub(super) fn key_refused(&self) -> Error {
        let service = &self.service;
        Error::attention(
            Cause::Token,
            format!(
                "{service}: the key is refused: it has ended, was revoked, or is of another user: make a new one in Odoo \
                 (Preferences > Account Security) and put it into `api_key`"
            ),
        )
    }

    fn no_database(&self) -> Error {
        let Wording { service, database, .. } = self;
        let what = format!("{service}: the server has no database `{database}`: check `database` and `url`");
        Error::attention(Cause::NotFound, what)
    }

    fn not_understood(&self, said: &str) -> Error {
        Error::malformed(format!("{}: a request of bankfeed's is not understood{}", self.service, tail(said)))
    }

    pub(super) fn conflict(&self) -> Error {
        Error::unavailable(format!("{}: somebody else writes the same lines at this moment", self.service))
    }

    /// A right that is missing, with the groups that would give it.
    pub(super) fn not_permitted(&self, message: &str) -> Error {
        let service = &self.service;
        if message.contains("top-secret records") {
            let what = format!(
                "{service}: the journal belongs to a company that the user may not see: add the company to the user, or \
                 check `journals`{}",
                tail(&self.quote(message))
            );
            return Error::attention(Cause::NotPermitted, what);
        }
        let deed = message.lines().next().unwrap_or_default();
        let deed = deed.strip_prefix("You are not allowed to ").map_or("do this", |deed| deed.trim_end_matches('.'));
        let groups: Vec<String> =
            message.lines().filter_map(|line| line.trim().strip_prefix("- ")).map(|group| self.quote(group)).collect();
        let remedy = if groups.is_empty() || groups.iter().any(|group| group.ends_with("Basic")) {
            GROUPS.to_owned()
        } else {
            format!("give it one of the groups {}", groups.join(", "))
        };
        let what = format!("{service}: the user may not {}: {remedy}", self.quote(deed));
        Error::attention(Cause::NotPermitted, what)
    }

    /// The service's words on one line, not too long, without the key.
    pub(super) fn quote(&self, text: &str) -> String {
        use secrecy::ExposeSecret;
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line.replace(self.key.expose_secret(), "…");
        match line.char_indices().nth(QUOTE_LIMIT) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line.trim_end_matches('.').to_owned(),
        }
    }
}

/// True for the words of two transactions that meet: neither row nor place is to blame.
pub(super) fn is_conflict(message: &str) -> bool {
    let message = message.to_lowercase();
    ["could not serialize access", "concurrent update", "deadlock detected", "could not obtain lock"]
        .iter()
        .any(|words| message.contains(words))
}

/// ` (odoo says: …)`, or nothing.
pub(super) fn tail(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(" (odoo says: {said})") }
}
