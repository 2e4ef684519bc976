//! `kill -9` of the program, and of the server under it, again and again, at any moment of a cycle; afterwards no row is
//! lost or doubled. The server writes durably here.
//!
//! `BANKFEED_DATABASE_KILLS` sets the number of kills; without it a dozen.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bankfeed::simulator::fibank::{Bank, Entry};

use super::{Postgres, Proxy};
use crate::world::World;

/// Kills after which a run is let through and looked at.
const LET_THROUGH: u64 = 5;

fn sync(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path());
    command.args(["sync", "--json", "--retry", "--destination", "warehouse"]);
    command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
    command
}

#[cfg_attr(not(has_postgres), ignore = "no PostgreSQL on this machine: apt-get install postgresql")]
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_program_and_of_the_server_lose_and_double_nothing() {
    let kills: u64 = std::env::var("BANKFEED_DATABASE_KILLS").map_or(12, |text| text.parse().unwrap());
    let (started, mut rng) = (Instant::now(), fastrand::Rng::with_seed(7));
    let server = Postgres::start("");
    let mut world = World::new(Bank::small()).await;
    if Path::new("/dev/shm").is_dir() {
        world.dir = tempfile::tempdir_in("/dev/shm").unwrap();
    }
    let door = Proxy::open(server.port).await;
    super::attach(&mut world, &door, &server.url(door.port), "public", "");
    let mut struck = 0;
    for round in 0..kills {
        happen(&world, &mut rng);
        struck += u64::from(kill_one(&world, &server, &mut rng).await);
        if round % LET_THROUGH == LET_THROUGH - 1 || round + 1 == kills {
            let mut command = sync(&world);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "round {round}: {told}");
            let rows = server.sql("SELECT id, amount::numeric(20,2) FROM transactions ORDER BY id");
            let rows: Vec<(String, String)> = rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
            assert_eq!(rows, world.booked().into_iter().collect::<Vec<_>>(), "round {round}");
        }
    }
    println!("database: killed {struck} of {kills} runs or servers in {:.1?}", started.elapsed());
    assert!(struck * 2 >= kills, "most kills came before the end of a run: {struck} of {kills}");
}

fn happen(world: &World, rng: &mut fastrand::Rng) {
    let now = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        for _ in 0..[1, 2, 14, 60][rng.usize(..4)] {
            let number = bank.last_number() + 1;
            let (amount, counterparty) = (rust_decimal::Decimal::new(rng.i64(-900..900), 2), format!("ред {number}"));
            let entry =
                Entry { number, time: now, value_date: now.date_naive(), amount, counterparty, ..Entry::default() };
            bank.add(&iban, entry);
        }
        if rng.bool()
            && let Some(entry) = bank.customers[0].accounts[0].entries.last_mut()
        {
            entry.amount += rust_decimal::Decimal::ONE;
        }
    });
}

/// Starts a run, and kills it or its server once it is at the server; true if the run was not over.
async fn kill_one(world: &World, server: &Postgres, rng: &mut fastrand::Rng) -> bool {
    world.clear_logs();
    door_of(world).clear_log();
    let (at, is_server) = (rng.u64(1..14), rng.u8(..3) == 0);
    let mut run = sync(world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while door_of(world).requests() < at && run.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    tokio::time::sleep(Duration::from_micros(rng.u64(..2_000))).await;
    let running = run.try_wait().unwrap().is_none();
    if is_server {
        // By the signal, or as a machine that is switched off.
        if rng.bool() {
            server.kill()
        } else {
            server.stop_at_once()
        }
        server.launch();
        if rng.bool() {
            tokio::time::sleep(Duration::from_millis(rng.u64(..400))).await;
        }
    }
    let _ = run.kill();
    tokio::task::spawn_blocking(move || run.wait().unwrap()).await.unwrap();
    running
}

fn door_of(world: &World) -> std::sync::Arc<Proxy> {
    super::door(world)
}
