//! MT940 statements and MT942 interim reports, as banks write them rather than as SWIFT describes them.
//!
//! A message starts at `:20:`. Fields of several messages that continue each other by page are one statement. Only a known
//! tag at a place where it may stand is a tag: text is full of colons, digits and lone hyphens.

use chrono::NaiveDate;
use serde_json::json;

use super::numbers;
use super::statement::{Balance, FileRow, Format, Refusal, Rows, Statement, bank_id, looks_like_iban, says_none};

mod entry;
mod fields;
mod text;

use entry::Entry;
use fields::{Field, Fields, Tag};
use text::About;

/// Reads a file.
pub(super) fn read(text: &str, today: NaiveDate, rows: &mut Rows<'_>) -> Result<(), Refusal> {
    let mut reader = Reader { rows, today, message: None, before: None };
    for field in Fields::new(text) {
        reader.field(field)?;
    }
    reader.end_of_message()?;
    if reader.rows.len() == 0 {
        return Err(Refusal::whole("no statement: no message begins with `:20:`"));
    }
    for index in 0..rows.len() {
        settle(rows.statement(index), today);
    }
    Ok(())
}

struct Reader<'r, 's> {
    rows: &'r mut Rows<'s>,
    today: NaiveDate,
    message: Option<Message>,
    before: Option<Page>,
}

/// A message while its fields come in.
struct Message {
    statement: Statement,
    number: String,
    page_opens: bool,
    page_closes: bool,
    interim: bool,
    entry: Option<(u64, Entry, Vec<String>)>,
    /// The number of its statement among all of the file, once its first entry is there.
    index: Option<usize>,
}

/// The end of the message before, which the next one may continue.
struct Page {
    index: usize,
    account: Option<String>,
    number: String,
}

impl Reader<'_, '_> {
    fn field(&mut self, field: Field<'_>) -> Result<(), Refusal> {
        if field.tag == Tag::Message {
            self.end_of_message()?;
        }
        let message = self.message.get_or_insert_with(Message::new);
        let value = field.first_line();
        match field.tag {
            Tag::Message | Tag::Other => {}
            Tag::Account => message.account(value),
            Tag::Number => message.number = value.split('/').next().unwrap_or_default().trim().to_owned(),
            Tag::Interim => {
                message.interim = true;
                if message.statement.currency.is_none() {
                    message.statement.currency = currency_of(value.get(..3).unwrap_or_default());
                }
            }
            Tag::Opening { page } => {
                message.page_opens = page;
                message.statement.opening = message.balance(value, "opening");
            }
            Tag::Closing { page } => {
                self.end_of_entry()?;
                if let Some(message) = &mut self.message {
                    message.page_closes = page;
                    message.statement.closing = message.balance(value, "closing");
                }
            }
            Tag::Entry => {
                self.end_of_entry()?;
                let entry = entry::parse(&field)
                    .map_err(|why| Refusal::line(field.line, why).of_entry(self.entries_so_far() + 1))?;
                if let Some(message) = &mut self.message {
                    message.entry = Some((field.line, entry, Vec::new()));
                }
            }
            Tag::Text => {
                if let Some((_, _, texts)) = &mut message.entry {
                    texts.push(field.text());
                }
            }
            Tag::NonSwift => {
                if let Some((_, entry, _)) = &mut message.entry {
                    entry.non_swift.push_str(&field.text());
                }
            }
        }
        Ok(())
    }

    fn entries_so_far(&mut self) -> usize {
        let index = self.message.as_ref().and_then(|message| message.index);
        index.map_or(0, |index| self.rows.statement(index).entries)
    }

