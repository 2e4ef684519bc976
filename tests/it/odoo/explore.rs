//! A seed makes a bank's history, an accountant's doings, faults at any request and crashes at any await point; afterwards
//! each booked transaction is exactly one line with the bank's data, as far as the books allow.
//!
//! `BANKFEED_ODOO_SEEDS=FROM..TO` chooses the seeds. A failure prints its seed and all its events.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bankfeed::remote::{Backoff, Shutdown};
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::store::Store;
use bankfeed::sync::{Engine, Outcome, Report, Request, Watcher};
use futures_util::FutureExt;

use super::Home;
use crate::seeds::{Seeds, Trail};
use crate::world::copy_dir;

/// Cycles within which everything must have come to rest after the last fault.
const PATIENCE: usize = 10;

#[test]
fn every_transaction_is_one_line_whatever_happens() {
    let seeds = Seeds {
        variable: "BANKFEED_ODOO_SEEDS",
        usual: 0..150,
        known: &[],
        module: "odoo::explore",
        live: |seed, trail| Life::live(seed, trail).boxed_local(),
    };
    seeds.run();
}

/// A process and its data directory.
struct Daemon {
    engine: Engine,
    dir: PathBuf,
}

/// A future that is dropped after so many polls, as a process that dies between two of them.
struct Mortal<F> {
    polls: u32,
    future: Pin<Box<F>>,
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

struct Life<'a> {
    rng: fastrand::Rng,
    home: Home,
    policy: &'static str,
    daemons: Vec<Daemon>,
    dirs: usize,
    trail: &'a Trail,
    /// Entries that the bank has taken back.
    away: Vec<Entry>,
    /// The last number that an entry was given; none is given again.
    last: u64,
    corrected: BTreeSet<u64>,
    deleted: BTreeSet<u64>,
    /// A request arrived late, or an answer was lost: the two cases that the connector leaves open.
    is_open: bool,
}

impl<'a> Life<'a> {
    async fn live(seed: u64, trail: &'a Trail) -> Result<(), String> {
        let mut life = Life::begin(seed, trail).await;
        for _ in 0..2 + life.rng.usize(..4) {
            tokio::time::sleep(Duration::from_millis(2)).await;
            life.happen();
            life.plant_faults();
            for _ in 0..1 + life.rng.usize(..2) {
                life.run().await;
                life.no_orphans()?;
            }
        }
        life.come_to_rest().await?;
        life.reckon()
    }

    async fn begin(seed: u64, trail: &'a Trail) -> Life<'a> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bank = Bank::small();
        bank.customers[0].accounts.truncate(1);
        bank.customers[0].accounts[0].entries.clear();
        let mut home = Home::with(bank).await;
        let policy = ["mark", "ignore", "delete"][rng.usize(..3)];
        home.extra = format!("vanished = \"{policy}\"");
        home.odoo.server.keep_log(false);
        home.bank.server.keep_log(false);
        let version = if rng.u8(..3) == 0 { 18 } else { 19 };
        home.odoo.set_version(version);
        let two = rng.u8(..6) == 0;
        let (daemons, away) = (Vec::new(), Vec::new());
        let (corrected, deleted) = (BTreeSet::new(), BTreeSet::new());
        let mut life =
            Life { rng, home, policy, daemons, dirs: 0, trail, away, last: 0, corrected, deleted, is_open: false };
        life.say(format!("Odoo {version}, vanished = {policy}"));
        for _ in 0..1 + usize::from(two) {
            let dir = life.fresh_dir();
            let engine = life.engine(&dir);
            life.daemons.push(Daemon { engine, dir });
        }
        life
    }

    fn say(&self, what: String) {
        self.trail.lock().unwrap().push(what);
    }

    fn engine(&self, dir: &std::path::Path) -> Engine {
        let (config, store) = (Arc::new(self.home.config()), Arc::new(Store::open(dir).unwrap()));
        Engine { config, store, backoff: Backoff::immediate(), shutdown: Shutdown::never() }
    }

