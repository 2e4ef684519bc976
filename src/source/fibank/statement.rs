//! From the replies of GetCustBal to a [`Page`] of rows.
//!
//! A reply of 100,000 rows is some 45 MB: its text is kept compressed, with a small place per row (when, which, where in
//! the text), and rows are made one by one as they are asked for. Rows that are no transactions are recognised before
//! anything else is asked of them. A row that cannot be read is refused by name, never guessed at and never left out in
//! silence; the others are not held back by it.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;
use serde_json::Value;
use serde_json::value::RawValue;

use self::rows::Rows;
use super::wire::{self, Head};
use crate::model::{Account, payload};
use crate::remote::outline::{Defect, Listed, Outline, Shape, Span};
use crate::remote::packed::{PackedText, Unpacker};
use crate::remote::{Error, JSON_DEPTH, is_too_deep};
use crate::source::{Coverage, Ids, Page, Refused};

mod rows;

/// Refused rows of a reply that are named one by one.
const REFUSED_TOLD: usize = 100;

/// The parts of a statement that are read.
const SHAPE: Shape = Shape {
    accounts: "acc",
    rows: "stmt",
    wanted: &["iban", "ccy", "acyCurrBalance", "acDesc", "description"],
    beside: &[],
};

/// The entry and account of a statement, for ids and messages.
#[derive(Clone)]
pub(super) struct AccountRef {
    /// The entry's name.
    pub service: String,
    /// The account.
    pub iban: String,
}

impl AccountRef {
    fn malformed(&self, what: impl fmt::Display) -> Error {
        Error::malformed(format!(
            "{}: account {}: {what}; the bank's interface may have changed",
            self.service, self.iban
        ))
    }

    /// The id of the entry with this number.
    fn id(&self, serial: u64) -> String {
        format!("fibank:{}:{serial}", self.iban)
    }
}

/// A reply, its rows found but not yet read.
pub(super) struct Reply {
    text: PackedText,
    /// The first day of its window.
    since: NaiveDate,
    account: Option<Described>,
    listed: bool,
    places: Vec<Place>,
    refused: Vec<Refused>,
    /// Other values that cannot be read, by name.
    unread: Vec<String>,
    opening: Option<Decimal>,
    closing: Option<Decimal>,
    doubled: usize,
}

/// The account as a reply describes it.
struct Described {
    name: String,
    currency: String,
    balance: Option<Decimal>,
}

/// The place of a row: in time, among its like, and in the text.
#[derive(Clone, Copy)]
struct Place {
    time: DateTime<Utc>,
    serial: u64,
    span: Span,
    reply: u32,
}

/// The text of one reply, piece by piece.
struct Pieces<'a> {
    text: &'a [PackedText],
    unpacker: Unpacker,
}

impl Pieces<'_> {
    fn of(text: &PackedText) -> Pieces<'_> {
        Pieces { text: std::slice::from_ref(text), unpacker: Unpacker::default() }
    }

    fn at(&mut self, span: Span) -> &str {
        self.unpacker.get(self.text, 0, span.range())
    }
}

impl Reply {
    /// Finds the account and its rows in the text of a reply about a window that begins on the day `since`.
    pub fn read(wanted: &AccountRef, since: NaiveDate, text: impl Into<PackedText>) -> Result<Reply, Error> {
        let text = text.into();
        let outline = Outline::find(&text, &SHAPE).map_err(|defect| {
            wanted.malformed(match defect {
                Defect::CutOff => format!("the statement is cut off after {} bytes", text.len()),
                Defect::Shape(at) => format!("the statement is no JSON at byte {at}"),
                Defect::TooMany(most) => format!("the statement lists more than {most}, the most that are read"),
            })
        })?;
        let Some(accounts) = outline.accounts else {
            return Err(wanted.malformed("the statement has no list of accounts (`acc`)"));
        };
        let own = choose(&accounts, &wanted.iban);
        let mut found = Found::new(wanted, since);
        let account = found.describe(&own)?;
        let mut piece = Pieces::of(&text);
        for span in own.iter().flat_map(|listed| listed.rows.iter().flatten()) {
            found.take(*span, piece.at(*span));
        }
        found.keep_one_of_each(&mut piece);
        // An empty list without an IBAN may be of no account at all.
        let is_own = found.seen > 0 || own.iter().any(|listed| listed.value("iban").is_some());
        let listed = is_own && own.iter().all(|listed| listed.rows.is_some());
        let Found { places, refused, unread, opening, closing, doubled, .. } = found;
        Ok(Reply { since, account, listed, places, refused, unread, opening, closing, doubled, text })
    }
}

