//! The entries of Google Sheets in the configuration: their keys, their errors, and the lines of the example.
//!
//! No error about a key file or an OAuth client repeats the value: a secret may stand in the wrong place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::oauth::{self, Login, OAuthClient};
use super::{GoogleSheets, interview};
use crate::destination::Destination;
use crate::destination::kind::{BrowserSignIn, BrowserVisit, Kind, Offer, Settings, Shown};
use crate::destination::policy::Rows;
use crate::model::Language;
use crate::remote::{Context, Error};
use crate::settings::words::nearest;
use crate::settings::{
    self, BASE_URL_EXPECTED, Entry, Key, SECRET_EXPECTED, Secret, Table, Value, key, login_file, values,
};

const TAB_EXPECTED: &str = "the title of a tab in quotes, or false";

/// `kind = "google-sheets"`.
pub const KIND: Kind = Kind {
    name: "google-sheets",
    keys: &[
        key("spreadsheet", "the address of the spreadsheet or its id, in quotes"),
        key("tab", "the title of a tab in quotes"),
        key("service_account", SECRET_EXPECTED),
        key("order", "`oldest-first` or `newest-first` in quotes"),
        key("balances_tab", TAB_EXPECTED),
        key("dashboard_tab", TAB_EXPECTED),
        key("rules_tab", TAB_EXPECTED),
        key("oauth", "a table such as { client = { file = \"/etc/bankfeed/google-client.json\" } }"),
    ],
    example: EXAMPLE,
    offer: Offer { phrase: "a Google spreadsheet (g)", words: &["g", "google", "google-sheets", "sheets"] },
    questions: interview::questions,
    at_rest: interview::AT_REST,
    read: |entry| Ok(Arc::new(GoogleSheetsSettings::read(entry)?)),
};

const OAUTH: &[Key] = &[key("client", "the JSON of an OAuth client as a secret, or { id = \"…\", secret = … }")];

const CLIENT: &[Key] = &[
    key("id", "the client's id in quotes, such as \"….apps.googleusercontent.com\""),
    key("secret", SECRET_EXPECTED),
    key("auth_uri", BASE_URL_EXPECTED),
    key("token_uri", BASE_URL_EXPECTED),
];

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r##"kind = "google-sheets"

# The address of the spreadsheet as the browser shows it, or only its id. Share the spreadsheet with the service
# account's e-mail address, as an editor.
spreadsheet = "https://docs.google.com/spreadsheets/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG/edit"

# The tab with the transactions; it is made if it is missing. Left out: "Transactions".
tab = "Transactions"

# The service account's key: the whole JSON file, as a secret.
service_account = { credential = "google-key" }

# Instead of a service account you can sign in yourself: the JSON of an OAuth client (type: desktop app), as a secret;
# then run `bankfeed login household`. Only one of the two. In the place of the JSON its two parts may stand:
# { client = { id = "….apps.googleusercontent.com", secret = { credential = "google-client" } } }
# oauth = { client = { credential = "google-client" } }

# Where new rows go: "oldest-first" below the others, "newest-first" under the header. Left out: "oldest-first".
# order = "oldest-first"

# A tab that proves the rows: per account the bank's balance, the sum of the rows by formula, and the difference. Written
# with new rows, when something needs you, and otherwise once a day. A title, or false for none. Left out: "Balances".
# balances_tab = "Balances"

# A tab with charts, made once; from then on it is yours, and if you delete it, it stays away (another title asks for
# another one). A title, or false for none. Left out: "Dashboard".
# dashboard_tab = "Dashboard"

# A tab in which you write rules instead of [[rule]] entries (see below), a line for each. Made once; from then on it is
# yours. Read with new rows, and otherwise once a day. A title, or false for none. Left out: none.
# rules_tab = "Rules"
"##;

/// A tab of a spreadsheet at Google.
#[derive(Clone, Debug)]
pub struct GoogleSheetsSettings {
    /// The spreadsheet's id (taken out of its address where that was given).
    pub spreadsheet: String,
    /// Title of the tab with the transactions.
    pub tab: String,
    /// The service account's JSON key; where the owner signs in (`login`), the OAuth client's JSON.
    pub service_account: Secret,
    /// The file of the owner's own sign-in; `None`: a service account writes.
    pub login: Option<PathBuf>,
    /// The OAuth client, where its parts are given instead of its JSON: then `service_account` is its secret alone.
    pub client: Option<Box<InlineClient>>,
    /// API root, with trailing slash; https, or http on loopback.
    pub base_url: Url,
    /// Columns and policies.
    pub rows: Rows,
    /// The place of new rows.
    pub order: Order,
    /// Title of the tab with balances, where one is asked for.
    pub balances_tab: Option<String>,
    /// Title of the tab with charts, where one is asked for.
    pub dashboard_tab: Option<String>,
    /// Title of the tab with the owner's rules, where one is asked for.
    pub rules_tab: Option<String>,
}

