//! A sign-in with the owner beside, who answers what the bank asks for.

use chrono::Utc;
use secrecy::SecretString;

use super::{Engine, Outcome, SourceReport, outcome_of};
use crate::config::{self, SourceKind};
use crate::remote::Context;
use crate::source::fibank::{self, Kept, Question, SignedIn};
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
