//! Access: tokens, sessions of the page, requests of foreign sites, and the headers that every answer has.
//!
//! Only keyed hashes of tokens are kept, and a comparison takes the same time for each token.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{self, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SecureRandom;
use ring::{hmac, rand};
use secrecy::{ExposeSecret, SecretString};

use super::error::ApiError;
use super::guesses::{Guesses, PER_GUESS, Sender, TokenCheck};
use super::seats::Seat;
use super::{Peer, State, sign_in};
use crate::config::{Config, Http};
use crate::files;
use crate::settings::Secret;

/// Name of the file with the token that counts without a configured one.
pub const TOKEN_FILE: &str = "http-token";

/// Name of the cookie that holds a session.
const COOKIE: &str = "bankfeed_session";

/// Tokens with fewer characters cause a warning.
const SHORTEST_TOKEN: usize = 16;

/// Lifetime of a sign-in.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions at once; one more ends the oldest.
const SESSIONS: usize = 32;

/// The address that the import token opens.
const CSV: &str = "/api/transactions.csv";

/// Addresses with long answers.
const LONG: [&str; 3] = [CSV, "/all-transactions", "/all-transactions/"];

/// The body of the answer to a missing or wrong token.
const UNAUTHORIZED: &str = "{\"error\":\"unauthorized: send the token as `Authorization: Bearer …`\"}\n";

/// The sender of a request that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program with the token.
    Token,
    /// A browser that signed in; its forms carry this text.
    Session {
        /// Proves that a form was made by this page.
        form_proof: String,
    },
}

/// Tokens and sessions.
pub(super) struct Access {
    key: hmac::Key,
    token: Token,
    import_token: Option<Token>,
    sessions: Mutex<HashMap<Vec<u8>, Session>>,
}

/// The hash of a token, and the wrong tokens that were sent.
struct Token {
    hash: hmac::Tag,
    guesses: Guesses,
}

struct Session {
    form_proof: String,
    began: Instant,
}

impl Access {
    /// Reads the tokens and keeps their hashes.
    pub(super) fn new(config: &Config, http: &Http, data_dir: &Path) -> io::Result<Access> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let reveal = |name: &'static str, secret: &Secret| {
            let unread = |error| io::Error::other(config.http_error(name, format!(": {error}; then restart")));
            let token = secret.reveal().map_err(unread)?;
            // The reading of the configuration has warned of a plain token.
            if token.expose_secret().len() < SHORTEST_TOKEN && !matches!(secret, Secret::Plain(_)) {
                let short = format!(" is short and could be guessed; use at least {SHORTEST_TOKEN} characters");
                tracing::warn!("{}", config.http_error(name, short));
            }
            Ok::<_, io::Error>(token)
        };
        let token = match &http.token {
            Some(secret) => reveal("token", secret)?,
            None => made_up(data_dir)?,
        };
        let import = http.import_token.as_ref().map(|secret| reveal("import_token", secret)).transpose()?;
        let kept = |token: &SecretString| {
            let hash = hmac::sign(&key, token.expose_secret().as_bytes());
            Token { hash, guesses: Guesses::default() }
        };
        Ok(Access { token: kept(&token), import_token: import.as_ref().map(kept), key, sessions: Mutex::default() })
    }

    /// Checks a token for the page and the API. The comparison takes the same time for each token.
    pub(super) async fn judge(&self, given: &[u8], from: Sender) -> TokenCheck {
        self.compare(given, &self.token, from).await
    }

    async fn compare(&self, given: &[u8], expected: &Token, from: Sender) -> TokenCheck {
        let is_right = || hmac::verify(&self.key, given, expected.hash.as_ref()).is_ok();
        expected.guesses.judge(from, is_right).await
    }

    /// True while a session lasts or a wrong token still counts.
    pub(super) fn remembers(&self) -> bool {
        lock(&self.sessions).values().any(|session| session.began.elapsed() < SESSION)
            || self.import_token.iter().chain([&self.token]).any(|token| token.guesses.are_remembered())
    }

    /// Begins a session and returns its secret for the cookie.
    pub(super) fn begin_session(&self) -> io::Result<String> {
        let (secret, form_proof) = (random_text()?, random_text()?);
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, session| session.began.elapsed() < SESSION);
        if sessions.len() >= SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.began).map(|(hash, _)| hash.clone())
        {
            sessions.remove(&oldest);
        }
        sessions.insert(self.session_hash(&secret), Session { form_proof, began: Instant::now() });
        Ok(secret)
    }

    /// Ends the session of this request.
    pub(super) fn end_session(&self, headers: &HeaderMap) {
        for secret in cookies(headers) {
            lock(&self.sessions).remove(&self.session_hash(secret));
        }
    }

    fn session(&self, headers: &HeaderMap) -> Option<Caller> {
        // Other programs on the same host may have set cookies of this name, so each cookie is looked up.
        cookies(headers).find_map(|secret| {
            let sessions = lock(&self.sessions);
            let session = sessions.get(&self.session_hash(secret))?;
            let form_proof = session.form_proof.clone();
            (session.began.elapsed() < SESSION).then_some(Caller::Session { form_proof })
        })
    }

    /// Sessions are looked up by hash, so that the time of a look-up tells nothing about the secret.
    fn session_hash(&self, secret: &str) -> Vec<u8> {
        hmac::sign(&self.key, secret.as_bytes()).as_ref().to_vec()
    }
}

