//! A seed makes a bank's history, an owner's acts, faults at any request and deaths at any await point; afterwards each
//! booked transaction is exactly once in the table and equals the bank's. Every third store enforces no unique field.
//!
//! `BANKFEED_NOCODB_SEEDS=FROM..TO` chooses the seeds.

use std::collections::BTreeSet;
use std::path::Path;

use bankfeed::simulator::Fault;
use futures_util::FutureExt;

use super::*;
use crate::explore::life::Mortal;
use crate::seeds::{Seeds, Trail};
use crate::world::copy_dir;

/// Cycles within which everything must have come to rest after the last fault.
const PATIENCE: usize = 8;

#[test]
fn every_transaction_is_exactly_once_in_the_table_whatever_happens() {
    let seeds = Seeds {
        variable: "BANKFEED_NOCODB_SEEDS",
        usual: 0..60,
        known: &[],
        module: "nocodb::lives",
        live: |seed, trail| live(seed, trail).boxed_local(),
    };
    seeds.run();
}

struct Life<'a> {
    rng: fastrand::Rng,
    grid: Grid,
    simulator: Nocodb,
    enforces: bool,
    engine: Engine,
    dirs: u32,
    booked: Vec<String>,
    /// Rows that the owner has deleted, and those that the bank has taken back.
    deleted: BTreeSet<String>,
    away: Vec<(String, Entry)>,
    trail: &'a Trail,
}

async fn live(seed: u64, trail: &Trail) -> Result<(), String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut grid = Grid::simulated().await;
    let simulator = grid.simulator.clone().unwrap();
    simulator.server.keep_log(false);
    let enforces = !seed.is_multiple_of(3);
    simulator.enforce_unique(enforces);
    grid.through = simulator.server.url();
    if Path::new("/dev/shm").is_dir() {
        grid.dir = tempfile::tempdir_in("/dev/shm").unwrap();
    }
    grid.extra = format!("vanished = \"{}\"", ["mark", "mark", "ignore", "delete"][rng.usize(..4)]);
    let engine = grid.engine();
    let (booked, deleted, away) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut life = Life { rng, grid, simulator, enforces, engine, dirs: 0, booked, deleted, away, trail };
    for _ in 0..2 + life.rng.usize(..4) {
        life.happen();
        life.plant_faults();
        for _ in 0..1 + life.rng.usize(..2) {
            life.cycle().await;
            if life.enforces {
                life.no_doubles()?;
            }
        }
        if life.enforces && life.rng.u8(..100) < 10 {
            life.say("the data directory is lost".into());
            life.dirs += 1;
            life.engine = life.engine_in(life.dirs);
        }
    }
    life.come_to_rest().await?;
    life.reckon()
}

