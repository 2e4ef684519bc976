//! OFX and QFX of both generations, and the mixes that banks write: a header of either kind over tags closed or not. A value
//! ends at the next `<` or at the end of its line; unknown tags are passed over.

use chrono::NaiveDate;

use super::charset::{cut, shown};
use super::numbers;
use super::statement::{Balance, Format, Refusal, Rows, Statement};

mod entry;
mod tokens;

use entry::Entry;
use tokens::{Token, Tokens};

/// The aggregates whose place in the file matters; all others are transparent.
const AGGREGATES: [&str; 20] = [
    "STATUS",
    "STMTRS",
    "CCSTMTRS",
    "INVSTMTRS",
    "BANKACCTFROM",
    "CCACCTFROM",
    "INVACCTFROM",
    "BANKACCTTO",
    "CCACCTTO",
    "BANKTRANLIST",
    "INVTRANLIST",
    "BANKTRANLISTP",
    "STMTTRN",
    "STMTTRNP",
    "PAYEE",
    "CURRENCY",
    "ORIGCURRENCY",
    "LEDGERBAL",
    "AVAILBAL",
    "BAL",
];

/// Reads a file.
pub(super) fn read(text: &str, today: NaiveDate, rows: &mut Rows<'_>) -> Result<(), Refusal> {
    let mut reader = Reader {
        rows,
        today,
        open: Vec::new(),
        index: None,
        entry: None,
        balance: (None, None),
        status: Status::default(),
        closed: false,
    };
    let mut tokens = Tokens::new(text);
    while let Some(token) = tokens.next() {
        let line = |tokens: &mut Tokens<'_>| tokens.line();
        match token {
            Token::Open(name) => reader.opened(&name, &mut tokens)?,
            Token::Value(name, value) => reader.value(&name, value),
            Token::Close(name) => {
                reader.closed |= name == "OFX";
                let line = line(&mut tokens);
                reader.closes(&name, line)?;
            }
        }
    }
    let line = tokens.line();
    reader.finish(line)
}

struct Reader<'r, 's> {
    rows: &'r mut Rows<'s>,
    today: NaiveDate,
    /// The aggregates that are open, of those that matter.
    open: Vec<&'static str>,
    index: Option<usize>,
    entry: Option<Entry>,
    balance: (Option<rust_decimal::Decimal>, Option<NaiveDate>),
    status: Status,
    closed: bool,
}

/// The server's verdict on the request that the file answers.
#[derive(Default)]
struct Status {
    severity: String,
    message: String,
    code: String,
    /// The first that says ERROR.
    error: Option<String>,
}

impl Reader<'_, '_> {
    fn opened(&mut self, name: &str, tokens: &mut Tokens<'_>) -> Result<(), Refusal> {
        let Some(known) = AGGREGATES.into_iter().find(|aggregate| *aggregate == name) else { return Ok(()) };
        match known {
            "STMTRS" | "CCSTMTRS" | "INVSTMTRS" => {
                self.end_of_entry(tokens.line())?;
                self.open.clear();
                self.index = Some(self.rows.begin(Statement::new(Format::Ofx)));
                if known == "INVSTMTRS"
                    && let Some(index) = self.index
                {
                    let note = "an investment account: only its cash entries are read, no securities";
                    self.rows.statement(index).notes.push(note.to_owned());
                }
            }
            "STMTTRN" | "STMTTRNP" => {
                self.end_of_entry(tokens.line())?;
                self.open.retain(|open| !matches!(*open, "STMTTRN" | "STMTTRNP"));
                self.entry = Some(Entry::new(known == "STMTTRNP" || self.open.contains(&"BANKTRANLISTP")));
            }
            "LEDGERBAL" => self.balance = (None, None),
            "STATUS" => self.status = Status { error: self.status.error.take(), ..Status::default() },
            _ => {}
        }
        self.open.push(known);
        // Aggregates that are never closed must not pile up.
        self.open.truncate(64);
        Ok(())
    }