    /// The statement that the message belongs to: the one before where this is its next page, else a new one.
    fn index(&mut self) -> Option<usize> {
        let message = self.message.as_mut()?;
        if message.index.is_none() {
            let continues = self.before.as_ref().filter(|page| {
                let closing = self.rows.statement(page.index).closing.as_ref().map(|balance| balance.amount);
                message.page_opens
                    && page.number == message.number
                    && page.account == message.statement.account
                    && closing.is_some()
                    && closing == message.statement.opening.as_ref().map(|balance| balance.amount)
            });
            message.index = Some(match continues {
                Some(page) => page.index,
                None => self.rows.begin(message.statement.clone()),
            });
        }
        message.index
    }

    fn end_of_entry(&mut self) -> Result<(), Refusal> {
        let Some((line, entry, texts)) = self.message.as_mut().and_then(|message| message.entry.take()) else {
            return Ok(());
        };
        let Some(index) = self.index() else { return Ok(()) };
        let statement = self.rows.statement(index);
        if entry.expected {
            statement.pending += 1;
            return Ok(());
        }
        if statement.currency.is_none() {
            statement.currency = self.message.as_ref().and_then(|message| message.statement.currency.clone());
        }
        let number = statement.entries + 1;
        let row = row_of(entry, &texts);
        statement.cover(row.date);
        self.rows.row(index, row).map_err(|refusal| Refusal { line: Some(line), ..refusal.of_entry(number) })
    }

    fn end_of_message(&mut self) -> Result<(), Refusal> {
        self.end_of_entry()?;
        let Some(index) = self.index() else { return Ok(()) };
        let Some(message) = self.message.take() else { return Ok(()) };
        let statement = self.rows.statement(index);
        if message.interim && message.statement.opening.is_none() && message.statement.closing.is_none() {
            statement.format = Format::Mt942;
        }
        statement.closing = message.statement.closing;
        if statement.currency.is_none() {
            statement.currency = message.statement.currency;
        }
        for note in message.statement.notes {
            if !statement.notes.contains(&note) {
                statement.notes.push(note);
            }
        }
        // Only a statement whose last page has come is over.
        statement.last_day_is_closed = !message.page_closes
            && statement.closing.as_ref().and_then(|balance| balance.date).is_some_and(|date| date < self.today);
        self.before =
            message.page_closes.then(|| Page { index, account: statement.account.clone(), number: message.number });
        Ok(())
    }
}

impl Message {
    fn new() -> Message {
        Message {
            statement: Statement::new(Format::Mt940),
            number: String::new(),
            page_opens: false,
            page_closes: false,
            interim: false,
            entry: None,
            index: None,
        }
    }

    fn account(&mut self, value: &str) {
        let value = value.trim();
        if !value.is_empty() {
            self.statement.account = Some(value.to_owned());
        }
        let glued = value.len().checked_sub(3).and_then(|at| value.get(at..)).and_then(currency_of);
        let before = value.len().checked_sub(3).and_then(|at| value.get(..at)).unwrap_or_default();
        let ends_a_number = before.ends_with(|last: char| last.is_ascii_digit() || last == ' ');
        if self.statement.currency.is_none() && ends_a_number && before.len() > 6 {
            self.statement.currency = glued;
        }
    }

    /// A balance that can be read, or a note: balances only prove, and entries count without them.
    fn balance(&mut self, value: &str, which: &str) -> Option<Balance> {
        match balance(value.trim()) {
            Some((balance, currency)) => {
                if balance.date.is_none() {
                    self.statement.notes.push(format!("the {which} balance is of a day that does not exist"));
                }
                self.statement.currency = Some(currency);
                Some(balance)
            }
            None => {
                self.statement
                    .notes
                    .push(format!("the {which} balance `{}` cannot be read", super::charset::shown(value)));
                None
            }
        }
    }
}

/// `C020315DEM0,00`. The day is the written one; where there is no such day, none.
fn balance(value: &str) -> Option<(Balance, String)> {
    let negative = value.starts_with('D');
    let rest = value.strip_prefix(['C', 'D'])?;
    let (day, rest) = rest.split_at_checked(6)?;
    let (currency, amount) = rest.split_at_checked(3)?;
    let amount = numbers::unsigned(amount.trim())?;
    let date = NaiveDate::parse_from_str(day, "%y%m%d").ok().and_then(|_| numbers::short_date(day));
    let amount = if negative { -amount } else { amount };
    day.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((Balance { date, amount }, currency_of(currency)?))
}

