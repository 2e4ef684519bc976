//! Attempts that a bank counts: passwords and codes with an unknown outcome, and sources in attention that a timer, a
//! page or a command asks for. Five wrong passwords lock a login, so after two passwords of unknown outcome the owner
//! must look.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bankfeed::remote::{Cause, Shutdown};
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door};
use bankfeed::sync::{Outcome, Report, Request};
use reqwest::Method;
use serde_json::Value;

use crate::cli::{Daemon, bankfeed, json, run};
use crate::login::{code, door};
use crate::start::Terminal;
use crate::web::{Site, TOKEN};
use crate::world::World;

const LOGIN: &str = "POST /oauth2-server/login";
const CONFIRM: &str = "POST /oauth2-server/confirm";
const EVER: u32 = u32::MAX;

/// Number of posts to an address, taken in by the bank or not.
fn posted(world: &World, to: &str) -> usize {
    let log = world.bank.server.log();
    log.iter().filter(|asked| format!("{} {}", asked.method, asked.target).starts_with(to)).count()
}

/// Answers that leave the fate of a password unknown.
fn in_the_dark() -> Vec<Fault> {
    vec![
        Fault::Status(500, String::new()),
        Fault::ApplyThenStatus(503, String::new()),
        Fault::Status(503, "<html><body><p>В момента се извършва профилактика.</p></body></html>".into()),
        Fault::Status(302, String::new()),
        Fault::Status(429, String::new()),
        Fault::Status(403, "<html><body><h1>403 Forbidden</h1></body></html>".into()),
        Fault::Drop,
        Fault::ApplyThenDrop,
    ]
}

fn said(report: &Report) -> &str {
    report.sources[0].error.as_deref().unwrap()
}

