//! A daemon with nothing to do: its size, the events that wake it, and that no client notices.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use bankfeed::simulator::fibank::{Bank, Door};

use crate::cli::{json, run};
use crate::world::World;

/// A daemon whose log goes to a file.
pub struct Daemon {
    pub process: Child,
    log: std::path::PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Daemon {
    pub async fn start(world: &World) -> Daemon {
        Daemon::start_with(world, &[]).await
    }

    /// [`Daemon::start`] with these variables in its environment.
    pub async fn start_with(world: &World, variables: &[(&str, &str)]) -> Daemon {
        let log = world.dir.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
        command.arg("--config").arg(world.config_path()).arg("run").env("NO_COLOR", "1");
        command.envs(variables.iter().copied());
        let daemon = Daemon { process: command.stderr(File::create(&log).unwrap()).spawn().unwrap(), log };
        until("the daemon is ready", || daemon.said().contains("ready")).await;
        daemon
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn about(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.process.id().to_string()).status().unwrap();
        assert!(sent.success(), "{signal}");
    }

    /// Stops it in good order, and returns the last thing it says.
    pub async fn stop(mut self) -> String {
        self.signal("TERM");
        let ended = tokio::task::spawn_blocking(move || (self.process.wait().unwrap(), self.said())).await.unwrap();
        assert_eq!(ended.0.code(), Some(0), "{ended:?}");
        ended.1.lines().last().unwrap_or_default().split_whitespace().last().unwrap_or_default().to_owned()
    }

    pub async fn fall_asleep(&self) {
        until("the daemon rests", || rests(self.process.id())).await;
    }

    /// Asks for the page as a browser would.
    fn health(address: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        std::io::read_to_string(stream).unwrap()
    }
}

/// True if the process has one thread and no file of the store open, and reads the stop signal.
pub fn rests(process: u32) -> bool {
    let folder = |name: &str| std::fs::read_dir(format!("/proc/{process}/{name}")).unwrap().flatten();
    let mut open = folder("fd").filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let reads = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let held = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned();
        u64::from_str_radix(&held, 16).unwrap() & (1 << 14) != 0
    };
    folder("task").count() == 1 && reads() && !open.any(|file| file.to_string_lossy().contains("/store/"))
}

pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never happened that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Commands and browsers wake the daemon; it is the same process under the same name, repeats no message, and ignores a
/// changed configuration file before a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_resting_daemon_answers_as_if_it_were_awake() {
    let mut world = World::new(Bank::small()).await;
    world.extra[2] = "[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"a-token-that-opens-everything\"\n".into();
    world.write_config();
    let daemon = Daemon::start(&world).await;
    let address = daemon.said().split("the page is at http://").nth(1).unwrap().lines().next().unwrap().to_owned();
    let named = (daemon.about("comm"), daemon.about("cmdline"));
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.bank.edit(|bank| bank.door = Door::Locked);
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    daemon.fall_asleep().await;
    until("it has its name", || (daemon.about("comm"), daemon.about("cmdline")) == named).await;
    let asked = address.clone();
    let answer = tokio::task::spawn_blocking(move || Daemon::health(&asked)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    std::fs::write(world.config_path(), std::fs::read_to_string(world.config_path()).unwrap() + "\n# changed\n")
        .unwrap();
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    let (status, standing) = json(&world, &["status", "--json"]).await;
    assert!(status == 0 && standing["daemon"] == true, "{standing}");
    let said = daemon.said();
    assert_eq!(said.matches("needs you: ").count(), 1, "{said}");
    assert_eq!(said.matches("ready").count(), 1, "{said}");
    world.assert_delivered();
    daemon.fall_asleep().await;
    assert_eq!(daemon.stop().await, "stopping");
}

/// The schedule wakes the daemon; a daemon killed at rest leaves no file that keeps the next one from starting.
#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_wakes_a_resting_daemon() {
    let world = World::new(Bank::small()).await;
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), format!("schedule = \"*/15 * * * * *\"\n{text}")).unwrap();
    let mut daemon = Daemon::start(&world).await;
    daemon.fall_asleep().await;
    let cycles = || daemon.said().matches("cycle done").count();
    let before = cycles();
    until("a cycle is done", || cycles() > before).await;
    world.assert_delivered();
    daemon.process.kill().unwrap();
    let world = tokio::task::spawn_blocking(move || daemon.process.wait().map(|_| world).unwrap()).await.unwrap();
    let again = Daemon::start(&world).await;
    assert!(!again.said().contains("another"), "{}", again.said());
}
