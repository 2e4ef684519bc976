//! `bankfeed export`: everything, for other tools.
//!
//! CSV is opened in spreadsheets, which take text that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula.
//! Such text gets one apostrophe in front, and so does text that begins with an apostrophe itself: taking one leading
//! apostrophe away gives the text back letter by letter. Numbers and dates are left as they are.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use super::extract::{Builder, Receiver};
use super::terminal::complain;
use super::transactions::select;
use super::{Done, USAGE, in_turn};
use crate::config::Config;
use crate::control::{Command, Format, Output, Selection};
use crate::daemon::Owner;
use crate::extract::Line;
use crate::image::Image;
use crate::listing::{Json, plain};
use crate::model::{Field, Value};
use crate::workbook::Book;

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
        Format::Xlsx | Format::Sqlite => {
            output.talk("bankfeed: this form is made by the command itself\n")?;
            return Ok(USAGE);
        }
    }
    store.rest();
    Ok(0)
}

impl Builder for Book {
    fn take(&mut self, line: &Line) -> io::Result<()> {
        Book::take(self, line)
    }
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
    let building = Building::beside(output)?;
    let command = Command::Extract { selection };
    let status = match format {
        Format::Sqlite => {
            let mut receiver = Receiver::new(Image::file(&building.path)?);
            let status = in_turn(config, &command, &mut receiver)?;
            receiver.finish()?.close()?;
            status
        }
        _ => {
            let mut receiver = Receiver::new(Book::new()?);
            let status = in_turn(config, &command, &mut receiver)?;
            let book = receiver.finish()?;
            let note = book.note().filter(|_| status == 0);
            book.save(File::options().write(true).open(&building.path)?)?;
            note.iter().for_each(|note| complain(note));
            status
        }
    };
    if status == 0 {
        building.finish(output)?;
    }
    Ok(status)
}

/// A file on its way, which only its owner can read; gone again if it is not finished.
struct Building {
    path: PathBuf,
}

impl Building {
    fn beside(output: Option<&Path>) -> io::Result<Building> {
        use std::os::unix::fs::OpenOptionsExt;
        let regular = output.filter(|path| !path.exists() || path.is_file());
        let folder = match regular.map(Path::parent) {
            Some(Some(folder)) if folder != Path::new("") => folder.to_owned(),
            Some(_) => PathBuf::from("."),
            None => std::env::temp_dir(),
        };
        let path = folder.join(format!(".bankfeed-{:016x}.part", fastrand::u64(..)));
        let created = File::options().write(true).create_new(true).mode(0o600).open(&path);
        let shown = output.unwrap_or(&path).display();
        created.map_err(|error| io::Error::new(error.kind(), format!("cannot write {shown}: {error}")))?;
        Ok(Building { path })
    }

    fn finish(self, output: Option<&Path>) -> io::Result<()> {
        match output {
            Some(output) if !output.exists() || output.is_file() => {
                // What a link points to is replaced, not the link.
                let output = output.canonicalize().unwrap_or_else(|_| output.to_owned());
                File::open(&self.path)?.sync_all()?;
                std::fs::rename(&self.path, output)
            }
            Some(output) => {
                let mut to = File::options().write(true).open(output)?;
                io::copy(&mut File::open(&self.path)?, &mut to).map(drop)
            }
            None => io::copy(&mut File::open(&self.path)?, &mut io::stdout()).map(drop),
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // After a rename it is not there any more.
        drop(std::fs::remove_file(&self.path));
    }
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
