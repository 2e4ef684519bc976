//! Requests to Google Sheets: the API crate's hub for everything small, and its client for the one large write.
//!
//! Every request is counted, paced, limited in time and ended by a shutdown; every failure comes back as an error named
//! by the reaction it causes. The client sends no request twice, and knows neither rows nor layouts nor ledgers: answers
//! that the hub does not read go back as bytes.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use google_sheets4::common::{self, Delegate, MethodInfo, Retry};
use google_sheets4::{Sheets, api};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper_util::rt::TokioExecutor;

use super::auth::{self, Tokens};
use super::connection::{Connector, Limits, Meter, connector};
use super::errors::{ApiError, Asked, MessageContext, refused};
use super::oauth::{SCOPE, User};
use crate::destination::google_sheets::settings::GoogleSheetsSettings;
use crate::remote::rate_limit::Pace;
use crate::remote::{
    Cause, Context, Counter, Error, JSON_DEPTH, Kind, REPLY_BYTES, TREE_BYTES, is_too_deep, root_cause,
};

/// Most requests of a kind in any window. Google allows 60 reads and 60 writes; the rest stays for a second machine or a
/// retry.
const MOST: usize = 55;
/// Length of the window.
const WINDOW: Duration = Duration::from_secs(60);

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error to report.
    pub error: Error,
    /// Google's words with a status 400, after which no part of the request was applied.
    pub refused: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, refused: None }
    }
}

/// The client of one spreadsheet.
pub(super) struct Client {
    hub: Sheets<Connector>,
    tokens: Tokens,
    /// MessageContext for messages.
    pub names: MessageContext,
    context: Context,
    meter: Meter,
    reads: Pace,
    writes: Pace,
    limits: Limits,
    base: String,
}

impl Client {
    /// Reads the key and sets up the client; nothing is sent.
    pub async fn new(
        mut names: MessageContext,
        config: &GoogleSheetsSettings,
        context: Context,
        limits: Limits,
    ) -> Result<Client, Error> {
        use secrecy::ExposeSecret;
        let key = if config.login.is_some() { "oauth" } else { "service_account" };
        let secret = config
            .credentials()
            .map_err(|error| Error::attention(Cause::Token, names.say(format!("`{key}`: {error}"))))?;
        let secure = config.base_url.scheme() == "https";
        let meter = Meter::default();
        let (connector, tokens) = match &config.login {
            Some(session) => {
                names.account = "the Google account that signed in".into();
                let user = User::new(&names, secret.expose_secret(), session)?;
                (connector(&names, &meter, secure)?, Tokens::of_user(&names, user, context.requests.clone()))
            }
            None => {
                let key = auth::read_key(&names, secret.expose_secret())?;
                names.account = key.client_email.clone();
                let connector = connector(&names, &meter, secure || key.token_uri.starts_with("https"))?;
                let (own, requests) = (connector.clone(), context.requests.clone());
                let tokens = Tokens::new(&names, key, own, meter.clone(), requests).await?;
                (connector, tokens)
            }
        };
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        let base = config.base_url.to_string();
        let mut hub = Sheets::new(client, tokens.clone());
        hub.base_url(base.clone());
        hub.user_agent(user_agent());
        // The quota is a user's, over all spreadsheets of his.
        let who = config.login.as_ref().map_or_else(|| names.account.clone(), |session| session.display().to_string());
        let window = WINDOW.min(context.backoff.first * 120);
        let pace = |what: &str| context.backoff.paces.pace(format!("google {base} {who} {what}"), MOST, window);
        let (reads, writes) = (pace("reads"), pace("writes"));
        Ok(Client { hub, tokens, names, context, meter, reads, writes, limits, base })
    }

