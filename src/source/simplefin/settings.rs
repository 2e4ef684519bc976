//! The entry of SimpleFIN in the configuration: its keys, their errors, and the lines of the example.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::SimpleFin;
use super::access::Access;
use crate::remote::{Cause, Error};
use crate::settings::{self, Entry, SECRET_EXPECTED, Secret, Value, key, login_file, values};
use crate::source::{Kind, SavedSession, Scope, Settings, Setup, Source};

/// `kind = "simplefin"`.
pub const KIND: Kind = Kind {
    name: "simplefin",
    title: "SimpleFIN",
    keys: &[
        key("access_url", SECRET_EXPECTED),
        key("currency", "the code of a currency in quotes such as \"USD\""),
        key("invert", "a list of account ids in quotes"),
        key("adopt", ADOPT_EXPECTED),
    ],
    example: EXAMPLE,
    questions: super::interview::questions,
    read: |entry| Ok(Arc::new(SimpleFinSettings::read(entry)?)),
    scope: |table| Scope::read_with(table, values::account_names),
    aliases: |_| Vec::new(),
};

const ADOPT_EXPECTED: &str = "a table such as { \"ACT-new\" = \"ACT-old\" }";

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"# SimpleFIN, a service for banks in the US and Canada (bridge.simplefin.org). `bankfeed login us` asks for the setup token
# that the service shows, and keeps the access URL. Each pull asks once for the last 44 days of all accounts, so
# `overlap_days` counts above that only; the service allows 24 requests a day. `accounts` names accounts by the ids that
# `bankfeed accounts` lists.
kind = "simplefin"

# The access URL. Left out: the one that `bankfeed login` has kept.
# access_url = { credential = "simplefin" }

# The currency of accounts for which the service names none.
# currency = "USD"

# Accounts whose feed states spending as positive amounts, as some cards do.
# invert = ["ACT-00000000-0000-4000-8000-000000000001"]

# Accounts that the service calls otherwise since a bank was connected anew: the id there = the id here. An account that
# looks like one that is gone waits until it stands here, as itself if it is another one.
# adopt = { "ACT-00000000-0000-4000-8000-00000000000b" = "ACT-00000000-0000-4000-8000-00000000000a" }
"#;

/// An access to a SimpleFIN service.
#[derive(Clone, Debug)]
pub struct SimpleFinSettings {
    /// The access URL; `None`: the one that `bankfeed login` has kept.
    pub access_url: Option<Secret>,
    /// The currency of accounts for which the service names none.
    pub currency: Option<String>,
    /// Ids of accounts whose feed states money out as positive.
    pub inverted: Vec<String>,
    /// The ids here of accounts that the service calls otherwise.
    pub adopted: BTreeMap<String, String>,
    /// The file of the access URL that `bankfeed login` has kept.
    pub kept: PathBuf,
}

impl SimpleFinSettings {
    fn read(entry: &Entry<'_>) -> Result<SimpleFinSettings, settings::Error> {
        let table = &entry.table;
        Ok(SimpleFinSettings {
            access_url: table.read("access_url", access_url)?,
            currency: table.read("currency", currency)?,
            inverted: table.read("invert", values::account_names)?.unwrap_or_default(),
            adopted: table.read("adopt", adopted)?.unwrap_or_default(),
            kept: login_file(entry.data_dir, KIND.name, &entry.name),
        })
    }

    /// The access URL's text; `Ok(None)`: there is none yet. The error says where it was looked for.
    fn secret(&self) -> Result<Option<SecretString>, String> {
        if let Some(secret) = &self.access_url {
            return secret.reveal().map(Some);
        }
        let kept = SavedSession::read(&self.kept);
        kept.map(|kept| kept.map(|kept| kept.token)).map_err(|error| format!("{}: {error}", self.kept.display()))
    }

    /// The access URL of the source with this name.
    pub(super) fn access(&self, name: &str) -> Result<Access, Error> {
        let secret =
            self.secret().map_err(|why| Error::attention(Cause::Machine, format!("{name}: access_url: {why}")))?;
        let Some(secret) = secret else {
            let remedy = format!("make a setup token on the service's page and run `bankfeed login {name}`");
            return Err(Error::attention(Cause::Token, format!("{name}: there is no access URL yet; {remedy}")));
        };
        Access::read(secret.expose_secret()).map_err(|why| {
            let remedy = format!("correct it, or leave it out and run `bankfeed login {name}`");
            Error::attention(Cause::Token, format!("{name}: the access URL {why}; {remedy}"))
        })
    }
}

impl Settings for SimpleFinSettings {
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        self.access_url.iter().map(|secret| ("access_url", secret)).collect()
    }

    fn private_texts(&self) -> Vec<SecretString> {
        let Ok(Some(secret)) = self.secret() else { return Vec::new() };
        let access = Access::read(secret.expose_secret()).ok();
        let parts: Vec<SecretString> =
            access.iter().flat_map(|access| access.secrets().map(SecretString::from)).collect();
        parts.into_iter().chain([secret]).collect()
    }

    fn login_identity(&self) -> Option<SecretString> {
        self.secret().ok().flatten()
    }

    fn connect(&self, setup: Setup) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(SimpleFin::new(self, setup)))
    }

    fn session_file(&self) -> Option<&Path> {
        Some(&self.kept)
    }
}

/// The access URL; a URL in the file itself is looked at now.
fn access_url(value: &Value<'_>) -> Result<Secret, settings::Error> {
    let secret = values::secret(value)?;
    match &secret {
        Secret::Plain(text) => {
            Access::read(text.expose_secret()).map(|_| secret.clone()).map_err(|why| value.error(why))
        }
        _ => Ok(secret),
    }
}

/// The accounts that go on under another id, each adopted once.
fn adopted(value: &Value<'_>) -> Result<BTreeMap<String, String>, settings::Error> {
    let table = value.table(None, &[]).ok_or_else(|| value.wrong())?;
    let mut adopted = BTreeMap::new();
    for (there, _, here) in table.entries(ADOPT_EXPECTED) {
        adopted.insert(there.trim().to_owned(), here.text()?.trim().to_owned());
    }
    Ok(adopted)
}

fn currency(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?.trim().to_uppercase();
    if is_code(&text) { Ok(text) } else { Err(value.wrong()) }
}

/// True for the form of a code of ISO 4217.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}
