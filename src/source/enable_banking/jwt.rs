//! The token that every call carries: a JWT, signed with the private key of the owner's application.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use secrecy::SecretString;
use serde_json::json;

use crate::settings::pem;

/// The time for which a token is good; the service takes a day at most.
const LASTS: TimeDelta = TimeDelta::seconds(3600);

/// The age that a new token has, for services whose clock is a little behind.
const EARLY: TimeDelta = TimeDelta::seconds(30);

/// The time after which a token is replaced.
const RENEWED_AFTER: TimeDelta = TimeDelta::minutes(45);

/// Signs tokens of one application.
pub(super) struct Signer {
    key: KeyPair,
    application: String,
    /// The last token, and when it was made.
    last: Option<(DateTime<Utc>, SecretString)>,
}

impl Signer {
    /// Reads the application's key. The error ends the sentence "private_key …" and shows no part of the key.
    pub fn read(application: &str, key: &str) -> Result<Signer, String> {
        let remedy = "give the whole .pem file that belongs to the application";
        let pem = pem::read(key).ok_or_else(|| format!("is no PEM of a private key; {remedy}"))?;
        let bytes = pem.bytes().ok_or_else(|| format!("is damaged: it is no base64; {remedy}"))?;
        let read = match pem.label.as_str() {
            "PRIVATE KEY" => KeyPair::from_pkcs8(&bytes),
            "RSA PRIVATE KEY" => KeyPair::from_der(&bytes),
            "ENCRYPTED PRIVATE KEY" => {
                return Err("is encrypted; take the passphrase off: openssl pkey -in KEY.pem -out PLAIN.pem".into());
            }
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
                return Err(format!("is the public half; {remedy}, with PRIVATE KEY in its first line"));
            }
            _ => return Err(format!("is no RSA key; {remedy}")),
        };
        let key = read.map_err(|why| format!("is no RSA key of 2048 to 4096 bits ({why}); {remedy}"))?;
        Ok(Signer { key, application: application.to_owned(), last: None })
    }

    /// A token that is good now; `None`: the key cannot sign.
    pub fn token(&mut self, now: DateTime<Utc>) -> Option<SecretString> {
        let is_fresh = |made: DateTime<Utc>| made <= now && now - made < RENEWED_AFTER;
        if let Some((_, token)) = self.last.as_ref().filter(|(made, _)| is_fresh(*made)) {
            return Some(token.clone());
        }
        let token = self.sign(now)?;
        self.last = Some((now, token.clone()));
        Some(token)
    }

    fn sign(&self, now: DateTime<Utc>) -> Option<SecretString> {
        let issued = (now - EARLY).timestamp();
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.application});
        let claims = json!({
            "iss": "enablebanking.com",
            "aud": "api.enablebanking.com",
            "iat": issued,
            "exp": issued + LASTS.num_seconds(),
        });
        let text = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
        Some(format!("{text}.{}", BASE64.encode(signature)).into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::Value;

    use super::super::tests::keys::{PKCS1, PKCS8};
    use super::*;

    const APPLICATION: &str = "00000000-0000-4000-8000-000000000000";

    #[test]
    fn both_forms_of_a_key_sign_a_token_that_the_public_key_proves() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let one_line = PKCS8.replace('\n', "\\n");
        for text in [PKCS1, PKCS8, &one_line] {
            let mut signer = Signer::read(APPLICATION, text).unwrap();
            let token = signer.token(now).unwrap();
            let parts: Vec<&str> = token.expose_secret().split('.').collect();
            let part = |at: usize| serde_json::from_slice::<Value>(&BASE64.decode(parts[at]).unwrap()).unwrap();
            assert_eq!(part(0), json!({"typ": "JWT", "alg": "RS256", "kid": APPLICATION}));
            let issued = 1_799_999_970;
            let (iss, aud) = ("enablebanking.com", "api.enablebanking.com");
            assert_eq!(part(1), json!({"iss": iss, "aud": aud, "iat": issued, "exp": issued + 3600}));
            let public = ring::signature::UnparsedPublicKey::new(
                &ring::signature::RSA_PKCS1_2048_8192_SHA256,
                signer.key.public().as_ref(),
            );
            let signed = format!("{}.{}", parts[0], parts[1]);
            public.verify(signed.as_bytes(), &BASE64.decode(parts[2]).unwrap()).unwrap();
            let later = signer.token(now + TimeDelta::minutes(44)).unwrap();
            assert_eq!(later.expose_secret(), token.expose_secret());
            let renewed = signer.token(now + TimeDelta::minutes(46)).unwrap();
            assert_ne!(renewed.expose_secret(), token.expose_secret());
        }
    }

    #[test]
    fn a_bad_key_is_told_without_showing_it() {
        let relabelled = |label: &str| PKCS8.replace("PRIVATE KEY", label);
        for (text, expected) in [
            ("hunter2".to_owned(), "is no PEM"),
            (PKCS8[..400].to_owned(), "is no PEM"),
            (relabelled("ENCRYPTED PRIVATE KEY"), "is encrypted"),
            (relabelled("PUBLIC KEY"), "public half"),
            (relabelled("EC PRIVATE KEY"), "is no RSA key"),
            (relabelled("RSA PRIVATE KEY"), "2048 to 4096"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2=\n-----END PRIVATE KEY-----".to_owned(), "private_key is"),
        ] {
            let why = format!("private_key {}", Signer::read(APPLICATION, &text).err().unwrap());
            assert!(why.contains(expected) && !why.contains("hunter2"), "{why}");
        }
    }
}
