//! Replies of a bank or a service are bounded before they are read, in any form; the error says its limit; and once the
//! service is itself again every row is there once.

use std::io::Write;

use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use bankfeed::simulator::notices::Notices;
use bankfeed::sync::{Outcome, Report};

use crate::cli::{Daemon, json, run};
use crate::rest::until;
use crate::world::World;

const HTML: &[(&str, &str)] = &[("content-type", "text/html;charset=UTF-8")];
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const GZIP: &[(&str, &str)] = &[("content-type", "application/json"), ("content-encoding", "gzip")];
const GZIP_HTML: &[(&str, &str)] = &[("content-type", "text/html"), ("content-encoding", "gzip")];
const GZIP_TWICE: &[(&str, &str)] = &[("content-type", "application/json"), ("content-encoding", "gzip, gzip")];

const FORM: &str = "<meta name=_csrf content=1><form><input name=username><input type=password name=password></form>";

/// 30 KB that are 30 MB: these words, and then the same again and again.
fn bomb(head: &str, text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(head.as_bytes()).unwrap();
    (0..30 * 1024).for_each(|_| writer.write_all(text.repeat(1024 / text.len()).as_bytes()).unwrap());
    writer.finish().unwrap()
}

fn error_of(report: &Report, name: &str) -> (Outcome, String) {
    let sources = report.sources.iter().map(|source| (&source.name, source.outcome, &source.error));
    let destinations = report.destinations.iter().map(|to| (&to.name, to.outcome, &to.error));
    let (_, outcome, error) = sources.chain(destinations).find(|(found, ..)| *found == name).unwrap();
    (outcome, error.clone().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_beyond_what_is_read_needs_the_owner_and_no_password_leaves() {
    let world = World::new(Bank::small()).await;
    for (page, limit) in [
        (FORM.to_owned() + &"<div>".repeat(50_000), "nested deeper than 512"),
        ("<table><tr><td>".repeat(36_000) + FORM, "nested deeper than 512"),
        ("<svg><g>".repeat(36_000) + FORM, "nested deeper than 512"),
        ("<template><p>".repeat(36_000) + FORM, "nested deeper than 512"),
        ((0..36_000).map(|at| format!("<b a{at}>")).collect::<String>() + &"<p>x".repeat(36_000), "nested deeper"),
        ("<a><i></a>".repeat(100_000) + FORM, "nested deeper than 512"),
        ("<b><p></b>".repeat(100_000) + FORM, "more than 50000 elements"),
        ("<br>".repeat(100_000) + FORM, "more than 50000 elements"),
        ("x".repeat(3 << 20), "larger than 2 MiB"),
    ] {
        world.bank.server.heal();
        world.bank.server.fail("/oauth2-server/", 0, u32::MAX, Fault::Answer(HTML, page.into_bytes()));
        let fresh = tempfile::tempdir().unwrap();
        let (outcome, error) = error_of(&world.cycle_in(fresh.path()).await, "fibank");
        assert!(error.contains(limit), "{error}");
        // An unknown page is a task for the owner; an answer that was not read to its end proves nothing.
        let wanted = if limit.contains("MiB") { Outcome::Failed } else { Outcome::Attention };
        assert_eq!((outcome, world.bank.login_attempts()), (wanted, 0), "{error}");
    }
    world.bank.server.heal();
    assert_eq!(run(&world, &["sync"]).await.status.code(), Some(0));
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_the_place_of_a_list_says_its_limit() {
    let world = World::new(Bank::small()).await;
    for (call, body, limit) in [
        ("getCustQuery", "<div>".repeat(50_000), "nested deeper than 512"),
        ("getFilteredAccounts", "<b><p></b>".repeat(50_000), "more than 50000 elements"),
        ("GetCustBal", "<ul><li>".repeat(36_000), "nested deeper than 512"),
        ("GetCustBal", "x".repeat(3 << 20), "larger than 2 MiB"),
        ("getCustQuery", "[".repeat(100_000), "deeper than 128"),
        ("getFilteredAccounts", r#"{"a":"#.repeat(100_000), "deeper than 128"),
    ] {
        world.bank.server.heal();
        world.bank.server.fail(call, 0, u32::MAX, Fault::Answer(&[], body.into_bytes()));
        let (outcome, error) = error_of(&world.cycle().await, "fibank");
        assert_eq!(outcome, Outcome::Failed, "{call}: {error}");
        assert!(error.contains(limit), "{call}: {error}");
    }
    world.bank.server.heal();
    world.cycle().await;
    world.assert_delivered();
}

/// Small on the way, large or without an end once read.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_bounded_by_what_it_is_once_decompressed() {
    let world = World::new(Bank::small()).await;
    let spaces = bomb("", " ");
    assert!(spaces.len() < 40_000);
    for (call, fault, limit) in [
        ("oauth/authorize", Fault::Answer(GZIP_HTML, spaces.clone()), "larger than 2 MiB"),
        ("oauth/authorize", Fault::Endless(HTML, "<p>x"), "larger than 2 MiB"),
        ("fnGetCertsForLogin", Fault::Answer(GZIP, spaces.clone()), "larger than 2 MiB"),
        ("getCustQuery", Fault::Answer(GZIP, bomb("[", "[],")), "larger than 8 MiB"),
        ("getCustQuery", Fault::Answer(GZIP_TWICE, spaces.clone()), "not UTF-8"),
        ("getFilteredAccounts", Fault::Endless(JSON, "[0,"), "larger than 8 MiB"),
        ("getFilteredAccounts", Fault::Endless(HTML, " "), "larger than 2 MiB"),
        ("GetCustBal", Fault::Answer(GZIP, bomb(r#"{"acc":["#, "{},")), "more than 1000, "),
        ("GetCustBal", Fault::Answer(GZIP, bomb(r#"{"acc":[{"stmt":["#, "0,")), "more than 1000000, "),
    ] {
        world.bank.server.heal();
        world.bank.server.fail(call, 0, u32::MAX, fault);
        let (outcome, error) = error_of(&world.cycle().await, "fibank");
        assert_eq!(outcome, Outcome::Failed, "{call}: {error}");
        assert!(error.contains(limit), "{call}: {error}");
    }
    world.bank.server.heal();
    world.cycle().await;
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_too_long_for_one_reply_comes_in_smaller_windows() {
    let world = World::new(Bank::small()).await;
    world.bank.server.fail("GetCustBal", 0, 1, Fault::Endless(JSON, "                "));
    let report = world.cycle().await;
    assert_eq!(error_of(&report, "fibank"), (Outcome::Ok, String::new()));
    world.assert_delivered();

    world.bank.server.fail("GetCustBal", 0, u32::MAX, Fault::Endless(JSON, "                "));
    let (_, error) = error_of(&world.cycle().await, "fibank");
    assert!(error.contains("larger than 128 MiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_nested_deeper_than_is_read_back_is_refused_by_name() {
    let world = World::new(Bank::small()).await;
    let deep = |levels: usize| {
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        format!(
            r#"{{"acc":[{{"iban":"BG32FINV91501000000001","ccy":"EUR","acyCurrBalance":-1.00,"stmt":[{{"acEntrySrNo":77,"dateTime":"2026-02-03T10:11:12+0200",
                "amount":1.00,"dtkt":"D","acBal":-1.00,"trnType":"T","deep":{nested}}}]}}]}}"#
        )
    };
    world.bank.server.fail("GetCustBal", 0, 1, Fault::Answer(JSON, deep(20_000).into_bytes()));
    let (_, error) = error_of(&world.cycle().await, "fibank");
    assert!(error.contains("entry 77") && error.contains("nested deeper than 100"), "{error}");

    // Every reader can read a reply that was accepted.
    world.bank.server.fail("GetCustBal", 0, 1, Fault::Answer(JSON, deep(98).into_bytes()));
    world.cycle().await;
    let (status, rows) = json(&world, &["transactions", "--json"]).await;
    assert_eq!(status, 0);
    assert!(rows.as_array().unwrap().iter().any(|row| row["id"].as_str().unwrap().ends_with(":77")), "{rows}");
    let question = "SELECT id FROM transactions WHERE json_valid(raw) AND id LIKE '%:77'";
    assert!(String::from_utf8_lossy(&run(&world, &["sql", question]).await.stdout).contains(":77"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_google_answers_is_bounded() {
    let world = World::new(Bank::small()).await;
    for (call, fault, limit) in [
        ("POST /token", Fault::Endless(JSON, " "), "larger than 1 MiB"),
        ("developerMetadata:search", Fault::Endless(JSON, "[0,"), "larger than 8 MiB"),
        ("GET /v4/spreadsheets/", Fault::Endless(JSON, "{\"a\":"), "larger than 8 MiB"),
        ("developerMetadata:search", Fault::Answer(JSON, "[".repeat(100_000).into_bytes()), "Google's answer"),
        ("GET /v4/spreadsheets/", Fault::Answer(JSON, br#"{"sheets":["#.repeat(50_000)), "Google's answer"),
    ] {
        world.google.server.heal();
        world.google.server.fail(call, 0, u32::MAX, fault);
        let (outcome, error) = error_of(&world.cycle().await, "household");
        assert_eq!(outcome, Outcome::Failed, "{call}: {error}");
        assert!(error.contains(limit), "{call}: {error}");
    }
    world.google.server.heal();
    world.google.server.fail("POST /v4/", 1, 1, Fault::Endless(JSON, " "));
    world.cycle().await;
    world.google.server.heal();
    world.cycle().await;
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_airtable_answers_is_bounded() {
    let world = World::new(Bank::small()).await;
    let field = r#"{"id":"fld1","name":"a","type":"number","options":"#;
    let deep = format!(r#"{{"tables":[{{"id":"tbl1","name":"x","fields":[{field}{}"#, "[".repeat(100_000));
    for (call, fault, limit) in [
        ("GET /v0/meta", Fault::Endless(JSON, "[[[0,"), "larger than 8 MiB"),
        ("GET /v0/meta", Fault::Answer(GZIP, bomb("[", "0,")), "larger than 8 MiB"),
        ("GET /v0/meta", Fault::Answer(JSON, deep.clone().into_bytes()), "cut short or is not JSON"),
        ("PATCH /v0/", Fault::Endless(JSON, " "), "larger than 8 MiB"),
    ] {
        world.airtable.server.heal();
        world.airtable.server.fail(call, 0, u32::MAX, fault);
        let (outcome, error) = error_of(&world.cycle().await, "base");
        assert_eq!(outcome, Outcome::Failed, "{call}: {error}");
        assert!(error.contains(limit), "{call}: {error}");
    }
    world.airtable.server.heal();
    world.cycle().await;
    world.assert_delivered();
}

/// The status alone says that a notice was taken; the rest of the answer is not waited for, or the notice would be sent
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_whose_answer_never_ends_has_taken_the_notice() {
    let notices = Notices::start().await.unwrap();
    let mut world = World::new(Bank::small()).await;
    let url = notices.server.url();
    world.extra[2] = format!(
        "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\non = [\"new-rows\"]\n[[notify]]\nkind = \"webhook\"\nurl = \"{url}/hook\"\non = [\"new-rows\"]\n"
    );
    world.write_config();
    notices.server.fail("POST", 0, u32::MAX, Fault::Endless(HTML, "<p>"));
    let output = run(&world, &["sync"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("notify"), "{said}");
    let arrived = notices.take();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    run(&world, &["sync"]).await;
    assert_eq!(notices.take(), []);
}

/// A page takes a parser as long as it is allowed to, again and again: the stop signal is heard all the same, and the
/// daemon is afterwards no larger than the pages it read.
#[tokio::test(flavor = "multi_thread")]
async fn the_stop_signal_is_heard_while_pages_are_read() {
    let world = World::new(Bank::small()).await;
    let attributes: String = (0..300_000).map(|at| format!(" {at:x}")).collect();
    world.bank.server.fail("/oauth2-server/", 0, u32::MAX, Fault::Answer(HTML, format!("<p{attributes}").into_bytes()));
    let daemon = Daemon::start(&world).await;
    let asked = async { run(&world, &["sync"]).await };
    let stopped = async {
        until("the bank is asked", || world.bank.server.requests() > 0).await;
        daemon.stop().await;
    };
    tokio::join!(asked, stopped);
    assert_eq!(world.bank.login_attempts(), 0);
}
