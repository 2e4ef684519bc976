//! The simulated SimpleFIN service: setup tokens, the access URL, and the accounts behind it under both versions of the
//! protocol, with its quota, its warnings and its complaints.
//!
//! The simulator answers according to the protocol's text and recorded traffic; on points where these are silent it takes
//! the reading that is hardest on a client, and a comment says so in place. State lives in memory. The simulator uses no
//! code of the connector. Paths under `/simulator` set it up from outside (see `setup`) and are no part of the protocol.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Server, lock, status};

mod answer;
mod ledger;
mod setup;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use ledger::{Account, Connection, Ledger, Transaction};

/// The user name in the access URL.
pub const USER: &str = "0A1B2C3D4E5F";

/// The password in the first access URL.
pub const PASSWORD: &str = "6G7H8I9J0K1L";

/// Requests of a day before the service warns.
const QUOTA: u32 = 24;

/// A running simulated service. Clones are the same service.
#[derive(Clone)]
pub struct SimpleFin {
    /// The server, with its address, its log of requests and its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

/// A complaint of an answer.
#[derive(Clone, Debug, Default)]
pub struct Complaint {
    /// The code of version 2; empty: the complaint is one of version 1 alone.
    pub code: String,
    /// The words.
    pub words: String,
    /// The connection that it is about.
    pub connection: Option<String>,
    /// The account that it is about.
    pub account: Option<String>,
}

/// The ways in which the service behaves.
#[derive(Clone, Debug)]
pub struct Switches {
    /// Answers version 1 whatever is asked for.
    pub is_old: bool,
    /// Names the words of a complaint `message`, as an older text of the protocol did.
    pub old_words: bool,
    /// Complaints of every answer.
    pub complaints: Vec<Complaint>,
    /// Accounts that are left out of every answer.
    pub missing: Vec<String>,
    /// Ends the access URL with a line feed.
    pub line_feed: bool,
    /// The subscription has lapsed.
    pub is_unpaid: bool,
    /// The access was revoked or disabled.
    pub is_revoked: bool,
    /// Refuses every further request of the day by a 429.
    pub is_exhausted: bool,
    /// Sends every request to this address.
    pub redirect: Option<String>,
    /// Cuts a long range without a word.
    pub cuts_silently: bool,
    /// Gives rows in an order of its own.
    pub shuffled: bool,
    /// Requests of a day before the service warns; twice as many disable the access. `None`: no quota.
    pub quota: Option<u32>,
    /// Days that the clock of the service is ahead.
    pub days_ahead: i64,
}

struct State {
    ledger: Ledger,
    switches: Switches,
    password: String,
    /// Setup tokens, with true for those that were claimed.
    tokens: BTreeMap<String, bool>,
    /// Requests by day and by what was asked for.
    spent: BTreeMap<(NaiveDate, String), u32>,
    /// The address of the service.
    origin: String,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            is_old: false,
            old_words: false,
            complaints: Vec::new(),
            missing: Vec::new(),
            line_feed: false,
            is_unpaid: false,
            is_revoked: false,
            is_exhausted: false,
            redirect: None,
            cuts_silently: false,
            shuffled: true,
            quota: Some(QUOTA),
            days_ahead: 0,
        }
    }
}

impl SimpleFin {
    /// Starts on a free loopback port with these accounts.
    pub async fn start(ledger: Ledger) -> io::Result<SimpleFin> {
        let state = State {
            ledger,
            switches: Switches::default(),
            password: PASSWORD.to_owned(),
            tokens: BTreeMap::new(),
            spent: BTreeMap::new(),
            origin: String::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        let server = Server::start(router).await?;
        lock(&state).origin = server.url();
        Ok(SimpleFin { server, state })
    }

    /// A new setup token, as the service's page shows it.
    pub fn setup_token(&self) -> String {
        lock(&self.state).setup_token()
    }

    /// The access URL of today.
    pub fn access_url(&self) -> String {
        lock(&self.state).access_url()
    }

    /// Revokes the access; the next claim gives another one.
    pub fn revoke(&self) {
        let mut state = lock(&self.state);
        state.password += "X";
        state.switches.is_revoked = true;
    }

    /// Looks at or changes the accounts. The simulator stands still meanwhile.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut lock(&self.state).ledger)
    }

    /// Changes the ways of the service.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut lock(&self.state).switches);
    }

    /// Requests for accounts that counted on the service's present day.
    pub fn spent_today(&self) -> u32 {
        let state = lock(&self.state);
        let today = state.now().date_naive();
        state.spent.iter().filter(|((day, _), _)| *day == today).map(|(_, spent)| spent).sum()
    }
}

