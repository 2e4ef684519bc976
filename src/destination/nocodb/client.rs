//! The requests: each is sent once, and its answer read whole.
//!
//! The client knows addresses and wire shapes, and no transactions. The caller is who tries again, and the kind of the
//! error tells when. Filters and cells on their way out name fields by their ids, which outlive a renaming; lists and their
//! answers name them by their titles.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::cells::Cells;
use super::errors::{Answer, Purpose, Refusal, Wording};
use super::layout::{ListedTable, Table, TableField};
use crate::remote::rate_limit::Pace;
use crate::remote::{Client, Error, JSON_DEPTH, Kind, Shutdown, is_too_deep};

/// Most that is read of an answer with rows.
const ROWS_BYTES: usize = 32 << 20;

/// Most pages that a search for a few ids may have.
const PAGE_LIMIT: u32 = 20;

/// NocoDB, as one token sees one base.
pub(super) struct NocodbClient {
    pub client: Client,
    /// The server's root.
    pub root: Url,
    pub token: SecretString,
    pub wording: Wording,
    pub pace: Pace,
    /// The longest wait of one cycle.
    pub patience: Duration,
    pub shutdown: Shutdown,
}

/// A record as the service gives it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Record {
    /// A number, or a text in tables of another database.
    pub id: Json,
    #[serde(default)]
    pub fields: Map<String, Json>,
}

impl Record {
    /// The record's place: the lesser of two was made earlier.
    pub(super) fn place(&self) -> String {
        match &self.id {
            Json::String(text) if text.parse::<u64>().is_err() => text.clone(),
            Json::String(text) => format!("{text:0>20}"),
            other => format!("{:0>20}", other.to_string()),
        }
    }
}

/// A page of records.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub records: Vec<Record>,
    /// The address of the next page; absent after the last.
    pub next: Option<String>,
}

/// A record on its way out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outgoing {
    #[serde(skip_serializing_if = "Json::is_null")]
    pub id: Json,
    pub fields: Cells,
}

