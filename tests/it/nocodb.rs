//! The NocoDB destination through the whole stack: one list of checks, run against the simulator always and against a real
//! server where `BANKFEED_NOCODB` names one (`URL TOKEN BASE`, the base being used for nothing else). The owner acts through
//! the API as well, so that no check knows which of the two it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bankfeed::config;
use bankfeed::destination::row_op::RowOp;
use bankfeed::destination::{Destination, RowChange};
use bankfeed::model::Transaction;
use bankfeed::remote::{Backoff, Cause, Context, Shutdown};
use bankfeed::simulator::fibank::{Bank, Entry, Fibank};
use bankfeed::simulator::nocodb::Nocodb;
use bankfeed::store::Store;
use bankfeed::sync::{DestinationReport, Engine, Outcome, Request, Verification, Verified, Watcher};
use rust_decimal::Decimal;
use serde_json::{Value, json};

mod list;
mod lives;
mod proxy;
mod real;
mod servers;

use proxy::{Loss, Proxy};

/// A household whose rows go to a table of NocoDB.
pub struct Grid {
    dir: tempfile::TempDir,
    bank: Fibank,
    pub proxy: Proxy,
    /// The address at which the connector finds the server: the proxy's, or its own.
    through: String,
    /// The simulator; `None`: a real server.
    simulator: Option<Nocodb>,
    url: String,
    token: String,
    base: String,
    table: String,
    /// The path of the server's root.
    path: String,
    /// Lines put into the entry of the destination.
    pub extra: String,
}

impl Grid {
    /// A household with the simulator.
    pub async fn simulated() -> Grid {
        let simulator = Nocodb::start().await.unwrap();
        let (url, token, base) = (simulator.server.url(), simulator.token(), simulator.create_base("Bank"));
        Grid::new(Some(simulator), url, token, base).await
    }

    /// A household with the real server, in a table of its own.
    pub async fn real() -> Option<Grid> {
        let named = std::env::var("BANKFEED_NOCODB").ok()?;
        let [url, token, base] = named.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        Some(Grid::new(None, url, token, base).await)
    }

    async fn new(simulator: Option<Nocodb>, url: String, token: String, base: String) -> Grid {
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let proxy = Proxy::start(url.trim_start_matches("http://").parse().unwrap()).await;
        let table = format!("T{} {}", std::process::id(), TABLES.fetch_add(1, Ordering::Relaxed));
        let (dir, bank) = (tempfile::tempdir().unwrap(), Fibank::start(Bank::small()).await.unwrap());
        let (through, path, extra) = (proxy.url(), "/".into(), String::new());
        Grid { dir, bank, proxy, through, simulator, url, token, base, table, path, extra }
    }

