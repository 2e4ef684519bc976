//! What every connector shares when it talks to a service: errors named by the reaction they cause, the HTTP client
//! with its time limits and its request counter, and the one place that waits and tries again.
//!
//! It knows no particular service. URLs, tokens and bodies never reach an error text from here: an error says which
//! service, what happened, and what to do.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub mod attempts;
pub mod document;
pub mod pace;
pub mod trace;

use pace::Paces;
use trace::Trace;

/// Why only the owner can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The service refused the password: never tried again until the configuration changes.
    PasswordRefused,
    /// The login is locked.
    Locked,
    /// The service demands a new password.
    PasswordChange,
    /// A second factor is asked for.
    SecondFactor,
    /// The service is closed for maintenance; the next scheduled run tries again.
    Maintenance,
    /// A page nobody has seen before stands where the sign-in should go on.
    UnknownPage,
    /// Passwords or codes were sent, and nobody learnt what became of them.
    OutcomeUnknown,
    /// A token or key is refused, revoked or lacks a scope.
    Token,
    /// The sheet or base is missing, or not shared with this login.
    NotFound,
    /// The login may see the thing but not write it.
    NotPermitted,
    /// The layout (headers, id column) was changed in a way that cannot be followed.
    Layout,
    /// A plan's monthly budget or a document's size is used up.
    Quota,
    /// The place takes nothing for a reason that no right of this login changes: switched off, suspended, forbidden by an
    /// organisation, or refusing every row alike.
    Closed,
    /// The machine itself (disk full, clock wrong) stands in the way.
    Machine,
}

impl Cause {
    /// Whether the service is left alone until the owner says that he has acted (`bankfeed sync --retry`) or the
    /// configuration changes: everything that another sign-in could make worse.
    pub fn blocks_schedule(self) -> bool {
        use Cause::*;
        matches!(self, PasswordRefused | Locked | PasswordChange | SecondFactor | UnknownPage | OutcomeUnknown)
    }

    /// The word for it in reports and notices, e.g. `password-refused`.
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether nothing but a changed configuration lifts it.
    pub fn needs_new_config(self) -> bool {
        self == Cause::PasswordRefused
    }
}

/// What kind of failure, by the engine's reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never retried by itself; the owner is told.
    Attention(Cause),
    /// The whole service waits.
    Throttled {
        /// What the service asked for, if it did.
        retry_after: Option<Duration>,
    },
    /// Back off and retry. Of a write it means: outcome unknown.
    Unavailable,
    /// This very request is refused as it stands; nothing was applied.
    Rejected,
    /// The same, and the words do not tell whether a row or the place is to blame: other rows decide.
    Unexplained,
    /// The answer is not what the service's API promises: stop this service.
    Malformed,
    /// The answer is larger than is ever read: ask for less, or stop this service.
    TooLarge,
    /// The program is being stopped.
    Stopped,
}

/// A failure of a remote service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What the engine does about it.
    pub kind: Kind,
    /// One line: lower case, names the thing and the remedy, no full stop, no secret.
    pub message: String,
}

impl Error {
    /// Something only the owner can end.
    pub fn attention(cause: Cause, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Attention(cause), message: message.to_string() }
    }

    /// Too many requests.
    pub fn throttled(retry_after: Option<Duration>, message: impl fmt::Display) -> Error {
        Error { kind: Kind::Throttled { retry_after }, message: message.to_string() }
    }

    /// Down, slow or cut off.
    pub fn unavailable(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Unavailable, message: message.to_string() }
    }

    /// Refused as it stands.
    pub fn rejected(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Rejected, message: message.to_string() }
    }

    /// Refused as it stands, and nobody knows for whose sake.
    pub fn unexplained(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Unexplained, message: message.to_string() }
    }

    /// Not what the API promises.
    pub fn malformed(message: impl fmt::Display) -> Error {
        Error { kind: Kind::Malformed, message: message.to_string() }
    }

    /// The program is being stopped.
    pub fn stopped() -> Error {
        Error { kind: Kind::Stopped, message: "stopped before it was done".into() }
    }

    /// The word for the cause in reports: that of [`Cause`], or of the kind of failure.
    pub fn word(&self) -> String {
        match self.kind {
            Kind::Attention(cause) => cause.word(),
            Kind::Throttled { .. } => "throttled".to_owned(),
            Kind::Unavailable => "unavailable".to_owned(),
            Kind::Rejected | Kind::Unexplained => "rejected".to_owned(),
            Kind::Malformed => "malformed".to_owned(),
            Kind::TooLarge => "too-large".to_owned(),
            Kind::Stopped => "stopped".to_owned(),
        }
    }

    /// The cause, where the owner must act.
    pub fn cause(&self) -> Option<Cause> {
        if let Kind::Attention(cause) = self.kind { Some(cause) } else { None }
    }

    /// Whether the request as it stands was refused, so that another one may pass.
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Rejected | Kind::Unexplained)
    }

    /// Whether trying the same thing again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Throttled { .. } | Kind::Unavailable)
    }
}

