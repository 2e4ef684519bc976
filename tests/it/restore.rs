//! `restore`: rows that the owner wants back, with or without an earlier verify, and one honest line for each that has
//! no row to put back.

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry};
use chrono::{Days, NaiveDate, Utc};

use crate::cli::{Daemon, run};
use crate::verify::{delete, id};
use crate::world::World;

const NAMES: [&str; 2] = ["household", "base"];

/// Runs `restore`; returns its status and its output.
async fn restore(world: &World, which: usize, ids: &[&str]) -> (i32, String) {
    let output = run(world, &[&["restore", NAMES[which]], ids].concat()).await;
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

async fn delivered() -> World {
    let world = World::new(Bank::small()).await;
    world.cycle().await;
    world.assert_delivered();
    world
}

/// Books an entry; its id.
fn book(world: &World, day: NaiveDate) -> String {
    world.bank.edit(|bank| {
        let (number, account) = (bank.last_number() + 1, &mut bank.customers[0].accounts[0]);
        let time = day.and_hms_opt(12, 0, 0).unwrap().and_utc().fixed_offset();
        let amount = rust_decimal::Decimal::new(-150, 2);
        account.entries.push(Entry { number, time, value_date: day, amount, ..Entry::default() });
        format!("fibank:{}:{number}", account.iban)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_verify_first() {
    for beside_daemon in [false, true] {
        for which in [0, 1] {
            let world = delivered().await;
            let daemon = if beside_daemon { Some(Daemon::start(&world).await) } else { None };
            let (gone, too, there) = (id(&world, 1), id(&world, 4), id(&world, 2));
            delete(&world, which, &gone);
            delete(&world, which, &too);
            let (status, said) = restore(&world, which, &[&gone]).await;
            assert!(status == 0 && said.contains("1 of 1 rows are back"), "{said}");
            // A row that is still there is reported, and keeps no other row from coming back.
            let (status, said) = restore(&world, which, &[&there, &too, &too]).await;
            assert!(status == 2 && said.contains("1 of 1 rows are back"), "{said}");
            assert!(said.contains(&format!("{there} is not put back in `{}`: it is there", NAMES[which])), "{said}");
            world.assert_delivered();
            let (status, said) = restore(&world, which, &[&gone, &too]).await;
            assert_eq!((status, said.lines().count(), said.matches("it is there").count()), (2, 2, 2), "{said}");
            world.assert_delivered();
            if let Some(daemon) = daemon {
                daemon.stop().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_row_of_an_emptied_place_comes_back_alone() {
    let world = delivered().await;
    let ids: Vec<String> = (0..world.booked().len()).map(|n| id(&world, n)).collect();
    ids.iter().for_each(|id| delete(&world, 0, id));
    let (status, said) = restore(&world, 0, &[&ids[3]]).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(world.in_sheet().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_the_store_does_not_know_is_named_and_nothing_is_asked() {
    let world = delivered().await;
    let gone = id(&world, 1);
    delete(&world, 0, &gone);
    world.clear_logs();
    for unknown in ["fibank:X:1", "nonsense", "gone\u{301}"] {
        let (status, said) = restore(&world, 0, &[&gone, unknown]).await;
        assert!(status == 2 && said.lines().count() == 1, "{said}");
        assert!(said.contains("the store knows no transaction") && said.contains(unknown), "{said}");
    }
    assert_eq!((world.google.server.requests(), world.in_sheet().len()), (0, world.booked().len() - 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_never_delivered_is_no_row_to_put_back() {
    let mut world = World::new(Bank::small()).await;
    world.google.server.fail("", 0, u32::MAX, Fault::Status(503, String::new()));
    world.cycle().await;
    world.google.server.heal();
    let waiting = world.booked().into_keys().next().unwrap();
    let (status, said) = restore(&world, 0, &[&waiting]).await;
    assert!(
        status == 2 && said.contains("it has not been delivered yet; the next `bankfeed sync` brings it"),
        "{said}"
    );
    world.cycle().await;
    world.assert_delivered();
    // The configuration keeps it out, and the bank has taken it back.
    let today = Utc::now().date_naive();
    let late = book(&world, today);
    let direction = "direction = \"credit\"\n";
    world.extra[1] = direction.into();
    world.write_config();
    world.cycle().await;
    let (status, said) = restore(&world, 0, &[&late]).await;
    assert!(status == 2 && said.contains("leave it out"), "{said}");
    world.extra[1] = "vanished = \"delete\"\n".into();
    world.write_config();
    world.bank.edit(|bank| bank.customers[0].accounts[0].entries.pop());
    world.cycle().await;
    let (status, said) = restore(&world, 0, &[&late]).await;
    assert!(status == 2 && said.contains("the bank has taken it back"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_looked_at_gets_nothing() {
    let world = delivered().await;
    let gone = id(&world, 1);
    delete(&world, 1, &gone);
    world.airtable.server.fail("", 0, u32::MAX, Fault::Status(401, String::new()));
    let (status, said) = restore(&world, 1, &[&gone]).await;
    assert!(status == 3 && said.contains("the token is refused"), "{said}");
    world.airtable.server.heal();
    assert_eq!(restore(&world, 1, &[&gone]).await.0, 0);
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_overlap_finds_what_the_bank_posted_late() {
    let mut world = delivered().await;
    let long_ago = Utc::now().date_naive() - Days::new(3000);
    let late = book(&world, long_ago);
    for (days, arrives) in [(14, false), (3650, true)] {
        world.extra[0] = format!("overlap_days = {days}\n");
        world.write_config();
        world.scheduled_cycle().await;
        assert_eq!(world.in_sheet().iter().any(|(id, _)| *id == late), arrives, "{days}");
    }
}
