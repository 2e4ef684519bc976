//! The requests: each is paced, counted against the month's budget, sent once, and its answer read whole.
//!
//! The client knows addresses and wire shapes, and no transactions. It never tries again: an upsert, a listing or a
//! schema read may be repeated by the caller, and the kind of the error tells when.

use chrono::{DateTime, Utc};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use url::Url;

use crate::remote::{Cause, Client, Error, JSON_DEPTH, Kind, Shutdown, is_too_deep};

use super::cells::Cells;
use super::errors::{Answer, Purpose, Refusal, Wording, envelope};
use super::layout::{Table, TableField};
use super::pace::{Allowance, Limits, Spending, refills};

/// Longest address the service takes.
const URL_LIMIT: usize = 16_000;

/// Pages of a listing read at most; ten ids fill one unless the base is badly doubled.
const PAGE_LIMIT: usize = 20;

/// Airtable, as one token sees one base.
pub(super) struct AirtableClient {
    pub client: Client,
    /// The API's origin.
    pub root: Url,
    pub token: SecretString,
    pub wording: Wording,
    pub limits: Limits,
    pub spending: Spending,
    pub monthly_requests: Option<u32>,
    pub shutdown: Shutdown,
    /// Says what month it is.
    pub clock: fn() -> DateTime<Utc>,
}

/// A row on its way out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outgoing {
    /// The record it overwrites; none for an upsert by transaction id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub fields: Cells,
}

/// A record as the service gives it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub id: String,
    #[serde(rename = "createdTime", default)]
    pub created: String,
    #[serde(default)]
    pub fields: serde_json::Map<String, Json>,
}

/// A page of records.
#[derive(Deserialize)]
pub(super) struct Listing {
    pub records: Vec<Record>,
    /// The beginning of the next page; `None` after the last.
    pub offset: Option<String>,
}

/// The answer to an upsert: records in the order of the request, and which of them are new.
#[derive(Debug, Deserialize)]
pub(super) struct Upserted {
    pub records: Vec<Key>,
    #[serde(rename = "createdRecords", default)]
    pub created: Vec<String>,
}

/// A record of which only the id matters.
#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub id: String,
}

#[derive(Deserialize)]
struct Tables {
    tables: Vec<Table>,
}

/// The service's answer about the token.
#[derive(Debug, Deserialize)]
pub(super) struct WhoAmI {
    /// Told for some kinds of token only.
    pub scopes: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Bases {
    bases: Vec<Base>,
}

#[derive(Debug, Deserialize)]
struct Base {
    id: String,
    #[serde(rename = "permissionLevel", default)]
    permission: String,
}

impl AirtableClient {
    /// Tables of the base with their fields.
    pub(super) async fn tables(&mut self) -> Result<Vec<Table>, Refusal> {
        let url = self.tables_url(&[]);
        let answer: Tables = self.call(Purpose::ReadLayout, Method::GET, url, None).await?;
        Ok(answer.tables)
    }

    /// Makes a table; its first field becomes the primary one.
    pub(super) async fn create_table(&mut self, name: &str, fields: Vec<Json>) -> Result<Table, Refusal> {
        let body = json!({ "name": name, "fields": fields });
        let url = self.tables_url(&[]);
        self.call(Purpose::CreateLayout, Method::POST, url, Some(to_bytes(&body)?)).await
    }

    /// Makes a field.
    pub(super) async fn create_field(&mut self, table: &str, definition: &Json) -> Result<TableField, Refusal> {
        let url = self.tables_url(&[table, "fields"]);
        self.call(Purpose::CreateLayout, Method::POST, url, Some(to_bytes(definition)?)).await
    }

    /// The owner and the scopes of the token.
    pub(super) async fn whoami(&mut self) -> Result<WhoAmI, Refusal> {
        self.call(Purpose::Token, Method::GET, self.url(&["meta", "whoami"]), None).await
    }

    /// The rights of the token's user in the base (`read`, `comment`, `edit`, `create`), if the service tells them.
    pub(super) async fn permission(&mut self) -> Result<Option<String>, Refusal> {
        let bases: Bases = self.call(Purpose::Bases, Method::GET, self.url(&["meta", "bases"]), None).await?;
        let base = bases.bases.into_iter().find(|base| base.id == self.wording.base);
        Ok(base.map(|base| base.permission))
    }

