//! Every simulated service at once, with the lines of a configuration that uses them: one world for the demo, for
//! `bankfeed simulate`, for tests and for benchmarks.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use super::Server;
use super::airtable::Airtable;
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
        self.simplefin.switch(|switches| switches.quota = None);
    }

    /// The servers with the names of their services.
    pub fn servers(&self) -> [(&'static str, &Server); 6] {
        [
            ("fibank", &self.bank.server),
            ("google", &self.google.server),
            ("airtable", &self.airtable.server),
            ("simplefin", &self.simplefin.server),
            ("nocodb", &self.nocodb.server),
            ("odoo", &self.odoo.server),
        ]
    }

    /// Writes the key of Google's service account into this file.
    pub fn write_key(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.google.service_account_key())
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
                "google-sheets": format!("{}/", google.url()),
                "airtable": airtable.url(),
            },
            "fibank": {"url": bank.url(), "username": username, "password": password, "entry": self.source()},
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
