//! From the replies of GetCustBal to a [`Page`] of rows.
//!
//! A reply of 100,000 rows is some 45 MB: its text is kept once, with a small place per row (when, which, where in the
//! text), and rows are made one by one as they are asked for. Rows that are no transactions are recognised before
//! anything else is asked of them. What cannot be read is an error that names account and entry, never a guess and
//! never left out.

use std::fmt;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;

use super::euro::{self, Before};
use super::wire::{self, Acc, Balances, Entry, Head};
use crate::model::{Account, Row};
use crate::remote::{Error, JSON_DEPTH, is_too_deep};
use crate::source::{Page, Told};

/// Deepest nesting of a row: in a list of rows it must be readable, too.
const ROW_DEPTH: usize = 100;

/// Where a statement belongs, for ids and messages.
#[derive(Clone)]
pub(super) struct Owner {
    /// The entry's name.
    pub service: String,
    /// The account.
    pub iban: String,
}

impl Owner {
    fn malformed(&self, what: impl fmt::Display) -> Error {
        Error::malformed(format!(
            "{}: account {}: {what}; the bank's interface may have changed",
            self.service, self.iban
        ))
    }
}

/// One reply, its rows found but not yet read.
pub(super) struct Reply {
    body: String,
    account: Option<Described>,
    listed: bool,
    places: Vec<Place>,
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

/// Where a row stands: in time, among its like, and in the text.
#[derive(Clone, Copy)]
struct Place {
    time: DateTime<Utc>,
    serial: u64,
    start: u32,
    length: u32,
    reply: u32,
}

impl Reply {
    /// Finds the account and its rows in the text of a reply.
    pub fn read(owner: &Owner, body: String) -> Result<Reply, Error> {
        let broken = |error: serde_json::Error| owner.malformed(defect("the statement", body.len(), &error));
        let balances: Balances = serde_json::from_str(&body).map_err(broken)?;
        let Some(accounts) = balances.acc else {
            return Err(owner.malformed("the statement has no list of accounts (`acc`)"));
        };
        let Some(acc) = choose(&accounts, &owner.iban) else {
            drop(accounts);
            return Ok(Reply::without_account(body));
        };
        let balance = wire::money(acc.acy_curr_balance).map_err(|why| owner.malformed(why))?;
        let name = if acc.ac_desc.is_empty() { acc.description.owned() } else { acc.ac_desc.owned() };
        let described = Described { name, currency: acc.ccy.get().to_uppercase(), balance };
        let mut found = Found { owner, places: Vec::new(), opening: None, closing: None };
        for (at, raw) in acc.stmt.iter().flatten().enumerate() {
            // Both point into the same text, so their distance is where the row begins.
            let start = raw.get().as_ptr() as usize - body.as_ptr() as usize;
            found.take(at, raw.get(), start as u32)?;
        }
        let (mut places, opening, closing) = (found.places, found.opening, found.closing);
        let doubled = same_entries(owner, &body, &mut places)?;
        let listed = acc.stmt.is_some();
        drop(accounts);
        Ok(Reply { account: Some(described), listed, places, opening, closing, doubled, body })
    }

    fn without_account(body: String) -> Reply {
        Reply { body, account: None, listed: false, places: Vec::new(), opening: None, closing: None, doubled: 0 }
    }
}

/// The account asked for; the only one if it does not say which it is.
fn choose<'a, 'b>(accounts: &'b [Acc<'a>], iban: &str) -> Option<&'b Acc<'a>> {
    let alone = accounts.len() == 1;
    accounts.iter().find(|acc| super::compact(acc.iban.get()) == iban || alone && acc.iban.is_empty())
}

/// What the rows of one reply turn out to be.
struct Found<'a> {
    owner: &'a Owner,
    places: Vec<Place>,
    opening: Option<Decimal>,
    closing: Option<Decimal>,
}

impl Found<'_> {
    fn take(&mut self, at: usize, raw: &str, start: u32) -> Result<(), Error> {
        let owner = self.owner;
        let head: Head = serde_json::from_str(raw)
            .map_err(|error| owner.malformed(defect(&format!("row {at}"), raw.len(), &error)))?;
        let balance = || wire::money(head.ac_bal).map_err(|why| owner.malformed(format!("row {at}: acBal {why}")));
        match head.trn_type.get().to_ascii_uppercase().as_str() {
            "OP" => self.opening = self.opening.or(balance()?),
            "CL" => self.closing = balance()?.or(self.closing),
            "DT" | "CT" => {}
            _ => self.places.push(place(owner, at, &head, start, raw.len() as u32)?),
        }
        Ok(())
    }
}

fn place(owner: &Owner, at: usize, head: &Head, start: u32, length: u32) -> Result<Place, Error> {
    let serial = wire::serial(head.ac_entry_sr_no).map_err(|why| owner.malformed(format!("row {at}: {why}")))?;
    let Some(serial) = serial else {
        let without = if head.amount.is_none() { "neither acEntrySrNo nor amount" } else { "no acEntrySrNo" };
        let kind = head.trn_type.get();
        return Err(owner.malformed(format!("row {at} (trnType `{kind}`) has {without}")));
    };
    let time = wire::time(head.date_time.get()).ok_or_else(|| {
        owner.malformed(format!("entry {serial}: dateTime `{}` is no date and time", short(head.date_time.get())))
    })?;
    Ok(Place { time: time.to_utc(), serial, start, length, reply: 0 })
}