    /// Writes rows by the value of their id field: one that is there is updated, one that is not is made.
    pub(super) async fn upsert(
        &mut self,
        table: &str,
        id_field: &str,
        rows: &[Outgoing],
        typecast: bool,
    ) -> Result<Upserted, Refusal> {
        #[derive(Serialize)]
        struct Merge<'a> {
            #[serde(rename = "fieldsToMergeOn")]
            fields: [&'a str; 1],
        }
        #[derive(Serialize)]
        struct Upsert<'a> {
            #[serde(rename = "performUpsert")]
            merge: Merge<'a>,
            records: &'a [Outgoing],
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            typecast: bool,
        }
        let body = to_bytes(&Upsert { merge: Merge { fields: [id_field] }, records: rows, typecast })?;
        let url = self.table_url(table, &[]);
        let answer: Upserted = self.call(Purpose::WriteRows, Method::PATCH, url, Some(body)).await?;
        if answer.records.len() != rows.len() {
            let (service, sent, got) = (&self.wording.service, rows.len(), answer.records.len());
            return Err(Error::malformed(format!("{service}: {sent} rows were sent and {got} answered for")).into());
        }
        Ok(answer)
    }

    /// Writes over rows by record id; cells not sent stay.
    pub(super) async fn update(&mut self, table: &str, rows: &[Outgoing], typecast: bool) -> Result<(), Refusal> {
        #[derive(Serialize)]
        struct Update<'a> {
            records: &'a [Outgoing],
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            typecast: bool,
        }
        let body = to_bytes(&Update { records: rows, typecast })?;
        let url = self.table_url(table, &[]);
        let _: IgnoredAny = self.call(Purpose::WriteRows, Method::PATCH, url, Some(body)).await?;
        Ok(())
    }

    /// Deletes rows by record id.
    pub(super) async fn delete(&mut self, table: &str, records: &[String]) -> Result<(), Refusal> {
        let mut url = self.table_url(table, &[]);
        url.query_pairs_mut().extend_pairs(records.iter().map(|record| ("records[]", record)));
        let _: IgnoredAny = self.call(Purpose::WriteRows, Method::DELETE, url, None).await?;
        Ok(())
    }

    /// Asks for one record of the table, whichever.
    pub(super) async fn probe(&mut self, table: &str) -> Result<(), Refusal> {
        let mut url = self.table_url(table, &[]);
        url.query_pairs_mut().append_pair("maxRecords", "1").append_pair("pageSize", "1");
        let _: Listing = self.call(Purpose::ReadRows, Method::GET, url, None).await?;
        Ok(())
    }

    /// Every record that `formula` finds, with these fields of it.
    pub(super) async fn find(&mut self, table: &str, formula: &str, fields: &[&str]) -> Result<Vec<Record>, Refusal> {
        let mut found = Vec::new();
        let mut offset = None;
        for _ in 0..PAGE_LIMIT {
            let page = self.page(table, Some(formula), fields, offset.as_deref()).await?;
            found.extend(page.records);
            match page.offset {
                Some(next) => offset = Some(next),
                None => return Ok(found),
            }
        }
        let service = &self.wording.service;
        Err(Error::malformed(format!("{service}: a listing of a few rows has more than {PAGE_LIMIT} pages")).into())
    }

    /// A page of a hundred records with these fields: those that `formula` finds, or all.
    pub(super) async fn page(
        &mut self,
        table: &str,
        formula: Option<&str>,
        fields: &[&str],
        offset: Option<&str>,
    ) -> Result<Listing, Refusal> {
        let mut url = self.table_url(table, &[]);
        url.query_pairs_mut()
            .extend_pairs(formula.map(|formula| ("filterByFormula", formula)))
            .extend_pairs(fields.iter().map(|field| ("fields[]", field)))
            .append_pair("returnFieldsByFieldId", "true")
            .extend_pairs(offset.map(|offset| ("offset", offset)));
        if url.as_str().len() <= URL_LIMIT {
            return self.call(Purpose::ReadRows, Method::GET, url, None).await;
        }
        let mut body = json!({ "fields": fields, "returnFieldsByFieldId": true });
        for (key, value) in [("filterByFormula", formula), ("offset", offset)] {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        let url = self.table_url(table, &["listRecords"]);
        self.call(Purpose::ReadRows, Method::POST, url, Some(to_bytes(&body)?)).await
    }

    /// Requests sent this month.
    pub(super) fn sent_this_month(&mut self) -> u32 {
        self.spending.sent((self.clock)())
    }

    async fn call<T: DeserializeOwned>(
        &mut self,
        purpose: Purpose,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
    ) -> Result<T, Refusal> {
        self.limits.wait(&self.shutdown).await?;
        self.afford()?;
        let mut request = self
            .client
            .request(method, url)
            .bearer_auth(self.token.expose_secret())
            .header("user-agent", concat!("bankfeed/", env!("CARGO_PKG_VERSION")));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = self.client.send(request).await?;
        if !(200..300).contains(&answer.status) || envelope(&answer.body).is_some() {
            let answer = Answer { status: answer.status, retry_after: answer.retry_after(), body: &answer.body };
            return Err(self.refused(purpose, &answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(&error).into())
    }

    /// True if so many requests can be spent on a thing that rows do not depend on: the last fifth of the budget is
    /// kept for rows.
    pub(super) fn can_spare(&mut self, requests: u32) -> bool {
        let sent = u64::from(self.sent_this_month());
        self.monthly_requests.is_none_or(|limit| (sent + u64::from(requests)) * 5 <= u64::from(limit) * 4)
    }

    /// Counts a request, or refuses it before it is sent.
    fn afford(&mut self) -> Result<(), Error> {
        let now = (self.clock)();
        let (service, refills) = (&self.wording.service, refills(now));
        let limit = self.monthly_requests.unwrap_or_default();
        match self.spending.take(now, self.monthly_requests) {
            Allowance::Granted => Ok(()),
            Allowance::RunningLow => {
                tracing::warn!("{service}: four fifths of this month's {limit} requests are spent");
                Ok(())
            }
            Allowance::Spent => Err(Error::attention(
                Cause::Quota,
                format!(
                    "{service}: this month's {limit} requests are spent: it goes on on {refills}, or raise `monthly_requests` if the plan allows more"
                ),
            )),
            Allowance::UsedUp => Err(self.used_up(refills)),
        }
    }

    fn used_up(&self, refills: chrono::NaiveDate) -> Error {
        Error::attention(
            Cause::Quota,
            format!(
                "{}: the API calls of this month's plan are used up, says airtable: it goes on on {refills}; after an upgrade \
                 set `monthly_requests` to the new plan's figure",
                self.wording.service
            ),
        )
    }

    fn refused(&mut self, purpose: Purpose, answer: &Answer) -> Refusal {
        let mut refusal = self.wording.refusal(purpose, answer, self.token.expose_secret());
        if let Kind::Throttled { retry_after: Some(pause) } = refusal.error.kind {
            self.limits.hold(pause);
        }
        if refusal.quota {
            let now = (self.clock)();
            self.spending.exhaust(now, self.monthly_requests);
            refusal.error = self.used_up(refills(now));
        }
        refusal
    }

    /// A success that cannot be read: cut short on the way (of a write: outcome unknown), or another API than ours.
    fn unreadable(&self, error: &serde_json::Error) -> Error {
        let service = &self.wording.service;
        if error.is_data() {
            return Error::malformed(format!("{service}: the answer has not the shape of Airtable's API: {error}"));
        }
        if is_too_deep(error) {
            let what = format!("the answer is nested deeper than {JSON_DEPTH}, the most that is read");
            return Error::malformed(format!("{service}: {what}; look at the base in a browser"));
        }
        Error::unavailable(format!("{service}: the answer was cut short or is not JSON"))
    }

    fn tables_url(&self, rest: &[&str]) -> Url {
        let base = self.wording.base.as_str();
        self.url(&[&["meta", "bases", base, "tables"], rest].concat())
    }

    fn table_url(&self, table: &str, rest: &[&str]) -> Url {
        let base = self.wording.base.as_str();
        self.url(&[&[base, table], rest].concat())
    }

    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.root.clone();
        // Only addresses like `mailto:` have no path; the configuration lets none of them through.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v0").extend(parts);
        }
        url
    }
}

fn to_bytes(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|error| Error::malformed(format!("cannot write a request: {error}")))
}

/// The formula that finds rows by their transaction ids. Formulas know fields by name only: an id in braces is refused
/// as an unknown field.
pub(super) fn formula<'a>(field_name: &str, ids: impl Iterator<Item = &'a str>) -> String {
    let field = field_name.replace('{', "\\{").replace('}', "\\}");
    let tests: Vec<String> =
        ids.map(|id| format!("{{{field}}}='{}'", id.replace('\\', "\\\\").replace('\'', "\\'"))).collect();
    format!("OR({})", tests.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_escaped_in_formulas() {
        assert_eq!(formula("Id", ["a:1", "b\\'c"].into_iter()), r"OR({Id}='a:1',{Id}='b\\\'c')");
        assert_eq!(formula("I{d}", ["a"].into_iter()), r"OR({I\{d\}}='a')");
    }
}
