//! A kind of destination as its connector declares it: the keys of its entries, and the settings that an entry becomes.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use async_trait::async_trait;

use super::Destination;
use super::policy::Rows;
use crate::remote::{Context, Error};
use crate::settings::interview::{Draft, Interview, Stop};
use crate::settings::{self, Entry, Key, Secret};

/// A kind of destination.
#[derive(Debug)]
pub struct Kind {
    /// The word behind `kind` in the configuration.
    pub name: &'static str,
    /// The keys of an entry, beside the common ones.
    pub keys: &'static [Key],
    /// The connector's own lines in `config.example.toml`.
    pub example: &'static str,
    /// The words that offer it in `bankfeed init`.
    pub offer: Offer,
    /// Asks for an entry in `bankfeed init`.
    pub questions: fn(&mut dyn Interview) -> Result<Draft, Stop>,
    /// An entry at rest, for owners who want none yet.
    pub at_rest: &'static str,
    /// Reads an entry of the configuration.
    pub read: fn(&Entry<'_>) -> Result<Arc<dyn Settings>, settings::Error>,
}

/// The words that offer a kind of destination.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The offer with its letter: `a Google spreadsheet (g)`.
    pub phrase: &'static str,
    /// The answers that choose it, the letter first.
    pub words: &'static [&'static str],
}

/// The settings of one destination, as its connector has read them from the configuration.
pub trait Settings: Any + fmt::Debug + Send + Sync {
    /// Names the very sheet or base in the store, so that nothing remembered of one is ever used for another.
    fn target(&self) -> String;

    /// Names the very sheet or base to the service, however the configuration spells it: two entries of one place would
    /// undo each other's work.
    fn place(&self) -> String;

    /// Columns and policies of its rows.
    fn rows(&self) -> &Rows;

    /// Every secret with its key.
    fn secrets(&self) -> Vec<(&'static str, &Secret)>;

    /// The things that it shows beside rows.
    fn shown(&self) -> Shown<'_>;

    /// Makes the connector without sending a request. `state` is the memory that [`Destination::state`] returned last,
    /// empty at first.
    fn connect(&self, name: &str, context: Context, state: &[u8]) -> Result<Box<dyn Destination>, Error>;

    /// The owner's own sign-in, where this entry asks for one.
    fn browser_sign_in(&self) -> Option<Box<dyn BrowserSignIn + '_>> {
        None
    }
}

/// The things that a destination shows beside rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Balances of accounts.
    pub balances: bool,
    /// Sums over rows that must be counted for it, because it has no formulas.
    pub sums: bool,
    /// Sums over rows by formulas of its own.
    pub dashboard: bool,
    /// Title of the tab where the owner keeps rules.
    pub rules_tab: Option<&'a str>,
}

/// A sign-in of the owner in a browser, after which the connector acts in the owner's name.
#[async_trait]
pub trait BrowserSignIn: Send + Sync {
    /// The file that holds the session.
    fn session_file(&self) -> &Path;

    /// Begins a sign-in. The inner error is about the settings.
    async fn begin(&self) -> io::Result<Result<Box<dyn BrowserVisit>, String>>;

    /// Saves a session, whole or not at all.
    fn save(&self, session: &str) -> io::Result<()>;
}

/// A sign-in under way: an address to be opened in a browser, and a listener the browser comes back to.
#[async_trait]
pub trait BrowserVisit: Send {
    /// The address to open.
    fn address(&self) -> String;

    /// The port the browser comes back to.
    fn port(&self) -> u16;

    /// Waits for the browser and turns its answer into the text of a session.
    async fn finish(self: Box<Self>) -> Result<String, String>;
}
