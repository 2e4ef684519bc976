//! The questions of `bankfeed init` about Airtable, and the lines that the answers make.

use secrecy::{ExposeSecret, SecretString};

use super::settings::base;
use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};

/// The entry at rest, for owners who want none yet.
pub(super) const AT_REST: &str = r#"# [[destination]]
# name = "base"
# kind = "airtable"
# base = "appXXXXXXXXXXXXXX"
# token = { file = "/etc/bankfeed/airtable-token" }
"#;

const OPTIONS: &str = r#"# The table; it is made with its fields if it is missing, and an existing one is used as it is.
# table = "Transactions"
# How many requests a month your plan allows (1000 on the free one): warned of at 80 %, never spent past.
# monthly_requests = 1000
"#;

/// Asks about the base and the token to it.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nAirtable: at https://airtable.com/create/tokens make a token with the scopes data.records:read,\n\
         data.records:write, schema.bases:read and schema.bases:write, and add your base to its list.\n",
    );
    let base = ask(person, "Address of the base, or its id (app…)", None, |text| {
        // In the browser's address the base's id is the first part after the host.
        let part = text.split_once("airtable.com/").map_or(text, |(_, rest)| rest);
        answer::read(part.split(['/', '?', '#']).next().unwrap_or_default(), base)
    })?;
    let token = person.ask_secret("The token (it is not shown)", &|text| match text {
        _ if text.starts_with("key") => Err("it is an API key, which Airtable ended in 2024; make a token".into()),
        _ if text.starts_with("pat") && text.chars().all(|c| c.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("it is no personal access token, which begins with pat".into()),
    })?;
    Ok(draft(&base, token))
}

fn draft(base: &str, token: SecretString) -> Draft {
    Draft {
        name: "base",
        head: format!("\n[[destination]]\nname = \"base\"\nkind = \"airtable\"\nbase = {}\ntoken = ", quoted(base)),
        secret: Some(DraftSecret {
            credential: "airtable-token",
            otherwise: quoted(token.expose_secret()),
            text: token,
        }),
        tail: "\n",
        options: OPTIONS,
        kept_file: None,
        sign_in_at: None,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The draft of any owner.
    pub fn drafted() -> Draft {
        draft("appX", "patX.y".to_owned().into())
    }
}
