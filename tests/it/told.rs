//! Words for people: names of accounts in `status` and log, times of the owner's zone, the exit status of `status`.

use bankfeed::simulator::fibank::{Bank, Door};

use crate::cli::{Daemon, json, run};
use crate::world::World;

async fn code(world: &World, arguments: &[&str]) -> Option<i32> {
    run(world, arguments).await.status.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_ends_like_a_cycle_where_it_is_asked_to() {
    let world = World::new(Bank::small()).await;
    assert_eq!(code(&world, &["status", "--exit-code"]).await, Some(0), "nothing has happened yet");
    for (door, status) in [(Door::Open, 0), (Door::Locked, 3)] {
        world.bank.edit(|bank| bank.door = door);
        assert_eq!(code(&world, &["sync"]).await, Some(status));
        assert_eq!(code(&world, &["status", "--exit-code"]).await, Some(status));
        assert_eq!(code(&world, &["status"]).await, Some(0));
    }
    let (status, told) = json(&world, &["status", "--exit-code", "--json"]).await;
    assert!(status == 3 && told["sources"][0]["attention"].is_string(), "{told}");
    let beside = Daemon::start(&world).await;
    assert_eq!(code(&world, &["status", "--exit-code"]).await, Some(3), "the daemon says the same");
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_needs_the_owner_or_fails_counts_too() {
    let world = World::new(Bank::small()).await;
    let spreadsheet = world.spreadsheet.clone();
    world.google.share(&spreadsheet, bankfeed::simulator::google::Access::None);
    assert_eq!(code(&world, &["sync"]).await, Some(3));
    assert_eq!(code(&world, &["status", "--exit-code"]).await, Some(3));
    world.google.share(&spreadsheet, bankfeed::simulator::google::Access::Editor);
    world.bank.server.fail("", 0, u32::MAX, bankfeed::simulator::Fault::Status(503, String::new()));
    assert_eq!(code(&world, &["sync"]).await, Some(1));
    assert_eq!(code(&world, &["status", "--exit-code"]).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_accounts_and_shows_times_of_the_owner() {
    let world = World::new(Bank::small()).await;
    assert_eq!(code(&world, &["sync"]).await, Some(0));
    let (_, told) = json(&world, &["status", "--json"]).await;
    let account = &told["accounts"][0];
    let name = account["account_name"].as_str().unwrap();
    assert!(!name.is_empty());
    let text = String::from_utf8(run(&world, &["status"]).await.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with(account["account"].as_str().unwrap())).unwrap();
    assert!(line.ends_with(name), "{line}");
    let last = told["sources"][0]["last_success"].as_str().unwrap();
    assert!(last.ends_with("+02:00") || last.ends_with("+03:00"), "{last}");
    let shown = last[..16].replace('T', " ");
    assert!(text.contains(&format!("source fibank: last success {shown}\n")), "{text}");
    assert!(text.contains(&format!("destination household: last success {}", &shown[..10])), "{text}");
}