impl Life<'_> {
    fn say(&self, what: String) {
        self.trail.lock().unwrap().push(what);
    }

    fn engine_in(&self, dir: u32) -> Engine {
        let (config, backoff, shutdown) =
            (self.engine.config.clone(), self.engine.backoff.clone(), self.engine.shutdown.clone());
        let store = Arc::new(Store::open(&self.dir(dir)).unwrap());
        Engine { config, store, backoff, shutdown }
    }

    fn dir(&self, number: u32) -> PathBuf {
        let name = if number == 0 { "data".to_owned() } else { format!("data{number}") };
        self.grid.dir.path().join(name)
    }

    fn happen(&mut self) {
        for _ in 0..1 + self.rng.usize(..4) {
            let one = self.rng.choice(&self.booked).cloned();
            match (self.rng.u8(..10), one) {
                (0..5, _) | (_, None) => {
                    let count = [1, 2, 3, 14][self.rng.usize(..4)];
                    (0..count).for_each(|_| self.booked.push(self.grid.book("ХЛЯБ")));
                    self.say(format!("{count} entries are booked"));
                }
                (5..8, Some(id)) => {
                    let word = format!("ДУМА {}", self.rng.u16(..));
                    self.say(format!("{id} becomes {word}"));
                    self.grid.change(&id, |entry| entry.counterparty = word);
                }
                // The number of the last entry would be given to the next one.
                (8, Some(id)) if !id.ends_with(&self.grid.bank.edit(|bank| bank.last_number()).to_string()) => {
                    self.say(format!("{id} is taken back"));
                    self.booked.retain(|known| *known != id);
                    let entry = self.grid.take_back(&id);
                    self.away.push((id, entry));
                }
                _ => {
                    let Some((id, entry)) = self.away.pop() else { continue };
                    self.say(format!("{id} is back"));
                    self.grid.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
                    self.booked.push(id);
                }
            }
        }
        if self.rng.u8(..3) == 0
            && let Some(id) = self.rng.choice(&self.booked).cloned()
        {
            let table = self.grid.table.clone();
            let gone = self.edit(|base| {
                let Some(table) = base.tables.iter_mut().find(|known| known.title == table) else { return false };
                let found = table.find("Transaction ID", &id);
                found.iter().for_each(|record| table.delete(*record));
                !found.is_empty()
            });
            if gone {
                self.say(format!("the owner deletes {id}"));
                self.deleted.insert(id);
            }
        }
    }

    fn edit<T>(&self, change: impl FnOnce(&mut bankfeed::simulator::nocodb::Base) -> T) -> T {
        self.simulator.edit(&self.grid.base, change)
    }

    fn plant_faults(&mut self) {
        for _ in 0..self.rng.usize(..3) {
            let none = String::new;
            let fault = match self.rng.u8(..14) {
                0 => Fault::Status([500, 502, 503][self.rng.usize(..3)], none()),
                1 => Fault::Drop,
                2 | 3 => Fault::ApplyThenDrop,
                4 => Fault::Truncate,
                5 => Fault::CutBody,
                6 => Fault::ApplyThenStatus(503, "<html>oops</html>".into()),
                7 => Fault::Status(429, none()),
                8 => Fault::StatusRetryAfter(429, none(), [0, 60][self.rng.usize(..2)]),
                _ => Fault::Held(self.rng.u32(..8)),
            };
            let (skip, times) = (self.rng.u32(..7), [1, 1, 2, 4][self.rng.usize(..4)]);
            let matching = ["", "POST", "PATCH"][self.rng.usize(..3)];
            self.say(format!("after {skip} requests {matching} {times} times {fault:?}"));
            self.simulator.server.fail(matching, skip, times, fault);
        }
    }

    async fn cycle(&mut self) {
        let polls = if self.rng.u8(..100) < 35 { 1 + self.rng.u32(..160) } else { u32::MAX };
        let (request, watcher) = (Request { by_hand: true, ..Request::default() }, watcher());
        let cycle = async { self.engine.cycle(&request, &watcher).await.unwrap() };
        let report = Mortal { polls, future: Box::pin(cycle) }.await;
        self.say(report.as_ref().map_or("it died".into(), |report| format!("{:?}", report.destinations)));
        if report.is_none() {
            // A process that starts over the files on the disk.
            let old = self.dir(self.dirs);
            self.dirs += 1;
            copy_dir(&old, &self.dir(self.dirs));
            self.engine = self.engine_in(self.dirs);
        }
    }

    fn rows(&self) -> BTreeMap<String, Vec<(String, String)>> {
        let mut rows: BTreeMap<String, Vec<_>> = BTreeMap::new();
        let table = self.grid.table.clone();
        let found = self.edit(|base| base.tables.iter().find(|known| known.title == table).map(|table| table.rows()));
        for row in found.into_iter().flatten() {
            let text = |title: &str| row.get(title).and_then(Value::as_str).unwrap_or_default().to_owned();
            let amount: Option<Decimal> = text("Amount").parse().ok();
            let amount = amount.map(|amount| format!("{amount:.2}")).unwrap_or_default();
            rows.entry(text("Transaction ID")).or_default().push((text("Counterparty"), amount));
        }
        rows
    }

    fn no_doubles(&self) -> Result<(), String> {
        let rows = self.rows();
        let doubled = rows.iter().find(|(_, rows)| rows.len() > 1);
        doubled.map_or(Ok(()), |(id, rows)| Err(format!("{id} is there {} times", rows.len())))
    }

    /// Ends all faults: within a few cycles no cycle has work left.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        self.simulator.server.heal();
        self.simulator.server.land().await;
        let request = Request { by_hand: true, ..Request::default() };
        // A store that has lost its memory learns which rows are there, and goes by later corrections.
        self.engine.cycle(&request, &watcher()).await.unwrap();
        // A correction that arrived late may have put older words back, which the next one replaces.
        for id in self.booked.clone() {
            self.grid.change(&id, |entry| entry.counterparty += "!");
        }
        self.booked.push(self.grid.book("ПОСЛЕДЕН"));
        for _ in 0..PATIENCE {
            self.simulator.server.clear_log();
            let report = self.engine.cycle(&request, &watcher()).await.unwrap().destinations.remove(0);
            self.say(format!("in peace: {report:?}"));
            self.no_doubles()?;
            if report.outcome == Outcome::Ok && report.waiting == 0 && self.simulator.server.requests() == 0 {
                return Ok(());
            }
        }
        Err(format!("no rest after {PATIENCE} cycles"))
    }

    fn reckon(&self) -> Result<(), String> {
        let rows = self.rows();
        for (iban, entry, _) in self.grid.bank.edit(|bank| bank.transactions()) {
            let id = format!("fibank:{iban}:{}", entry.number);
            let wanted = (entry.counterparty.trim().to_owned(), format!("{:.2}", entry.amount));
            match rows.get(&id).map(Vec::as_slice) {
                Some([row]) if *row == wanted => {}
                // A row that the owner deletes while its insertion is under way may come back.
                _ if self.deleted.contains(&id) => {}
                found => return Err(format!("{id} should be {wanted:?} and is {found:?}")),
            }
        }
        Ok(())
    }
}
