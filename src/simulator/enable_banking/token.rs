//! The token that every call carries: its signature, its application and its times are checked.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::rsa::KeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::Refusal;

/// The id of the application.
pub const APPLICATION: &str = "0f3c6a1e-2b4d-4c8e-9a7f-5d6e7f809102";

/// The key of the application. The key opens nothing real: it was made for this simulator and is published with it.
pub const PRIVATE_KEY: &str = include_str!("key.pem");

/// The longest time for which a token may be good.
const LONGEST: i64 = 86_400;

/// Checks the `Authorization` header.
pub(super) fn verify(header: Option<&str>, now: DateTime<Utc>) -> Result<(), Refusal> {
    // No answer to a bad token was recorded; clients tell it from an ended session by the missing code.
    let refuse = |why: &str| Refusal(401, None, why.to_owned(), Value::Null);
    let token = header.and_then(|header| header.strip_prefix("Bearer ")).ok_or_else(|| refuse("No token"))?;
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts.as_slice() else { return Err(refuse("Wrong token")) };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| refuse("Wrong token"));
    let json = |part: &str| -> Result<Value, Refusal> {
        serde_json::from_slice(&bytes(part)?).map_err(|_| refuse("Wrong token"))
    };
    let (header, body) = (json(head)?, json(claims)?);
    if header["alg"] != "RS256" || header["typ"] != "JWT" || header["kid"] != APPLICATION {
        return Err(refuse("Wrong token header"));
    }
    let key = PUBLIC_KEY.as_ref().ok_or_else(|| refuse("No key"))?;
    let signed = &token[..head.len() + 1 + claims.len()];
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
        .verify(signed.as_bytes(), &bytes(signature)?)
        .map_err(|_| refuse("Wrong signature"))?;
    if body["iss"] != "enablebanking.com" || body["aud"] != "api.enablebanking.com" {
        return Err(refuse("Wrong token claims"));
    }
    let (issued, ends) = (body["iat"].as_i64().unwrap_or(i64::MAX), body["exp"].as_i64().unwrap_or_default());
    let now = now.timestamp();
    if issued > now || ends < now || ends - issued > LONGEST {
        return Err(refuse("Wrong token times"));
    }
    Ok(())
}

/// The public key, taken out of the private key once, because that is slow.
static PUBLIC_KEY: LazyLock<Option<Vec<u8>>> = LazyLock::new(|| {
    let der: String = PRIVATE_KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = KeyPair::from_pkcs8(&STANDARD.decode(der).ok()?).ok()?;
    Some(pair.public_key().as_ref().to_vec())
});
