//! The simulated outside and one household inside it, for the tests of whole cycles.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bankfeed::config;
use bankfeed::destination::airtable::settings::AirtableSettings;
use bankfeed::destination::google_sheets::settings::GoogleSheetsSettings;
use bankfeed::remote::{Backoff, Shutdown};
use bankfeed::simulator::fibank::Bank;
use bankfeed::simulator::google::CellValue;
use bankfeed::simulator::services::Services;
use bankfeed::source::fibank::FibankSettings;
use bankfeed::store::Store;
use bankfeed::sync::{Engine, Report, Request};

/// The settings of a source at the simulated bank.
pub fn fibank(source: &config::Source) -> &FibankSettings {
    (&*source.settings as &dyn Any).downcast_ref().unwrap()
}

/// The settings of a destination at the simulated Google; `None`: it is another kind.
pub fn google_sheets(destination: &config::Destination) -> Option<&GoogleSheetsSettings> {
    (&*destination.settings as &dyn Any).downcast_ref()
}

/// The same, to be changed.
pub fn google_sheets_mut(destination: &mut config::Destination) -> Option<&mut GoogleSheetsSettings> {
    (Arc::get_mut(&mut destination.settings).unwrap() as &mut dyn Any).downcast_mut()
}

/// The settings of a destination at the simulated Airtable; `None`: it is another kind.
pub fn airtable(destination: &config::Destination) -> Option<&AirtableSettings> {
    (&*destination.settings as &dyn Any).downcast_ref()
}

/// The same, to be changed.
pub fn airtable_mut(destination: &mut config::Destination) -> Option<&mut AirtableSettings> {
    (Arc::get_mut(&mut destination.settings).unwrap() as &mut dyn Any).downcast_mut()
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub services: Services,
    /// Lines put into the configuration's sections: source, sheets, airtable.
    pub extra: [String; 3],
}

/// The simulated services can be named as if they were the world's own.
impl std::ops::Deref for World {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl std::ops::DerefMut for World {
    fn deref_mut(&mut self) -> &mut Services {
        &mut self.services
    }
}

impl World {
    pub async fn new(bank: Bank) -> World {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let services = Services::start(bank, "Household").await.unwrap();
        services.lift_limits();
        let world = World { dir: tempfile::tempdir().unwrap(), services, extra: Default::default() };
        world.write_config();
        world
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// (Re)writes the configuration with the bank's present password.
    pub fn write_config(&self) {
        let key = self.dir.path().join("google-key.json");
        self.services.write_key(&key).unwrap();
        let [source, sheets, base] = &self.extra;
        let text = format!(
            "\ndata_dir = \"{data}\"\ntimezone = \"Europe/Sofia\"\n\n{}{source}\n\n{}{sheets}\n\n{}{base}\n",
            self.services.source(),
            self.services.sheet(&key),
            self.services.table(),
            data = self.data_dir().display(),
        );
        write_private(&self.config_path(), &text);
    }

    /// (Re)writes the configuration with another password than the bank's.
    pub fn write_config_with_password(&self, password: &str) {
        let right = self.bank.edit(|bank| std::mem::replace(&mut bank.password, password.to_owned()));
        self.write_config();
        self.bank.edit(|bank| bank.password = right);
    }

    /// The engine over the store as it is on disk, with next to no patience.
    pub fn engine(&self) -> Engine {
        self.engine_in(&self.data_dir())
    }

    /// The engine over the store in this directory.
    pub fn engine_in(&self, data_dir: &Path) -> Engine {
        let config = config::load(&self.config_path()).unwrap();
        let store = Store::open(data_dir).unwrap();
        Engine {
            config: Arc::new(config),
            store: Arc::new(store),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        }
    }

    /// Runs a cycle by a process that has just started.
    pub async fn cycle(&self) -> Report {
        self.cycle_with(Request { by_hand: true, ..Request::default() }).await
    }

    pub async fn scheduled_cycle(&self) -> Report {
        self.cycle_with(Request::default()).await
    }

    /// Runs a cycle by a process whose store is in this directory.
    pub async fn cycle_in(&self, data_dir: &Path) -> Report {
        let (engine, nobody): (_, bankfeed::sync::Watcher) = (self.engine_in(data_dir), Arc::new(|_| {}));
        engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap()
    }

    /// Puts a copy of a data directory in another's place.
    pub fn copy_data(&self, from: &Path, to: &Path) {
        if to.exists() {
            std::fs::remove_dir_all(to).unwrap();
        }
        copy_dir(from, to);
    }

    pub async fn cycle_with(&self, request: Request) -> Report {
        let engine = self.engine();
        let nobody: bankfeed::sync::Watcher = Arc::new(|_| {});
        engine.cycle(&request, &nobody).await.unwrap()
    }

    /// The bank's entries: id -> (amount with two decimals, currency).
    pub fn booked(&self) -> BTreeMap<String, String> {
        let booked = self.bank.edit(|bank| bank.transactions());
        booked
            .into_iter()
            .map(|(iban, entry, _)| (format!("fibank:{iban}:{}", entry.number), format!("{:.2}", entry.amount)))
            .collect()
    }

    pub fn sheet(&self) -> Vec<Vec<CellValue>> {
        self.google.read(&self.spreadsheet, |spreadsheet| spreadsheet.rows("Transactions"))
    }

    /// A column of the sheet by its header, without the header.
    pub fn column(&self, header: &str) -> Vec<CellValue> {
        let sheet = self.sheet();
        let at = sheet[0]
            .iter()
            .position(|cell| *cell == CellValue::Text(header.into()))
            .unwrap_or_else(|| panic!("no column {header}"));
        sheet[1..].iter().map(|row| row.get(at).cloned().unwrap_or(CellValue::Empty)).collect()
    }

    /// Ids and amounts in the sheet, in the order of the rows; a doubled row shows twice.
    pub fn in_sheet(&self) -> Vec<(String, String)> {
        let amounts = self.column("Amount").into_iter().map(|cell| match cell {
            CellValue::Number(amount) => format!("{amount:.2}"),
            other => panic!("an amount that is no number: {other:?}"),
        });
        let ids = self.column("Transaction ID").into_iter().map(|cell| match cell {
            CellValue::Text(id) => id,
            other => panic!("an id that is no text: {other:?}"),
        });
        ids.zip(amounts).collect()
    }

    pub fn in_base(&self) -> Vec<(String, String)> {
        let records = self.airtable.read(&self.base, |base| base.records("Transactions"));
        records
            .iter()
            .map(|record| {
                (
                    record["Transaction ID"].as_str().unwrap().to_owned(),
                    format!("{:.2}", record["Amount"].as_f64().unwrap()),
                )
            })
            .collect()
    }

    /// Checks that the two destinations hold exactly the bank's entries, each row once.
    pub fn assert_delivered(&self) {
        let booked: Vec<(String, String)> = self.booked().into_iter().collect();
        for (what, mut found) in [("sheet", self.in_sheet()), ("base", self.in_base())] {
            found.sort();
            assert_eq!(found, booked, "the {what} differs from the bank");
        }
    }

    pub fn clear_logs(&self) {
        self.google.server.clear_log();
        self.airtable.server.clear_log();
        self.odoo.server.clear_log();
        self.nocodb.server.clear_log();
        self.bank.server.clear_log();
    }
}

/// Copies a directory with everything in it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else if entry.path().is_file() {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Writes a file only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
