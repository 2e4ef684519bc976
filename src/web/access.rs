//! Who may see what: tokens, sessions of the page, foreign sites kept out, guessing slowed down, and the headers that
//! every answer has.
//!
//! Tokens are never kept: only their keyed hashes are, and a comparison takes the same time whatever was given.

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

use super::refused::Refused;
use super::{Peer, State, sign_in};
use crate::config::{Config, Http, Secret};
use crate::files;

/// Name of the file with the token that was made up for want of a configured one.
pub const TOKEN_FILE: &str = "http-token";

/// Name of the cookie that holds a session.
const COOKIE: &str = "bankfeed_session";

/// A token with fewer characters is warned of.
const SHORTEST_TOKEN: usize = 16;

/// How long a sign-in lasts.
const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions at once; one more ends the oldest.
const SESSIONS: usize = 32;

/// Wrong tokens an address may send at once; after that one every [`PER_GUESS`].
const GUESSES: u32 = 20;
const PER_GUESS: Duration = Duration::from_secs(3);

/// Addresses whose wrong tokens are counted; one more forgets the one that has been quiet longest.
const GUESSERS: usize = 256;

/// The answer's body where a token is missing or wrong: always the same.
const UNAUTHORIZED: &str = "{\"error\":\"unauthorized: send the token as `Authorization: Bearer …`\"}\n";

/// What a request proved to be.
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

/// Tokens, sessions and guesses.
pub(super) struct Access {
    key: hmac::Key,
    token: hmac::Tag,
    import_token: Option<hmac::Tag>,
    sessions: Mutex<HashMap<Vec<u8>, Session>>,
    guesses: Mutex<Guesses>,
}

struct Session {
    form_proof: String,
    began: Instant,
}

impl Access {
    /// Reads the tokens and forgets all of them but their hashes.
    pub(super) fn new(config: &Config, http: &Http, data_dir: &Path) -> io::Result<Access> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let reveal = |name: &'static str, secret: &Secret| {
            let unread = |error| io::Error::other(config.http_error(name, format!(": {error}; then restart")));
            let token = secret.reveal().map_err(unread)?;
            // A plain one was warned of when the configuration was read.
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
        let hash = |token: &SecretString| hmac::sign(&key, token.expose_secret().as_bytes());
        Ok(Access {
            token: hash(&token),
            import_token: import.as_ref().map(hash),
            key,
            sessions: Mutex::default(),
            guesses: Mutex::default(),
        })
    }

    /// Whether this is the token; always takes the same time. `None`: too many wrong ones came from that address.
    pub(super) fn is_token(&self, given: &[u8], peer: IpAddr) -> Option<bool> {
        self.compare(given, &self.token, peer)
    }

    fn compare(&self, given: &[u8], expected: &hmac::Tag, peer: IpAddr) -> Option<bool> {
        let now = Instant::now();
        if !lock(&self.guesses).may_try(peer, now) {
            return None;
        }
        let right = hmac::verify(&self.key, given, expected.as_ref()).is_ok();
        if !right {
            lock(&self.guesses).was_wrong(peer, now);
        }
        Some(right)
    }

    /// Whether a session lasts or a guess still counts.
    pub(super) fn remembers(&self) -> bool {
        let now = Instant::now();
        let guesses = lock(&self.guesses);
        lock(&self.sessions).values().any(|session| session.began.elapsed() < SESSION)
            || guesses.0.keys().any(|peer| guesses.level(*peer, now) > 0)
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
        // Another program on the same host may have set a cookie of the same name: any that fits will do.
        cookies(headers).find_map(|secret| {
            let sessions = lock(&self.sessions);
            let session = sessions.get(&self.session_hash(secret))?;
            let form_proof = session.form_proof.clone();
            (session.began.elapsed() < SESSION).then_some(Caller::Session { form_proof })
        })
    }

    /// Looked up by hash, so that the time a look-up takes says nothing of the secret.
    fn session_hash(&self, secret: &str) -> Vec<u8> {
        hmac::sign(&self.key, secret.as_bytes()).as_ref().to_vec()
    }
}

/// The header that gives a session to a browser. Over https the browser never sends it over anything less.
pub(super) fn session_cookie(secret: &str, over_https: bool) -> String {
    let secure = if over_https { "; Secure" } else { "" };
    format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", SESSION.as_secs())
}

/// The header that takes it away.
pub(super) fn no_cookie() -> String {
    format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Lets a request in, or answers it.
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
        return Refused::foreign().into_response();
    }
    if path == "/sign-in" && posted {
        return next.run(request).await;
    }
    match recognise(&state.access, &request) {
        Recognised::Caller(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Recognised::TooManyGuesses => too_many_guesses(),
        Recognised::Nobody if path == "/" => sign_in::form(&request),
        Recognised::Nobody => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, headers, UNAUTHORIZED).into_response()
        }
    }
}

enum Recognised {
    Caller(Caller),
    Nobody,
    TooManyGuesses,
}

