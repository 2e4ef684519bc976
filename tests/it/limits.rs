//! A row that the store could not give back is refused by name when it is read, and holds up no other row; a backup
//! that is made to fill the machine is refused before it does.

use std::process::Command;

use bankfeed::simulator::fibank::{Bank, Entry};
use chrono::Utc;

use crate::cli::{json, run};
use crate::world::World;

/// Books an entry today with a payload of so many bytes.
fn book(world: &World, bytes: usize) -> u64 {
    world.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let time = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        let (number, amount) = (bank.last_number() + 1, rust_decimal::Decimal::new(-240, 2));
        let mut entry = Entry { number, time, value_date: time.date_naive(), amount, ..Entry::default() };
        entry.extra.insert("ballast".into(), "x".repeat(bytes).into());
        bank.add(&iban, entry);
        number
    })
}

/// Rows that have arrived in the sheet, by the number at the end of their ids.
fn has_arrived(world: &World, number: u64) -> bool {
    world.in_sheet().iter().any(|(id, _)| id.ends_with(&format!(":{number}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_long_for_the_store_is_named_and_the_others_arrive() {
    let world = World::new(Bank::small()).await;
    let (long, before, after) = (book(&world, 5 << 20), book(&world, 0), book(&world, 3 << 20));
    for round in 0..2 {
        let synced = run(&world, &["sync", "--json"]).await;
        assert_eq!(synced.status.code(), Some(1), "round {round}: {synced:?}");
        let report: serde_json::Value = serde_json::from_slice(&synced.stdout).unwrap();
        assert!(report.to_string().contains(&format!(":{long}")), "named: {report}");
        assert!(has_arrived(&world, before) && has_arrived(&world, after) && !has_arrived(&world, long));
    }
    let (_, status) = json(&world, &["status", "--json"]).await;
    let incomplete = status["accounts"].as_array().unwrap().iter().filter(|account| account["complete"] == false);
    let problems: Vec<String> = incomplete.map(|account| account["problem"].to_string()).collect();
    assert!(problems.len() == 1 && problems[0].contains(&format!(":{long}")), "{status}");
    // Everything that reads the whole store still does.
    let backup = world.dir.path().join("b");
    for arguments in [
        &["backup", backup.to_str().unwrap()][..],
        &["recover", backup.to_str().unwrap()],
        &["export", "--format", "jsonl"],
    ] {
        let output = run(&world, arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {:?}", String::from_utf8_lossy(&output.stderr));
    }
    world.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        entries.iter_mut().find(|entry| entry.number == long).unwrap().extra.clear();
    });
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();
}

/// A file of a few kilobytes with the head of a backup and 2 GiB of zeros or the like.
fn bomb() -> Vec<u8> {
    let mut bytes = b"bankfeed backup\n".to_vec();
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    [1_790_000_000u64, 1, 1].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    let mut encoder = zstd::stream::write::Encoder::new(&mut bytes, 1).unwrap();
    let value = format!("\"{}\"", "x".repeat(1 << 20)).into_bytes();
    for number in 0..2048u64 {
        let mut record = 9u16.to_le_bytes().to_vec();
        record.extend((5 + value.len() as u32).to_le_bytes());
        record.push(b'r');
        record.extend(number.to_be_bytes());
        record.push(1);
        record.extend(crc32fast::hash(&value).to_le_bytes());
        std::io::Write::write_all(&mut encoder, &record).unwrap();
        std::io::Write::write_all(&mut encoder, &value).unwrap();
    }
    encoder.finish().unwrap();
    bytes.extend(xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_unpacks_to_gigabytes_takes_little_memory() {
    let world = World::new(Bank::small()).await;
    let file = world.dir.path().join("bomb");
    let bytes = bomb();
    assert!(bytes.len() < 300_000, "{}", bytes.len());
    std::fs::write(&file, bytes).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 700000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_bankfeed"), "--config"]);
    command.arg(world.config_path()).arg("recover").arg(&file).env_remove("BANKFEED_CONFIG");
    let refused = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("damaged") && said.lines().count() == 1, "{refused:?}");
}
