//! `bankfeed export --format csv|jsonl`: transactions for other tools. The command line builds the other forms from a dump.

use std::io;

use super::transactions::{matcher, say_that_there_are_none, select};
use super::{Done, USAGE};
use crate::control::Output;
use crate::export::json::TransactionJson;
use crate::export::{Format, csv};
use crate::model::Field;
use crate::selection::Selection;
use crate::service::StoreService;

/// Prints the selected transactions in this form.
pub(super) fn execute(
    service: &StoreService,
    selection: &Selection,
    format: Format,
    ending: Option<&str>,
    output: &mut dyn Output,
) -> Done {
    let store = &service.engine.store;
    let Some(matcher) = matcher(store, selection, output)? else { return Ok(USAGE) };
    let count = match format {
        Format::Jsonl => select(store, selection, &matcher, |_, transaction| {
            let mut line =
                serde_json::to_string(&TransactionJson { transaction, history: &[] }).map_err(io::Error::from)?;
            line.push('\n');
            Ok(output.data(&line)?)
        })?,
        Format::Csv => {
            let header: Vec<String> = Field::all().map(|field| field.key().into_owned()).collect();
            output.data(&csv::line(&header)?)?;
            select(store, selection, &matcher, |_, transaction| {
                let cells: Vec<String> = Field::all().map(|field| csv::cell(&field.value(transaction))).collect();
                Ok(output.data(&csv::line(&cells)?)?)
            })?
        }
        Format::Xlsx | Format::Sqlite => {
            output.talk("bankfeed: this form is made by the command itself\n")?;
            return Ok(USAGE);
        }
    };
    match ending {
        Some(_) if count == 0 => say_that_there_are_none(store, output)?,
        Some(ending) => output.talk(&format!("{count} transactions {ending}\n"))?,
        None => {}
    }
    store.rest();
    Ok(0)
}