    fn config(&self) -> PathBuf {
        let path = self.dir.path().join("config.toml");
        let (username, password) = self.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
        let text = format!(
            "data_dir = \"{}\"\ntimezone = \"Europe/Sofia\"\n[[source]]\nname = \"fibank\"\nkind = \"fibank\"\nusername = \
             \"{username}\"\npassword = \"{password}\"\nbase_url = \"{}\"\n[[destination]]\nname = \"grid\"\nkind \
             = \"nocodb\"\nurl = \"{}\"\nbase = \"{}\"\ntable = \"{}\"\ntoken = \"{}\"\n{}\n",
            self.dir.path().join("data").display(),
            self.bank.server.url(),
            self.root(),
            self.base,
            self.table,
            self.token,
            self.extra
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn root(&self) -> String {
        format!("{}{}", self.through, self.path)
    }

    /// Reads the place back.
    pub async fn verify(&self, repair: bool) -> Verified {
        let request = Verification { repair, ..Verification::default() };
        let verified = self.engine().verify(&request, &watcher()).await.unwrap().remove(0);
        assert_eq!(verified.error, None, "{verified:?}");
        verified
    }

    /// The engine of a process that has just started.
    pub fn engine(&self) -> Engine {
        let config = config::load(&self.config()).unwrap();
        Engine {
            config: Arc::new(config),
            store: Arc::new(Store::open(&self.dir.path().join("data")).unwrap()),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        }
    }

    /// A cycle of a process that has just started.
    pub async fn cycle(&self) -> DestinationReport {
        self.proxy.requests();
        let engine = self.engine();
        let request = Request { by_hand: true, ..Request::default() };
        let mut report = engine.cycle(&request, &watcher()).await.unwrap();
        let report = report.destinations.remove(0);
        assert_eq!(report.requests, self.proxy.requests().len() as u64, "what it counts is what was sent");
        report
    }

    /// A cycle in which all goes well.
    pub async fn good_cycle(&self) -> DestinationReport {
        let report = self.cycle().await;
        assert_eq!((report.outcome, report.waiting, report.rejected), (Outcome::Ok, 0, 0), "{report:?}");
        report
    }

    /// Asks the server for something in the owner's name.
    pub async fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.url);
        let request = reqwest::Client::new().request(method.parse().unwrap(), url).header("xc-token", &self.token);
        let request = if body.is_null() {
            request
        } else {
            request.header("content-type", "application/json").body(body.to_string())
        };
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Asks about the schema of the base.
    pub async fn meta(&self, method: &str, rest: &str, body: Value) -> Value {
        self.ask(method, &format!("/api/v3/meta/bases/{}/{rest}", self.base), body).await
    }

    /// The table with its fields.
    pub async fn described(&self) -> Value {
        let tables = self.meta("GET", "tables", Value::Null).await;
        let table = tables["list"].as_array().unwrap().iter().find(|table| table["title"] == self.table.as_str());
        let id = table.unwrap_or_else(|| panic!("no table {}", self.table))["id"].as_str().unwrap().to_owned();
        self.meta("GET", &format!("tables/{id}"), Value::Null).await
    }

    /// The address of the table's records.
    pub async fn records(&self) -> String {
        format!("/api/v3/data/{}/{}/records", self.base, self.described().await["id"].as_str().unwrap())
    }

    /// The rows as the owner sees them, with their records' numbers as `Id`.
    pub async fn rows(&self) -> Vec<BTreeMap<String, Value>> {
        let (records, mut rows) = (self.records().await, Vec::new());
        for page in 1.. {
            let answer = self.ask("GET", &format!("{records}?pageSize=1000&page={page}"), Value::Null).await;
            for record in answer["records"].as_array().unwrap() {
                let cells = record["fields"].as_object().unwrap().clone();
                let mut row: BTreeMap<String, Value> = cells.into_iter().filter(|(_, cell)| !cell.is_null()).collect();
                row.insert("Id".into(), record["id"].clone());
                rows.push(row);
            }
            if answer["next"].is_null() {
                break;
            }
        }
        rows
    }

    /// The row of a transaction; none or several are no row.
    pub async fn row(&self, id: &str) -> Option<BTreeMap<String, Value>> {
        let mut rows: Vec<_> = self.rows().await;
        rows.retain(|row| row.values().any(|cell| cell == id));
        if rows.len() == 1 { rows.pop() } else { None }
    }

    /// Payee and amount of every row by id, once for each time that it is there.
    pub async fn seen(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let mut seen: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for row in self.rows().await {
            let text = |title: &str| row.get(title).and_then(Value::as_str).unwrap_or_default().to_owned();
            let amount = format!("{:.2}", row.get("Amount").and_then(Value::as_f64).unwrap_or(f64::NAN));
            seen.entry(text("Transaction ID")).or_default().push((text("Counterparty"), amount));
        }
        seen
    }

    /// Checks that each entry of the bank is there once, with the bank's words.
    pub async fn settled(&self, what: &str) {
        let mut wanted = BTreeMap::new();
        for (iban, entry, _) in self.bank.edit(|bank| bank.transactions()) {
            let row = (entry.counterparty.trim().to_owned(), format!("{:.2}", entry.amount));
            wanted.insert(format!("fibank:{iban}:{}", entry.number), vec![row]);
        }
        assert_eq!(self.seen().await, wanted, "{what}");
        let report = self.cycle().await;
        assert_eq!((report.outcome, report.requests, report.waiting), (Outcome::Ok, 0, 0), "{what}: {report:?}");
    }

    /// The owner changes a field: a title, or a type.
    pub async fn change_field(&self, title: &str, new: Value) {
        let table = self.described().await;
        let field = table["fields"].as_array().unwrap().iter().find(|field| field["title"] == title).unwrap();
        let mut body = json!({ "title": title, "type": field["type"] });
        new.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        self.meta("PATCH", &format!("fields/{}", field["id"].as_str().unwrap()), body).await;
    }

    /// The owner deletes a field.
    pub async fn delete_field(&self, title: &str) {
        let table = self.described().await;
        let field = table["fields"].as_array().unwrap().iter().find(|field| field["title"] == title).unwrap();
        self.meta("DELETE", &format!("fields/{}", field["id"].as_str().unwrap()), Value::Null).await;
    }

    /// The owner deletes a row.
    pub async fn delete(&self, id: &str) {
        let record = self.row(id).await.unwrap()["Id"].clone();
        self.ask("DELETE", &self.records().await, json!([{ "id": record }])).await;
    }

    /// The owner writes into a cell.
    pub async fn write(&self, id: &str, title: &str, value: Value) {
        let record = self.row(id).await.unwrap()["Id"].clone();
        self.ask("PATCH", &self.records().await, json!([{ "id": record, "fields": { title: value } }])).await;
    }

    /// The owner makes the table himself, with these fields.
    pub async fn make_table(&self, fields: &[(&str, &str)]) {
        let fields: Vec<Value> = fields.iter().map(|(title, kind)| json!({ "title": title, "type": kind })).collect();
        self.meta("POST", "tables", json!({ "title": self.table, "fields": fields })).await;
    }

    /// A new entry at the bank; its id.
    pub fn book(&self, payee: &str) -> String {
        let time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        self.bank.edit(|bank| {
            let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
            let (value_date, amount, counterparty) = (time.date_naive(), Decimal::new(-150, 2), payee.into());
            bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
            format!("fibank:{iban}:{number}")
        })
    }

    /// The bank changes an entry.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Entry)) {
        let number: u64 = id.rsplit(':').next().unwrap().parse().unwrap();
        self.bank.edit(|bank| {
            let entries = &mut bank.customers[0].accounts[0].entries;
            change(entries.iter_mut().find(|entry| entry.number == number).unwrap());
        });
    }

