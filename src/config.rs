//! The configuration as a type that cannot be wrong. Everything is validated here ([`load`]) or by the connectors in
//! whose name it stands; the rest of the program never checks again. Secrets stay references until a connector asks for
//! them, so that commands which only read the store work without them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono_tz::Tz;
use secrecy::SecretString;

use crate::destination::kind::{Settings as DestinationSettings, Shown};
use crate::destination::policy::{Filter, Rows};
use crate::model::Field;
use crate::remote::{self, Context};
use crate::rules::Rules;
use crate::schedule::Schedule;
use crate::settings::Secret;
use crate::source::{self, Scope};
use crate::{destination, settings};

mod enrichment;
mod general;
mod keys;
mod locate;
mod notifier;
mod parse;
mod secrets;

pub use keys::known_keys;
pub use locate::{Environment, find};
pub use notifier::{Email, Notifier, NotifierKind, On, Safety};
pub use parse::{load, load_with, machine_timezone, reload};
pub use settings::Error;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read.
    pub path: PathBuf,
    /// The text of the file.
    pub text: SecretString,
    /// The directory of the store.
    pub data_dir: PathBuf,
    /// The owner's time zone: schedule and report times.
    pub timezone: Tz,
    /// The times of cycles; empty: only when asked.
    pub schedule: Vec<Schedule>,
    /// A run that was missed while the machine was off happens at start.
    pub catch_up: bool,
    /// Longest random delay before a scheduled run.
    pub jitter: Duration,
    /// Sources in file order; names are unique among sources.
    pub sources: Vec<Source>,
    /// Destinations in file order; names are unique among destinations.
    pub destinations: Vec<Destination>,
    /// The rules that enrich transactions.
    pub rules: Rules,
    /// The page and the API on the network; `None`: not wanted.
    pub http: Option<Http>,
    /// Notifiers in file order; names are unique among notifiers.
    pub notifiers: Vec<Notifier>,
    /// Warnings for the owner, e.g. of a plain secret in a file that others can read.
    pub warnings: Vec<String>,
}

/// A `[[source]]`.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name in reports and logs.
    pub name: String,
    /// The kind.
    pub kind: &'static source::Kind,
    /// The part of the history that the owner wants.
    pub scope: Scope,
    /// The settings of its connector.
    pub settings: Arc<dyn source::Settings>,
}

impl Source {
    /// Makes the connector; nothing is sent.
    pub fn connect(&self, setup: source::Setup) -> Result<Box<dyn source::Source>, remote::Error> {
        self.settings.connect(setup)
    }
}

/// A `[[destination]]`.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The name in reports and logs.
    pub name: String,
    /// The kind.
    pub kind: &'static destination::kind::Kind,
    /// The settings of its connector.
    pub settings: Arc<dyn DestinationSettings>,
    /// The transactions that it gets.
    pub filter: Filter,
}

impl Destination {
    /// Makes the connector; nothing is sent. `state` is what the connector asked to be kept last time, empty at first.
    pub fn connect(&self, context: Context, state: &[u8]) -> Result<Box<dyn destination::Destination>, remote::Error> {
        self.settings.connect(&self.name, context, state)
    }

    /// Names the very sheet or base, so that nothing remembered of one is ever used for another.
    pub fn target(&self) -> String {
        self.settings.target()
    }

    /// Columns and policies of its rows.
    pub fn rows(&self) -> &Rows {
        self.settings.rows()
    }

    /// The things that it shows beside rows.
    pub fn shown(&self) -> Shown<'_> {
        self.settings.shown()
    }

    /// True where any part of the payload as received is shown.
    pub fn shows_raw(&self) -> bool {
        self.rows().columns.iter().any(|column| matches!(column.field, Field::Raw(_)))
    }

    /// True where a column shows this field.
    pub fn shows(&self, field: &Field) -> bool {
        self.rows().columns.iter().any(|column| column.field == *field)
    }
}

/// `[http]`: the page and the API on the network.
#[derive(Clone, Debug)]
pub struct Http {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The token that opens everything; `None` (this machine's own addresses only): a random one is made up and kept in
    /// the data directory.
    pub token: Option<Secret>,
    /// The token that opens the CSV alone and may stand in its address; `None`: there is no such token.
    pub import_token: Option<Secret>,
}