fn currency_of(text: &str) -> Option<String> {
    (text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())).then(|| text.to_owned())
}

/// An entry and its texts as a row.
fn row_of(entry: Entry, texts: &[String]) -> FileRow {
    let about = match (texts.is_empty(), entry.non_swift.is_empty()) {
        (true, false) => text::non_swift(&entry.non_swift),
        _ => text::read(texts),
    };
    let mut about = about;
    let reference = other_side_in_reference(&entry, &mut about);
    let reference = if says_none(&reference) { about.reference } else { reference };
    let description = match about.description.is_empty() && about.counterparty.is_empty() {
        true => entry.supplementary.clone(),
        false => about.description,
    };
    FileRow {
        date: entry.entry_date.unwrap_or(entry.value_date),
        value_date: Some(entry.value_date),
        amount: entry.amount,
        counterparty: about.counterparty,
        counterparty_account: about.account,
        description,
        bank_id: bank_id(&entry.bank_reference).filter(|id| id.bytes().filter(u8::is_ascii_digit).count() >= 6),
        reference,
        kind: about.kind,
        code: if about.code.is_empty() { entry.code.clone() } else { about.code },
        reversal: entry.reversal,
        raw: json!({
            "61": entry.received,
            "86": texts,
            "NS": entry.non_swift,
        })
        .to_string(),
        ..FileRow::default()
    }
}

/// Older Dutch files have account and name of the other side in the reference field, or the account there and the name below
/// it. Gives the reference that is left.
fn other_side_in_reference(entry: &Entry, about: &mut About) -> String {
    if let Some((account, name)) = entry.reference.split_once("  ") {
        if about.account.is_empty() && !says_none(account) {
            account.trim().clone_into(&mut about.account);
        }
        if about.counterparty.is_empty() {
            name.trim().clone_into(&mut about.counterparty);
        }
        return String::new();
    }
    let reference = &entry.reference;
    let below = &entry.supplementary;
    if about.account.is_empty() && !reference.is_empty() && !below.is_empty() {
        let both = format!("{reference} {below}");
        if let Some(rest) = about.description.strip_prefix(&both) {
            about.description = rest.trim_start().to_owned();
            about.account.clone_from(reference);
            about.counterparty.clone_from(below);
            return String::new();
        }
    }
    if about.account.is_empty() && looks_like_iban(reference) {
        about.account.clone_from(reference);
        return String::new();
    }
    reference.clone()
}

/// Says of a finished statement whether it adds up and which days it speaks of.
fn settle(statement: &mut Statement, today: NaiveDate) {
    let opening = statement.opening.as_ref().map(|balance| balance.amount);
    let closing = statement.closing.as_ref().map(|balance| balance.amount);
    statement.adds_up = opening
        .zip(closing)
        .map(|(opening, closing)| opening.checked_add(statement.sum).is_some_and(|reached| reached == closing));
    let day = |balance: &Option<Balance>| balance.as_ref().and_then(|balance| balance.date);
    // An entry of another year stands in many a statement: the balances say which days the statement speaks of.
    if let (Some(first), Some(last)) = (day(&statement.opening), day(&statement.closing)) {
        if first <= last {
            statement.from = Some(first);
            statement.until = Some(last);
        }
    } else if let Some(last) = day(&statement.closing) {
        statement.cover(last);
    }
    statement.last_day_is_closed &= statement.until.is_some_and(|until| until < today);
    if statement.format == Format::Mt940 && statement.closing.is_none() && statement.entries > 0 {
        statement.notes.push("there is no closing balance: the file may have been cut off".to_owned());
    }
}
