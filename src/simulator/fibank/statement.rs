//! Statements: running balances, the window, and the rows as text. JSON is written by hand because it matters how a
//! number looks: `9.5`, `9.50` and `"9.50"` are the same amount, and nobody knows which the bank sends.

use std::ops::Range;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;

use super::options::{Absent, Amounts, Offsets, Options, RowOrder, Stmt};
use super::{Account, Entry};
use crate::simulator::world;

/// A JSON object being written.
pub(super) struct Object<'a> {
    members: Vec<(String, String)>,
    options: &'a Options,
}

impl<'a> Object<'a> {
    pub(super) fn new(options: &'a Options) -> Object<'a> {
        Object { members: Vec::with_capacity(20), options }
    }

    /// A member whose value is JSON already.
    pub(super) fn raw(&mut self, key: &str, json: &str) -> &mut Object<'a> {
        self.members.push((key.to_owned(), json.to_owned()));
        self
    }

    pub(super) fn text(&mut self, key: &str, text: &str) -> &mut Object<'a> {
        self.members.push((key.to_owned(), quote(text)));
        self
    }

    /// A member that has no value where the text is empty.
    pub(super) fn optional(&mut self, key: &str, text: &str) -> &mut Object<'a> {
        match self.options.absent {
            Absent::Missing if text.is_empty() => self,
            Absent::Null if text.is_empty() => self.raw(key, "null"),
            _ => self.text(key, text),
        }
    }

    pub(super) fn amount(&mut self, key: &str, amount: Decimal) -> &mut Object<'a> {
        self.members.push((key.to_owned(), write_amount(amount, self.options.amounts)));
        self
    }

    /// Adds members, replacing those of the same name; `null` removes.
    fn overlay(&mut self, extra: &serde_json::Map<String, serde_json::Value>) {
        for (key, value) in extra {
            let at = self.members.iter().position(|(name, _)| name == key);
            match (at, value.is_null()) {
                (Some(at), true) => drop(self.members.remove(at)),
                (Some(at), false) => self.members[at].1 = value.to_string(),
                (None, true) => {}
                (None, false) => self.members.push((key.clone(), value.to_string())),
            }
        }
    }

    pub(super) fn finish(&mut self) -> String {
        if self.options.unknown_keys {
            self.raw("sgRev", "17").raw("flags", r#"{"new":[],"x":null}"#).text("описание", "„ново“");
        }
        let mut text = String::with_capacity(self.members.len() * 32);
        for (at, (key, value)) in self.members.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(&quote(key));
            text.push(':');
            text.push_str(value);
        }
        text.push_str(if self.members.is_empty() { "{}" } else { "}" });
        text
    }
}

/// The two ends of a statement, both inclusive.
pub(super) struct Window {
    from: DateTime<FixedOffset>,
    to: DateTime<FixedOffset>,
}

impl Window {
    /// Reads both ends; otherwise the name of the parameter at fault.
    pub(super) fn parse(from: Option<&str>, to: Option<&str>) -> Result<Window, &'static str> {
        let window =
            Window { from: from.and_then(moment).ok_or("FromDate")?, to: to.and_then(moment).ok_or("ToDate")? };
        if window.from > window.to { Err("FromDate") } else { Ok(window) }
    }

    pub(super) fn days(&self) -> i64 {
        (self.to - self.from).num_days()
    }

    fn contains(&self, time: DateTime<FixedOffset>, options: &Options) -> bool {
        if options.reads_wall_clock {
            let local = time.with_timezone(&Sofia).naive_local();
            return self.from.naive_local() <= local && local <= self.to.naive_local();
        }
        self.from <= time && time <= self.to
    }
}

/// `2026-11-22T00:00:00+0200`. The service was seen to take the same with the sign still encoded after decoding; a sign
/// that was sent bare has become a space and is refused.
fn moment(text: &str) -> Option<DateTime<FixedOffset>> {
    let text = text.replace("%2B", "+");
    if text.len() != 24 {
        return None;
    }
    DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%z").ok()
}

/// An account's rows as text, with what a statement needs to know about each.
pub(super) struct Prepared {
    text: String,
    rows: Vec<PreparedRow>,
    /// Positions in `rows` in the order the running balance follows.
    chain: Vec<usize>,
}

struct PreparedRow {
    number: u64,
    time: DateTime<FixedOffset>,
    amount: Decimal,
    balance: Decimal,
    text: Range<usize>,
}

impl Prepared {
    pub(super) fn new(account: &Account, options: &Options) -> Prepared {
        let mut prepared = Prepared { text: String::new(), rows: Vec::new(), chain: chain(account, options) };
        for (entry, balance) in account.entries.iter().zip(balances(account, options)) {
            let start = prepared.text.len();
            prepared.text.push_str(&write_row(account, entry, balance, options));
            prepared.rows.push(PreparedRow {
                number: entry.number,
                time: entry.time,
                amount: entry.amount,
                balance,
                text: start..prepared.text.len(),
            });
        }
        prepared
    }

