//! Simulated services on loopback, for `bankfeed demo`, for the tests, and for `bankfeed simulate`.
//!
//! A simulator is a stateful model of the real service, as strict as the service, with wire types of its own:
//! simulators use no code of a connector, so that a mistake there cannot cancel itself out. This file holds the parts
//! that simulators share: a server that can also misbehave on the level of the connection, and the [`Fault`] script for
//! its misbehaviour.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use futures_util::stream;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub mod airtable;
pub mod enable_banking;
pub mod fibank;
pub mod google;
pub mod mail;
pub mod nocodb;
pub mod notices;
pub mod odoo;
pub mod services;
pub mod simplefin;
pub mod world;

/// A way in which an answer goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is not applied; this status and body come back. An empty body stands for the service's usual one, or
    /// none.
    Status(u16, String),
    /// [`Fault::Status`] with a `Retry-After` header in seconds.
    StatusRetryAfter(u16, String, u64),
    /// The request is applied, then this status and body come back.
    ApplyThenStatus(u16, String),
    /// The request is not applied; a 200 with these headers and this body comes back.
    Answer(&'static [(&'static str, &'static str)], Vec<u8>),
    /// The request is applied; a 200 comes back whose body never ends: these bytes again and again.
    Endless(&'static [(&'static str, &'static str)], &'static str),
    /// The connection closes before anything is applied.
    Drop,
    /// The request is applied, then the connection closes without an answer.
    ApplyThenDrop,
    /// The request is applied; of the answer's body only the first half arrives.
    Truncate,
    /// The request is applied; the answer is a 200 whose JSON is cut, with a matching length.
    CutBody,
    /// The request is not applied and never answered.
    Hang,
    /// The answer comes, but only after this long.
    Slow(Duration),
    /// The connection closes at once; the request is applied after this long.
    Late(Duration),
    /// The connection closes at once; the request is applied just before the given number of further requests has been
    /// looked at (0: the very next one), or by [`Server::land`]. The fault is [`Fault::Late`] without a clock.
    Held(u32),
}

/// A request on its way for longer than its sender waited.
struct Held {
    /// Number of requests that still overtake this one.
    overtaken_by: u32,
    apply: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The condition of a fault: the first rule that matches a request is used up by it.
#[derive(Clone, Debug)]
struct Rule {
    /// Substring of `METHOD /path?query`; empty matches all.
    matching: String,
    /// Substring of the body; empty matches all.
    saying: String,
    /// Number of matching requests that pass unharmed first.
    skip: u32,
    /// Number of requests that the fault strikes; `u32::MAX`: for ever.
    times: u32,
    fault: Fault,
}

/// A request as it arrived, with the status of its answer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Logged {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Body as text.
    pub body: String,
    /// Status answered; 0 where no answer was sent.
    pub status: u16,
}

#[derive(Default)]
struct Shared {
    rules: VecDeque<Rule>,
    log: Vec<Logged>,
    count: u64,
    keep_bodies: bool,
    sink: Option<std::fs::File>,
    held: Vec<Held>,
    /// Actions of somebody else in the instant after a request, each with a part of the request's `METHOD /path?query`.
    meanwhile: Vec<(String, Box<dyn FnOnce() + Send>)>,
}

