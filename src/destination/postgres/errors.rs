//! Failures of the server in words, named by the reaction that they cause: SQLSTATE codes, and everything without one.
//!
//! Words of the server that repeat a value of a row, a user or an address are left out.

use tokio_postgres::error::DbError;

use crate::remote::{Cause, Error, root_cause};

/// The words that every message begins with.
#[derive(Clone, Debug)]
pub(super) struct Wording {
    /// ``postgres `name` ``.
    pub service: String,
    /// Host and database in words.
    pub place: String,
    /// The table as the configuration names it.
    pub table: String,
}

/// A failure with what the server said of it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// SQLSTATE; `None`: the server said nothing.
    pub code: Option<String>,
    /// The column that the server blames.
    pub column: Option<String>,
    pub error: Error,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

impl Failure {
    pub(super) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The layout is another than the one that was read.
    pub(super) fn is_stale(&self) -> bool {
        // No such table, column, schema; another type.
        ["42P01", "42703", "3F000", "42804"].iter().any(|code| self.is(code))
    }
}

impl Wording {
    /// A sentence about the database.
    pub(super) fn say(&self, what: &str) -> String {
        format!("{}: {what}", self.service)
    }

    /// A sentence about the table.
    pub(super) fn of_table(&self, what: &str) -> String {
        format!("{}: table `{}`: {what}", self.service, self.table)
    }

    pub(super) fn cut_off(&self) -> Failure {
        self.silent(Error::unavailable(self.say("the connection was cut")))
    }

    pub(super) fn no_answer(&self) -> Failure {
        self.silent(Error::unavailable(self.say(&format!("{} gave no answer in time", self.place))))
    }

    fn silent(&self, error: Error) -> Failure {
        Failure { code: None, column: None, error }
    }

    /// The failure that the client tells of.
    pub(super) fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        if let Some(said) = error.as_db_error() {
            return Failure {
                code: Some(said.code().code().to_owned()),
                column: said.column().map(str::to_owned),
                error: self.said(said),
            };
        }
        let (what, cause) = (error.to_string(), root_cause(error));
        let machine = |why: String| Error::attention(Cause::Machine, self.say(&why));
        let place = &self.place;
        self.silent(if cause.contains("does not support TLS") {
            machine(format!(
                "{place} offers no TLS, and without it the password and the rows would be readable on the way: \
                 switch TLS on there (ssl = on)"
            ))
        } else if what.contains("TLS") && cause.contains("certificate") {
            machine(format!(
                "{place} does not prove that it is the server ({cause}): give its authority's certificate with \
                 sslrootcert=FILE, or name the host as its certificate does; sslmode=require goes without the proof"
            ))
        } else if what.contains("password missing") || what.contains("authentication") {
            Error::attention(Cause::Token, self.say(&format!("the sign-in to {place} failed: {cause}: see the url")))
        } else if error.is_closed() || what.contains("communicating") {
            Error::unavailable(self.say(&format!("the connection to {place} broke: {cause}")))
        } else {
            Error::unavailable(self.say(&format!("cannot connect to {place}: {cause}")))
        })
    }

    /// The error that the server has sent.
    fn said(&self, said: &DbError) -> Error {
        let (code, place, words) = (said.code().code(), &self.place, own_words(said.message()));
        let attention = |cause, what: String| Error::attention(cause, self.say(&what));
        match code {
            "28P01" => attention(
                Cause::Token,
                format!("{place} refuses the password: put the right one into the url, or set it with ALTER ROLE"),
            ),
            "28000" => attention(
                Cause::Token,
                format!(
                    "{place} does not let this user in from here: see its pg_hba.conf, and whether it asks for TLS"
                ),
            ),
            "3D000" => attention(
                Cause::NotFound,
                format!("there is no {place}: make it with CREATE DATABASE, or name another in the url"),
            ),
            "42501" => Error::attention(Cause::NotPermitted, self.of_table(&format!("{words}: {}", self.grants()))),
            "25006" => attention(
                Cause::Closed,
                format!("{place} is read-only ({words}): name the server that takes writes; rows wait until then"),
            ),
            "53100" => {
                attention(Cause::Quota, format!("the disk of {place} is full: make room there; rows wait until then"))
            }
            "53300" | "57P03" => {
                Error::throttled(None, self.say(&format!("{place} takes no more connections at the moment ({words})")))
            }
            _ if code.starts_with("22") => Error::rejected(self.of_table(&words)),
            // A rule of the owner's: other rows tell whether it is the row or the table.
            _ if code.starts_with("23") => {
                let name = said.constraint().map(|name| format!(" (constraint `{name}`)")).unwrap_or_default();
                Error::unexplained(self.of_table(&format!("{words}{name}")))
            }
            // Cut by the server, a serialization failure, a lock or statement that took too long, a lack of memory.
            _ if ["08", "40", "53", "55", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
                Error::unavailable(self.say(&format!("{place}: {words} ({code})")))
            }
            // The layout changed under way, or a transaction failed before.
            "42P01" | "42703" | "3F000" | "42804" | "42P07" | "42701" | "25P02" => {
                Error::unavailable(self.of_table(&format!("{words} ({code})")))
            }
            _ => Error::malformed(self.of_table(&format!("{words} ({code})"))),
        }
    }

    /// The statement that gives the rights.
    fn grants(&self) -> String {
        let table = quoted_name(&self.table);
        format!(
            "run as the owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO its user, the same ON {}, and, for \
             tables that are made, GRANT USAGE, CREATE ON SCHEMA",
            quoted_name(&ledger_name(&self.table))
        )
    }
}

/// The name of the bookkeeping table beside a table.
pub(super) fn ledger_name(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, _)) => format!("{schema}.{}", super::ledger::TABLE),
        None => super::ledger::TABLE.to_owned(),
    }
}

/// A name as SQL writes it, with its schema where one is given.
pub(super) fn quoted_name(name: &str) -> String {
    let parts: Vec<String> = name.splitn(2, '.').map(quoted).collect();
    parts.join(".")
}

/// An identifier in its quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The server's words without the value that they may end with.
fn own_words(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default();
    line.split(": \"").next().unwrap_or_default().to_owned()
}