    /// The bank takes an entry back.
    pub fn take_back(&self, id: &str) -> Entry {
        let number: u64 = id.rsplit(':').next().unwrap().parse().unwrap();
        self.bank.edit(|bank| {
            let entries = &mut bank.customers[0].accounts[0].entries;
            entries.remove(entries.iter().position(|entry| entry.number == number).unwrap())
        })
    }

    /// The connector alone, without a memory.
    pub fn connector(&self) -> Box<dyn Destination> {
        let engine = self.engine();
        let context = Context::new(Shutdown::never(), Backoff::immediate());
        engine.config.destinations[0].connect(context, &[]).unwrap()
    }
}

pub fn watcher() -> Watcher {
    Arc::new(|_| {})
}

macro_rules! both {
    ($($check:ident)*) => {
        mod simulated {
            $(#[tokio::test]
            async fn $check() {
                super::list::$check(super::Grid::simulated().await).await;
            })*
        }
        mod at_a_real_server {
            $(#[tokio::test]
            async fn $check() {
                match super::Grid::real().await {
                    Some(grid) => super::list::$check(grid).await,
                    None => println!("skipped: BANKFEED_NOCODB names no server"),
                }
            })*
        }
    };
}

both! {
    rows_arrive_once_and_cost_what_they_cost
    cells_have_types_and_lose_nothing
    corrections_marks_and_deletions_reach_their_rows
    a_lost_answer_doubles_nothing_wherever_it_is_lost
    a_late_insertion_is_kept_out_or_deleted
    the_owner_renames_swaps_adds_and_deletes
    a_row_the_owner_deleted_stays_deleted_until_it_is_restored
    a_table_of_the_owners_is_used_as_it_is
    what_rules_set_is_written_once
    verify_finds_what_is_wrong_and_repair_sets_it_right
    no_id_breaks_a_search
    a_text_too_long_sets_only_its_row_aside
    whatever_stands_in_the_way_is_told_with_its_remedy
}
