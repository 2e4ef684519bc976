//! The accounts behind the service, and the things that happen to them.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

/// Everything behind one access URL.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The logins at banks.
    pub connections: Vec<Connection>,
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Ids given out so far.
    issued: u64,
}

/// A login at a bank.
#[derive(Clone, Debug)]
pub struct Connection {
    /// `CON-…`.
    pub id: String,
    /// The login as people know it, e.g. `Example Bank - Alex`.
    pub name: String,
    /// The id of the bank.
    pub org_id: String,
    /// The name of the bank.
    pub org_name: String,
    /// The domain of the bank.
    pub domain: String,
}

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// `ACT-…`, or any text.
    pub id: String,
    /// The id of its connection.
    pub connection: String,
    /// The name.
    pub name: String,
    /// A code, an address, or nothing.
    pub currency: String,
    /// The balance, as it is written.
    pub balance: String,
    /// The instant of the balance; `None`: now.
    pub balance_date: Option<i64>,
    /// The transactions, booked and pending.
    pub transactions: Vec<Transaction>,
    /// The list of transactions is left out.
    pub is_unlisted: bool,
}

/// A transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// `TRN-…`, or any text.
    pub id: String,
    /// The instant of booking; 0: pending.
    pub posted: i64,
    /// The flag of a pending transaction; usually absent.
    pub pending: Option<bool>,
    /// The instant of the purchase.
    pub transacted_at: Option<i64>,
    /// The amount, as it is written.
    pub amount: String,
    /// The description.
    pub description: String,
    /// The other side, where the service knows it.
    pub payee: Option<String>,
    /// The bank's own text.
    pub memo: Option<String>,
    /// The code of the merchant's trade.
    pub mcc: Option<String>,
}

impl Ledger {
    /// Two logins with a checking account, a card and a savings account, and their rows of the last 120 days before `today`.
    pub fn small(today: NaiveDate) -> Ledger {
        let mut ledger = Ledger::default();
        let bank = ledger.connect("Example Bank - Alex", "Example Bank");
        let other = ledger.connect("Savings Union", "Savings Union");
        let (checking, card) = (ledger.open(&bank, "Checking (0001)", "USD"), ledger.open(&bank, "Card (0002)", "USD"));
        let savings = ledger.open(&other, "Savings", "USD");
        for week in 0..17 {
            let days = week * 7 + 1;
            ledger.book(&checking, back(today, days), "-02.75", "METRO FARE");
            ledger.book(&checking, back(today, days), "-02.75", "METRO FARE");
            ledger.book(&checking, back(today, days + 2), "-64.1", "GROCERY STORE");
            ledger.book(&card, back(today, days + 3), "-18.20", "CAFE");
        }
        for month in 0..4 {
            ledger.book(&checking, back(today, month * 30 + 2), "1960", "PAY DAY");
            ledger.book(&savings, back(today, month * 30 + 4), ".50", "INTEREST");
        }
        ledger
    }

    /// An account with so many rows in the 40 days before `today`.
    pub fn large(today: NaiveDate, rows: u64) -> Ledger {
        let mut ledger = Ledger::default();
        let bank = ledger.connect("Example Bank - Alex", "Example Bank");
        let account = ledger.open(&bank, "Checking (0001)", "USD");
        for row in 0..rows {
            let text = format!("PAYMENT {row} TO A SHOP IN A TOWN");
            ledger.book(&account, back(today, row % 40 + 1), &format!("-{}.{:02}", row % 900 + 1, row % 100), &text);
        }
        ledger
    }

    /// Adds a login at a bank; gives its id.
    pub fn connect(&mut self, name: &str, org: &str) -> String {
        let id = self.issue("CON");
        let domain = format!("{}.example", org.to_lowercase().replace(' ', "-"));
        let org_id = format!("INST-{domain}");
        let (name, org_name) = (name.to_owned(), org.to_owned());
        self.connections.push(Connection { id: id.clone(), name, org_id, org_name, domain });
        id
    }

