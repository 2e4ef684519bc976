//! The entries of Airtable in the configuration: their keys, their errors, and the lines of the example.

use std::sync::Arc;

use url::Url;

use super::{Airtable, interview};
use crate::destination::Destination;
use crate::destination::kind::{Kind, Offer, Settings, Shown};
use crate::destination::policy::Rows;
use crate::remote::{Context, Error};
use crate::settings::{self, Entry, SECRET_EXPECTED, Secret, Value, key, values};

/// `kind = "airtable"`.
pub const KIND: Kind = Kind {
    name: "airtable",
    keys: &[
        key("base", "the base's id `app…` in quotes"),
        key("table", "the table's name or its id `tbl…`, in quotes"),
        key("token", SECRET_EXPECTED),
        key("monthly_requests", "a whole number of at least 1"),
        key("accounts_table", "the name of a table in quotes, or false"),
    ],
    example: EXAMPLE,
    offer: Offer { phrase: "an Airtable base (a)", words: &["a", "airtable"] },
    questions: interview::questions,
    at_rest: interview::AT_REST,
    read: |entry| Ok(Arc::new(AirtableSettings::read(entry)?)),
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"kind = "airtable"

# The base's id: the first part of its address after airtable.com/.
base = "appXXXXXXXXXXXXXX"

# The table, by name or by its id (tbl…). It is made with its fields if it is missing and the token may.
# Left out: "Transactions".
table = "Transactions"

# A personal access token that may read and write records of this base.
token = { env = "AIRTABLE_TOKEN" }

# How many requests a month your plan allows: bankfeed warns at 80 % and never spends more. Left out: no limit.
# monthly_requests = 1000

# A table with a row per account: balance, sum of the rows, difference. One request more per ten accounts, with new rows
# and otherwise once a day, and none from the month's last fifth. It is made if it is missing and the token may
# (schema.bases:write); if it may not, the table is left out. A name, or false for none. Left out: none.
# accounts_table = "Accounts"
"#;

/// A table of a base at Airtable.
#[derive(Clone, Debug)]
pub struct AirtableSettings {
    /// Base id, `app…`.
    pub base: String,
    /// Table name or `tbl…` id.
    pub table: String,
    /// Personal access token.
    pub token: Secret,
    /// API origin without `/v0`; https, or http on loopback.
    pub base_url: Url,
    /// The plan's calls per month; never spent past.
    pub monthly_requests: Option<u32>,
    /// Name of the table with balances, where one is asked for.
    pub accounts_table: Option<String>,
    /// Columns and policies.
    pub rows: Rows,
}

impl AirtableSettings {
    fn read(entry: &Entry<'_>) -> Result<AirtableSettings, settings::Error> {
        let table = &entry.table;
        let rows = Rows::read(table)?;
        let usual_origin = || values::fixed("https://api.airtable.com");
        let airtable = AirtableSettings {
            base: table.require("base", base)?,
            table: table.read("table", values::title)?.unwrap_or_else(|| rows.usual_title()),
            token: table.require("token", values::secret)?,
            base_url: table.read("base_url", values::origin)?.map_or_else(usual_origin, Ok)?,
            monthly_requests: table.read("monthly_requests", |value| value.whole(1..=u32::MAX))?,
            accounts_table: table.read("accounts_table", values::title_or_false)?.flatten(),
            rows,
        };
        let accounts = airtable.accounts_table.as_ref();
        values::check_titles(table, &[("table", Some(&airtable.table)), ("accounts_table", accounts)])?;
        Ok(airtable)
    }
}

impl Settings for AirtableSettings {
    fn target(&self) -> String {
        format!("airtable/{}/{}", self.base, self.table)
    }

    fn place(&self) -> String {
        // Names of tables differ by more than capitals.
        format!("{} {} {}", self.base_url, self.base, self.table.to_lowercase())
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("token", &self.token)]
    }

    fn shown(&self) -> Shown<'_> {
        Shown { balances: self.accounts_table.is_some(), sums: true, ..Shown::default() }
    }

    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(Airtable::new(name, self, context, state)?))
    }
}

/// A base's id.
pub fn base(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    let rest =
        text.strip_prefix("app").filter(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric()));
    let expected = "expected the base's id, which begins with app: the first part of its address after airtable.com/";
    rest.map(|_| text.to_owned()).ok_or_else(|| value.error(expected))
}
