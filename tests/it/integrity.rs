//! The store's integrity as the owner meets it: backups and recovery with the real binary, a damaged store, a full
//! disk.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bankfeed::simulator::fibank::{Bank, Entry};
use chrono::Utc;
use serde_json::Value;

use crate::rest::{rests, until};
use crate::world::World;

const BANKFEED: &str = env!("CARGO_BIN_EXE_bankfeed");

fn bankfeed(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(BANKFEED);
    command.arg("--config").arg(world.config_path()).args(arguments);
    command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn run(world: &World, arguments: &[&str]) -> Output {
    output(bankfeed(world, arguments)).await
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The one line on stderr.
fn line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Books rows today, each with this many bytes in its payload that no compression makes smaller.
fn book(world: &World, rows: u64, bytes: usize) {
    world.bank.edit(|bank| {
        for _ in 0..rows {
            let iban = bank.customers[0].accounts[0].iban.clone();
            let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
            let (number, amount) = (bank.last_number() + 1, rust_decimal::Decimal::new(-240, 2));
            let mut entry = Entry { number, time, value_date: time.date_naive(), amount, ..Entry::default() };
            if bytes > 0 {
                let ballast: String = std::iter::repeat_with(fastrand::alphanumeric).take(bytes).collect();
                entry.extra.insert("ballast".into(), ballast.into());
            }
            bank.add(&iban, entry);
        }
    });
}

/// A daemon that does not outlive its test, however that ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn daemon(world: &World, mut command: Command, answers: impl Fn() -> Command) -> Daemon {
    let daemon = Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let started = Instant::now();
    // A command that finds no daemon would open the store itself and stand in its way: ask only once it listens.
    while !output(answers()).await.status.success() {
        assert!(started.elapsed() < Duration::from_secs(30), "no daemon in {}", world.data_dir().display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon
}

async fn stop(mut daemon: Daemon) {
    Command::new("kill").arg("-TERM").arg(daemon.0.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.0.wait().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_beside_the_daemon_comes_back_and_nothing_is_doubled() {
    let world = World::new(Bank::small()).await;
    assert_eq!(status(&run(&world, &["sync"]).await), 0);
    let before = world.booked().len();
    let file = world.dir.path().join("all.bankfeed");
    let name = file.to_str().unwrap();
    let socket = world.data_dir().join("control.sock");
    let listening = || {
        let mut command = Command::new("test");
        command.arg("-S").arg(&socket);
        command
    };
    assert!(!socket.exists(), "the sync has taken its socket away");
    let running = daemon(&world, bankfeed(&world, &["run"]), listening).await;
    let made = run(&world, &["backup", name]).await;
    assert_eq!(status(&made), 0, "{made:?}");
    assert!(String::from_utf8_lossy(&made.stdout).starts_with(&format!("{before} transactions")), "{made:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let refused = run(&world, &["recover", name]).await;
    assert_eq!(status(&refused), 4);
    assert!(line(&refused).contains("stop it first"));
    stop(running).await;

    book(&world, 3, 0);
    assert_eq!(status(&run(&world, &["sync"]).await), 0);
    world.assert_delivered();
    let bytes = std::fs::read(&file).unwrap();
    let broken = world.dir.path().join("broken.bankfeed");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let refused = run(&world, &["recover", broken.to_str().unwrap()]).await;
    assert_eq!(status(&refused), 2);
    assert!(line(&refused).contains("damaged"));
    let recovered = run(&world, &["recover", name]).await;
    assert_eq!(status(&recovered), 0, "{recovered:?}");
    let said = String::from_utf8(recovered.stdout).unwrap();
    assert!(said.starts_with(&format!("{before} transactions are back")), "{said}");
    assert!(said.contains("store.damaged-") && said.contains("nothing arrives twice"), "{said}");
    book(&world, 1, 0);
    let synced = run(&world, &["sync", "--json"]).await;
    assert_eq!(status(&synced), 0, "{synced:?}");
    let report = report(&synced);
    assert_eq!(report["sources"][0]["new"], 4, "what was fetched since is fetched again");
    assert_eq!(report["destinations"][0]["appended"], 1, "what was delivered since is there: {report}");
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_sends_nothing_and_says_how_to_bring_the_kept_backup_back() {
    let world = World::new(Bank::small()).await;
    assert_eq!(status(&run(&world, &["sync"]).await), 0);
    let kept = world.data_dir().join("backups/last-good.bankfeed");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    world.clear_logs();
    let db = world.data_dir().join("store/db");
    let mut bytes = std::fs::read(&db).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // The tail is gone, and the index that would have told so: to sled this is a younger store.
    bytes[used / 2..].fill(0);
    std::fs::write(&db, bytes).unwrap();
    for entry in std::fs::read_dir(world.data_dir().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let asked = world.dir.path().join("asked.bankfeed");
    let mut told = String::new();
    for arguments in [
        &["status"][..],
        &["sync"],
        &["sync", "--json"],
        &["accounts"],
        &["transactions"],
        &["export", "--format", "csv"],
        &["check"],
        &["run"],
        &["backup", asked.to_str().unwrap()],
    ] {
        let refused = run(&world, arguments).await;
        assert_eq!(status(&refused), 4, "{arguments:?}: {refused:?}");
        told = line(&refused);
        assert!(told.contains("the store is damaged") && told.contains(kept.to_str().unwrap()), "{told}");
        assert!(refused.stdout.is_empty(), "{arguments:?}: {refused:?}");
    }
    assert!(!asked.exists() && !world.dir.path().join("asked.bankfeed.part").exists());
    for server in [&world.bank.server, &world.google.server, &world.airtable.server] {
        assert_eq!(server.requests(), 0);
    }
    // The very command it names.
    let command = told.split("back: bankfeed ").nth(1).unwrap();
    let mut recover = Command::new(BANKFEED);
    recover.args(command.split(' ')).env_remove("BANKFEED_CONFIG");
    let recovered = output(recover).await;
    assert_eq!(status(&recovered), 0, "{recovered:?}");
    book(&world, 1, 0);
    let synced = run(&world, &["sync"]).await;
    assert_eq!(status(&synced), 0, "{synced:?}");
    world.assert_delivered();
}

#[tokio::test]
async fn one_unreadable_transaction_is_named_and_stops_deliveries_but_not_the_other_commands() {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    let engine = world.engine();
    let number = engine.store.find(world.booked().keys().next().unwrap()).unwrap().unwrap();
    let (iban, date) = {
        let transaction = engine.store.transaction(number).unwrap();
        (transaction.account, transaction.row.date)
    };
    drop(engine);
    // A sled of the test's own damages the record, because the library has no way to.
    let path = world.data_dir().join("store");
    let db = until_open(&path).await;
    let key = [&b"t"[..], &number.to_be_bytes()].concat();
    let mut value = db.get(&key).unwrap().unwrap().to_vec();
    let last = value.len() - 1;
    value[last] ^= 0x10;
    db.insert(&key, value).unwrap();
    db.flush().unwrap();
    drop(db);
    world.clear_logs();
    book(&world, 1, 0);
    let refused = run(&world, &["sync"]).await;
    assert_eq!(status(&refused), 4, "{refused:?}");
    let told = line(&refused);
    assert!(told.contains(&format!("transaction number {number} of {iban} on {date} cannot be read")), "{told}");
    assert!(told.contains("recover"), "{told}");
    for server in [&world.bank.server, &world.google.server, &world.airtable.server] {
        assert_eq!(server.requests(), 0, "nothing is asked or sent");
    }
    for arguments in [&["status"][..], &["accounts"]] {
        assert_eq!(status(&run(&world, arguments).await), 0, "{arguments:?} does not need it");
    }
    let refused = run(&world, &["transactions"]).await;
    assert_eq!(status(&refused), 4);
    assert!(line(&refused).contains(&format!("transaction number {number}")));
}

/// sled gives its lock up in the background.
async fn until_open(path: &Path) -> sled::Db {
    for _ in 0..200 {
        if let Ok(db) = sled::Config::new().path(path).open() {
            return db;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never free")
}

/// A small disk over the data directory, seen only by commands that are run in it.
struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    /// `None`: this machine does not let its users mount.
    fn over(dir: &Path, size: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(dir).unwrap();
        let script = r#"mount -t tmpfs -o size="$1",mode=700 tmpfs "$0" && echo ready && read end"#;
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script])
            .arg(dir)
            .arg(size)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take()?).read_line(&mut said).ok()?;
        let disk = SmallDisk { holder };
        let works = said == "ready\n" && disk.within("true").status().is_ok_and(|status| status.success());
        works.then_some(disk)
    }

    fn within(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.holder.id()));
        command.args(["--user", "--mount", "--preserve-credentials", "--", program]);
        command
    }

    fn bankfeed(&self, world: &World, arguments: &[&str]) -> Command {
        let mut command = self.within(BANKFEED);
        command.arg("--config").arg(world.config_path()).args(arguments);
        command.env_remove("BANKFEED_CONFIG").env("NO_COLOR", "1");
        command
    }

    fn shell(&self, world: &World, script: &str) {
        let status = self.within("sh").args(["-c", script]).arg(world.data_dir()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{script}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_cycle_with_attention_and_nothing_is_lost_or_doubled() {
    let world = World::new(Bank::small()).await;
    let Some(disk) = SmallDisk::over(&world.data_dir(), "24m") else {
        eprintln!("skipped: this machine does not let its users mount a small disk");
        return;
    };
    assert_eq!(status(&output(disk.bankfeed(&world, &["sync"])).await), 0);
    // The socket of that command is no sign of a daemon.
    disk.shell(&world, r#"rm -f "$0/control.sock""#);
    let listening = || {
        let mut command = disk.within("test");
        command.arg("-S").arg(world.data_dir().join("control.sock"));
        command
    };
    let running = daemon(&world, disk.bankfeed(&world, &["run"]), listening).await;
    let synced = output(disk.bankfeed(&world, &["sync"])).await;
    assert_eq!(status(&synced), 0, "{synced:?}");
    for round in 0..2 {
        disk.shell(&world, r#"cat /dev/zero > "$0/ballast" || true"#);
        book(&world, 3, 60_000);
        world.clear_logs();
        let full = output(disk.bankfeed(&world, &["sync", "--json"])).await;
        assert_eq!(status(&full), 3, "{full:?}");
        let report = report(&full);
        for part in [&report["sources"][0], &report["destinations"][0], &report["destinations"][1]] {
            assert_eq!(part["outcome"], "attention", "{report}");
            assert!(part["error"].as_str().unwrap().contains("full"), "{report}");
        }
        assert_eq!(world.bank.server.requests(), 0, "what cannot be noted is not begun");
        let again = output(disk.bankfeed(&world, &["sync"])).await;
        assert_eq!(status(&again), 3, "{again:?}");
        disk.shell(&world, r#"rm "$0/ballast""#);
        let freed = output(disk.bankfeed(&world, &["sync", "--json"])).await;
        assert_eq!(status(&freed), 0, "round {round}: {freed:?}");
        world.assert_delivered();
    }
    // At rest the daemon has no store; it wakes up on a full disk, says so, and goes on when there is room.
    until("the daemon rests", || rests(running.0.id())).await;
    disk.shell(&world, r#"cat /dev/zero > "$0/ballast" || true"#);
    book(&world, 3, 0);
    for _ in 0..2 {
        let full = output(disk.bankfeed(&world, &["sync"])).await;
        assert_eq!(status(&full), 3, "{full:?}");
        assert!(String::from_utf8_lossy(&full.stderr).contains("is full"), "{full:?}");
    }
    disk.shell(&world, r#"rm "$0/ballast""#);
    assert_eq!(status(&output(disk.bankfeed(&world, &["sync"])).await), 0);
    world.assert_delivered();
    stop(running).await;
    // With no daemon the store cannot even be opened on a full disk; that is no damage.
    disk.shell(&world, r#"cat /dev/zero > "$0/ballast" || true"#);
    book(&world, 2, 0);
    for _ in 0..3 {
        let full = output(disk.bankfeed(&world, &["sync"])).await;
        assert_eq!(status(&full), 3, "{full:?}");
        let said = format!("{}{}", String::from_utf8_lossy(&full.stdout), String::from_utf8_lossy(&full.stderr));
        assert!(said.contains("the disk that holds the store is full"), "{said}");
    }
    disk.shell(&world, r#"rm "$0/ballast""#);
    assert_eq!(status(&output(disk.bankfeed(&world, &["sync"])).await), 0);
    world.assert_delivered();
}

/// Files written by the first release, never edited: every later release can read them.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_releases_store_and_backup_are_read_by_this_one() {
    let world = World::new(Bank::small()).await;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let expected = std::fs::read_to_string(data.join("store-v1.jsonl")).unwrap();
    std::fs::create_dir_all(world.data_dir()).unwrap();
    let store = world.data_dir().join("store");
    let copied = Command::new("cp").arg("-r").arg(data.join("store-v1/.")).arg(world.data_dir()).status().unwrap();
    assert!(copied.success());
    // No version control keeps an empty folder.
    std::fs::create_dir(store.join("blobs")).unwrap();
    let told = run(&world, &["status", "--json"]).await;
    assert_eq!(status(&told), 0, "{told:?}");
    assert_eq!(report(&told)["accounts"].as_array().unwrap().len(), 2);
    assert!(report(&told)["accounts"].as_array().unwrap().iter().all(|account| account["complete"] == true));
    // Later releases add keys and change no value.
    let as_then = |exported: Vec<u8>| String::from_utf8(exported).unwrap().replace("\"transfer\":null,", "");
    let exported = run(&world, &["export", "--format", "jsonl"]).await;
    assert_eq!(as_then(exported.stdout), expected);

    std::fs::remove_dir_all(world.data_dir()).unwrap();
    let recovered = run(&world, &["recover", data.join("store-v1.bankfeed").to_str().unwrap()]).await;
    assert_eq!(status(&recovered), 0, "{recovered:?}");
    let exported = run(&world, &["export", "--format", "jsonl"]).await;
    assert_eq!(as_then(exported.stdout), expected);
    // The recovered store works.
    assert_eq!(status(&run(&world, &["sync"]).await), 0);
}
