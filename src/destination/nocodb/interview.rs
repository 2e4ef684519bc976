//! The questions of `bankfeed init` about NocoDB, and the lines that the answers make.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::settings::base;
use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};
use crate::settings::values;

/// The entry at rest, for owners who want none yet.
pub(super) const AT_REST: &str = r#"# [[destination]]
# name = "grid"
# kind = "nocodb"
# url = "https://nocodb.example.com"
# base = "pxxxxxxxxxxxxxx"
# token = { file = "/etc/bankfeed/nocodb-token" }
"#;

const OPTIONS: &str = r#"# The table; it is made with its fields if it is missing, and an existing one is used as it is.
# table = "Transactions"
"#;

/// Asks about the server, the base and the token to it.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nNocoDB: make a token under Account settings, Tokens. Its user must be a creator of the base, or an editor\n\
         where the table is there already.\n",
    );
    let url = ask(person, "Address of the NocoDB server", None, |text| {
        // The browser shows the page of a base behind this part.
        let root = text.split("/dashboard").next().unwrap_or(text);
        answer::read(root, values::root)
    })?;
    let base = ask(person, "Id of the base (p…), or the address of one of its tables", None, |text| {
        let part =
            |part: &&str| part.len() > 10 && part.starts_with('p') && part.bytes().all(|c| c.is_ascii_alphanumeric());
        let found = text.split(['/', '?', '#']).find(part);
        answer::read(found.unwrap_or(text), base)
    })?;
    let token = person.ask_secret("The token (it is not shown)", &|text| match text {
        _ if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("it is no token: copy it once more".into()),
    })?;
    Ok(draft(&url, &base, token))
}

fn draft(url: &Url, base: &str, token: SecretString) -> Draft {
    let (url, base) = (quoted(url.as_str().trim_end_matches('/')), quoted(base));
    Draft {
        name: "grid",
        head: format!("\n[[destination]]\nname = \"grid\"\nkind = \"nocodb\"\nurl = {url}\nbase = {base}\ntoken = "),
        secret: Some(DraftSecret { credential: "nocodb-token", otherwise: quoted(token.expose_secret()), text: token }),
        tail: "\n",
        options: OPTIONS,
        kept_file: None,
        sign_in_at: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A person with prepared answers.
    struct Prepared(VecDeque<&'static str>);

    impl Interview for Prepared {
        fn say(&mut self, _text: &str) {}

        fn ask(
            &mut self,
            _question: &str,
            _usual: Option<&str>,
            take: &mut dyn FnMut(&str) -> Result<(), String>,
        ) -> Result<(), Stop> {
            while let Some(answer) = self.0.pop_front() {
                if take(answer).is_ok() {
                    return Ok(());
                }
            }
            Err(Stop("no answer".into()))
        }

        fn ask_secret(
            &mut self,
            _question: &str,
            read: &dyn Fn(&str) -> Result<String, String>,
        ) -> Result<SecretString, Stop> {
            while let Some(answer) = self.0.pop_front() {
                if let Ok(secret) = read(answer) {
                    return Ok(secret.into());
                }
            }
            Err(Stop("no answer".into()))
        }
    }

    #[test]
    fn the_addresses_that_a_browser_shows_are_understood() {
        let answers = [
            "nocodb",
            "https://noco.example.com/dashboard/#/nc/pz4w115smdtymxd",
            "app123",
            "https://noco.example.com/dashboard/#/nc/pz4w115smdtymxd/m4qammed9as3ear",
            "two words",
            "secret",
        ];
        let draft = questions(&mut Prepared(answers.into())).unwrap();
        assert!(
            draft.head.contains("url = \"https://noco.example.com\"\nbase = \"pz4w115smdtymxd\""),
            "{}",
            draft.head
        );
        assert_eq!(draft.secret.unwrap().text.expose_secret(), "secret");
    }
}