    fn fresh_dir(&mut self) -> PathBuf {
        self.dirs += 1;
        self.home.dir.path().join(self.dirs.to_string())
    }

    fn pick(&mut self) -> Option<u64> {
        let numbers: Vec<u64> = self
            .home
            .bank
            .edit(|bank| bank.customers[0].accounts[0].entries.iter().map(|entry| entry.number).collect());
        (!numbers.is_empty()).then(|| numbers[self.rng.usize(..numbers.len())])
    }

    fn happen(&mut self) {
        for _ in 0..1 + self.rng.usize(..4) {
            match self.rng.u8(..14) {
                0..6 => {
                    let payee = ["КАФЕ", "", "=A1", "🌿", "O'Neil"][self.rng.usize(..5)];
                    self.last += 1;
                    let number = self.last;
                    super::book_as(&self.home, payee, number);
                    self.say(format!("books {number}"));
                }
                6 | 7 => {
                    let Some(number) = self.pick() else { continue };
                    let cents = self.rng.i64(-900..900);
                    self.say(format!("corrects {number} to {cents}"));
                    self.corrected.insert(number);
                    super::change(&self.home, number, |entry| {
                        entry.amount = rust_decimal::Decimal::new(cents, 2);
                        entry.counterparty = format!("поправен {cents}");
                    });
                }
                8 => {
                    let Some(number) = self.pick() else { continue };
                    self.say(format!("takes {number} back"));
                    let entry = super::take_back(&self.home, number);
                    self.away.push(entry);
                }
                9 if !self.away.is_empty() => {
                    let at = self.rng.usize(..self.away.len());
                    let entry = self.away.remove(at);
                    self.say(format!("gives {} again", entry.number));
                    self.home.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
                }
                10 | 11 => {
                    let Some(number) = self.pick().filter(|number| self.home.line(*number).is_some()) else { continue };
                    self.say(format!("the accountant reconciles {number}"));
                    self.home.change_line(number, |line| line.reconciled = true);
                }
                12 => {
                    let Some(line) = self.pick().and_then(|number| Some((number, self.home.line(number)?))) else {
                        continue;
                    };
                    self.say(format!("the accountant deletes {}", line.0));
                    self.deleted.insert(line.0);
                    self.home.odoo.edit(|books| books.delete_line(line.1.id));
                }
                _ => {
                    self.say("another transaction collides".into());
                    self.home.odoo.edit(|books| books.collisions = 1);
                }
            }
        }
    }

    fn plant_faults(&mut self) {
        if self.rng.bool() {
            return;
        }
        for _ in 0..1 + self.rng.u8(..2) {
            let none = String::new;
            let fault = match self.rng.u8(..14) {
                0 => Fault::Status([500, 502, 503][self.rng.usize(..3)], none()),
                1 => Fault::Drop,
                2 | 3 => Fault::ApplyThenDrop,
                4 => Fault::Truncate,
                5 => Fault::CutBody,
                6 => Fault::ApplyThenStatus(504, "<html>Gateway Time-out</html>".into()),
                7 => Fault::StatusRetryAfter(429, none(), [0, 60][self.rng.usize(..2)]),
                8 => Fault::Status(303, none()),
                _ => Fault::Held(self.rng.u32(..8)),
            };
            let (skip, times) = (self.rng.u32(..7), [1, 1, 2, 4, 12][self.rng.usize(..5)]);
            let times = if matches!(fault, Fault::Held(_)) { times.min(2) } else { times };
            self.say(format!("odoo: after {skip} requests {times} times {fault:?}"));
            self.is_open = true;
            self.home.odoo.server.fail("", skip, times, fault);
        }
    }

