//! A system call on the store's files fails, at every position in turn: afterwards the next run finds everything, and
//! each row is exactly once in each destination. `BANKFEED_FAULTS` sets the number of positions of each kind (`all`:
//! every position).

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use bankfeed::simulator::fibank::{Bank, Entry};
use chrono::Utc;

use crate::rest::{rests, until};
use crate::world::World;

/// Positions of each kind that are tried without being asked for more.
const USUAL: usize = 6;

/// Kinds of failure: the calls that fail, and the error (numbers as Linux has them).
const KINDS: [(&str, &str); 8] = [
    ("any", EIO),
    ("open", EMFILE),
    ("open", "23"), // ENFILE
    ("write", ENOSPC),
    ("lock", "37"), // ENOLCK
    ("any", "4"),   // EINTR
    ("read", "short"),
    ("write", "short"),
];
const EIO: &str = "5";
const EMFILE: &str = "24";
const ENOSPC: &str = "28";

/// No run takes that long, unless it waits for something that does not come.
const PATIENCE_S: &str = "60";

/// The library that lets calls fail.
fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shim.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compiler.status().unwrap().success(), "no C compiler?");
        library
    })
}

/// The distance between tried positions.
fn step(positions: u64) -> u64 {
    match std::env::var("BANKFEED_FAULTS").as_deref() {
        Ok("all") => 1,
        Ok(most) => positions.div_ceil(most.parse().expect("BANKFEED_FAULTS: a number, or `all`")),
        Err(_) => positions.div_ceil(USUAL as u64),
    }
}

/// A household whose program meets faults.
struct Faulty {
    world: World,
}

impl Faulty {
    async fn new() -> Faulty {
        Faulty { world: World::new(Bank::small()).await }
    }

    fn spec(&self) -> PathBuf {
        self.world.dir.path().join("spec")
    }

    fn log(&self) -> PathBuf {
        self.world.dir.path().join("faults")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", PATIENCE_S, env!("CARGO_BIN_EXE_bankfeed"), "--config"]);
        command.arg(self.world.config_path()).args(arguments).env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
        command
    }

    fn preloaded(&self, mut command: Command) -> Command {
        let dir = self.world.data_dir().canonicalize().unwrap();
        command.env("LD_PRELOAD", shim()).env("FAULT_DIR", format!("{}/", dir.display()));
        command.env("FAULT_SPEC", self.spec()).env("FAULT_LOG", self.log());
        command
    }

    /// Sets the failure from the next start of a program on.
    fn arm(&self, calls: &str, number: u64, how: &str) {
        drop(std::fs::remove_file(self.log()));
        std::fs::write(self.spec(), format!("{calls} {number} {how}")).unwrap();
    }

    /// The call that has failed.
    fn failed(&self) -> Option<String> {
        std::fs::read_to_string(self.log()).ok()
    }

    fn book(&self) {
        self.world.bank.edit(|bank| {
            let iban = bank.customers[0].accounts[0].iban.clone();
            let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
            let (number, amount) = (bank.last_number() + 1, rust_decimal::Decimal::new(-240, 2));
            bank.add(&iban, Entry { number, time, value_date: time.date_naive(), amount, ..Entry::default() });
        });
    }

