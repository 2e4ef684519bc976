//! The entries of NocoDB in the configuration: their keys, their errors, and the lines of the example.

use std::sync::Arc;

use url::Url;

use super::{Nocodb, interview};
use crate::destination::Destination;
use crate::destination::kind::{Kind, Offer, Settings, Shown};
use crate::destination::policy::Rows;
use crate::remote::{Context, Error};
use crate::settings::{self, Entry, SECRET_EXPECTED, Secret, Value, key, values};

/// `kind = "nocodb"`.
pub const KIND: Kind = Kind {
    name: "nocodb",
    keys: &[
        key("url", "the address of the NocoDB server in quotes"),
        key("base", "the base's id `p…` in quotes"),
        key("table", "the table's title or its id `m…`, in quotes"),
        key("token", SECRET_EXPECTED),
    ],
    example: EXAMPLE,
    offer: Offer { phrase: "a NocoDB base (d)", words: &["d", "nocodb"] },
    questions: interview::questions,
    at_rest: interview::AT_REST,
    read: |entry| Ok(Arc::new(NocodbSettings::read(entry)?)),
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"kind = "nocodb"

# The address of the server, as the browser shows it before /dashboard.
url = "https://nocodb.example.com"

# The base's id: the part of its address that begins with p.
base = "pxxxxxxxxxxxxxx"

# The table, by title or by its id (m…). It is made with its fields if it is missing and the token may.
# Left out: "Transactions".
table = "Transactions"

# An API token (in NocoDB: Account settings, Tokens) of a user who is at least an editor of the base, or a creator where
# the table is still to be made.
token = { file = "/etc/bankfeed/nocodb-token" }
"#;

/// A table of a base at a NocoDB server.
#[derive(Clone, Debug)]
pub struct NocodbSettings {
    /// Root of the server; https, or http on loopback.
    pub url: Url,
    /// Base id, `p…`.
    pub base: String,
    /// Table title or `m…` id.
    pub table: String,
    /// API token.
    pub token: Secret,
    /// Columns and policies.
    pub rows: Rows,
}

impl NocodbSettings {
    fn read(entry: &Entry<'_>) -> Result<NocodbSettings, settings::Error> {
        let table = &entry.table;
        let rows = Rows::read(table)?;
        let url = match table.read("base_url", values::root)? {
            Some(url) => url,
            None => table.require("url", values::root)?,
        };
        Ok(NocodbSettings {
            url,
            base: table.require("base", base)?,
            table: table.read("table", values::title)?.unwrap_or_else(|| rows.usual_title()),
            token: table.require("token", values::secret)?,
            rows,
        })
    }
}

impl Settings for NocodbSettings {
    fn target(&self) -> String {
        format!("nocodb/{}/{}", self.base, self.table)
    }

    fn place(&self) -> String {
        format!("{} {} {}", self.url, self.base, self.table.to_lowercase())
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("token", &self.token)]
    }

    fn shown(&self) -> Shown<'_> {
        Shown::default()
    }

    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(Nocodb::new(name, self, context, state)?))
    }
}

/// A base's id.
pub fn base(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    let rest =
        text.strip_prefix('p').filter(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()));
    let expected = "expected the base's id, which begins with p: a part of its address in the browser";
    rest.map(|_| text.to_owned()).ok_or_else(|| value.error(expected))
}