    /// Opening and closing balance of a window.
    fn ends(&self, account: &Account, window: &Window, options: &Options) -> (Decimal, Decimal) {
        let mut inside = self.chain.iter().map(|at| &self.rows[*at]).filter(|row| window.contains(row.time, options));
        if let Some(first) = inside.next() {
            let last = inside.next_back().unwrap_or(first);
            return (first.balance - first.amount, last.balance);
        }
        let before = self.chain.iter().rev().map(|at| &self.rows[*at]).find(|row| row.time < window.from);
        let balance = before.map_or(account.opening, |row| row.balance);
        (balance, balance)
    }
}

/// The whole reply to a statement of one account.
pub(super) fn reply(
    account: &Account,
    stranger: Option<&Account>,
    prepared: &Prepared,
    window: &Window,
    options: &Options,
) -> String {
    let (opening, closing) = prepared.ends(account, window, options);
    let mut rows: Vec<&PreparedRow> = prepared.rows.iter().filter(|row| window.contains(row.time, options)).collect();
    match options.order {
        RowOrder::Booked => {}
        RowOrder::Time => rows.sort_by_key(|row| row.time),
        RowOrder::NewestFirst => rows.reverse(),
        RowOrder::Unordered => rows.sort_by_key(|row| (row.number ^ 0x5bd1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    }
    let mut element = describe(account, opening, options).finish();
    element.pop();
    match options.stmt {
        Stmt::Omitted => {}
        Stmt::OmittedWhenEmpty if rows.is_empty() => {}
        Stmt::Null => element.push_str(",\"stmt\":null"),
        Stmt::Present | Stmt::OmittedWhenEmpty => {
            write_statement(&mut element, &rows, &prepared.text, [opening, closing], window, options);
        }
    }
    element.push('}');
    let elements = match options.acc_elements {
        0 => String::new(),
        1 => element,
        _ => format!("{},{element}", describe_stranger(stranger, options)),
    };
    format!("{{\"acc\":[{elements}]}}")
}

fn write_statement(
    out: &mut String,
    rows: &[&PreparedRow],
    text: &str,
    [opening, closing]: [Decimal; 2],
    window: &Window,
    options: &Options,
) {
    out.reserve(rows.iter().map(|row| row.text.len() + 1).sum::<usize>() + 512);
    out.push_str(",\"stmt\":[");
    let mut parts = 0;
    let mut push = |part: &str| {
        if parts > 0 {
            out.push(',');
        }
        parts += 1;
        out.push_str(part);
    };
    if options.balance_rows {
        let mut object = Object::new(options);
        object
            .text("trnType", "OP")
            .amount("acBal", opening)
            .text("dateTime", &write_time(window.from, options.offsets));
        push(&object.finish());
    }
    for row in rows {
        push(&text[row.text.clone()]);
    }
    if options.balance_rows {
        let (debit, credit): (Vec<Decimal>, _) =
            rows.iter().map(|row| row.amount).partition(|amount| *amount < Decimal::ZERO);
        let turnover = |kind, amounts: Vec<Decimal>| {
            Object::new(options).text("trnType", kind).amount("amount", amounts.iter().sum::<Decimal>().abs()).finish()
        };
        push(&turnover("DT", debit));
        push(&turnover("CT", credit));
        push(&Object::new(options).text("trnType", "CL").amount("acBal", closing).finish());
    }
    out.push(']');
}

/// An account without its rows.
pub(super) fn describe<'a>(account: &Account, opening: Decimal, options: &'a Options) -> Object<'a> {
    let balance = current_balance(account, options);
    let blocked = options.blocked.get(&account.iban).copied().unwrap_or_default();
    let mut object = Object::new(options);
    object.text("iban", &account.iban).text("ccy", &account.currency);
    object.text("acDesc", &account.alias).optional("description", &account.product);
    object.amount("acyAvlBal", balance - blocked).amount("acyOpeningBal", opening);
    object.amount("acyCurrBalance", balance).amount("blockedAmount", blocked);
    if is_card(account) {
        object.text("cardType", "D");
    }
    object.text("category", category(account));
    object
}

fn describe_stranger(stranger: Option<&Account>, options: &Options) -> String {
    match stranger {
        Some(account) => describe(account, account.opening, options).finish(),
        None => {
            let account = Account { iban: world::iban("99999999"), currency: "EUR".to_owned(), ..Account::default() };
            describe(&account, Decimal::ZERO, options).finish()
        }
    }
}

pub(super) fn category(account: &Account) -> &'static str {
    if is_card(account) { "AVL_CARD_ACC" } else { "CURR_CACC" }
}

fn is_card(account: &Account) -> bool {
    account.product.to_lowercase().contains("карт")
}

/// The balance after each entry, in the order of the entries.
pub(super) fn balances(account: &Account, options: &Options) -> Vec<Decimal> {
    run(account, options).0
}