fn recognise(access: &Access, request: &Request) -> Recognised {
    let peer = peer(request);
    let verdict = |known: Option<bool>| match known {
        Some(true) => Recognised::Caller(Caller::Token),
        Some(false) => Recognised::Nobody,
        None => Recognised::TooManyGuesses,
    };
    if let Some(given) = request.headers().get(header::AUTHORIZATION) {
        let given = given.as_bytes();
        let bearer = given.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case(b"bearer ")).map(|_| &given[7..]);
        return bearer.map_or(Recognised::Nobody, |given| verdict(access.is_token(given.trim_ascii(), peer)));
    }
    if let Some(caller) = access.session(request.headers()) {
        return Recognised::Caller(caller);
    }
    // Spreadsheets' import functions can send no header; what they may read is the CSV and nothing else.
    if let Some(expected) = &access.import_token
        && request.uri().path() == "/api/transactions.csv"
        && let Some(given) = token_in(request.uri().query().unwrap_or_default())
    {
        return verdict(access.compare(given.as_bytes(), expected, peer));
    }
    Recognised::Nobody
}

fn token_in(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "token").map(|(_, token)| token.into_owned())
}

/// Where a request came from; in process there is nobody but this machine.
pub(super) fn peer(request: &Request) -> IpAddr {
    request.extensions().get::<Peer>().map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.0)
}

/// Whether a browser says that another site made it send this.
fn is_foreign(headers: &HeaderMap) -> bool {
    let foreign_fetch = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    // `null` is what browsers send for this page too, because it asks for no referrer; it proves nothing either way.
    let origin = headers.get(header::ORIGIN).filter(|origin| *origin != "null");
    foreign_fetch || origin.is_some_and(|_| !is_own_origin(headers))
}

fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// Whether a POST of this caller was made on purpose: by a program with the token, by this page's form, or by a request
/// that the browser itself calls its own.
pub(super) fn is_on_purpose(caller: &Caller, headers: &HeaderMap, proof: Option<&str>) -> bool {
    match caller {
        Caller::Token => true,
        Caller::Session { form_proof } => {
            let same_site = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
            proof == Some(form_proof) || same_site || is_own_origin(headers)
        }
    }
}

/// The headers of every answer. Those that an answer brought with it stay.
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

/// The answer to an address that guesses.
fn too_many_guesses() -> Response {
    let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again later");
    refused.for_now(PER_GUESS.as_secs()).into_response()
}

/// Random text that fits anywhere.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wrong tokens by address, each a bucket that drains one guess every [`PER_GUESS`].
#[derive(Default)]
struct Guesses(HashMap<IpAddr, (u32, Instant)>);

impl Guesses {
    fn may_try(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.level(peer, now) < GUESSES
    }

    fn was_wrong(&mut self, peer: IpAddr, now: Instant) {
        let level = self.level(peer, now) + 1;
        if self.0.len() >= GUESSERS
            && let Some(quiet) = self.0.iter().min_by_key(|(_, (_, last))| *last).map(|(peer, _)| *peer)
        {
            self.0.remove(&quiet);
        }
        self.0.insert(network(peer), (level, now));
    }

    fn level(&self, peer: IpAddr, now: Instant) -> u32 {
        let Some((level, last)) = self.0.get(&network(peer)) else { return 0 };
        let drained = now.saturating_duration_since(*last).as_secs() / PER_GUESS.as_secs();
        level.saturating_sub(u32::try_from(drained).unwrap_or(u32::MAX))
    }
}

/// Who has one address of IPv6 usually has 2^64 of them.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_slows_down_and_recovers() {
        let mut guesses = Guesses::default();
        let (start, peer) = (Instant::now(), IpAddr::from([192, 0, 2, 7]));
        for _ in 0..GUESSES {
            assert!(guesses.may_try(peer, start));
            guesses.was_wrong(peer, start);
        }
        assert!(!guesses.may_try(peer, start));
        assert!(guesses.may_try(IpAddr::from([192, 0, 2, 8]), start), "others are not punished");
        assert!(guesses.may_try(peer, start + PER_GUESS));
        guesses.was_wrong(peer, start + PER_GUESS);
        assert!(!guesses.may_try(peer, start + PER_GUESS));
        assert!(guesses.may_try(peer, start + PER_GUESS * 100));
    }

    #[test]
    fn neighbours_in_one_network_of_ipv6_count_as_one_and_the_table_is_bounded() {
        let mut guesses = Guesses::default();
        let now = Instant::now();
        for host in 0..GUESSES {
            guesses.was_wrong(IpAddr::from(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(host))), now);
        }
        assert!(!guesses.may_try("2001:db8::ffff".parse().unwrap(), now));
        for host in 0..2_000_u32 {
            guesses.was_wrong(IpAddr::from(std::net::Ipv4Addr::from_bits(host)), now);
        }
        assert!(guesses.0.len() <= GUESSERS);
    }

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
        let session = Caller::Session { form_proof: "proof".into() };
        let null: HeaderMap = headers(&[host, ("origin", "null")]);
        assert!(!is_on_purpose(&session, &null, None) && !is_on_purpose(&session, &null, Some("wrong")));
        assert!(is_on_purpose(&session, &null, Some("proof")));
        assert!(is_on_purpose(&session, &headers(&[host, ("origin", "http://192.0.2.1:8350")]), None));
    }
}