    fn value(&mut self, name: &str, value: String) {
        let inside = self.open.last().copied().unwrap_or_default();
        if inside == "STATUS" {
            return self.status.value(name, value);
        }
        if let Some(entry) = &mut self.entry {
            return entry.value(inside, name, value);
        }
        let Some(index) = self.index else { return };
        let statement = self.rows.statement(index);
        match (inside, name) {
            ("BANKACCTFROM" | "CCACCTFROM" | "INVACCTFROM", "ACCTID") => statement.account = Some(value),
            (_, "CURDEF") => {
                let value = value.to_ascii_uppercase();
                statement.currency = Some(value).filter(|currency| currency.len() == 3);
            }
            ("BANKTRANLIST" | "INVTRANLIST", "DTSTART") => statement.from = entry::date(&value),
            ("BANKTRANLIST" | "INVTRANLIST", "DTEND") => {
                statement.until = entry::date(&value).map(|date| date.min(self.today));
            }
            ("LEDGERBAL", "BALAMT") => {
                self.balance.0 = numbers::signed(&value);
                if self.balance.0.is_none() && !value.is_empty() {
                    statement.notes.push(format!("the balance `{}` cannot be read", shown(&value)));
                }
            }
            ("LEDGERBAL", "DTASOF") => self.balance.1 = entry::date(&value),
            _ => {}
        }
    }

    fn closes(&mut self, name: &str, line: u64) -> Result<(), Refusal> {
        let Some(at) = self.open.iter().rposition(|open| *open == name) else { return Ok(()) };
        let closed = self.open.split_off(at);
        if closed.iter().any(|open| matches!(*open, "STMTTRN" | "STMTTRNP")) {
            self.end_of_entry(line)?;
        }
        match name {
            "STATUS" => self.status.end(),
            "LEDGERBAL" => {
                if let (Some(index), Some(amount)) = (self.index, self.balance.0) {
                    self.rows.statement(index).closing = Some(Balance { date: self.balance.1, amount });
                }
            }
            "STMTRS" | "CCSTMTRS" | "INVSTMTRS" => {
                if let Some(index) = self.index.take() {
                    settle(self.rows.statement(index));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_of_entry(&mut self, line: u64) -> Result<(), Refusal> {
        let Some(entry) = self.entry.take() else { return Ok(()) };
        let Some(index) = self.index else { return Ok(()) };
        let statement = self.rows.statement(index);
        if entry.pending {
            statement.pending += 1;
            return Ok(());
        }
        if entry.deletes() {
            statement.notes.push("an entry that takes another one back was left out".to_owned());
            return Ok(());
        }
        let number = statement.entries + 1;
        let row = entry.into_row().map_err(|why| Refusal::line(line, why).of_entry(number))?;
        self.rows.row(index, row).map_err(|refusal| Refusal { line: Some(line), ..refusal })
    }

    fn finish(mut self, line: u64) -> Result<(), Refusal> {
        if self.entry.is_some() || (self.index.is_some() && !self.closed) {
            return Err(Refusal::line(line, "the file ends amid a statement"));
        }
        if let Some(index) = self.index.take() {
            settle(self.rows.statement(index));
        }
        match (self.rows.len(), self.status.error) {
            (0, Some(error)) => {
                Err(Refusal::whole(format!("the bank's server answered with an error: {}", cut(&error, 400))))
            }
            (0, None) => Err(Refusal::whole("no statement: the file holds no `STMTRS`, `CCSTMTRS` or `INVSTMTRS`")),
            (_, Some(error)) => {
                let note = format!("the bank's server reported an error: {}", cut(&error, 400));
                self.rows.statement(0).notes.push(note);
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }
}

/// A list that begins after it ends, as a download of "now" has it, says nothing.
fn settle(statement: &mut Statement) {
    if statement.from.zip(statement.until).is_some_and(|(from, until)| from > until) {
        statement.from = None;
        statement.until = None;
    }
    statement.first_day_is_closed = statement.from.is_some();
}

impl Status {
    fn value(&mut self, name: &str, value: String) {
        match name {
            "SEVERITY" => self.severity = value,
            "MESSAGE" => self.message = value,
            "CODE" => self.code = value,
            _ => {}
        }
    }

    fn end(&mut self) {
        if self.severity.eq_ignore_ascii_case("ERROR") && self.error.is_none() {
            self.error = Some(match self.message.is_empty() {
                true => format!("code {}", self.code),
                false => self.message.clone(),
            });
        }
    }
}
