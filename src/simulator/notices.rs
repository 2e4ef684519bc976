//! Simulated receivers of notices: an ntfy server, a program with a webhook, and a dead man's switch, all on one port.
//!
//! `POST /topic/NAME` publishes to a topic, `POST /hook` takes JSON, `/ping/NAME[/start|/fail|/log]` is pinged. The
//! receivers are as strict as the real ones about methods, headers and tokens, and remember the notices that arrived.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{any, post};

use super::{Server, lock};

/// ntfy stores a longer message as an attachment.
const LONGEST_MESSAGE: usize = 4096;

/// A notice that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A message on a topic.
    Message {
        /// The message's title.
        title: String,
        /// 1 to 5.
        priority: u8,
        /// The message's tags.
        tags: Vec<String>,
        /// The message.
        text: String,
    },
    /// A call of the webhook.
    Call(serde_json::Value),
    /// A ping: `start`, `fail`, `log` or `success`, with its text.
    Ping(&'static str, String),
}

#[derive(Default)]
struct Place {
    token: Option<String>,
    arrived: Vec<Arrived>,
}

/// The running places.
#[derive(Clone)]
pub struct Notices {
    /// Address, log and faults.
    pub server: Server,
    place: Arc<Mutex<Place>>,
}

impl Notices {
    /// Starts them.
    pub async fn start() -> io::Result<Notices> {
        let place = Arc::new(Mutex::new(Place::default()));
        let router = Router::new()
            .route("/topic/{name}", post(publish))
            .route("/hook", post(call))
            .route("/ping/{name}", any(success))
            .route("/ping/{name}/{what}", any(ping))
            .with_state(place.clone());
        Ok(Notices { server: Server::start(router).await?, place })
    }

    /// Makes topics and webhook demand this token.
    pub fn protect(&self, token: &str) {
        lock(&self.place).token = Some(token.to_owned());
    }

    /// The notices that have arrived since the last call.
    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut lock(&self.place).arrived)
    }
}

type Shared = State<Arc<Mutex<Place>>>;

async fn publish(
    State(place): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<&'static str, (StatusCode, &'static str)> {
    allowed(&lock(&place), &headers)?;
    let header = |name: &str| headers.get(name).map_or(Ok(""), |value| std::str::from_utf8(value.as_bytes()));
    let bad = |_| (StatusCode::BAD_REQUEST, "{\"code\":40000,\"error\":\"invalid request\"}");
    let (title, priority, tags) =
        (header("title").map_err(bad)?, header("priority").map_err(bad)?, header("tags").map_err(bad)?);
    let priority: u8 = if priority.is_empty() { 3 } else { priority.parse().unwrap_or(0) };
    if !(1..=5).contains(&priority) {
        return Err((StatusCode::BAD_REQUEST, "{\"code\":40007,\"error\":\"invalid priority\"}"));
    }
    if body.len() > LONGEST_MESSAGE {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "{\"code\":41301,\"error\":\"attachments not allowed\"}"));
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| (StatusCode::BAD_REQUEST, "{\"code\":40011,\"error\":\"message is not UTF-8\"}"))?;
    let tags = tags.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
    lock(&place).arrived.push(Arrived::Message { title: title.to_owned(), priority, tags, text });
    Ok("{\"event\":\"message\"}")
}

async fn call(
    State(place): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<&'static str, (StatusCode, &'static str)> {
    allowed(&lock(&place), &headers)?;
    if headers.get("content-type").is_none_or(|kind| kind != "application/json") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected JSON"));
    }
    let json = serde_json::from_slice(&body).map_err(|_| (StatusCode::BAD_REQUEST, "no JSON"))?;
    lock(&place).arrived.push(Arrived::Call(json));
    Ok("ok")
}

async fn success(State(place): Shared, body: Bytes) -> &'static str {
    note(&place, "success", &body)
}

async fn ping(
    State(place): Shared,
    Path((_, what)): Path<(String, String)>,
    body: Bytes,
) -> (StatusCode, &'static str) {
    match what.as_str() {
        "start" => (StatusCode::OK, note(&place, "start", &body)),
        "fail" => (StatusCode::OK, note(&place, "fail", &body)),
        "log" => (StatusCode::OK, note(&place, "log", &body)),
        _ => (StatusCode::NOT_FOUND, "not found"),
    }
}

fn note(place: &Mutex<Place>, what: &'static str, body: &Bytes) -> &'static str {
    lock(place).arrived.push(Arrived::Ping(what, String::from_utf8_lossy(body).into_owned()));
    "OK"
}

fn allowed(place: &Place, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let Some(token) = &place.token else { return Ok(()) };
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    let forbidden = (StatusCode::FORBIDDEN, "{\"code\":40301,\"error\":\"forbidden\"}");
    if given == Some(&format!("Bearer {token}")) { Ok(()) } else { Err(forbidden) }
}
