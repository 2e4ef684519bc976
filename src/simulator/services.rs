//! Every simulated service at once, with the lines of a configuration that uses them: one world for the demo, for
//! `bankfeed simulate`, for tests and for benchmarks.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::{Days, Utc};
use serde_json::{Value, json};

use super::Server;
use super::airtable::Airtable;
use super::enable_banking::{self, Account, EnableBanking, entry};
use super::fibank::{Bank, Fibank};
use super::google::Google;
use super::nocodb::Nocodb;
use super::odoo::{DATABASE, KEY, LOGIN, Odoo};
use super::simplefin::{Ledger, SimpleFin};

/// The running services, with one spreadsheet and one base in them.
#[derive(Clone)]
pub struct Services {
    /// The bank.
    pub bank: Fibank,
    /// Enable Banking, with one bank behind it.
    pub enable_banking: EnableBanking,
    /// Google.
    pub google: Google,
    /// Id of the spreadsheet.
    pub spreadsheet: String,
    /// Airtable.
    pub airtable: Airtable,
    /// Id of the base.
    pub base: String,
    /// SimpleFIN, with a few accounts in the US.
    pub simplefin: SimpleFin,
    /// NocoDB.
    pub nocodb: Nocodb,
    /// Id of its base.
    pub grid: String,
    /// Odoo, with a bank journal for each account.
    pub odoo: Odoo,
}

impl Services {
    /// Starts every service. Spreadsheet and base get this title and are empty.
    pub async fn start(bank: Bank, title: &str) -> io::Result<Services> {
        let (google, airtable, nocodb) = (Google::start().await?, Airtable::start().await?, Nocodb::start().await?);
        let odoo = Odoo::start().await?;
        for account in bank.customers.iter().flat_map(|customer| &customer.accounts) {
            odoo.journal(&account.iban, &account.currency);
        }
        Ok(Services {
            bank: Fibank::start(bank).await?,
            enable_banking: EnableBanking::start(vec![enable_banking::Bank::new("DSK Bank", accounts())]).await?,
            spreadsheet: google.create_spreadsheet(title),
            base: airtable.create_base(title),
            simplefin: SimpleFin::start(Ledger::small(Utc::now().date_naive())).await?,
            google,
            airtable,
            grid: nocodb.create_base(title),
            nocodb,
            odoo,
        })
    }

    /// Takes the services' rate limits away.
    pub fn lift_limits(&self) {
        self.google.quota(None);
        self.airtable.rate_limit(None, Duration::ZERO);
        self.enable_banking.bank(|bank| bank.traps.quota = None);
        self.simplefin.switch(|switches| switches.quota = None);
    }

    /// The servers with the names of their services.
    pub fn servers(&self) -> [(&'static str, &Server); 7] {
        [
            ("fibank", &self.bank.server),
            ("google", &self.google.server),
            ("airtable", &self.airtable.server),
            ("simplefin", &self.simplefin.server),
            ("nocodb", &self.nocodb.server),
            ("odoo", &self.odoo.server),
            ("enable-banking", &self.enable_banking.server),
        ]
    }

    /// Writes the key of Google's service account into this file.
    pub fn write_key(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.google.service_account_key())
    }

    /// The entry of a folder for statement files, which stand for a bank that has no other door.
    pub fn files(&self, inbox: &Path) -> String {
        format!(
            "[[source]]\nname = \"statements\"\nkind = \"files\"\ndirectory = \"{}\"\ncurrency = \"EUR\"\n",
            inbox.display()
        )
    }

    /// The entry of the bank, with the bank's present password.
    pub fn source(&self) -> String {
        let (username, password) = self.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
        let url = self.bank.server.url();
        format!(
            "[[source]]\nname = \"fibank\"\nkind = \"fibank\"\nusername = \"{username}\"\npassword = \"{password}\"\nbase_url = \"{url}\"\n"
        )
    }

    /// The entry of SimpleFIN, for an access URL that `bankfeed login us` keeps.
    pub fn us(&self) -> String {
        "[[source]]\nname = \"us\"\nkind = \"simplefin\"\n".to_owned()
    }

    /// The entry of the bank behind Enable Banking.
    pub fn consent(&self) -> String {
        let (application, redirect_url) = (enable_banking::APPLICATION, enable_banking::REDIRECT_URL);
        let (key, url) = (enable_banking::PRIVATE_KEY.replace('\n', "\\n"), self.enable_banking.server.url());
        format!(
            "[[source]]\nname = \"dsk\"\nkind = \"enable-banking\"\napplication = \"{application}\"\nprivate_key = \"{key}\"\n\
             bank = \"DSK Bank\"\ncountry = \"BG\"\nredirect_url = \"{redirect_url}\"\nbase_url = \"{url}\"\n"
        )
    }

