//! The demo world: a family's three accounts and a small company's two, day by day, until the evening before `today`.
//!
//! A day is drawn from a seed that is its date, so a later `today` gives the same rows and more.

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use super::texts::{
    ATM, BUDGET, CARD, CLIENTS, COMPANY, DAILY, FEE, INCOMING, INTEREST, Kind, LONG, OUTGOING, OWN, POS, RECURRING,
    Recurring, SAVINGS, SHOPS, SUPPLIERS,
};
use super::{History, Random, bulgarian_iban, day, iban, in_leva, sofia};
use crate::simulator::fibank::{Account, Bank, Customer, Entry};

/// Account part, currency before 2026, alias, product, opening balance.
const ACCOUNTS: [(&str, &str, &str, &str, i64); 5] = [
    ("00004711", "BGN", "Ежедневна", "Разплащателна сметка", 412_050),
    ("0BGN4712", "BGN", "Карта", "Картова сметка Visa Debit", 60_000),
    ("00004713", "EUR", "Спестявания 🏖", "Спестовна сметка", 850_000),
    ("BGN10815", "BGN", "Фирмена", "Разплащателна сметка на юридическо лице", 2_650_000),
    ("0USD0816", "USD", "", "Разплащателна сметка във валута", 30_000),
];

/// Number of the person's accounts; the others are the company's.
const PERSONAL: usize = 3;

const OWNER: &str = "Мария Измислена-Тестова";
const FIRM: &str = "ИЗМИСЛЕНИ РЕШЕНИЯ ЕООД";

impl Bank {
    /// A family and its small company: about 2,800 rows over the 44 months before `today`, restated in euros from 2026
    /// on.
    pub fn household(today: NaiveDate) -> Bank {
        let start = today.with_day(1).and_then(|first| first.checked_sub_months(Months::new(44))).unwrap_or(today);
        Bank::household_between(start, today, History::Restated)
    }

    /// The same household from the morning of `start` to the evening before `today`. With the same `start`, a later
    /// `today` gives the same rows and more; `history` decides the fate of rows in leva if 2026 lies between.
    pub fn household_between(start: NaiveDate, today: NaiveDate, history: History) -> Bank {
        let mut household = Household::new(start);
        for date in start.iter_days().take_while(|date| *date < today) {
            if date == day(2026, 1, 1) {
                household.bank.introduce_euro(history);
                household.count_again();
            }
            household.live(date);
        }
        household.bank
    }
}

/// A booking on its way into an account.
#[derive(Clone, Default)]
struct Draft {
    account: usize,
    /// Second of the day.
    second: u32,
    /// Cents of the euro, or of the dollar on the account in dollars.
    cents: i64,
    kind: Kind,
    party: String,
    other: String,
    reference: String,
    lines: [String; 3],
    /// Days between the value date and the booking.
    lag: u64,
    /// Ordered by the owner in e-banking.
    ordered: bool,
}

struct Household {
    bank: Bank,
    /// Balance of each account, to know when the card needs money.
    balances: [Decimal; 5],
    number: u64,
    operations: u32,
    drafts: Vec<Draft>,
}

impl Household {
    fn new(start: NaiveDate) -> Household {
        let leva = start < day(2026, 1, 1);
        let mut accounts = ACCOUNTS.map(|(part, currency, alias, product, cents)| {
            let opening = Decimal::new(cents, 2);
            Account {
                iban: iban(part),
                currency: if leva || currency != "BGN" { currency } else { "EUR" }.to_owned(),
                alias: alias.to_owned(),
                product: product.to_owned(),
                opening: if leva && currency == "BGN" { in_leva(opening) } else { opening },
                ..Account::default()
            }
        });
        let balances = accounts.each_ref().map(|account| account.opening);
        let (personal, company) = accounts.split_at_mut(PERSONAL);
        let customer = |id: &str, name: &str, accounts: &[Account]| Customer {
            id: id.to_owned(),
            name: name.to_owned(),
            accounts: accounts.to_vec(),
        };
        let mut bank = Bank {
            username: "maria".to_owned(),
            password: "invented-password".to_owned(),
            customers: vec![customer("2000417", OWNER, personal), customer("2000418", FIRM, company)],
            ..Bank::default()
        };
        bank.options.blocked.insert(iban(ACCOUNTS[CARD].0), Decimal::new(2_390, 2));
        Household { bank, balances, number: 4_100_000_000, operations: 0, drafts: Vec::new() }
    }

