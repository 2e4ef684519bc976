//! The life of one seed: rounds of events at bank, sheet, base and process, then peace, then the reckoning.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bankfeed::config::{self, Config};
use bankfeed::destination::google_sheets::settings::Order;
use bankfeed::destination::policy::Vanished;
use bankfeed::remote::{Backoff, Shutdown};
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use bankfeed::store::Store;
use bankfeed::sync::{Engine, Outcome, Report, Request, Watcher};

use super::doings::Truth;
use super::look;
use crate::world::{World, airtable_mut, copy_dir, google_sheets_mut};

/// Cycles within which everything must have come to rest after the last fault.
const PATIENCE: usize = 10;

pub struct Life<'a> {
    pub rng: fastrand::Rng,
    pub world: World,
    pub truth: Truth,
    pub daemons: Vec<Daemon>,
    config: Arc<Config>,
    dir: tempfile::TempDir,
    dirs: usize,
    copies: Vec<PathBuf>,
    trail: &'a Mutex<Vec<String>>,
}

/// A process and its data directory.
pub struct Daemon {
    pub engine: Engine,
    dir: PathBuf,
}

/// A future that is dropped after so many polls, as a process that dies between two of them.
pub struct Mortal<F> {
    pub polls: u32,
    pub future: Pin<Box<F>>,
}

impl<F: Future> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

impl<'a> Life<'a> {
    pub async fn live(seed: u64, trail: &'a Mutex<Vec<String>>) -> Result<(), String> {
        let mut life = Life::begin(seed, trail).await;
        for _ in 0..2 + life.rng.usize(..4) {
            // Requests of a process that died stay under way for a moment.
            tokio::time::sleep(Duration::from_millis(2)).await;
            life.happen();
            life.plant_faults();
            for _ in 0..1 + life.rng.usize(..2) {
                life.run().await;
                life.no_doubles()?;
            }
            if life.rng.u8(..100) < 12 {
                life.lose_data().await;
            }
        }
        life.come_to_rest().await?;
        life.reckon()
    }

    async fn begin(seed: u64, trail: &'a Mutex<Vec<String>>) -> Life<'a> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bank = Bank::small();
        bank.customers[0].accounts.truncate(1 + usize::from(rng.u8(..4) == 0));
        bank.customers[0].accounts.iter_mut().for_each(|account| account.entries.clear());
        if rng.u8(..3) == 0 {
            bank.customers[0].accounts[0].currency = "BGN".into();
        }
        let world = World::new(bank).await;
        for server in [&world.google.server, &world.airtable.server, &world.bank.server] {
            server.keep_log(false);
        }
        if rng.u8(..5) > 0 {
            // A small tab, as an owner makes one: a thousand rows to format would be most of a seed's time.
            world.google.edit(&world.spreadsheet, |book| {
                book.rename_tab("Sheet1", "Transactions");
                (book.sheets[0].row_count, book.sheets[0].column_count) = (12, 14);
            });
        }
        let config = Arc::new(configure(&world, &mut rng));
        // Memory where there is some: every save is synced.
        let dir = match Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let daemons = 1 + usize::from(rng.u8(..8) == 0);
        let truth = Truth::new(&mut rng);
        let mut life = Life { rng, world, truth, daemons: Vec::new(), config, dir, dirs: 0, copies: Vec::new(), trail };
        for _ in 0..daemons {
            let dir = life.fresh_dir();
            let engine = life.engine(&dir);
            life.daemons.push(Daemon { engine, dir });
        }
        life.open_the_books();
        life
    }

    pub fn say(&self, what: String) {
        self.trail.lock().unwrap().push(what);
    }

    fn engine(&self, dir: &Path) -> Engine {
        Engine {
            config: self.config.clone(),
            store: Arc::new(Store::open(dir).unwrap()),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        }
    }

    fn fresh_dir(&mut self) -> PathBuf {
        self.dirs += 1;
        self.dir.path().join(self.dirs.to_string())
    }

