//! The process as the machine sees it: signals, the control socket, files that others could read, threads that cannot
//! be had, questions without end.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bankfeed::remote::Backoff;
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use bankfeed::sync::{Engine, Outcome, Request, Watcher};
use rust_decimal::Decimal;

use crate::cli::{bankfeed, json, run};
use crate::rest::{Daemon, until};
use crate::world::World;

/// Signals without a meaning for the daemon, the real-time ones among them.
const STRAY: [&str; 19] = [
    "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XCPU", "XFSZ", "WINCH", "URG", "TTIN",
    "TTOU", "CHLD", "CONT", "40", "64",
];

fn kill(process: &Child, signal: &str) {
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(process.id().to_string()).status().unwrap().success());
}

/// A new row at the bank.
fn book(world: &World) {
    let time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    world.bank.edit(|bank| {
        let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
        let (value_date, amount) = (time.date_naive(), Decimal::new(-420, 2));
        let counterparty = "ПЕКАРНА".to_owned();
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
    });
}

async fn end(mut process: Child) -> ExitStatus {
    tokio::task::spawn_blocking(move || process.wait().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stray_signals_do_no_harm_awake_or_at_rest_or_on_the_way() {
    let world = World::new(Bank::small()).await;
    let mut daemon = Daemon::start(&world).await;
    STRAY.iter().for_each(|signal| daemon.signal(signal));
    daemon.fall_asleep().await;
    STRAY.iter().for_each(|signal| daemon.signal(signal));
    daemon.signal("TSTP");
    // The daemon changes from one program to the next and back, under signals all the way.
    for _ in 0..2 {
        let status = run(&world, &["status"]).await;
        assert_eq!(status.status.code(), Some(0));
        let tasks = format!("/proc/{}/task", daemon.process.id());
        until("it rests under signals", || {
            ["HUP", "USR1", "40"].iter().for_each(|signal| daemon.signal(signal));
            assert!(daemon.process.try_wait().unwrap().is_none(), "{}", daemon.said());
            fs::read_dir(&tasks).unwrap().count() == 1 || daemon.said().matches("reloaded").count() > 20
        })
        .await;
    }
    assert_eq!(json(&world, &["status", "--json"]).await.1["daemon"], true);
    assert_eq!(daemon.stop().await, "stopping");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_starts_loses_no_signal() {
    let world = World::new(Bank::small()).await;
    for signal in ["HUP", "USR1", "TERM"] {
        let log = fs::File::create(world.dir.path().join("log")).unwrap();
        let daemon = bankfeed(&world, &["run"]).stderr(log).spawn().unwrap();
        let status = format!("/proc/{}/status", daemon.id());
        // Signals wait from the program's first lines on.
        until("signals wait", || fs::read_to_string(&status).unwrap().contains("SigBlk:\tf")).await;
        kill(&daemon, signal);
        if signal != "TERM" {
            until("it is ready", || world.data_dir().join("control.sock").exists()).await;
            assert_eq!(json(&world, &["status", "--json"]).await.1["daemon"], true, "{signal}");
            kill(&daemon, "TERM");
        }
        assert_eq!(end(daemon).await.code(), Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_socket_goes_with_its_owner_however_that_ends() {
    let world = World::new(Bank::small()).await;
    let socket = world.data_dir().join("control.sock");
    for arguments in [&["status"][..], &["sync"], &["export", "--format", "csv"], &["sql", "SELECT 1"]] {
        assert_eq!(run(&world, arguments).await.status.code(), Some(0), "{arguments:?}");
        assert!(!socket.exists(), "{arguments:?}");
    }
    world.google.server.fail("", 0, u32::MAX, Fault::Hang);
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        world.google.server.clear_log();
        book(&world);
        let sync = bankfeed(&world, &["sync"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("a request hangs", || world.google.server.requests() > 0).await;
        assert!(socket.exists());
        kill(&sync, signal);
        assert_eq!(end(sync).await.code(), Some(1), "{signal}");
        assert!(!socket.exists(), "{signal}");
    }
    world.google.server.heal();
    let awake = Daemon::start(&world).await;
    assert!(socket.exists());
    awake.stop().await;
    assert!(!socket.exists(), "awake");
    let resting = Daemon::start(&world).await;
    resting.fall_asleep().await;
    assert!(socket.exists());
    resting.stop().await;
    assert!(!socket.exists(), "at rest");
    let text = fs::read_to_string(world.config_path()).unwrap();
    fs::write(
        world.config_path(),
        format!("{text}\n[http]\nlisten = \"192.0.2.1:8350\"\ntoken = \"a-long-enough-token\"\n"),
    )
    .unwrap();
    assert_ne!(run(&world, &["run"]).await.status.code(), Some(0));
    assert!(!socket.exists(), "a daemon that cannot start");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_data_directory_is_for_others() {
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = "[http]\nlisten = \"127.0.0.1:0\"\n".into();
    world.write_config();
    // An owner's own directory, a careless umask.
    fs::create_dir(world.data_dir()).unwrap();
    fs::set_permissions(world.data_dir(), Permissions::from_mode(0o755)).unwrap();
    let careless = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_bankfeed"), "--config"]);
        command.arg(world.config_path()).args(arguments).stderr(Stdio::null()).stdout(Stdio::null());
        command
    };
    let mut daemon = careless(&["run"]).spawn().unwrap();
    until("it is ready", || world.data_dir().join("http-token").exists()).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    let closed = || {
        let mut open = vec![world.data_dir()];
        while let Some(path) = open.pop() {
            assert_eq!(mode(&path) & 0o077, 0, "{}: {:o}", path.display(), mode(&path));
            if path.is_dir() {
                open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    };
    closed();
    assert_eq!(mode(&world.data_dir().join("control.sock")), 0o600);
    kill(&daemon, "TERM");
    assert!(tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap().success());
    // The files have the modes that an earlier release left.
    for path in ["", "lock", "http-token", "FORMAT", "store", "store/db", "backups/last-good.bankfeed"] {
        let path = world.data_dir().join(path);
        fs::set_permissions(&path, Permissions::from_mode(if path.is_dir() { 0o777 } else { 0o666 })).unwrap();
    }
    let status = run(&world, &["status"]).await;
    assert_eq!((status.status.code(), status.stderr.len()), (Some(0), 0));
    closed();
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_cannot_be_had_are_one_line() {
    let world = World::new(Bank::small()).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    // No machine has room for a stack of that size: as if the limit of processes were reached.
    for arguments in [&["status"][..], &["sync"], &["sql", "SELECT 1"], &["backup", "/dev/null"], &["run"]] {
        let mut command = bankfeed(&world, arguments);
        command.env("RUST_MIN_STACK", (1_u64 << 46).to_string());
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("no more threads can be started") && said.contains("TasksMax="), "{arguments:?}: {said}");
        assert_eq!((said.lines().count(), ended.status.signal()), (1, None), "{arguments:?}: {said}");
        assert!(ended.status.code().is_some_and(|status| status != 0), "{arguments:?}");
    }
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_end_ends_on_ctrl_c_with_and_without_a_daemon() {
    const ENDLESS: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c";
    let world = World::new(Bank::small()).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    for beside in [false, true] {
        let daemon = if beside { Some(Daemon::start(&world).await) } else { None };
        for signal in ["INT", "TERM"] {
            let asking = bankfeed(&world, &["sql", ENDLESS]).stdout(Stdio::null()).spawn().unwrap();
            let stat = format!("/proc/{}/stat", asking.id());
            let worked = || {
                let text = fs::read_to_string(&stat).unwrap();
                text.rsplit(") ").next().unwrap().split(' ').nth(11).unwrap().parse::<u64>().unwrap()
            };
            until("it works at the question", || worked() > 60).await;
            kill(&asking, signal);
            let asked = Instant::now();
            let ended = end(asking).await;
            assert!(
                ended.signal().is_some() && asked.elapsed() < Duration::from_secs(5),
                "{beside} {signal}: {ended:?}"
            );
        }
        if let Some(daemon) = daemon {
            daemon.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_too_large_names_the_limit() {
    let world = World::new(Bank::small()).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    const COUNT: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000)";
    for (question, limit) in [
        ("SELECT zeroblob(1000000000)".to_owned(), "16 MiB"),
        ("SELECT zeroblob(9000000), zeroblob(9000000)".into(), "16 MiB"),
        (format!("{COUNT} SELECT group_concat('abcdefghijklmnopqrstuvwxyz', x) FROM c"), "16 MiB"),
        ("SELECT printf('%900000000s', 'x')".into(), "16 MiB"),
        (format!("{COUNT} SELECT x, hex(zeroblob(500)) AS y FROM c ORDER BY y, x DESC"), "256 MiB"),
        (format!("{COUNT} SELECT a.x FROM c AS a, c AS b"), "64 MiB"),
    ] {
        let ended = run(&world, &["sql", &question]).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains(limit) && said.contains("limit"), "{question}: {said}");
        assert_eq!(
            (ended.status.code(), said.lines().count(), ended.stdout.len()),
            (Some(2), 1, 0),
            "{question}: {said}"
        );
    }
    assert_eq!(json(&world, &["sql", "SELECT 1 AS a", "--format", "json"]).await.0, 0);
}

/// A destination that hangs, in every possible way.
#[tokio::test]
async fn a_destination_that_hangs_holds_nobody_up_and_gets_its_rows_later() {
    for fault in [Fault::Hang, Fault::Slow(Duration::from_secs(600)), Fault::StatusRetryAfter(429, String::new(), 60)] {
        let world = World::new(Bank::small()).await;
        world.airtable.server.fail("", 0, u32::MAX, fault.clone());
        let engine =
            Engine { backoff: Backoff { silence: Duration::from_millis(300), ..Backoff::default() }, ..world.engine() };
        let nobody: Watcher = std::sync::Arc::new(|_| {});
        let report = engine.cycle(&Request::default(), &nobody).await.unwrap();
        drop(engine);
        let [sheet, base] = &report.destinations[..] else { panic!("{report:?}") };
        assert_eq!((sheet.outcome, sheet.waiting), (Outcome::Ok, 0), "{fault:?}");
        let why = base.error.as_deref().unwrap_or_default();
        assert!(
            base.outcome == Outcome::Failed && why.contains("no good answer") && base.waiting > 0,
            "{fault:?}: {why}"
        );
        world.airtable.server.heal();
        assert_eq!(world.cycle().await.exit_status(), 0);
        world.assert_delivered();
    }
}

/// A write that hangs may have been applied: the cycle that gives it up leaves it to be settled before any other write.
#[tokio::test]
async fn a_write_that_is_given_up_is_settled_before_the_next() {
    let world = World::new(Bank::small()).await;
    assert_eq!(world.cycle().await.exit_status(), 0);
    book(&world);
    world.google.server.fail(":batchUpdate", 0, 1, Fault::Slow(Duration::from_secs(600)));
    world.airtable.server.fail("PATCH", 0, 1, Fault::Slow(Duration::from_secs(600)));
    let backoff = Backoff { silence: Duration::from_millis(300), ..Backoff::default() };
    let engine = Engine { backoff, ..world.engine() };
    let nobody: Watcher = std::sync::Arc::new(|_| {});
    let report = engine.cycle(&Request::default(), &nobody).await.unwrap();
    drop(engine);
    let failed = report.destinations.iter().filter(|to| to.outcome == Outcome::Failed).count();
    assert_eq!(failed, 2, "{report:?}");
    assert_eq!(world.cycle().await.exit_status(), 0);
    world.assert_delivered();
}