    /// Lives a day: payments that fall due, purchases, the company's business; booked in the order of the clock.
    fn live(&mut self, date: NaiveDate) {
        let mut random = Random::new(u64::from(date.num_days_from_ce().unsigned_abs()));
        for due in RECURRING.iter().filter(|due| falls_due(due, date)) {
            self.pay(due, date, &mut random);
        }
        let enough = Decimal::from(if self.in_leva(CARD) { 400 } else { 200 });
        if self.balances[CARD] < enough {
            self.transfer(date, 27_000 + random.below(1_800), DAILY, CARD, 30_000, "Захранване на карта");
        }
        if date.day() == 29 {
            self.transfer(date, 36_000, DAILY, SAVINGS, 70_000, "Спестявания за море");
        }
        self.shop(date, &mut random);
        self.bank_day(date, &mut random);
        self.work(date, &mut random);
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.sort_by_key(|draft| draft.second);
        for draft in drafts {
            self.book(draft, date, &mut random);
        }
    }

    /// A recurring payment, with its fee.
    fn pay(&mut self, due: &Recurring, date: NaiveDate, random: &mut Random) {
        let month = date.format("%m/%Y").to_string();
        let stray = i64::from(random.below(2 * due.strays + 1)) - i64::from(due.strays);
        let odd = if due.strays > 0 { i64::from(random.below(100)) } else { 0 };
        let reference = self.reference(due.kind.0, date);
        let draft = Draft {
            account: due.account,
            second: 32_400 + random.below(21_600),
            cents: due.cents + due.cents * stray / 100 + odd,
            kind: due.kind,
            party: due.party.to_owned(),
            other: if due.other.is_empty() { String::new() } else { other_iban(due.other) },
            reference,
            lines: due.lines.map(|line| line.replace("{m}", &month)),
            ordered: due.kind == OUTGOING || due.kind == BUDGET,
            lag: 0,
        };
        if due.fee {
            let cents = if due.cents > 0 { -500 } else { -60 };
            self.drafts.push(fee_of(&draft, cents));
        }
        self.drafts.push(draft);
    }

    /// Books a transfer between own accounts: an entry on each, with the same reference and second.
    fn transfer(&mut self, date: NaiveDate, second: u32, from: usize, to: usize, cents: i64, line: &str) {
        let reference = self.reference(OWN.0, date);
        let entry = |account: usize, other: usize, cents: i64| Draft {
            account,
            second,
            cents,
            kind: OWN,
            party: OWNER.to_owned(),
            other: iban(ACCOUNTS[other].0),
            reference: reference.clone(),
            lines: [line.to_owned(), String::new(), String::new()],
            ordered: true,
            lag: 0,
        };
        self.drafts.extend([entry(from, to, -cents), entry(to, from, cents)]);
    }

    /// The card: most days something, now and then two equal coffees, and cash with its fee.
    fn shop(&mut self, date: NaiveDate, random: &mut Random) {
        let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        let times = random.below(if weekend { 3 } else { 2 }) + u32::from(random.percent(2));
        for _ in 0..times {
            let (party, kind, low, high, _, line) = pick_shop(random);
            let cents = i64::from(low + random.below(high - low + 1));
            let draft = self.purchase(date, random, party, kind, cents, line);
            self.drafts.push(draft);
        }
        if random.percent(4) {
            let (party, kind, ..) = SHOPS[2];
            let coffee = self.purchase(date, random, party, kind, 190, "2 бр. еспресо, отделни сметки");
            self.drafts.extend([coffee.clone(), coffee]);
        }
        if random.percent(3) {
            let cents = 2_000 * i64::from(1 + random.below(4));
            let cash = self.purchase(date, random, "АТМ 000417 ИЗМИСЛОВО", ATM, cents, "ИЗМИСЛОВО BG");
            self.drafts.push(fee_of(&cash, -20));
            self.drafts.push(cash);
        }
    }

