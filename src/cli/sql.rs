//! `bankfeed sql`: questions to the store in SQL, at once or at a prompt.
//!
//! The process with the store sends a dump once; this process answers the questions from a database in its memory. At a
//! prompt all answers are about the moment at which the prompt was opened.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::call::call_owner;
use super::dump_receiver::DumpReceiver;
use super::terminal::{Terminal, complain};
use crate::commands::USAGE;
use crate::config::Config;
use crate::control::{Command, Output};
use crate::export::csv;
use crate::export::sqlite::{AnswerWriter, Cell, Database, DatabaseBuilder};
use crate::printable::is_printable;
use crate::selection::Selection;

/// Forms of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For eyes.
    Table,
    /// Comma-separated values.
    Csv,
    /// An array of objects.
    Json,
}

/// Longest question, longer than any that a person types.
const LONGEST_INPUT: u64 = 1024 * 1024;

/// Letters of a text in a table.
const WIDEST: usize = 60;

/// Memory for a table, which is held whole, because its last row decides about the widths.
const TABLE_MIB: usize = 64;

/// Memory of a cell without its text.
const CELL_BYTES: usize = 32;

/// Bytes printed at once.
const CHUNK_BYTES: usize = 64 * 1024;

const WELCOME: &str = "\
A question ends with a semicolon, for example:  SELECT * FROM transactions ORDER BY date DESC LIMIT 5;
Tables: accounts, transactions, deliveries. Their columns:  PRAGMA table_info(transactions);
To leave: quit, or Ctrl-D.
";

/// Answers the question, or the questions that are typed.
pub(super) fn run(config: &Config, question: Option<&str>, format: Format) -> io::Result<u8> {
    let mut receiver = DumpReceiver::new(DatabaseBuilder::in_memory()?);
    let status = call_owner(config, &Command::Dump { selection: Selection::default() }, &mut receiver)?;
    if status != 0 {
        return Ok(status);
    }
    let mut session = Session { database: receiver.finish()?.open()?, format, terminal: Terminal::stdout() };
    let status = match question {
        Some(question) => session.answer(question)?,
        None if io::stdin().is_terminal() => session.prompt()?,
        None => session.read_all()?,
    };
    session.terminal.finish()?;
    Ok(status)
}

struct Session {
    database: Database,
    format: Format,
    terminal: Terminal,
}

impl Session {
    /// Answers questions from a pipe: separated by semicolons, or one question, or one on each line. Returns the worst
    /// status.
    fn read_all(&mut self) -> io::Result<u8> {
        let mut text = String::new();
        io::stdin().take(LONGEST_INPUT).read_to_string(&mut text)?;
        let one = !text.contains(';') && self.database.understands(&text);
        let questions = if one { vec![text] } else { split(&text) };
        let mut worst = 0;
        for question in &questions {
            worst = worst.max(self.answer(question)?);
        }
        Ok(worst)
    }

    /// Answers questions from a keyboard. A wrong question does not end the prompt.
    fn prompt(&mut self) -> io::Result<u8> {
        io::stderr().write_all(WELCOME.as_bytes())?;
        let (mut stdin, mut question) = (io::stdin().lock(), String::new());
        loop {
            io::stderr().write_all(if question.is_empty() { b"sql> " } else { b"  -> " })?;
            let mut line = String::new();
            if stdin.by_ref().take(LONGEST_INPUT).read_line(&mut line)? == 0 {
                io::stderr().write_all(b"\n")?;
                return Ok(0);
            }
            let word = line.trim();
            if question.is_empty()
                && ["quit", "exit", ".quit", ".exit", "q", "\\q"].contains(&word.trim_end_matches(';'))
            {
                return Ok(0);
            }
            question += &line;
            if word.ends_with(';') || question.len() as u64 > LONGEST_INPUT {
                self.answer(&std::mem::take(&mut question))?;
            } else if question.trim().is_empty() {
                question.clear();
            }
        }
    }

    fn answer(&mut self, question: &str) -> io::Result<u8> {
        if question.trim().trim_end_matches(';').is_empty() {
            complain(&"there is no question");
            return Ok(USAGE);
        }
        let mut printer = Printer {
            format: self.format,
            terminal: &mut self.terminal,
            names: Vec::new(),
            table: Vec::new(),
            table_bytes: 0,
            chunk: String::new(),
            rows: 0,
        };
        match self.database.answer(question, &mut printer)? {
            Ok(()) => printer.end().map(|()| 0),
            Err(why) => {
                complain(&why);
                Ok(USAGE)
            }
        }
    }
}

/// Prints an answer row by row, a table at the end.
struct Printer<'a> {
    format: Format,
    terminal: &'a mut Terminal,
    names: Vec<String>,
    table: Vec<Vec<Cell>>,
    table_bytes: usize,
    chunk: String,
    rows: u64,
}

