//! From the pages of a listing to a [`Page`] of rows.
//!
//! The texts of the pages are kept compressed, with a small place per row, and rows are made one by one as they are asked
//! for. A row that comes twice in one listing is one row where an id of the bank or the balance after the row proves so;
//! true twins stay as many as they are. A row that cannot be read is refused by name.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::settings::KIND;
use super::transaction::Transaction;
use crate::model::{Account, Row, payload};
use crate::remote::outline::{Defect, Listing, Span};
use crate::remote::packed::{PackedText, Unpacker};
use crate::source::content_id::Occurrences;
use crate::source::{Coverage, Ids, Page, Refused};

/// Deepest nesting of a row: in a list of rows it must be readable, too.
const ROW_DEPTH: usize = 100;

/// Refused rows of a listing that are named one by one.
const REFUSED_TOLD: usize = 100;

/// Rows on both sides of a page break that are compared.
const AT_BREAK: usize = 50;

/// Ids that banks give to rows that have none.
const PLACEHOLDERS: [&str; 6] = ["-", "null", "none", "n/a", "na", "notprovided"];

/// A row that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    date: NaiveDate,
    /// Hashes of content, id and balance; 0 where there is no id or balance.
    content: u64,
    reference: u64,
    balance: u64,
    page: u32,
    span: Span,
}

impl Found {
    /// True for rows that nothing tells apart.
    fn equals(&self, other: &Found) -> bool {
        let parts = |row: &Found| (row.date, row.content, row.reference, row.balance);
        parts(self) == parts(other)
    }
}

/// The pages so far.
pub(super) struct Pages {
    /// The first day whose rows are taken.
    from: Option<NaiveDate>,
    /// The currency of rows that name none.
    pub currency: String,
    texts: Vec<PackedText>,
    found: Vec<Found>,
    /// The number of rows before the last page.
    last_begins: usize,
    /// Rows that stand on both sides of a page break, and may be one or two.
    doubtful: Vec<usize>,
    refused: Vec<Refused>,
    seen: usize,
    hashes: Vec<u64>,
    /// Why the listing is not whole.
    pub incomplete: Option<String>,
}

/// The continuation of a listing after a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    End,
    /// The key of the next page.
    Key(String),
    /// The page was there before.
    Repeated,
}

impl Pages {
    /// No page yet.
    pub fn new(from: Option<NaiveDate>, currency: &str) -> Pages {
        Pages {
            from,
            currency: currency.to_owned(),
            texts: Vec::new(),
            found: Vec::new(),
            last_begins: 0,
            doubtful: Vec::new(),
            refused: Vec::new(),
            seen: 0,
            hashes: Vec::new(),
            incomplete: None,
        }
    }

    /// Adds a page. The error ends the sentence "the listing …".
    pub fn add(&mut self, text: PackedText) -> Result<Next, String> {
        let listing = Listing::find(&text, "transactions", &["continuation_key"]).map_err(|defect| match defect {
            Defect::CutOff => format!("is cut off after {} bytes", text.len()),
            Defect::Shape(at) => format!("is no JSON at byte {at}"),
            Defect::TooMany(most) => format!("has more than {most} rows, the most that are read"),
        })?;
        let rows = listing.rows.as_ref().ok_or("has no list of rows (`transactions`)")?;
        let texts = [text];
        let hash = hash(&texts, rows);
        if !rows.is_empty() && self.hashes.contains(&hash) {
            return Ok(Next::Repeated);
        }
        self.hashes.push(hash);
        let begins = self.found.len();
        let mut unpacker = Unpacker::default();
        for span in rows {
            self.take(*span, unpacker.get(&texts, 0, span.range()));
        }
        self.compare_at_break(begins);
        self.last_begins = begins;
        let [text] = texts;
        self.texts.push(text);
        let key = listing.value("continuation_key").and_then(payload::read);
        let key = key.and_then(|key| key.as_str().map(str::to_owned)).filter(|key| !key.is_empty());
        Ok(key.map_or(Next::End, Next::Key))
    }

    fn take(&mut self, span: Span, raw: &str) {
        self.seen += 1;
        let Some(transaction) = Transaction::read(raw) else {
            return self.refuse(None, "it is no JSON object");
        };
        let is_wanted = transaction.date.is_none_or(|date| self.from.is_none_or(|from| from <= date));
        if !transaction.is_booked || !is_wanted {
            return;
        }
        if self.currency.is_empty() {
            self.currency.clone_from(&transaction.currency);
        }
        if let Some(fault) = transaction.fault() {
            return self.refuse(transaction.date, &fault);
        }
        let Some(date) = transaction.date else { return };
        if is_too_deep(raw) {
            return self.refuse(Some(date), &format!("it is nested deeper than {ROW_DEPTH}, the most that is read"));
        }
        if transaction.currency.is_empty() && self.currency.is_empty() {
            return self.refuse(Some(date), "nothing says in which currency it is");
        }
        let of = |text: &str| if text.is_empty() { 0 } else { xxh3_64(text.as_bytes()).max(1) };
        let balance = transaction.balance.map(|balance| balance.normalize().to_string()).unwrap_or_default();
        self.found.push(Found {
            date,
            content: xxh3_64(transaction.content(&self.currency).as_bytes()),
            reference: if is_placeholder(&transaction.entry_reference) { 0 } else { of(&transaction.entry_reference) },
            balance: of(&balance),
            page: self.texts.len() as u32,
            span,
        });
    }

