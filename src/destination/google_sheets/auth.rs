//! Signing in as a service account.
//!
//! The API client asks [`Tokens`] before each call. The cache holds one token at a time, only one caller at a time fetches
//! a new token, each request to the token endpoint is counted, and "no token" is never handed out: the library underneath
//! would remember an answer without a token as valid for ever.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use google_sheets4::common::GetToken;
use yup_oauth2::authenticator::Authenticator;
use yup_oauth2::error::AuthErrorCode;
use yup_oauth2::{CustomHyperClientBuilder, ServiceAccountAuthenticator, ServiceAccountKey};

use super::connection::{Connector, Meter};
use super::errors::{ApiError, MessageContext, closed};
use super::key_text;
use super::oauth::{SCOPE, TOKEN_BYTES, User, is_loopback};
use crate::remote::{Cause, Counter, Error};
use crate::settings::pem;

/// The time before its end from which on a token counts as used up.
const EARLY: Duration = Duration::from_secs(60);
/// The time that the token endpoint may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads the text of a key file. The error says what is wrong and shows no part of the file.
pub(super) fn read_key(names: &MessageContext, text: &str) -> Result<ServiceAccountKey, Error> {
    let wrong = |what: &str| {
        let remedy = "create a JSON key for the service account in the Google Cloud console and configure that file";
        Error::attention(Cause::Token, names.say(format!("`service_account` {what}: {remedy}")))
    };
    let mut json = key_text::json(text).ok_or_else(|| wrong("is not JSON"))?;
    match json["type"].as_str() {
        None | Some("service_account") => {}
        Some("authorized_user") => return Err(wrong("is a user's credential")),
        Some(_) => return Err(wrong("is another kind of credential")),
    }
    if json.get("installed").is_some() || json.get("web").is_some() {
        return Err(wrong("is an OAuth client's secret"));
    }
    if let Some(key) = json["private_key"].as_str() {
        let whole = pem::read(key).map(|key| key.to_text());
        json["private_key"] =
            whole.ok_or_else(|| wrong("holds a private_key that was damaged on its way here"))?.into();
    }
    let key: ServiceAccountKey =
        serde_json::from_value(json).map_err(|_| wrong("lacks private_key, client_email or token_uri"))?;
    let uri = url::Url::parse(&key.token_uri).map_err(|_| wrong("has no usable token_uri"))?;
    // A signed statement of identity leaves for this address: never in the clear, except to a simulator.
    if uri.scheme() != "https" && !(uri.scheme() == "http" && is_loopback(&uri)) {
        return Err(wrong("has a token_uri that is not https"));
    }
    Ok(key)
}

/// A token and when it ends.
struct Held {
    token: String,
    until: SystemTime,
    fetched: SystemTime,
}

struct Inner {
    authenticator: OnceLock<Authenticator<Connector>>,
    /// The owner, where no service account writes.
    user: Option<User>,
    held: tokio::sync::Mutex<Option<Held>>,
    names: MessageContext,
    requests: Counter,
    meter: Meter,
}

/// Hands out access tokens.
#[derive(Clone)]
pub(super) struct Tokens(Arc<Inner>);

impl Tokens {
    /// Makes ready to sign in with this key; nothing is sent.
    pub async fn new(
        names: &MessageContext,
        key: ServiceAccountKey,
        connector: Connector,
        meter: Meter,
        requests: Counter,
    ) -> Result<Tokens, Error> {
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        let building = ServiceAccountAuthenticator::with_client(key, CustomHyperClientBuilder::from(client)).build();
        let authenticator = building.await.map_err(|_| {
            let what = "`service_account` holds a private key that cannot be read: download a new JSON key";
            Error::attention(Cause::Token, names.say(what))
        })?;
        let held = tokio::sync::Mutex::new(None);
        let (authenticator, names) = (authenticator.into(), names.clone());
        Ok(Tokens(Arc::new(Inner { authenticator, user: None, held, names, requests, meter })))
    }

    /// Makes ready to use the owner's own sign-in.
    pub fn of_user(names: &MessageContext, user: User, requests: Counter) -> Tokens {
        let (held, names, meter) = (tokio::sync::Mutex::new(None), names.clone(), Meter::default());
        Tokens(Arc::new(Inner { authenticator: OnceLock::new(), user: Some(user), held, names, requests, meter }))
    }

    /// The present token, or a new one.
    pub async fn token(&self) -> Result<String, Error> {
        // The lock is held while fetching: two callers would otherwise fetch two tokens.
        let mut held = self.0.held.lock().await;
        let now = SystemTime::now();
        if let Some(good) = held.as_ref().filter(|held| now + EARLY < held.until && held.fetched <= now) {
            return Ok(good.token.clone());
        }
        *held = None;
        let fresh = self.fetch().await?;
        let token = fresh.token.clone();
        *held = Some(fresh);
        Ok(token)
    }

    /// Forgets a token that was refused. True where the token had been good for a while, so that a new one may do better.
    pub async fn forget(&self) -> bool {
        let old = self.0.held.lock().await.take();
        let age = old.and_then(|held| held.fetched.elapsed().ok());
        age.is_some_and(|age| age > EARLY)
    }

