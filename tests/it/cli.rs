//! The real binary: exit codes, JSON, a daemon with commands beside it, SIGTERM, and no secret anywhere.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use serde_json::Value;

use crate::world::{World, write_private};

pub fn bankfeed(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).args(arguments);
    command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
    command
}

/// Runs a command to its end without blocking the simulators.
pub async fn run(world: &World, arguments: &[&str]) -> Output {
    let mut command = bankfeed(world, arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A daemon that answers commands; killed if a test forgets it.
pub struct Daemon(std::process::Child);

impl Daemon {
    pub async fn start(world: &World) -> Daemon {
        let daemon = Daemon(bankfeed(world, &["run"]).stderr(Stdio::null()).spawn().unwrap());
        until(async || world.data_dir().join("control.sock").exists().then_some(())).await;
        daemon
    }

    pub async fn stop(mut self) {
        Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap();
        tokio::task::spawn_blocking(move || self.0.wait().unwrap()).await.unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

pub async fn json(world: &World, arguments: &[&str]) -> (i32, Value) {
    let output = run(world, arguments).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), value)
}

async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it never happened");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every file below a directory, in one heap of bytes.
fn heap(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes.extend(heap(&path));
        } else if path.is_file() {
            bytes.extend(std::fs::read(&path).unwrap());
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_the_contract_says() {
    let world = World::new(Bank::small()).await;
    let (status, report) = json(&world, &["sync", "--json"]).await;
    assert_eq!(status, 0, "{report}");
    let booked = world.booked();
    assert_eq!(report["sources"][0]["name"], "fibank");
    assert_eq!(report["sources"][0]["outcome"], "ok");
    assert_eq!(report["sources"][0]["new"], booked.len());
    assert_eq!(report["destinations"][0]["appended"], booked.len());
    assert_eq!(report["destinations"][0]["requests"], world.google.server.requests());
    world.assert_delivered();

    let (_, transactions) = json(&world, &["transactions", "--json"]).await;
    let listed: Vec<(String, String)> = transactions
        .as_array()
        .unwrap()
        .iter()
        .map(|transaction| {
            assert!(transaction["raw"].is_object() && transaction["time"].as_str().unwrap().contains('T'));
            (transaction["id"].as_str().unwrap().to_owned(), transaction["amount"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(listed.len(), booked.len());
    for (id, amount) in listed {
        let amount: rust_decimal::Decimal = amount.parse().unwrap();
        assert_eq!(format!("{amount:.2}"), booked[&id]);
    }
    let (_, latest) = json(&world, &["transactions", "--json", "--limit", "2"]).await;
    assert_eq!(latest.as_array().unwrap()[..], transactions.as_array().unwrap()[booked.len() - 2..]);
    let (_, none) = json(&world, &["transactions", "--json", "--search", "никъде го няма"]).await;
    assert_eq!(none, Value::Array(Vec::new()));

    let (_, accounts) = json(&world, &["accounts", "--json"]).await;
    let ibans: Vec<String> =
        world.bank.edit(|bank| bank.customers.iter().flat_map(|c| c.accounts.iter().map(|a| a.iban.clone())).collect());
    assert_eq!(accounts.as_array().unwrap().len(), ibans.len());

    let (_, state) = json(&world, &["status", "--json"]).await;
    assert_eq!(state["daemon"], false);
    assert_eq!(state["accounts"][0]["complete"], true);
    assert_eq!(state["destinations"][0]["waiting"], 0);
    assert_eq!(state["destinations"][1]["attention"], Value::Null);

    let csv = String::from_utf8(run(&world, &["export", "--format", "csv"]).await.stdout).unwrap();
    assert!(csv.starts_with("id,source,account,account_name,customer,time,date,"), "{csv}");
    let file = world.dir.path().join("out.jsonl");
    run(&world, &["export", "--format", "jsonl", "--output", file.to_str().unwrap()]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), booked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_usage_and_bad_stores_have_their_own_status() {
    let world = World::new(Bank::small()).await;
    assert_eq!(run(&world, &["sync", "--frobnicate"]).await.status.code(), Some(2));
    let unknown = run(&world, &["sync", "--destination", "nowhere"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("household"), "it names what there is");
    assert_eq!(world.bank.login_attempts(), 0);
    std::fs::create_dir_all(world.data_dir()).unwrap();
    std::fs::write(world.data_dir().join("FORMAT"), "bankfeed store 9\n").unwrap();
    let foreign = run(&world, &["status"]).await;
    assert_eq!(foreign.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&foreign.stderr).lines().count(), 1);
    write_private(&world.config_path(), "data_dir = 7\n");
    let broken = run(&world, &["status"]).await;
    assert_eq!(broken.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&broken.stderr).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_beside_the_daemon_and_it_stops_quickly() {
    let world = World::new(Bank::small()).await;
    let mut daemon = bankfeed(&world, &["run"]).stderr(Stdio::piped()).spawn().unwrap();
    until(async || world.data_dir().join("control.sock").exists().then_some(())).await;
    let (status, report) = json(&world, &["sync", "--json"]).await;
    assert_eq!(status, 0, "{report}");
    let (_, state) = json(&world, &["status", "--json"]).await;
    assert_eq!(state["daemon"], true);
    let (_, transactions) = json(&world, &["transactions", "--json"]).await;
    assert_eq!(transactions.as_array().unwrap().len(), world.booked().len());
    let (status, verified) = json(&world, &["verify", "--json"]).await;
    assert_eq!(status, 0, "{verified}");
    assert_eq!(run(&world, &["restore", "household", "fibank:X:1"]).await.status.code(), Some(2));
    let second = run(&world, &["run"]).await;
    assert_eq!(second.status.code(), Some(4), "two daemons never share a store");
    world.assert_delivered();
    let asked = Instant::now();
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_does_not_keep_the_daemon_from_stopping() {
    let world = World::new(Bank::small()).await;
    world.google.server.fail("", 0, u32::MAX, Fault::Hang);
    let mut sync = bankfeed(&world, &["sync"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(async || (world.google.server.requests() > 0).then_some(())).await;
    Command::new("kill").arg("-TERM").arg(sync.id().to_string()).status().unwrap();
    let asked = Instant::now();
    let ended = tokio::task::spawn_blocking(move || sync.wait().unwrap()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    assert_eq!(ended.code(), Some(1));
    world.google.server.heal();
    let (status, _) = json(&world, &["sync", "--json"]).await;
    assert_eq!(status, 0);
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_appears_in_any_output_or_in_the_data_directory() {
    let world = World::new(Bank::small()).await;
    let password = "тайна-Парола-4711";
    world.bank.edit(|bank| bank.password = password.into());
    world.write_config();
    let token = world.airtable.token();
    let key = world.google.service_account_key();
    let key: Value = serde_json::from_str(&key).unwrap();
    let key_line = key["private_key"].as_str().unwrap().lines().nth(3).unwrap().to_owned();
    let mut outputs = Vec::new();
    for (fault, arguments) in [
        (None, &["sync"][..]),
        (None, &["check"][..]),
        (None, &["status"][..]),
        (
            Some(Fault::Status(401, r#"{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}"#.into())),
            &["sync"][..],
        ),
        (Some(Fault::Status(500, "<html>oops</html>".into())), &["check"][..]),
        (Some(Fault::Drop), &["sync", "--json"][..]),
    ] {
        for server in [&world.google.server, &world.airtable.server, &world.bank.server] {
            server.heal();
            fault.iter().for_each(|fault| server.fail("", 0, u32::MAX, fault.clone()));
        }
        world.bank.server.heal();
        let number = world.bank.edit(|bank| bank.last_number() + 1);
        world.bank.edit(|bank| {
            let iban = bank.customers[0].accounts[0].iban.clone();
            let mut entry = bank.customers[0].accounts[0].entries.last().unwrap().clone();
            entry.number = number;
            bank.add(&iban, entry);
        });
        let mut command = bankfeed(&world, arguments);
        command.env("RUST_LOG", "trace");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        outputs.extend(output.stdout);
        outputs.extend(output.stderr);
    }
    assert!(!outputs.is_empty());
    for (what, bytes) in [("output", outputs), ("data directory", heap(&world.data_dir()))] {
        let text = String::from_utf8_lossy(&bytes);
        for secret in [password, token.as_str(), key_line.as_str()] {
            assert!(!text.contains(secret), "a secret is in the {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_come_at_once_take_turns() {
    let world = World::new(Bank::small()).await;
    let together = (0..6).map(|at| {
        let arguments: &[&str] = if at % 2 == 0 { &["sync"] } else { &["status"] };
        run(&world, arguments)
    });
    for ended in futures_util::future::join_all(together).await {
        assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    world.assert_delivered();
}