/// The listed accounts that are the one asked for; a single account that names no IBAN is taken for it.
fn choose<'a>(accounts: &'a [Listed], iban: &str) -> Vec<&'a Listed> {
    let said = |listed: &Listed| words(listed.value("iban")).map(|text| super::compact(&text));
    let own: Vec<_> = accounts.iter().filter(|listed| said(listed).is_some_and(|said| said == iban)).collect();
    match accounts {
        [alone] if own.is_empty() && said(alone).is_some_and(|said| said.is_empty()) => vec![alone],
        _ => own,
    }
}

/// The text of a value, nothing where it is absent; `None` where it is neither text nor a number.
fn words(token: Option<&str>) -> Option<String> {
    match token.map_or(Some(Value::Null), payload::read)? {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The outcome of looking at the rows of one reply.
struct Found<'a> {
    wanted: &'a AccountRef,
    since: NaiveDate,
    /// Rows seen so far.
    seen: usize,
    places: Vec<Place>,
    refused: Vec<Refused>,
    unread: Vec<String>,
    opening: Option<Decimal>,
    closing: Option<Decimal>,
    doubled: usize,
}

impl Found<'_> {
    fn new(wanted: &AccountRef, since: NaiveDate) -> Found<'_> {
        let (places, refused, unread) = (Vec::new(), Vec::new(), Vec::new());
        Found { wanted, since, seen: 0, places, refused, unread, opening: None, closing: None, doubled: 0 }
    }

    /// The account, where something stands there about it. A broken balance or name holds back no row.
    fn describe(&mut self, own: &[&Listed]) -> Result<Option<Described>, Error> {
        let Some(first) = own.first() else { return Ok(None) };
        let currencies: Vec<Option<String>> = own.iter().map(|listed| words(listed.value("ccy"))).collect();
        if currencies.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(self.wanted.malformed("it stands there more than once, in different currencies"));
        }
        let currency = currencies.into_iter().next().flatten();
        if currency.is_none() {
            self.unread.push("its currency (`ccy`) cannot be read".into());
        }
        let balance = sum(first.value("acyCurrBalance")).unwrap_or_else(|why| {
            self.unread.push(format!("its balance (`acyCurrBalance`) cannot be read: {why}"));
            None
        });
        let name = |key| words(first.value(key)).filter(|name| !name.is_empty());
        let name = name("acDesc").or_else(|| name("description")).unwrap_or_default();
        Ok(Some(Described { name, currency: currency.unwrap_or_default().to_uppercase(), balance }))
    }

    fn take(&mut self, span: Span, raw: &str) {
        self.seen += 1;
        let mut room = String::new();
        let Ok(head) = wire::parse::<Head>(raw, &mut room) else {
            let what =
                if raw.starts_with('{') { "it is no JSON object with one value a key" } else { "it is no object" };
            return self.refuse(None, None, what);
        };
        match wire::words(head.trn_type).unwrap_or_default().get().to_ascii_uppercase().as_str() {
            "OP" => self.opening = self.opening.or(self.standing("opening", head.ac_bal)),
            "CL" => self.closing = self.standing("closing", head.ac_bal).or(self.closing),
            "DT" | "CT" => {}
            _ => self.place(&head, span),
        }
    }

    fn standing(&mut self, which: &str, balance: Option<&RawValue>) -> Option<Decimal> {
        wire::money(balance).unwrap_or_else(|why| {
            let number = self.seen;
            self.unread.push(format!("the {which} balance in row {number} cannot be read: acBal {why}"));
            None
        })
    }

    fn place(&mut self, head: &Head<'_>, span: Span) {
        let said = wire::words(head.date_time);
        let time = said.as_ref().and_then(|said| wire::time(said.get()));
        let serial = match wire::serial(head.ac_entry_sr_no) {
            Ok(Some(serial)) => serial,
            Ok(None) => {
                let without = if head.amount.is_none() { "neither acEntrySrNo nor amount" } else { "no acEntrySrNo" };
                return self.refuse(None, time, &format!("it has {without}"));
            }
            Err(why) => return self.refuse(None, time, &why),
        };
        match time {
            Some(time) => self.places.push(Place { time: time.to_utc(), serial, span, reply: 0 }),
            None => {
                let said = said.map(|said| short(said.get())).unwrap_or_default();
                self.refuse(Some(serial), None, &format!("dateTime `{said}` is no date and time"));
            }
        }
    }

    /// Notes a row that cannot be read, named by its readable parts.
    fn refuse(&mut self, serial: Option<u64>, time: Option<DateTime<chrono::FixedOffset>>, what: &str) {
        if self.refused.len() == REFUSED_TOLD {
            let why = "more rows cannot be read".into();
            self.refused.push(Refused { id: None, time: None, since: self.since, why });
        }
        if self.refused.len() > REFUSED_TOLD {
            return;
        }
        let name = serial.map_or_else(|| format!("row {}", self.seen), |serial| format!("entry {serial}"));
        self.refused.push(Refused {
            id: serial.map(|serial| self.wanted.id(serial)),
            time,
            since: time.map_or(self.since, |time| time.date_naive()),
            why: refusal(&name, time.map(|time| time.date_naive()), what),
        });
    }

    /// Leaves one of each entry. Two different rows under one serial number would become one transaction: neither is
    /// taken, unless the balance after both is the same.
    fn keep_one_of_each(&mut self, piece: &mut Pieces<'_>) {
        self.places.sort_by_key(|place| place.serial);
        let places = std::mem::take(&mut self.places);
        for same in places.chunk_by(|one, other| one.serial == other.serial) {
            let [first, others @ ..] = same else { continue };
            let word = if others.is_empty() { String::new() } else { piece.at(first.span).to_owned() };
            if others.iter().all(|other| is_same(&word, piece.at(other.span))) {
                self.places.push(*first);
                self.doubled += others.len();
            } else {
                let time = first.time.with_timezone(&Sofia).fixed_offset();
                self.refuse(Some(first.serial), Some(time), "it stands there twice, differently");
            }
        }
    }
}

