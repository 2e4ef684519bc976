//! The questions of `bankfeed init` about PostgreSQL, and the lines that the answers make.

use secrecy::{ExposeSecret, SecretString};

use super::address::Address;
use super::settings::table_name;
use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};

/// The entry at rest, for owners who want none yet.
pub(super) const AT_REST: &str = r#"# [[destination]]
# name = "warehouse"
# kind = "postgres"
# url = { file = "/etc/bankfeed/postgres-url" }
"#;

const OPTIONS: &str = r#"# Rows that the bank took back: mark (the column vanished), ignore or delete.
# vanished = "mark"
"#;

/// Asks about the database and the table.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nPostgreSQL: make a user of bankfeed's own (CREATE ROLE bankfeed LOGIN PASSWORD '…') and let it use a database\n\
         (GRANT CREATE ON SCHEMA public TO bankfeed, in that database). Its address looks like\n\
         postgres://bankfeed:password@host:5432/database?sslmode=verify-full\n",
    );
    let url = person.ask_secret("The address (it is not shown)", &|text| {
        Address::read(&SecretString::from(text.to_owned())).map(|_| text.trim().to_owned())
    })?;
    let table = ask(person, "Table, or schema.table; it is made if it is missing", Some("transactions"), |text| {
        answer::read(text, table_name)
    })?;
    Ok(draft(&table, url))
}

fn draft(table: &str, url: SecretString) -> Draft {
    Draft {
        name: "warehouse",
        head: format!(
            "\n[[destination]]\nname = \"warehouse\"\nkind = \"postgres\"\ntable = {}\nurl = ",
            quoted(table)
        ),
        secret: Some(DraftSecret { credential: "postgres-url", otherwise: quoted(url.expose_secret()), text: url }),
        tail: "\n",
        options: OPTIONS,
        kept_file: None,
        sign_in_at: None,
    }
}
