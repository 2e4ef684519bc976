//! How a transaction looks to other programs, and which transactions are meant: what the commands and the network face
//! share, so that both say the same.

pub mod day;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::control::Selection;
use crate::destination::What;
use crate::model::{Field, Transaction, Value, money_text, payload, shortened};
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
        // Strict readers must take it, and a line of JSONL is one line.
        let raw = payload::mended(&self.transaction.row.raw).replace(['\n', '\r'], " ");
        match RawValue::from_string(raw) {
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

/// Account and text of a selection made ready; its dates and limit are the caller's affair.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    accounts: Option<Vec<String>>,
    search: Option<String>,
}

impl Wanted {
    /// Finds the accounts that are meant, whatever the capitals and the blanks. `Err`: there is none, and which there are.
    pub fn of(selection: &Selection, known: &[StoredAccount]) -> Result<Wanted, String> {
        let search = selection.search.as_ref().map(|text| text.to_lowercase());
        let Some(asked) = &selection.account else { return Ok(Wanted { accounts: None, search }) };
        let is_meant = |account: &&StoredAccount| {
            let (asked, account) = (squeezed(asked), &account.account);
            !asked.is_empty() && (squeezed(&account.account) == asked || squeezed(&account.name) == asked)
        };
        let accounts: Vec<String> =
            known.iter().filter(is_meant).map(|stored| stored.account.account.clone()).collect();
        if accounts.is_empty() {
            Err(no_such_account(asked, known))
        } else {
            Ok(Wanted { accounts: Some(accounts), search })
        }
    }

    /// Whether a transaction is among them.
    pub fn fits(&self, transaction: &Transaction) -> bool {
        let is_its = |accounts: &Vec<String>| accounts.iter().any(|account| **account == *transaction.account);
        self.accounts.as_ref().is_none_or(is_its) && self.search.as_ref().is_none_or(|text| contains(transaction, text))
    }

    /// The same without the text.
    pub fn in_any_words(&self) -> Wanted {
        Wanted { search: None, ..self.clone() }
    }
}

/// As people compare account numbers and names: without capitals and blanks.
fn squeezed(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn no_such_account(asked: &str, known: &[StoredAccount]) -> String {
    if known.is_empty() {
        return format!("no account is called `{asked}`, because none is known yet; run `bankfeed sync` first");
    }
    let shown = known.iter().map(|stored| match (&stored.account.account, &stored.account.name) {
        (account, name) if name.is_empty() => account.clone(),
        (account, name) => format!("{account} ({name})"),
    });
    format!("no account is called `{asked}`; there are: {}", shown.collect::<Vec<_>>().join(", "))
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