/// Counts the requests sent to one service, and notes when one was last answered as it should be.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    sent: Arc<AtomicU64>,
    answered: Arc<Mutex<Option<Instant>>>,
}

impl Counter {
    /// One more request is about to leave.
    pub fn add(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn get(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// One was answered as it should be.
    pub fn note_answer(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns once none has been answered as it should be for so long, from now on.
    pub async fn silence(&self, longest: Duration) {
        let mut since = Instant::now();
        while since.elapsed() < longest {
            tokio::time::sleep_until(since + longest).await;
            let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            since = since.max(answered.unwrap_or(since));
        }
    }
}

/// Tells everything that waits that the program is being stopped.
#[derive(Clone, Debug)]
pub struct Shutdown(tokio::sync::watch::Receiver<bool>);

impl Shutdown {
    /// A switch and its listening end.
    pub fn new() -> (tokio::sync::watch::Sender<bool>, Shutdown) {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        (sender, Shutdown(receiver))
    }

    /// One that never comes.
    pub fn never() -> Shutdown {
        Shutdown::new().1
    }

    /// Whether it has been asked for.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is asked for; never, if nobody can ask any more.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// How long and how often to wait for a service that is down or asks for patience. A value, so that tests can make it
/// short; connectors and the engine use the same one.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// First pause; doubles each time.
    pub first: Duration,
    /// Longest pause of our own choosing.
    pub longest: Duration,
    /// Tries in all.
    pub tries: u32,
    /// Longest wait a service may ask for within one cycle.
    pub patience: Duration,
    /// How long a destination may leave a cycle without a good answer. Beyond, the cycle ends without it.
    pub silence: Duration,
    /// Limits that everybody shares who got this value by cloning.
    pub paces: Paces,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            tries: 4,
            patience: Duration::from_secs(80),
            silence: Duration::from_secs(90),
            paces: Paces::default(),
        }
    }
}

impl Backoff {
    /// For tests: the same number of tries with next to no pause.
    pub fn immediate() -> Backoff {
        Backoff {
            first: Duration::from_millis(1),
            longest: Duration::from_millis(5),
            patience: Duration::from_millis(50),
            ..Backoff::default()
        }
    }

    /// The pause before try number `tried + 1`, or `None` where trying again is pointless or patience has ended.
    pub fn pause(&self, tried: u32, error: &Error) -> Option<Duration> {
        if tried >= self.tries || !error.is_transient() {
            return None;
        }
        let own = self.first.saturating_mul(1 << (tried - 1).min(16)).min(self.longest);
        let jittered = own.mul_f64(0.75 + fastrand::f64() / 2.0);
        match error.kind {
            Kind::Throttled { retry_after: Some(asked) } if asked > self.patience => None,
            Kind::Throttled { retry_after: Some(asked) } => Some(asked.max(jittered)),
            // Without a hint quotas refill by the minute: wait longer than for a hiccup.
            Kind::Throttled { retry_after: None } => Some((jittered * 10).min(self.patience)),
            _ => Some(jittered),
        }
    }

