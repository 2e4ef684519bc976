//! `bankfeed transactions`: the transactions in the store. `export` and the dump select in the same way.

use std::collections::HashMap;

use super::{Done, Failure, USAGE};
use crate::control::Output;
use crate::export::json::TransactionJson;
use crate::model::{Transaction, money_text};
use crate::selection::{Selection, SelectionMatcher};
use crate::service::StoreService;
use crate::store::{self, Former, Store};

/// The matcher of a selection; `None`: no account fits the selection, and the reason was printed.
pub(super) fn matcher(
    store: &Store,
    selection: &Selection,
    output: &mut dyn Output,
) -> Result<Option<SelectionMatcher>, Failure> {
    match SelectionMatcher::new(selection, &store.accounts()) {
        Ok(matcher) => Ok(Some(matcher)),
        Err(why) => {
            output.talk(&format!("bankfeed: {why}\n"))?;
            Ok(None)
        }
    }
}

/// Prints the reason why no transaction is shown.
pub(super) fn say_that_there_are_none(store: &Store, output: &mut dyn Output) -> Result<(), Failure> {
    let why = match store.meta().rows {
        0 => "the store holds no transactions yet; `bankfeed sync` fetches them",
        _ => "no transaction matches",
    };
    Ok(output.talk(&format!("{why}\n"))?)
}

/// Calls `each` with every selected transaction, oldest first; returns their number.
pub(super) fn select(
    store: &Store,
    selection: &Selection,
    matcher: &SelectionMatcher,
    mut each: impl FnMut(u64, &Transaction) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let fits = |transaction: &Transaction| matcher.matches(transaction);
    let all = store.by_date(selection.since, selection.until).with_transfers();
    let Some(limit) = selection.limit else {
        let mut count = 0;
        for found in all {
            let (number, transaction) = found?;
            if fits(&transaction) {
                each(number, &transaction)?;
                count += 1;
            }
        }
        return Ok(count);
    };
    let mut latest = Vec::new();
    for found in all.newest_first() {
        if latest.len() == limit {
            break;
        }
        let found: Result<_, store::Error> = found;
        latest.extend(Some(found?).filter(|(_, transaction)| fits(transaction)));
    }
    latest.iter().rev().try_for_each(|(number, transaction)| each(*number, transaction))?;
    Ok(latest.len() as u64)
}

/// Prints the selected transactions.
pub(super) fn execute(service: &StoreService, selection: &Selection, json: bool, output: &mut dyn Output) -> Done {
    let store = &service.engine.store;
    let Some(matcher) = matcher(store, selection, output)? else { return Ok(USAGE) };
    let count = if json {
        print_array(store, selection, &matcher, output)?
    } else {
        print_table(store, selection, &matcher, output)?
    };
    if count == 0 {
        say_that_there_are_none(store, output)?;
    }
    store.rest();
    Ok(0)
}

fn print_array(
    store: &Store,
    selection: &Selection,
    matcher: &SelectionMatcher,
    output: &mut dyn Output,
) -> Result<u64, Failure> {
    let history: HashMap<u64, Vec<Former>> = store.history()?;
    let mut separator = "[\n";
    let count = select(store, selection, matcher, |number, transaction| {
        let history = history.get(&number).map_or(&[][..], Vec::as_slice);
        let line = serde_json::to_string(&TransactionJson { transaction, history }).map_err(std::io::Error::from)?;
        output.data(&format!("{separator}{line}"))?;
        separator = ",\n";
        Ok(())
    })?;
    output.data(if separator == "[\n" { "[]\n" } else { "\n]\n" })?;
    Ok(count)
}

fn print_table(
    store: &Store,
    selection: &Selection,
    matcher: &SelectionMatcher,
    output: &mut dyn Output,
) -> Result<u64, Failure> {
    select(store, selection, matcher, |_, transaction| {
        let row = &transaction.row;
        let mark = if transaction.vanished { "  (vanished)" } else { "" };
        // Control characters from a bank must not reach the terminal.
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
