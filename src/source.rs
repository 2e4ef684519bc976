//! The contract between the program and the banks that transactions come from.
//!
//! A [`Source`] signs in and gives a [`Session`]; a session lists accounts and fetches the rows that were booked on one
//! of them. A source only reads: fetching the same window twice is harmless. A source knows nothing of the store or of
//! destinations.
//!
//! A new kind of source is a folder here with a [`Kind`] in it, and one line in [`KINDS`].

use std::any::Any;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, FixedOffset, NaiveDate};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use secrecy::SecretString;

use crate::model::{Account, Row};
use crate::remote::attempts::Attempts;
use crate::remote::{Context, Error};
use crate::settings::interview::{Draft, Interview, Stop};
use crate::settings::{self, Entry, Key, Secret, Table, Value, key, values};

pub mod content_id;
pub mod enable_banking;
pub mod fibank;
pub mod files;
mod saved_session;
pub mod simplefin;

pub use saved_session::{Lifetime, SavedSession};

/// Every kind of source.
pub const KINDS: &[Kind] = &[fibank::KIND, files::KIND, enable_banking::KIND, simplefin::KIND];

/// The keys of `[[source]]` that every kind has.
pub const KEYS: &[Key] = &[
    key("accounts", "a list of account numbers in quotes"),
    key("history_from", "a date such as 2015-01-01"),
    key("overlap_days", "a whole number from 0 to 3650"),
];

/// Days that each pull looks back where the configuration names no number.
const OVERLAP_DAYS: u32 = 14;

/// A kind of source, as its connector declares it.
#[derive(Debug)]
pub struct Kind {
    /// The word behind `kind` in the configuration.
    pub name: &'static str,
    /// The name that people know the service by.
    pub title: &'static str,
    /// The keys of an entry, beside the common ones.
    pub keys: &'static [Key],
    /// The connector's own lines in `config.example.toml`.
    pub example: &'static str,
    /// Asks for an entry in `bankfeed init`.
    pub questions: fn(&mut dyn Interview) -> Result<Draft, Stop>,
    /// Reads an entry of the configuration.
    pub read: fn(&Entry<'_>) -> Result<Arc<dyn Settings>, settings::Error>,
    /// Reads the part of the history that the owner wants from the common keys of an entry.
    pub scope: fn(&Table<'_>) -> Result<Scope, settings::Error>,
    /// Other forms under which the row with this id may stand in a sheet that was filled by hand or by an older
    /// program.
    pub aliases: fn(&str) -> Vec<String>,
}

/// Other forms under which the row with this id may stand in a sheet, whichever source the row came from.
pub fn aliases(id: &str) -> Vec<String> {
    KINDS.iter().flat_map(|kind| (kind.aliases)(id)).collect()
}

/// The part of a source's history that the owner wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The accounts (IBANs without spaces, or the names that the source has for them); `None`: all.
    pub accounts: Option<Vec<String>>,
    /// The first day; `None`: the beginning of the bank's history.
    pub history_from: Option<NaiveDate>,
    /// Days that each pull looks back for late postings.
    pub overlap_days: u32,
}

impl Scope {
    /// Reads the keys that every kind of source has, for a source that names accounts by IBAN.
    pub fn read(table: &Table<'_>) -> Result<Scope, settings::Error> {
        Scope::read_with(table, values::accounts)
    }

    /// As [`Scope::read`], for a source that names accounts in a way of its own.
    pub fn read_with(
        table: &Table<'_>,
        accounts: impl FnOnce(&Value<'_>) -> Result<Vec<String>, settings::Error>,
    ) -> Result<Scope, settings::Error> {
        Ok(Scope {
            accounts: table.read("accounts", accounts)?,
            history_from: table.read("history_from", values::date)?,
            overlap_days: table.read("overlap_days", |value| value.whole(0..=3650))?.unwrap_or(OVERLAP_DAYS),
        })
    }

    /// True for an account that the owner wants.
    pub fn wants(&self, account: &str) -> bool {
        self.accounts.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| wanted == account))
    }
}

