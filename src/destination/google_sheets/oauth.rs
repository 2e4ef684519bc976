//! Signing in as the owner instead of as a service account: OAuth 2 for installed programs, done by hand.
//!
//! A browser is needed once, in [`Login`]: a loopback listener, a state of our own and PKCE, so that a code that somebody
//! else gets hold of, or slips us, is worth nothing. A refresh token remains, in a file of mode 0600 ([`Session`]).
//! From then on [`User`] fetches access tokens; when Google has ended the sign-in that is the owner's affair, and nothing
//! here ever waits for a browser.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SecureRandom;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::errors::{ApiError, MessageContext, closed};
use super::key_text;
use crate::files::write_private;
use crate::remote::{Cause, Client, Counter, Error, Response};

/// The one scope that is ever asked for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets";

/// Most that is read of the token endpoint's answer.
pub(super) const TOKEN_BYTES: usize = 1 << 20;

/// The time that a request to Google's sign-in may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time that a connected browser may take for its request.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Longest request line and headers of a browser.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// The program as Google knows it: what the console lets one download.
pub struct OAuthClient {
    id: String,
    secret: SecretString,
    auth_uri: Url,
    token_uri: Url,
}

#[derive(Deserialize)]
struct Downloaded {
    #[serde(alias = "web")]
    installed: Registered,
}

#[derive(Deserialize)]
struct Registered {
    client_id: String,
    client_secret: String,
    auth_uri: Option<String>,
    token_uri: Option<String>,
}

impl OAuthClient {
    /// Reads the client's JSON. The error says what is wrong and shows no part of the text.
    pub fn read(text: &str) -> Result<OAuthClient, String> {
        let remedy = "download the JSON of an OAuth client of type desktop app in the Google Cloud console";
        let read: Option<Downloaded> = key_text::json(text).and_then(|json| serde_json::from_value(json).ok());
        let read = read.ok_or_else(|| format!("`oauth`: client is not the JSON of an OAuth client: {remedy}"))?;
        let read = read.installed;
        let address = |given: Option<String>, usual: &str| {
            let url = Url::parse(given.as_deref().unwrap_or(usual)).ok();
            // Secrets leave for these addresses: never in the clear, except to a simulator.
            let safe = url.filter(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url));
            safe.ok_or_else(|| format!("`oauth`: client has an address that is not https: {remedy}"))
        };
        Ok(OAuthClient {
            id: read.client_id,
            secret: SecretString::from(read.client_secret),
            auth_uri: address(read.auth_uri, "https://accounts.google.com/o/oauth2/v2/auth")?,
            token_uri: address(read.token_uri, "https://oauth2.googleapis.com/token")?,
        })
    }

    async fn ask(&self, requests: Counter, form: &[(&str, &str)]) -> Result<Response, Error> {
        let client = Client::at(&self.token_uri, "google", requests, false, PATIENCE)?;
        let own = [("client_id", self.id.as_str()), ("client_secret", self.secret.expose_secret())];
        let form: Vec<_> = own.iter().chain(form).collect();
        let request = client.request(reqwest::Method::POST, self.token_uri.clone()).form(&form);
        client.send_up_to(request, TOKEN_BYTES).await
    }
}

/// The answer of the token endpoint.
#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

/// A sign-in that lasts, as it lies on disk.
#[derive(Serialize, Deserialize)]
pub struct Session {
    /// The client it belongs to: another one cannot use it.
    client_id: String,
    refresh_token: String,
}

impl Session {
    /// As text, to be handed to the owner of the data directory.
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Keeps a session on disk, whole or not at all.
pub fn keep(path: &Path, session: &str) -> std::io::Result<()> {
    serde_json::from_str::<Session>(session).map_err(|_| std::io::Error::other("this is no session"))?;
    write_private(path, session)
}

/// Fetches access tokens for the owner.
pub(super) struct User {
    client: OAuthClient,
    session: PathBuf,
}

impl User {
    /// Prepares; nothing is read or sent.
    pub fn new(names: &MessageContext, client: &str, session: &Path) -> Result<User, Error> {
        let client = OAuthClient::read(client).map_err(|why| Error::attention(Cause::Token, names.say(why)))?;
        Ok(User { client, session: session.to_owned() })
    }

    /// A fresh access token, and how long it lasts.
    pub async fn fetch(&self, names: &MessageContext, requests: Counter) -> Result<(String, Duration), Error> {
        let again = format!("run `bankfeed login {}`", names.destination);
        let ended = |why: &str| Error::attention(Cause::Token, names.say(format!("{why}: {again}")));
        let text = match std::fs::read_to_string(&self.session) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ended("nobody has signed in yet"));
            }
            Err(error) => return Err(ended(&format!("the sign-in cannot be read ({error})"))),
        };
        let session: Session = serde_json::from_str(&text).map_err(|_| ended("the sign-in on disk is damaged"))?;
        if session.client_id != self.client.id {
            return Err(ended("the sign-in belongs to another OAuth client"));
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", session.refresh_token.as_str())];
        let answer = self
            .client
            .ask(requests, &form)
            .await
            .map_err(|error| Error { message: names.say(&error.message), ..error })?;
        if answer.status != 200 {
            return Err(refusal(names, &answer, &again));
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|_| Error::unavailable(names.say("the sign-in was answered with something else than a token")))?;
        if let Some(renewed) = granted.refresh_token {
            let session = Session { refresh_token: renewed, ..session };
            keep(&self.session, &session.to_text()).map_err(|error| {
                Error::attention(Cause::Machine, names.say(format!("the renewed sign-in cannot be kept: {error}")))
            })?;
        }
        // An answer without a token is no token: nothing is remembered of it.
        let token = granted.access_token.filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Error::unavailable(names.say("the sign-in was answered without a token")))?;
        Ok((token, Duration::from_secs(granted.expires_in.unwrap_or(300))))
    }
}

