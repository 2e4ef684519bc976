//! A sign-in with the owner beside, who answers what the bank asks for.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::attempts::Asking;
use super::{Engine, Outcome, SourceReport, outcome_of};
use crate::config::{self, SourceKind};
use crate::remote::Context;
use crate::source::fibank::{self, Kept, Life, Question, SignedIn};
use crate::store;

/// What came of it.
#[derive(Debug)]
pub enum ByHand {
    /// No code was asked for; there is nothing to keep.
    WithoutCode,
    /// A session to keep.
    Session(Kept),
    /// It did not work: how it counts, and the sentence.
    Stopped(Outcome, String),
}

impl Engine {
    /// How long the session lasts that the owner has opened by hand, where there is one and that is known.
    pub fn session_life(&self, source: &config::Source) -> Option<Life> {
        let SourceKind::Fibank(fibank) = &source.kind;
        // One that cannot be read is complained of where it is used.
        Kept::read(fibank.login.as_deref()?).ok()??.life
    }

    /// The sentence that says that this session ends soon, when it is time to say so.
    pub fn session_note(&self, source: &config::Source, now: DateTime<Utc>) -> Option<String> {
        let life = self.session_life(source).filter(|life| life.is_ending(now) && now < life.until)?;
        let (name, until) = (&source.name, self.local(life.until));
        Some(format!("the session at the bank ends at {until}; `bankfeed login {name}` opens a new one"))
    }

    /// When the next sentence is due, after `looked`, for which no cycle has to run: that a session ends soon.
    pub fn next_notice(&self, looked: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let lives = self.config.sources.iter().filter_map(|source| self.session_life(source));
        lives.map(|life| life.notice()).filter(|due| *due > looked).min()
    }

    /// Whether the bank takes a token that the owner has copied out of a browser; if not, how that counts and the sentence.
    pub async fn prove_token(&self, source: &config::Source, token: &SecretString) -> Result<(), (Outcome, String)> {
        let SourceKind::Fibank(fibank) = &source.kind;
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let proved = fibank::prove(&source.name, fibank, &context, token).await;
        proved.map_err(|error| (outcome_of(&error), error.message))
    }

    /// Signs in once. A refusal counts like one of a cycle: it is not tried again. Without a person `at_terminal` a sign-in
    /// whose like has ended in the dark before is not made.
    pub async fn sign_in_by_hand(
        &self,
        source: &config::Source,
        at_terminal: bool,
        ask: &mut dyn FnMut(&Question) -> Option<SecretString>,
    ) -> Result<ByHand, store::Error> {
        let asking = if at_terminal { Asking::Owner } else { Asking::Login };
        if let Some(attention) = self.left_alone(source, &self.store.source(&source.name)?, asking) {
            return Ok(ByHand::Stopped(Outcome::Attention, attention));
        }
        let SourceKind::Fibank(fibank) = &source.kind;
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        // Whoever sits at a terminal or not: what is left open now was left open by a `login`.
        let ledger = self.ledger(source, Asking::Login);
        let came = fibank::sign_in(&source.name, fibank, &context, &*ledger, ask).await;
        ledger.failure()?;
        match came {
            Ok(SignedIn::WithoutCode) => Ok(ByHand::WithoutCode),
            Ok(SignedIn::WithCode(kept)) => Ok(ByHand::Session(kept)),
            Err(error) => {
                let mut report = SourceReport { name: source.name.clone(), ..SourceReport::default() };
                self.conclude(source, &mut report, vec![error], Utc::now())?;
                Ok(ByHand::Stopped(report.outcome, report.error.unwrap_or_default()))
            }
        }
    }
}
