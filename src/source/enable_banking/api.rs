//! Calls of Enable Banking's API.
//!
//! Promises: every call carries a fresh signature; a call that costs the bank nothing is made again with patience where the
//! service is down, and a call that the bank counts is made once. The meaning of replies is the caller's affair.

use std::time::Duration;

use chrono::Utc;
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::Value;
use url::Url;

use super::EnableBanking;
use super::failure::{Failure, Refusal};
use super::jwt::Signer;
use crate::remote::packed::PackedText;
use crate::remote::{Cause, Client, Context, Error, REPLY_BYTES, Response};

/// The time that a bank may take behind the service.
const TIMEOUT: Duration = Duration::from_secs(150);

/// A header of a call with its value.
pub(super) type Header = (String, String);

/// The API with the application's signature.
pub(super) struct Api {
    service: String,
    base: Url,
    client: Client,
    context: Context,
    signer: Signer,
}

impl Api {
    /// Makes ready; nothing is sent.
    pub fn open(source: &EnableBanking) -> Result<Api, Error> {
        let (service, settings, context) = (&source.name, &source.settings, &source.context);
        let key = settings.private_key.reveal();
        let key = key.map_err(|why| Error::attention(Cause::Machine, format!("{service}: private_key: {why}")))?;
        let signer = Signer::read(&settings.application, key.expose_secret())
            .map_err(|why| Error::attention(Cause::Token, format!("{service}: private_key {why}")))?;
        let client = Client::patient(&settings.base_url, service, context.requests.clone(), TIMEOUT)?;
        Ok(Api {
            service: service.clone(),
            base: settings.base_url.clone(),
            client: client.traced(context.trace.clone()),
            context: context.clone(),
            signer,
        })
    }

    /// Asks for something that costs the bank nothing, with patience.
    pub async fn get(&mut self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.get_once(path, query, &[]).await {
                Err(Failure::Error(error)) => {
                    self.context.backoff.wait(&self.context.shutdown, tried, error).await?;
                }
                done => return done,
            }
        }
    }

    /// Asks once.
    pub async fn get_once(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
        presence: &[Header],
    ) -> Result<Value, Failure> {
        let request = self.request(Method::GET, path, query, presence)?;
        let answer = self.client.send(request).await?;
        self.reply(&answer)
    }

    /// Sends something, once.
    pub async fn post(&mut self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path, &[], &[])?;
        let answer = self.client.send(request.json(body)).await?;
        self.reply(&answer)
    }

    /// Asks once for a reply that may be long, of so many bytes at most.
    pub async fn page(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
        presence: &[Header],
        most: usize,
    ) -> Result<PackedText, Failure> {
        let request = self.request(Method::GET, path, query, presence)?;
        let (answer, text) = self.client.send_packed(request, most.min(REPLY_BYTES)).await?;
        if answer.is_success() { Ok(text) } else { Err(Refusal::read(&self.service, &answer)) }
    }

    fn request(
        &mut self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        presence: &[Header],
    ) -> Result<RequestBuilder, Error> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let token = self.signer.token(Utc::now()).ok_or_else(|| {
            Error::attention(Cause::Token, format!("{}: private_key cannot sign; make a new key", self.service))
        })?;
        let request = self.client.request(method, url).bearer_auth(token.expose_secret());
        let request = request.header("accept", "application/json");
        Ok(presence.iter().fold(request, |request, (name, value)| request.header(name, value)))
    }

    fn reply(&self, answer: &Response) -> Result<Value, Failure> {
        if !answer.is_success() {
            return Err(Refusal::read(&self.service, answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            let what = "Enable Banking answers with something that is no JSON; look whether base_url is right";
            Error::malformed(format!("{}: {what}", self.service)).into()
        })
    }
}
