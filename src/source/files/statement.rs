//! The result of every reader: statements, their rows, or one refusal.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{FixedOffset, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use super::Options;

/// The kind of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    Mt940,
    Mt942,
    Camt052,
    Camt053,
    Camt054,
    Ofx,
    Csv,
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Format::Mt940 => "mt940",
            Format::Mt942 => "mt942",
            Format::Camt052 => "camt.052",
            Format::Camt053 => "camt.053",
            Format::Camt054 => "camt.054",
            Format::Ofx => "ofx",
            Format::Csv => "csv",
        })
    }
}

/// A balance as the file states it; money owed is negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The day it speaks of, where that day exists.
    pub date: Option<NaiveDate>,
    /// The amount.
    pub amount: Decimal,
}

/// A statement of one account.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The kind of file it stood in.
    pub format: Format,
    /// The account as the file writes it; after [`super::inspect`] as it is called here.
    pub account: Option<String>,
    /// ISO 4217, where the file or the owner says it.
    pub currency: Option<String>,
    /// The first day that it speaks of.
    pub from: Option<NaiveDate>,
    /// The last day that it speaks of.
    pub until: Option<NaiveDate>,
    /// The entries of the first day are complete.
    pub first_day_is_closed: bool,
    /// The entries of the last day are complete.
    pub last_day_is_closed: bool,
    /// The balance before the entries.
    pub opening: Option<Balance>,
    /// The balance after the entries.
    pub closing: Option<Balance>,
    /// The number of booked entries.
    pub entries: usize,
    /// The sum of the booked entries.
    pub sum: Decimal,
    /// Opening balance and entries give the closing balance, where both balances are known.
    pub adds_up: Option<bool>,
    /// The entries stand from the newest to the oldest.
    pub newest_first: bool,
    /// Entries that are announced but not booked; they are left out.
    pub pending: usize,
    /// Oddities worth a line in the report.
    pub notes: Vec<String>,
    /// The number of its file among the members of an archive.
    pub document: usize,
    /// The signs of reversals say what they undo, not which way the money goes (SFirm).
    pub(super) reversals_inverted: bool,
    /// A bank id belongs to different entries, so no bank id of this statement identifies an entry.
    pub(super) ids_repeat: bool,
}

/// The time of day of an entry, with its offset where the bank gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// As written.
    pub time: NaiveTime,
    /// The bank's own offset.
    pub offset: Option<FixedOffset>,
}

/// A booked entry. Empty texts mean that the file says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileRow {
    /// The day it was booked.
    pub date: NaiveDate,
    /// When on that day.
    pub time: Option<Clock>,
    /// The day it counts for interest.
    pub value_date: Option<NaiveDate>,
    /// Money out is negative.
    pub amount: Decimal,
    /// ISO 4217; empty where only the statement or the owner knows.
    pub currency: String,
    /// The balance after it.
    pub balance: Option<Decimal>,
    /// Name of the other side.
    pub counterparty: String,
    /// Account of the other side.
    pub counterparty_account: String,
    /// The remittance text.
    pub description: String,
    /// The reference that the payer or payee gave.
    pub reference: String,
    /// The bank's permanent name for the entry.
    pub bank_id: Option<String>,
    /// The kind of entry in words.
    pub kind: String,
    /// The kind of entry as a code.
    pub code: String,
    /// The entry as received, as JSON.
    pub raw: String,
    /// The entry undoes another one.
    pub reversal: bool,
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// In the order of the file.
    pub statements: Vec<Statement>,
    /// Oddities of the file as a whole.
    pub notes: Vec<String>,
}

/// Why a file is not read; nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line in question, counted from 1.
    pub line: Option<u64>,
    /// The entry in question, counted from 1 within its statement.
    pub entry: Option<usize>,
    /// In words.
    pub why: String,
}

