//! Passwords and codes at the bank's door: who may send one, and how each is noted before it leaves.
//!
//! Promises: an attempt is in the store, on the disk, before it is on the wire; where it cannot be noted it is not sent.
//! After two in a row whose outcome nobody learnt the source is in attention from the moment the second one leaves, so
//! that a crash changes nothing. A refused password waits for another configuration, whoever asks.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use secrecy::ExposeSecret;

use super::Engine;
use crate::config;
use crate::remote::attempts::{Attempt, Attempts};
use crate::remote::{Cause, Context, Error};
use crate::source::{Setup, State};
use crate::store::{self, Attention, SourceState, Store, Unsettled};

/// Longest part of a failure that is repeated in the sentence about several.
const LONGEST_REASON: usize = 160;

/// The party that asks for a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// The clock, or a command without a person at a terminal.
    Unattended,
    /// `login`: with it the owner does what most causes ask for.
    Login,
    /// A person at a terminal, or one who says that he has acted.
    Owner,
}

impl Asking {
    /// True where this cause holds the party up.
    fn respects(self, cause: Cause, unsettled: &Unsettled) -> bool {
        match self {
            _ if cause.needs_new_config() => true,
            Asking::Unattended => cause.blocks_schedule(),
            // A `login` lifts the attempts that runs have left open, but not those of an earlier `login`.
            Asking::Login => cause == Cause::OutcomeUnknown && unsettled.by_login,
            Asking::Owner => false,
        }
    }
}

impl Engine {
    /// The sentence to repeat, where this source must not be tried now.
    pub(super) fn held_back(&self, source: &config::Source, state: &SourceState, asking: Asking) -> Option<String> {
        let unsettled = &state.unsettled;
        let holds = |cause: Cause| asking.respects(cause, unsettled);
        let attention = state.attention.as_ref().filter(|attention| holds(attention.cause));
        let too_many = unsettled.are_too_many() && holds(Cause::OutcomeUnknown);
        if attention.is_none() && !too_many {
            return None;
        }
        let config = fingerprint(&self.store, source);
        if let Some(attention) = attention.filter(|attention| attention.config == config) {
            return Some(attention.message.clone());
        }
        (too_many && unsettled.went_with(&config)).then(|| outcome_unknown(source, unsettled, None))
    }

    /// The account of what a sign-in at this source sends.
    pub(super) fn ledger(&self, source: &config::Source, asking: Asking) -> Arc<Ledger> {
        let (store, source, by_login) = (self.store.clone(), source.clone(), asking == Asking::Login);
        Arc::new(Ledger { store, source, by_login, failure: Mutex::default() })
    }

    /// The failure of a sign-in as it counts: what was not answered too often in a row is a matter for the owner.
    pub(super) fn graded(&self, source: &config::Source, unsettled: &Unsettled, error: Error) -> Error {
        let grave = error.cause().is_some_and(Cause::blocks_schedule);
        if grave || !unsettled.are_too_many() || !unsettled.went_with(&fingerprint(&self.store, source)) {
            return error;
        }
        let message = outcome_unknown(source, unsettled, Some(&error.message));
        Error::attention(Cause::OutcomeUnknown, message)
    }
}

/// Notes in the store what leaves for a bank.
pub(super) struct Ledger {
    store: Arc<Store>,
    source: config::Source,
    by_login: bool,
    /// The reason why an attempt could not be noted.
    failure: Mutex<Option<store::Error>>,
}

impl Ledger {
    /// The failure of the store meanwhile, which ends a cycle whatever the bank says.
    pub fn failure(&self) -> Result<(), store::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().map_or(Ok(()), Err)
    }

    /// The things that a connector of this source works with.
    pub fn setup(self: &Arc<Ledger>, engine: &Engine, context: Context, is_attended: bool) -> Setup {
        Setup {
            name: self.source.name.clone(),
            scope: self.source.scope.clone(),
            timezone: engine.config.timezone,
            context,
            attempts: self.clone(),
            state: self.clone(),
            is_attended,
        }
    }

    fn note(&self, what: &str, change: impl FnOnce(&mut SourceState)) -> Result<(), Error> {
        let noted = self.store.change_source(&self.source.name, change);
        noted.map(drop).map_err(|error| self.failed(what, error))
    }

    fn failed(&self, what: &str, error: store::Error) -> Error {
        let message = format!("{}: {what}: {error}", self.source.name);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Error::attention(Cause::Machine, message)
    }
}

/// Why an attempt does not leave.
const UNNOTED: &str = "an attempt to sign in cannot be noted";

impl State for Ledger {
    fn read(&self) -> Result<String, Error> {
        let state = self.store.source(&self.source.name);
        state.map(|state| state.connector).map_err(|error| self.failed("its state cannot be read", error))
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        self.note("its state cannot be kept", |state| state.connector = text.to_owned())
    }
}

impl Attempts for Ledger {
    fn begin(&self, attempt: Attempt) -> Result<(), Error> {
        self.note(UNNOTED, |state| {
            state.unsettled.begin(attempt, self.by_login);
            if state.unsettled.are_too_many() {
                let config = fingerprint(&self.store, &self.source);
                state.unsettled.config.clone_from(&config);
                let (cause, now) = (Cause::OutcomeUnknown, Utc::now());
                let message = outcome_unknown(&self.source, &state.unsettled, None);
                let since = state.attention.as_ref().filter(|old| old.cause == cause).map_or(now, |old| old.since);
                state.attention = Some(Attention { cause, message, since, config });
            }
        })
    }

    fn answered(&self, attempt: Attempt) -> Result<(), Error> {
        self.note(UNNOTED, |state| state.unsettled.answered(attempt))
    }

    fn admitted(&self) -> Result<(), Error> {
        self.note(UNNOTED, |state| state.unsettled = Unsettled::default())
    }
}

/// The sentence about attempts of unknown outcome.
fn outcome_unknown(source: &config::Source, unsettled: &Unsettled, last: Option<&str>) -> String {
    let sent = unsettled.words();
    let (name, title) = (&source.name, source.kind.title);
    let mut message = format!(
        "{name}: {sent} in a row were sent to the bank, and what became of them is not known; see in {title} that the \
         login is not locked, then run `bankfeed sync --retry`, which tries once"
    );
    if let Some(last) = last {
        let last = last.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(last);
        let cut =
            last.char_indices().nth(LONGEST_REASON).map_or(last.to_owned(), |(at, _)| format!("{}…", &last[..at]));
        message += &format!("; the last time: {cut}");
    }
    message
}

/// Tells one configuration from another without giving the password away: a slow, salted hash cut to 32 bits, so
/// that whoever steals the store cannot test guesses against it with any certainty.
pub(super) fn fingerprint(store: &Store, source: &config::Source) -> String {
    let Some(text) = source.settings.login_identity() else { return String::new() };
    let mut hash = [0; 4];
    let iterations = NonZeroU32::MIN.saturating_add(99_999);
    let salt = store.meta().salt;
    ring::pbkdf2::derive(
        ring::pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt.as_bytes(),
        text.expose_secret().as_bytes(),
        &mut hash,
    );
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