/// A running simulated service: its address, its log of requests, and its script of faults.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    /// Serves `router` on a free loopback port until the runtime ends.
    pub async fn start(router: Router) -> io::Result<Server> {
        Server::start_on(router, "127.0.0.1:0".parse().map_err(io::Error::other)?).await
    }

    /// Serves `router` on this address.
    pub async fn start_on(router: Router, address: SocketAddr) -> io::Result<Server> {
        let listener = TcpListener::bind(address).await?;
        let shared = Arc::new(Mutex::new(Shared { keep_bodies: true, ..Shared::default() }));
        let server = Server { address: listener.local_addr()?, shared };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, router) = (serving.clone(), router.clone());
                tokio::spawn(async move {
                    let service =
                        hyper::service::service_fn(move |request| serving.clone().answer(router.clone(), request));
                    // A fault ends the connection with an error; that is its purpose.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(server)
    }

    /// `http://127.0.0.1:PORT`, without a final slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request whose `METHOD /path?query` contains `matching` goes wrong.
    pub fn fail_next(&self, matching: &str, fault: Fault) {
        self.fail(matching, 0, 1, fault);
    }

    /// After `skip` matching requests, `times` of them go wrong (`u32::MAX`: for ever).
    pub fn fail(&self, matching: &str, skip: u32, times: u32, fault: Fault) {
        let (matching, saying) = (matching.to_owned(), String::new());
        self.shared().rules.push_back(Rule { matching, saying, skip, times, fault });
    }

    /// Every matching request whose body holds one of these texts goes wrong: for the sake of one row among others.
    pub fn fail_on(&self, matching: &str, texts: &[&str], fault: Fault) {
        let rule = |text: &&str| Rule {
            matching: matching.to_owned(),
            saying: (*text).to_owned(),
            skip: 0,
            times: u32::MAX,
            fault: fault.clone(),
        };
        self.shared().rules.extend(texts.iter().map(rule));
    }

    /// Runs `act` for somebody else after the next request whose `METHOD /path?query` contains `matching` was carried
    /// out, and before its answer leaves: the answer is out of date when it arrives.
    pub fn meanwhile(&self, matching: &str, act: impl FnOnce() + Send + 'static) {
        self.shared().meanwhile.push((matching.to_owned(), Box::new(act)));
    }

    /// Drops all faults, and the actions planned for meanwhile.
    pub fn heal(&self) {
        let mut shared = self.shared();
        shared.rules.clear();
        shared.meanwhile.clear();
    }

    /// True if a scripted fault has not struck yet.
    pub fn faults_left(&self) -> bool {
        !self.shared().rules.is_empty()
    }

    /// Number of requests that are held back ([`Fault::Held`]).
    pub fn held(&self) -> usize {
        self.shared().held.len()
    }

    /// Applies every request that is held back, in the order they came.
    pub async fn land(&self) {
        let held = std::mem::take(&mut self.shared().held);
        for late in held {
            late.apply.await;
        }
    }

    /// Requests received since the start or the last [`Server::clear_log`].
    pub fn requests(&self) -> u64 {
        self.shared().count
    }

    /// The requests received, in order.
    pub fn log(&self) -> Vec<Logged> {
        self.shared().log.clone()
    }

    /// Forgets the requests received.
    pub fn clear_log(&self) {
        let mut shared = self.shared();
        shared.log.clear();
        shared.count = 0;
    }

    /// Keeps requests with their bodies in the log (default), or only counts them, for long runs.
    pub fn keep_log(&self, keep: bool) {
        self.shared().keep_bodies = keep;
    }

    /// Also appends each request as a line of JSON to this file.
    pub fn log_to(&self, file: std::fs::File) {
        self.shared().sink = Some(file);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    fn strike(&self, line: &str, body: &[u8]) -> Option<Fault> {
        let mut shared = self.shared();
        let says = |text: &str| text.is_empty() || body.windows(text.len()).any(|window| window == text.as_bytes());
        let at = shared.rules.iter().position(|rule| line.contains(&rule.matching) && says(&rule.saying))?;
        let rule = &mut shared.rules[at];
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        let fault = rule.fault.clone();
        if rule.times != u32::MAX {
            rule.times -= 1;
            if rule.times == 0 {
                shared.rules.remove(at);
            }
        }
        Some(fault)
    }

    fn due(&self, line: &str) -> Option<Box<dyn FnOnce() + Send>> {
        let mut shared = self.shared();
        let at = shared.meanwhile.iter().position(|(matching, _)| line.contains(matching))?;
        Some(shared.meanwhile.remove(at).1)
    }

    /// The held requests that arrive before the one at hand.
    fn overtaken(&self) -> Vec<Held> {
        let mut shared = self.shared();
        let (due, held) = std::mem::take(&mut shared.held).into_iter().partition(|late| late.overtaken_by == 0);
        shared.held = held;
        shared.held.iter_mut().for_each(|late| late.overtaken_by -= 1);
        due
    }

    fn record(&self, method: &str, target: &str, body: &Bytes, status: u16) {
        use std::io::Write;
        let mut shared = self.shared();
        if !shared.keep_bodies && shared.sink.is_none() {
            return;
        }
        let logged = Logged {
            method: method.to_owned(),
            target: target.to_owned(),
            body: String::from_utf8_lossy(body).into_owned(),
            status,
        };
        if let Some(sink) = &mut shared.sink
            && let Ok(line) = serde_json::to_string(&logged)
            && let Err(error) = writeln!(sink, "{line}")
        {
            tracing::warn!("cannot write the simulator's log: {error}");
        }
        if shared.keep_bodies {
            shared.log.push(logged);
        }
    }

    /// Answers one request, committing the fault that is due.
    async fn answer(self, router: Router, request: Request<hyper::body::Incoming>) -> io::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let (method, target) = (parts.method.to_string(), parts.uri.to_string());
        for late in self.overtaken() {
            late.apply.await;
        }
        let fault = {
            self.shared().count += 1;
            self.strike(&format!("{method} {target}"), &body)
        };
        let seen = body.clone();
        let apply = async move || {
            use tower_service::Service;
            let mut router = router;
            let answer: Result<Response<Body>, std::convert::Infallible> =
                router.call(Request::from_parts(parts, Body::from(body))).await;
            answer.unwrap_or_else(|never| match never {})
        };
        let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "scripted fault");
        let result = match fault {
            None => Ok(apply().await),
            Some(Fault::Status(status, text)) => plain(status, text, None),
            Some(Fault::StatusRetryAfter(status, text, seconds)) => plain(status, text, Some(seconds)),
            Some(Fault::ApplyThenStatus(status, text)) => {
                apply().await;
                plain(status, text, None)
            }
            Some(Fault::Answer(headers, body)) => with_headers(headers, Body::from(body)),
            Some(Fault::Endless(headers, text)) => {
                apply().await;
                let piece = Bytes::from(text.repeat(1 + 16 * 1024 / text.len().max(1)));
                with_headers(headers, Body::from_stream(stream::repeat_with(move || Ok::<_, io::Error>(piece.clone()))))
            }
            Some(Fault::Drop) => Err(broken()),
            Some(Fault::ApplyThenDrop) => {
                apply().await;
                Err(broken())
            }
            Some(Fault::Truncate) => halve(apply().await, false).await,
            Some(Fault::CutBody) => halve(apply().await, true).await,
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Slow(pause)) => {
                let answer = apply().await;
                tokio::time::sleep(pause).await;
                Ok(answer)
            }
            Some(Fault::Late(pause)) => {
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    apply().await;
                });
                Err(broken())
            }
            Some(Fault::Held(overtaken_by)) => {
                let apply = Box::pin(async move { drop(apply().await) });
                self.shared().held.push(Held { overtaken_by, apply });
                Err(broken())
            }
        };
        if let Some(act) = self.due(&format!("{method} {target}")) {
            act();
        }
        self.record(&method, &target, &seen, result.as_ref().map_or(0, |answer| answer.status().as_u16()));
        result
    }
}