/// Leaves one of each entry and says how many were doubled. Two different rows under one serial number would become one
/// transaction: that is refused.
fn same_entries(owner: &Owner, body: &str, places: &mut Vec<Place>) -> Result<usize, Error> {
    places.sort_by_key(|place| place.serial);
    for pair in places.windows(2) {
        if pair[0].serial == pair[1].serial && pair[0].text(body) != pair[1].text(body) {
            return Err(owner.malformed(format!("entry {} stands there twice, differently", pair[0].serial)));
        }
    }
    let before = places.len();
    places.dedup_by_key(|place| place.serial);
    Ok(before - places.len())
}

impl Place {
    fn text<'a>(&self, body: &'a str) -> &'a str {
        &body[self.start as usize..][..self.length as usize]
    }
}

/// Joins `replies`, newest window first, into the page of the window from `from` until `until`.
pub(super) fn page(
    owner: &Owner,
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
    let told = match shown {
        false => Told::NoAccount,
        // A reply without a list of rows is how a bank may say "none", so beside replies that have one it is not odd.
        true if replies.iter().any(|reply| reply.listed) => Told::Rows,
        true => Told::Nothing,
    };
    let notes = oddities(owner, &replies, told);
    let (opening, closing) = (replies.last().and_then(|reply| reply.opening), replies.first().and_then(|r| r.closing));
    let places = order(&mut replies);
    if account.currency.is_empty() && !places.is_empty() {
        return Err(owner.malformed("nothing says in which currency it is kept (`ccy`)"));
    }
    let mut rows = Rows {
        owner: owner.clone(),
        prefix: format!("fibank:{}:", owner.iban),
        currency: account.currency.clone(),
        older_currency: account.currency.clone(),
        turn: (euro::changeover().to_utc(), 0),
        bodies: replies.into_iter().map(|reply| reply.body).collect(),
        places,
        next: 0,
    };
    rows.settle_currency(account.balance, closing)?;
    let count = rows.places.len();
    Ok(Page { account, from, until, opening, closing, count, rows: Box::new(rows), told, notes })
}

/// What is odd about a page.
fn oddities(owner: &Owner, replies: &[Reply], told: Told) -> Vec<String> {
    let iban = &owner.iban;
    let mut notes = Vec::new();
    match told {
        Told::Rows => {}
        Told::Nothing => {
            notes.push(format!("the bank's reply for account {iban} has no list of rows; taken as no rows"))
        }
        Told::NoAccount => {
            notes.push(format!("the bank's reply does not hold account {iban}; nothing is known of its rows"));
        }
    }
    let doubled: usize = replies.iter().map(|reply| reply.doubled).sum();
    if doubled > 0 {
        notes.push(format!("{doubled} entries of account {iban} came twice in one reply, word for word; taken once"));
    }
    notes
}

/// Every entry once, oldest first. Of one that two windows show, the newer window's is taken.
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

/// The rows of a page, made one by one.
struct Rows {
    owner: Owner,
    prefix: String,
    currency: String,
    /// Of rows before the turn.
    older_currency: String,
    /// Time and number of the first row after the change to euros.
    turn: (DateTime<Utc>, u64),
    bodies: Vec<String>,
    places: Vec<Place>,
    next: usize,
}

impl Iterator for Rows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Result<Row, Error>> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(self.row(&place))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.places.len() - self.next;
        (left, Some(left))
    }
}

impl Rows {
    /// Decides in which currency the rows before the change to euros are. Without a clear sign the bank's word for the
    /// account holds: a balance that fits both readings is nought, one that fits neither is a broken chain, which is
    /// reported anyway.
    fn settle_currency(&mut self, today: Option<Decimal>, closing: Option<Decimal>) -> Result<(), Error> {
        let older = self.places.partition_point(|place| place.time < self.turn.0);
        if older == 0 || self.currency != "EUR" {
            return Ok(());
        }
        if let Some(place) = self.exchange()? {
            self.turn = (place.time, place.serial);
            self.older_currency = "BGN".into();
        } else if self.before(older, [today, closing])? == Before::Leva {
            self.older_currency = "BGN".into();
        }
        Ok(())
    }

    /// The row that opens the account in euros, where the change was booked as two rows; they may be dated a few days
    /// off.
    fn exchange(&self) -> Result<Option<Place>, Error> {
        let near = |place: &Place| (place.time - self.turn.0).abs() < TimeDelta::days(4);
        let from = self.places.iter().position(near).unwrap_or(self.places.len());
        let mut previous: Option<Row> = None;
        for place in self.places[from..].iter().take_while(|place| near(place)) {
            let row = self.row(place)?;
            if previous.is_some_and(|closing| euro::is_exchange(&closing, &row)) {
                return Ok(Some(*place));
            }
            previous = Some(row);
        }
        Ok(None)
    }