/// `order = …`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// New rows go below the others.
    #[default]
    OldestFirst,
    /// New rows go under the header.
    NewestFirst,
}

/// An OAuth client by its parts, but for the secret.
#[derive(Clone, Debug)]
pub struct InlineClient {
    /// The id of the client.
    pub id: String,
    /// The address for the browser; `None`: Google's page.
    pub auth_uri: Option<Url>,
    /// The address that gives tokens; `None`: Google's.
    pub token_uri: Option<Url>,
}

impl GoogleSheetsSettings {
    fn read(entry: &Entry<'_>) -> Result<GoogleSheetsSettings, settings::Error> {
        let table = &entry.table;
        let rows = Rows::read(table)?;
        let client = table.read("oauth", oauth)?;
        let key = table.read("service_account", service_account)?;
        let login = client.is_some().then(|| login_file(entry.data_dir, "google", &entry.name));
        let (secret, client) = client.map_or((None, None), |(secret, client)| (Some(secret), client));
        let service_account = match (key, secret) {
            (Some(_), Some(_)) => {
                let at = table.read("oauth", |value| Ok(value.at))?.unwrap_or_default();
                return Err(table.error_at(at, "oauth and service_account exclude each other, give one of them"));
            }
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => table.require("service_account", service_account)?,
        };
        let orders = [("oldest-first", Order::OldestFirst), ("newest-first", Order::NewestFirst)];
        let usual_root = || values::fixed("https://sheets.googleapis.com/");
        let sheets = GoogleSheetsSettings {
            spreadsheet: table.require("spreadsheet", spreadsheet)?,
            tab: table.read("tab", values::title)?.unwrap_or_else(|| rows.usual_title()),
            service_account,
            login,
            client: client.map(Box::new),
            base_url: table.read("base_url", values::root)?.map_or_else(usual_root, Ok)?,
            order: table.read("order", |value| value.choice(&orders))?.unwrap_or_default(),
            balances_tab: extra(table, "balances_tab", rows.language, "Balances", "Салда")?,
            dashboard_tab: extra(table, "dashboard_tab", rows.language, "Dashboard", "Табло")?,
            rules_tab: table.read("rules_tab", values::title_or_false)?.flatten(),
            rows,
        };
        let (balances, dashboard) = (sheets.balances_tab.as_ref(), sheets.dashboard_tab.as_ref());
        let (tab, rules) = (Some(&sheets.tab), sheets.rules_tab.as_ref());
        values::check_titles(
            table,
            &[("tab", tab), ("balances_tab", balances), ("dashboard_tab", dashboard), ("rules_tab", rules)],
        )?;
        Ok(sheets)
    }

    /// The service account's key or the OAuth client, as JSON.
    pub fn credentials(&self) -> Result<SecretString, String> {
        let secret = self.service_account.reveal()?;
        let Some(client) = &self.client else { return Ok(secret) };
        let InlineClient { id, auth_uri, token_uri } = &**client;
        let parts = serde_json::json!({
            "client_id": id,
            "client_secret": secret.expose_secret(),
            "auth_uri": auth_uri.as_ref().map(Url::as_str),
            "token_uri": token_uri.as_ref().map(Url::as_str),
        });
        Ok(SecretString::from(serde_json::json!({ "installed": parts }).to_string()))
    }
}

impl Settings for GoogleSheetsSettings {
    fn target(&self) -> String {
        format!("google-sheets/{}/{}", self.spreadsheet, self.tab)
    }

    fn place(&self) -> String {
        // Titles of tabs differ by more than capitals.
        format!("{} {} {}", self.base_url, self.spreadsheet, self.tab.to_lowercase())
    }

    fn rows(&self) -> &Rows {
        &self.rows
    }

    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        let key = if self.login.is_some() { "oauth" } else { "service_account" };
        vec![(key, &self.service_account)]
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            balances: self.balances_tab.is_some(),
            sums: false,
            dashboard: self.dashboard_tab.is_some(),
            rules_tab: self.rules_tab.as_deref(),
        }
    }

    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error> {
        Ok(Box::new(GoogleSheets::new(name, self, context, state)?))
    }

    fn browser_sign_in(&self) -> Option<Box<dyn BrowserSignIn + '_>> {
        let session = self.login.as_deref()?;
        Some(Box::new(OwnSignIn { settings: self, session }))
    }
}

