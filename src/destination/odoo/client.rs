//! The requests: which protocol the server speaks is asked once and remembered, each request is sent once, and its answer
//! is read whole.
//!
//! The client knows protocols and wire shapes, and no transactions.

use reqwest::Method;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use url::Url;

use crate::remote::{Cause, Client, Error, JSON_DEPTH, REPLY_BYTES, Response, is_too_deep};

use super::errors::{Exception, Reaction, Refusal, Wording};

/// The first version with JSON-2.
const JSON2_SINCE: u32 = 19;

/// An Odoo as one key sees one database.
pub(super) struct OdooClient {
    pub client: Client,
    /// The address, ending in a slash.
    pub root: Url,
    pub login: Option<String>,
    pub wording: Wording,
    /// The server as it was met.
    pub server: Option<Server>,
}

/// The server as it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    /// The version.
    pub version: u32,
    /// The number of the user, where the protocol needs it.
    pub user: Option<i64>,
    /// The login that the number belongs to.
    pub login: Option<String>,
}

/// A call of a method on a model.
pub(super) struct Call<'a> {
    pub model: &'a str,
    pub method: &'a str,
    /// The records that it is called on, for methods of records.
    pub ids: Option<&'a [i64]>,
    /// Arguments that stand in their places in JSON-RPC.
    pub first: &'a [(&'a str, Json)],
    /// The others.
    pub rest: &'a [(&'a str, Json)],
}

/// An answer of JSON-RPC. A method that returns nothing leaves both out.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<RpcError>,
}

#[derive(Deserialize)]
struct RpcError {
    #[serde(default)]
    data: Exception,
}

impl Server {
    /// True where the server speaks JSON-2.
    pub fn speaks_json2(&self) -> bool {
        self.version >= JSON2_SINCE
    }
}

impl OdooClient {
    /// Meets the server, unless it is known.
    pub(super) async fn meet(&mut self) -> Result<Server, Refusal> {
        if let Some(server) = self.server.as_ref().filter(|known| known.speaks_json2() || known.login == self.login) {
            return Ok(server.clone());
        }
        let version = match self.server.take() {
            Some(known) => known.version,
            None => self.version().await?,
        };
        let mut server = Server { version, user: None, login: self.login.clone() };
        if !server.speaks_json2() {
            server.user = Some(self.authenticate(version).await?);
        }
        self.server = Some(server.clone());
        Ok(server)
    }

    /// Asks for the server's version: by a page that only versions with JSON-2 have, else by JSON-RPC.
    async fn version(&mut self) -> Result<u32, Refusal> {
        #[derive(Deserialize)]
        struct Answered {
            version_info: Vec<Json>,
        }
        let request = self.client.request(Method::GET, self.url("web/version")?);
        let answer = self.client.send(self.headed(request)).await?;
        if answer.status == 429 || answer.status >= 500 {
            return Err(self.wording.status(answer.status, answer.retry_after()));
        }
        if answer.is_success()
            && let Ok(Answered { version_info }) = serde_json::from_slice(&answer.body)
            && let Some(version) = major(&version_info)
        {
            return Ok(version);
        }
        #[derive(Deserialize)]
        struct Version {
            server_version_info: Vec<Json>,
        }
        let found: Version = self.rpc("common", "version", json!([])).await?;
        let found = major(&found.server_version_info);
        found.ok_or_else(|| Error::malformed(format!("{}: the server tells no version", self.wording.service)).into())
    }

    async fn authenticate(&mut self, version: u32) -> Result<i64, Refusal> {
        let Some(login) = self.login.clone() else {
            let service = &self.wording.service;
            let what =
                format!("{service}: Odoo {version} asks for a login beside the key: put the user's into `login`");
            return Err(Error::attention(Cause::Token, what).into());
        };
        let key = self.wording.key.expose_secret();
        let arguments = json!([self.wording.database, login, key, {}]);
        let user: Json = self.rpc("common", "authenticate", arguments).await?;
        // Refused is no error, but `false`.
        user.as_i64().ok_or_else(|| {
            let what =
                format!("{}; or the key is not of the user `{login}` in `login`", self.wording.key_refused().message);
            Error::attention(Cause::Token, what).into()
        })
    }

