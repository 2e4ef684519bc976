//! A sign-in with a person beside, who answers the bank's questions.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::attempts::Asking;
use super::{Engine, Outcome, SourceReport, outcome_of};
use crate::config;
use crate::remote::{Context, Error};
use crate::source::{AskCode, Bank, Lifetime, SavedSession, SignedIn};
use crate::store;

/// The result of an interactive sign-in.
#[derive(Debug)]
pub enum Interactive {
    /// No code was asked for; there is nothing to save.
    WithoutCode,
    /// A session to save.
    Session(SavedSession),
    /// The sign-in failed: how the failure counts, and the sentence.
    Stopped(Outcome, String),
}

impl Engine {
    /// The lifetime of the session that the owner has opened interactively, where there is a session and its lifetime is
    /// known.
    pub fn session_life(&self, source: &config::Source) -> Option<Lifetime> {
        // A file that cannot be read is complained of by the connector that needs it.
        SavedSession::read(source.settings.session_file()?).ok()??.life
    }

    /// The sentence that says that this session ends soon, when it is time to say so.
    pub fn session_note(&self, source: &config::Source, now: DateTime<Utc>) -> Option<String> {
        let life = self.session_life(source).filter(|life| life.is_ending(now) && now < life.until)?;
        let (name, until) = (&source.name, self.local(life.until));
        Some(format!("the session at the bank ends at {until}; `bankfeed login {name}` opens a new one"))
    }

    /// The time, after `looked`, of the next sentence that no cycle has to run for: that a session ends soon.
    pub fn next_notice(&self, looked: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let lives = self.config.sources.iter().filter_map(|source| self.session_life(source));
        lives.flat_map(|life| life.notices()).filter(|due| *due > looked).min()
    }

    /// Asks the bank whether it takes a token that the owner has copied out of a browser. A failure comes with the way
    /// it counts, and the sentence.
    pub async fn prove_token(&self, source: &config::Source, token: &SecretString) -> Result<(), (Outcome, String)> {
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let proved = async {
            let connector = source.connect(self.ledger(source, Asking::Login).setup(self, context, true))?;
            connector.sign_in().ok_or_else(|| not_interactive(source))?.prove(token).await
        };
        proved.await.map_err(|error| (outcome_of(&error), error.message))
    }

    /// The banks that a source may choose from; `None`: it is one bank. A failure comes with the way it counts, and the
    /// sentence.
    pub async fn banks(&self, source: &config::Source) -> Result<Option<Vec<Bank>>, (Outcome, String)> {
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let listed = async {
            let connector = source.connect(self.ledger(source, Asking::Login).setup(self, context, true))?;
            match connector.sign_in() {
                Some(sign_in) => sign_in.banks().await,
                None => Ok(None),
            }
        };
        listed.await.map_err(|error| (outcome_of(&error), error.message))
    }

    /// Signs in once. A refusal counts like one of a cycle: it is not tried again. Without a person `at_terminal` no
    /// sign-in is made that would end without an answer as an earlier one did.
    pub async fn sign_in_interactively(
        &self,
        source: &config::Source,
        at_terminal: bool,
        ask: &mut AskCode<'_>,
    ) -> Result<Interactive, store::Error> {
        let asking = if at_terminal { Asking::Owner } else { Asking::Login };
        if let Some(attention) = self.held_back(source, &self.store.source(&source.name)?, asking) {
            return Ok(Interactive::Stopped(Outcome::Attention, attention));
        }
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        // With or without a person at the terminal, an attempt left open now was left open by a `login`.
        let ledger = self.ledger(source, Asking::Login);
        let came = async {
            let connector = source.connect(ledger.setup(self, context, at_terminal))?;
            connector.sign_in().ok_or_else(|| not_interactive(source))?.sign_in(ask).await
        }
        .await;
        ledger.failure()?;
        match came {
            Ok(SignedIn::WithoutCode) => Ok(Interactive::WithoutCode),
            Ok(SignedIn::WithCode(session)) => Ok(Interactive::Session(session)),
            Err(error) => {
                let mut report = SourceReport { name: source.name.clone(), ..SourceReport::default() };
                self.record_result(source, &mut report, vec![error], Utc::now())?;
                Ok(Interactive::Stopped(report.outcome, report.error.unwrap_or_default()))
            }
        }
    }
}

/// The failure where a kind of source has no interactive sign-in.
fn not_interactive(source: &config::Source) -> Error {
    Error::rejected(format!("{}: a source of kind {} needs no sign-in", source.name, source.kind.name))
}
