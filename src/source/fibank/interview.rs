//! The questions of `bankfeed init` about My Fibank, and the lines that the answers make.

use secrecy::{ExposeSecret, SecretString};

use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};

/// Asks for the login at the bank.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    let username = ask(person, "My Fibank user name", None, answer::line)?;
    let password = person.ask_secret("My Fibank password (it is not shown)", &answer::line)?;
    Ok(draft(&username, password))
}

fn draft(username: &str, password: SecretString) -> Draft {
    let username = quoted(username);
    Draft {
        name: "fibank",
        head: format!("\n[[source]]\nname = \"fibank\"\nkind = \"fibank\"\nusername = {username}\npassword = "),
        secret: Some(DraftSecret {
            credential: "fibank-password",
            otherwise: quoted(password.expose_secret()),
            text: password,
        }),
        tail: "\n",
        options: "",
        kept_file: None,
        sign_in_at: None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The draft of a login that is hard to quote.
    pub fn drafted() -> Draft {
        draft("иван \"\\", "p'\"\\#1".to_owned().into())
    }
}
