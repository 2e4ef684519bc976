//! The HTTP client of every connector: time limits, bounds on what is read, requests counted, errors without addresses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::packed::{PackedText, Packer};
use super::trace::Trace;
use super::{Error, Kind, root_cause};

/// Counts the requests sent to one service, and notes when one was last answered as it should be.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    sent: Arc<AtomicU64>,
    answered: Arc<Mutex<Option<Instant>>>,
}

impl Counter {
    /// Counts a request that is about to leave.
    pub fn add(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
    pub fn get(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notes that a request was answered as it should be.
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

/// Deepest nesting of JSON that is read.
pub const JSON_DEPTH: usize = 128;

/// True where JSON is nested deeper than is ever read. The parser stops there and does not fall.
pub fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
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
    /// True where the service has done as it was asked.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

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

/// A body on its way.
struct Arriving {
    body: reqwest::Response,
    /// Bytes that are read of it at most, and how many of them are still to come.
    most: usize,
    left: usize,
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

/// Most that is read of a reply with rows, which are read one by one.
pub const REPLY_BYTES: usize = 128 << 20;

impl Client {
    /// A client for `service` (the entry's name, used in errors), keeping cookies if `cookies`.
    pub fn new(service: &str, requests: Counter, cookies: bool, timeout: Duration) -> Result<Client, Error> {
        Client::build(builder(), service, requests, cookies, timeout)
    }

    /// As [`Client::new`], for a service at this address only. With plain http (on this machine, or the
    /// configuration would not have let it through) the system's certificates are not read.
    pub fn at(
        base: &url::Url,
        service: &str,
        requests: Counter,
        cookies: bool,
        timeout: Duration,
    ) -> Result<Client, Error> {
        Client::build(builder_for(base), service, requests, cookies, timeout)
    }

    /// As [`Client::at`], for a service that may think for the whole of its time before it answers.
    pub fn patient(base: &url::Url, service: &str, requests: Counter, timeout: Duration) -> Result<Client, Error> {
        Client::build(builder_for(base).read_timeout(timeout), service, requests, false, timeout)
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
            .timeout(timeout)
            .build()
            .map_err(|error| Error::unavailable(format!("{service}: cannot set up HTTP: {}", error.without_url())))?;
        Ok(Client { http, service: service.to_owned(), requests, trace: None })
    }

    /// The client with exchanges written down there.
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
        let (mut response, mut arriving) = self.receive(request, most).await?;
        while let Some(chunk) = self.next_chunk(&mut arriving).await? {
            response.body.extend_from_slice(&chunk);
        }
        self.trace.iter().for_each(|trace| trace.response(response.status, &response.headers, &response.body));
        self.note_answer(&response);
        Ok(response)
    }

    /// [`Client::send_up_to`] for an answer that may be long: the body of a success comes as a packed text.
    pub async fn send_packed(
        &self,
        request: reqwest::RequestBuilder,
        most: usize,
    ) -> Result<(Response, PackedText), Error> {
        if self.trace.is_some() {
            // A recording needs the whole body at once.
            let mut response = self.send_up_to(request, most).await?;
            let body = if response.is_success() { std::mem::take(&mut response.body) } else { Vec::new() };
            let mut text = Packer::default();
            text.push(&body);
            return Ok((response, text.finish()));
        }
        let (mut response, mut arriving) = self.receive(request, most).await?;
        let mut text = Packer::default();
        while let Some(chunk) = self.next_chunk(&mut arriving).await? {
            match response.is_success() {
                true => text.push(&chunk),
                false => response.body.extend_from_slice(&chunk),
            }
        }
        self.note_answer(&response);
        Ok((response, text.finish()))
    }

    /// Sends it and waits for the head of the answer; the body follows in chunks.
    async fn receive(&self, request: reqwest::RequestBuilder, most: usize) -> Result<(Response, Arriving), Error> {
        let body = self.begin(request).await?;
        let (status, headers, url) = (body.status().as_u16(), body.headers().clone(), body.url().clone());
        let most = if is_reply(status, &headers) { most } else { most.min(PAGE_BYTES) };
        let announced = body.content_length().and_then(|length| usize::try_from(length).ok());
        if announced.is_some_and(|length| length > most) {
            return Err(self.too_large(most));
        }
        Ok((Response { status, headers, url, body: Vec::new() }, Arriving { body, most, left: most }))
    }

    async fn next_chunk(&self, arriving: &mut Arriving) -> Result<Option<hyper::body::Bytes>, Error> {
        let chunk = arriving.body.chunk().await.map_err(|error| self.transport(error))?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len());
        arriving.left = arriving.left.checked_sub(length).ok_or_else(|| self.too_large(arriving.most))?;
        Ok(chunk)
    }

    fn note_answer(&self, response: &Response) {
        if (200..400).contains(&response.status) {
            self.requests.note_answer();
        }
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

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().read_timeout(Duration::from_secs(60))
}

fn builder_for(base: &url::Url) -> reqwest::ClientBuilder {
    if base.scheme() == "http" { builder().tls_certs_only([]) } else { builder() }
}

/// True for a reply of an API; anything else is a page, or a few words.
fn is_reply(status: u16, headers: &reqwest::header::HeaderMap) -> bool {
    let kind = headers.get("content-type").map(reqwest::header::HeaderValue::as_bytes).unwrap_or_default();
    (200..300).contains(&status) && !kind.to_ascii_lowercase().starts_with(b"text/html")
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
