//! The means to read a configuration: a TOML file with lines, keys that are checked, values that cannot be wrong, and
//! errors that name file, line, entry and key.
//!
//! Connectors declare their own keys with these means, and `config` puts the whole together. Neither is named here.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub mod answer;
pub mod entries;
pub mod interview;
mod key_path;
pub mod pem;
pub mod reader;
mod secret;
pub mod values;
pub mod words;

pub use entries::{Entry, KindKeys};
pub use key_path::KeyPath;
pub use reader::{Table, Value};
pub use secret::Secret;

/// A configuration that cannot be used: one line that names file, line, entry, key and the expected value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A key of a table and the value that belongs behind the key.
#[derive(Debug)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// Ends the sentence "expected …".
    pub expected: Cow<'static, str>,
    /// The keys of the tables that belong behind the key, where it is a list of tables.
    pub tables: &'static [Key],
}

/// Declares a key.
pub const fn key(name: &'static str, expected: &'static str) -> Key {
    Key { name, expected: Cow::Borrowed(expected), tables: &[] }
}

/// Declares a key of a list of tables with these keys.
pub const fn list_key(name: &'static str, expected: &'static str, tables: &'static [Key]) -> Key {
    Key { name, expected: Cow::Borrowed(expected), tables }
}

/// The value of a key that holds a secret.
pub const SECRET_EXPECTED: &str = "text in quotes, or a table with exactly one of env, file, credential";

/// The value of a key that holds the address of a service.
pub const BASE_URL_EXPECTED: &str = "an address in quotes such as \"https://example.com\"";

/// The file that keeps the sign-in of the entry with this name. Any name is good for an entry, but not for a file.
pub fn login_file(data_dir: &Path, kind: &str, name: &str) -> PathBuf {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    data_dir.join("logins").join(format!("{kind}-{name}.json"))
}