impl Refusal {
    /// A refusal of the file as a whole.
    pub fn whole(why: impl Into<String>) -> Refusal {
        Refusal { line: None, entry: None, why: why.into() }
    }

    /// A refusal of a line.
    pub fn line(line: u64, why: impl Into<String>) -> Refusal {
        Refusal { line: Some(line), entry: None, why: why.into() }
    }

    /// Adds the entry to a refusal.
    pub fn of_entry(mut self, entry: usize) -> Refusal {
        self.entry = Some(entry);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.entry) {
            (Some(line), Some(entry)) => write!(out, "line {line}, entry {entry}: {}", self.why),
            (Some(line), None) => write!(out, "line {line}: {}", self.why),
            (None, Some(entry)) => write!(out, "entry {entry}: {}", self.why),
            (None, None) => out.write_str(&self.why),
        }
    }
}

impl std::error::Error for Refusal {}

impl Statement {
    /// A statement of which nothing is known yet.
    pub(super) fn new(format: Format) -> Statement {
        Statement {
            format,
            account: None,
            currency: None,
            from: None,
            until: None,
            first_day_is_closed: false,
            last_day_is_closed: false,
            opening: None,
            closing: None,
            entries: 0,
            sum: Decimal::ZERO,
            adds_up: None,
            newest_first: false,
            pending: 0,
            notes: Vec::new(),
            document: 0,
            reversals_inverted: false,
            ids_repeat: false,
        }
    }

    /// Fills in what only the owner knows, and refuses a statement with entries whose account or currency nobody names.
    pub(super) fn complete(&mut self, options: &Options) -> Result<(), Refusal> {
        let written = self.account.take().filter(|account| !account.trim().is_empty());
        let plain = written.as_deref().map(|account| plain_account(account, self.currency.as_deref()));
        let names = [written.as_deref(), plain.as_deref()];
        let renamed = names.into_iter().flatten().find_map(|account| options.accounts.get(account)).cloned();
        self.account = renamed.or(plain).or_else(|| options.account.clone());
        if self.currency.is_none() {
            self.currency.clone_from(&options.currency);
        }
        if self.entries > 0 && self.account.is_none() {
            return Err(Refusal::whole("the statement names no account: set `account` for this source"));
        }
        if self.entries > 0 && self.currency.is_none() {
            return Err(Refusal::whole("the statement names no currency: set `currency` for this source"));
        }
        if self.adds_up == Some(false) {
            self.notes.push("the entries do not lead from the opening to the closing balance".to_owned());
        }
        if self.ids_repeat {
            self.notes
                .push("one bank reference stands at different entries, so none is used to tell entries apart".into());
        }
        Ok(())
    }

    /// Gives a row what is known of its statement as a whole.
    pub(super) fn finish(&self, row: &mut FileRow) {
        if row.currency.is_empty() {
            row.currency = self.currency.clone().unwrap_or_default();
        }
        if self.ids_repeat {
            row.bank_id = None;
        }
        if self.reversals_inverted && row.reversal {
            row.amount = -row.amount;
        }
    }

    /// The first and the last day whose entries are all there, so that a missing row is no longer shown by the bank; `None`:
    /// the statement proves no day. The outer days are open unless the statement closes them, and interim reports, notices
    /// and statements without an entry prove nothing.
    pub fn proven_days(&self, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let is_statement = matches!(self.format, Format::Mt940 | Format::Camt053 | Format::Ofx | Format::Csv);
        if !is_statement || self.entries == 0 || self.adds_up == Some(false) {
            return None;
        }
        let (first, last) = (self.from?, self.until?);
        let from = if self.first_day_is_closed { first } else { first.succ_opt()? };
        let until = if self.last_day_is_closed { last } else { last.pred_opt()? };
        let until = until.min(today.pred_opt()?);
        (from <= until).then_some((from, until))
    }