/// The settings of one source, as its connector has read them from the configuration.
pub trait Settings: Any + fmt::Debug + Send + Sync {
    /// Every secret with its key.
    fn secrets(&self) -> Vec<(&'static str, &Secret)>;

    /// Texts that no recording may show, as far as they can be read.
    fn private_texts(&self) -> Vec<SecretString>;

    /// A text that differs wherever another login would be tried; `None`: the secrets cannot be read. Only a hash of
    /// the text is stored.
    fn login_identity(&self) -> Option<SecretString>;

    /// Makes the connector; nothing is sent.
    fn connect(&self, setup: Setup) -> Result<Box<dyn Source>, Error>;

    /// The file of the session that the owner has opened interactively; `None`: this source takes none.
    fn session_file(&self) -> Option<&Path> {
        None
    }

    /// True where the first pull after an interactive sign-in must not wait: what it gets is not there later.
    fn is_pulled_after_login(&self) -> bool {
        false
    }

    /// The way to copy a session out of a browser; `None`: this source takes none.
    fn session_paste(&self) -> Option<SessionPaste> {
        None
    }

    /// The directory whose new files are wanted soon after they are whole; `None`: this source reads no directory.
    fn watched_directory(&self) -> Option<WatchedDirectory<'_>> {
        None
    }
}

/// A directory that a source reads.
#[derive(Clone, Copy, Debug)]
pub struct WatchedDirectory<'a> {
    /// The directory.
    pub path: &'a Path,
    /// True for the name of a file that the source reads.
    pub is_wanted: fn(&OsStr) -> bool,
}

/// The things that a connector works with.
pub struct Setup {
    /// The name of the source in reports and logs.
    pub name: String,
    /// The part of the history that the owner wants.
    pub scope: Scope,
    /// The owner's time zone.
    pub timezone: Tz,
    /// HTTP, patience and the stop signal.
    pub context: Context,
    /// Takes note of passwords and codes before they leave.
    pub attempts: Arc<dyn Attempts>,
    /// The connector's own state.
    pub state: Arc<dyn State>,
    /// True where a person at a terminal waits for the result.
    pub is_attended: bool,
}

/// A connector's own state in the store: a text that only the connector understands, empty at first.
pub trait State: Send + Sync {
    /// Reads the state.
    fn read(&self) -> Result<String, Error>;

    /// Replaces the state. The call returns once the new state is on the disk.
    fn write(&self, text: &str) -> Result<(), Error>;
}

/// The way in which a person copies a session out of a browser.
#[derive(Clone, Copy, Debug)]
pub struct SessionPaste {
    /// Tells the person what to do.
    pub instructions: &'static str,
    /// Takes the token out of the text that was pasted. The error ends the sentence "this is no good: …".
    pub token: fn(&str) -> Result<String, String>,
}

/// A place transactions come from.
#[async_trait]
pub trait Source: Send + Sync {
    /// Signs in. A session serves one pull. A password whose outcome is not known is not sent again.
    async fn open(&self) -> Result<Box<dyn Session>, Error>;

    /// Proves the part of the settings that a pull does not need; `bankfeed check` does so before it signs in.
    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Proves that rows can be fetched, in lines for the owner; `None`: signing in and listing the accounts is the proof.
    async fn proof(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(None)
    }

    /// Signing in with a person beside; `None`: name and password are all that the service ever asks for.
    fn sign_in(&self) -> Option<&dyn InteractiveSignIn> {
        None
    }
}

/// Signing in with a person beside, who answers the service's questions.
#[async_trait(?Send)]
pub trait InteractiveSignIn {
    /// Signs in, asking `ask` for each code; `None`: there is no answer.
    async fn sign_in(&self, ask: &mut AskCode<'_>) -> Result<SignedIn, Error>;

    /// Asks the service once whether it takes a token that was copied out of a browser. No password is sent, and
    /// nothing is saved.
    async fn prove(&self, token: &SecretString) -> Result<(), Error>;

    /// The banks that the owner may choose from; `None`: this source is one bank.
    async fn banks(&self) -> Result<Option<Vec<Bank>>, Error> {
        Ok(None)
    }
}

/// A bank behind a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bank {
    /// The name that the configuration needs.
    pub name: String,
    /// The kinds of customer that may give consent.
    pub customers: Vec<String>,
    /// The longest consent, where known.
    pub consent: Option<Duration>,
}

