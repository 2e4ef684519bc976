//! How a transaction looks to other programs, and which transactions are meant: what the commands and the network face
//! share, so that both say the same.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::control::Selection;
use crate::destination::What;
use crate::model::{Field, Transaction, Value, money_text, shortened};
use crate::store::{Former, StoredAccount};

/// A transaction as JSON: the fields of the contract by name, decimals as text, then the payload and the history.
pub struct Json<'a> {
    /// The transaction.
    pub transaction: &'a Transaction,
    /// Its former versions, oldest first.
    pub history: &'a [Former],
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in Field::all() {
            map.serialize_entry(&field.key(), &plain(&field.value(self.transaction)))?;
        }
        map.serialize_entry("vanished", &self.transaction.vanished)?;
        match RawValue::from_string(self.transaction.row.raw.clone()) {
            Ok(raw) => map.serialize_entry("raw", &raw)?,
            Err(_) => map.serialize_entry("raw", &self.transaction.row.raw)?,
        }
        let history: Vec<Past<'_>> = self.history.iter().map(Past).collect();
        map.serialize_entry("history", &history)?;
        map.end()
    }
}

/// A former version as JSON.
struct Past<'a>(&'a Former);

impl Serialize for Past<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let replaced = chrono::DateTime::from_timestamp(self.0.replaced_at, 0).map(|time| time.to_rfc3339());
        map.serialize_entry("replaced", &replaced)?;
        let what = match self.0.what {
            What::New => "new",
            What::Changed => "changed",
            What::Vanished => "vanished",
            What::Reappeared => "reappeared",
            What::Enriched => "enriched",
            What::PutBack | What::Mend | What::Astray => "repaired",
        };
        map.serialize_entry("what", what)?;
        map.serialize_entry("before", &Json { transaction: &self.0.transaction, history: &[] })?;
        map.end()
    }
}

/// A value as JSON has it: text, or null where there is nothing.
pub fn plain(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Empty => None,
        Value::Text(text) => Some(text.to_string()),
        Value::Date(date) => Some(date.to_string()),
        Value::Time(time) => Some(time.to_rfc3339()),
        Value::Money(amount) => Some(money_text(*amount)),
    }
}

/// A line for people: account numbers that stand alone become `Everyday (BG32…0001)` where the store knows a name.
/// Ids, which hold account numbers too, stay fit to be copied.
pub fn with_names(line: &str, accounts: &[StoredAccount]) -> String {
    let spell = |word: &str| {
        let bare = word.trim_start_matches('(').trim_end_matches([':', ';', ',', '.', ')']);
        let known = accounts.iter().map(|stored| &stored.account).find(|account| account.account == bare);
        match known.filter(|account| !account.name.is_empty()) {
            Some(account) => word.replacen(bare, &format!("{} ({})", account.name, shortened(bare)), 1),
            None => word.to_owned(),
        }
    };
    line.split(' ').map(spell).collect::<Vec<_>>().join(" ")
}

/// Whether account and text of a selection match; its dates and limit are the caller's affair.
pub fn fits(selection: &Selection, transaction: &Transaction) -> bool {
    let of_account = selection.account.as_ref().is_none_or(|account| {
        **account == *transaction.account
            || *account.replace(' ', "") == *transaction.account
            || **account == *transaction.account_name
    });
    of_account && selection.search.as_ref().is_none_or(|text| contains(transaction, &text.to_lowercase()))
}

fn contains(transaction: &Transaction, text: &str) -> bool {
    Field::all().any(|field| plain(&field.value(transaction)).is_some_and(|value| value.to_lowercase().contains(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_numbers_for_people_become_names() {
        let known: Vec<StoredAccount> = serde_json::from_value(serde_json::json!([{
            "number": 1, "source": "fibank", "id_prefix": "", "fetched_until": null,
            "account": {
                "account": "BG32FINV91501000000001", "name": "Everyday", "customer": "", "currency": "EUR", "balance": null
            },
        }]))
        .unwrap();
        for (line, expected) in [
            ("fibank: account BG32FINV91501000000001: no rows", "fibank: account Everyday (BG32…0001): no rows"),
            ("BG32FINV91501000000001: odd", "Everyday (BG32…0001): odd"),
            ("refused: fibank:BG32FINV91501000000001:7: no", "refused: fibank:BG32FINV91501000000001:7: no"),
            ("BG05FINV91501000000002: odd", "BG05FINV91501000000002: odd"),
        ] {
            assert_eq!(with_names(line, &known), expected);
        }
    }
}
