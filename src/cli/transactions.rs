//! `bankfeed transactions`: what the store holds, and the selection that `export` uses too.

use std::collections::HashMap;

use super::{Done, Failure};
use crate::control::{Output, Selection};
use crate::daemon::Owner;
use crate::listing::{Json, fits};
use crate::model::{Transaction, money_text};
use crate::store::{self, Former, Store};

/// Calls `each` with every selected transaction, oldest first.
pub(super) fn select(
    store: &Store,
    selection: &Selection,
    mut each: impl FnMut(u64, &Transaction) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fits = |transaction: &Transaction| fits(selection, transaction);
    let all = store.chronological(selection.since, selection.until).with_transfers();
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