    /// Notes rows that stand at the end of the last page and at the beginning of this one. A row that was booked between
    /// the two calls pushes others over the break; twins may stand there, too.
    fn compare_at_break(&mut self, begins: usize) {
        let (before, page) = (&self.found[self.last_begins..begins], &self.found[begins..]);
        let longest = before.len().min(page.len()).min(AT_BREAK);
        let is_same = |count: &usize| {
            let end = &before[before.len() - count..];
            end.iter().zip(page).all(|(one, other)| one.equals(other))
        };
        let count = (1..=longest).rev().find(is_same).unwrap_or_default();
        let doubtful = (begins..begins + count).filter(|at| {
            let row = &self.found[*at];
            row.reference == 0 && row.balance == 0
        });
        self.doubtful.extend(doubtful);
    }

    fn refuse(&mut self, date: Option<NaiveDate>, what: &str) {
        let since = date.or(self.from).unwrap_or(BEGINNING);
        if self.refused.len() == REFUSED_TOLD {
            self.refused.push(Refused { id: None, time: None, since, why: "more rows cannot be read".into() });
        }
        if self.refused.len() > REFUSED_TOLD {
            return;
        }
        let number = self.seen;
        let why = match date {
            Some(date) => format!("entry {number} of {date} cannot be read: {what}"),
            None => format!("entry {number} cannot be read: {what}"),
        };
        let time = date.map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc().fixed_offset());
        self.refused.push(Refused { id: None, time, since, why });
    }

    /// True where no row came.
    pub fn is_empty(&self) -> bool {
        self.seen == 0
    }

    /// Number of pages.
    pub fn count(&self) -> u32 {
        self.texts.len() as u32
    }

    /// True where rows on both sides of a page break may be one or two.
    pub fn is_doubtful(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// True if this is the first page once more, word for word: nothing was booked meanwhile.
    pub fn begins_with(&self, text: PackedText) -> bool {
        let Ok(listing) = Listing::find(&text, "transactions", &[]) else { return false };
        let texts = [text];
        listing.rows.is_some_and(|rows| self.hashes.first() == Some(&hash(&texts, &rows)))
    }

    /// Takes rows on both sides of a page break as one.
    pub fn join_at_breaks(&mut self) {
        let doubtful: HashSet<usize> = self.doubtful.drain(..).collect();
        let mut at = 0;
        self.found.retain(|_| {
            at += 1;
            !doubtful.contains(&(at - 1))
        });
    }

    /// Every row once, in the order of days.
    pub fn finish(mut self) -> Sorted {
        self.drop_repeated();
        let descends = self.found.first().zip(self.found.last()).is_some_and(|(first, last)| first.date > last.date);
        if descends {
            self.found.reverse();
        }
        // Twins stand together, by balance and id, so that their numbers do not depend on the order of the listing.
        let mut rank: HashMap<(NaiveDate, u64), u32> = HashMap::new();
        for (at, row) in self.found.iter().enumerate() {
            rank.entry((row.date, row.content)).or_insert(at as u32);
        }
        let place = |row: &Found| rank.get(&(row.date, row.content)).copied();
        self.found.sort_by_cached_key(|row| (row.date, place(row), row.balance, row.reference));
        let Pages { texts, found, refused, currency, incomplete, .. } = self;
        Sorted { texts, found, refused, currency, incomplete }
    }

    /// Leaves one of each row that is there twice: with the same content and the same usable id, or the same balance
    /// after it. An id that stands at different rows is none.
    fn drop_repeated(&mut self) {
        let mut contents: HashMap<u64, Option<u64>> = HashMap::new();
        for row in self.found.iter().filter(|row| row.reference != 0) {
            let content = contents.entry(row.reference).or_insert(Some(row.content));
            *content = content.filter(|content| *content == row.content);
        }
        let is_usable = |reference: u64| contents.get(&reference).is_some_and(Option::is_some);
        let mut seen: HashSet<(NaiveDate, u64, bool, u64)> = HashSet::new();
        self.found.retain(|row| {
            let by_id = row.reference != 0 && is_usable(row.reference);
            let is_new = !by_id || seen.insert((row.date, row.content, true, row.reference));
            let has_own_balance = row.balance == 0 || seen.insert((row.date, row.content, false, row.balance));
            is_new && has_own_balance
        });
    }
}