    fn purchase(
        &mut self,
        date: NaiveDate,
        random: &mut Random,
        party: &str,
        kind: Kind,
        cents: i64,
        line: &str,
    ) -> Draft {
        let lag = u64::from(random.below(3));
        let on = date - Days::new(lag);
        Draft {
            account: CARD,
            second: 28_800 + random.below(50_400),
            cents: -cents,
            kind,
            party: party.to_owned(),
            other: String::new(),
            reference: self.reference(kind.0, date),
            lines: [
                "карта *4711".to_owned(),
                line.to_owned(),
                format!("{} {}", if kind == POS { "ПОС" } else { "Дата" }, on.format("%d.%m.%Y")),
            ],
            lag,
            ordered: false,
        }
    }

    /// Books the bank's own entries: interest and the tax on it, in the same second of the night.
    fn bank_day(&mut self, date: NaiveDate, random: &mut Random) {
        if (date + Days::new(1)).day() != 1 {
            return;
        }
        let reference = self.reference(INTEREST.0, date);
        let cents = 900 + i64::from(random.below(400));
        let interest = Draft {
            account: SAVINGS,
            second: 84_600,
            cents,
            kind: INTEREST,
            reference,
            lines: [format!("Лихва {}", date.format("%m.%Y")), String::new(), String::new()],
            ..Draft::default()
        };
        let mut tax = interest.clone();
        tax.cents = -cents * 8 / 100;
        tax.kind = BUDGET;
        tax.lines[0] = "Данък върху лихви 8%".to_owned();
        self.drafts.extend([interest, tax]);
    }