fn with_headers(headers: &[(&str, &str)], body: Body) -> io::Result<Response<Body>> {
    let answer = headers.iter().fold(Response::builder(), |answer, (name, value)| answer.header(*name, *value));
    answer.body(body).map_err(io::Error::other)
}

fn plain(status: u16, text: String, retry_after: Option<u64>) -> io::Result<Response<Body>> {
    let kind =
        if text.starts_with(['{', '[']) { "application/json; charset=UTF-8" } else { "text/html; charset=UTF-8" };
    let mut answer = Response::builder().status(status).header("content-type", kind);
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    answer.body(Body::from(text)).map_err(io::Error::other)
}

/// The answer with half its body: announced as whole and then broken off, or (`consistent`) announced as that short.
async fn halve(answer: Response<Body>, consistent: bool) -> io::Result<Response<Body>> {
    let (mut parts, body) = answer.into_parts();
    let whole = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let half = whole.slice(..whole.len() / 2);
    if consistent {
        parts.headers.remove("content-length");
        return Ok(Response::from_parts(parts, Body::from(half)));
    }
    parts.headers.insert("content-length", whole.len().into());
    let pieces = stream::iter([Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
    Ok(Response::from_parts(parts, Body::from_stream(pieces)))
}

/// Locks a simulator's state. A test that panicked while holding it must not hide its own message behind a poison
/// error.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A status by number; 500 for an impossible number.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
