//! `bankfeed export`: everything, for other tools.
//!
//! CSV is opened in spreadsheets, which take text that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula.
//! Such text gets one apostrophe in front, and so does text that begins with an apostrophe itself: taking one leading
//! apostrophe away gives the text back letter by letter. Numbers and dates are left as they are.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use super::extract::{Builder, Receiver};
use super::terminal::{Terminal, complain};
use super::transactions::{say_that_there_are_none, select, wanted};
use super::{Done, USAGE, in_turn};
use crate::config::Config;
use crate::control::{Command, Format, Output, Selection};
use crate::daemon::Owner;
use crate::extract::Line;
use crate::files::OutputFile;
use crate::image::Image;
use crate::listing::{Json, plain};
use crate::model::{Field, Value};
use crate::workbook::Book;

/// Prints the selected transactions in this form.
pub(super) fn execute(
    owner: &Owner,
    selection: &Selection,
    format: Format,
    ending: Option<&str>,
    output: &mut dyn Output,
) -> Done {
    let store = &owner.engine.store;
    let Some(wanted) = wanted(store, selection, output)? else { return Ok(USAGE) };
    let count = match format {
        Format::Jsonl => select(store, selection, &wanted, |_, transaction| {
            let mut line = serde_json::to_string(&Json { transaction, history: &[] }).map_err(io::Error::from)?;
            line.push('\n');
            Ok(output.data(&line)?)
        })?,
        Format::Csv => {
            let header: Vec<String> = Field::all().map(|field| field.key().into_owned()).collect();
            output.data(&csv_line(&header)?)?;
            select(store, selection, &wanted, |_, transaction| {
                let cells: Vec<String> = Field::all().map(|field| cell(&field.value(transaction))).collect();
                Ok(output.data(&csv_line(&cells)?)?)
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

impl Builder for Book {
    fn take(&mut self, line: &Line) -> io::Result<()> {
        Book::take(self, line)
    }
}

/// What an export says at its end, after the number of transactions.
pub(super) fn ending(output: Option<&Path>) -> String {
    output.map_or("exported".to_owned(), |path| format!("are in {}", path.display()))
}

/// Whether this form is a file that is made here, of rows the store's owner sends.
pub(super) fn is_made_here(format: Format) -> bool {
    matches!(format, Format::Xlsx | Format::Sqlite)
}

/// Makes such a file. It has its name only once it is whole.
pub(super) fn make(config: &Config, selection: Selection, format: Format, output: Option<&Path>) -> io::Result<u8> {
    if output.is_none() && io::stdout().is_terminal() {
        complain(&"such a file is nothing for a terminal; name one with --output FILE");
        return Ok(USAGE);
    }
    let mut file = OutputFile::create(output.unwrap_or(Path::new("/dev/stdout")))?;
    let staged = file.staged()?.to_owned();
    let command = Command::Extract { selection };
    let (status, rows) = match format {
        Format::Sqlite => {
            let mut receiver = Receiver::new(Image::file(&staged)?);
            let status = in_turn(config, &command, &mut receiver)?;
            let rows = receiver.rows();
            receiver.finish()?.close()?;
            (status, rows)
        }
        _ => {
            let mut receiver = Receiver::new(Book::new()?);
            let status = in_turn(config, &command, &mut receiver)?;
            let rows = receiver.rows();
            let book = receiver.finish()?;
            let note = book.note().filter(|_| status == 0);
            book.save(File::options().write(true).open(&staged)?)?;
            note.iter().for_each(|note| complain(note));
            (status, rows)
        }
    };
    if status == 0 {
        file.finish()?;
        if rows > 0 {
            Terminal::stdout().talk(&format!("{rows} transactions {}\n", ending(output)))?;
        }
    }
    Ok(status)
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
    // A program may take a semicolon, a tab or a bar for the separator, whatever the first line suggests.
    let is_usual = cells.iter().any(|cell| cell.contains([';', '\t', '|']));
    let quote_style = if is_usual { csv::QuoteStyle::NonNumeric } else { csv::QuoteStyle::Necessary };
    let mut writer = csv::WriterBuilder::new().quote_style(quote_style).from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    let line = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(line).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_separator_in_a_field_is_quoted() {
        let line = |cells: [&str; 3]| csv_line(&cells.map(str::to_owned)).unwrap();
        assert_eq!(line(["a", "-12.34", ""]), "a,-12.34,\n");
        assert_eq!(line(["a;b", "-12.34", "c"]), "\"a;b\",-12.34,\"c\"\n");
        for separator in [";", "\t", "|", ",", "\n", "\r"] {
            let field = format!("a{separator}b");
            assert_eq!(line([&field, "1", "2"]), format!("\"{field}\",1,2\n"), "{separator:?}");
        }
        assert_eq!(line(["a\"b", "1", "2"]), "\"a\"\"b\",1,2\n");
    }

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
