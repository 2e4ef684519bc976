//! The two texts that open the service: the setup token, which a person pastes once, and the access URL, which the service
//! gives for the token. Pure.
//!
//! Promise: no error repeats any part of either; the access URL is the whole secret of the owner.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::settings::values::service_address;

/// An access URL, taken apart: credentials leave as a header and never as a part of an address.
#[derive(Clone, Debug)]
pub(super) struct Access {
    root: Url,
    pub user: SecretString,
    pub password: SecretString,
}

impl Access {
    /// Reads an access URL. The error ends the sentence "the access URL …".
    pub fn read(text: &str) -> Result<Access, String> {
        let mut root = Url::parse(text.trim()).map_err(|_| "is no address".to_owned())?;
        let (user, password) = (decoded(root.username()), root.password().map(decoded));
        let (Some(password), false) = (password, user.is_empty()) else {
            return Err("holds no user name and password".into());
        };
        let bare = root.set_username("").and_then(|()| root.set_password(None));
        bare.map_err(|()| "is no address of a web service".to_owned())?;
        let mut root = service_address(root.as_str(), false)?;
        let path = root.path().trim_end_matches('/').to_owned();
        root.set_path(&format!("{path}/accounts"));
        Ok(Access { root, user: user.into(), password: password.into() })
    }

    /// The address of the accounts, without credentials.
    pub fn accounts(&self) -> Url {
        self.root.clone()
    }

    /// The texts that no message may show.
    pub fn secrets(&self) -> [&str; 2] {
        [self.user.expose_secret(), self.password.expose_secret()]
    }
}

/// The text of a user name or password in an address.
fn decoded(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// The thing that a person has pasted.
#[derive(Debug)]
pub(super) enum Pasted {
    /// A setup token, or the claim URL in it.
    Claim(Url),
    /// An access URL that was claimed elsewhere.
    Access(SecretString),
}

/// Reads a setup token: base64 of the claim URL, perhaps with blanks and without its padding. The error ends the sentence
/// "this is no setup token: …".
pub(super) fn pasted(text: &str) -> Result<Pasted, &'static str> {
    let text: String = text.split_whitespace().collect();
    if text.starts_with("https://") || text.starts_with("http://") {
        return match Access::read(&text) {
            Ok(_) => Ok(Pasted::Access(text.into())),
            Err(_) => service_address(&text, true).map(Pasted::Claim),
        };
    }
    let standard = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let decoded = BASE64.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or("expected the long line of letters and digits that the service shows, copied whole")?;
    service_address(decoded.trim(), true).map(Pasted::Claim).map_err(|why| match why {
        why if why.starts_with("must begin with https") => "the address in it is not https",
        _ => "there is no address in it; copy it whole",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: &str = "https://bridge.example/simplefin/claim/AB?C";

    fn claim(text: &str) -> Result<String, &'static str> {
        match pasted(text)? {
            Pasted::Claim(url) => Ok(url.to_string()),
            Pasted::Access(_) => Ok("access".into()),
        }
    }

    #[test]
    fn a_token_is_read_however_it_was_copied() {
        let token = base64::engine::general_purpose::STANDARD.encode(CLAIM);
        assert!(token.ends_with('='));
        let (head, tail) = token.split_at(20);
        for text in [
            token.clone(),
            format!("  {head}\r\n {tail}\n"),
            token.trim_end_matches('=').to_owned(),
            token.replace('+', "-").replace('/', "_"),
            CLAIM.to_owned(),
        ] {
            assert_eq!(claim(&text), Ok(CLAIM.to_owned()), "{text}");
        }
        assert_eq!(claim("https://u:p@bridge.example/simplefin"), Ok("access".into()));
        let plain = |address: &str| claim(&BASE64.encode(address));
        assert!(plain("http://127.0.0.1:9/claim/x").is_ok());
        assert_eq!(plain("http://bridge.example/claim/x"), Err("the address in it is not https"));
        for bad in ["", "!!", "aGVsbG8=", "https://", "hello world"] {
            assert!(claim(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_access_url_is_taken_apart_and_shows_no_secret() {
        let access = Access::read(" https://user%40x:p%2Bss+w%26=d@bridge.example/simplefin\n").unwrap();
        assert_eq!(access.accounts().as_str(), "https://bridge.example/simplefin/accounts");
        assert_eq!(access.secrets(), ["user@x", "p+ss+w&=d"]);
        assert!(!format!("{access:?}").contains("p+ss"));
        for (bad, why) in [
            ("https://bridge.example/simplefin", "holds no user name and password"),
            ("https://u@bridge.example/simplefin", "holds no user name and password"),
            ("ftp://u:p@bridge.example/", "expected an address"),
            ("http://u:p@bridge.example/simplefin", "must begin with https"),
            ("nothing", "is no address"),
        ] {
            let error = Access::read(bad).unwrap_err();
            assert!(error.starts_with(why), "{bad}: {error}");
        }
        assert!(Access::read("http://u:p@127.0.0.1:1/simplefin/").unwrap().accounts().path() == "/simplefin/accounts");
    }
}