    /// The entry of the spreadsheet, for a key in this file.
    pub fn sheet(&self, key: &Path) -> String {
        let (spreadsheet, key, url) = (&self.spreadsheet, key.display(), self.google.server.url());
        format!(
            "[[destination]]\nname = \"household\"\nkind = \"google-sheets\"\nspreadsheet = \"{spreadsheet}\"\nservice_account = {{ file = \"{key}\" }}\nbase_url = \"{url}/\"\n"
        )
    }

    /// The entry of the base.
    pub fn table(&self) -> String {
        let (base, token, url) = (&self.base, self.airtable.token(), self.airtable.server.url());
        format!(
            "[[destination]]\nname = \"base\"\nkind = \"airtable\"\nbase = \"{base}\"\ntable = \"Transactions\"\ntoken = \"{token}\"\nbase_url = \"{url}\"\n"
        )
    }

    /// The answers of a person to `init`: the bank, and the spreadsheet with Google's key in this file.
    pub fn answers(&self, key: &Path) -> String {
        let (username, password) = self.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
        ["fibank", &username, &password, "g", &self.spreadsheet, &key.display().to_string(), "", ""].join("\n")
    }

    /// The entry of the table at NocoDB.
    pub fn grid(&self) -> String {
        let (base, token, url) = (&self.grid, self.nocodb.token(), self.nocodb.server.url());
        format!(
            "[[destination]]\nname = \"grid\"\nkind = \"nocodb\"\nurl = \"{url}\"\nbase = \"{base}\"\ntable = \"Transactions\"\ntoken = \"{token}\"\n"
        )
    }

    /// The entry of the books, with the journal of each account.
    pub fn books(&self) -> String {
        let journals = self.odoo.edit(|books| {
            let journals =
                books.journals.iter().filter_map(|it| Some(format!("\"{}\" = {}", it.account.as_ref()?, it.id)));
            journals.collect::<Vec<_>>().join(", ")
        });
        let url = self.odoo.server.url();
        format!(
            "[[destination]]\nname = \"books\"\nkind = \"odoo\"\nurl = \"{url}\"\ndatabase = \"{DATABASE}\"\nlogin = \"{LOGIN}\"\napi_key = \"{KEY}\"\njournals = {{ {journals} }}\n"
        )
    }

    /// Addresses, secrets and entries for programs outside, with Google's key in this file.
    pub fn description(&self, key: &Path) -> Value {
        let (username, password) = self.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
        let (bank, google, airtable) = (&self.bank.server, &self.google.server, &self.airtable.server);
        json!({
            "base_urls": {
                "fibank": bank.url(),
                "enable-banking": self.enable_banking.server.url(),
                "google-sheets": format!("{}/", google.url()),
                "airtable": airtable.url(),
            },
            "fibank": {"url": bank.url(), "username": username, "password": password, "entry": self.source()},
            "enable-banking": {
                "url": self.enable_banking.server.url(),
                "application": enable_banking::APPLICATION,
                "private_key": enable_banking::PRIVATE_KEY,
                "redirect_url": enable_banking::REDIRECT_URL,
                "entry": self.consent(),
            },
            "google": {
                "url": google.url(),
                "key_file": key,
                "spreadsheet": self.spreadsheet,
                "entry": self.sheet(key),
            },
            "airtable": {
                "url": airtable.url(),
                "token": self.airtable.token(),
                "base": self.base,
                "entry": self.table(),
            },
            "simplefin": {
                "url": self.simplefin.server.url(),
                "token": self.simplefin.setup_token(),
                "access_url": self.simplefin.access_url(),
                "entry": self.us(),
            },
            "nocodb": {
                "url": self.nocodb.server.url(),
                "token": self.nocodb.token(),
                "base": self.grid,
                "entry": self.grid(),
            },
            "odoo": {
                "url": self.odoo.server.url(),
                "database": DATABASE,
                "login": LOGIN,
                "key": KEY,
                "entry": self.books(),
            },
        })
    }
}

/// An account at a bank behind Enable Banking, with a month of everyday life.
fn accounts() -> Vec<Account> {
    let today = Utc::now().date_naive();
    let rows =
        [(28, "1850.00", "Employer", "salary"), (20, "-620.00", "Landlord", "rent"), (6, "-23.40", "Lidl", "food")];
    let day = |ago: u64| today.checked_sub_days(Days::new(ago)).unwrap_or(today);
    let entries = rows.map(|(ago, amount, party, text)| entry(day(ago), amount, party, text)).to_vec();
    vec![Account { entries, ..Account::new("BG17RZBB91550123456789") }]
}
