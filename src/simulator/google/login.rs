//! Signing in as a person: the authorization endpoint, where this one always consents, and the two grants that follow.
//!
//! Strict where a mistake would cost security: the redirect must lead to this machine, PKCE with S256 is demanded and
//! checked, a code serves once and only with the redirect it was made for. The texts of refusals are guesses but for
//! the documented codes.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use url::{Host, Url};

use super::token::Refused;

/// The OAuth client that is registered.
pub(super) const CLIENT: &str = "simulated-client.apps.googleusercontent.com";
/// The client's secret.
pub(super) const SECRET: &str = "GOCSPX-simulated";

/// Sign-ins of people.
#[derive(Default)]
pub(super) struct Logins {
    codes: HashMap<String, Pending>,
    /// Refresh tokens that are good.
    pub good: HashSet<String>,
    made: u64,
}

struct Pending {
    redirect: String,
    challenge: String,
    offline: bool,
}

impl Logins {
    /// The redirect of the browser after the person has consented; the page's text if the request is no good.
    pub fn authorize(&mut self, query: &str) -> Result<String, String> {
        let value = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, v)| v.into_owned())
        };
        let demand = |name: &str, wanted: &str| match value(name) {
            Some(given) if given == wanted => Ok(()),
            given => Err(format!("Error 400: invalid_request: {name}={given:?}")),
        };
        demand("client_id", CLIENT)?;
        demand("response_type", "code")?;
        demand("code_challenge_method", "S256")?;
        demand("scope", "https://www.googleapis.com/auth/spreadsheets")?;
        let redirect = value("redirect_uri").unwrap_or_default();
        let mut url = Url::parse(&redirect).map_err(|_| "Error 400: redirect_uri_mismatch")?;
        let loopback = url.host() == Some(Host::Ipv4(std::net::Ipv4Addr::LOCALHOST));
        if url.scheme() != "http" || !loopback {
            return Err("Error 400: redirect_uri_mismatch".into());
        }
        let challenge =
            value("code_challenge").filter(|challenge| challenge.len() == 43).ok_or("Error 400: code_challenge")?;
        let state = value("state").filter(|state| state.len() >= 16).ok_or("Error 400: a client without a state")?;
        self.made += 1;
        let code = format!("4/simulated-{:06}", self.made);
        let offline = value("access_type").as_deref() == Some("offline");
        self.codes.insert(code.clone(), Pending { redirect, challenge, offline });
        url.query_pairs_mut().append_pair("state", &state).append_pair("code", &code);
        Ok(url.into())
    }

    /// Answers a form that asks for a token in a person's name, with a refresh token if there is a new one; `None` for
    /// any other form.
    pub fn grant(&mut self, form: &str) -> Option<Result<Option<String>, Refused>> {
        let value = |name: &str| {
            url::form_urlencoded::parse(form.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, v)| v.into_owned())
                .unwrap_or_default()
        };
        let kind = value("grant_type");
        if !["authorization_code", "refresh_token"].contains(&kind.as_str()) {
            return None;
        }
        if value("client_id") != CLIENT || value("client_secret") != SECRET {
            return Some(Err(Refused("invalid_client", "The OAuth client was not found.".to_owned())));
        }
        let invalid = |text: &str| Some(Err(Refused("invalid_grant", text.to_owned())));
        if kind == "refresh_token" {
            return if self.good.contains(&value("refresh_token")) {
                Some(Ok(None))
            } else {
                invalid("Token has been expired or revoked.")
            };
        }
        // The attempt uses the code up, with any result.
        let Some(pending) = self.codes.remove(&value("code")) else { return invalid("Malformed auth code.") };
        if pending.redirect != value("redirect_uri") {
            return invalid("redirect_uri_mismatch");
        }
        if URL_SAFE_NO_PAD.encode(digest(&SHA256, value("code_verifier").as_bytes())) != pending.challenge {
            return invalid("Invalid code verifier.");
        }
        let token = pending.offline.then(|| format!("1//simulated-refresh-{:06}", self.made));
        self.good.extend(token.clone());
        Some(Ok(token))
    }
}
