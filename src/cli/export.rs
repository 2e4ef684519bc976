//! `bankfeed export --format xlsx|sqlite` in the process that asks: a file built from a dump.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use super::call::call_owner;
use super::dump_receiver::DumpReceiver;
use super::terminal::{Terminal, complain};
use crate::commands::USAGE;
use crate::config::Config;
use crate::control::{Command, Output};
use crate::export::Format;
use crate::export::sqlite::DatabaseBuilder;
use crate::export::xlsx::WorkbookBuilder;
use crate::files::OutputFile;
use crate::selection::Selection;

/// The words at the end of an export, after the number of transactions.
pub(super) fn ending(output: Option<&Path>) -> String {
    output.map_or("exported".to_owned(), |path| format!("are in {}", path.display()))
}

/// True if this form is a file that the command line builds from a dump.
pub(super) fn is_built_here(format: Format) -> bool {
    matches!(format, Format::Xlsx | Format::Sqlite)
}

/// Builds such a file. The file gets its name only once it is whole.
pub(super) fn build(config: &Config, selection: Selection, format: Format, output: Option<&Path>) -> io::Result<u8> {
    if output.is_none() && io::stdout().is_terminal() {
        complain(&"such a file is nothing for a terminal; name one with --output FILE");
        return Ok(USAGE);
    }
    let mut file = OutputFile::create(output.unwrap_or(Path::new("/dev/stdout")))?;
    let staged = file.staged()?.to_owned();
    let command = Command::Dump { selection };
    let (status, rows) = match format {
        Format::Sqlite => {
            let mut receiver = DumpReceiver::new(DatabaseBuilder::file(&staged)?);
            let status = call_owner(config, &command, &mut receiver)?;
            let rows = receiver.rows();
            receiver.finish()?.close()?;
            (status, rows)
        }
        _ => {
            let mut receiver = DumpReceiver::new(WorkbookBuilder::new()?);
            let status = call_owner(config, &command, &mut receiver)?;
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
