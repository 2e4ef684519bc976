//! The records of a CSV file, whatever is wrong with it: ragged rows, missing quotes, several kinds of line ends.

use super::super::statement::Refusal;

/// The delimiters that are tried where a layout names none.
pub(super) const DELIMITERS: [u8; 4] = *b";,\t|";

/// The number of records that are looked at to find a header.
const HEAD: usize = 60;
/// The most lines of one record: a quote that is never closed would swallow the rest of the file.
const MOST_LINES: u64 = 40;

/// A record with its line.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Counted from 1.
    pub(super) line: u64,
    /// The byte it begins at; the line alone does not order records.
    pub(super) at: u64,
    pub(super) fields: Vec<String>,
}

impl Record {
    /// A field without blanks, stray quotes and spreadsheet armour; empty where the record is too short.
    pub(super) fn field(&self, at: usize) -> &str {
        self.fields.get(at).map(|field| plain(field)).unwrap_or_default()
    }
}

/// A field's text without what only spreadsheets need.
pub(super) fn plain(field: &str) -> &str {
    let field = field.trim_matches(|char: char| char.is_whitespace() || char == '\u{feff}');
    let field = field.strip_prefix("=\"").and_then(|inner| inner.strip_suffix('"')).unwrap_or(field);
    field.trim_matches('"').trim()
}

/// Walks through a text, record by record.
pub(super) struct Records<'a> {
    reader: ::csv::Reader<&'a [u8]>,
    record: ::csv::StringRecord,
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a str, delimiter: u8, skip_lines: usize) -> Records<'a> {
        let mut rest = text;
        for _ in 0..skip_lines {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(rest.as_bytes());
        let line = skip_lines as u64 + 1;
        Records { reader, record: ::csv::StringRecord::new(), text: rest.as_bytes(), counted: 0, line }
    }

    /// The next record; a record of blanks alone is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Refusal> {
        loop {
            let more = self.reader.read_record(&mut self.record);
            let at = self.record.position().map_or(0, ::csv::Position::byte);
            let line = self.line_at(at);
            let more = more.map_err(|error| Refusal::line(line, format!("the CSV is broken: {error}")))?;
            if !more {
                return Ok(None);
            }
            let lines: usize =
                self.record.iter().map(|field| field.bytes().filter(|byte| *byte == b'\n').count()).sum();
            if lines as u64 > MOST_LINES {
                return Err(Refusal::line(line, "a quote is opened and never closed"));
            }
            if self.record.iter().any(|field| !field.trim().is_empty()) {
                let fields = self.record.iter().map(str::to_owned).collect();
                return Ok(Some(Record { line, at, fields }));
            }
        }
    }

    /// The line of a place. The record before may have left a part of its line end.
    fn line_at(&mut self, at: u64) -> u64 {
        let mut at = usize::try_from(at).unwrap_or(usize::MAX).min(self.text.len());
        while self.text.get(at).is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            at += 1;
        }
        let new = self.text.get(self.counted..at).unwrap_or_default();
        self.line += new.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counted = self.counted.max(at);
        self.line
    }

    /// The first records, as far as they can be read.
    pub(super) fn head(mut self) -> Vec<Record> {
        let mut head = Vec::new();
        while head.len() < HEAD {
            match self.next() {
                Ok(Some(record)) => head.push(record),
                _ => break,
            }
        }
        head
    }
}
