//! The entry of My Fibank in the configuration: its keys, their errors, and the lines of the example.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::Fibank;
use crate::remote::Error;
use crate::settings::{self, BASE_URL_EXPECTED, Entry, SECRET_EXPECTED, Secret, key, login_file, values};
use crate::source::{Kind, Scope, SessionPaste, Settings, Setup, Source};

/// `kind = "fibank"`.
pub const KIND: Kind = Kind {
    name: "fibank",
    title: "My Fibank",
    keys: &[
        key("username", "the login name at the bank in quotes"),
        key("password", SECRET_EXPECTED),
        key("base_url", BASE_URL_EXPECTED),
    ],
    example: EXAMPLE,
    questions: super::interview::questions,
    read: |entry| Ok(Arc::new(FibankSettings::read(entry)?)),
    scope: Scope::read,
    aliases,
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"# My Fibank, the internet bank of First Investment Bank.
kind = "fibank"

# The login name at the bank.
username = "ivan"

# The password. Secrets (this one and those below) can be given in four ways; the first is the best under systemd:
#   { credential = "fibank-password" }    from systemd: LoadCredential=fibank-password:/etc/bankfeed/fibank-password
#   { file = "/etc/bankfeed/password" }   from a file of its own
#   { env = "FIBANK_PASSWORD" }           from an environment variable
#   "the password itself"                 right here; then nobody else may read this file: chmod 600 config.toml
password = { credential = "fibank-password" }
"#;

/// The way of a token out of the bank's page in a browser.
const PASTE: SessionPaste = SessionPaste {
    instructions: "Sign in to My Fibank in a browser. Then open its developer tools (F12), Network, choose any request to /EBank/api/,\n\
         and copy what stands behind `Authorization: Bearer`. Leave that page open: signing out there ends the session.\n",
    token: pasted_token,
};

/// A login at My Fibank.
#[derive(Clone, Debug)]
pub struct FibankSettings {
    /// Login name.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// Origin of the bank; https, or http on loopback.
    pub base_url: Url,
    /// The file of the session that the owner has opened interactively; `None`: there is no place for one.
    pub login: Option<PathBuf>,
}

impl FibankSettings {
    fn read(entry: &Entry<'_>) -> Result<FibankSettings, settings::Error> {
        let table = &entry.table;
        Ok(FibankSettings {
            username: table.require("username", |value| value.text().map(str::to_owned))?,
            password: table.require("password", values::secret)?,
            base_url: table
                .read("base_url", values::origin)?
                .map_or_else(|| values::fixed("https://my.fibank.bg"), Ok)?,
            login: Some(login_file(entry.data_dir, KIND.name, &entry.name)),
        })
    }
}

impl Settings for FibankSettings {
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        vec![("password", &self.password)]
    }

    fn private_texts(&self) -> Vec<SecretString> {
        let password = self.password.reveal().unwrap_or_default();
        vec![password, SecretString::from(self.username.as_str())]
    }

    fn login_identity(&self) -> Option<SecretString> {
        let password = self.password.reveal().ok()?;
        Some(format!("{}\0{}\0{}", self.base_url, self.username, password.expose_secret()).into())
    }

    fn connect(&self, setup: Setup) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(Fibank::new(self, setup)))
    }

    fn session_file(&self) -> Option<&Path> {
        self.login.as_deref()
    }

    fn session_paste(&self) -> Option<SessionPaste> {
        Some(PASTE)
    }
}

/// The bank's own number alone, or behind the IBAN.
fn aliases(id: &str) -> Vec<String> {
    let mut parts = id.split(':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("fibank"), Some(iban), Some(number), None) => vec![number.to_owned(), format!("{iban}-{number}")],
        _ => Vec::new(),
    }
}

/// The token alone, out of a header line or an address.
fn pasted_token(text: &str) -> Result<String, String> {
    let text = text.trim();
    let token = text.rsplit_once("access_token=").map_or(text, |(_, rest)| rest.split('&').next().unwrap_or_default());
    let token = token.strip_prefix("Authorization:").unwrap_or(token).trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    let fitting = (8..=4096).contains(&token.len()) && token.chars().all(|c| c.is_ascii_graphic());
    if fitting { Ok(token.to_owned()) } else { Err("it is no token: letters and digits without spaces".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_older_programs_are_known_by_number() {
        assert_eq!(aliases("fibank:BG32FINV91501000000001:7"), ["7", "BG32FINV91501000000001-7"]);
        assert!(aliases("files:BG32FINV91501000000001:2026-01-05:ab12:1").is_empty());
    }
}
