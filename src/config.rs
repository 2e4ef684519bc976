//! The configuration as a type that cannot be wrong. Everything is validated here ([`load`]); the rest of the program
//! never checks again. Secrets stay references until a connector asks for them, so that commands which only read the
//! store work without them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDate;
use chrono_tz::Tz;
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::model::{Direction, Field, Language};
use crate::rules::Rules;
use crate::schedule::Schedule;

pub mod answer;
mod enrichment;
mod keys;
mod locate;
mod notifier;
mod oauth;
mod parse;
mod place;
mod reader;
mod secret;
mod values;
mod words;

use place::Place;

pub use keys::known_keys;
pub use locate::{Environment, find};
pub use notifier::{Email, Notifier, NotifierKind, On, Safety};
pub use oauth::InlineClient;
pub use parse::{load, load_with, machine_timezone, reload};
pub use secret::Secret;

/// A configuration that cannot be used: one line that names file, line, entry, key and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// What stood in it.
    pub text: SecretString,
    /// Where the store lives.
    pub data_dir: PathBuf,
    /// The owner's time zone: schedule and report times.
    pub timezone: Tz,
    /// When cycles run; empty: only when asked.
    pub schedule: Vec<Schedule>,
    /// Whether a run missed while the machine was off happens at start.
    pub catch_up: bool,
    /// Longest random delay before a scheduled run.
    pub jitter: Duration,
    /// Sources in file order; names are unique among sources.
    pub sources: Vec<Source>,
    /// Destinations in file order; names are unique among destinations.
    pub destinations: Vec<Destination>,
    /// What transactions are enriched by.
    pub rules: Rules,
    /// The page and the API on the network; `None`: not wanted.
    pub http: Option<Http>,
    /// Whom to tell what, in file order; names are unique among them.
    pub notifiers: Vec<Notifier>,
    /// Things worth a warning, e.g. a plain secret in a file that others can read.
    pub warnings: Vec<String>,
}

/// A `[[source]]`.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in reports and logs.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
}

/// Kinds of source.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// My Fibank.
    Fibank(Fibank),
}

/// `kind = "fibank"`.
#[derive(Clone, Debug)]
pub struct Fibank {
    /// Login name.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// Origin of the bank; https, or http on loopback.
    pub base_url: Url,
    /// Only these accounts (IBANs without spaces); `None`: all.
    pub accounts: Option<Vec<String>>,
    /// First day to fetch; `None`: as far back as the bank goes.
    pub history_from: Option<NaiveDate>,
    /// How many days each pull looks back for late postings.
    pub overlap_days: u32,
    /// Where a session lies that the owner has opened by hand; `None`: there is no place for one.
    pub login: Option<PathBuf>,
}

/// A `[[destination]]`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name in reports and logs.
    pub name: String,
    /// What it is.
    pub kind: DestinationKind,
    /// Which transactions it gets.
    pub filter: Filter,
}

impl Destination {
    /// Names the very sheet or base, so that what is remembered of one is never used for another.
    pub fn target(&self) -> String {
        match &self.kind {
            DestinationKind::GoogleSheets(sheets) => format!("google-sheets/{}/{}", sheets.spreadsheet, sheets.tab),
            DestinationKind::Airtable(airtable) => format!("airtable/{}/{}", airtable.base, airtable.table),
        }
    }

    /// Columns and policies of its rows.
    pub fn rows(&self) -> &Rows {
        match &self.kind {
            DestinationKind::GoogleSheets(sheets) => &sheets.rows,
            DestinationKind::Airtable(airtable) => &airtable.rows,
        }
    }
}

impl Destination {
    /// Whether it shows balances beside rows.
    pub fn shows_balances(&self) -> bool {
        match &self.kind {
            DestinationKind::GoogleSheets(sheets) => sheets.balances_tab.is_some(),
            DestinationKind::Airtable(airtable) => airtable.accounts_table.is_some(),
        }
    }

    /// Whether it has sums of its own over the rows.
    pub fn shows_dashboard(&self) -> bool {
        match &self.kind {
            DestinationKind::GoogleSheets(sheets) => sheets.dashboard_tab.is_some(),
            DestinationKind::Airtable(_) => false,
        }
    }