    /// Opens an account; gives its id.
    pub fn open(&mut self, connection: &str, name: &str, currency: &str) -> String {
        let id = self.issue("ACT");
        self.accounts.push(Account {
            id: id.clone(),
            connection: connection.to_owned(),
            name: name.to_owned(),
            currency: currency.to_owned(),
            balance: "912.10".into(),
            balance_date: None,
            transactions: Vec::new(),
            is_unlisted: false,
        });
        id
    }

    /// Books a transaction at noon of a day; gives its id.
    pub fn book(&mut self, account: &str, day: NaiveDate, amount: &str, description: &str) -> String {
        let id = self.issue("TRN");
        let posted = noon(day).timestamp();
        self.account(account).transactions.push(Transaction {
            id: id.clone(),
            posted,
            transacted_at: Some(posted - 86_400),
            amount: amount.to_owned(),
            description: description.to_owned(),
            payee: Some(description.to_lowercase()),
            memo: Some(String::new()),
            ..Transaction::default()
        });
        id
    }

    /// A pending transaction; gives its id.
    pub fn reserve(&mut self, account: &str, amount: &str, description: &str) -> String {
        let id = self.book(account, NaiveDate::MIN, amount, description);
        if let Some(transaction) = self.account(account).transactions.last_mut() {
            (transaction.posted, transaction.pending, transaction.transacted_at) = (0, Some(true), None);
        }
        id
    }

    /// Books a pending transaction, under a new id or its own.
    pub fn post(&mut self, account: &str, id: &str, day: NaiveDate, under_new_id: bool) -> String {
        let fresh = self.issue("TRN");
        let transaction = self.transaction(account, id);
        (transaction.posted, transaction.pending) = (noon(day).timestamp(), None);
        if under_new_id {
            transaction.id = fresh;
        }
        transaction.id.clone()
    }

    /// Gives new ids to the rows of an account from a day on, all else equal.
    pub fn reissue(&mut self, account: &str, from: NaiveDate) {
        let first = from.and_time(NaiveTime::MIN).and_utc().timestamp();
        let count = self.account(account).transactions.len();
        for at in 0..count {
            if self.account(account).transactions[at].posted >= first {
                let fresh = self.issue("TRN");
                self.account(account).transactions[at].id = fresh;
            }
        }
    }

    /// The owner connects the bank again: new ids for the connection, its accounts and their rows. Gives the new ids of the
    /// accounts, each behind the old one.
    pub fn relink(&mut self, connection: &str) -> Vec<(String, String)> {
        let fresh = self.issue("CON");
        for known in self.connections.iter_mut().filter(|known| known.id == connection) {
            known.id.clone_from(&fresh);
        }
        let mut renamed = Vec::new();
        for at in 0..self.accounts.len() {
            if self.accounts[at].connection == connection {
                let id = self.issue("ACT");
                let account = &mut self.accounts[at];
                account.connection.clone_from(&fresh);
                renamed.push((std::mem::replace(&mut account.id, id.clone()), id.clone()));
                self.reissue(&id, NaiveDate::MIN);
            }
        }
        renamed
    }

    /// An account. Panics where there is none with this id.
    pub fn account(&mut self, id: &str) -> &mut Account {
        let found = self.accounts.iter_mut().find(|account| account.id == id);
        found.unwrap_or_else(|| panic!("no simulated account {id}"))
    }

    /// A transaction. Panics where there is none with this id.
    pub fn transaction(&mut self, account: &str, id: &str) -> &mut Transaction {
        let found = self.account(account).transactions.iter_mut().find(|transaction| transaction.id == id);
        found.unwrap_or_else(|| panic!("no simulated transaction {id}"))
    }

    /// Number of booked transactions.
    pub fn booked(&self) -> usize {
        self.accounts.iter().flat_map(|account| &account.transactions).filter(|row| row.is_booked()).count()
    }

    fn issue(&mut self, kind: &str) -> String {
        self.issued += 1;
        format!("{kind}-00000000-0000-4000-8000-{:012x}", self.issued)
    }
}

impl Transaction {
    /// True for a transaction that is booked.
    pub fn is_booked(&self) -> bool {
        self.posted != 0 && self.pending != Some(true)
    }
}

/// The day so many days before.
fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(day)
}

fn noon(day: NaiveDate) -> DateTime<Utc> {
    day.and_hms_opt(12, 0, 0).unwrap_or_default().and_utc()
}