/// The sentence about a row that cannot be read.
fn refusal(name: &str, day: Option<NaiveDate>, what: &str) -> String {
    let day = day.map(|day| format!(" of {day}")).unwrap_or_default();
    format!("{name}{day} cannot be read: {what}")
}

/// True where two rows with one serial number are one entry.
fn is_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let balance = |raw: &str| {
        let mut room = String::new();
        let head: Head = wire::parse(raw, &mut room).ok()?;
        wire::money(head.ac_bal).ok()?
    };
    let balances = balance(one).zip(balance(other));
    balances.is_some_and(|(one, other)| one == other) || payload::read(one) == payload::read(other)
}

fn sum(token: Option<&str>) -> Result<Option<Decimal>, String> {
    let Some(token) = token else { return Ok(None) };
    let raw: &RawValue =
        serde_json::from_str(token).map_err(|_| format!("`{}` is not a plain decimal", short(token)))?;
    wire::money(Some(raw))
}

/// Joins `replies`, newest window first, into the page of the window from `from` until `until`.
pub(super) fn page(
    wanted: &AccountRef,
    account: &Account,
    (from, until): (Option<NaiveDate>, NaiveDate),
    mut replies: Vec<Reply>,
) -> Result<Page, Error> {
    let mut account = account.clone();
    let newest = replies.iter_mut().find_map(|reply| reply.account.take());
    let shown = newest.is_some();
    if let Some(described) = newest {
        account.name = first_of(described.name, account.name);
        account.currency = first_of(described.currency, account.currency);
        account.balance = described.balance;
    }
    let coverage = match shown {
        false => Coverage::NoAccount,
        true if replies.iter().any(|reply| reply.listed) => Coverage::Rows,
        true => Coverage::Nothing,
    };
    let unlisted = if coverage == Coverage::Rows { unlisted(&replies) } else { None };
    let notes = oddities(wanted, &replies, coverage);
    let mut unread: Vec<String> = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.unread)).collect();
    unread.dedup();
    let (opening, closing) = (replies.last().and_then(|reply| reply.opening), replies.first().and_then(|r| r.closing));
    let refused: Vec<Refused> = replies.iter_mut().flat_map(|reply| std::mem::take(&mut reply.refused)).collect();
    let places = order(&mut replies);
    if account.currency.is_empty() && !places.is_empty() {
        return Err(wanted.malformed("nothing says in which currency it is kept (`ccy`)"));
    }
    let texts = replies.into_iter().map(|reply| reply.text).collect();
    let rows = Rows::new(wanted, &account, texts, places, &refused, closing);
    let count = refused.len() + rows.size_hint().0;
    let rows = Box::new(refused.into_iter().map(Err).chain(rows));
    Ok(Page {
        account,
        from,
        until,
        opening,
        closing,
        count,
        rows,
        ids: Ids::Dependable,
        continues: false,
        coverage,
        unlisted,
        unread,
        doubt: None,
        notes,
    })
}

