//! The simulated Odoo: databases with users, companies, journals and bank lines behind JSON-2 and JSON-RPC, as versions
//! 18 and 19 answer.
//!
//! The simulator answers as the recordings of real servers do, with their texts: `load` takes all rows or none, a locked
//! period moves a date in silence, reconciled lines refuse their label and amount, rights are missing by their groups.
//! State lives in memory. The simulator uses no code of the Odoo destination. Paths under `/simulator` set the simulator
//! up from outside (see `setup`) and are no part of the real API.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use chrono::NaiveDate;

use super::{Server, lock};

mod books;
mod domain;
mod lines;
mod load;
mod methods;
mod refusal;
mod setup;
mod wire;

pub use books::{ApiKey, Books, Company, Currency, Group, Journal, Line, User};

/// The database of a new simulator.
pub const DATABASE: &str = "company";

/// The login of its user with the rights that a feed needs.
pub const LOGIN: &str = "bot@example.com";

/// The key of that user.
pub const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running simulated Odoo. Clones are the same service.
#[derive(Clone)]
pub struct Odoo {
    /// The server, with its address, its log of requests and its faults.
    pub server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    version: u32,
    /// The day that the server takes for today; `None`: the machine's.
    fixed_day: Option<NaiveDate>,
    databases: BTreeMap<String, Books>,
}

impl State {
    fn today(&self) -> NaiveDate {
        self.fixed_day.unwrap_or_else(|| chrono::Utc::now().date_naive())
    }
}

impl Odoo {
    /// Starts on a free loopback port: version 19, one database with one company in euros, its bank journal, and a user
    /// with the rights that a feed needs.
    pub async fn start() -> io::Result<Odoo> {
        Odoo::start_on("127.0.0.1:0".parse().map_err(io::Error::other)?).await
    }

    /// Starts on this address.
    pub async fn start_on(address: SocketAddr) -> io::Result<Odoo> {
        let databases = BTreeMap::from([(DATABASE.to_owned(), Books::small())]);
        let state = Arc::new(Mutex::new(State { version: 19, fixed_day: None, databases }));
        let router = Router::new().fallback(wire::serve).with_state(Arc::clone(&state));
        Ok(Odoo { server: Server::start_on(router, address).await?, state })
    }

    /// Becomes another version.
    pub fn set_version(&self, version: u32) {
        lock(&self.state).version = version;
    }

    /// Takes this day for today.
    pub fn set_today(&self, day: NaiveDate) {
        lock(&self.state).fixed_day = Some(day);
    }

    /// Serves one more database, so that a call has to name one.
    pub fn add_database(&self, name: &str) {
        lock(&self.state).databases.insert(name.to_owned(), Books::small());
    }

    /// The owner acts in the first database, or looks at it. The simulator stands still meanwhile: `act` must not call it.
    pub fn edit<T>(&self, act: impl FnOnce(&mut Books) -> T) -> T {
        act(lock(&self.state).databases.entry(DATABASE.to_owned()).or_default())
    }

    /// A bank journal for an account in this currency, made where there is none.
    pub fn journal(&self, account: &str, currency: &str) -> i64 {
        self.edit(|books| books.bank_journal(account, currency))
    }
}

impl Books {
    fn small() -> Books {
        let currency = |id, name: &str, decimals| Currency { id, name: name.to_owned(), active: true, decimals };
        let company = Company { id: 1, name: "My Company".to_owned(), currency: 126, ..Company::default() };
        let expires = Some(chrono::Utc::now() + chrono::Duration::days(80));
        let key = ApiKey { id: 1, key: KEY.to_owned(), name: "bankfeed".to_owned(), expires };
        let user = User {
            id: 7,
            login: LOGIN.to_owned(),
            password: "secret".to_owned(),
            groups: BTreeSet::from([Group::Basic]),
            companies: BTreeSet::from([1]),
            keys: vec![key],
        };
        let journal = |id, name: &str, code: &str, kind: &str| Journal {
            id,
            name: name.to_owned(),
            code: code.to_owned(),
            kind: kind.to_owned(),
            currency: None,
            company: 1,
            account: None,
            active: true,
        };
        Books {
            users: vec![user],
            companies: vec![company],
            currencies: vec![
                currency(26, "BGN", 2),
                currency(126, "EUR", 2),
                currency(25, "JPY", 0),
                currency(1, "USD", 2),
            ],
            journals: vec![journal(1, "Sales", "INV", "sale"), journal(6, "Bank", "BNK1", "bank")],
            ..Books::default()
        }
    }

    /// A bank journal for an account in this currency, made where there is none.
    pub fn bank_journal(&mut self, account: &str, currency: &str) -> i64 {
        if let Some(known) = self.journals.iter().find(|it| it.account.as_deref() == Some(account)) {
            return known.id;
        }
        let id = 1 + self.journals.iter().map(|journal| journal.id).max().unwrap_or_default().max(18);
        let number = id - 18;
        self.journals.push(Journal {
            id,
            name: format!("Bank {number}"),
            code: format!("FIB{number}"),
            kind: "bank".to_owned(),
            currency: self.currencies.iter().find(|known| known.name == currency).map(|known| known.id),
            company: 1,
            account: Some(account.to_owned()),
            active: true,
        });
        id
    }
}