/// The first day of a listing that has none.
pub(super) const BEGINNING: NaiveDate = match NaiveDate::from_ymd_opt(1970, 1, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// The rows of a listing, each once, in the order of days.
pub(super) struct Sorted {
    texts: Vec<PackedText>,
    found: Vec<Found>,
    refused: Vec<Refused>,
    pub currency: String,
    pub incomplete: Option<String>,
}

/// The frame of a page.
pub(super) struct Frame {
    pub account: Account,
    /// The number of the account itself, which is no other side.
    pub own: String,
    pub from: Option<NaiveDate>,
    pub today: NaiveDate,
    /// The first day that is asked for again.
    pub unlisted: Option<NaiveDate>,
    pub doubt: Option<String>,
    pub notes: Vec<String>,
}

impl Sorted {
    /// A hash of the contents of the rows from this day on: another one once another row is booked.
    pub fn digest(&self, from: NaiveDate) -> u64 {
        let mut digest = Xxh3::new();
        self.found.iter().filter(|row| row.date >= from).for_each(|row| digest.update(&row.content.to_le_bytes()));
        digest.digest()
    }

    /// The first day with a row.
    pub fn first_day(&self) -> Option<NaiveDate> {
        self.found.first().map(|row| row.date)
    }

    /// The page.
    pub fn page(self, frame: Frame) -> Page {
        let Frame { mut account, own, from, today, unlisted, doubt, notes } = frame;
        let Sorted { texts, found, refused, currency, .. } = self;
        account.currency = currency;
        // Rows may be booked for a day to come.
        let until = found.last().map_or(today, |row| row.date.max(today));
        let count = refused.len() + found.len();
        let rows = Rows {
            account: account.account.clone(),
            own,
            currency: account.currency.clone(),
            texts,
            unpacker: Unpacker::default(),
            found: found.into_iter(),
            occurrences: Occurrences::default(),
        };
        Page {
            account,
            from,
            until,
            opening: None,
            closing: None,
            count,
            rows: Box::new(refused.into_iter().map(Err).chain(rows)),
            ids: Ids::Reissued,
            continues: false,
            coverage: Coverage::Rows,
            unlisted,
            unread: Vec::new(),
            doubt,
            notes,
        }
    }
}

/// The rows of a page, made one by one.
struct Rows {
    account: String,
    own: String,
    currency: String,
    texts: Vec<PackedText>,
    unpacker: Unpacker,
    found: std::vec::IntoIter<Found>,
    occurrences: Occurrences,
}

impl Iterator for Rows {
    type Item = Result<Row, Refused>;

    fn next(&mut self) -> Option<Result<Row, Refused>> {
        let found = self.found.next()?;
        let raw = self.unpacker.get(&self.texts, found.page as usize, found.span.range());
        let row = Transaction::read(raw).and_then(|transaction| {
            let content = transaction.content(&self.currency);
            let id = self.occurrences.id(KIND.name, &self.account, found.date, &content);
            transaction.row(id, (&self.own, &self.currency), raw)
        });
        Some(row.ok_or_else(|| {
            let why = format!("an entry of {} cannot be read", found.date);
            Refused { id: None, time: None, since: found.date, why }
        }))
    }
}

fn hash(texts: &[PackedText], rows: &[Span]) -> u64 {
    let (mut hasher, mut unpacker) = (Xxh3::new(), Unpacker::default());
    for span in rows {
        hasher.update(unpacker.get(texts, 0, span.range()).as_bytes());
        hasher.update(b"\n");
    }
    hasher.digest()
}

fn is_placeholder(id: &str) -> bool {
    let id = id.to_ascii_lowercase();
    id.bytes().all(|byte| byte == b'0') || PLACEHOLDERS.contains(&id.as_str())
}

/// True where a row is nested deeper than is read. Most rows have too few brackets to be deep.
fn is_too_deep(raw: &str) -> bool {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
            _ => 0,
        }
    }
    let brackets = raw.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    brackets > ROW_DEPTH && payload::read(raw).is_none_or(|value| depth(&value) > ROW_DEPTH)
}

/// The balance to show among those that a bank gives: booked ones first, because others may hold an overdraft.
pub(super) fn balance(reply: &Value, currency: &str) -> Option<Decimal> {
    const TYPES: [&str; 5] = ["CLBD", "ITBD", "XPCD", "ITAV", "CLAV"];
    let balances = reply["balances"].as_array()?;
    let is_own = |balance: &&Value| {
        let said = balance["balance_amount"]["currency"].as_str().unwrap_or_default();
        said.is_empty() || currency.is_empty() || said.eq_ignore_ascii_case(currency)
    };
    let rank = |balance: &Value| {
        let kind = balance["balance_type"].as_str().unwrap_or_default();
        TYPES.iter().position(|known| *known == kind).unwrap_or(TYPES.len())
    };
    let best = balances.iter().filter(is_own).min_by_key(|balance| rank(balance))?;
    super::transaction::money(&best["balance_amount"]["amount"]).ok()
}