impl State {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::days(self.switches.days_ahead)
    }

    fn setup_token(&mut self) -> String {
        let name = format!("T{:04}", self.tokens.len() + 1);
        self.tokens.insert(name.clone(), false);
        BASE64.encode(format!("{}/simplefin/claim/{name}", self.origin))
    }

    fn access_url(&self) -> String {
        let (scheme, rest) = self.origin.split_once("://").unwrap_or_default();
        format!("{scheme}://{USER}:{}@{rest}/simplefin", self.password)
    }

    /// Gives the access URL for a setup token, once.
    fn claim(&mut self, token: &str, body: &Bytes) -> Refused<String> {
        match self.tokens.get_mut(token) {
            _ if !body.is_empty() => Err(Refusal::text(400, "the body must be empty")),
            Some(claimed) if !*claimed => {
                *claimed = true;
                self.switches.is_revoked = false;
                let end = if self.switches.line_feed { "\n" } else { "" };
                Ok(self.access_url() + end)
            }
            _ => Err(Refusal::forbidden()),
        }
    }

    /// Answers a request for accounts.
    fn accounts(&mut self, headers: &HeaderMap, query: &[(String, String)]) -> Refused<Value> {
        let credentials = BASE64.encode(format!("{USER}:{}", self.password));
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given != Some(&format!("Basic {credentials}")) || self.switches.is_revoked {
            return Err(Refusal::forbidden());
        }
        let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if agent.is_empty() || agent.starts_with("Python-urllib") {
            return Err(Refusal::text(513, ""));
        }
        if self.switches.is_unpaid {
            return Err(Refusal::json(402, json!({"errors": ["Payment required."], "accounts": []})));
        }
        if self.switches.is_exhausted {
            return Err(Refusal::text(429, "Too many requests"));
        }
        let warning = self.count(query)?;
        Ok(answer::accounts(self, query, warning))
    }

    /// Counts a request against its allowance: all accounts together have one, and each account that is asked for alone.
    fn count(&mut self, query: &[(String, String)]) -> Refused<Option<&'static str>> {
        let mut wanted: Vec<&str> =
            query.iter().filter(|(key, _)| key == "account").map(|(_, account)| account.as_str()).collect();
        wanted.sort_unstable();
        let spent = self.spent.entry((self.now().date_naive(), wanted.join("\n"))).or_default();
        *spent += 1;
        match self.switches.quota {
            Some(quota) if *spent > 2 * quota => {
                self.switches.is_revoked = true;
                Err(Refusal::forbidden())
            }
            Some(quota) if *spent > quota => Ok(Some("You have made too many requests today.")),
            _ => Ok(None),
        }
    }
}

/// The result of a request, or the refusal.
type Refused<T> = Result<T, Refusal>;

/// An answer that is no success.
struct Refusal {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Refusal {
    fn text(status: u16, text: &str) -> Refusal {
        Refusal { status, kind: "text/plain; charset=utf-8", body: text.to_owned() }
    }

    fn json(status: u16, body: Value) -> Refusal {
        Refusal { status, kind: "application/json", body: body.to_string() }
    }

    /// The page of the Bridge, as recorded, shortened to its skeleton.
    fn forbidden() -> Refusal {
        let body = "<!doctype html><html lang=\"en\"><head><title>Forbidden - SimpleFIN Bridge</title></head>\
                    <body><h1>Forbidden</h1><p>Access denied</p></body></html>";
        Refusal { status: 403, kind: "text/html; charset=utf-8", body: body.to_owned() }
    }
}

async fn serve(
    Shared(state): Shared<Arc<Mutex<State>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut state = lock(&state);
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let answer = match (method.as_str(), uri.path()) {
        (_, path) if path.starts_with("/simulator/") => setup::answer(&mut state, path, &body),
        (_, path) if state.switches.redirect.is_some() && !path.starts_with("/simulator/") => {
            let to = format!("{}{path}", state.switches.redirect.as_deref().unwrap_or_default());
            return respond(302, &[("location", &to)], String::new());
        }
        ("POST", path) if path.starts_with("/simplefin/claim/") => {
            let token = path.trim_start_matches("/simplefin/claim/").to_owned();
            match state.claim(&token, &body) {
                Ok(url) => return respond(200, &[("content-type", "text/plain; charset=utf-8")], url),
                Err(refusal) => Err(refusal),
            }
        }
        ("GET", "/simplefin/info") => Ok(json!({"versions": ["1.0"]})),
        ("GET", "/simplefin/accounts") => state.accounts(&headers, &query),
        _ => Err(Refusal::text(404, "Not Found")),
    };
    match answer {
        Ok(value) => respond(200, &[("content-type", "application/json")], value.to_string()),
        Err(refusal) => respond(refusal.status, &[("content-type", refusal.kind)], refusal.body),
    }
}

fn respond(code: u16, headers: &[(&str, &str)], body: String) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status(code);
    for (name, value) in headers {
        let (name, value) = (header::HeaderName::try_from(*name), header::HeaderValue::try_from(*value));
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}
