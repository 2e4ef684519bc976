//! The entries of Odoo in the configuration: their keys, their errors, and the lines of the example.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::{Odoo, interview};
use crate::destination::Destination;
use crate::destination::kind::{Kind, Offer, Settings, Shown};
use crate::destination::policy::{Column, Rows};
use crate::model::Field;
use crate::remote::{Context, Error};
use crate::settings::words::quote;
use crate::settings::{self, BASE_URL_EXPECTED, Entry, SECRET_EXPECTED, Secret, Value, answer, key, values};

/// `kind = "odoo"`.
pub const KIND: Kind = Kind {
    name: "odoo",
    keys: &[
        key("url", BASE_URL_EXPECTED),
        key("database", "the name of the database in quotes"),
        key("login", "the login of the user in quotes"),
        key("api_key", SECRET_EXPECTED),
        key("journals", "a table of accounts with the ids of their bank journals, such as { \"BG…\" = 7 }"),
    ],
    example: EXAMPLE,
    offer: Offer { phrase: "the books of an Odoo (o)", words: &["o", "odoo"] },
    questions: interview::questions,
    at_rest: interview::AT_REST,
    read: |entry| Ok(Arc::new(OdooSettings::read(entry)?)),
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"kind = "odoo"

# The address of an Odoo, version 18 or 19, and the name of its database.
url = "https://odoo.example.com"
database = "company"

# The login of the user that books the lines. Only Odoo 18 and older asks for it.
# login = "bot@example.com"

# An API key of that user (Preferences > Account Security). The user needs the group *Basic* or *Show Full Accounting
# Features*, which the form of users hides.
api_key = { file = "/etc/bankfeed/odoo-key" }

# Accounts, each with the id of its bank journal: the number in the address of the journal's form. Rows of other accounts
# wait. Rows dated in a locked period are given a later date by Odoo: leave them out with `since`.
journals = { "BG32 FINV 9150 1000 0000 01" = 7 }
"#;

/// The fields that a bank line shows.
const SHOWN: [Field; 10] = [
    Field::Date,
    Field::Amount,
    Field::Currency,
    Field::Counterparty,
    Field::CounterpartyAccount,
    Field::Description,
    Field::Type,
    Field::Reference,
    Field::Account,
    Field::Id,
];

/// The bank journals of a database.
#[derive(Clone, Debug)]
pub struct OdooSettings {
    /// The address, ending in a slash; https, or http on loopback.
    pub url: Url,
    /// The database.
    pub database: String,
    /// The login of the user, where the server's version asks for it.
    pub login: Option<String>,
    /// The API key of the user.
    pub api_key: Secret,
    /// Accounts with the ids of their journals.
    pub journals: BTreeMap<String, i64>,
    /// Policies. The columns are those that a bank line has.
    pub rows: Rows,
}

impl OdooSettings {
    fn read(entry: &Entry<'_>) -> Result<OdooSettings, settings::Error> {
        let table = &entry.table;
        let refusal = |key: &str, why: &str| table.read(key, |value| Err::<(), _>(value.error(why)));
        refusal("columns", "a bank line of Odoo has fields of its own, leave the key out")?;
        refusal("base_url", "the address of an Odoo stands in `url`, leave the key out")?;
        let mut rows = Rows::read(table)?;
        rows.columns = SHOWN.map(|field| Column { header: field.header(rows.language), field }).to_vec();
        Ok(OdooSettings {
            url: table.require("url", values::root)?,
            database: table.require("database", |value| value.text().map(str::to_owned))?,
            login: table.read("login", |value| value.text().map(str::to_owned))?,
            api_key: table.require("api_key", values::secret)?,
            journals: table.require("journals", journals)?,
            rows,
        })
    }
}

impl Settings for OdooSettings {
    fn target(&self) -> String {
        format!("odoo/{}/{}", self.url, self.database)
    }

    fn place(&self) -> String {
        // Two entries may keep different journals of one database.
        let journals: Vec<String> = self.journals.values().map(i64::to_string).collect();
        format!("{} {} {}", self.url, self.database, journals.join(" "))
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("api_key", &self.api_key)]
    }

    fn shown(&self) -> Shown<'_> {
        Shown::default()
    }

    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(Odoo::new(name, self, context, state)?))
    }
}

/// Accounts with the ids of their journals; no journal stands for two accounts.
fn journals(value: &Value<'_>) -> Result<BTreeMap<String, i64>, settings::Error> {
    let table = value.table(None, &[]).ok_or_else(|| value.wrong())?;
    let mut journals: BTreeMap<String, i64> = BTreeMap::new();
    for (account, at, id) in table.entries("the id of a journal, a whole number of at least 1") {
        // Accounts without an IBAN are called as their source calls them.
        let account = answer::read(account, values::iban).unwrap_or_else(|_| account.trim().to_owned());
        if account.is_empty() {
            return Err(table.error_at(at, "names an account without a number"));
        }
        let id = i64::from(id.whole(1..=u32::MAX)?);
        if let Some((other, _)) = journals.iter().find(|(_, known)| **known == id) {
            let (account, other) = (quote(&account), quote(other));
            return Err(table.error_at(at, format!("{account} and {other} have one journal, give each its own")));
        }
        if journals.insert(account.clone(), id).is_some() {
            return Err(table.error_at(at, format!("{} stands there twice", quote(&account))));
        }
    }
    if journals.is_empty() { Err(value.error("names no account")) } else { Ok(journals) }
}
