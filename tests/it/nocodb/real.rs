//! The real server killed in the middle of its work, where `BANKFEED_NOCODB_START` names a program that starts it and
//! `BANKFEED_NOCODB_PID` the file with its process.

use std::process::Command;
use std::time::Duration;

use super::*;

fn kill() {
    let pid = std::fs::read_to_string(std::env::var("BANKFEED_NOCODB_PID").unwrap()).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
}

async fn start(grid: &Grid) {
    let program = std::env::var("BANKFEED_NOCODB_START").unwrap();
    assert!(Command::new(program).status().unwrap().success());
    for _ in 0..240 {
        if reqwest::get(format!("{}/api/v1/health", grid.url)).await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the server does not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_the_middle_loses_and_doubles_nothing() {
    let Some(grid) = Grid::real().await.filter(|_| std::env::var_os("BANKFEED_NOCODB_START").is_some()) else {
        println!("skipped: BANKFEED_NOCODB_START names no program");
        return;
    };
    grid.good_cycle().await;
    for round in 0..2 {
        (0..300).for_each(|_| drop(grid.book("МНОГО")));
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(400 + 500 * round));
            kill();
        });
        let report = grid.cycle().await;
        killer.await.unwrap();
        println!("killed after {} rows: {:?}", report.appended, report.error);
        start(&grid).await;
        grid.good_cycle().await;
        grid.settled("after a kill").await;
    }
}
