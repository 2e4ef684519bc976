//! The questions of `bankfeed init` about Odoo, and the lines that the answers make.

use secrecy::{ExposeSecret, SecretString};

use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};
use crate::settings::values;

/// The entry at rest, for owners who want none yet.
pub(super) const AT_REST: &str = r#"# [[destination]]
# name = "books"
# kind = "odoo"
# url = "https://odoo.example.com"
# database = "company"
# api_key = { file = "/etc/bankfeed/odoo-key" }
# journals = { "BG32FINV91501000000001" = 7 }
"#;

const OPTIONS: &str = r#"# Rows that the bank took back: "mark" (in the label), "ignore" or "delete". Reconciled lines are never touched.
# vanished = "mark"
"#;

/// The answers about an Odoo.
struct Answers {
    url: String,
    database: String,
    login: String,
    account: String,
    journal: u32,
}

/// Asks about the server, the user and the first journal.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nOdoo: make a user for bankfeed in the group Basic (or Show Full Accounting Features), sign in as that user, and\n\
         make an API key under Preferences > Account Security. It lives for 90 days at most.\n",
    );
    let answers = Answers {
        url: ask(person, "Address of the Odoo (https://…)", None, |text| {
            answer::read(text, values::root).map(|url| url.to_string())
        })?,
        database: ask(person, "Name of its database", None, answer::line)?,
        login: ask(person, "Login of the user", None, answer::line)?,
        account: ask(person, "Account at the bank (IBAN)", None, |text| answer::read(text, values::iban))?,
        journal: ask(
            person,
            "Id of its bank journal (the number in the address of the journal's form)",
            None,
            |text| text.parse().ok().filter(|id| *id > 0).ok_or_else(|| "it is no whole number".to_owned()),
        )?,
    };
    let key = person.ask_secret("The API key (it is not shown)", &answer::line)?;
    Ok(draft(&answers, key))
}

fn draft(answers: &Answers, key: SecretString) -> Draft {
    let Answers { url, database, login, account, journal } = answers;
    let (url, database, login, account) = (quoted(url), quoted(database), quoted(login), quoted(account));
    Draft {
        name: "books",
        head: format!(
            "\n[[destination]]\nname = \"books\"\nkind = \"odoo\"\nurl = {url}\ndatabase = {database}\nlogin = {login}\n\
             journals = {{ {account} = {journal} }}\napi_key = "
        ),
        secret: Some(DraftSecret { credential: "odoo-key", otherwise: quoted(key.expose_secret()), text: key }),
        tail: "\n",
        options: OPTIONS,
        kept_file: None,
        sign_in_at: None,
    }
}
