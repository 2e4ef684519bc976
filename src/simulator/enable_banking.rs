//! The simulated Enable Banking: one application, banks with accounts behind it, and the page at which an owner gives consent.
//!
//! The simulator answers according to the API's description and recorded traffic; on points where these are silent it takes
//! the reading that is hardest on a client, and a comment says so in place. Each bank has traps of its own, as they were
//! reported of real banks. State lives in memory. The simulator uses no code of the connector.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Server, lock, status};

mod accounts;
mod authorization;
mod model;
mod token;

pub use model::{Account, Application, Bank, Decision, Paging, Period, References, Session, Traps, entry};
pub use token::{APPLICATION, PRIVATE_KEY};

/// The redirect address that the application has registered.
pub const REDIRECT_URL: &str = "https://localhost/bankfeed";

/// A running simulated Enable Banking. Clones are the same service.
#[derive(Clone)]
pub struct EnableBanking {
    /// The server, with its address, its log of requests and its faults.
    pub server: Server,
    state: Arc<Mutex<Service>>,
}

/// The service.
pub struct Service {
    /// The address of the service itself.
    base: String,
    /// The application.
    pub application: Application,
    /// The banks.
    pub banks: Vec<Bank>,
    /// The sessions, the latest last.
    pub sessions: Vec<Session>,
    authorizations: Vec<authorization::Authorization>,
    /// The time that has passed beside the real time.
    pub passed: TimeDelta,
    made: u64,
    fetched: u64,
}

/// A refusal: the status, the code, the message and the detail.
struct Refusal(u16, Option<&'static str>, String, Value);

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal(status, Some(code), message.into(), Value::Null)
    }

    fn body(&self) -> Value {
        let Refusal(status, code, message, detail) = self;
        let mut body = json!({"message": message, "code": status, "detail": detail});
        if let Some(code) = code {
            body["error"] = json!(code);
        }
        body
    }
}

/// An answer of the service.
enum Answer {
    Json(Value),
    /// The address that the browser is sent to.
    Redirect(String),
}

/// A call as it arrived.
struct Call<'a> {
    path: Vec<&'a str>,
    query: Vec<(String, String)>,
    headers: &'a HeaderMap,
    body: Value,
}

impl Call<'_> {
    fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl EnableBanking {
    /// Starts on a free loopback port with these banks.
    pub async fn start(banks: Vec<Bank>) -> io::Result<EnableBanking> {
        EnableBanking::start_on("127.0.0.1:0".parse().map_err(io::Error::other)?, banks).await
    }

    /// Starts on this address.
    pub async fn start_on(address: SocketAddr, banks: Vec<Bank>) -> io::Result<EnableBanking> {
        let state = Arc::new(Mutex::new(Service {
            base: String::new(),
            application: Application::default(),
            banks,
            sessions: Vec::new(),
            authorizations: Vec::new(),
            passed: TimeDelta::zero(),
            made: 0,
            fetched: 0,
        }));
        let router = Router::new().fallback(serve).with_state(Arc::clone(&state));
        let server = Server::start_on(router, address).await?;
        lock(&state).base = server.url();
        Ok(EnableBanking { server, state })
    }

    /// Acts in the service. The simulator stands still meanwhile: `change` must not call it.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Service) -> T) -> T {
        change(&mut lock(&self.state))
    }

    /// Acts in the first bank.
    pub fn bank<T>(&self, change: impl FnOnce(&mut Bank) -> T) -> T {
        self.edit(|service| change(&mut service.banks[0]))
    }

    /// The transactions calls that each account of the first bank has had, by its number.
    pub fn calls(&self, endpoint: &str) -> Vec<usize> {
        self.bank(|bank| {
            let count = |account: &Account| account.calls.iter().filter(|(kind, _)| *kind == endpoint).count();
            bank.accounts.iter().map(count).collect()
        })
    }
}

impl Service {
    /// The time of the service.
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.passed
    }

    /// A new id, in the form of a UUID.
    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", fastrand::u32(..), self.made)
    }

    fn answer(&mut self, method: &Method, call: &Call<'_>) -> Result<Answer, Refusal> {
        if let ["bank", id] = call.path.as_slice() {
            return self.visit(id).map(Answer::Redirect);
        }
        token::verify(call.header("authorization"), Utc::now())?;
        if !self.application.is_active {
            return Err(Refusal(403, None, "Application is not active".into(), Value::Null));
        }
        let path = call.path.clone();
        let answer = match (method.as_str(), path.as_slice()) {
            ("GET", ["application"]) => Ok(self.application.describe()),
            ("GET", ["aspsps"]) => self.list_banks(call),
            ("POST", ["auth"]) => self.begin(call),
            ("POST", ["sessions"]) => self.exchange(call),
            ("GET", ["sessions", id]) => self.show_session(id),
            ("DELETE", ["sessions", id]) => self.close_session(id),
            ("GET", ["accounts", uid, what @ ("details" | "balances" | "transactions")]) => {
                self.account(uid, what, call)
            }
            _ => Err(Refusal(404, None, "Not Found".into(), Value::Null)),
        };
        answer.map(Answer::Json)
    }

    fn list_banks(&self, call: &Call<'_>) -> Result<Value, Refusal> {
        let fits = |bank: &&Bank| {
            let country = call.query("country").is_none_or(|country| country == bank.country);
            let customer = call.query("psu_type").is_none_or(|kind| bank.customers.iter().any(|known| known == kind));
            country && customer
        };
        Ok(json!({"aspsps": self.banks.iter().filter(fits).map(Bank::describe).collect::<Vec<_>>()}))
    }
}

/// A time in the service's way.
fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

async fn serve(
    Shared(state): Shared<Arc<Mutex<Service>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let segments: Vec<String> = uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| url::form_urlencoded::parse(part.replace('+', "%2B").as_bytes()).map(|(key, _)| key).collect())
        .collect();
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let path = segments.iter().map(String::as_str).collect();
    let call = Call { path, query, headers: &headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let answered = lock(&state).answer(&method, &call);
    let builder = Response::builder();
    let json = |builder: axum::http::response::Builder, value: Value| {
        builder.header(header::CONTENT_TYPE, "application/json").body(Body::from(value.to_string()))
    };
    let response = match answered {
        Ok(Answer::Json(value)) => json(builder, value),
        Ok(Answer::Redirect(address)) => builder.status(302).header(header::LOCATION, address).body(Body::empty()),
        Err(refusal) => json(builder.status(status(refusal.0)), refusal.body()),
    };
    response.unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
