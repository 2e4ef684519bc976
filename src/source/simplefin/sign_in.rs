//! The setup with a person beside: the setup token is claimed once, and the access URL that comes for it is on the disk
//! before anything else can fail.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::SimpleFin;
use super::access::{Access, Pasted, pasted};
use super::api::{AGENT, Api, TIMEOUT};
use crate::files::write_private;
use crate::remote::{Cause, Client, Error, Kind};
use crate::source::{AskCode, CodeRequest, InteractiveSignIn, SavedSession, SignedIn};

/// Times that a person at a terminal is asked for the setup token.
const TRIES: u32 = 3;

/// The steps to a setup token.
const WORDS: &str = "Make a setup token on the service's page (https://bridge.simplefin.org/simplefin/create) and paste it here. A token \
     can be used once.";

#[async_trait(?Send)]
impl InteractiveSignIn for SimpleFin {
    async fn sign_in(&self, ask: &mut AskCode<'_>) -> Result<SignedIn, Error> {
        let name = &self.name;
        if self.settings.access_url.is_some() {
            let remedy = "leave it out there to have `login` keep one";
            return Err(Error::rejected(format!("{name}: `access_url` stands in the configuration; {remedy}")));
        }
        let access = match self.ask_token(ask)? {
            Pasted::Access(access) => access,
            Pasted::Claim(claim) => {
                // A token is used up by its claim: the place for the answer is tried first.
                self.keep_beside()?;
                self.claim(&claim).await?
            }
        };
        let session = SavedSession { token: access, life: None };
        write_private(&self.settings.kept, &session.to_text()).map_err(|error| self.unkept(&error))?;
        self.prove(&session.token).await.map_err(|error| Error {
            message: format!("{} (the access URL is kept; no other setup token is needed)", error.message),
            ..error
        })?;
        Ok(SignedIn::WithCode(session))
    }

    /// Asks for balances alone.
    async fn prove(&self, token: &SecretString) -> Result<(), Error> {
        let name = &self.name;
        let access = Access::read(token.expose_secret())
            .map_err(|why| Error::attention(Cause::Token, format!("{name}: the access URL {why}")))?;
        let mut api = Api::new(name, access, &self.context, self.state.clone(), true)?;
        api.accounts(None).await.map(drop)
    }
}

impl SimpleFin {
    fn ask_token(&self, ask: &mut AskCode<'_>) -> Result<Pasted, Error> {
        let mut why = "there is no answer";
        // A pipe has no second answer.
        let tries = if self.is_attended { TRIES } else { 1 };
        for number in 1..=tries {
            let words = match number {
                1 => WORDS.to_owned(),
                _ => format!("This is no setup token: {why}."),
            };
            let Some(token) = ask(&CodeRequest { words, prompt: "Setup token (it is not shown)", number }) else {
                break;
            };
            match pasted(token.expose_secret()) {
                Ok(pasted) => return Ok(pasted),
                Err(fault) => why = fault,
            }
        }
        let remedy = format!("run `bankfeed login {}` again", self.name);
        Err(Error::rejected(format!("{}: this is no setup token: {why}; nothing was sent; {remedy}", self.name)))
    }

    /// Tries the folder of the access URL with an empty file.
    fn keep_beside(&self) -> Result<(), Error> {
        let trial = self.settings.kept.with_extension("trial");
        let tried = write_private(&trial, "").and_then(|()| std::fs::remove_file(&trial));
        tried.map_err(|error| {
            let (place, name) = (self.settings.kept.display(), &self.name);
            let message = format!("{name}: the access URL could not be kept in {place}: {error}; nothing was sent");
            Error::attention(Cause::Machine, message)
        })
    }

    fn unkept(&self, error: &std::io::Error) -> Error {
        let (place, name) = (self.settings.kept.display(), &self.name);
        Error::attention(
            Cause::Machine,
            format!(
                "{name}: the access URL cannot be kept in {place}: {error}; the setup token is used up: mend that, disable the \
                 token on the service's page and make a new one"
            ),
        )
    }

    /// Claims the access URL, once. After the request has left, the token may be used up, whatever happens.
    async fn claim(&self, claim: &Url) -> Result<SecretString, Error> {
        let name = &self.name;
        let client = Client::patient(claim, name, self.context.requests.clone(), TIMEOUT)?;
        let client = client.traced(self.context.trace.clone());
        let request = client.request(Method::POST, claim.clone()).header(USER_AGENT, AGENT);
        let request = request.header(CONTENT_LENGTH, 0).body("");
        let again = format!("disable it on the service's page, make a new one and run `bankfeed login {name}` again");
        let in_doubt = |what: &str| {
            format!(
                "{name}: {what}, so it is not known whether the setup token is used up, and nothing is kept; {again}"
            )
        };
        let response = client.send(request).await.map_err(|error| match error.kind {
            Kind::Unavailable | Kind::TooLarge if !error.message.starts_with(&format!("{name}: cannot connect")) => {
                let what = error.message.strip_prefix(&format!("{name}: ")).unwrap_or(&error.message);
                Error::attention(Cause::Token, in_doubt(&format!("the answer to the claim was lost ({what})")))
            }
            _ => Error { message: format!("{}; the setup token was not used", error.message), ..error },
        })?;
        match response.status {
            200 => {
                let text = response.text();
                let access = Access::read(&text);
                access.map(|_| SecretString::from(text.trim())).map_err(|why| {
                    Error::attention(Cause::Token, in_doubt(&format!("the service's answer to the claim {why}")))
                })
            }
            403 => Err(Error::attention(
                Cause::Token,
                format!(
                    "{name}: the service refuses the setup token (status 403): it was claimed already, or there is no such token; \
                     if you have not claimed it, somebody else may hold the access: {again}"
                ),
            )),
            status => {
                let what = format!("the service answers the claim with status {status}");
                Err(Error::attention(Cause::Token, in_doubt(&what)))
            }
        }
    }
}