    /// A run in which a call fails ends in good order, and the next one does everything.
    async fn recovers(&self, what: &str, faulty: &Output) {
        let said = String::from_utf8_lossy(&faulty.stderr).into_owned();
        assert!(matches!(faulty.status.code(), Some(0 | 1 | 3 | 4)), "{what}: {faulty:?}");
        assert!(!said.contains("damaged") && !said.contains("panicked"), "{what}: {said}");
        let clean = output(self.command(&["sync"])).await;
        assert_eq!(clean.status.code(), Some(0), "{what}, then: {clean:?}; before: {said}");
        self.world.assert_delivered();
        for entry in std::fs::read_dir(self.world.data_dir()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().contains("damaged"), "{what}: {name:?}");
        }
    }

    /// Tries positions of one kind; returns how many there are and how many were tried.
    async fn every_position(&self, calls: &str, how: &str, from_nothing: bool) -> (u64, u64) {
        let positions = self.positions(calls, from_nothing).await;
        let (mut number, mut tried) = (1, 0);
        loop {
            self.book();
            self.prepare(from_nothing);
            self.arm(calls, number, how);
            let faulty = output(self.preloaded(self.command(&["sync"]))).await;
            let failed = self.failed();
            self.recovers(&format!("{calls} {how}: {failed:?}"), &faulty).await;
            if failed.is_none() {
                assert_eq!(faulty.status.code(), Some(0), "no fault, {calls} {how} at {number}: {faulty:?}");
                return (positions, tried);
            }
            tried += 1;
            number += step(positions);
        }
    }

    fn prepare(&self, from_nothing: bool) {
        if from_nothing {
            std::fs::remove_dir_all(self.world.data_dir()).unwrap();
            std::fs::create_dir(self.world.data_dir()).unwrap();
        }
    }

    /// Counts the calls of a kind that a run makes.
    async fn positions(&self, calls: &str, from_nothing: bool) -> u64 {
        self.book();
        self.prepare(from_nothing);
        self.arm(calls, u64::MAX >> 1, EIO);
        let mut command = self.preloaded(self.command(&["sync"]));
        command.env("FAULT_COUNT", "1");
        let counted = output(command).await;
        assert_eq!(counted.status.code(), Some(0), "{counted:?}");
        let text = self.failed().unwrap_or_default();
        text.split_whitespace().filter_map(|count| count.parse().ok()).max().expect("the shim counts")
    }
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn of_a_run(from_nothing: bool) {
    let name = if from_nothing { "first run" } else { "run" };
    let trying = KINDS.map(|(calls, how)| async move {
        let faulty = Faulty::new().await;
        let first = output(faulty.command(&["sync"])).await;
        assert_eq!(first.status.code(), Some(0), "{first:?}");
        let (positions, tried) = faulty.every_position(calls, how, from_nothing).await;
        println!("faults: {name}, {calls} {how}: {tried} of about {positions} positions");
        (positions, tried)
    });
    let tried = futures_util::future::join_all(trying).await;
    let sum = |part: fn(&(u64, u64)) -> u64| tried.iter().map(part).sum::<u64>();
    println!("faults: {name}: {} of about {} positions in all", sum(|t| t.1), sum(|t| t.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_anywhere_in_a_cycle_is_no_damage() {
    of_a_run(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_anywhere_in_the_first_cycle_is_no_damage() {
    of_a_run(true).await;
}

/// A daemon that meets a fault when it wakes up.
async fn wakes(faulty: &Faulty, calls: &str, number: u64, how: &str) -> bool {
    drop(std::fs::remove_file(faulty.spec()));
    let socket = faulty.world.data_dir().join("control.sock");
    drop(std::fs::remove_file(&socket));
    let mut run = faulty.preloaded(Command::new(env!("CARGO_BIN_EXE_bankfeed")));
    run.arg("--config").arg(faulty.world.config_path()).arg("run").env("NO_COLOR", "1");
    let log = faulty.world.dir.path().join("log");
    let mut daemon = run.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    until("the daemon is ready", || said().contains("ready")).await;
    faulty.arm(calls, number, how);
    until("the daemon rests", || rests(daemon.id())).await;
    faulty.book();
    let woken = output(faulty.command(&["sync"])).await;
    let failed = faulty.failed();
    let what = format!("wake, {calls} {how}: {failed:?}");
    assert!(matches!(woken.status.code(), Some(0 | 1 | 3 | 4)), "{what}: {woken:?}");
    assert!(!said().contains("damaged") && !said().contains("panicked"), "{what}: {}", said());
    if failed.is_some() {
        // The daemon goes on and serves the next command.
        let again = output(faulty.command(&["sync"])).await;
        assert_eq!(again.status.code(), Some(0), "{what}: {again:?}: {}", said());
        faulty.world.assert_delivered();
        assert!(daemon.try_wait().unwrap().is_none(), "{what}: {}", said());
    }
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
    failed.is_some()
}

/// Positions of one kind, from the first on, so many apart; returns how many were tried.
async fn wakes_at(calls: &str, how: &str, first: u64, apart: u64) -> u64 {
    let faulty = Faulty::new().await;
    let cycle = output(faulty.command(&["sync"])).await;
    assert_eq!(cycle.status.code(), Some(0), "{cycle:?}");
    let (mut number, mut tried) = (first, 0);
    while wakes(&faulty, calls, number, how).await {
        number += apart;
        tried += 1;
    }
    tried
}

/// Households at a time: a daemon mostly waits for its rest.
const TOGETHER: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_when_the_daemon_wakes_is_no_damage() {
    for (calls, how) in [("any", EIO), ("open", EMFILE)] {
        let counting = Faulty::new().await;
        let cycle = output(counting.command(&["sync"])).await;
        assert_eq!(cycle.status.code(), Some(0), "{cycle:?}");
        let step = step(counting.positions(calls, false).await);
        let started = Instant::now();
        let trying = (0..TOGETHER).map(|at| wakes_at(calls, how, 1 + at * step, TOGETHER * step));
        let tried: u64 = futures_util::future::join_all(trying).await.iter().sum();
        println!("faults: wake, {calls} {how}: {tried} positions in {:.1?}", started.elapsed());
    }
}