/// The balance of today.
pub(super) fn current_balance(account: &Account, options: &Options) -> Decimal {
    run(account, options).1
}

/// Follows the chain of balances. Where history stays in leva the balance turns into euros at the first entry of 2026,
/// at the latest today.
fn run(account: &Account, options: &Options) -> (Vec<Decimal>, Decimal) {
    let mut in_leva = options.kept_in_leva.contains(&account.iban);
    let mut balance = account.opening;
    let mut all = vec![Decimal::ZERO; account.entries.len()];
    for at in chain(account, options) {
        let entry = &account.entries[at];
        if in_leva && entry.time >= world::euro_day() {
            in_leva = false;
            balance = world::in_euro(balance);
        }
        balance = entry.balance.unwrap_or(balance + entry.amount);
        all[at] = balance;
    }
    (all, if in_leva { world::in_euro(balance) } else { balance })
}

fn chain(account: &Account, options: &Options) -> Vec<usize> {
    let mut order: Vec<usize> = (0..account.entries.len()).collect();
    if options.balances_by_time {
        order.sort_by_key(|at| account.entries[*at].time);
    }
    order
}

fn write_row(account: &Account, entry: &Entry, balance: Decimal, options: &Options) -> String {
    let debit = entry.amount < Decimal::ZERO;
    let magnitude = entry.amount.abs();
    let other = if entry.counterparty_account.is_empty() || options.own_trn_account {
        &account.iban
    } else {
        &entry.counterparty_account
    };
    let mut object = Object::new(options);
    object.raw("acEntrySrNo", &entry.number.to_string()).text("reference", &entry.reference).text("trnType", "TR");
    object.optional("trnCode", &entry.type_code).optional("trname", &entry.type_name);
    object.text("dtkt", if debit { &options.dtkt.0 } else { &options.dtkt.1 });
    object.amount("amount", magnitude).amount("acBal", balance);
    object.text("dateTime", &write_time(entry.time, options.offsets));
    object.text("valueDt", &write_date(entry.value_date, options.offsets));
    object.optional("contragent", &entry.counterparty).text("trnAccount", other);
    for (key, line) in ["remI", "remIi", "remIii"].into_iter().zip(&entry.remittance) {
        object.optional(key, line);
    }
    if options.debit_credit_amounts {
        object.amount("drAmount", if debit { magnitude } else { Decimal::ZERO });
        object.amount("crAmount", if debit { Decimal::ZERO } else { magnitude });
    }
    object.overlay(&entry.extra);
    object.finish()
}

fn write_time(time: DateTime<FixedOffset>, offsets: Offsets) -> String {
    let local = time.with_timezone(&Sofia);
    match offsets {
        Offsets::Winter => time.with_timezone(&winter()).format("%Y-%m-%dT%H:%M:%S%z").to_string(),
        Offsets::Sofia => local.format("%Y-%m-%dT%H:%M:%S%z").to_string(),
        Offsets::WallClock => local.format("%Y-%m-%dT%H:%M:%S+0200").to_string(),
        Offsets::Colon => local.format("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Offsets::Utc => time.naive_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// A value date is midnight by the clock that is shown, or it would fall on the day before.
fn write_date(date: NaiveDate, offsets: Offsets) -> String {
    let midnight: NaiveDateTime = date.and_time(NaiveTime::MIN);
    let local = match offsets {
        Offsets::Winter | Offsets::WallClock => winter().from_local_datetime(&midnight).earliest(),
        _ => Sofia.from_local_datetime(&midnight).earliest().map(|time| time.fixed_offset()),
    };
    local.map_or_else(String::new, |time| write_time(time, offsets))
}

/// Bulgarian winter time.
fn winter() -> FixedOffset {
    world::euro_day().timezone()
}

fn write_amount(amount: Decimal, amounts: Amounts) -> String {
    let shortest = amount.normalize();
    match amounts {
        Amounts::Shortest => shortest.to_string(),
        Amounts::TwoPlaces => format!("{amount:.2}"),
        Amounts::Text => format!("\"{amount:.2}\""),
        Amounts::Double if shortest.abs() >= Decimal::from(10_000_000) => format!("{:E}", Exponent(shortest)),
        Amounts::Double if shortest.scale() == 0 => format!("{shortest}.0"),
        Amounts::Double => shortest.to_string(),
    }
}

/// Java's notation of a large double: one digit, a point, at least one more, `E`, the power of ten.
struct Exponent(Decimal);

impl std::fmt::UpperExp for Exponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.mantissa().unsigned_abs().to_string();
        let power = digits.len() - 1 - self.0.scale() as usize;
        let rest = digits[1..].trim_end_matches('0');
        let sign = if self.0.is_sign_negative() { "-" } else { "" };
        write!(f, "{sign}{}.{}E{power}", &digits[..1], if rest.is_empty() { "0" } else { rest })
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
