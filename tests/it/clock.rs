//! A clock that is set under the daemon: the next run is worked out anew, and `status` tells its real time.
//!
//! The machine's own clock is everybody's, so the daemon gets another one: a small library, made by the C compiler that
//! builds the program, adds the number in a file to the time.

use std::path::PathBuf;
use std::process::Command;

use bankfeed::simulator::fibank::Bank;
use chrono::{DateTime, TimeDelta, Utc};

use crate::cli::bankfeed;
use crate::rest::{Daemon, until};
use crate::world::World;

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t which, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, which, now);
    const char *path = getenv("CLOCK_AHEAD");
    if (done == 0 && which == CLOCK_REALTIME && path) {
        char seconds[32] = {0};
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, seconds, sizeof seconds - 1) > 0) now->tv_sec += atol(seconds);
            close(file);
        }
    }
    return done;
}
"#;

/// A clock that can be set.
struct Clock {
    library: PathBuf,
    ahead: PathBuf,
}

impl Clock {
    fn new(world: &World, ahead: i64) -> Clock {
        let [source, library, file] = ["clock.c", "clock.so", "ahead"].map(|name| world.dir.path().join(name));
        std::fs::write(&source, CLOCK).unwrap();
        let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
        assert!(made.success());
        let clock = Clock { library, ahead: file };
        clock.set(ahead);
        clock
    }

    fn set(&self, ahead: i64) {
        // The file changes in one step: half a number would be another time.
        let draft = self.ahead.with_extension("draft");
        std::fs::write(&draft, ahead.to_string()).unwrap();
        std::fs::rename(&draft, &self.ahead).unwrap();
    }

    async fn start(&self, world: &World, schedule: &str) -> Daemon {
        world.write_config();
        let text = std::fs::read_to_string(world.config_path()).unwrap().replace("Europe/Sofia", "UTC");
        std::fs::write(world.config_path(), format!("schedule = \"{schedule}\"\n{text}")).unwrap();
        let (library, ahead) = (self.library.to_str().unwrap(), self.ahead.to_str().unwrap());
        Daemon::start_with(world, &[("LD_PRELOAD", library), ("CLOCK_AHEAD", ahead)]).await
    }
}

async fn next_run(world: &World) -> DateTime<Utc> {
    let mut command = bankfeed(world, &["status", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    DateTime::parse_from_rfc3339(status["next_run"].as_str().unwrap()).unwrap().to_utc()
}

fn cycles(daemon: &Daemon) -> usize {
    daemon.said().matches("cycle done").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_under_a_daemon_that_is_awake_costs_no_run() {
    let world = World::new(Bank::small()).await;
    let clock = Clock::new(&world, 3 * 3600);
    let daemon = clock.start(&world, "*/4 * * * * *").await;
    until("a run by the wrong clock", || cycles(&daemon) > 0).await;
    clock.set(0);
    let before = cycles(&daemon);
    until("two runs by the right one", || cycles(&daemon) >= before + 2).await;
    assert!(next_run(&world).await - Utc::now() <= TimeDelta::seconds(5));
    assert!(daemon.said().contains("the clock was set: next run "), "{}", daemon.said());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_at_rest_moves_the_next_run_either_way() {
    let world = World::new(Bank::small()).await;
    let clock = Clock::new(&world, 3 * 3600);
    let soon = Utc::now() + TimeDelta::seconds(20);
    // The daily run is soon by the right clock, and over for today by the wrong one.
    let daemon = clock.start(&world, &soon.format("%-S %-M %-H * * *").to_string()).await;
    daemon.fall_asleep().await;
    clock.set(0);
    let promised = next_run(&world).await;
    assert_eq!(promised.timestamp(), soon.timestamp(), "what is promised");
    until("the promise is kept", || cycles(&daemon) == 1).await;
    daemon.stop().await;

    let later = Utc::now() + TimeDelta::hours(1);
    let daemon = clock.start(&world, &later.format("%-S %-M %-H * * *").to_string()).await;
    daemon.fall_asleep().await;
    // A run that the clock leaps over happens at once.
    clock.set(2 * 3600);
    assert!(next_run(&world).await > Utc::now() + TimeDelta::hours(20));
    until("the run is made up for", || cycles(&daemon) == 1).await;
    daemon.stop().await;
}
