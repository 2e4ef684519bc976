//! The bytes of a file: in memory, or read from the file once more for each reading where a long CAMT message would take too
//! much of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use ring::digest;

use super::sniff::{self, Kind};
use super::statement::{FileRow, Reading, Refusal, Rows};
use super::{LONGEST_FILE_BYTES, Options, camt};

/// A file of up to this length is read into memory.
const IN_MEMORY_BYTES: u64 = 16 << 20;

/// Bytes read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The content of a file.
pub enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// A CAMT message in UTF-8 that stays where it is.
    Camt(File),
}

impl Content {
    /// Reads a file, with the SHA-256 of its bytes; `Ok(None)`: the file is longer than is ever read.
    pub fn read(mut file: File) -> io::Result<Option<(Content, String)>> {
        let length = file.metadata()?.len();
        if length > LONGEST_FILE_BYTES as u64 {
            return Ok(None);
        }
        if length > IN_MEMORY_BYTES
            && let Some(sha256) = camt_in_utf8(&mut file)?
        {
            return Ok(Some((Content::Camt(file), sha256)));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        file.rewind()?;
        file.take(LONGEST_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > LONGEST_FILE_BYTES {
            return Ok(None);
        }
        let sha256 = hex(digest::digest(&digest::SHA256, &bytes).as_ref());
        Ok(Some((Content::Bytes(bytes), sha256)))
    }

    /// The bytes that are in memory.
    pub fn len_bytes(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::Camt(_) => 0,
        }
    }

    /// As [`super::inspect_with`].
    pub(super) fn inspect(
        &self,
        name: &str,
        options: &Options,
        sink: &mut dyn FnMut(usize, FileRow),
    ) -> Result<Reading, Refusal> {
        match self {
            Content::Bytes(bytes) => super::inspect_with(name, bytes, options, sink),
            Content::Camt(file) => {
                let mut rows = Rows::new(sink);
                camt::read(from_the_start(file)?, options.today, &mut rows)?;
                let mut reading = Reading { statements: rows.into_statements(), notes: Vec::new() };
                reading.statements.iter_mut().try_for_each(|statement| statement.complete(options))?;
                Ok(reading)
            }
        }
    }

    /// As [`super::rows`].
    pub(super) fn rows(
        &self,
        name: &str,
        options: &Options,
        reading: &Reading,
        sink: &mut dyn FnMut(usize, FileRow),
    ) -> Result<(), Refusal> {
        match self {
            Content::Bytes(bytes) => super::rows(name, bytes, options, reading, sink),
            Content::Camt(file) => {
                let mut finished = |index: usize, mut row: FileRow| {
                    if let Some(statement) = reading.statements.get(index) {
                        statement.finish(&mut row);
                        sink(index, row);
                    }
                };
                camt::read(from_the_start(file)?, options.today, &mut Rows::new(&mut finished))
            }
        }
    }
}

/// The text of a file without a byte order mark.
fn from_the_start(mut file: &File) -> Result<BufReader<&File>, Refusal> {
    let unreadable = |error: io::Error| Refusal::whole(format!("the file cannot be read any more: {error}"));
    file.rewind().map_err(unreadable)?;
    let mut reader = BufReader::with_capacity(CHUNK_BYTES, file);
    if reader.fill_buf().map_err(unreadable)?.starts_with("\u{feff}".as_bytes()) {
        reader.consume("\u{feff}".len());
    }
    Ok(reader)
}

/// The SHA-256 of a CAMT message in UTF-8; `None`: the file is another one.
fn camt_in_utf8(file: &mut File) -> io::Result<Option<String>> {
    file.rewind()?;
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut chunk, mut left, mut is_first) = (vec![0; CHUNK_BYTES], 0, true);
    loop {
        let read = file.read(&mut chunk[left..])?;
        let whole = &chunk[..left + read];
        if std::mem::take(&mut is_first) && !matches!(sniff::kind(whole), Ok(Kind::Camt)) {
            return Ok(None);
        }
        context.update(&whole[left..]);
        let valid = match std::str::from_utf8(whole) {
            Ok(_) => whole.len(),
            // A character may go on in the next chunk.
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Ok(None),
        };
        if read == 0 {
            return Ok(Some(hex(context.finish().as_ref())));
        }
        let end = left + read;
        chunk.copy_within(valid..end, 0);
        left = end - valid;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
