//! A request for accounts: counted before it leaves, bounded, and its status told by the reaction it causes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{ACCEPT, USER_AGENT};
use secrecy::ExposeSecret;

use super::access::Access;
use super::memory::{Memory, next_day};
use super::reply::{Reply, Unreadable};
use super::words::said;
use crate::remote::{Cause, Client, Context, Error, PAGE_BYTES, REPLY_BYTES, Response};
use crate::source::State;

/// The name of this program at the service, which turns nameless programs away.
pub(super) const AGENT: &str = concat!("bankfeed/", env!("CARGO_PKG_VERSION"));

/// Longest time for an answer: with many accounts the service takes more than a minute.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// Tries of one request in a pull: each counts against the day's requests.
const TRIES: u32 = 2;

/// The service, for one pull.
pub(super) struct Api {
    pub name: String,
    pub access: Access,
    pub client: Client,
    pub context: Context,
    pub state: Arc<dyn State>,
    /// A person at a terminal waits for the result.
    pub by_hand: bool,
    pub memory: Memory,
}

/// The days that a request asks for, as instants: from the first (inclusive) to the second (exclusive).
pub(super) type Range = (DateTime<Utc>, Option<DateTime<Utc>>);

impl Api {
    /// Prepares; nothing is sent.
    pub fn new(
        name: &str,
        access: Access,
        context: &Context,
        state: Arc<dyn State>,
        by_hand: bool,
    ) -> Result<Api, Error> {
        let client = Client::patient(&access.accounts(), name, context.requests.clone(), TIMEOUT)?;
        let (name, memory) = (name.to_owned(), Memory::read(name, &*state)?);
        let client = client.traced(context.trace.clone());
        Ok(Api { name, access, client, context: context.clone(), state, by_hand, memory })
    }

    /// Asks for all accounts; `None`: for their balances alone.
    pub async fn accounts(&mut self, range: Option<Range>) -> Result<Reply, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            let error = match self.ask(range).await {
                Ok(reply) => return Ok(reply),
                Err(error) if tried >= TRIES => return Err(error),
                Err(error) => error,
            };
            self.context.backoff.wait(&self.context.shutdown, tried, error).await?;
        }
    }

    async fn ask(&mut self, range: Option<Range>) -> Result<Reply, Error> {
        if self.context.shutdown.requested() {
            return Err(Error::stopped());
        }
        let mut address = self.access.accounts();
        let mut query = vec![("version", "2".to_owned())];
        match range {
            Some((from, until)) => {
                query.push(("start-date", from.timestamp().to_string()));
                query.extend(until.map(|until| ("end-date", until.timestamp().to_string())));
            }
            None => query.push(("balances-only", "1".to_owned())),
        }
        address.query_pairs_mut().extend_pairs(query);
        let (user, password) = (self.access.user.expose_secret(), self.access.password.expose_secret());
        let request = self.client.request(Method::GET, address).basic_auth(user, Some(password));
        let request = request.header(USER_AGENT, AGENT).header(ACCEPT, "application/json");
        self.memory.spend(&self.name, &*self.state, Utc::now(), self.by_hand)?;
        let (response, text) = self.client.send_packed(request, REPLY_BYTES).await?;
        match response.status {
            200 if text.first() == Some('{') => Reply::read(text).map_err(|unreadable| match unreadable {
                Unreadable::CutOff(why) => Error::unavailable(format!("{}: the service's answer {why}", self.name)),
                Unreadable::Shape(why) => Error::malformed(format!("{}: the service's answer {why}", self.name)),
            }),
            200 => {
                let words = said(&text.head(PAGE_BYTES), &self.access);
                Err(Error::unavailable(format!("{}: the service answers with no list of accounts: {words}", self.name)))
            }
            _ => Err(self.refusal(&response)),
        }
    }

    /// The reaction to an answer that is no success.
    fn refusal(&mut self, response: &Response) -> Error {
        let (name, status) = (&self.name, response.status);
        match status {
            401 | 403 => Error::attention(
                Cause::AccessEnded,
                format!(
                    "{name}: the service refuses the access URL (status {status}): it was revoked or disabled there; make a new \
                     setup token on the service's page and run `bankfeed login {name}`; nothing more is asked before that"
                ),
            ),
            402 => Error::attention(
                Cause::AccessEnded,
                format!(
                    "{name}: the service asks for payment (status 402): the subscription has lapsed; renew it on the service's \
                     page, then run `bankfeed sync --retry`"
                ),
            ),
            429 => match self.memory.exhaust(&*self.state, Utc::now()) {
                Ok(()) => {
                    Error::resting(next_day(Utc::now()), format!("{name}: the service wants no more requests today"))
                }
                Err(error) => error,
            },
            300..=399 => Error::malformed(format!(
                "{name}: the service points to another address (status {status}), which is not followed, because the \
                 credentials would go there; if the service has moved, make a new setup token there and run `bankfeed login \
                 {name}`"
            )),
            500.. => Error::unavailable(format!(
                "{name}: the service answers with status {status}; the next run tries again"
            )),
            _ => {
                let words = said(&response.text(), &self.access);
                Error::malformed(format!("{name}: the service answers with status {status}: {words}"))
            }
        }
    }
}
