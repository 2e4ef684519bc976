//! CAMT.052, .053 and .054 of every version, matched by local names. The file is walked as a stream: only one entry at a
//! time is a tree, so that a long statement stays out of memory. No entity is expanded and no document type accepted.

use std::io::{self, BufRead, Read};

use chrono::NaiveDate;
use quick_xml::Reader as XmlReader;
use quick_xml::events::{BytesStart, Event};
use rust_decimal::Decimal;

use super::charset::shown;
use super::numbers;
use super::statement::{Balance, Format, Refusal, Rows, Statement};

mod entry;
mod node;

use node::Node;

/// Reads a file.
pub(super) fn read(text: impl BufRead, today: NaiveDate, rows: &mut Rows<'_>) -> Result<(), Refusal> {
    let mut walk = Walk { xml: XmlReader::from_reader(Lines { text, breaks: 0 }), buffer: Vec::new() };
    let mut depth = 0usize;
    loop {
        match walk.event()? {
            Event::Start(start) => {
                let format = match local(&start).as_str() {
                    "Stmt" => Some(Format::Camt053),
                    "Rpt" => Some(Format::Camt052),
                    "Ntfctn" => Some(Format::Camt054),
                    _ => None,
                };
                match format {
                    Some(format) => read_statement(&mut walk, format, today, rows)?,
                    None => depth += 1,
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => break,
            _ => {}
        }
    }
    if depth > 0 {
        return Err(walk.refuse("the file ends before its last element is closed"));
    }
    match rows.len() {
        0 => Err(Refusal::whole("no statement: the message holds no `Stmt`, `Rpt` or `Ntfctn`")),
        _ => Ok(()),
    }
}

/// The events of a file, with the line that they stand on.
struct Walk<R> {
    xml: XmlReader<Lines<R>>,
    buffer: Vec<u8>,
}

impl<R: BufRead> Walk<R> {
    /// The next event. Documents with a document type or an entity of their own are refused.
    fn event(&mut self) -> Result<Event<'static>, Refusal> {
        self.buffer.clear();
        match self.xml.read_event_into(&mut self.buffer).map(Event::into_owned) {
            Ok(Event::DocType(_)) => Err(self.refuse("the XML declares a document type, which no statement needs")),
            Ok(event) => Ok(event),
            Err(error) => Err(self.refuse(&format!("the XML is broken: {error}"))),
        }
    }

    fn refuse(&self, why: &str) -> Refusal {
        Refusal::line(self.line(), why)
    }

    fn line(&self) -> u64 {
        self.xml.get_ref().breaks + 1
    }
}

/// A text whose line ends are counted as they are read.
struct Lines<R> {
    text: R,
    breaks: u64,
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Lines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The bytes are in the buffer already, so this reads nothing.
        if let Ok(bytes) = self.text.fill_buf() {
            self.breaks += bytes.iter().take(count).filter(|byte| **byte == b'\n').count() as u64;
        }
        self.text.consume(count);
    }
}

/// The balances of a statement that say something of its entries.
#[derive(Default)]
struct Balances {
    opening: Option<Balance>,
    previous: Option<Balance>,
    closing: Option<Balance>,
}

/// Reads one statement, report or notification, up to its end.
fn read_statement(
    walk: &mut Walk<impl BufRead>,
    format: Format,
    today: NaiveDate,
    rows: &mut Rows<'_>,
) -> Result<(), Refusal> {
    let index = rows.begin(Statement::new(format));
    let mut balances = Balances::default();
    let mut created = None;
    let mut stated = false;
    let mut reversals = Decimal::ZERO;
    let mut seen = 0;
    loop {
        let start = match walk.event()? {
            Event::Start(start) => start,
            Event::End(_) => break,
            Event::Eof => return Err(walk.refuse("the file ends amid a statement")),
            _ => continue,
        };
        let statement = rows.statement(index);
        match local(&start).as_str() {
            "Acct" => account(&Node::read(walk, &start)?, statement),
            "Bal" => balance(&Node::read(walk, &start)?, statement, &mut balances),
            "CreDtTm" => created = numbers::iso_date(&Node::read(walk, &start)?.text).map(|(date, _)| date),
            "FrToDt" => stated = period(&Node::read(walk, &start)?, statement),
            "Ntry" => {
                seen += 1;
                let line = walk.line();
                let entry = Node::read(walk, &start).map_err(|refusal| refusal.of_entry(seen))?;
                let day = balances.closing.as_ref().and_then(|balance| balance.date).or(created);
                let row = entry::read(&entry, day, statement).map_err(|why| Refusal::line(line, why).of_entry(seen))?;
                let Some(row) = row else {
                    statement.pending += 1;
                    continue;
                };
                if statement.currency.is_none() && !row.currency.is_empty() {
                    statement.currency = Some(row.currency.clone());
                }
                if row.reversal {
                    reversals = reversals.checked_add(row.amount).unwrap_or(reversals);
                }
                if !stated {
                    statement.cover(row.date);
                }
                rows.row(index, row).map_err(|refusal| Refusal { line: Some(line), ..refusal })?;
            }
            _ => Node::skip(walk)?,
        }
    }
    settle(rows.statement(index), balances, reversals, stated, today);
    Ok(())
}