    /// Title of the tab where the owner keeps rules, if one is asked for.
    pub fn rules_tab(&self) -> Option<&str> {
        match &self.kind {
            DestinationKind::GoogleSheets(sheets) => sheets.rules_tab.as_deref(),
            DestinationKind::Airtable(_) => None,
        }
    }

    /// Whether anything of the payload as received is shown.
    pub fn shows_raw(&self) -> bool {
        self.rows().columns.iter().any(|column| matches!(column.field, Field::Raw(_)))
    }

    /// Whether it has a column for this field.
    pub fn shows(&self, field: &Field) -> bool {
        self.rows().columns.iter().any(|column| column.field == *field)
    }
}

/// Kinds of destination.
#[derive(Clone, Debug)]
pub enum DestinationKind {
    /// Google Sheets.
    GoogleSheets(GoogleSheets),
    /// Airtable.
    Airtable(Airtable),
}

/// What destinations have in common about rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns in order; the id column is always among them.
    pub columns: Vec<Column>,
    /// Whether late corrections by the bank are written.
    pub updates: Updates,
    /// What happens to rows the bank took back.
    pub vanished: Vanished,
    /// Language of default headers.
    pub language: Language,
}

/// `kind = "google-sheets"`.
#[derive(Clone, Debug)]
pub struct GoogleSheets {
    /// The spreadsheet's id (taken out of its address where that was given).
    pub spreadsheet: String,
    /// Title of the tab with the transactions.
    pub tab: String,
    /// The service account's JSON key; where the owner signs in (`login`), the OAuth client's JSON.
    pub service_account: Secret,
    /// Where the owner's own sign-in lies; `None`: a service account writes.
    pub login: Option<PathBuf>,
    /// The OAuth client, where its parts are given instead of its JSON: then `service_account` is its secret alone.
    pub client: Option<Box<InlineClient>>,
    /// API root, with trailing slash; https, or http on loopback.
    pub base_url: Url,
    /// Columns and policies.
    pub rows: Rows,
    /// Where new rows go.
    pub order: Order,
    /// Title of the tab with balances, where one is asked for.
    pub balances_tab: Option<String>,
    /// Title of the tab with charts, where one is asked for.
    pub dashboard_tab: Option<String>,
    /// Title of the tab with the owner's rules, where one is asked for.
    pub rules_tab: Option<String>,
}

/// `kind = "airtable"`.
#[derive(Clone, Debug)]
pub struct Airtable {
    /// Base id, `app…`.
    pub base: String,
    /// Table name or `tbl…` id.
    pub table: String,
    /// Personal access token.
    pub token: Secret,
    /// API origin without `/v0`; https, or http on loopback.
    pub base_url: Url,
    /// The plan's calls per month; never spent past.
    pub monthly_requests: Option<u32>,
    /// Name of the table with balances, where one is asked for.
    pub accounts_table: Option<String>,
    /// Columns and policies.
    pub rows: Rows,
}

/// `[http]`: the page and the API on the network.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What opens everything; `None` (this machine's own addresses only): one is made up and kept in the data directory.
    pub token: Option<Secret>,
    /// What opens the CSV alone and may stand in its address; `None`: nothing does.
    pub import_token: Option<Secret>,
}

/// A column of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it shows.
    pub field: Field,
    /// Its header when it is created.
    pub header: String,
}

/// `updates = …`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// Corrections overwrite the bank-owned cells.
    #[default]
    Apply,
    /// Rows stay as first written.
    Ignore,
}

/// `vanished = …`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vanished {
    /// The row is marked.
    #[default]
    Mark,
    /// Nothing happens.
    Ignore,
    /// The row is deleted.
    Delete,
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

/// Which transactions a destination gets; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Booked on or after this day.
    pub since: Option<NaiveDate>,
    /// Only of these accounts.
    pub accounts: Option<Vec<String>>,
    /// Only money in or money out.
    pub direction: Option<Direction>,
    /// Only amounts of at least this much, whichever way the money went.
    pub min_amount: Option<Decimal>,
    /// Only of these types, by the bank's words or its code, in lower case.
    pub types: Option<Vec<String>>,
}