/// The owner's own sign-in at Google.
struct OwnSignIn<'a> {
    settings: &'a GoogleSheetsSettings,
    session: &'a Path,
}

#[async_trait]
impl BrowserSignIn for OwnSignIn<'_> {
    fn session_file(&self) -> &Path {
        self.session
    }

    async fn begin(&self) -> io::Result<Result<Box<dyn BrowserVisit>, String>> {
        let client = self.settings.credentials().and_then(|text| OAuthClient::read(text.expose_secret()));
        match client {
            Ok(client) => Ok(Ok(Box::new(Login::begin(client).await?))),
            Err(why) => Ok(Err(why)),
        }
    }

    fn save(&self, session: &str) -> io::Result<()> {
        oauth::keep(self.session, session)
    }
}

#[async_trait]
impl BrowserVisit for Login {
    fn address(&self) -> String {
        Login::address(self)
    }

    fn port(&self) -> u16 {
        Login::port(self)
    }

    async fn finish(self: Box<Self>) -> Result<String, String> {
        Login::finish(*self).await.map(|session| session.to_text())
    }
}

/// The title of a tab beside the transactions: as configured, the usual one, or none.
fn extra(
    table: &Table<'_>,
    key: &str,
    language: Language,
    en: &str,
    bg: &str,
) -> Result<Option<String>, settings::Error> {
    let usual = if language == Language::En { en } else { bg };
    Ok(table.read(key, values::title_or_false)?.unwrap_or_else(|| Some(usual.to_owned())))
}

/// `oauth`.
fn oauth(value: &Value<'_>) -> Result<(Secret, Option<InlineClient>), settings::Error> {
    let table = value.table(None, OAUTH).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    table.require("client", client)
}

fn client(value: &Value<'_>) -> Result<(Secret, Option<InlineClient>), settings::Error> {
    let is_known = |name: &str| CLIENT.iter().any(|key| key.name == name);
    let in_parts = |table: &Table<'_>| table.names().any(is_known);
    let Some(table) = value.table(None, CLIENT).filter(in_parts) else {
        return service_account(value).map(|json| (json, None));
    };
    if let Some(stranger) = table.names().find(|name| !is_known(name)) {
        let near = nearest(stranger, CLIENT.iter().map(|key| key.name));
        let near = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        return Err(value.error(format!("expected id and secret, found another key{near}")));
    }
    let id = table.require("id", |value| {
        let id = value.text()?;
        if id.contains(char::is_whitespace) { Err(value.wrong_value()) } else { Ok(id.to_owned()) }
    })?;
    let (auth_uri, token_uri) = (table.read("auth_uri", values::address)?, table.read("token_uri", values::address)?);
    Ok((table.require("secret", values::secret)?, Some(InlineClient { id, auth_uri, token_uri })))
}

/// A service account's key: JSON, so that a file's path written where the key belongs is noticed here.
fn service_account(value: &Value<'_>) -> Result<Secret, settings::Error> {
    if let Some(text) = value.value.as_str()
        && !text.trim().is_empty()
        && !text.trim_start().starts_with('{')
    {
        return Err(value.error("expected the JSON key itself, or { file = \"…\" } with the path of the key file"));
    }
    values::secret(value)
}

/// A spreadsheet's id, also out of its address.
pub fn spreadsheet(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?.trim();
    let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if is_id(text) {
        return Ok(text.to_owned());
    }
    let expected =
        || value.error("expected the address of a spreadsheet, https://docs.google.com/spreadsheets/d/…, or its id");
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).map_err(|_| expected())?;
    if url.host_str() != Some("docs.google.com") {
        return Err(expected());
    }
    // Also /spreadsheets/u/0/d/… where several Google accounts are signed in.
    let parts: Vec<&str> = url.path().split('/').collect();
    let id = parts.iter().position(|part| *part == "d").and_then(|at| parts.get(at + 1)).copied();
    if id == Some("e") {
        return Err(
            value.error("is the address of a published copy, take it from the browser while editing the spreadsheet")
        );
    }
    let spreadsheets = parts.get(1) == Some(&"spreadsheets");
    id.filter(|id| spreadsheets && is_id(id)).map(str::to_owned).ok_or_else(expected)
}
