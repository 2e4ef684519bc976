//! The daemon's log over several cycles, as the journal and as a file get it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};

use bankfeed::simulator::fibank::{Bank, Door};

use crate::cli::run;
use crate::world::World;

async fn daemon(world: &World, log: &std::path::Path, journal: bool) -> Child {
    let file = File::create(log).unwrap();
    let stream = file.metadata().map(|stat| format!("{}:{}", stat.dev(), stat.ino() + u64::from(!journal))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.arg("--config").arg(world.config_path()).arg("run").stderr(file).env("JOURNAL_STREAM", stream);
    let child = command.spawn().unwrap();
    while !world.data_dir().join("control.sock").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child
}

async fn stop(mut daemon: Child) {
    Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status().unwrap();
    tokio::task::spawn_blocking(move || daemon.wait().unwrap()).await.unwrap();
}

/// The log with the durations taken out.
fn read(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| match line.split_once(" done in ") {
            Some((head, tail)) => format!("{head} done:{}", tail.split_once(':').unwrap().1),
            None => line.to_owned(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_is_one_line_and_a_problem_is_said_once() {
    let world = World::new(Bank::small()).await;
    let log = world.dir.path().join("log");
    let running = daemon(&world, &log, true).await;
    for (door, status) in
        [(Door::Open, 0), (Door::Open, 0), (Door::Locked, 3), (Door::Locked, 3), (Door::Open, 0), (Door::Open, 0)]
    {
        world.bank.edit(|bank| bank.door = door);
        assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(status));
    }
    stop(running).await;
    let lines = read(&log);
    let needs_you: Vec<&String> = lines.iter().filter(|line| line.starts_with("<3>")).collect();
    assert!(needs_you.len() == 1 && needs_you[0].starts_with("<3>needs you: fibank: "), "{lines:#?}");
    let usual = |line: &&String| !line.starts_with("<3>") && !line.contains("making table");
    let others: Vec<&str> = lines.iter().filter(usual).map(String::as_str).collect();
    assert_eq!(
        others,
        [
            "<6>ready, no scheduled run",
            "<6>cycle done: fibank 12 new; household 12 added; base 12 added",
            "<6>cycle done: nothing new",
            "<6>cycle done: fibank needs you",
            "<6>cycle done: fibank needs you",
            "<6>cycle done: nothing new",
            "<6>source `fibank` is well again",
            "<6>cycle done: nothing new",
            "<6>stopping",
        ]
    );
}

/// A line of a redirected stderr has a time and no priority, colour only on a terminal, and never a secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_times_and_no_priorities() {
    let world = World::new(Bank::small()).await;
    let log = world.dir.path().join("log");
    let running = daemon(&world, &log, false).await;
    run(&world, &["sync"]).await;
    world.bank.edit(|bank| bank.door = Door::Unknown("<h1>Ред\u{1b}[31m едно</h1>".into()));
    run(&world, &["sync"]).await;
    stop(running).await;
    let text = std::fs::read_to_string(&log).unwrap();
    for line in text.lines() {
        let (time, rest) = line.split_at(19);
        assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok(), "{line}");
        assert!(["  INFO ", " ERROR "].iter().any(|word| rest.starts_with(word)), "{line}");
    }
    assert!(text.contains("needs you: fibank: ") && !text.contains('\u{1b}') && !text.contains('<'), "{text}");
    let password = world.bank.edit(|bank| bank.password.clone());
    assert!(!text.contains(&password) && !text.contains(&world.airtable.token()), "{text}");
}