/// An OAuth error: its words and its code; both are empty where there is none.
fn said(answer: &Response) -> (ApiError, String) {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (ApiError::coded(&text("error_description"), &text("error")), text("error"))
}

fn refusal(names: &MessageContext, answer: &Response, again: &str) -> Error {
    let (words, code) = said(answer);
    match (code.as_str(), answer.status) {
        // Signing in once more would not help against what an organisation has decided.
        (_, ..500) if words.is_decided_above() => closed(names, "the sign-in is refused", &words),
        ("invalid_grant", _) => {
            let why = "Google has ended the sign-in (withdrawn, unused for long, or the project is still in testing)";
            Error::attention(Cause::Token, names.say(format!("{why}: {again}")))
        }
        ("invalid_client" | "unauthorized_client", _) => {
            let remedy = "download its JSON again, configure it, and sign in anew";
            Error::attention(Cause::Token, names.say(format!("Google does not know the OAuth client: {remedy}")))
        }
        (_, 429) => Error::throttled(answer.retry_after(), names.say("too many sign-ins")),
        (_, 500..) => Error::unavailable(names.say(format!("the sign-in is answered with status {}", answer.status))),
        (_, status) => {
            let quote = words.quote();
            let quote = if quote.is_empty() { quote } else { format!(", {quote}") };
            Error::attention(
                Cause::Token,
                names.say(format!("the sign-in is refused (status {status}{quote}): {again}")),
            )
        }
    }
}

/// A sign-in under way: an address to be opened in a browser, and a listener the browser comes back to.
pub struct Login {
    client: OAuthClient,
    listener: TcpListener,
    redirect: String,
    state: String,
    verifier: String,
}

impl Login {
    /// Opens the listener on this machine only.
    pub async fn begin(client: OAuthClient) -> std::io::Result<Login> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let redirect = format!("http://{}", listener.local_addr()?);
        Ok(Login { client, listener, redirect, state: random()?, verifier: random()? })
    }

    /// The port the browser comes back to.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().map_or(0, |address| address.port())
    }

    /// The address to open in a browser.
    pub fn address(&self) -> String {
        let challenge = BASE64.encode(ring::digest::digest(&ring::digest::SHA256, self.verifier.as_bytes()));
        let mut url = self.client.auth_uri.clone();
        url.query_pairs_mut()
            .append_pair("client_id", &self.client.id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("response_type", "code")
            .append_pair("scope", SCOPE)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .append_pair("state", &self.state)
            // A refresh token comes only when asked for, and again only with a new consent.
            .append_pair("access_type", "offline")
            .append_pair("prompt", "consent");
        url.into()
    }

    /// Waits for the browser and turns what it brings into a session.
    pub async fn finish(self) -> Result<Session, String> {
        let code = loop {
            let (stream, _) = self.listener.accept().await.map_err(|error| error.to_string())?;
            if let Some(came) = self.receive(stream).await {
                break came?;
            }
        };
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &self.redirect),
            ("code_verifier", &self.verifier),
        ];
        let answer = self.client.ask(Counter::default(), &form).await.map_err(|error| error.message)?;
        if answer.status != 200 {
            return Err(format!(
                "Google does not take the browser's answer (status {}, {})",
                answer.status,
                said(&answer).1
            ));
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| "Google's answer cannot be read")?;
        let token = granted.refresh_token.ok_or("Google gave no lasting sign-in")?;
        Ok(Session { client_id: self.client.id, refresh_token: token })
    }

    /// Answers a request of a browser. `None`: the request does not belong to this sign-in. A browser that sends another
    /// state is not ours.
    async fn receive(&self, mut stream: TcpStream) -> Option<Result<String, String>> {
        let line = tokio::time::timeout(REQUEST_PATIENCE, request_line(&mut stream)).await.ok()??;
        let target = line.split(' ').nth(1)?;
        let url = Url::parse(&self.redirect).ok()?.join(target).ok()?;
        let value = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let ours = value("state").is_some_and(|state| {
            let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
            digest(&state).as_ref() == digest(&self.state).as_ref()
        });
        let (status, words, came) = match (ours, value("code"), value("error")) {
            (true, Some(code), _) => ("200 OK", "Signed in. You may close this page.", Some(Ok(code))),
            (true, None, Some(_)) => (
                "200 OK",
                "Not signed in. You may close this page.",
                Some(Err("access was refused in the browser".to_owned())),
            ),
            _ => ("404 Not Found", "This is not the sign-in that bankfeed waits for.", None),
        };
        let page = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\nreferrer-policy: no-referrer\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{words}",
            words.len()
        );
        // A browser that has hung up makes no difference.
        let _ = stream.write_all(page.as_bytes()).await;
        came
    }
}

/// Tells an address on this machine from others.
pub(super) fn is_loopback(address: &url::Url) -> bool {
    match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

async fn request_line(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 2048];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        if bytes.len() > MAX_REQUEST_BYTES {
            return None;
        }
    }
    String::from_utf8_lossy(&bytes).lines().next().map(str::to_owned)
}

/// 256 random bits in 43 characters.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| std::io::Error::other("this machine gives no random numbers"))?;
    Ok(BASE64.encode(bytes))
}
