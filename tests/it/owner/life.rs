//! The life of one seed: the bank acts, the owner acts, a cycle runs, and every destination is checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bankfeed::config::{self, Destination};
use bankfeed::destination::google_sheets::settings::Order;
use bankfeed::destination::policy::{Updates, Vanished};
use bankfeed::remote::{Backoff, Shutdown};
use bankfeed::simulator::fibank::Bank;
use bankfeed::store::Store;
use bankfeed::sync::{Engine, Outcome, Request, Watcher};

use super::bank::{Books, Said};
use super::model::{Cells, Column, Model};
use crate::world::{World, airtable_mut, google_sheets, google_sheets_mut};

/// Reference of the rows to which rules give a category and a note.
const PAID: &str = "ПЛАТЕНО";

/// Columns that configurations ask for.
const COLUMNS: [&str; 3] = [
    "",
    r#"columns = ["date", "amount", { field = "counterparty", header = "Vendor" }, "note", "category", "raw.reference", "id"]"#,
    r#"columns = ["id", "debit", "credit", "direction", "description", "date", "tags", "vendor", "balance"]"#,
];

pub struct Life<'a> {
    pub rng: fastrand::Rng,
    pub world: World,
    pub books: Books,
    pub sheet: Model,
    pub base: Model,
    pub engine: Engine,
    /// The present names of the base's fields, as renamed by the owner, by the keys of our fields.
    pub names: BTreeMap<String, String>,
    /// The owner moves rows in the very instant in which they are written to, and leaves it at moving things.
    pub hasty: bool,
    /// Rows that he has deleted in such an instant.
    deleted: Arc<Mutex<Vec<String>>>,
    /// Counts the owner's words, so that no two of them are alike.
    pub words: u32,
    _dir: tempfile::TempDir,
    trail: &'a Mutex<Vec<String>>,
}

impl<'a> Life<'a> {
    pub async fn live(seed: u64, trail: &'a Mutex<Vec<String>>) -> Result<(), String> {
        let mut life = Life::begin(seed, trail).await;
        for round in 0..3 + life.rng.usize(..4) {
            life.bank_happens();
            if round > 0 {
                for _ in 0..life.rng.usize(..6) {
                    life.owner_in_sheet();
                }
                for _ in 0..life.rng.usize(..5) {
                    life.owner_in_base();
                }
            }
            life.cycle().await?;
        }
        life.say("a cycle with nothing new".into());
        life.world.clear_logs();
        life.cycle().await?;
        match life.world.google.server.requests() + life.world.airtable.server.requests() {
            0 => Ok(()),
            sent => Err(format!("{sent} requests where nothing was new")),
        }
    }

    async fn begin(seed: u64, trail: &'a Mutex<Vec<String>>) -> Life<'a> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bank = Bank::small();
        bank.customers[0].accounts.truncate(1);
        bank.customers[0].accounts[0].entries.clear();
        let mut world = World::new(bank).await;
        let language = ["", "language = \"bg\""][usize::from(rng.u8(..4) == 0)];
        for extra in 1..3 {
            let columns = COLUMNS[[0, 0, 1, 2][rng.usize(..4)]];
            world.extra[extra] = format!("{columns}\n{language}\n");
        }
        world.extra[2] += &format!(
            "[[rule]]\nwhen = {{ reference = \"{PAID}\" }}\nset = {{ category = \"Разход\", note = \"по правило\" }}\n"
        );
        world.write_config();
        if rng.bool() {
            world.google.edit(&world.spreadsheet, |book| {
                book.rename_tab("Sheet1", "Transactions");
                (book.sheets[0].row_count, book.sheets[0].column_count) = (8, 14);
            });
        }
        let dir = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let mut config = config::load(&world.config_path()).unwrap();
        config.destinations.iter_mut().for_each(|destination| vary(destination, &mut rng));
        if let Some(sheets) = google_sheets_mut(&mut config.destinations[0])
            && seed % 4 == 2
            && sheets.rows.vanished == Vanished::Delete
        {
            // A row that is put back has the bank's present data.
            sheets.rows.updates = Updates::Apply;
        }
        let names = config.destinations[1].rows().columns.iter();
        let names = names.map(|column| (column.field.key().into_owned(), column.header.clone())).collect();
        let engine = Engine {
            config: Arc::new(config),
            store: Arc::new(Store::open(dir.path()).unwrap()),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        };
        let books = Books::new(&mut rng);
        let (sheet, base) = (Model::default(), Model::default());
        let (hasty, deleted) = (seed % 4 == 2, Arc::default());
        let mut life =
            Life { rng, world, books, sheet, base, engine, names, hasty, deleted, words: 0, _dir: dir, trail };
        for _ in 0..life.rng.usize(..12) {
            life.book();
        }
        for destination in &life.engine.config.destinations {
            life.say(format!("{}: {:?}", destination.name, destination.kind));
        }
        life
    }

    pub fn say(&self, what: String) {
        self.trail.lock().unwrap().push(what);
    }