    async fn fetch(&self) -> Result<Held, Error> {
        let names = &self.0.names;
        if let Some(user) = &self.0.user {
            let (token, lasts) = user.fetch(names, self.0.requests.clone()).await?;
            let fetched = SystemTime::now();
            return Ok(Held { token, until: fetched + lasts, fetched });
        }
        let Some(authenticator) = self.0.authenticator.get() else {
            return Err(Error::malformed(names.say("the sign-in is not set up")));
        };
        self.0.requests.add();
        let scopes = [SCOPE];
        // Forced: the library's own cache may hold the answer without a token.
        let asking = authenticator.force_refreshed_token(&scopes);
        let before = self.0.meter.allow(TOKEN_BYTES);
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        let excess = self.0.meter.excess();
        self.0.meter.allow(before);
        if let Some(excess) = excess {
            return Err(Error::unavailable(names.say(format!("the sign-in fails: {excess}; try again later"))));
        }
        let answer = answer
            .map_err(|_| Error::unavailable(names.say("the sign-in gets no answer in time")))?
            .map_err(|error| refusal(names, &error))?;
        let Some(token) = answer.token().filter(|token| !token.is_empty()) else {
            return Err(Error::unavailable(names.say("the sign-in was answered without a token")));
        };
        let fetched = SystemTime::now();
        let until = answer.expiration_time().map_or(fetched + Duration::from_secs(300), SystemTime::from);
        Ok(Held { token: token.to_owned(), until, fetched })
    }
}

impl GetToken for Tokens {
    fn get_token<'a>(
        &'a self,
        _scopes: &'a [&str],
    ) -> Pin<Box<dyn Future<Output = Result<Option<String>, Box<dyn std::error::Error + Send + Sync>>> + Send + 'a>>
    {
        Box::pin(async move { Ok(Some(self.token().await?)) })
    }
}

/// The error of a failed sign-in.
fn refusal(names: &MessageContext, error: &yup_oauth2::Error) -> Error {
    let yup_oauth2::Error::AuthError(refused) = error else {
        // Connections that fail, pages that are no JSON: nothing the owner has to do about the key.
        let what = match error {
            yup_oauth2::Error::JSONError(_) => "the sign-in was answered with something else than a token".to_owned(),
            other => format!("the sign-in does not get through: {}", crate::remote::root_cause(other)),
        };
        return Error::unavailable(names.say(what));
    };
    let words = ApiError::coded(refused.error_description.as_deref().unwrap_or_default(), refused.error.as_str());
    let (said, account) = (words.quote(), &names.account);
    match &refused.error {
        // No new key would help against what an organisation has decided.
        _ if words.is_decided_above() => closed(names, &format!("the sign-in as {account} is refused"), &words),
        AuthErrorCode::InvalidGrant if said.contains("short-lived token") || said.contains("iat and exp") => {
            Error::attention(
                Cause::Machine,
                names.say("the sign-in is refused because this machine's clock is wrong: set it, best by NTP"),
            )
        }
        AuthErrorCode::InvalidGrant | AuthErrorCode::InvalidClient | AuthErrorCode::UnauthorizedClient => {
            let remedy = "the key was deleted, or is not this account's: create a new JSON key and configure it";
            Error::attention(Cause::Token, names.say(format!("the sign-in as {account} is refused ({said}); {remedy}")))
        }
        AuthErrorCode::Other(code)
            if ["server_error", "temporarily_unavailable", "internal_failure"].contains(&code.as_str()) =>
        {
            Error::unavailable(names.say(format!("the sign-in does not get through: {said}")))
        }
        AuthErrorCode::Other(code) if code == "rate_limit_exceeded" => {
            Error::throttled(None, names.say(format!("too many sign-ins: {said}")))
        }
        _ => Error::attention(Cause::Token, names.say(format!("the sign-in as {account} is refused: {said}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> MessageContext {
        MessageContext {
            destination: "household".into(),
            spreadsheet: "1AbC".into(),
            account: "bot@p.iam.example".into(),
        }
    }

    #[test]
    fn a_bad_key_is_told_without_showing_it() {
        for (text, expected) in [
            ("-----BEGIN hunter2", "is not JSON"),
            (r#"{"type":"authorized_user","client_secret":"hunter2"}"#, "user's credential"),
            (r#"{"installed":{"client_secret":"hunter2"}}"#, "OAuth client"),
            (r#"{"type":"service_account","private_key":"hunter2"}"#, "damaged"),
            (r#"{"type":"service_account","client_email":"a@b"}"#, "lacks"),
            (
                r#"{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----hunter2-----END PRIVATE KEY-----","client_email":"a@b","token_uri":"http://token.example/"}"#,
                "not https",
            ),
        ] {
            let error = read_key(&names(), text).unwrap_err();
            assert_eq!(error.cause(), Some(Cause::Token));
            assert!(error.message.contains(expected), "{error}");
            assert!(!error.message.contains("hunter2"));
        }
    }

    #[test]
    fn loopback_may_do_without_tls() {
        for (address, expected) in [
            ("http://127.0.0.1:80/token", true),
            ("http://[::1]/token", true),
            ("http://localhost/token", true),
            ("http://localhost.example/token", false),
        ] {
            assert_eq!(is_loopback(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn refusals_name_clock_and_key() {
        let refused = |text: &str| {
            let error = yup_oauth2::error::AuthError {
                error: AuthErrorCode::InvalidGrant,
                error_description: Some(text.into()),
                error_uri: None,
            };
            refusal(&names(), &yup_oauth2::Error::AuthError(error))
        };
        let clock = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
        assert_eq!(refused(clock).cause(), Some(Cause::Machine));
        let key = refused("Invalid JWT Signature.");
        assert_eq!(key.cause(), Some(Cause::Token));
        assert!(key.message.contains("bot@p.iam.example") && key.message.contains("new JSON key"), "{key}");
    }
}
