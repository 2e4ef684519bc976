//! The path of a key in the configuration file, kept so that an error about its value can name file and line long after
//! the file was read: a secret is looked up only when a connector needs it.

use std::fmt::{self, Display};

use toml::de::{DeTable, DeValue};

/// A key of an entry or of `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    /// `source`, `destination`, `notify` or `http`.
    pub list: &'static str,
    /// Number of the entry in its list, from 0, and the entry's name; `None` for a table that stands alone.
    pub entry: Option<(usize, String)>,
    /// The key.
    pub key: &'static str,
}

impl KeyPath {
    /// A key of `[http]`.
    pub fn http(key: &'static str) -> KeyPath {
        KeyPath { list: "http", entry: None, key }
    }

    /// The line of the key in this text, counted from 1.
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

impl Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some((_, name)) => write!(f, "{} `{name}`: {}", self.list, self.key),
            None => write!(f, "{}: {}", self.list, self.key),
        }
    }
}
