//! The token endpoint: a signed statement of the service account goes in, a bearer token comes out.
//!
//! The signature is checked against the account's own key, the claims as the documentation says. Only seen or
//! documented refusals have their real words; the other refusals are `invalid_grant` with a sentence of the same kind.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rsa::KeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Value, json};

/// The service account's key. The key opens no real account: it was made for this simulator and is published with it.
pub(super) const PRIVATE_KEY: &str = include_str!("test-key.pem");

/// Scopes the token endpoint knows.
pub(super) const SCOPES: &[&str] = &["spreadsheets", "spreadsheets.readonly", "drive", "drive.file", "drive.readonly"];

const SCOPE_PREFIX: &str = "https://www.googleapis.com/auth/";
/// Largest difference in seconds between the clocks of client and service.
const SKEW: u64 = 300;
/// The longest a statement may be good for.
const LONGEST: u64 = 3600;
const TIMEFRAME: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                         Check your iat and exp values in the JWT claim.";

/// A token that was handed out.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Scopes without their common beginning.
    pub scopes: Vec<String>,
    /// Time at which the token ends.
    pub until: SystemTime,
}

/// Why no token was given: the OAuth error, and its description.
#[derive(Debug, PartialEq)]
pub(super) struct Refused(pub &'static str, pub String);

impl Refused {
    /// The body of the 400.
    pub fn body(&self) -> Value {
        json!({ "error": self.0, "error_description": self.1 })
    }
}

/// Claims as sent. Unknown claims, such as `sub`, may be there; null counts as absent.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<String>,
    iat: Option<f64>,
    exp: Option<f64>,
    scope: Option<String>,
    sub: Option<String>,
}

/// Checks a grant request and makes a token that ends in 3599 seconds. `audiences` are the addresses this endpoint goes
/// by.
pub(super) fn grant(form: &str, email: &str, audiences: &[String], now: SystemTime) -> Result<Token, Refused> {
    let field = |name: &str| url::form_urlencoded::parse(form.as_bytes()).find(|(key, _)| key == name);
    match field("grant_type") {
        None => return Err(Refused("invalid_request", "Required parameter is missing: grant_type".to_owned())),
        Some((_, kind)) if kind == "urn:ietf:params:oauth:grant-type:jwt-bearer" => {}
        Some((_, kind)) => return Err(Refused("unsupported_grant_type", format!("Invalid grant_type: {kind}"))),
    }
    let Some((_, assertion)) = field("assertion") else {
        return Err(Refused("invalid_request", "Required parameter is missing: assertion".to_owned()));
    };
    let claims = verified(&assertion)?;
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    check(&claims, email, audiences, seconds)?;
    let scopes = scopes(claims.scope.as_deref().unwrap_or(""))?;
    Ok(Token { scopes, until: now + Duration::from_secs(3599) })
}

/// The claims, once the signature over them is proven.
fn verified(assertion: &str) -> Result<Claims, Refused> {
    let invalid = |text: &str| Refused("invalid_grant", text.to_owned());
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return Err(invalid("Invalid JWT: Failed to parse the assertion."));
    };
    // Padding is against the letter of the standard, but clients in use send it and are served.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('='));
    let malformed = |_| invalid("Invalid JWT: Failed to parse the assertion.");
    let head: Value = serde_json::from_slice(&decode(header).map_err(malformed)?)
        .map_err(|_| invalid("Invalid JWT: Failed to parse the assertion."))?;
    if head.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(invalid("Invalid JWT: Only RS256 is supported."));
    }
    let key = PUBLIC_KEY.as_ref().ok_or_else(|| invalid("Invalid JWT Signature."))?;
    let signed = &assertion[..header.len() + 1 + claims.len()];
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &decode(signature).map_err(malformed)?)
        .map_err(|_| invalid("Invalid JWT Signature."))?;
    serde_json::from_slice(&decode(claims).map_err(malformed)?)
        .map_err(|_| invalid("Invalid JWT: Failed to parse the claims."))
}

fn check(claims: &Claims, email: &str, audiences: &[String], now: u64) -> Result<(), Refused> {
    let invalid = |text: &str| Err(Refused("invalid_grant", text.to_owned()));
    if claims.iss.as_deref() != Some(email) {
        return invalid("Invalid grant: account not found");
    }
    if !claims.aud.as_ref().is_some_and(|audience| audiences.contains(audience)) {
        return invalid("Invalid JWT: Failed audience check.");
    }
    if claims.sub.as_deref().is_some_and(|sub| sub != email) {
        let text = "Client is unauthorized to retrieve access tokens using this method, or client not authorized for \
                    any of the scopes requested.";
        return Err(Refused("unauthorized_client", text.to_owned()));
    }
    let (Some(issued), Some(ends)) = (claims.iat, claims.exp) else { return invalid(TIMEFRAME) };
    let (issued, ends) = (issued as u64, ends as u64);
    let good = issued <= now + SKEW && now <= ends + SKEW && ends > issued && ends - issued <= LONGEST;
    if good { Ok(()) } else { invalid(TIMEFRAME) }
}

fn scopes(text: &str) -> Result<Vec<String>, Refused> {
    let refused = || Refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.".to_owned());
    let mut scopes = Vec::new();
    for scope in text.split_ascii_whitespace() {
        let short = scope.strip_prefix(SCOPE_PREFIX).filter(|short| SCOPES.contains(short)).ok_or_else(refused)?;
        scopes.push(short.to_owned());
    }
    if scopes.is_empty() { Err(refused()) } else { Ok(scopes) }
}

/// The public key, taken out of the private key once, because that is slow.
static PUBLIC_KEY: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let der: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = KeyPair::from_pkcs8(&STANDARD.decode(der).ok()?).ok()?;
    Some(pair.public_key().as_ref().to_vec())
});
