//! `bankfeed transactions`: what the store holds, and the selection that `export` uses too.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::{Done, Failure};
use crate::control::{Output, Selection};
use crate::daemon::Owner;
use crate::destination::What;
use crate::model::{Field, Transaction, Value, money_text};
use crate::store::{self, Former, Store};

/// A transaction as JSON: the fields of the contract by name, decimals as text, then the payload and the history.
pub(super) struct Json<'a> {
    pub transaction: &'a Transaction,
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
            What::PutBack | What::Mend => "repaired",
        };
        map.serialize_entry("what", what)?;
        map.serialize_entry("before", &Json { transaction: &self.0.transaction, history: &[] })?;
        map.end()
    }
}

/// A value as JSON has it: text, or null where there is nothing.
pub(super) fn plain(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Empty => None,
        Value::Text(text) => Some(text.to_string()),
        Value::Date(date) => Some(date.to_string()),
        Value::Time(time) => Some(time.to_rfc3339()),
        Value::Money(amount) => Some(money_text(*amount)),
    }
}

/// Calls `each` with every selected transaction, oldest first.
pub(super) fn select(
    store: &Store,
    selection: &Selection,
    mut each: impl FnMut(u64, &Transaction) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fits = |transaction: &Transaction| {
        let of_account = selection.account.as_ref().is_none_or(|account| {
            *account == transaction.account
                || account.replace(' ', "") == transaction.account
                || *account == transaction.account_name
        });
        of_account && selection.search.as_ref().is_none_or(|text| contains(transaction, &text.to_lowercase()))
    };
    let all = store.chronological(selection.since, selection.until);
    let Some(limit) = selection.limit else {
        for found in all {
            let (number, transaction) = found?;
            if fits(&transaction) {
                each(number, &transaction)?;
            }
        }
        return Ok(());
    };
    let mut latest = Vec::new();
    for found in all.newest_first() {
        if latest.len() == limit {
            break;
        }
        let found: Result<_, store::Error> = found;
        latest.extend(Some(found?).filter(|(_, transaction)| fits(transaction)));
    }
    latest.iter().rev().try_for_each(|(number, transaction)| each(*number, transaction))
}

fn contains(transaction: &Transaction, text: &str) -> bool {
    Field::all().any(|field| plain(&field.value(transaction)).is_some_and(|value| value.to_lowercase().contains(text)))
}

/// Prints the selected transactions.
pub(super) fn execute(owner: &Owner, selection: &Selection, json: bool, output: &mut dyn Output) -> Done {
    let store = &owner.engine.store;
    if json {
        print_array(store, selection, output)?
    } else {
        print_table(store, selection, output)?
    }
    store.rest();
    Ok(0)
}

fn print_array(store: &Store, selection: &Selection, output: &mut dyn Output) -> Result<(), Failure> {
    let history: HashMap<u64, Vec<Former>> = store.history()?;
    let mut separator = "[\n";
    select(store, selection, |number, transaction| {
        let history = history.get(&number).map_or(&[][..], Vec::as_slice);
        let line = serde_json::to_string(&Json { transaction, history }).map_err(std::io::Error::from)?;
        output.data(&format!("{separator}{line}"))?;
        separator = ",\n";
        Ok(())
    })?;
    output.data(if separator == "[\n" { "[]\n" } else { "\n]\n" })?;
    Ok(())
}

fn print_table(store: &Store, selection: &Selection, output: &mut dyn Output) -> Result<(), Failure> {
    select(store, selection, |_, transaction| {
        let row = &transaction.row;
        let mark = if transaction.vanished { "  (vanished)" } else { "" };
        // Control characters from a bank must not steer anybody's terminal.
        let words: String = format!("{}  {}", row.counterparty, row.description)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = format!(
            "{}  {:>12} {}  {}  {}{mark}",
            row.date,
            money_text(row.amount),
            row.currency,
            transaction.account,
            words.trim()
        );
        Ok(output.data(&format!("{}\n", line.trim_end()))?)
    })
}