    fn plant_faults(&mut self) {
        for (name, matching, share) in [("google", "", 50), ("airtable", "", 50), ("bank", "/EBank/api/", 15)] {
            if self.rng.u8(..100) >= share {
                continue;
            }
            for _ in 0..1 + self.rng.u8(..2) {
                let fault = self.fault(name == "bank");
                let (skip, times) = (self.rng.u32(..7), [1, 1, 2, 4, 12][self.rng.usize(..5)]);
                // A request held back once is enough; more of them would only be copies.
                let times = if matches!(fault, Fault::Held(_)) { times.min(2) } else { times };
                self.say(format!("{name}: after {skip} requests {times} times {fault:?}"));
                let server = match name {
                    "google" => &self.world.google.server,
                    "airtable" => &self.world.airtable.server,
                    _ => &self.world.bank.server,
                };
                server.fail(matching, skip, times, fault);
            }
        }
    }

    fn fault(&mut self, read_only: bool) -> Fault {
        let none = String::new;
        match self.rng.u8(..if read_only { 8 } else { 16 }) {
            0 => Fault::Status([500, 502, 503][self.rng.usize(..3)], none()),
            1 => Fault::Drop,
            2 => Fault::ApplyThenDrop,
            3 => Fault::Truncate,
            4 => Fault::CutBody,
            5 => Fault::Slow(Duration::from_millis(1)),
            6 => Fault::ApplyThenStatus(503, none()),
            7 => Fault::Status(429, none()),
            8 => Fault::StatusRetryAfter(429, none(), [0, 60][self.rng.usize(..2)]),
            9 => Fault::ApplyThenStatus(500, "<html>oops</html>".into()),
            10 => Fault::ApplyThenDrop,
            _ => Fault::Held(self.rng.u32(..8)),
        }
    }

    /// Runs a cycle, or the cycles of two processes at once; a process may die in its cycle.
    async fn run(&mut self) {
        let request = self.request();
        let lives: Vec<u32> = (0..self.daemons.len()).map(|_| self.polls()).collect();
        let cycles = self.daemons.iter().zip(&lives).map(|(daemon, polls)| async {
            let nobody: Watcher = Arc::new(|_| {});
            let cycle = async { daemon.engine.cycle(&request, &nobody).await.unwrap() };
            Mortal { polls: *polls, future: Box::pin(cycle) }.await
        });
        let reports = futures_util::future::join_all(cycles).await;
        for (at, report) in reports.into_iter().enumerate() {
            self.say(format!("cycle of {at}, {request:?}: {}", report.as_ref().map_or("died".into(), brief)));
            if report.is_none() || self.rng.u8(..6) == 0 {
                self.restart(at);
            }
            if let Some(report) = report.filter(|report| at == 0 && report.sources[0].outcome == Outcome::Ok) {
                for (amnesia, destination) in self.truth.amnesia.iter_mut().zip(&report.destinations) {
                    *amnesia &= destination.outcome != Outcome::Ok;
                }
            }
        }
        if self.rng.u8(..3) == 0 {
            let copy = self.fresh_dir();
            copy_dir(&self.daemons[0].dir, &copy);
            self.copies.push(copy);
        }
    }

    /// Number of polls after which a cycle dies.
    fn polls(&mut self) -> u32 {
        let longest = [12, 60, 160][self.rng.usize(..3)];
        let polls = 1 + self.rng.u32(..longest);
        if self.rng.u8(..100) < 35 { polls } else { u32::MAX }
    }

    fn request(&mut self) -> Request {
        let mut request = Request { by_hand: true, ..Request::default() };
        match self.rng.u8(..20) {
            0..3 => request.destinations = Some(Vec::new()),
            3..6 => request.sources = Some(Vec::new()),
            6 => request.destinations = Some(vec!["household".into()]),
            7 => request.destinations = Some(vec!["base".into()]),
            _ => {}
        }
        request
    }

