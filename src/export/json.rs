//! A transaction as JSON, the same for commands and page.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::model::{ChangeKind, Field, Transaction, Value, money_text, payload};
use crate::store::Former;

/// A transaction as JSON: its fields by name, decimals as text, then the payload and the history.
pub struct TransactionJson<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// The former versions of the transaction, oldest first.
    pub history: &'a [Former],
}

impl Serialize for TransactionJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in Field::all() {
            map.serialize_entry(&field.key(), &plain(&field.value(self.transaction)))?;
        }
        map.serialize_entry("vanished", &self.transaction.vanished)?;
        // Strict parsers must accept the payload, and a line of JSONL has no line break.
        let raw = payload::mended(&self.transaction.row.raw).replace(['\n', '\r'], " ");
        match RawValue::from_string(raw) {
            Ok(raw) => map.serialize_entry("raw", &raw)?,
            Err(_) => map.serialize_entry("raw", &self.transaction.row.raw)?,
        }
        let history: Vec<FormerJson<'_>> = self.history.iter().map(FormerJson).collect();
        map.serialize_entry("history", &history)?;
        map.end()
    }
}

/// A former version as JSON.
struct FormerJson<'a>(&'a Former);

impl Serialize for FormerJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let replaced = chrono::DateTime::from_timestamp(self.0.replaced_at, 0).map(|time| time.to_rfc3339());
        map.serialize_entry("replaced", &replaced)?;
        let what = match self.0.kind {
            ChangeKind::New => "new",
            ChangeKind::Changed => "changed",
            ChangeKind::Vanished => "vanished",
            ChangeKind::Reappeared => "reappeared",
            ChangeKind::Enriched => "enriched",
        };
        map.serialize_entry("what", what)?;
        map.serialize_entry("before", &TransactionJson { transaction: &self.0.transaction, history: &[] })?;
        map.end()
    }
}

/// A value as text for other programs; `None`: the value is empty.
pub fn plain(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Empty => None,
        Value::Text(text) => Some(text.to_string()),
        Value::Date(date) => Some(date.to_string()),
        Value::Time(time) => Some(time.to_rfc3339()),
        Value::Money(amount) => Some(money_text(*amount)),
    }
}