/// The owner's task as the store remembers it.
fn attention(world: &World) -> Option<Cause> {
    world.engine().store.source("fibank").unwrap().attention.map(|attention| attention.cause)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_passwords_of_unknown_outcome_are_enough_by_schedule_and_over_restarts() {
    for fault in in_the_dark() {
        let world = World::new(Bank::small()).await;
        world.cycle().await;
        world.bank.server.clear_log();
        world.bank.server.fail(LOGIN, 0, EVER, fault.clone());
        let first = world.scheduled_cycle().await;
        assert_ne!(attention(&world), Some(Cause::OutcomeUnknown), "{fault:?}: one may pass");
        let second = world.scheduled_cycle().await;
        assert_eq!(second.exit_status(), 3, "{fault:?}: {first:?} {second:?}");
        for _ in 0..10 {
            let report = world.scheduled_cycle().await;
            assert_eq!((report.exit_status(), report.sources[0].requests), (3, 0), "{fault:?}: {report:?}");
            assert!(said(&report).contains("2 passwords in a row"), "{fault:?}: {report:?}");
            assert!(said(&report).contains("run `bankfeed sync --retry`"), "{fault:?}: {report:?}");
        }
        assert_eq!(posted(&world, LOGIN), 2, "{fault:?}");
        assert_eq!(attention(&world), Some(Cause::OutcomeUnknown), "{fault:?}");
        world.bank.server.heal();
        assert_eq!(world.cycle().await.exit_status(), 0, "{fault:?}: the owner has looked and says so");
        assert_eq!(attention(&world), None, "{fault:?}");
        world.assert_delivered();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_followed_by_an_answer_counts_no_more() {
    let world = World::new(Bank::small()).await;
    for _ in 0..3 {
        world.bank.server.fail_next(LOGIN, Fault::Drop);
        let report = world.scheduled_cycle().await;
        assert_eq!((report.exit_status(), report.sources[0].outcome), (1, Outcome::Failed), "{report:?}");
        assert!(said(&report).contains("after the password was sent; it is not sent again in this run"), "{report:?}");
        assert_eq!(world.scheduled_cycle().await.exit_status(), 0);
    }
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sends_no_password_counts_nothing() {
    let world = World::new(Bank::small()).await;
    for fault in [Fault::Drop, Fault::Status(500, String::new()), Fault::Status(302, String::new())] {
        world.bank.server.fail("GET /oauth2-server", 0, EVER, fault);
        for _ in 0..3 {
            world.scheduled_cycle().await;
        }
        world.bank.server.heal();
        world.bank.server.fail_next(LOGIN, Fault::Status(500, String::new()));
        assert_eq!(world.scheduled_cycle().await.exit_status(), 1, "the first of its kind");
        assert_eq!(world.scheduled_cycle().await.exit_status(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_they_count_the_same() {
    let site = Site::open(Bank::small()).await;
    let world = &site.world;
    world.bank.server.fail(LOGIN, 0, EVER, Fault::Status(500, String::new()));
    assert_eq!(run(world, &["sync"]).await.status.code(), Some(1));
    let report: Value = site.sync().await.json().await.unwrap();
    assert_eq!(report["sources"][0]["outcome"], "attention", "{report}");
    assert_eq!(posted(world, LOGIN), 2);
    for _ in 0..4 {
        let output = run(world, &["sync"]).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(3) && said.contains("run `bankfeed sync --retry`"), "{said}");
        let report: Value = site.sync().await.json().await.unwrap();
        assert_eq!(report["sources"][0]["outcome"], "attention", "{report}");
        assert_eq!(run(world, &["check"]).await.status.code(), Some(3));
    }
    assert_eq!(posted(world, LOGIN), 2);
    // `login` is the owner's own doing: once more, and not again after that has ended in the dark, too.
    for sent in [3, 3, 3] {
        let (status, said) = code(world, "271828").await;
        assert!(status == 3 && said.contains("passwords in a row") && said.contains("sync --retry"), "{said}");
        assert_eq!(posted(world, LOGIN), sent);
    }
    // A --retry is a single try.
    assert_eq!(run(world, &["sync", "--retry"]).await.status.code(), Some(3));
    assert_eq!(run(world, &["sync"]).await.status.code(), Some(3));
    assert_eq!(posted(world, LOGIN), 4);
    world.bank.server.heal();
    let retry = site.ask(Method::POST, "/api/sync?retry=true").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(retry.json::<Value>().await.unwrap()["sources"][0]["outcome"], "ok");
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_alone_sends_two_and_another_password_lifts_it() {
    let world = World::new(Bank::small()).await;
    world.write_config_with_password("грешна-парола");
    world.bank.server.fail(LOGIN, 0, EVER, Fault::ApplyThenStatus(500, String::new()));
    assert_eq!(code(&world, "1").await.0, 1);
    for _ in 0..4 {
        assert_eq!(code(&world, "1").await.0, 3);
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    }
    assert_eq!(posted(&world, LOGIN), 2);
    // The right password goes out, once while the bank gives no answer.
    world.write_config();
    for _ in 0..3 {
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    }
    assert_eq!(posted(&world, LOGIN), 3);
    world.bank.server.heal();
    world.write_config_with_password("грешна-парола");
    let refused = run(&world, &["sync"]).await;
    assert!(String::from_utf8(refused.stdout).unwrap().contains("the bank refuses the user name or password"));
    assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(3));
    assert_eq!(posted(&world, LOGIN), 4, "a refused password is not sent again, whatever is said");
    world.write_config();
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_sending_and_answer_has_sent_it() {
    for signal in ["-KILL", "-TERM"] {
        let world = World::new(Bank::small()).await;
        world.bank.server.fail(LOGIN, 0, EVER, Fault::Hang);
        for sent in [1, 2] {
            let mut sync = bankfeed(&world, &["sync"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while world.bank.server.requests() < 4 * sent {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            end(&mut sync, signal).await;
        }
        world.bank.server.heal();
        // The task is in the store before another cycle runs.
        let (_, state) = json(&world, &["status", "--json"]).await;
        let attention = state["sources"][0]["attention"].as_str().unwrap_or_default().to_owned();
        assert!(attention.contains("2 passwords in a row"), "{signal}: {state}");
        let before = world.bank.server.requests();
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
        assert_eq!(world.bank.server.requests(), before, "{signal}: nothing is asked");
        assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(0));
        world.assert_delivered();
    }
}

async fn end(process: &mut Child, signal: &str) {
    Command::new("kill").arg(signal).arg(process.id().to_string()).status().unwrap();
    tokio::task::block_in_place(|| process.wait().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_of_unknown_outcome_count_the_same() {
    for fault in [Fault::Status(500, String::new()), Fault::ApplyThenDrop, Fault::Status(302, String::new())] {
        let world = World::new(Bank::small()).await;
        door(&world, Door::Code { code: "271828".into(), tries: 5 });
        world.bank.server.fail(CONFIRM, 0, EVER, fault.clone());
        assert_eq!(code(&world, "111111\n222222").await.0, 1, "{fault:?}");
        assert_eq!(posted(&world, CONFIRM), 1, "{fault:?}: no second one after an outcome that is not known");
        for _ in 0..4 {
            let (status, said) = code(&world, "111111\n222222").await;
            assert!(status == 3 && said.contains("2 codes in a row") && said.contains("sync --retry"), "{said}");
            assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
        }
        assert_eq!((posted(&world, CONFIRM), posted(&world, LOGIN)), (2, 2), "{fault:?}");
        world.bank.server.heal();
        // After the owner's word that he has looked, the sign-in gets as far as the code, and then in.
        assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(3));
        let (status, said) = code(&world, "271828").await;
        assert_eq!(status, 0, "{fault:?}: {said}");
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
        world.assert_delivered();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_in_the_middle_costs_one_password_more_at_most() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| bank.options.token_calls = Some(1));
    world.bank.server.fail(LOGIN, 1, 1, Fault::Status(500, String::new()));
    let report = world.scheduled_cycle().await;
    assert_eq!((report.exit_status(), posted(&world, LOGIN)), (1, 2), "{report:?}");
    assert_eq!(world.engine().store.source("fibank").unwrap().unsettled.passwords, 1);
    world.bank.edit(|bank| bank.options.token_calls = None);
    assert_eq!(world.scheduled_cycle().await.exit_status(), 0);
    assert_eq!(world.engine().store.source("fibank").unwrap().unsettled.passwords, 0);
}

/// No file may grow any more from the moment before the password would leave.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_noted_is_not_sent() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let world = World::new(Bank::small()).await;
    let process: Arc<Mutex<Option<Pid>>> = Arc::default();
    let limited = process.clone();
    world.bank.server.meanwhile("fnGetCertsForLogin", move || {
        let none = Rlimit { current: Some(0), maximum: None };
        prlimit(*limited.lock().unwrap(), Resource::Fsize, none).unwrap();
    });
    let child = {
        let mut process = process.lock().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_bankfeed"), "--config"]);
        command.arg(world.config_path()).arg("sync").stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        *process = Pid::from_raw(child.id().try_into().unwrap());
        child
    };
    let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code().is_some_and(|status| status != 0), "{said}");
    assert!(!said.is_empty() && !said.contains("panicked"), "{said}");
    assert_eq!(posted(&world, LOGIN), 0, "{said}");
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
}

/// Everything in which the owner has something to do at the bank.
fn doors() -> [Door; 4] {
    [
        Door::Locked,
        Door::SecondFactor,
        Door::PasswordChange,
        Door::Unknown("<html><body><h1>Нещо съвсем ново</h1></body></html>".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_calls_sync_knocks_once() {
    for closed in doors() {
        let world = World::new(Bank::small()).await;
        door(&world, closed.clone());
        for daemon in [false, true] {
            let daemon = if daemon { Some(Daemon::start(&world).await) } else { None };
            for _ in 0..3 {
                let output = run(&world, &["sync", "--json"]).await;
                let report: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!((output.status.code(), &report["sources"][0]["outcome"]), (Some(3), &"attention".into()));
                let said = report["sources"][0]["error"].as_str().unwrap();
                let goes_on = closed == Door::PasswordChange || said.contains("`bankfeed sync --retry`");
                assert!(goes_on, "{closed:?}: {said}");
            }
            if let Some(daemon) = daemon {
                daemon.stop().await;
            }
        }
        assert_eq!(posted(&world, LOGIN), 1, "{closed:?}");
        assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(3));
        assert_eq!(posted(&world, LOGIN), 2, "{closed:?}: the owner has acted, and in vain");
        door(&world, Door::Open);
        assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3), "{closed:?}: nobody has said so");
        assert_eq!(run(&world, &["sync", "--retry"]).await.status.code(), Some(0), "{closed:?}");
        world.assert_delivered();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_a_terminal_is_taken_to_have_acted() {
    let world = World::new(Bank::small()).await;
    door(&world, Door::Locked);
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    for (beside, sent) in [(false, 2), (true, 3)] {
        let daemon = if beside { Some(Daemon::start(&world).await) } else { None };
        let (status, said) = on_terminal(&world, &["sync"]).await;
        assert!(status == 3 && said.contains("the login is locked"), "{said}");
        assert_eq!(posted(&world, LOGIN), sent);
        if let Some(daemon) = daemon {
            daemon.stop().await;
        }
    }
    door(&world, Door::Open);
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(3));
    let (status, said) = on_terminal(&world, &["sync"]).await;
    assert_eq!(status, 0, "{said}");
    world.assert_delivered();
}

/// Runs a command on a terminal of its own; returns its status and the text of the screen.
async fn on_terminal(world: &World, arguments: &[&str]) -> (i32, String) {
    let command = bankfeed(world, arguments);
    let (said, status) = tokio::task::spawn_blocking(|| Terminal::start(command).end()).await.unwrap();
    (status.unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tries_again_only_when_told_that_the_owner_has_acted() {
    let site = Site::open(Bank::small()).await;
    door(&site.world, Door::Locked);
    for _ in 0..3 {
        let report: Value = site.sync().await.json().await.unwrap();
        assert_eq!(report["sources"][0]["outcome"], "attention");
    }
    assert_eq!(posted(&site.world, LOGIN), 1);
    let odd = site.ask(Method::POST, "/api/sync?retry=perhaps").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!((odd.status().as_u16(), posted(&site.world, LOGIN)), (400, 1));
    let cookie = site.sign_in().await;
    let page = site.page(&cookie, "/?lang=en").await;
    let proof = page.split("name=\"form_proof\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(page.contains("name=\"retry\" value=\"true\"") && page.contains("It is done: try again"), "{page}");
    let press = |form: Vec<(&'static str, String)>| {
        site.ask(Method::POST, "/api/sync")
            .header("cookie", &cookie)
            .header("sec-fetch-site", "same-origin")
            .form(&form)
            .send()
    };
    let plain = vec![("form_proof", proof.clone())];
    assert_eq!(press(plain.clone()).await.unwrap().status(), 303);
    assert_eq!(posted(&site.world, LOGIN), 1, "the button without a word of having acted");
    door(&site.world, Door::Open);
    let acted = [plain, vec![("retry", "true".to_owned())]].concat();
    assert_eq!(press(acted).await.unwrap().status(), 303);
    assert_eq!(posted(&site.world, LOGIN), 2);
    site.world.assert_delivered();
    assert!(!site.page(&cookie, "/?lang=en").await.contains("name=\"retry\""));
}

/// A cycle that is stopped before the password leaves has sent none.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_password_counts_nothing() {
    let world = World::new(Bank::small()).await;
    let (stop, shutdown) = Shutdown::new();
    let engine = bankfeed::sync::Engine { shutdown, ..world.engine() };
    world.bank.server.meanwhile("fnGetCertsForLogin", move || {
        stop.send_replace(true);
    });
    let nobody: bankfeed::sync::Watcher = Arc::new(|_| {});
    let report = engine.cycle(&Request::default(), &nobody).await.unwrap();
    assert_eq!((report.sources[0].outcome, posted(&world, LOGIN)), (Outcome::Failed, 0), "{report:?}");
    assert_eq!(engine.store.source("fibank").unwrap().unsettled.passwords, 0);
}
