//! The OAuth client with which the owner signs in at Google: its JSON as a secret, or its parts, of which one is secret.
//!
//! No error repeats what was found: a secret may stand in the wrong place.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::keys::{CLIENT, OAUTH};
use super::reader::{Table, Value};
use super::values::{address, secret, service_account};
use super::words::nearest;
use super::{Error, GoogleSheets, Secret};

/// An OAuth client by its parts, but for the secret.
#[derive(Clone, Debug)]
pub struct InlineClient {
    /// Its id.
    pub id: String,
    /// Where the browser is sent; `None`: Google's page.
    pub auth_uri: Option<Url>,
    /// Where tokens come from; `None`: Google.
    pub token_uri: Option<Url>,
}

impl GoogleSheets {
    /// The service account's key or the OAuth client, as JSON.
    pub fn credentials(&self) -> Result<SecretString, String> {
        let secret = self.service_account.reveal()?;
        let Some(client) = &self.client else { return Ok(secret) };
        let InlineClient { id, auth_uri, token_uri } = &**client;
        let parts = serde_json::json!({
            "client_id": id,
            "client_secret": secret.expose_secret(),
            "auth_uri": auth_uri.as_ref().map(Url::as_str),
            "token_uri": token_uri.as_ref().map(Url::as_str),
        });
        Ok(SecretString::from(serde_json::json!({ "installed": parts }).to_string()))
    }
}

/// `oauth`.
pub(super) fn read(value: &Value<'_>) -> Result<(Secret, Option<InlineClient>), Error> {
    let table = value.table(None, OAUTH).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    table.require("client", client)
}

fn client(value: &Value<'_>) -> Result<(Secret, Option<InlineClient>), Error> {
    let is_known = |name: &str| CLIENT.iter().any(|key| key.name == name);
    let in_parts = |table: &Table<'_>| table.names().any(is_known);
    let Some(table) = value.table(None, CLIENT).filter(in_parts) else {
        return service_account(value).map(|json| (json, None));
    };
    if let Some(stranger) = table.names().find(|name| !is_known(name)) {
        let near = nearest(stranger, CLIENT.iter().map(|key| key.name));
        let near = near.map_or(String::new(), |near| format!(", did you mean `{near}`?"));
        return Err(value.error(format!("expected id and secret, found another key{near}")));
    }
    let id = table.require("id", |value| {
        let id = value.text()?;
        if id.contains(char::is_whitespace) { Err(value.wrong_value()) } else { Ok(id.to_owned()) }
    })?;
    let (auth_uri, token_uri) = (table.read("auth_uri", address)?, table.read("token_uri", address)?);
    Ok((table.require("secret", secret)?, Some(InlineClient { id, auth_uri, token_uri })))
}
