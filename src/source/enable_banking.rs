//! Enable Banking: about 2,500 European banks behind one documented API, free for private persons.
//!
//! Promises: the owner gives consent at the bank itself, and only that consent is used; the service is asked for account
//! information and nothing else; calls that the bank counts are counted on the disk before they leave; the whole history is
//! fetched right after a consent, and what the bank gives later; a row keeps its id whatever ids the bank gives out. The
//! owner's presence is claimed only while a person waits for the result.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;
use chrono_tz::Tz;
use serde_json::Value;

use self::api::Api;
use self::consent::Consent;
use self::failure::{Failure, Reaction, consent_ended};
use self::memory::Notebook;
use self::pull::Pull;
use super::{InteractiveSignIn, Scope, Session, Setup, Source, State};
use crate::remote::{Cause, Context, Error};

mod api;
mod consent;
mod failure;
pub(crate) mod interview;
mod jwt;
mod listing;
mod login;
mod memory;
mod presence;
mod pull;
mod settings;
mod transaction;
mod window;

#[cfg(test)]
mod tests;

pub use settings::{Customer, EnableBankingSettings, KIND};

/// The connector.
pub struct EnableBanking {
    name: String,
    settings: EnableBankingSettings,
    scope: Scope,
    timezone: Tz,
    context: Context,
    state: Arc<dyn State>,
    is_attended: bool,
}

impl EnableBanking {
    /// Prepares the connector; nothing is sent.
    pub fn new(settings: &EnableBankingSettings, setup: Setup) -> EnableBanking {
        let Setup { name, scope, timezone, context, state, is_attended, .. } = setup;
        EnableBanking { name, settings: settings.clone(), scope, timezone, context, state, is_attended }
    }

    /// Asks the service about the application, which costs no bank a call.
    async fn application(&self, api: &mut Api) -> Result<Value, Error> {
        let service = &self.name;
        let application = api.get(&["application"], &[]).await;
        let application = application.map_err(|failure| failure.error(service, "the application"))?;
        let is_active = application["active"].as_bool().unwrap_or(true);
        let registered = application["redirect_urls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ours = &self.settings.redirect_url;
        let is_registered = registered.is_empty() || registered.iter().any(|url| url.as_str() == Some(ours));
        if !is_active {
            let remedy = "activate it by linking your accounts at https://enablebanking.com/cp/";
            let message =
                format!("{service}: the application is not active: {remedy}, then run `bankfeed login {service}`");
            return Err(Error::attention(Cause::AccessEnded, message));
        }
        if !is_registered {
            let remedy = "register it at https://enablebanking.com/cp/, letter by letter, or configure one of those";
            let message =
                format!("{service}: redirect_url is none of those that the application has registered: {remedy}");
            return Err(Error::attention(Cause::AccessEnded, message));
        }
        Ok(application)
    }

    /// Asks the service once whether the session goes on, which costs the bank no call.
    async fn prove_session(&self, api: &mut Api, consent: &Consent, notebook: &mut Notebook) -> Result<(), Error> {
        let ended = match api.get(&["sessions", &consent.session], &[]).await {
            Ok(session) => match session["status"].as_str().unwrap_or_default() {
                "AUTHORIZED" | "" => return Ok(()),
                "EXPIRED" => consent_ended(&self.name, "it has expired"),
                "CLOSED" => consent_ended(&self.name, "it was closed"),
                "REVOKED" => consent_ended(&self.name, "it was revoked at the bank"),
                other => consent_ended(&self.name, &format!("its status is {other}")),
            },
            Err(Failure::Refused(refusal)) if refusal.reaction() == Reaction::ConsentEnded => {
                refusal.error(&self.name, "the session")
            }
            Err(failure) => return Err(failure.error(&self.name, "the session")),
        };
        notebook.memory.session.clone_from(&consent.session);
        notebook.memory.is_ended = true;
        notebook.save()?;
        Err(ended)
    }
}

impl Failure {
    /// The failure of a call about `what` as an error.
    fn error(self, service: &str, what: &str) -> Error {
        match self {
            Failure::Refused(refusal) => refusal.error(service, what),
            Failure::Error(error) => error,
        }
    }
}

#[async_trait]
impl Source for EnableBanking {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        let mut api = Api::open(self)?;
        let consent = Consent::read(&self.name, &self.settings)?;
        let mut notebook = Notebook::open(self.state.clone())?;
        if let Some(end) = consent.ended(Utc::now()) {
            let end = end.with_timezone(&self.timezone).format("%Y-%m-%d %H:%M");
            return Err(consent_ended(&self.name, &format!("it lasted until {end}")));
        }
        self.prove_session(&mut api, &consent, &mut notebook).await?;
        let presence = if self.is_attended { self.presence(&mut api, &mut notebook).await? } else { Vec::new() };
        notebook.memory.begin(&consent.session);
        notebook.memory.is_ended = false;
        notebook.memory.name(&consent.accounts);
        notebook.save()?;
        Ok(Box::new(Pull::new(self, api, consent, notebook, presence)))
    }

    async fn check(&self) -> Result<(), Error> {
        self.application(&mut Api::open(self)?).await.map(drop)
    }

    fn sign_in(&self) -> Option<&dyn InteractiveSignIn> {
        Some(self)
    }
}