impl AnswerWriter for Printer<'_> {
    fn head(&mut self, names: &[String]) -> io::Result<()> {
        self.names = distinct(names);
        if self.format == Format::Csv {
            self.chunk = csv::line(&self.names)?;
        }
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<Result<(), String>> {
        match self.format {
            Format::Table => {
                self.table_bytes += cells.iter().map(|cell| CELL_BYTES + text_bytes(cell)).sum::<usize>();
                if self.table_bytes > TABLE_MIB * 1024 * 1024 {
                    return Ok(Err(format!(
                        "the answer is larger than {TABLE_MIB} MiB, the limit of a table; add a LIMIT, or use --format csv"
                    )));
                }
                self.table.push(cells);
            }
            Format::Csv => self.chunk += &csv::line(&cells.iter().map(csv_cell).collect::<Vec<_>>())?,
            Format::Json => {
                self.chunk += if self.rows == 0 { "[\n" } else { ",\n" };
                self.chunk += &serde_json::to_string(&Object { names: &self.names, cells: &cells })?;
            }
        }
        self.rows += 1;
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(Ok(()))
    }
}

impl Printer<'_> {
    fn flush(&mut self) -> io::Result<()> {
        self.terminal.data(&std::mem::take(&mut self.chunk))
    }

    fn end(mut self) -> io::Result<()> {
        match self.format {
            Format::Table => self.chunk = table(&self.names, &self.table),
            Format::Json => self.chunk += if self.rows == 0 { "[]\n" } else { "\n]\n" },
            Format::Csv => {}
        }
        self.flush()
    }
}

/// A row as JSON. Amounts are text, as in all JSON of the program.
struct Object<'a> {
    names: &'a [String],
    cells: &'a [Cell],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.cells.len()))?;
        for (name, cell) in self.names.iter().zip(self.cells) {
            match cell {
                Cell::Nothing => map.serialize_entry(name, &())?,
                Cell::Integer(integer) => map.serialize_entry(name, integer)?,
                Cell::Number(text) | Cell::Text(text) => map.serialize_entry(name, text)?,
            }
        }
        map.end()
    }
}

fn csv_cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => csv::inert(text),
        other => plain(other),
    }
}

fn text_bytes(cell: &Cell) -> usize {
    match cell {
        Cell::Number(text) | Cell::Text(text) => text.len(),
        Cell::Nothing | Cell::Integer(_) => 0,
    }
}

fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Number(text) | Cell::Text(text) => text.clone(),
    }
}

/// Numbers columns of the same name, which would hide each other in an object.
fn distinct(names: &[String]) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let mut number = 2;
        let mut own = name.clone();
        while distinct.contains(&own) {
            own = format!("{name}_{number}");
            number += 1;
        }
        distinct.push(own);
    }
    distinct
}

/// Columns of equal width, numbers to the right, long texts cut.
fn table(names: &[String], rows: &[Vec<Cell>]) -> String {
    let head: Vec<String> = names.iter().map(|name| shown(name)).collect();
    let body: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| shown(&plain(cell))).collect()).collect();
    let width = |at: usize| {
        let column = body.iter().filter_map(|row| row.get(at)).chain(head.get(at));
        column.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let right: Vec<bool> = (0..names.len())
        .map(|at| rows.iter().all(|row| !matches!(row.get(at), Some(Cell::Text(_)))) && !rows.is_empty())
        .collect();
    let line = |texts: &[String]| {
        let cells =
            texts.iter().zip(&widths).zip(&right).map(|((text, width), right)| {
                if *right { format!("{text:>width$}") } else { format!("{text:<width$}") }
            });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    [line(&head), line(&rule)].into_iter().chain(body.iter().map(|row| line(row))).collect()
}

/// Text on one line, without characters that could steer a terminal.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(WIDEST).map(|c| if is_printable(c) { c } else { ' ' }).collect();
    if text.chars().nth(WIDEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Splits text into questions at semicolons that are neither in quotes nor in a comment; without semicolons at line
/// breaks.
fn split(text: &str) -> Vec<String> {
    let mut questions = Vec::new();
    let (mut question, mut quote, mut comment) = (String::new(), None, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\n', _) if comment => comment = false,
            _ if comment => {}
            (letter, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"' | '`', None) => quote = Some(letter),
            ('-', None) if letters.peek() == Some(&'-') => comment = true,
            (';', None) => {
                questions.push(std::mem::take(&mut question));
                continue;
            }
            _ => {}
        }
        question.push(letter);
    }
    if questions.is_empty() {
        return text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    }
    questions.push(question);
    questions.retain(|question| !question.trim().is_empty());
    questions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_told_apart() {
        assert_eq!(split("SELECT 1;\nSELECT ';' -- ; no\n;"), ["SELECT 1", "\nSELECT ';' -- ; no\n"]);
        assert_eq!(split("SELECT 1\n\nSELECT 2\n"), ["SELECT 1", "SELECT 2"]);
        assert_eq!(split(" \n"), Vec::<String>::new());
    }

    #[test]
    fn a_table_has_straight_columns() {
        let rows = [
            vec![Cell::Text("КАФЕ\u{1b}[2J".into()), Cell::Number("-12.30".into()), Cell::Nothing],
            vec![Cell::Text("a".into()), Cell::Integer(7), Cell::Nothing],
        ];
        let names = distinct(&["who".into(), "sum".into(), "sum".into()]);
        assert_eq!(
            table(&names, &rows),
            "who          sum  sum_2\n--------  ------  -----\nКАФЕ [2J  -12.30\na              7\n"
        );
    }
}
