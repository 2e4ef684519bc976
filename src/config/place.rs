//! Where in the file a secret is asked for. It is looked up long after the file was read, and what is wrong with it is told
//! with file and line all the same.

use std::fmt::{self, Display};

use secrecy::ExposeSecret;
use toml::de::{DeTable, DeValue};

use super::{Config, Error};

/// A key of an entry or of `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `source`, `destination`, `notify` or `http`.
    pub list: &'static str,
    /// Which entry of the list, from 0, and its name; `None`: there is only one.
    pub entry: Option<(usize, String)>,
    pub key: &'static str,
}

impl Place {
    /// A key of `[http]`.
    pub fn http(key: &'static str) -> Place {
        Place { list: "http", entry: None, key }
    }

    /// Its line in this text, counted from 1.
    pub fn line(&self, text: &str) -> Option<usize> {
        let root = DeTable::parse(text).ok()?;
        let list = root.get_ref().get(self.list)?.get_ref();
        let table = match (&self.entry, list) {
            (Some((at, _)), DeValue::Array(entries)) => entries.get(*at)?.get_ref(),
            _ => list,
        };
        let at = table.as_table()?.get(self.key)?.span().start;
        Some(1 + text.as_bytes().get(..at)?.iter().filter(|byte| **byte == b'\n').count())
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some((_, name)) => write!(f, "{} `{name}`: {}", self.list, self.key),
            None => write!(f, "{}: {}", self.list, self.key),
        }
    }
}

impl Config {
    /// An error about a secret, as one about any other value of the file.
    pub(super) fn error_at(&self, place: &Place, message: impl Display) -> Error {
        let name = self.path.display();
        match place.line(self.text.expose_secret()) {
            Some(line) => Error(format!("{name}:{line}: {place}{message}")),
            None => Error(format!("{name}: {place}{message}")),
        }
    }

    /// An error about a token of `[http]`; the message follows the key.
    pub fn http_error(&self, key: &'static str, message: impl Display) -> Error {
        self.error_at(&Place::http(key), message)
    }
}