    /// Widens the days that it speaks of to `date`.
    pub(super) fn cover(&mut self, date: NaiveDate) {
        self.from = Some(self.from.map_or(date, |from| from.min(date)));
        self.until = Some(self.until.map_or(date, |until| until.max(date)));
    }
}

/// An account as other files write it: an IBAN without blanks, and no account with its currency glued on.
pub fn plain_account(written: &str, currency: Option<&str>) -> String {
    let mut account = written.trim();
    let glued = |currency: &str| account.len() > currency.len() + 4 && account.ends_with(currency);
    if let Some(currency) = currency.filter(|currency| currency.len() == 3 && glued(currency)) {
        let before = &account[..account.len() - currency.len()];
        if before.ends_with(|last: char| last.is_ascii_digit() || last == ' ') {
            account = before.trim_end();
        }
    }
    let compact: String = account.chars().filter(|char| !char.is_whitespace()).collect();
    if looks_like_iban(&compact) { compact.to_ascii_uppercase() } else { account.to_owned() }
}

/// Two letters, two digits, eleven to thirty letters or digits. The check digits are not proved: banks mask them in samples.
pub fn looks_like_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_alphabetic)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes[4..].iter().all(u8::is_ascii_alphanumeric)
        && bytes[4..].iter().filter(|byte| byte.is_ascii_digit()).count() >= 6
}

/// A bank's id of an entry, unless it says that there is none or is a mere counter, which differs from file to file.
pub fn bank_id(written: &str) -> Option<String> {
    let id = written.trim();
    let counter = id.trim_start_matches('0');
    let is_counter = counter.len() <= 4 && counter.bytes().all(|byte| byte.is_ascii_digit());
    (!is_counter && !says_none(id)).then(|| id.to_owned())
}

/// Texts in a reference field that mean that there is no reference.
pub fn says_none(reference: &str) -> bool {
    let reference = reference.trim().trim_end_matches('+');
    const NONE: [&str; 9] = ["", "NONREF", "NOTPROVIDED", "NOT PROVIDED", "EREF", "PREF", "KREF", "MREF", "N"];
    NONE.iter().any(|none| reference.eq_ignore_ascii_case(none))
}

/// The taker of rows, each with the number of its statement.
pub(super) type RowSink<'a> = &'a mut dyn FnMut(usize, FileRow);

/// The statements of a file while it is read; rows pass through and are counted.
pub(super) struct Rows<'a> {
    statements: Vec<Statement>,
    ids: Vec<HashMap<u64, u64>>,
    sink: RowSink<'a>,
}

impl<'a> Rows<'a> {
    /// No statement yet.
    pub(super) fn new(sink: RowSink<'a>) -> Rows<'a> {
        Rows { statements: Vec::new(), ids: Vec::new(), sink }
    }

    /// Begins a statement and gives its number.
    pub(super) fn begin(&mut self, statement: Statement) -> usize {
        self.statements.push(statement);
        self.ids.push(HashMap::new());
        self.statements.len() - 1
    }

    /// A statement that was begun.
    pub(super) fn statement(&mut self, index: usize) -> &mut Statement {
        &mut self.statements[index]
    }

    /// The number of statements that were begun.
    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    /// Takes a booked row of a statement.
    pub(super) fn row(&mut self, index: usize, row: FileRow) -> Result<(), Refusal> {
        let statement = &mut self.statements[index];
        statement.entries += 1;
        let entry = statement.entries;
        statement.sum = (statement.sum.checked_add(row.amount))
            .ok_or_else(|| Refusal::whole("the sum of the entries is beyond all amounts").of_entry(entry))?;
        if let Some(id) = &row.bank_id {
            let content = hash(&(row.date, row.amount));
            statement.ids_repeat |= self.ids[index].insert(hash(id), content).is_some_and(|before| before != content);
        }
        (self.sink)(index, row);
        Ok(())
    }

    /// The statements, when the file is at its end.
    pub(super) fn into_statements(self) -> Vec<Statement> {
        self.statements
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
