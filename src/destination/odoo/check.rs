//! Everything that `check` says: the server, the journals, the rights of the user, the end of the key, and locked books.
//! Writes nothing.

use chrono::{DateTime, Duration, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::remote::{Cause, Error};

use super::Odoo;
use super::client::Call;
use super::errors::GROUPS;
use super::line::bad_journal;
use super::lookup::LINE;

/// Days before the end of a key from which on the owner is told.
const KEY_WARNING_DAYS: i64 = 14;

/// The end of the user's key, as far as the server tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyLife {
    /// The day on which it was asked.
    pub asked: chrono::NaiveDate,
    /// The first end among the user's keys that still open.
    pub ends: Option<DateTime<Utc>>,
    /// Number of those keys: which of them is ours the server does not tell.
    pub keys: usize,
}

#[derive(Deserialize)]
struct KeyRecord {
    #[serde(default)]
    name: Json,
    #[serde(default)]
    expiration_date: Json,
}

impl Odoo {
    /// Proves server, journals and rights.
    pub(super) async fn inspect(&mut self) -> Result<Vec<String>, Error> {
        let server = self.client.meet().await?;
        let protocol = if server.speaks_json2() { "JSON-2" } else { "JSON-RPC" };
        let mut lines = vec![format!("Odoo {} answers, over {protocol}", server.version)];
        self.read_layout().await?;
        let (mut bad, mut locks) = (Vec::new(), Vec::new());
        for (account, id) in &self.journals {
            let Some(journal) = self.memory.layout.journals.get(id) else { continue };
            match &journal.problem {
                Some(problem) => bad.push(format!("account `{account}`: {}", bad_journal(*id, problem))),
                None => {
                    lines.push(format!("account {account} goes to journal `{}` in {}", journal.name, journal.currency))
                }
            }
            locks.extend(self.memory.layout.lock(*id));
        }
        if !bad.is_empty() {
            return Err(Error::attention(Cause::NotFound, format!("{}: {}", self.service(), bad.join("; "))));
        }
        if let Some(lock) = locks.iter().max() {
            lines.push(format!(
                "the books are locked through {lock}: Odoo books rows up to that day under a later one, unless `since` leaves \
                 them out"
            ));
        }
        lines.push(self.inspect_rights().await?);
        self.look_at_key().await?;
        lines.push(match self.memory.key.as_ref().and_then(|key| key.ends) {
            Some(ends) => format!("the key ends on {}", ends.date_naive()),
            None => "the key tells no end".to_owned(),
        });
        Ok(lines)
    }

    /// The right to book bank lines is in neither of the visible roles of accounting.
    async fn inspect_rights(&mut self) -> Result<String, Error> {
        let first = [("operation", json!("create"))];
        let call = Call { model: LINE, method: "has_access", ids: Some(&[]), first: &first, rest: &[] };
        match self.client.call::<Json>(&call).await {
            Ok(Json::Bool(false)) => {
                let what = format!("{}: the user may not create bank lines: {GROUPS}", self.service());
                Err(Error::attention(Cause::NotPermitted, what))
            }
            Ok(_) => Ok("the user may create bank lines".to_owned()),
            // A server that keeps the answer to itself shows the right at the first delivery.
            Err(refusal) if refusal.is_no_answer() => {
                Ok("the first delivery shows whether the user may create bank lines".to_owned())
            }
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Asks once a day when the key ends.
    pub(super) async fn look_at_key(&mut self) -> Result<(), Error> {
        let now = (self.clock)();
        if self.memory.key.as_ref().is_some_and(|key| key.asked == now.date_naive()) {
            return Ok(());
        }
        let rest = [("fields", json!(["name", "expiration_date"]))];
        let first = [("domain", json!([]))];
        let call = Call { model: "res.users.apikeys", method: "search_read", ids: None, first: &first, rest: &rest };
        let keys: Vec<KeyRecord> = match self.client.call(&call).await {
            Ok(keys) => keys,
            Err(refusal) if refusal.is_no_answer() => Vec::new(),
            Err(refusal) => return Err(refusal.error),
        };
        let ends: Vec<Option<DateTime<Utc>>> = keys.iter().map(KeyRecord::end).collect();
        let is_ours = |key: &KeyRecord| key.name.as_str().is_some_and(|name| name.to_lowercase().contains("bankfeed"));
        let named = keys.iter().any(|key| is_ours(key) && key.end().is_none_or(|end| end > now));
        let open: Vec<Option<DateTime<Utc>>> = keys
            .iter()
            .zip(ends)
            .filter(|(key, end)| end.is_none_or(|end| end > now) && (!named || is_ours(key)))
            .map(|(_, end)| end)
            .collect();
        self.memory.key =
            Some(KeyLife { asked: now.date_naive(), ends: open.iter().flatten().min().copied(), keys: open.len() });
        Ok(())
    }

    /// The remark on a key that ends soon.
    pub(super) fn key_note(&self) -> Option<String> {
        let key = self.memory.key.as_ref()?;
        let ends = key.ends.filter(|ends| *ends <= (self.clock)() + Duration::days(KEY_WARNING_DAYS))?;
        let which = if key.keys > 1 { "one of the user's keys ends" } else { "the API key ends" };
        Some(format!(
            "{}: {which} on {}: make a new one in Odoo (Preferences > Account Security) and put it into `api_key`",
            self.service(),
            ends.date_naive()
        ))
    }
}

impl KeyRecord {
    fn end(&self) -> Option<DateTime<Utc>> {
        let end = NaiveDateTime::parse_from_str(self.expiration_date.as_str()?, "%Y-%m-%d %H:%M:%S").ok()?;
        Some(end.and_utc())
    }
}
