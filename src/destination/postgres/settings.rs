//! The entries of PostgreSQL in the configuration: their keys, their errors, and the lines of the example.

use std::sync::Arc;

use super::address::Address;
use super::{Postgres, interview, layout};
use crate::destination::Destination;
use crate::destination::kind::{Kind, Offer, Settings, Shown};
use crate::destination::policy::{Column, Rows};
use crate::model::Field;
use crate::remote::{Context, Error};
use crate::settings::{self, Entry, Key, SECRET_EXPECTED, Secret, Value, key, values};

/// `kind = "postgres"`.
pub const KIND: Kind = Kind {
    name: "postgres",
    keys: &[key("url", SECRET_EXPECTED), key("table", "a table's name in quotes, or schema.table")],
    example: EXAMPLE,
    offer: Offer { phrase: "a PostgreSQL database (p)", words: &["p", "postgres", "postgresql"] },
    questions: interview::questions,
    at_rest: interview::AT_REST,
    read: |entry| Ok(Arc::new(PostgresSettings::read(entry)?)),
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"kind = "postgres"

# The database: any PostgreSQL, or an engine that speaks its protocol. The whole address is a secret:
# postgres://user:password@host:5432/database?sslmode=verify-full, or postgres://user@%2Frun%2Fpostgresql/database for a
# socket. sslmode as libpq means it (require: encrypted; verify-ca and verify-full: and proven, with sslrootcert=FILE for
# an authority of your own); left out, another machine must prove itself (verify-full).
url = { credential = "postgres-url" }

# The table, or schema.table. It is made if it is missing, with every field as a typed column named by its key, the
# payload as `raw jsonb`, and a view of monthly figures beside it (`…_monthly`). A table that is there is used as it is,
# and columns that it lacks are added. `columns` names others: a header is the column's name.
# Left out: "transactions".
table = "transactions"
"#;

/// A table in a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Address, with user and password.
    pub url: Secret,
    /// `table` or `schema.table`.
    pub table: String,
    /// Columns and policies; the header of a column is its name in the table.
    pub rows: Rows,
}

/// The keys of an entry of `columns`.
const COLUMN: &[Key] = &[key("field", "the name of a field in quotes"), key("header", "the column's header in quotes")];

impl PostgresSettings {
    fn read(entry: &Entry<'_>) -> Result<PostgresSettings, settings::Error> {
        let table = &entry.table;
        let mut rows = Rows::read(table)?;
        table.read("base_url", |value| Err::<(), _>(value.error("means nothing here: the address is in url")))?;
        rows.columns = match table.read("columns", names)? {
            None => usual_columns(),
            Some(names) => {
                let names = names.into_iter().map(Some).chain(std::iter::repeat(None));
                let named = |(column, name): (Column, Option<Option<String>>)| Column {
                    header: name.flatten().unwrap_or_else(|| column.field.key().into_owned()),
                    field: column.field,
                };
                rows.columns.into_iter().zip(names).map(named).collect()
            }
        };
        if let Some(why) = layout::clash(&rows) {
            return Err(table.error(why));
        }
        let url = table.require("url", url)?;
        let name = table.read("table", table_name)?.unwrap_or_else(|| "transactions".into());
        Ok(PostgresSettings { url, table: name, rows })
    }

    /// The address, read from the secret now.
    pub(super) fn address(&self) -> Result<Address, String> {
        Address::read(&self.url.reveal()?)
    }
}

impl Settings for PostgresSettings {
    /// The address may be out of reach, or another after a move of the database: the ledger itself tells databases
    /// apart.
    fn target(&self) -> String {
        format!("postgres/{}", self.table)
    }

    fn place(&self) -> String {
        match self.address() {
            Ok(address) => format!("{} {:?} {}", address.shown, address.config.get_ports(), self.table),
            Err(_) => format!("{:?} {}", self.url, self.table),
        }
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("url", &self.url)]
    }

    fn shown(&self) -> Shown<'_> {
        Shown::default()
    }

    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(Postgres::new(name, self, context, state)?))
    }
}

/// Every field and the payload: a database has room for them, and a query names those that it wants.
fn usual_columns() -> Vec<Column> {
    let fields = Field::all().chain([Field::Raw(String::new())]);
    fields.map(|field| Column { header: field.key().into_owned(), field }).collect()
}

/// The columns' names where the entry gives any.
fn names(value: &Value<'_>) -> Result<Vec<Option<String>>, settings::Error> {
    let header = |item: &Value<'_>| match item.table(None, COLUMN) {
        Some(table) => table.read("header", values::title),
        None => Ok(None),
    };
    value.list()?.iter().map(header).collect()
}

/// An address that is in the configuration itself can be judged at once.
fn url(value: &Value<'_>) -> Result<Secret, settings::Error> {
    let secret = values::secret(value)?;
    if let Secret::Plain(text) = &secret {
        Address::read(text).map_err(|why| value.error(why))?;
    }
    Ok(secret)
}

/// The name of a table, with its schema where one is given.
pub(super) fn table_name(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    let parts: Vec<&str> = text.split('.').collect();
    // Longer names are cut by the server, and `_monthly` must fit as well.
    let fits = |part: &&str| !part.trim().is_empty() && part.len() <= 55;
    if parts.len() > 2 || !parts.iter().all(fits) {
        return Err(value.error("expected a table's name of at most 55 bytes, or schema.table"));
    }
    Ok(text.to_owned())
}