    /// A word of the owner's that is like no other.
    pub fn word(&mut self) -> String {
        self.words += 1;
        format!("мое {}", self.words)
    }

    /// The keys of the fields that a destination shows.
    pub fn fields(&self, which: usize) -> Vec<String> {
        let columns = self.engine.config.destinations[which].rows().columns.iter();
        columns.map(|column| column.field.key().into_owned()).collect()
    }

    pub fn order(&self) -> Order {
        google_sheets(&self.engine.config.destinations[0]).unwrap().order
    }

    /// The bank's data in the words of a destination, reduced to the destination's fields.
    fn said_in(&self, which: usize, words: fn(&Said) -> String) -> BTreeMap<String, Cells> {
        let fields = self.fields(which);
        let cells = |row: BTreeMap<&'static str, Said>| {
            let shown = row.into_iter().filter(|(key, _)| fields.iter().any(|field| field == key));
            let cells = shown.map(|(key, said)| (key.to_owned(), words(&said)));
            cells.filter(|(_, cell)| !cell.is_empty()).collect::<Cells>()
        };
        self.said().into_iter().map(|(id, row)| (id, cells(row))).collect()
    }

    /// The cells that rules give a row with these bank data.
    fn filled(&self, which: usize, said: &BTreeMap<&'static str, Said>) -> Cells {
        let fields = self.fields(which);
        let paid = said["reference"] == Said::Text(PAID.into());
        let given = [("category", "Разход"), ("note", "по правило")].into_iter().filter(|_| paid);
        given
            .filter(|(key, _)| fields.iter().any(|field| field == key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// Plans an action of the owner for the instant after the next look at rows.
    fn meanwhile(&mut self) {
        let keeps = self.engine.config.destinations[0].rows().vanished != Vanished::Delete;
        if self.rng.u8(..3) > 0 {
            let (deed, at, to) = (self.rng.u8(..if keeps { 5 } else { 4 }), self.rng.usize(..), self.rng.usize(..));
            self.say(format!("in an instant to come: {deed} {at} {to}"));
            let (google, id, deleted) =
                (self.world.google.clone(), self.world.spreadsheet.clone(), self.deleted.clone());
            let act = move || {
                google.edit(&id, |book| deleted.lock().unwrap().extend(super::sheet::haste(book, deed, at, to)))
            };
            self.world.google.server.meanwhile("values:batchGetByDataFilter", act);
        }
    }

    async fn cycle(&mut self) -> Result<(), String> {
        let frame = self.frame();
        if self.hasty {
            self.meanwhile();
        }
        let nobody: Watcher = Arc::new(|_| {});
        let request = Request { by_hand: true, ..Request::default() };
        let report = self.engine.cycle(&request, &nobody).await.unwrap();
        self.world.google.server.heal();
        for (which, destination) in report.destinations.iter().enumerate() {
            let (added, updated, error) = (destination.appended, destination.updated, &destination.error);
            self.say(format!("cycle: {} added {added}, updated {updated}, {error:?}", destination.name));
            let said = self.said();
            let now = self.said_in(which, if which == 0 { super::sheet::words } else { super::base::words });
            let filled: BTreeMap<String, Cells> =
                said.iter().map(|(id, row)| (id.clone(), self.filled(which, row))).collect();
            let rules = self.engine.config.destinations[which].rows().clone();
            let model = if which == 0 { &mut self.sheet } else { &mut self.base };
            model.cycle(now, &rules, |cells| filled[&cells["id"]].clone());
            if destination.outcome != Outcome::Ok || destination.waiting > 0 || destination.rejected > 0 {
                return Err(format!("{destination:?}"));
            }
        }
        for id in std::mem::take(&mut *self.deleted.lock().unwrap()) {
            self.say(format!("in that instant {id} was deleted"));
            self.sheet.delete(&id);
        }
        self.check_sheet(frame)?;
        self.check_base()
    }
}

/// Varies settings of the destination that are not in the configuration's text.
fn vary(destination: &mut Destination, rng: &mut fastrand::Rng) {
    let vanished = [Vanished::Mark, Vanished::Mark, Vanished::Ignore, Vanished::Delete][rng.usize(..4)];
    let updates = if rng.u8(..4) == 0 { Updates::Ignore } else { Updates::Apply };
    if let Some(airtable) = airtable_mut(destination) {
        (airtable.rows.vanished, airtable.rows.updates) = (vanished, updates);
    }
    let Some(sheets) = google_sheets_mut(destination) else { return };
    sheets.order = if rng.u8(..3) == 0 { Order::NewestFirst } else { Order::OldestFirst };
    sheets.tab = "Transactions".into();
    if rng.u8(..4) > 0 {
        (sheets.balances_tab, sheets.dashboard_tab) = (None, None);
    }
    (sheets.rows.vanished, sheets.rows.updates) = (vanished, updates);
}

/// A bank's column.
pub fn bank(field: &str) -> Column {
    Column::Bank(field.to_owned())
}