/// The header that gives a session to a browser. After a sign-in over https the browser sends the cookie over https only.
pub(super) fn session_cookie(secret: &str, over_https: bool) -> String {
    let secure = if over_https { "; Secure" } else { "" };
    format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", SESSION.as_secs())
}

/// The header that ends the session in the browser.
pub(super) fn no_cookie() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Lets a request in, or answers it with a refusal.
pub(super) async fn guard(
    extract::State(state): extract::State<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == "/healthz" {
        return next.run(request).await;
    }
    let posted = request.method() == Method::POST;
    if posted && is_foreign(request.headers()) {
        return ApiError::foreign().into_response();
    }
    if path == "/sign-in" && posted {
        return next.run(request).await;
    }
    let (claim, from) = (claim(&state.access, &request), sender(&request));
    match recognise(&state.access, claim, from).await {
        Recognised::Caller(caller) => {
            let seat = request.extensions_mut().remove::<Arc<Seat>>();
            let serving = if LONG.contains(&request.uri().path()) {
                seat.iter().for_each(|seat| seat.read());
                None
            } else {
                seat.as_ref().map(Seat::serve)
            };
            request.extensions_mut().insert(caller);
            let answer = next.run(request).await;
            drop(serving);
            answer
        }
        Recognised::TooManyGuesses => too_many_guesses(),
        Recognised::Nobody if path == "/" => sign_in::form(&request),
        Recognised::Nobody => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, headers, UNAUTHORIZED).into_response()
        }
    }
}

/// The proof that a request carries.
enum Claim {
    Token(Vec<u8>),
    ImportToken(String),
    Session(Caller),
    Nothing,
}

enum Recognised {
    Caller(Caller),
    Nobody,
    TooManyGuesses,
}

fn claim(access: &Access, request: &Request) -> Claim {
    if let Some(given) = request.headers().get(header::AUTHORIZATION) {
        let given = given.as_bytes();
        let bearer = given.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")).map(|_| &given[7..]);
        return bearer.map_or(Claim::Nothing, |given| Claim::Token(given.trim_ascii().to_owned()));
    }
    if let Some(caller) = access.session(request.headers()) {
        return Claim::Session(caller);
    }
    // The import functions of spreadsheets send no header. Their token is in the address and opens the CSV only.
    if access.import_token.is_some()
        && request.uri().path() == CSV
        && let Some(given) = token_in(request.uri().query().unwrap_or_default())
    {
        return Claim::ImportToken(given);
    }
    Claim::Nothing
}

async fn recognise(access: &Access, claim: Claim, from: Sender) -> Recognised {
    let given = match (claim, &access.import_token) {
        (Claim::Session(caller), _) => return Recognised::Caller(caller),
        (Claim::Token(given), _) => access.judge(&given, from).await,
        (Claim::ImportToken(given), Some(expected)) => access.compare(given.as_bytes(), expected, from).await,
        (Claim::ImportToken(_), None) | (Claim::Nothing, _) => return Recognised::Nobody,
    };
    match given {
        TokenCheck::Right => Recognised::Caller(Caller::Token),
        TokenCheck::Wrong => Recognised::Nobody,
        TokenCheck::TooOften => Recognised::TooManyGuesses,
    }
}