    async fn run(&mut self) {
        let lives: Vec<u32> = (0..self.daemons.len())
            .map(|_| {
                let longest = [12, 60, 160][self.rng.usize(..3)];
                let polls = 1 + self.rng.u32(..longest);
                if self.rng.u8(..100) < 35 { polls } else { u32::MAX }
            })
            .collect();
        let request = Request { by_hand: true, ..Request::default() };
        let cycles = self.daemons.iter().zip(&lives).map(|(daemon, polls)| async {
            let nobody: Watcher = Arc::new(|_| {});
            let cycle = async { daemon.engine.cycle(&request, &nobody).await.unwrap() };
            Mortal { polls: *polls, future: Box::pin(cycle) }.await
        });
        let reports = futures_util::future::join_all(cycles).await;
        for (at, report) in reports.into_iter().enumerate() {
            self.say(format!("cycle of {at}: {}", report.as_ref().map_or("died".into(), brief)));
            if report.is_none() {
                self.is_open = true;
                let dir = self.fresh_dir();
                copy_dir(&self.daemons[at].dir, &dir);
                self.daemons[at] = Daemon { engine: self.engine(&dir), dir };
            }
        }
    }

    /// No line is without its id, at any time.
    fn no_orphans(&self) -> Result<(), String> {
        let (lines, named) = (self.home.odoo.edit(|books| books.lines.len()), self.home.lines().len());
        if lines == named { Ok(()) } else { Err(format!("{lines} lines, and {named} of them have ids")) }
    }

    async fn come_to_rest(&mut self) -> Result<(), String> {
        self.home.odoo.server.heal();
        self.home.odoo.server.land().await;
        self.home.odoo.edit(|books| books.collisions = 0);
        let nobody: Watcher = Arc::new(|_| {});
        for _ in 0..PATIENCE {
            let mut quiet = true;
            for daemon in &self.daemons {
                let report =
                    daemon.engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
                self.say(format!("peace: {}", brief(&report)));
                let books = &report.destinations[0];
                quiet &= books.outcome == Outcome::Ok && books.waiting == 0 && books.requests == 0;
            }
            if quiet {
                return Ok(());
            }
        }
        Err("it does not come to rest".into())
    }

    fn reckon(&self) -> Result<(), String> {
        self.no_orphans()?;
        let present = self.home.bank.edit(|bank| bank.customers[0].accounts[0].entries.clone());
        let numbers: BTreeMap<u64, &Entry> = present.iter().map(|entry| (entry.number, entry)).collect();
        for (number, entry) in &numbers {
            let Some(line) = self.home.line(*number) else {
                if self.deleted.contains(number) {
                    continue;
                }
                return Err(format!("{number} is not there"));
            };
            let alone = self.daemons.len() == 1;
            if self.deleted.contains(number) && alone && !self.is_open {
                return Err(format!("{number} was deleted by its owner and is back"));
            }
            let is_loose = self.is_open && self.corrected.contains(number);
            let amount = format!("{:.2}", entry.amount);
            if !line.reconciled
                && !is_loose
                && (format!("{:.2}", line.amount), line.partner_name.as_str()) != (amount, entry.counterparty.as_str())
            {
                return Err(format!("{number} is {line:?}, the bank says {entry:?}"));
            }
            let is_marked = line.payment_ref.starts_with("[taken back by the bank] ");
            if is_marked && !line.reconciled && !self.is_open {
                return Err(format!("{number} is marked as taken back: {line:?}"));
            }
        }
        for entry in &self.away {
            let Some(line) = self.home.line(entry.number).filter(|line| !line.reconciled && !self.is_open) else {
                continue;
            };
            let is_marked = line.payment_ref.starts_with("[taken back by the bank] ");
            if self.policy == "delete" || self.policy == "mark" && !is_marked {
                return Err(format!("{} was taken back: {line:?}", entry.number));
            }
        }
        Ok(())
    }
}

fn brief(report: &Report) -> String {
    let (source, books) = (&report.sources[0], &report.destinations[0]);
    format!(
        "{:?} new {} changed {} vanished {} | {:?} appended {} updated {} rejected {} waiting {} requests {} {:?}",
        source.outcome,
        source.new,
        source.changed,
        source.vanished,
        books.outcome,
        books.appended,
        books.updated,
        books.rejected,
        books.waiting,
        books.requests,
        books.error
    )
}