    /// Waits before the next try, or gives the error back where another try is pointless.
    pub async fn wait(&self, shutdown: &Shutdown, tried: u32, error: Error) -> Result<(), Error> {
        let Some(pause) = self.pause(tried, &error) else { return Err(error) };
        tracing::debug!("{error}; trying again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = shutdown.wait() => Err(Error::stopped()),
        }
    }

    /// Tries `attempt` on a connector until it succeeds, fails for good, or patience ends. Only for what may be repeated
    /// safely: reads, and writes that cannot apply twice.
    pub async fn retry<D: Send + ?Sized, T>(
        &self,
        shutdown: &Shutdown,
        connector: &mut D,
        mut attempt: impl for<'a> FnMut(&'a mut D) -> Attempt<'a, T> + Send,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            tried += 1;
            match attempt(connector).await {
                Err(error) => self.wait(shutdown, tried, error).await?,
                done => return done,
            }
        }
    }

    /// Runs `operation` until it succeeds, fails for good, or patience ends. Only for what may be repeated safely:
    /// reads, and writes that cannot apply twice.
    pub async fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        shutdown: &Shutdown,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            if shutdown.requested() {
                return Err(Error::stopped());
            }
            tried += 1;
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            self.wait(shutdown, tried, error).await?;
        }
    }
}

/// One try of something that a connector does.
pub type Attempt<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// What connectors get from whoever builds them.
#[derive(Clone, Debug)]
pub struct Context {
    /// Stop signal.
    pub shutdown: Shutdown,
    /// Patience.
    pub backoff: Backoff,
    /// Requests sent by this connector.
    pub requests: Counter,
    /// Where exchanges are written down, if they are.
    pub trace: Option<Trace>,
}

