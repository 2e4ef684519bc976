//! `kill -9` of the real binary, again and again, at any moment of a cycle; afterwards no row is lost or doubled, and
//! the bank has seen no more sign-ins than runs.
//!
//! `BANKFEED_KILLS` sets the number of kills; without it a few dozen. Half of them fall at a random time, half while a
//! simulator is at a certain request: applied already, the answer not yet given.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::simulator::{Fault, Server};

use crate::world::World;

/// Worlds that are killed in side by side: a run mostly waits for its process to start.
const WORLDS: u64 = 3;

/// Kills after which a run is let through and looked at.
const LET_THROUGH: u64 = 10;

fn kills() -> u64 {
    std::env::var("BANKFEED_KILLS").map_or(40, |text| text.parse().expect("BANKFEED_KILLS is a number"))
}

/// The command tells the store that the owner has acted, because two processes that die in a row while the password is
/// on its way become the owner's task.
fn sync(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(["sync", "--json", "--retry"]);
    command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_any_moment_loses_and_doubles_nothing() {
    let (kills, started) = (kills(), Instant::now());
    let worlds = (0..WORLDS).map(|seed| tokio::spawn(die(seed, kills.div_ceil(WORLDS))));
    let mut struck = 0;
    for world in worlds.collect::<Vec<_>>() {
        struck += world.await.unwrap();
    }
    println!("killed {struck} of {} runs in {:.1?}", kills.div_ceil(WORLDS) * WORLDS, started.elapsed());
    assert!(struck * 2 >= kills, "most runs were killed before their end: {struck} of {kills}");
}

/// Kills this many runs in a world of its own; how many had not ended by themselves.
async fn die(seed: u64, kills: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = format!("\n{}\n{}", world.services.grid(), world.services.books());
    world.write_config();
    if Path::new("/dev/shm").is_dir() {
        world.dir = tempfile::tempdir_in("/dev/shm").unwrap();
        world.write_config();
    }
    let (mut struck, mut runs) = (0, 0);
    for round in 0..kills {
        happen(&world, &mut rng);
        struck += u64::from(kill_one(&world, &mut rng).await);
        runs += 1;
        if round % LET_THROUGH == LET_THROUGH - 1 || round + 1 == kills {
            let output = let_through(&world).await;
            runs += 1;
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "seed {seed}, round {round}: {told}");
            world.assert_delivered();
            assert_in_grid(&world);
            assert_in_books(&world);
        }
    }
    assert!(world.bank.login_attempts() <= runs, "{} sign-ins in {runs} runs", world.bank.login_attempts());
    struck
}

/// Checks that the table at NocoDB holds exactly the bank's entries.
fn assert_in_grid(world: &World) {
    let rows = world.nocodb.read(&world.grid, |base| base.table("Transactions").rows());
    let text = |row: &std::collections::BTreeMap<String, serde_json::Value>, title: &str| {
        row[title].as_str().unwrap().to_owned()
    };
    let amount = |text: String| format!("{:.2}", text.parse::<rust_decimal::Decimal>().unwrap());
    let mut found: Vec<_> = rows.iter().map(|row| (text(row, "Transaction ID"), amount(text(row, "Amount")))).collect();
    found.sort();
    assert_eq!(found, world.booked().into_iter().collect::<Vec<_>>(), "the table differs from the bank");
}

/// Checks that the books of Odoo hold exactly the bank's entries.
fn assert_in_books(world: &World) {
    let mut found: Vec<(String, String)> = world.odoo.edit(|books| {
        let id =
            |line: i64| books.external_id(line).unwrap_or_default().replace("bankfeed.tx_", "").replace("_3a", ":");
        books.lines.values().map(|line| (id(line.id), format!("{:.2}", line.amount))).collect()
    });
    found.sort();
    assert_eq!(found, world.booked().into_iter().collect::<Vec<_>>(), "the books differ from the bank");
}

/// Books new entries, often more than Airtable takes at once, and now and then corrects an older one.
fn happen(world: &World, rng: &mut fastrand::Rng) {
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        for _ in 0..[1, 1, 2, 14][rng.usize(..4)] {
            let number = bank.last_number() + 1;
            let (amount, counterparty) = (rust_decimal::Decimal::new(rng.i64(-900..900), 2), format!("ред {number}"));
            let entry =
                Entry { number, time: now, value_date: now.date_naive(), amount, counterparty, ..Entry::default() };
            bank.add(&iban, entry);
        }
        if rng.u8(..3) == 0
            && let Some(entry) = bank.customers[0].accounts[0].entries.last_mut()
        {
            entry.amount += rust_decimal::Decimal::ONE;
        }
    });
}

/// Starts a run and kills it; returns true if it was still running.
async fn kill_one(world: &World, rng: &mut fastrand::Rng) -> bool {
    world.clear_logs();
    let (server, most) = match rng.u8(..5) {
        0 => (&world.bank.server, 9),
        1 => (&world.google.server, 4),
        2 => (&world.airtable.server, 3),
        3 => (&world.odoo.server, 6),
        _ => (&world.nocodb.server, 4),
    };
    let request = rng.u32(..most);
    let by_time = rng.bool();
    if !by_time {
        // Applied, but the answer takes its time, so that the process dies waiting for it.
        server.fail("", request, 1, Fault::Slow(Duration::from_millis(40)));
    }
    let mut run = sync(world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    if by_time {
        tokio::time::sleep(Duration::from_micros(rng.u64(..180_000))).await;
    } else {
        until_asked(server, u64::from(request) + 1, &mut run).await;
        // A process dies before or after its request is applied.
        tokio::time::sleep(Duration::from_micros(rng.u64(..3_000))).await;
    }
    let running = run.try_wait().unwrap().is_none();
    run.kill().unwrap();
    tokio::task::spawn_blocking(move || run.wait().unwrap()).await.unwrap();
    server.heal();
    running
}

async fn until_asked(server: &Server, requests: u64, run: &mut Child) {
    while server.requests() < requests && run.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// A run to its end.
async fn let_through(world: &World) -> Output {
    let mut command = sync(world);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}
