//! Statement files: MT940 and MT942, CAMT.052, .053 and .054, OFX and QFX, CSV, and zip archives of these.
//!
//! The readers are pure: the bytes of one file go in, and statements with their rows come out, or one refusal that names the
//! line or the entry. A file counts whole or not at all. The bytes are read twice: [`inspect`] proves that the file can be
//! read and says what it holds, [`rows`] then hands over the rows one by one, so that a long statement is never in memory
//! as rows. The readers know neither directories nor stores, and no clock but the day they are given.
//!
//! The kind `files` ([`KIND`]) brings the files of a directory to the readers: [`session`] gives one round for each
//! statement, and [`inbox`] moves a file away once all of its rows are stored. The command `import` reads single files in
//! the same way, through [`prepared`] and [`pages`].

use std::collections::BTreeMap;

use chrono::NaiveDate;

mod archive;
mod camt;
mod charset;
pub mod content;
mod csv;
pub mod identity;
pub mod inbox;
mod interview;
mod keywords;
mod layout_keys;
pub mod layouts;
mod mt940;
mod numbers;
mod ofx;
pub mod pages;
pub mod prepared;
pub mod session;
pub mod settings;
mod sniff;
pub mod state;
mod statement;

use layouts::Layout;
pub use settings::KIND;
use sniff::Kind;
pub use statement::{Balance, Clock, FileRow, Format, Reading, Refusal, Statement};
use statement::{RowSink, Rows};

/// The longest file that is read, and the most that an archive may unpack to.
pub const LONGEST_FILE_BYTES: usize = 128 << 20;

/// The owner's word on the files of one source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The account of files that name none.
    pub account: Option<String>,
    /// The currency of files that name none.
    pub currency: Option<String>,
    /// Names of accounts in files, each with the name of that account here.
    pub accounts: BTreeMap<String, String>,
    /// The encoding of files that are neither UTF-8 nor say what they are.
    pub encoding: Option<String>,
    /// The owner's CSV layouts; a file is tried with them before those that ship.
    pub layouts: Vec<Layout>,
    /// The one CSV layout to use, by its name.
    pub layout: Option<String>,
    /// Today: the last day of a statement is closed only when it is over.
    pub today: NaiveDate,
}

/// Reads a file whole and says which statements it holds, without their rows.
pub fn inspect(name: &str, bytes: &[u8], options: &Options) -> Result<Reading, Refusal> {
    inspect_with(name, bytes, options, &mut |_, _| {})
}

/// As [`inspect`]; `sink` sees each row as its reader gives it, before the statement completes the row.
pub fn inspect_with(
    name: &str,
    bytes: &[u8],
    options: &Options,
    sink: &mut dyn FnMut(usize, FileRow),
) -> Result<Reading, Refusal> {
    if bytes.len() > LONGEST_FILE_BYTES {
        return Err(Refusal::whole(format!("the file is longer than {} MiB", LONGEST_FILE_BYTES >> 20)));
    }
    let mut reading = match sniff::kind(bytes)? {
        Kind::Zip => archive::inspect(bytes, options, sink)?,
        kind => one_file(name, kind, bytes, options, sink)?,
    };
    for statement in &mut reading.statements {
        statement.complete(options)?;
    }
    Ok(reading)
}

/// Hands over the rows of a file that [`inspect`] has read, each with the number of its statement.
pub fn rows(
    name: &str,
    bytes: &[u8],
    options: &Options,
    reading: &Reading,
    sink: &mut dyn FnMut(usize, FileRow),
) -> Result<(), Refusal> {
    let statements = &reading.statements;
    let mut finished = |index: usize, mut row: FileRow| {
        if let Some(statement) = statements.get(index) {
            statement.finish(&mut row);
            sink(index, row);
        }
    };
    match sniff::kind(bytes)? {
        Kind::Zip => archive::rows(bytes, options, &mut finished)?,
        kind => {
            one_file(name, kind, bytes, options, &mut finished)?;
        }
    }
    Ok(())
}

/// Reads a file into memory, rows and all: for short files and tests.
pub fn read(name: &str, bytes: &[u8], options: &Options) -> Result<Vec<(Statement, Vec<FileRow>)>, Refusal> {
    let reading = inspect(name, bytes, options)?;
    let mut all: Vec<Vec<FileRow>> = reading.statements.iter().map(|_| Vec::new()).collect();
    rows(name, bytes, options, &reading, &mut |index, row| {
        if let Some(rows) = all.get_mut(index) {
            rows.push(row);
        }
    })?;
    Ok(reading.statements.into_iter().zip(all).collect())
}

/// Reads a file that is no archive.
fn one_file(name: &str, kind: Kind, bytes: &[u8], options: &Options, sink: RowSink<'_>) -> Result<Reading, Refusal> {
    let mut rows = Rows::new(sink);
    let mut notes = Vec::new();
    let configured = options.encoding.as_deref();
    match kind {
        Kind::Mt940 => mt940::read(&charset::decode(bytes, configured, &mut notes)?, options.today, &mut rows)?,
        Kind::Camt => {
            let declared = configured.map(str::to_owned).or_else(|| charset::xml_declaration(bytes));
            camt::read(charset::decode(bytes, declared.as_deref(), &mut notes)?.as_bytes(), options.today, &mut rows)?;
        }
        Kind::Ofx => {
            let declared = charset::ofx_declaration(bytes).or_else(|| configured.map(str::to_owned));
            ofx::read(&charset::decode(bytes, declared.as_deref(), &mut notes)?, options.today, &mut rows)?;
        }
        Kind::Csv => csv::read(name, bytes, options, &mut rows, &mut notes)?,
        Kind::Zip => return Err(Refusal::whole("an archive inside an archive is not opened")),
    }
    Ok(Reading { statements: rows.into_statements(), notes })
}

#[cfg(test)]
mod tests;