impl Filter {
    /// Whether a transaction passes.
    pub fn accepts(&self, transaction: &crate::model::Transaction) -> bool {
        self.since.is_none_or(|since| transaction.row.date >= since)
            && self
                .accounts
                .as_ref()
                .is_none_or(|accounts| accounts.iter().any(|account| **account == *transaction.account))
            && self.direction.is_none_or(|direction| transaction.row.direction() == direction)
            && self.min_amount.is_none_or(|least| transaction.row.amount.abs() >= least)
            && self.types.as_ref().is_none_or(|types| {
                let row = &transaction.row;
                [&row.kind, &row.kind_code].iter().any(|kind| types.contains(&kind.trim().to_lowercase()))
            })
    }
}

impl Config {
    /// Resolves every secret once, so that a missing one is told before anything starts.
    pub fn check_secrets(&self) -> Result<(), Error> {
        self.missing_secrets().into_iter().next().map_or(Ok(()), Err)
    }

    /// Every secret that cannot be read, one line each.
    pub fn missing_secrets(&self) -> Vec<Error> {
        let revealed = self.secrets().into_iter().map(|(place, secret)| (place, secret.reveal()));
        let missing =
            revealed.filter_map(|(place, secret)| Some(self.error_at(&place, format!(": {}", secret.err()?))));
        let mut missing: Vec<Error> = missing.collect();
        if missing.is_empty() {
            missing.extend(self.http.as_ref().and_then(|http| self.check_tokens(http).err()));
        }
        for (at, notifier) in self.notifiers.iter().enumerate() {
            // An address that is not there has been told.
            let is_there = notifier.secrets().first().is_some_and(|(_, address)| address.reveal().is_ok());
            if let Some(why) = notifier.address().err().filter(|_| is_there) {
                let place = Place { list: "notify", entry: Some((at, notifier.name.clone())), key: "url" };
                missing.push(self.error_at(&place, why.strip_prefix("url").unwrap_or(&why)));
            }
        }
        missing
    }

    /// Every secret with the place it has in the file.
    fn secrets(&self) -> Vec<(Place, &Secret)> {
        let place = |list, at, name: &String, key| Place { list, entry: Some((at, name.clone())), key };
        let sources = self.sources.iter().enumerate().map(|(at, source)| match &source.kind {
            SourceKind::Fibank(fibank) => (place("source", at, &source.name, "password"), &fibank.password),
        });
        let destinations = self.destinations.iter().enumerate().map(|(at, destination)| {
            let (key, secret) = match &destination.kind {
                DestinationKind::GoogleSheets(sheets) if sheets.login.is_some() => ("oauth", &sheets.service_account),
                DestinationKind::GoogleSheets(sheets) => ("service_account", &sheets.service_account),
                DestinationKind::Airtable(airtable) => ("token", &airtable.token),
            };
            (place("destination", at, &destination.name, key), secret)
        });
        let http = self.http.iter().flat_map(|http| {
            let tokens = [("token", &http.token), ("import_token", &http.import_token)];
            tokens.into_iter().filter_map(|(key, secret)| Some((Place::http(key), secret.as_ref()?)))
        });
        let notifiers = self.notifiers.iter().enumerate().flat_map(|(at, notifier)| {
            let secrets = notifier.secrets().into_iter();
            secrets.map(move |(key, secret)| (place("notify", at, &notifier.name, key), secret))
        });
        sources.chain(destinations).chain(http).chain(notifiers).collect()
    }

    /// Both tokens must fit into a request, and the one that stands in addresses must not open everything.
    fn check_tokens(&self, http: &Http) -> Result<(), Error> {
        let reveal = |key: &'static str, secret: &Option<Secret>| {
            let revealed = secret.as_ref().map(Secret::reveal).transpose();
            let token = revealed.map_err(|error| self.http_error(key, format!(": {error}")))?;
            match &token {
                Some(token) if !token.expose_secret().chars().all(|c| c.is_ascii_graphic()) => Err(self.http_error(
                    key,
                    ": must consist of ASCII letters, digits and signs without spaces, to fit into a request",
                )),
                _ => Ok(token),
            }
        };
        let (token, import) = (reveal("token", &http.token)?, reveal("import_token", &http.import_token)?);
        match (token, import) {
            (Some(token), Some(import)) if token.expose_secret() == import.expose_secret() => Err(self.http_error(
                "import_token",
                ": is the same as token; it stands in addresses and must open nothing but the CSV",
            )),
            _ => Ok(()),
        }
    }
}
