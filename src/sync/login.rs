//! A sign-in with the owner beside, who answers what the bank asks for.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

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

    /// Signs in once. A refusal counts like one of a cycle: it is not tried again.
    pub async fn sign_in_by_hand(
        &self,
        source: &config::Source,
        ask: &mut dyn FnMut(&Question) -> Option<SecretString>,
    ) -> Result<ByHand, store::Error> {
        let state = self.store.source(&source.name)?;
        if let Some(attention) = self.left_alone(source, &state, true) {
            return Ok(ByHand::Stopped(Outcome::Attention, attention));
        }
        let SourceKind::Fibank(fibank) = &source.kind;
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        match fibank::sign_in(&source.name, fibank, &context, ask).await {
            Ok(SignedIn::WithoutCode) => Ok(ByHand::WithoutCode),
            Ok(SignedIn::WithCode(kept)) => Ok(ByHand::Session(kept)),
            Err(error) => {
                let (outcome, message) = (outcome_of(&error), error.message.clone());
                let mut report = SourceReport { name: source.name.clone(), ..SourceReport::default() };
                // Read again: a person may have taken minutes, and a cycle may have run.
                let mut state = self.store.source(&source.name)?;
                self.conclude(source, &mut state, &mut report, vec![error], Utc::now())?;
                Ok(ByHand::Stopped(outcome, message))
            }
        }
    }
}