#[derive(Deserialize)]
struct Records {
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Tables {
    list: Vec<ListedTable>,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

/// The service's answer about the token's user.
#[derive(Deserialize)]
struct Me {
    #[serde(default)]
    base_roles: Option<Map<String, Json>>,
}

impl NocodbClient {
    /// Tables of the base.
    pub(super) async fn tables(&mut self) -> Result<Vec<ListedTable>, Refusal> {
        let url = self.meta_url(&["tables"]);
        let answer: Tables = self.call(Purpose::ReadLayout, Method::GET, url, None).await?;
        Ok(answer.list)
    }

    /// A table with its fields.
    pub(super) async fn table(&mut self, table: &str) -> Result<Table, Refusal> {
        let url = self.meta_url(&["tables", table]);
        self.call(Purpose::ReadLayout, Method::GET, url, None).await
    }

    /// The roles of the token's user in the base, as far as the service tells them.
    pub(super) async fn roles(&mut self) -> Result<Option<Vec<String>>, Refusal> {
        let mut url = self.root_url(&["api", "v1", "auth", "user", "me"]);
        url.query_pairs_mut().append_pair("base_id", &self.wording.base);
        let answer: Me = self.call(Purpose::ReadLayout, Method::GET, url, None).await?;
        let held = |(role, held): (String, Json)| (held == Json::Bool(true)).then_some(role);
        Ok(answer.base_roles.map(|roles| roles.into_iter().filter_map(held).collect()))
    }

    /// Makes a table; its first field becomes the one that is shown for a row.
    pub(super) async fn create_table(&mut self, title: &str, fields: Vec<Json>) -> Result<Table, Refusal> {
        let body = json!({ "title": title, "fields": fields });
        let url = self.meta_url(&["tables"]);
        self.call(Purpose::CreateLayout, Method::POST, url, Some(to_bytes(&body)?)).await
    }

    /// Makes a field.
    pub(super) async fn create_field(&mut self, table: &str, definition: &Json) -> Result<TableField, Refusal> {
        let url = self.meta_url(&["tables", table, "fields"]);
        self.call(Purpose::CreateLayout, Method::POST, url, Some(to_bytes(definition)?)).await
    }

    /// Writes new rows, all or none.
    pub(super) async fn insert(&mut self, table: &str, rows: &[Outgoing]) -> Result<Vec<Record>, Refusal> {
        self.write(Method::POST, table, rows).await
    }

    /// Writes over rows by record id, all or none; cells not sent stay.
    pub(super) async fn update(&mut self, table: &str, rows: &[Outgoing]) -> Result<Vec<Record>, Refusal> {
        self.write(Method::PATCH, table, rows).await
    }

    async fn write(&mut self, method: Method, table: &str, rows: &[Outgoing]) -> Result<Vec<Record>, Refusal> {
        let (url, body) = (self.records_url(table), to_bytes(&rows)?);
        let answer: Records = self.call(Purpose::WriteRows, method, url, Some(body)).await?;
        if answer.records.len() != rows.len() {
            let (service, sent, got) = (&self.wording.service, rows.len(), answer.records.len());
            return Err(Error::malformed(format!("{service}: {sent} rows were sent and {got} answered for")).into());
        }
        Ok(answer.records)
    }

    /// Deletes rows by record id, all or none.
    pub(super) async fn delete(&mut self, table: &str, records: &[Json]) -> Result<(), Refusal> {
        let body: Vec<Json> = records.iter().map(|id| json!({ "id": id })).collect();
        let (url, body) = (self.records_url(table), to_bytes(&body)?);
        let _: IgnoredAny = self.call(Purpose::WriteRows, Method::DELETE, url, Some(body)).await?;
        Ok(())
    }

    /// Number of rows.
    pub(super) async fn count(&mut self, table: &str) -> Result<u64, Refusal> {
        let base = self.wording.base.clone();
        let url = self.url(&["data", &base, table, "count"]);
        let answer: Count = self.call(Purpose::ReadRows, Method::GET, url, None).await?;
        Ok(answer.count)
    }

    /// A page of the rows that `filter` finds, or of all, with these fields. The first page is 1.
    pub(super) async fn page(
        &mut self,
        table: &str,
        filter: Option<&str>,
        fields: &[&str],
        size: u32,
        number: u32,
    ) -> Result<Page, Refusal> {
        let mut url = self.records_url(table);
        url.query_pairs_mut()
            .append_pair("fields", &fields.join(","))
            .extend_pairs(filter.map(|filter| ("where", filter)))
            .append_pair("pageSize", &size.to_string())
            .append_pair("page", &number.to_string());
        self.call(Purpose::ReadRows, Method::GET, url, None).await
    }

    /// Every record that `filter` finds, with these fields.
    pub(super) async fn find(&mut self, table: &str, filter: &str, fields: &[&str]) -> Result<Vec<Record>, Refusal> {
        let mut found = Vec::new();
        for number in 1..=PAGE_LIMIT {
            let page = self.page(table, Some(filter), fields, 1000, number).await?;
            found.extend(page.records);
            if page.next.is_none() {
                return Ok(found);
            }
        }
        let what = format!("{}: a search for a few rows has more than {PAGE_LIMIT} pages", self.wording.service);
        Err(Error::malformed(format!("{what}: look for doubled rows in a browser")).into())
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        purpose: Purpose,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<T, Refusal> {
        self.pace.wait(&self.shutdown).await?;
        let mut request = self
            .client
            .request(method, url)
            .header("xc-token", self.token.expose_secret())
            .header("accept", "application/json")
            .header("user-agent", concat!("bankfeed/", env!("CARGO_PKG_VERSION")));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = self.client.send_up_to(request, ROWS_BYTES).await?;
        if !answer.is_success() {
            let answer = Answer { status: answer.status, retry_after: answer.retry_after(), body: &answer.body };
            let refusal = self.wording.refusal(purpose, &answer, self.token.expose_secret());
            // A longer pause ends the cycle, and is told to each destination anew.
            if let Kind::Throttled { retry_after: Some(pause) } = refusal.error.kind
                && pause <= self.patience
            {
                self.pace.hold(pause);
            }
            return Err(refusal);
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(&answer.body, &error).into())
    }

    /// A success that cannot be read: a page of another program, another API than ours, or cut short on the way (of a
    /// write: outcome unknown).
    fn unreadable(&self, body: &[u8], error: &serde_json::Error) -> Error {
        let service = &self.wording.service;
        if body.trim_ascii_start().starts_with(b"<") {
            let what = "a page answers in place of NocoDB's API: check `url`, which ends before /dashboard";
            return Error::malformed(format!("{service}: {what}"));
        }
        if error.is_data() {
            return Error::malformed(format!("{service}: the answer has not the shape of NocoDB's API: {error}"));
        }
        if is_too_deep(error) {
            let what = format!("the answer is nested deeper than {JSON_DEPTH}, the most that is read");
            return Error::malformed(format!("{service}: {what}; look at the table in a browser"));
        }
        Error::unavailable(format!("{service}: the answer was cut short or is not JSON"))
    }

    fn meta_url(&self, rest: &[&str]) -> Url {
        self.url(&[&["meta", "bases", self.wording.base.as_str()], rest].concat())
    }

    fn records_url(&self, table: &str) -> Url {
        self.url(&["data", &self.wording.base, table, "records"])
    }

    fn url(&self, parts: &[&str]) -> Url {
        self.root_url(&[&["api", "v3"], parts].concat())
    }

    fn root_url(&self, parts: &[&str]) -> Url {
        let mut url = self.root.clone();
        // Only addresses like `mailto:` have no path; the configuration lets none of them through.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }
}

fn to_bytes(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|error| Error::malformed(format!("cannot write a request: {error}")))
}