    /// Calls a method. Returns what it returns; null for nothing.
    pub(super) async fn call<T: DeserializeOwned>(&mut self, call: &Call<'_>) -> Result<T, Refusal> {
        let server = self.meet().await?;
        let called = if server.speaks_json2() {
            self.json2(call).await
        } else {
            let mut arguments: Vec<Json> = call.ids.map(|ids| json!(ids)).into_iter().collect();
            arguments.extend(call.first.iter().map(|(_, value)| value.clone()));
            let (database, key) = (&self.wording.database, self.wording.key.expose_secret());
            let all = json!([database, server.user, key, call.model, call.method, arguments, named(call.rest)]);
            self.rpc("object", "execute_kw", all).await
        };
        if called.as_ref().is_err_and(|refusal| refusal.reaction == Reaction::Changed) {
            self.server = None;
        }
        called
    }

    async fn json2<T: DeserializeOwned>(&mut self, call: &Call<'_>) -> Result<T, Refusal> {
        let mut body = named(call.first);
        body.extend(named(call.rest));
        if let Some(ids) = call.ids {
            body.insert("ids".to_owned(), json!(ids));
        }
        let url = self.url(&format!("json/2/{}/{}", call.model, call.method))?;
        let request = self
            .client
            .request(Method::POST, url)
            .header("authorization", format!("bearer {}", self.wording.key.expose_secret()))
            .header("x-odoo-database", &self.wording.database);
        let answer = self.send(request, &Json::Object(body)).await?;
        if answer.is_success() {
            return self.read(&answer);
        }
        match serde_json::from_slice::<Exception>(&answer.body) {
            Ok(exception) if !exception.name.is_empty() => Err(self.wording.exception(&exception)),
            _ => Err(self.wording.status(answer.status, answer.retry_after())),
        }
    }

    async fn rpc<T: DeserializeOwned>(&mut self, service: &str, method: &str, arguments: Json) -> Result<T, Refusal> {
        let params = json!({"service": service, "method": method, "args": arguments});
        let body = json!({"jsonrpc": "2.0", "method": "call", "params": params, "id": 1});
        let request = self.client.request(Method::POST, self.url("jsonrpc")?);
        let answer = self.send(request, &body).await?;
        if !answer.is_success() {
            if answer.status == 404 {
                let what = format!("{}: no Odoo answers there: check `url`", self.wording.service);
                return Err(Error::attention(Cause::NotFound, what).into());
            }
            return Err(self.wording.status(answer.status, answer.retry_after()));
        }
        // The status says nothing: errors come with 200.
        let envelope: Envelope<'_> =
            serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(&answer, &error))?;
        if let Some(error) = envelope.error {
            return Err(self.wording.exception(&error.data));
        }
        let result = envelope.result.map_or("null", RawValue::get);
        serde_json::from_str(result).map_err(|error| self.unreadable(&answer, &error))
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, body: &Json) -> Result<Response, Refusal> {
        let request = self.headed(request).header("content-type", "application/json").body(body.to_string());
        Ok(self.client.send_up_to(request, REPLY_BYTES).await?)
    }

    fn headed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.header("user-agent", concat!("bankfeed/", env!("CARGO_PKG_VERSION")))
    }

    fn read<T: DeserializeOwned>(&self, answer: &Response) -> Result<T, Refusal> {
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(answer, &error))
    }

    /// A success that cannot be read: a page, an answer cut short on the way, or another API than Odoo's.
    fn unreadable(&self, answer: &Response, error: &serde_json::Error) -> Refusal {
        let service = &self.wording.service;
        if answer.body.trim_ascii_start().starts_with(b"<") {
            return self.wording.status(200, None);
        }
        if error.is_data() {
            return Error::malformed(format!("{service}: the answer has not the shape of Odoo's API: {error}")).into();
        }
        if is_too_deep(error) {
            let what = format!("the answer is nested deeper than {JSON_DEPTH}, the most that is read");
            return Error::malformed(format!("{service}: {what}; look at the server in a browser")).into();
        }
        Error::unavailable(format!("{service}: the answer was cut short or is not JSON")).into()
    }

    fn url(&self, path: &str) -> Result<Url, Error> {
        let url = self.root.join(path);
        url.map_err(|error| Error::malformed(format!("{}: cannot make an address: {error}", self.wording.service)))
    }
}

fn named(arguments: &[(&str, Json)]) -> Map<String, Json> {
    arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The version's number: `19`, or that of `saas~18`.
fn major(info: &[Json]) -> Option<u32> {
    match info.first()? {
        Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Json::String(text) => text.rsplit('~').next()?.parse().ok(),
        _ => None,
    }
}