fn token_in(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token").map(|(_, token)| token.into_owned())
}

/// The sender of a request; a request without a connection is from this machine.
pub(super) fn sender(request: &Request) -> Sender {
    let address = request.extensions().get::<Peer>().map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.0);
    let headers = request.headers();
    Sender { address, is_foreign: is_foreign(headers) || is_referred(headers) }
}

/// True if a page of another site links here, for browsers that send `Referer` and no `Sec-Fetch-Site`.
fn is_referred(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(referer), Some(host)) = (text(header::REFERER), text(header::HOST)) else { return false };
    let authority = referer.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    !headers.contains_key("sec-fetch-site") && !authority.eq_ignore_ascii_case(host)
}

/// True if the browser says that another site caused the request.
fn is_foreign(headers: &HeaderMap) -> bool {
    let foreign_fetch = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    // Browsers send `null` for this page too, because the page asks for no referrer; `null` proves nothing.
    let origin = headers.get(header::ORIGIN).filter(|origin| *origin != "null");
    foreign_fetch || origin.is_some_and(|_| !is_own_origin(headers))
}

fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// True if a POST of this caller was made on purpose: by a program with the token, by this page's form, or by a request
/// that the browser marks as same-origin.
pub(super) fn is_on_purpose(caller: &Caller, headers: &HeaderMap, proof: Option<&str>) -> bool {
    match caller {
        Caller::Token => true,
        Caller::Session { form_proof } => {
            let same_site = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
            proof == Some(form_proof) || same_site || is_own_origin(headers)
        }
    }
}

/// Adds the headers of every answer. A header that the answer has already stays.
pub(super) async fn add_headers(request: Request<Body>, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; script-src 'none'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let mut answer = next.run(request).await;
    for (name, value) in HEADERS {
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// The answer to an address that has sent too many wrong tokens.
fn too_many_guesses() -> Response {
    let refused = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again later");
    refused.for_now(PER_GUESS.as_secs()).into_response()
}

/// Random text for tokens, sessions and nonces.
pub(super) fn random_text() -> io::Result<String> {
    let mut bytes = [0_u8; 24];
    rand::SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(BASE64.encode(bytes))
}

/// The token in the data directory, made at the first start.
fn made_up(data_dir: &Path) -> io::Result<SecretString> {
    let path = data_dir.join(TOKEN_FILE);
    let wrong = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    match files::read_own(&path).and_then(io::read_to_string) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
        _ => {}
    }
    let token = random_text()?;
    files::write_private(&path, &format!("{token}\n")).map_err(wrong)?;
    Ok(token.into())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| (name == COOKIE && !value.is_empty()).then_some(value))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_origin_is_told_from_the_own_one() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let host = ("host", "192.0.2.1:8350");
        for (pairs, foreign) in [
            (vec![host], false),
            (vec![host, ("origin", "http://192.0.2.1:8350")], false),
            (vec![host, ("origin", "http://192.0.2.1")], true),
            (vec![host, ("origin", "https://evil.example")], true),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("origin", "null"), ("sec-fetch-site", "cross-site")], true),
            (vec![host, ("origin", "null"), ("sec-fetch-site", "same-origin")], false),
        ] {
            let headers: HeaderMap = headers(&pairs);
            assert_eq!(is_foreign(&headers), foreign, "{pairs:?}");
        }
        for (pairs, referred) in [
            (vec![host], false),
            (vec![host, ("referer", "http://192.0.2.1:8350/?lang=bg")], false),
            (vec![host, ("referer", "https://evil.example/192.0.2.1:8350")], true),
            (vec![host, ("referer", "https://evil.example/"), ("sec-fetch-site", "none")], false),
        ] {
            let headers: HeaderMap = headers(&pairs);
            assert_eq!(is_referred(&headers), referred, "{pairs:?}");
        }
        let session = Caller::Session { form_proof: "proof".into() };
        let null: HeaderMap = headers(&[host, ("origin", "null")]);
        assert!(!is_on_purpose(&session, &null, None) && !is_on_purpose(&session, &null, Some("wrong")));
        assert!(is_on_purpose(&session, &null, Some("proof")));
        assert!(is_on_purpose(&session, &headers(&[host, ("origin", "http://192.0.2.1:8350")]), None));
    }
}