    /// What the balance says about the first `older` rows.
    fn before(&self, older: usize, today: [Option<Decimal>; 2]) -> Result<Before, Error> {
        let last = &self.places[older - 1];
        let Some(first) = self.places.get(older) else {
            let last = self.row(last)?.balance;
            return Ok(last.map_or(Before::Unclear, |last| euro::before(last, today.into_iter().flatten())));
        };
        match (self.compare(last, first)?, self.turn_by_number()) {
            (Before::Unclear, Some((last, first))) => self.compare(&last, &first),
            (clear, _) => Ok(clear),
        }
    }

    /// The two entries at the change in the order of their numbers: the balance runs as entries are booked, and one
    /// booked late under an early date stands elsewhere by its time.
    fn turn_by_number(&self) -> Option<(Place, Place)> {
        let mut places = self.places.clone();
        places.sort_unstable_by_key(|place| place.serial);
        let turn = places.windows(2).find(|pair| pair[0].time < self.turn.0 && pair[1].time >= self.turn.0)?;
        Some((turn[0], turn[1]))
    }

    fn compare(&self, last: &Place, first: &Place) -> Result<Before, Error> {
        let (last, first) = (self.row(last)?, self.row(first)?);
        let then = first.balance.and_then(|balance| balance.checked_sub(first.amount));
        Ok(last.balance.map_or(Before::Unclear, |last| euro::before(last, then)))
    }

    fn row(&self, place: &Place) -> Result<Row, Error> {
        let serial = place.serial;
        let raw = place.text(&self.bodies[place.reply as usize]);
        let malformed = |why: String| self.owner.malformed(format!("entry {serial}: {why}"));
        // It is kept as it came, and whoever reads it again reads no deeper.
        if wire::depth(raw) > ROW_DEPTH {
            return Err(malformed(format!("it is nested deeper than {ROW_DEPTH}, the most that is read")));
        }
        let entry: Entry =
            serde_json::from_str(raw).map_err(|error| malformed(defect("the row", raw.len(), &error)))?;
        let amount = wire::money(entry.amount).map_err(|why| malformed(format!("amount {why}")))?;
        let amount = amount.ok_or_else(|| malformed("it has no amount".into()))?;
        let money_out = is_debit(entry.dtkt.get())
            .ok_or_else(|| malformed(format!("dtkt `{}` is neither debit nor credit", short(entry.dtkt.get()))))?;
        let balance = wire::money(entry.ac_bal).map_err(|why| malformed(format!("acBal {why}")))?;
        let time = place.time.with_timezone(&Sofia).fixed_offset();
        let other = entry.trn_account.get();
        Ok(Row {
            id: format!("{}{serial}", self.prefix),
            time,
            date: time.date_naive(),
            value_date: value_date(entry.value_dt.get()).map_err(malformed)?,
            amount: if money_out && !amount.is_zero() { -amount } else { amount },
            currency: if (place.time, serial) < self.turn { &self.older_currency } else { &self.currency }.clone(),
            balance,
            counterparty: if entry.contragent.is_empty() { &entry.ben_order_party } else { &entry.contragent }.owned(),
            counterparty_account: if super::compact(other) == self.owner.iban { "" } else { other }.to_owned(),
            description: joined([entry.rem_i.get(), entry.rem_ii.get(), entry.rem_iii.get()]),
            kind: entry.trname.owned(),
            kind_code: if entry.trn_code.is_empty() { &entry.trn_type } else { &entry.trn_code }.owned(),
            reference: entry.reference.owned(),
            raw: raw.to_owned(),
        })
    }
}

fn value_date(text: &str) -> Result<Option<NaiveDate>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let time = wire::time(text).ok_or_else(|| format!("valueDt `{}` is no date", short(text)))?;
    Ok(Some(time.date_naive()))
}

/// Whether money went out, in the spellings of a bank that writes both alphabets: D, DT, Д, ДТ against C, CT, K, KT, К,
/// КТ, Кт.
fn is_debit(dtkt: &str) -> Option<bool> {
    let latin = |letter: char| match letter {
        'Д' => 'D',
        'Т' => 'T',
        'К' => 'K',
        'С' => 'C',
        other => other,
    };
    let code: String = dtkt.to_uppercase().chars().map(latin).collect();
    match code.as_str() {
        "D" | "DT" => Some(true),
        "C" | "CT" | "K" | "KT" => Some(false),
        _ => None,
    }
}

fn joined(lines: [&str; 3]) -> String {
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn first_of(one: String, other: String) -> String {
    if one.is_empty() { other } else { one }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What is wrong with a JSON text, without quoting it: it is full of the owner's affairs.
pub(super) fn defect(what: &str, length: usize, error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let told = error.to_string();
    match error.classify() {
        Category::Data if told.starts_with(wire::TOO_MANY) => format!("{what} lists {told}"),
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
