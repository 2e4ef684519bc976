//! SIGHUP: another configuration while the daemon runs. A good one counts at once, an invalid one changes nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door};

use crate::cli::{json, run};
use crate::rest::{Daemon, until};
use crate::world::World;

fn rewrite(world: &World, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), change(text)).unwrap();
}

fn scheduled(world: &World, schedule: &str) {
    world.write_config();
    rewrite(world, |text| format!("schedule = \"{schedule}\"\n{text}"));
}

/// Sends SIGHUP and waits until that was answered, one way or the other.
async fn reload(daemon: &Daemon) -> String {
    let said =
        || daemon.said().lines().filter(|line| line.contains("is reloaded") || line.contains("not reloaded")).count();
    let before = said();
    daemon.signal("HUP");
    until("the reload is answered", || said() > before).await;
    daemon.said().lines().rfind(|line| line.contains("reloaded")).unwrap().to_owned()
}

async fn next_run(world: &World) -> String {
    let (_, status) = json(world, &["status", "--json"]).await;
    status["next_run"].as_str().unwrap_or_default().get(11..16).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_counts_at_once_and_a_bad_one_changes_nothing() {
    let world = World::new(Bank::small()).await;
    scheduled(&world, "11 3 * * *");
    let daemon = Daemon::start(&world).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    assert_eq!(next_run(&world).await, "03:11");
    for at_rest in [false, true] {
        let (from, to) = if at_rest { ("12", "13") } else { ("11", "12") };
        if at_rest {
            daemon.fall_asleep().await;
        }
        scheduled(&world, &format!("{to} 3 * * *"));
        assert!(reload(&daemon).await.contains("the configuration is reloaded, next run "), "{}", daemon.said());
        assert_eq!(next_run(&world).await, format!("03:{to}"), "after 03:{from}");
        let good = std::fs::read_to_string(world.config_path()).unwrap();
        if at_rest {
            daemon.fall_asleep().await;
        }
        for (bad, why) in [
            (good.replace("schedule = \"", "schedule = \"99 "), "schedule"),
            (good.replace("kind = \"airtable\"", "kind = \"airtabel\""), "airtable"),
            (good.replace(&world.data_dir().display().to_string(), "/nowhere/else"), "data_dir"),
            (good.replace("google-key.json", "gone.json"), "gone.json"),
            (good.clone() + "\n[http]\nlisten = \"192.0.2.1:8350\"\ntoken = \"a-long-enough-token\"\n", "192.0.2.1"),
            ("data_dir = ".into(), "TOML"),
        ] {
            std::fs::write(world.config_path(), bad).unwrap();
            let line = reload(&daemon).await;
            assert!(line.contains("the configuration is not reloaded, the one before stays: "), "{line}");
            assert!(line.contains(why), "{why}: {line}");
        }
        std::fs::write(world.config_path(), good).unwrap();
        assert_eq!(next_run(&world).await, format!("03:{to}"));
    }
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();
    assert_eq!(daemon.stop().await, "stopping");
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_destinations_and_rules_are_those_of_the_new_configuration() {
    let mut world = World::new(Bank::small()).await;
    let daemon = Daemon::start(&world).await;
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    // A password that was refused is tried again with another one, and not before.
    world.bank.edit(|bank| bank.password = "another".into());
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    world.extra[1] = "[[rule]]\nwhen = { direction = \"debit\" }\nset = { category = \"Out\" }\n".into();
    world.write_config();
    rewrite(&world, |text| text.split("[[destination]]\nname = \"base\"").next().unwrap().to_owned());
    reload(&daemon).await;
    let (status, report) = json(&world, &["sync", "--json"]).await;
    assert_eq!(status, 0, "{report}");
    assert_eq!(report["destinations"].as_array().unwrap().len(), 1);
    let (_, rows) =
        json(&world, &["sql", "SELECT COUNT(*) AS n FROM transactions WHERE category = 'Out'", "--format", "json"])
            .await;
    assert_ne!(rows[0]["n"], 0, "rules count from the next run on");
    let (_, standing) = json(&world, &["status", "--json"]).await;
    assert_eq!(standing["destinations"].as_array().unwrap().len(), 1);
    world.bank.edit(|bank| bank.door = Door::Locked);
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    daemon.stop().await;
}

fn ask(address: &str, token: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request =
        format!("GET /api/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.get(9..12).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_moves_changes_its_token_and_goes() {
    let mut world = World::new(Bank::small()).await;
    let (first, second) = ("the-first-token-of-all", "the-second-token-of-all");
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut page = |listen: &str, token: &str| {
        world.extra[2] = format!("[http]\nlisten = \"{listen}\"\ntoken = \"{token}\"\n");
        world.write_config();
    };
    let (port, other) = (free(), free());
    page(&format!("127.0.0.1:{port}"), first);
    let (world_path, here, there) = (world.config_path(), format!("127.0.0.1:{port}"), format!("127.0.0.1:{other}"));
    assert!(world_path.exists());
    let daemon = Daemon::start(&world).await;
    let asks = async |address: &str, token: &'static str| {
        let address = address.to_owned();
        tokio::task::spawn_blocking(move || ask(&address, token)).await.unwrap()
    };
    assert_eq!(asks(&here, first).await.as_deref(), Some("200"));
    let mut page = |listen: &str, token: &str| {
        world.extra[2] = format!("[http]\nlisten = \"{listen}\"\ntoken = \"{token}\"\n");
        world.write_config();
    };
    // A connection that stays open knows the former token no longer.
    let mut held = TcpStream::connect(&here).unwrap();
    let request = format!("GET /api/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {first}\r\n\r\n");
    held.write_all(request.as_bytes()).unwrap();
    let mut buffer = [0; 12];
    held.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer[9..], b"200");
    page(&here, second);
    reload(&daemon).await;
    assert_eq!(asks(&here, first).await.as_deref(), Some("401"));
    assert_eq!(asks(&here, second).await.as_deref(), Some("200"));
    let _ = held.write_all(request.as_bytes());
    let mut rest = String::new();
    let _ = held.read_to_string(&mut rest);
    assert!(!rest.contains("HTTP/1.1 200"), "{rest}");
    // The page moves to another port, then to every address of that port, so that the listener of the single address
    // must close first.
    page(&there, second);
    reload(&daemon).await;
    assert_eq!((asks(&here, second).await, asks(&there, second).await.as_deref()), (None, Some("200")));
    page(&format!("0.0.0.0:{other}"), second);
    reload(&daemon).await;
    assert_eq!(asks(&there, second).await.as_deref(), Some("200"), "{}", daemon.said());
    daemon.fall_asleep().await;
    page(&here, first);
    reload(&daemon).await;
    assert_eq!((asks(&here, first).await.as_deref(), asks(&there, second).await), (Some("200"), None));
    world.extra[2].clear();
    world.write_config();
    reload(&daemon).await;
    assert_eq!(asks(&here, first).await, None);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_cycle_ends_first() {
    let world = World::new(Bank::small()).await;
    scheduled(&world, "11 3 * * *");
    let daemon = Daemon::start(&world).await;
    let held = std::time::Duration::from_secs(3);
    world.google.server.fail_next("batchUpdate", Fault::Slow(held));
    let syncing = run(&world, &["sync"]);
    let reloading = async {
        until("the cycle runs", || world.google.server.requests() > 2).await;
        scheduled(&world, "12 3 * * *");
        daemon.signal("HUP");
        // Twice is once.
        daemon.signal("HUP");
        until("it is reloaded", || daemon.said().contains("is reloaded")).await;
        assert!(daemon.said().contains("cycle done"), "{}", daemon.said());
    };
    let (synced, ()) = tokio::join!(syncing, reloading);
    assert_eq!(synced.status.code(), Some(0), "{}", String::from_utf8_lossy(&synced.stderr));
    world.assert_delivered();
    assert_eq!(next_run(&world).await, "03:12");
    daemon.stop().await;
}

/// The way of `systemctl reload`: a user who may read the file hands it over.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_hands_the_configuration_over_and_says_how_it_went() {
    let world = World::new(Bank::small()).await;
    let alone = run(&world, &["reload"]).await;
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&alone.stderr).starts_with("bankfeed: no daemon runs with the data in "));
    scheduled(&world, "11 3 * * *");
    let daemon = Daemon::start(&world).await;
    for at_rest in [false, true] {
        if at_rest {
            daemon.fall_asleep().await;
        }
        let minute = if at_rest { 13 } else { 12 };
        scheduled(&world, &format!("{minute} 3 * * *"));
        let good = run(&world, &["reload"]).await;
        assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
        assert_eq!(next_run(&world).await, format!("03:{minute}"));
        scheduled(&world, "61 3 * * *");
        assert_eq!(run(&world, &["reload"]).await.status.code(), Some(2));
        scheduled(&world, "14 3 * * *");
        rewrite(&world, |text| text.replace("google-key.json", "gone.json"));
        let bad = run(&world, &["reload"]).await;
        let said = String::from_utf8_lossy(&bad.stderr);
        assert_eq!((bad.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.contains("gone.json") && said.contains("the configuration before stays"), "{said}");
        scheduled(&world, "11 3 * * *");
        assert_eq!(next_run(&world).await, format!("03:{minute}"));
    }
    daemon.stop().await;
}

/// Unit, package and README name one program each, by its whole path.
#[test]
fn the_unit_names_its_program_by_path_and_reloads_it() {
    let read =
        |name: &str| std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let unit = read("systemd/bankfeed.service");
    let lines = |text: &str, key: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.strip_prefix(key))
            .filter(|rest| !rest.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (start, reload) = (lines(&unit, "ExecStart="), lines(&unit, "ExecReload="));
    assert_eq!(start, ["/usr/local/bin/bankfeed --config /etc/bankfeed/config.toml run"]);
    assert_eq!(reload, ["+/usr/local/bin/bankfeed --config /etc/bankfeed/config.toml reload"]);
    assert!(unit.contains("\nLimitCORE=0\n"));
    let package = read("packaging/debian/place.conf");
    let there = |line: &String| line.replace("/usr/local/bin/", "/usr/bin/");
    assert_eq!(lines(&package, "ExecStart="), [there(&start[0])]);
    assert_eq!(lines(&package, "ExecReload="), [there(&reload[0])]);
    assert!(read("README.md").contains("install target/release/bankfeed /usr/local/bin/"));
}
