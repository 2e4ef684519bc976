//! Statements: running balances, the window, and the rows as text.

use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use chrono_tz::Europe::Sofia;
use rust_decimal::Decimal;

use super::json::{Object, write_date, write_time};
use super::options::{Options, RowOrder, Stmt};
use super::{Account, Entry};
use crate::simulator::world;

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

/// An account's rows as text, with the parts of each that a statement needs.
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
    /// Balance before and after.
    balances: [Decimal; 2],
    text: Range<usize>,
}

impl Prepared {
    pub(super) fn new(account: &Account, options: &Options) -> Prepared {
        let mut prepared = Prepared { text: String::new(), rows: Vec::new(), chain: chain(account, options) };
        for (entry, balances) in account.entries.iter().zip(run(account, options).0) {
            let start = prepared.text.len();
            prepared.text.push_str(&write_row(account, entry, balances[1], options));
            prepared.rows.push(PreparedRow {
                number: entry.number,
                time: entry.time,
                amount: entry.amount,
                balances,
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
            return (first.balances[0], last.balances[1]);
        }
        let before = self.chain.iter().rev().map(|at| &self.rows[*at]).find(|row| row.time < window.from);
        let balance = before.map_or(account.opening, |row| row.balances[1]);
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
    let is_shown = |row: &&PreparedRow| window.contains(row.time, options) && !options.withheld.contains(&row.number);
    let mut rows: Vec<&PreparedRow> = prepared.rows.iter().filter(is_shown).collect();
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
    run(account, options).0.into_iter().map(|[_, after]| after).collect()
}

/// The balance of today.
pub(super) fn current_balance(account: &Account, options: &Options) -> Decimal {
    run(account, options).1
}

/// Follows the chain of balances; returns the balances before and after each entry, and today's. A balance whose
/// history stays in leva turns into euros at the first entry of 2026, at the latest today.
fn run(account: &Account, options: &Options) -> (Vec<[Decimal; 2]>, Decimal) {
    let mut in_leva = options.kept_in_leva.contains(&account.iban);
    let mut balance = account.opening;
    let mut all = vec![[Decimal::ZERO; 2]; account.entries.len()];
    for at in chain(account, options) {
        let entry = &account.entries[at];
        if in_leva && entry.time >= world::euro_day() {
            in_leva = false;
            balance = world::in_euro(balance);
        }
        let before = balance;
        balance = entry.balance.unwrap_or(before + entry.amount);
        all[at] = [before, balance];
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