    /// Replaces the process by one that starts over the files on the disk.
    fn restart(&mut self, at: usize) {
        let dir = self.fresh_dir();
        copy_dir(&self.daemons[at].dir, &dir);
        self.daemons[at] = Daemon { engine: self.engine(&dir), dir };
    }

    /// The data directory is lost, or put back as it once was.
    async fn lose_data(&mut self) {
        let dir = self.fresh_dir();
        match self.rng.choice(&self.copies).filter(|_| self.dirs.is_multiple_of(2)) {
            Some(copy) => {
                copy_dir(copy, &dir);
                self.say("the data directory is an older one".into());
            }
            None => self.say("the data directory is lost".into()),
        }
        self.daemons[0] = Daemon { engine: self.engine(&dir), dir };
        self.forget();
    }

    /// Ends all faults: within a few cycles no cycle has work left.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        for server in [&self.world.google.server, &self.world.airtable.server, &self.world.bank.server] {
            server.heal();
            server.land().await;
        }
        // An entry that was booked late shows in the balance of the next entry.
        self.book_one_each();
        let request = Request { by_hand: true, ..Request::default() };
        let mut reports = Vec::new();
        for _ in 0..PATIENCE {
            self.world.clear_logs();
            reports.clear();
            for at in 0..self.daemons.len() {
                let nobody: Watcher = Arc::new(|_| {});
                let report = self.daemons[at].engine.cycle(&request, &nobody).await.unwrap();
                self.say(format!("in peace, {at}: {}", brief(&report)));
                self.no_doubles()?;
                reports.push(report);
            }
            let requests = self.world.google.server.requests() + self.world.airtable.server.requests();
            if requests == 0 && reports.iter().all(is_well) {
                return Ok(());
            }
        }
        Err(format!("no rest after {PATIENCE} cycles: {reports:#?}"))
    }

    fn no_doubles(&self) -> Result<(), String> {
        for (what, rows) in [("sheet", look::sheet(&self.world)), ("base", look::base(&self.world, &self.truth.names))]
        {
            if let Some((id, rows)) = rows.iter().find(|(_, rows)| rows.len() > 1) {
                return Err(format!("{id} is {} times in the {what}", rows.len()));
            }
        }
        Ok(())
    }
}

/// The configuration with the settings that seeds vary.
fn configure(world: &World, rng: &mut fastrand::Rng) -> Config {
    let mut config = config::load(&world.config_path()).unwrap();
    let vanished = [Vanished::Mark, Vanished::Mark, Vanished::Mark, Vanished::Ignore, Vanished::Delete][rng.usize(..5)];
    for destination in &mut config.destinations {
        if let Some(sheets) = google_sheets_mut(destination) {
            sheets.rows.vanished = vanished;
            sheets.order = if rng.u8(..4) == 0 { Order::NewestFirst } else { Order::OldestFirst };
        }
        if let Some(airtable) = airtable_mut(destination) {
            airtable.rows.vanished = vanished;
        }
    }
    config
}

fn is_well(report: &Report) -> bool {
    report.sources.iter().all(|source| source.outcome == Outcome::Ok)
        && report.destinations.iter().all(|one| one.outcome == Outcome::Ok && one.waiting == 0 && one.rejected == 0)
}

fn brief(report: &Report) -> String {
    let sources = report.sources.iter().map(|one| {
        format!(
            "{:?} new {} changed {} vanished {} {:?} {:?}",
            one.outcome, one.new, one.changed, one.vanished, one.error, one.notes
        )
    });
    let destinations = report.destinations.iter().map(|one| {
        format!(
            "{:?} appended {} updated {} waiting {} requests {} {:?}",
            one.outcome, one.appended, one.updated, one.waiting, one.requests, one.error
        )
    });
    sources.chain(destinations).collect::<Vec<_>>().join(" | ")
}
