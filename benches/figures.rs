//! The figures the program must reach (memory, speed, size), as ratios measured in one run. Not a test: it prints.
//!
//! `cargo bench --bench figures` runs all of it; name parts to run only these: `-- reconcile million`.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bankfeed::model::{Account, Row};
use bankfeed::reconcile::{Chain, Look, Reconciler};
use bankfeed::store::Store;
use chrono::{DateTime, Days, FixedOffset, NaiveDate};
use serde::Deserialize;
use serde_json::value::RawValue;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    if wanted("reconcile") {
        reconcile();
    }
    if wanted("million") {
        million();
    }
}

/// The fields of one row in the bank's reply, read with `serde_json` alone as the yardstick.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code)]
struct Wire<'a> {
    ac_entry_sr_no: u64,
    reference: &'a str,
    trn_type: &'a str,
    trn_code: &'a str,
    dtkt: &'a str,
    #[serde(borrow)]
    amount: &'a RawValue,
    #[serde(borrow)]
    ac_bal: &'a RawValue,
    date_time: &'a str,
    value_dt: &'a str,
    trname: &'a str,
    contragent: &'a str,
    trn_account: &'a str,
    rem_i: &'a str,
}

/// Invented rows of two accounts over ten years, with the texts banks send.
struct Rows {
    next: u64,
    balance: i64,
}

impl Rows {
    fn next(&mut self, per_day: u64) -> (Row, usize) {
        const NAMES: [&str; 8] = [
            "ИЗМИСЛЕН ЕООД",
            "ПЪРВИ МАГАЗИН ООД",
            "БЕЗ ИМЕ АД",
            "ИВАН ПРИМЕРОВ",
            "МАРИЯ ОБРАЗЦОВА",
            "ТОК И СВЕТЛИНА АД",
            "ВОДА ЕАД",
            "ХЛЯБ И СИРЕНЕ ЕТ",
        ];
        const KINDS: [&str; 4] = ["Плащане с карта на ПОС", "Изходящ превод", "Такса за превод", "Получен превод"];
        let n = self.next;
        self.next += 1;
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let pick = |of: usize, shift: u32| ((mixed >> shift) as usize) % of;
        let cents = 100 + (mixed >> 20) as i64 % 20_000;
        let credit = mixed & 7 == 0;
        let amount = if credit { cents * 6 } else { -cents };
        self.balance += amount;
        let date = NaiveDate::from_ymd_opt(2016, 1, 1).unwrap() + Days::new(n / per_day);
        let second = (n % per_day) * 80_000 / per_day;
        let offset = FixedOffset::east_opt(7200).unwrap();
        let time: DateTime<FixedOffset> =
            date.and_hms_opt(0, 0, 0).unwrap().and_local_timezone(offset).unwrap() + Duration::from_secs(second);
        let iban = format!("BG32FINV9150100000{:04}", pick(2, 3) + 1);
        let (name, kind) = (NAMES[pick(8, 33)], KINDS[pick(4, 44)]);
        let mut raw = String::new();
        write!(
            raw,
            r#"{{"acEntrySrNo":{},"reference":"{:03}FTIN{:08}","trnType":"{}","trnCode":"{:03}","dtkt":"{}","amount":{}.{:02},"acBal":{}.{:02},"dateTime":"{}","valueDt":"{date}T00:00:00+0200","trname":"{kind}","contragent":"{name}","trnAccount":"BG05FINV9150{:010}","remI":"Фактура {:010} от {date}","isEbankOper":"Y"}}"#,
            900_000_000 + n, pick(1000, 7), mixed % 100_000_000, if credit { "CR" } else { "DR" }, pick(300, 11),
            if credit { "C" } else { "D" }, amount.abs() / 100, amount.abs() % 100, self.balance / 100, self.balance.abs() % 100,
            time.format("%Y-%m-%dT%H:%M:%S+0200"), mixed % 10_000_000_000, (mixed >> 5) % 10_000_000_000,
        ).unwrap();
        let account = usize::from(iban.ends_with('2'));
        let decimal = |cents: i64| rust_decimal::Decimal::new(cents, 2);
        let row = Row {
            id: format!("fibank:{iban}:{}", 900_000_000 + n),
            time,
            date,
            value_date: Some(date),
            amount: decimal(amount),
            currency: "EUR".into(),
            balance: Some(decimal(self.balance)),
            counterparty: name.into(),
            counterparty_account: format!("BG05FINV9150{:010}", mixed % 10_000_000_000),
            description: format!("Фактура {:010} от {date}", (mixed >> 5) % 10_000_000_000),
            kind: kind.into(),
            kind_code: format!("{:03}", pick(300, 11)),
            reference: format!("{:03}FTIN{:08}", pick(1000, 7), mixed % 100_000_000),
            raw,
        };
        (row, account)
    }
}

