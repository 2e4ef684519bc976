//! `bankfeed export`: everything, for other tools.
//!
//! CSV is opened in spreadsheets, which take text that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula.
//! Such text gets one apostrophe in front, and so does text that begins with an apostrophe itself: taking one leading
//! apostrophe away gives back exactly what the bank sent. Numbers and dates are left as they are.

use std::io;

use super::Done;
use super::transactions::select;
use crate::control::{Format, Output, Selection};
use crate::daemon::Owner;
use crate::listing::{Json, plain};
use crate::model::{Field, Value};

/// Prints the selected transactions in this form.
pub(super) fn execute(owner: &Owner, selection: &Selection, format: Format, output: &mut dyn Output) -> Done {
    let store = &owner.engine.store;
    match format {
        Format::Jsonl => select(store, selection, |_, transaction| {
            let mut line = serde_json::to_string(&Json { transaction, history: &[] }).map_err(io::Error::from)?;
            line.push('\n');
            Ok(output.data(&line)?)
        })?,
        Format::Csv => {
            let header: Vec<String> = Field::all().map(|field| field.key().into_owned()).collect();
            output.data(&csv_line(&header)?)?;
            select(store, selection, |_, transaction| {
                let cells: Vec<String> = Field::all().map(|field| cell(&field.value(transaction))).collect();
                Ok(output.data(&csv_line(&cells)?)?)
            })?;
        }
    }
    store.rest();
    Ok(0)
}

fn cell(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => inert(text),
        other => plain(other).unwrap_or_default(),
    }
}

/// Text that no spreadsheet takes for a formula.
pub(super) fn inert(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// A line of CSV.
pub(super) fn csv_line(cells: &[String]) -> io::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    let line = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(line).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_made_inert_and_can_be_restored() {
        for text in ["=IMPORTXML(1)", "+359", "-5% отстъпка", "@home", "'tis", "\tx", "plain", "3-1"] {
            let cell = cell(&Value::Text(text.into()));
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{cell}");
            assert_eq!(cell.strip_prefix('\'').unwrap_or(&cell), text);
        }
        assert_eq!(cell(&Value::Money("-12.34".parse().unwrap())), "-12.34");
    }
}