fn account(node: &Node, statement: &mut Statement) {
    let id = node.text_at(&["Id", "IBAN"]).or_else(|| node.text_at(&["Id", "Othr", "Id"]));
    // The first version has other places for accounts without an IBAN.
    let id = id.or_else(|| node.text_at(&["Id", "PrtryAcct", "Id"])).or_else(|| node.text_at(&["Id", "BBAN"]));
    statement.account = id.map(str::to_owned);
    statement.currency = node.text_at(&["Ccy"]).map(str::to_owned);
}

/// Keeps a balance that the entries lead from or to; a balance that cannot be read is a note.
fn balance(node: &Node, statement: &mut Statement, balances: &mut Balances) {
    let code = node.text_at(&["Tp", "CdOrPrtry", "Cd"]).or_else(|| node.text_at(&["Tp", "Cd"])).unwrap_or_default();
    let place = match code {
        "OPBD" => &mut balances.opening,
        "PRCD" => &mut balances.previous,
        "CLBD" => &mut balances.closing,
        _ => return,
    };
    let amount = node.child("Amt").and_then(|amount| numbers::signed(&amount.text));
    let Some(amount) = amount else {
        statement.notes.push(format!("the balance {code} cannot be read"));
        return;
    };
    if statement.currency.is_none() {
        statement.currency = node.child("Amt").and_then(|amount| amount.currency.clone());
    }
    let amount = if node.text_at(&["CdtDbtInd"]) == Some("DBIT") { -amount } else { amount };
    let date = node.child("Dt").and_then(entry::date).map(|(date, _)| date);
    // Several of one kind: intermediate pages come between the first opening and the last closing one.
    if place.is_none() || code == "CLBD" {
        *place = Some(Balance { date, amount });
    }
}

/// The period that the statement claims to be whole.
fn period(node: &Node, statement: &mut Statement) -> bool {
    let day = |names: [&str; 2]| names.iter().find_map(|name| node.text_at(&[name])).and_then(numbers::iso_date);
    let (from, until) = (day(["FrDtTm", "FrDt"]), day(["ToDtTm", "ToDt"]));
    if let (Some((from, since)), Some((until, _))) = (from, until)
        && from <= until
    {
        statement.from = Some(from);
        statement.until = Some(until);
        // A period that begins amid a day leaves the hours before to another file.
        statement.first_day_is_closed = since.is_none_or(|clock| clock.time == chrono::NaiveTime::MIN);
        return true;
    }
    false
}

/// Judges a statement by its balances when its last entry is read.
fn settle(statement: &mut Statement, balances: Balances, reversals: Decimal, stated: bool, today: NaiveDate) {
    statement.opening = balances.opening.or(balances.previous);
    statement.closing = balances.closing;
    let amount = |balance: &Option<Balance>| balance.as_ref().map(|balance| balance.amount);
    if let (Some(opening), Some(closing)) = (amount(&statement.opening), amount(&statement.closing)) {
        let reached = opening.checked_add(statement.sum);
        statement.adds_up = Some(reached == Some(closing));
        let inverted = statement.sum.checked_sub(reversals).and_then(|sum| sum.checked_sub(reversals));
        let inverted = inverted.filter(|_| !reversals.is_zero() && statement.adds_up == Some(false));
        if let Some(sum) = inverted.filter(|sum| opening.checked_add(*sum) == Some(closing)) {
            statement.sum = sum;
            statement.adds_up = Some(true);
            statement.reversals_inverted = true;
            statement.notes.push("the signs of reversals are those of what they undo, and are turned round".to_owned());
        }
    }
    let closing_day = statement.closing.as_ref().and_then(|balance| balance.date);
    if let Some(day) = closing_day.filter(|_| !stated) {
        statement.cover(day);
    }
    // Only the statement proper speaks of whole days, and only the closing balance of the last day ends it.
    statement.last_day_is_closed = statement.format == Format::Camt053
        && closing_day.is_some()
        && closing_day == statement.until
        && closing_day.is_some_and(|day| day < today);
    if statement.pending > 0 {
        statement.notes.push(format!("{} announced entries are not booked yet", statement.pending));
    }
}

/// The name of an element without its prefix.
fn local(start: &BytesStart<'_>) -> String {
    start.local_name().as_ref().to_owned()
}

/// A text for a message.
fn quoted(text: &str) -> String {
    format!("`{}`", shown(text))
}