fn fill(dir: &Path, rows: u64) -> (Store, Vec<Row>, u64) {
    let store = Store::open(dir).unwrap();
    let mut source = Rows { next: 0, balance: 100_000_000 };
    let (mut kept, mut raw_bytes) = (Vec::new(), 0);
    let mut left = rows;
    while left > 0 {
        let mut writer = store.writer();
        let accounts = ["BG32FINV91501000000001", "BG32FINV91501000000002"].map(|iban| {
            let account = Account {
                account: iban.into(),
                name: String::new(),
                customer: "ИЗМИСЛЕН".into(),
                currency: "EUR".into(),
                balance: None,
            };
            writer.put_account("fibank", &account, |_| {}).unwrap()
        });
        for _ in 0..left.min(1000) {
            let (row, account) = source.next(rows.div_ceil(3650));
            raw_bytes += row.raw.len() as u64;
            if rows <= 100_000 && account == 0 {
                kept.push(row.clone());
            }
            writer.add(accounts[account], row).unwrap();
        }
        left -= left.min(1000);
        writer.commit().unwrap();
    }
    store.sync().unwrap();
    (store, kept, raw_bytes)
}

/// Reconciles 100,000 fetched rows (of one account), all known; serde_json's time for the same bytes is the yardstick.
fn reconcile() {
    let dir = tempfile::tempdir().unwrap();
    let store_rows = 100_000;
    let (store, rows, _) = fill(dir.path(), store_rows);
    let body = format!("[{}]", rows.iter().map(|row| row.raw.as_str()).collect::<Vec<_>>().join(","));
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let started = Instant::now();
        let parsed: Vec<Wire<'_>> = serde_json::from_str(&body).unwrap();
        let parse = started.elapsed();
        assert_eq!(parsed.len(), rows.len());
        drop(parsed);
        let started = Instant::now();
        let mut reconciler = Reconciler::new(store.known(0, NaiveDate::MIN..=NaiveDate::MAX).unwrap());
        let mut chain = Chain::default();
        for row in &rows {
            chain.add(row);
            assert_eq!(reconciler.look(row), Look::Unchanged);
        }
        assert!(reconciler.vanished().is_empty());
        let look = started.elapsed();
        ratios.push((look.as_secs_f64() / parse.as_secs_f64(), look, parse));
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, look, parse) = ratios[ratios.len() / 2];
    println!(
        "reconcile {} known rows: {ratio:.2} x serde_json alone ({look:?} against {parse:?}; goal 1.5 x)",
        rows.len()
    );
}

/// A store of 1,000,000 transactions: opening and disk per row.
fn million() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let (store, _, raw_bytes) = fill(dir.path(), 1_000_000);
    println!("1,000,000 rows: filled in {:?}, payload {} bytes a row", started.elapsed(), raw_bytes / 1_000_000);
    drop(store);
    std::thread::sleep(Duration::from_millis(300));
    let disk: u64 = walk(dir.path());
    println!("1,000,000 rows: {} bytes a row on disk (goal 600)", disk / 1_000_000);
    let started = Instant::now();
    let store = Store::open(dir.path()).unwrap();
    println!("1,000,000 rows: opened in {:?} (goal 1 s)", started.elapsed());
    let started = Instant::now();
    let accounts = store.accounts().len();
    let known = store.meta().rows;
    println!(
        "1,000,000 rows: what status reads ({accounts} accounts, {known} rows) in {:?} (goal 50 ms)",
        started.elapsed()
    );
}

fn walk(dir: &Path) -> u64 {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { walk(&entry.path()) } else { std::os::unix::fs::MetadataExt::blocks(&meta) * 512 }
        })
        .sum()
}