impl Context {
    /// A fresh context: its own counter, the given stop signal and patience.
    pub fn new(shutdown: Shutdown, backoff: Backoff) -> Context {
        Context { shutdown, backoff, requests: Counter::default(), trace: None }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: reqwest::header::HeaderMap,
    /// The address that answered.
    pub url: url::Url,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The address that `Location` leads to, read as browsers do: relative to the one that has answered, and bytes beyond
    /// ASCII taken as they are.
    pub fn location(&self) -> Option<url::Url> {
        let mut text = String::new();
        for byte in self.headers.get("location")?.as_bytes() {
            match byte {
                0..0x80 => text.push(char::from(*byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        self.url.join(&text).ok()
    }

    /// `Retry-After` in seconds, if given so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }

    /// The body as text, broken UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The HTTP client of the reqwest connectors: no redirects followed, no proxy from the environment, both time limits
/// set, every request counted, errors without addresses.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    service: String,
    requests: Counter,
    trace: Option<Trace>,
}

/// Most that is read of a page, and of anything that is no success.
pub const PAGE_BYTES: usize = 2 << 20;

/// Most that is read of a reply that becomes a tree of values, which takes many times its size.
pub const TREE_BYTES: usize = 8 << 20;

/// Deepest nesting of JSON that is read.
pub const JSON_DEPTH: usize = 128;

/// Most that is read of a reply with rows, which are read one by one.
pub const REPLY_BYTES: usize = 128 << 20;

impl Client {
    /// A client for `service` (the entry's name, used in errors), keeping cookies if `cookies`.
    pub fn new(service: &str, requests: Counter, cookies: bool, timeout: Duration) -> Result<Client, Error> {
        Client::build(reqwest::Client::builder(), service, requests, cookies, timeout)
    }

    /// As [`Client::new`], for a service at this address only. Where that is plain http (on this machine, or the
    /// configuration would not have let it through) the system's certificates are not read.
    pub fn at(
        base: &url::Url,
        service: &str,
        requests: Counter,
        cookies: bool,
        timeout: Duration,
    ) -> Result<Client, Error> {
        let builder = reqwest::Client::builder();
        let builder = if base.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        Client::build(builder, service, requests, cookies, timeout)
    }

    fn build(
        builder: reqwest::ClientBuilder,
        service: &str,
        requests: Counter,
        cookies: bool,
        timeout: Duration,
    ) -> Result<Client, Error> {
        let http = builder
            .redirect(reqwest::redirect::Policy::none())
            .cookie_store(cookies)
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60))
            .timeout(timeout)
            .build()
            .map_err(|error| Error::unavailable(format!("{service}: cannot set up HTTP: {}", error.without_url())))?;
        Ok(Client { http, service: service.to_owned(), requests, trace: None })
    }

    /// The same, writing exchanges down there.
    pub fn traced(self, trace: Option<Trace>) -> Client {
        Client { trace, ..self }
    }

    /// Starts a request.
    pub fn request(&self, method: reqwest::Method, url: url::Url) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends it and reads the whole answer, of [`TREE_BYTES`] at most. Any status is an `Ok`; transport trouble is
    /// `Unavailable` (of a write: outcome unknown).
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        self.send_up_to(request, TREE_BYTES).await
    }

    /// [`Client::send`] for an answer of so many bytes at most, as they are once decompressed. Pages and refusals have
    /// a bound of their own.
    pub async fn send_up_to(&self, request: reqwest::RequestBuilder, most: usize) -> Result<Response, Error> {
        let mut response = self.begin(request).await?;
        let (status, headers, url) = (response.status().as_u16(), response.headers().clone(), response.url().clone());
        let most = if is_reply(status, &headers) { most } else { most.min(PAGE_BYTES) };
        let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > most) {
            return Err(self.too_large(most));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(error))? {
            if body.len() + chunk.len() > most {
                return Err(self.too_large(most));
            }
            body.extend_from_slice(&chunk);
        }
        self.trace.iter().for_each(|trace| trace.response(status, &headers, &body));
        if (200..400).contains(&status) {
            self.requests.note_answer();
        }
        Ok(Response { status, headers, url, body })
    }

    /// Sends it where the answer's status says everything: nothing else is read.
    pub async fn send_for_status(&self, request: reqwest::RequestBuilder) -> Result<u16, Error> {
        Ok(self.begin(request).await?.status().as_u16())
    }

    /// Sends it and waits for the head of the answer.
    async fn begin(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        self.requests.add();
        let (http, request) = request.build_split();
        let request = request.map_err(|error| self.transport(error))?;
        self.trace.iter().for_each(|trace| trace.request(&request));
        http.execute(request).await.map_err(|error| self.transport(error))
    }

    fn too_large(&self, most: usize) -> Error {
        let what = format!("the answer is larger than {} MiB, the most that is read of it", most >> 20);
        self.trace.iter().for_each(|trace| trace.broken(&what));
        let remedy = "try again later, and if it stays so, look at the service in a browser";
        Error { kind: Kind::TooLarge, message: format!("{}: {what}; {remedy}", self.service) }
    }

    fn transport(&self, error: reqwest::Error) -> Error {
        let what = if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "cannot connect"
        } else {
            "the connection broke"
        };
        self.trace.iter().for_each(|trace| trace.broken(what));
        Error::unavailable(format!("{}: {what}: {}", self.service, root_cause(&error.without_url())))
    }
}

/// Whether an answer is a reply of an API; anything else is a page, or a few words.
fn is_reply(status: u16, headers: &reqwest::header::HeaderMap) -> bool {
    let kind = headers.get("content-type").map(reqwest::header::HeaderValue::as_bytes).unwrap_or_default();
    (200..300).contains(&status) && !kind.to_ascii_lowercase().starts_with(b"text/html")
}

/// Whether JSON is nested deeper than is ever read. The parser stops there and does not fall.
pub fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

/// The innermost reason of an error: the part a person can use.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_begins_anew_with_each_answer() {
        let (counter, longest, started) = (Counter::default(), Duration::from_secs(90), Instant::now());
        let answered = counter.clone();
        tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                answered.note_answer();
            }
        });
        counter.silence(longest).await;
        assert_eq!(started.elapsed().as_secs(), 3 * 60 + 90);
        let again = Instant::now();
        counter.silence(longest).await;
        assert_eq!(again.elapsed().as_secs(), 90, "what was answered before does not count");
    }
}