    /// Developer metadata with any of these keys.
    pub async fn search(&self, keys: &[&str]) -> Result<Vec<api::DeveloperMetadata>, Error> {
        let filters = keys.iter().map(|key| api::DataFilter {
            developer_metadata_lookup: Some(api::DeveloperMetadataLookup {
                metadata_key: Some((*key).to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        });
        let request = api::SearchDeveloperMetadataRequest { data_filters: Some(filters.collect()) };
        self.pause(Asked::Read).await?;
        self.meter.allow(TREE_BYTES);
        let mut watcher = self.watcher();
        let call = self.hub.spreadsheets().developer_metadata_search(request, &self.names.spreadsheet);
        let call = call.add_scope(SCOPE).delegate(&mut watcher);
        let answer = self.within(self.limits.read, Asked::Read, call.doit()).await?;
        let matched = self.judge(Asked::Read, answer, &watcher).await?.matched_developer_metadata;
        Ok(matched.unwrap_or_default().into_iter().filter_map(|matched| matched.developer_metadata).collect())
    }

    /// The spreadsheet itself, as much of it as `fields` names.
    pub async fn spreadsheet(&self, fields: &str) -> Result<api::Spreadsheet, Error> {
        self.pause(Asked::Read).await?;
        self.meter.allow(TREE_BYTES);
        let mut watcher = self.watcher();
        let call = self.hub.spreadsheets().get(&self.names.spreadsheet).param("fields", fields);
        let call = call.add_scope(SCOPE).delegate(&mut watcher);
        let answer = self.within(self.limits.read, Asked::Read, call.doit()).await?;
        Ok(self.judge(Asked::Read, answer, &watcher).await?)
    }

    /// The values of a range in A1 notation. The range travels in the query, where the API crate escapes every character; in
    /// a path the crate escapes none.
    pub async fn values(&self, range: &str) -> Result<Vec<Vec<serde_json::Value>>, Error> {
        self.pause(Asked::Read).await?;
        let mut watcher = self.watcher();
        let call = self.hub.spreadsheets().values_batch_get(&self.names.spreadsheet).add_ranges(range);
        let call = call.value_render_option("UNFORMATTED_VALUE").add_scope(SCOPE).delegate(&mut watcher);
        let answer = self.within(self.limits.read, Asked::Read, call.doit()).await?;
        let ranges = self.judge(Asked::Read, answer, &watcher).await?.value_ranges.unwrap_or_default();
        Ok(ranges.into_iter().next().and_then(|range| range.values).unwrap_or_default())
    }

    /// The values of the column that a metadata entry stands on, from the first row down.
    pub async fn column(&self, entry: i32) -> Result<Vec<Vec<serde_json::Value>>, Error> {
        let found = self.columns_by_entry(&[entry], "UNFORMATTED_VALUE").await?.remove(&entry);
        found.ok_or_else(|| Error::unavailable(self.names.say("the id column was removed while it was in use")))
    }

    /// The values of the columns that these metadata entries stand on, by entry, all of one instant. `render` is Google's
    /// word for what a formula's cell shows.
    pub async fn columns_by_entry(
        &self,
        entries: &[i32],
        render: &str,
    ) -> Result<HashMap<i32, Vec<Vec<serde_json::Value>>>, Error> {
        let filter = |entry: &i32| {
            let lookup = api::DeveloperMetadataLookup { metadata_id: Some(*entry), ..Default::default() };
            api::DataFilter { developer_metadata_lookup: Some(lookup), ..Default::default() }
        };
        let request = api::BatchGetValuesByDataFilterRequest {
            data_filters: Some(entries.iter().map(filter).collect()),
            value_render_option: Some(render.to_owned()),
            ..Default::default()
        };
        self.pause(Asked::Read).await?;
        let mut watcher = self.watcher();
        let call = self.hub.spreadsheets().values_batch_get_by_data_filter(request, &self.names.spreadsheet);
        let call = call.add_scope(SCOPE).delegate(&mut watcher);
        let answer = self.within(self.limits.read, Asked::Read, call.doit()).await?;
        let ranges = self.judge(Asked::Read, answer, &watcher).await?.value_ranges.unwrap_or_default();
        let entry = |filter: api::DataFilter| filter.developer_metadata_lookup?.metadata_id;
        let mut columns = HashMap::new();
        for range in ranges {
            let values = range.value_range.and_then(|range| range.values).unwrap_or_default();
            if let Some(entry) = range.data_filters.into_iter().flatten().find_map(entry) {
                columns.insert(entry, values);
            }
        }
        Ok(columns)
    }

    /// Writes texts into the column that this metadata entry stands on, wherever it is by then, from a row on down.
    pub async fn write_column(&self, entry: i32, first_row: u32, texts: &[String]) -> Result<(), Failure> {
        // Google passes over null.
        let above = std::iter::repeat_n(serde_json::Value::Null, first_row as usize);
        let values: Vec<serde_json::Value> = above.chain(texts.iter().map(|text| text.as_str().into())).collect();
        let request = serde_json::json!({ "valueInputOption": "RAW", "data": [{
            "dataFilter": { "developerMetadataLookup": { "metadataId": entry } },
            "majorDimension": "COLUMNS", "values": [values],
        }]});
        let method = "/values:batchUpdateByDataFilter?alt=json&fields=totalUpdatedCells";
        self.post(Asked::Write, method, Bytes::from(request.to_string())).await.map(|_| ())
    }

    /// Sends a batch whose body is written already; `query` says which parts the answer shows.
    pub async fn send(&self, query: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.post(Asked::Write, &format!(":batchUpdate?{query}"), body).await
    }

    /// A range of a tab, as much of it as `fields` names, cells included.
    pub async fn look(&self, range: serde_json::Value, fields: &str) -> Result<Bytes, Failure> {
        let request = serde_json::json!({ "dataFilters": [{ "gridRange": range }], "includeGridData": true });
        let method = format!(":getByDataFilter?alt=json&prettyPrint=false&fields={fields}");
        self.post(Asked::Read, &method, Bytes::from(request.to_string())).await
    }

    /// The values of the columns that these metadata entries stand on, as the answer's bytes: a long sheet as a tree of
    /// values would take many times the memory.
    pub async fn columns(&self, entries: &[i32]) -> Result<Bytes, Error> {
        let filter = |entry: &i32| serde_json::json!({ "developerMetadataLookup": { "metadataId": entry } });
        let request = serde_json::json!({
            "dataFilters": entries.iter().map(filter).collect::<Vec<_>>(),
            "majorDimension": "COLUMNS",
            "valueRenderOption": "UNFORMATTED_VALUE",
            "dateTimeRenderOption": "SERIAL_NUMBER",
        });
        let method = "/values:batchGetByDataFilter?alt=json&prettyPrint=false";
        Ok(self.post(Asked::Read, method, Bytes::from(request.to_string())).await?)
    }

    /// Posts a body that is written already and gives the answer's bytes.
    async fn post(&self, asked: Asked, method: &str, body: Bytes) -> Result<Bytes, Failure> {
        self.pause(asked).await?;
        let token = self.within(self.limits.read, Asked::Read, self.tokens.token()).await??;
        let length = body.len();
        let full = http_body_util::Full::new(body).map_err(|never| match never {});
        let request = hyper::Request::post(format!("{}v4/spreadsheets/{}{method}", self.base, self.names.spreadsheet))
            .header(hyper::header::USER_AGENT, user_agent())
            .header(hyper::header::AUTHORIZATION, format!("Bearer {token}"))
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .header(hyper::header::CONTENT_LENGTH, length)
            .body(common::Body::new(full))
            .map_err(|error| Error::malformed(self.names.say(format!("a request cannot be made: {error}"))))?;
        self.context.requests.add();
        let exchange = async {
            let answer = self.hub.client.request(request).await.map_err(|error| self.broken(&error))?;
            let (status, wait) = (answer.status().as_u16(), retry_after(answer.headers()));
            let body = answer.into_body().collect().await.map_err(|error| self.broken(&error))?;
            Ok::<_, Error>((status, wait, body.to_bytes()))
        };
        let limit = if asked == Asked::Write { self.limits.write } else { self.limits.read };
        let exchanged = self.within(limit, asked, exchange).await?;
        let (status, wait, body) = exchanged.map_err(|error| self.too_large(asked).unwrap_or(error))?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(asked, status, wait, ApiError::parse(&body)).await);
        }
        self.context.requests.note_answer();
        Ok(body)
    }

    fn watcher(&self) -> Watcher {
        Watcher { requests: self.context.requests.clone(), status: None, retry_after: None }
    }

    /// Waits until another request may leave.
    async fn pause(&self, asked: Asked) -> Result<(), Error> {
        let pace = if asked == Asked::Write { &self.writes } else { &self.reads };
        pace.wait(&self.context.shutdown).await?;
        self.meter.allow(REPLY_BYTES);
        Ok(())
    }

    /// Bounds an exchange in time and by the shutdown.
    async fn within<T>(&self, limit: Duration, asked: Asked, exchange: impl Future<Output = T>) -> Result<T, Error> {
        let stop = async {
            self.context.shutdown.wait().await;
            // An answer to a write is worth a moment. Without the answer the guard settles the write later.
            if asked == Asked::Write {
                tokio::time::sleep(self.limits.grace).await;
            }
        };
        tokio::select! {
            answer = tokio::time::timeout(limit, exchange) => {
                answer.map_err(|_| Error::unavailable(self.names.say("Google gives no answer in time")))
            }
            () = stop => Err(Error::stopped()),
        }
    }

    /// Turns the hub's result into an answer or an error.
    async fn judge<T>(
        &self,
        asked: Asked,
        answer: google_sheets4::Result<(common::Response, T)>,
        watcher: &Watcher,
    ) -> Result<T, Failure> {
        let error = match answer {
            Ok((_, answer)) => {
                self.context.requests.note_answer();
                return Ok(answer);
            }
            Err(error) => error,
        };
        if let Some(error) = self.too_large(asked) {
            return Err(error.into());
        }
        Err(match error {
            google_sheets4::Error::BadRequest(body) => {
                let code = body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let status = watcher.status.or(code).unwrap_or(400);
                self.refusal(asked, status, watcher.retry_after, ApiError::read(&body)).await
            }
            google_sheets4::Error::Failure(answer) => {
                self.refusal(asked, answer.status().as_u16(), watcher.retry_after, None).await
            }
            google_sheets4::Error::MissingToken(why) => match why.downcast::<Error>() {
                Ok(error) => (*error).into(),
                Err(_) => Error::unavailable(self.names.say("the sign-in failed")).into(),
            },
            google_sheets4::Error::HttpError(error) => self.broken(&error).into(),
            // Valid JSON of another shape: the API changed. Cut or foreign text is only a bad line.
            google_sheets4::Error::JsonDecodeError(_, why) if asked == Asked::Read && why.is_data() => {
                Error::malformed(self.names.say("Google's answer has another shape than its API promises")).into()
            }
            google_sheets4::Error::JsonDecodeError(_, why) if asked == Asked::Read && is_too_deep(&why) => {
                let what = format!("Google's answer is nested deeper than {JSON_DEPTH}, the most that is read");
                Error::malformed(self.names.say(format!("{what}; look at the spreadsheet in a browser"))).into()
            }
            google_sheets4::Error::JsonDecodeError(..) => {
                Error::unavailable(self.names.say("Google's answer cannot be read")).into()
            }
            _ => Error::unavailable(self.names.say("a request failed on its way")).into(),
        })
    }

    async fn refusal(&self, asked: Asked, status: u16, wait: Option<Duration>, said: Option<ApiError>) -> Failure {
        // A token that was good for a while may have been taken back: a new one decides.
        if status == 401 && self.tokens.forget().await {
            return Error::unavailable(self.names.say("the sign-in has run out")).into();
        }
        let error = refused(&self.names, asked, status, wait, said.as_ref());
        Failure { error, refused: (status == 400).then(|| said.unwrap_or_default().message) }
    }

    /// The error of an answer longer than is read; whether a write was applied stays open.
    fn too_large(&self, asked: Asked) -> Option<Error> {
        let kind = if asked == Asked::Write { Kind::Unavailable } else { Kind::TooLarge };
        let remedy = "delete what the spreadsheet does not need, or configure another one";
        self.meter.excess().map(|excess| Error { kind, message: self.names.say(format!("{excess}; {remedy}")) })
    }

    fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        Error::unavailable(self.names.say(format!("the connection to Google fails: {}", root_cause(error))))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

fn user_agent() -> String {
    format!("bankfeed/{}", env!("CARGO_PKG_VERSION"))
}

fn retry_after(headers: &hyper::HeaderMap) -> Option<Duration> {
    headers.get(hyper::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Counts the hub's requests and keeps what its errors leave out: status and `Retry-After`.
struct Watcher {
    requests: Counter,
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl Delegate for Watcher {
    fn begin(&mut self, _info: MethodInfo) {}

    fn pre_request(&mut self) {
        self.requests.add();
    }

    fn http_failure(&mut self, answer: &common::Response, _error: Option<&serde_json::Value>) -> Retry {
        self.status = Some(answer.status().as_u16());
        self.retry_after = retry_after(answer.headers());
        // Trying again is the engine's affair: it knows whether a write may be repeated.
        Retry::Abort
    }
}