/// The first day of the windows without a list of rows. Before the oldest window with one there is no history where
/// the balance begins at nought in it.
fn unlisted(replies: &[Reply]) -> Option<NaiveDate> {
    let oldest = replies.iter().rposition(|reply| reply.listed)?;
    let has_begun = replies[oldest].opening.is_some_and(|opening| opening.is_zero());
    let asked = if has_begun { &replies[..oldest] } else { replies };
    asked.iter().rev().find(|reply| !reply.listed).map(|reply| reply.since)
}

/// The oddities of a page.
fn oddities(wanted: &AccountRef, replies: &[Reply], coverage: Coverage) -> Vec<String> {
    let iban = &wanted.iban;
    let mut notes = Vec::new();
    match coverage {
        Coverage::Rows => {}
        Coverage::Nothing => notes.push(format!("the bank's reply for account {iban} has no list of rows")),
        Coverage::NoAccount => {
            notes.push(format!("the bank's reply does not hold account {iban}; nothing is known of its rows"));
        }
    }
    let doubled: usize = replies.iter().map(|reply| reply.doubled).sum();
    if doubled > 0 {
        notes.push(format!("{doubled} entries of account {iban} came twice in one reply, word for word; taken once"));
    }
    notes
}

/// Every entry once, oldest first. An entry that two windows show is taken from the newer one.
fn order(replies: &mut [Reply]) -> Vec<Place> {
    let several = replies.len() > 1;
    let mut places = Vec::new();
    for (at, reply) in replies.iter_mut().enumerate() {
        let mut own = std::mem::take(&mut reply.places);
        own.iter_mut().for_each(|place| place.reply = at as u32);
        if several { places.append(&mut own) } else { places = own }
    }
    if several {
        places.sort_by_key(|place| (place.serial, place.reply));
        places.dedup_by_key(|place| place.serial);
    }
    places.sort_unstable_by_key(|place| (place.time, place.serial));
    places
}

fn first_of(one: String, other: String) -> String {
    if one.is_empty() { other } else { one }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The fault of a JSON text, without quoting a text full of the owner's affairs.
pub(super) fn defect(what: &str, length: usize, error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Syntax if is_too_deep(error) => {
            format!("{what} is nested deeper than {JSON_DEPTH}, the most that is read")
        }
        Category::Eof => format!("{what} is cut off after {length} bytes"),
        Category::Data => format!("{what} has another shape at line {} column {}", error.line(), error.column()),
        _ => format!("{what} is no JSON at line {} column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests;