/// Asks a person for a code or another answer.
pub type AskCode<'a> = dyn FnMut(&CodeRequest) -> Option<SecretString> + 'a;

/// A question for a code or another answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRequest {
    /// The explanation above the question: the words of the service's own page, or the steps to take.
    pub words: String,
    /// The question itself.
    pub prompt: &'static str,
    /// Number of the try, from 1.
    pub number: u32,
}

/// The result of an interactive sign-in.
#[derive(Debug)]
pub enum SignedIn {
    /// Name and password are enough; there is nothing to save.
    WithoutCode,
    /// The session that the code has opened.
    WithCode(SavedSession),
}

/// A signed-in source.
#[async_trait]
pub trait Session: Send {
    /// Every account of every customer the login may act for, restricted to the configured ones.
    async fn accounts(&mut self) -> Result<Vec<Account>, Error>;

    /// Everything booked on `account` from `from` (`None`: from the beginning of its history) until now.
    /// A window the source refuses is split into smaller ones.
    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error>;

    /// Goes on to the next part of the pull; `Ok(false)`: there is none. Called when the pages of all accounts are
    /// fetched. `stored` is true once their rows are safe in the store, and false in a dry run.
    async fn next(&mut self, _stored: bool) -> Result<bool, Error> {
        Ok(false)
    }

    /// Remarks for the report since the last call. They cast no doubt on the rows.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// True where [`Session::accounts`] is a full list, so that a known account that is not in the list is in doubt.
    fn lists_every_account(&self) -> bool {
        true
    }

    /// Signs out where the source has a way.
    async fn close(self: Box<Self>);
}

/// The worth of a source's ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// An id names one entry for ever: an unknown id is a new entry.
    #[default]
    Dependable,
    /// An entry may come again under another id, because the service gives it a new one or because the id is made of
    /// the content. The id of a known entry still names that entry.
    Reissued,
}

/// Everything booked on one account in one window, fetched whole.
pub struct Page {
    /// The account as the reply describes it: today's currency and balance.
    pub account: Account,
    /// First day of the window; `None`: from the beginning.
    pub from: Option<NaiveDate>,
    /// Last day of the window, inclusive.
    pub until: NaiveDate,
    /// Balance before the first row, where the source says so.
    pub opening: Option<Decimal>,
    /// Balance after the last row, where the source says so.
    pub closing: Option<Decimal>,
    /// Number of rows that follow.
    pub count: usize,
    /// The rows, oldest first, made one by one so that a long history is not held twice. Rows that are no transactions
    /// are left out already. An `Err` is a row that cannot be read.
    pub rows: Box<dyn Iterator<Item = Result<Row, Refused>> + Send>,
    /// The worth of the rows' ids.
    pub ids: Ids,
    /// True for a further part of the listing that the page before began: rows that stand there are not missing here.
    pub continues: bool,
    /// The source's own word on whether the rows are all of the window.
    pub coverage: Coverage,
    /// The first day of the parts of the window for which no list of rows came, where others have one.
    pub unlisted: Option<NaiveDate>,
    /// Names of other parts of the reply that cannot be read: a balance, a currency.
    pub unread: Vec<String>,
    /// The reason why the source itself doubts that the rows are all of the window.
    pub doubt: Option<String>,
    /// Oddities worth a line in the report, e.g. a reply without the list of rows.
    pub notes: Vec<String>,
}

/// A row that cannot be read: refused by name, and no other row of its account is held back by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The id that it has, where that much can be read: a row known by it has not vanished.
    pub id: Option<String>,
    /// When it was booked, where that much can be read.
    pub time: Option<DateTime<FixedOffset>>,
    /// The first day on which it may stand: it is asked for again from there.
    pub since: NaiveDate,
    /// The row and its fault: `entry 7 of 2026-02-03 cannot be read: it has no amount`.
    pub why: String,
}

/// The statement of a source about the rows of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The rows are all there are.
    Rows,
    /// The source is silent, which may mean that there are no rows.
    Nothing,
    /// The source does not mention the account at all.
    NoAccount,
}

#[cfg(test)]
pub mod testing;