    /// The company on a working day: invoices paid by its clients, suppliers paid with a fee, contributions to the
    /// state.
    fn work(&mut self, date: NaiveDate, random: &mut Random) {
        if date.day() == 25 {
            self.contributions(date, random);
        }
        if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) {
            return;
        }
        if random.percent(14) {
            let (party, other) = CLIENTS[random.below(CLIENTS.len() as u32) as usize];
            let long = random.percent(30);
            let lines = if long { LONG.map(str::to_owned) } else { [self.invoice(), String::new(), String::new()] };
            let cents = 60_000 + i64::from(random.below(320_000));
            let draft = self.dealing(date, random, party, other, cents, lines, INCOMING);
            self.drafts.push(draft);
        }
        if random.percent(10) {
            let (party, other) = SUPPLIERS[random.below(SUPPLIERS.len() as u32) as usize];
            let lines = [self.invoice(), "по оферта".to_owned(), String::new()];
            let cents = -2_000 - i64::from(random.below(90_000));
            let draft = self.dealing(date, random, party, other, cents, lines, OUTGOING);
            self.drafts.push(fee_of(&draft, -60));
            self.drafts.push(draft);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn dealing(
        &mut self,
        date: NaiveDate,
        random: &mut Random,
        party: &str,
        other: &str,
        cents: i64,
        lines: [String; 3],
        kind: Kind,
    ) -> Draft {
        Draft {
            account: COMPANY,
            second: 32_400 + random.below(28_800),
            cents,
            kind,
            party: party.to_owned(),
            other: other_iban(other),
            reference: self.reference(kind.0, date),
            lines,
            ordered: cents < 0,
            lag: 0,
        }
    }

    /// Three contributions in one order: one second, one reference, three entries.
    fn contributions(&mut self, date: NaiveDate, random: &mut Random) {
        let second = 36_000 + random.below(7_200);
        let reference = self.reference(BUDGET.0, date);
        for (line, cents) in [("ДОО", -61_240), ("ЗО", -24_810), ("ДЗПО", -14_930)] {
            self.drafts.push(Draft {
                account: COMPANY,
                second,
                cents,
                kind: BUDGET,
                party: "ТД НА НАП ИЗМИСЛОВО".to_owned(),
                other: other_iban("00084000"),
                reference: reference.clone(),
                lines: [line.to_owned(), format!("за {}", date.format("%m/%Y")), String::new()],
                ordered: true,
                lag: 0,
            });
        }
    }

    fn book(&mut self, draft: Draft, date: NaiveDate, random: &mut Random) {
        let cents = Decimal::new(draft.cents, 2);
        let amount = if self.in_leva(draft.account) { in_leva(cents) } else { cents };
        // Numbers are the bank's, not the account's: other people's entries lie between.
        self.number += 1 + u64::from(random.below(90));
        let mut extra = Map::new();
        for key in ["isEbankOper", "isPayment", "loadAsNew"] {
            if draft.ordered && amount < Decimal::ZERO {
                extra.insert(key.to_owned(), Value::from("Y"));
            }
        }
        if !draft.other.is_empty() {
            extra.insert("benOrderParty".to_owned(), Value::from(draft.party.clone()));
        }
        let entry = Entry {
            number: self.number,
            time: sofia(date, draft.second / 3600, draft.second / 60 % 60, draft.second % 60),
            value_date: date - Days::new(draft.lag),
            amount,
            counterparty: draft.party,
            counterparty_account: draft.other,
            reference: draft.reference,
            type_code: draft.kind.0.to_owned(),
            type_name: draft.kind.1.to_owned(),
            remittance: draft.lines,
            balance: None,
            extra,
        };
        self.balances[draft.account] += amount;
        self.account(draft.account).entries.push(entry);
    }

    fn account(&mut self, at: usize) -> &mut Account {
        match at.checked_sub(PERSONAL) {
            None => &mut self.bank.customers[0].accounts[at],
            Some(at) => &mut self.bank.customers[1].accounts[at],
        }
    }

    fn in_leva(&mut self, at: usize) -> bool {
        self.account(at).currency == "BGN"
    }

    fn count_again(&mut self) {
        self.number = self.number.max(self.bank.last_number());
        for (at, (part, ..)) in ACCOUNTS.iter().enumerate() {
            self.balances[at] = self.bank.balance(&iban(part)).unwrap_or_default();
        }
    }

    fn reference(&mut self, code: &str, date: NaiveDate) -> String {
        self.operations += 1;
        format!("{code}{}{:05}", date.format("%y%j"), self.operations % 100_000)
    }

    fn invoice(&self) -> String {
        format!("Ф-ра {:010}", 1_000 + self.operations)
    }
}

/// The fee of an operation: its own entry, the same reference, the second after.
fn fee_of(draft: &Draft, cents: i64) -> Draft {
    Draft {
        second: draft.second + 1,
        cents,
        kind: FEE,
        party: String::new(),
        other: String::new(),
        lines: [format!("Такса {}", draft.kind.1.to_lowercase()), String::new(), String::new()],
        ordered: false,
        ..draft.clone()
    }
}

fn falls_due(due: &Recurring, date: NaiveDate) -> bool {
    let (first, last) = due.months;
    let month = date.month();
    let in_season = if first <= last { (first..=last).contains(&month) } else { month >= first || month <= last };
    due.day == date.day() && in_season
}

fn pick_shop(random: &mut Random) -> super::texts::Shop {
    let total = SHOPS.iter().map(|shop| shop.4).sum();
    let mut at = random.below(total);
    for shop in SHOPS {
        if at < shop.4 {
            return shop;
        }
        at -= shop.4;
    }
    SHOPS[0]
}

/// An account at a bank that does not exist.
fn other_iban(account: &str) -> String {
    bulgarian_iban(&format!("DEMO930010{account}"))
}
