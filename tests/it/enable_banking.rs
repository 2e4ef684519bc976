//! Enable Banking, from the owner's consent to rows in the sheet: sign-ins, renewals, limits, and the ways in which banks
//! change the ids of rows. The threads that reported a trap are named where it is laid.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use bankfeed::simulator::enable_banking::{Account, Decision, Paging, Period, References, Traps, entry};
use bankfeed::simulator::fibank::Bank as Fibank;
use bankfeed::sync::{Outcome, Report, Request, SourceReport};
use chrono::{Days, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::cli::{bankfeed, json, run};
use crate::world::{World, write_private};

const IBAN: &str = "BG32FINV91501000000001";
const OTHER_IBAN: &str = "BG05FINV91501000000002";

fn ago(days: u64) -> NaiveDate {
    Utc::now().date_naive() - Days::new(days)
}

/// A household with one account at the bank and these lines in its entry.
async fn world_with(lines: &str) -> World {
    let world = World::new(Fibank::small()).await;
    world.enable_banking.bank(|bank| {
        bank.accounts = vec![Account { entries: entries(), ..Account::new(IBAN) }];
        bank.traps = Traps { quota: None, ..Traps::default() };
    });
    let key = world.dir.path().join("google-key.json");
    let (sheet, table) = (world.services.sheet(&key), world.services.table());
    let text = format!(
        "data_dir = \"{}\"\ntimezone = \"Europe/Sofia\"\n\n{}{lines}\n\n{sheet}\n{table}\n",
        world.data_dir().display(),
        world.services.consent(),
    );
    write_private(&world.config_path(), &text);
    world
}

/// A household that may ask as often as it likes.
async fn world() -> World {
    world_with("daily_calls = 1000").await
}

/// A few entries, twins among them, the oldest older than a bank gives without a fresh consent.
fn entries() -> Vec<Value> {
    vec![
        entry(ago(400), "-12.00", "Old Shop", "long ago"),
        entry(ago(40), "1500.00", "Employer", "salary"),
        entry(ago(9), "-3.50", "Cafe", "espresso"),
        entry(ago(9), "-3.50", "Cafe", "espresso"),
        entry(ago(9), "-8.20", "Lidl", "food"),
        entry(ago(2), "-19.99", "Spotify", "music"),
    ]
}

/// A browser: goes to an address and gives the one that it ends on.
async fn visit(address: &str) -> String {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().tls_certs_only([]);
    let answer = http.build().unwrap().get(address).send().await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// Runs `login` and pastes what `answer` makes of the address that the browser ends on.
async fn login_with(world: &World, answer: impl Fn(String) -> String) -> (i32, String) {
    let mut command = bankfeed(world, &["login", "dsk"]);
    let mut child = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    })
    .await
    .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (said, stderr, address) = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).unwrap() == 0 {
                return (said, stderr, None);
            }
            said += &line;
            if line.starts_with("http") {
                return (said, stderr, Some(line.trim().to_owned()));
            }
        }
    })
    .await
    .unwrap();
    if let Some(address) = address {
        let pasted = answer(visit(&address).await) + "\n";
        child.stdin.take().unwrap().write_all(pasted.as_bytes()).unwrap();
    }
    let end = move || {
        let (mut said, mut stderr) = (said, stderr);
        stderr.read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code().unwrap(), said)
    };
    tokio::task::spawn_blocking(end).await.unwrap()
}

async fn login(world: &World) {
    let (status, said) = login_with(world, |address| address).await;
    assert_eq!(status, 0, "{said}");
}

/// Lets hours pass since the consent, for the service and for the connector.
fn age(world: &World, hours: i64) {
    world.enable_banking.edit(|service| {
        for session in &mut service.sessions {
            session.created -= TimeDelta::hours(hours);
        }
    });
    let path = session_file(world);
    let text = std::fs::read_to_string(&path).unwrap();
    let (answer, life) = text.trim().split_once('\n').unwrap();
    let (from, until) = life.split_once(' ').unwrap();
    let from = chrono::DateTime::parse_from_rfc3339(from).unwrap() - TimeDelta::hours(hours);
    write_private(&path, &format!("{answer}\n{} {until}\n", from.to_rfc3339()));
}

fn session_file(world: &World) -> std::path::PathBuf {
    world.data_dir().join("logins/enable-banking-dsk.json")
}

async fn pull(world: &World) -> SourceReport {
    source(world.scheduled_cycle().await)
}

fn source(mut report: Report) -> SourceReport {
    report.sources.remove(0)
}

/// Counts the amounts in the sheet, after a look that the base holds the same.
fn delivered(world: &World) -> BTreeMap<String, usize> {
    let count = |rows: Vec<(String, String)>| {
        let mut counts = BTreeMap::new();
        rows.into_iter().for_each(|(_, amount)| *counts.entry(amount).or_default() += 1);
        counts
    };
    let sheet = count(world.in_sheet());
    assert_eq!(sheet, count(world.in_base()), "sheet and base differ");
    sheet
}

/// The entries of the bank by amount.
fn booked(world: &World) -> BTreeMap<String, usize> {
    let entries = world.enable_banking.bank(|bank| bank.accounts[0].entries.clone());
    let mut counts = BTreeMap::new();
    for entry in entries {
        let amount: f64 = entry["transaction_amount"]["amount"].as_str().unwrap().parse().unwrap();
        let sign = if entry["credit_debit_indicator"] == "DBIT" { -1.0 } else { 1.0 };
        *counts.entry(format!("{:.2}", sign * amount)).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_brings_the_whole_history_into_the_sheet() {
    let world = world().await;
    let early = pull(&world).await;
    assert_eq!(early.outcome, Outcome::Attention);
    assert!(early.error.unwrap().contains("run `bankfeed login dsk`"));
    assert_eq!(world.enable_banking.server.requests(), 0);

    let (status, said) = login_with(&world, |address| address).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("give consent") && said.contains("run `bankfeed sync`"), "{said}");
    let kept = session_file(&world);
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&kept).unwrap();
    for part in ["session_id", "identification_hash", "\"valid_until\"", "Current account", "cash_account_type"] {
        assert!(text.contains(part), "the answer is not kept whole: {part}");
    }

    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new, report.accounts), (Outcome::Ok, 6, 1), "{report:?}");
    assert_eq!(delivered(&world), booked(&world));
    // The session, the transactions and the balance.
    assert_eq!(report.requests, 3);
    world.clear_logs();
    let report = pull(&world).await;
    assert_eq!((report.new, report.changed, report.requests), (0, 0, 2), "{report:?}");
    assert_eq!((world.google.server.requests(), world.airtable.server.requests()), (0, 0));

    let (_, accounts) = json(&world, &["accounts", "--json"]).await;
    assert_eq!((&accounts[0]["account"], &accounts[0]["balance"]), (&json!(IBAN), &json!("100.00")));
    world.enable_banking.server.clear_log();
    let checked = run(&world, &["check"]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    let asked: Vec<String> = world.enable_banking.server.log().into_iter().map(|call| call.target).collect();
    assert!(asked.len() == 2 && asked[0] == "/application" && asked[1].starts_with("/sessions/"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banks_of_the_country_are_listed() {
    let world = world().await;
    let text = |output: Output| String::from_utf8(output.stdout).unwrap();
    let listed = run(&world, &["login", "dsk", "--banks"]).await;
    assert_eq!(text(listed), "DSK Bank\tpersonal, business\tconsent for 180 days\n");
    let (_, listed) = json(&world, &["login", "dsk", "--banks", "--json"]).await;
    assert_eq!(listed, json!([{"name": "DSK Bank", "customers": ["personal", "business"], "consent_days": 180}]));
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    write_private(&world.config_path(), &config.replace("\"DSK Bank\"", "\"DSK\""));
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 3 && said.contains("did you mean `DSK Bank`?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_browser_counts_for_its_own_sign_in_alone() {
    let world = world().await;
    for (decision, expected) in [(Decision::Deny, "access_denied"), (Decision::WrongState, "another sign-in")] {
        world.enable_banking.bank(|bank| bank.decisions.push_back(decision));
        let (status, said) = login_with(&world, |address| address).await;
        assert!(status == 3 && said.contains(expected), "{status} {said}");
        assert!(!session_file(&world).exists());
    }
    let (status, said) = login_with(&world, |_| "I do not know".into()).await;
    assert!(status == 3 && said.contains("no address was given"), "{said}");
    login(&world).await;
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    // A renewal that comes to nothing takes nothing away.
    world.enable_banking.bank(|bank| bank.decisions.push_back(Decision::Deny));
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 1 && said.contains("access_denied"), "{status} {said}");
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_is_proved_before_the_owner_is_sent_to_the_bank() {
    let world = world().await;
    world.enable_banking.edit(|service| service.application.redirect_urls = vec!["https://elsewhere.example/".into()]);
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 3 && said.contains("redirect_url is none of those"), "{said}");
    world.enable_banking.edit(|service| service.application.is_active = false);
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 3 && said.contains("activate it by linking your accounts"), "{said}");
    let config = std::fs::read_to_string(world.config_path()).unwrap();
    let key = world.dir.path().join("other.pem");
    std::fs::write(&key, include_str!("../../src/simulator/google/test-key.pem")).unwrap();
    let line = config.lines().find(|line| line.starts_with("private_key")).unwrap();
    write_private(
        &world.config_path(),
        &config.replace(line, &format!("private_key = {{ file = \"{}\" }}", key.display())),
    );
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 3 && said.contains("application and private_key must belong together"), "{said}");
}

/// SYL #139, BT #59: everything came twice after a new consent.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_consent_changes_nothing_about_accounts_and_rows() {
    let world = world().await;
    world.enable_banking.bank(|bank| {
        let pocket = |currency: &str| Account {
            currency: currency.into(),
            key: currency.into(),
            entries: vec![entry(ago(3), "-1.00", "Kiosk", currency)],
            ..Account::new(OTHER_IBAN)
        };
        let unknown = Account { iban: None, other: Some("12 34".into()), ..Account::new("x") };
        let unlinked = Account { is_linked: false, ..Account::new("y") };
        bank.accounts.extend([pocket("EUR"), pocket("USD"), unknown, unlinked]);
    });
    login(&world).await;
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.accounts, report.new), (Outcome::Ok, 4, 8), "{report:?}");
    let names = async || {
        let (_, accounts) = json(&world, &["accounts", "--json"]).await;
        let names = accounts.as_array().unwrap().iter().map(|account| account["account"].as_str().unwrap().to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names().await;
    let expected = [IBAN.to_owned(), format!("{OTHER_IBAN}-EUR"), format!("{OTHER_IBAN}-USD"), "1234".into()];
    assert_eq!(before, expected.into());
    world.enable_banking.bank(|bank| bank.accounts.reverse());
    login(&world).await;
    // The new consent has replaced the old one.
    world.enable_banking.edit(|service| service.sessions[0].status = "CLOSED");
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new, report.changed), (Outcome::Ok, 0, 0), "{report:?}");
    assert_eq!(names().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_ends_early_is_left_alone_until_the_owner_acts() {
    let world = world().await;
    login(&world).await;
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    for status in ["REVOKED", "CLOSED", "EXPIRED", "INVALID", "CANCELLED"] {
        world.enable_banking.edit(|service| service.sessions.last_mut().unwrap().status = status);
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.requests), (Outcome::Attention, 1), "{status}: {report:?}");
        assert!(report.error.unwrap().contains("give a new one with `bankfeed login dsk`"));
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.requests), (Outcome::Attention, 0), "{status}");
        // A sign-in that comes to nothing changes nothing.
        world.enable_banking.bank(|bank| bank.decisions.push_back(Decision::Deny));
        assert_eq!(login_with(&world, |address| address).await.0, 3);
        assert_eq!(pull(&world).await.requests, 0);
        login(&world).await;
        assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_over_restarts_and_dry_runs() {
    let world = world_with("daily_calls = 3").await;
    world.enable_banking.bank(|bank| bank.accounts.push(Account::new(OTHER_IBAN)));
    login(&world).await;
    let dry = Request { dry_run: true, ..Request::default() };
    assert_eq!(source(world.cycle_with(dry).await).outcome, Outcome::Ok);
    for _ in 0..2 {
        assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    }
    assert_eq!(delivered(&world), booked(&world));
    for _ in 0..3 {
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.error), (Outcome::Skipped, None), "{:?}", report.notes);
    }
    assert_eq!(world.enable_banking.calls("transactions"), [3, 3]);
    assert_eq!(world.enable_banking.calls("balances"), [1, 1]);
    let (_, status) = json(&world, &["status", "--json"]).await;
    assert_eq!((&status["sources"][0]["error"], &status["sources"][0]["attention"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_wants_a_pause_gets_it_and_the_owner_present_does_not_wait() {
    let world = world().await;
    world.enable_banking.bank(|bank| {
        bank.traps.quota = Some(1);
        bank.required_headers = vec!["Psu-Ip-Address".into(), "psu-accept-language".into()];
    });
    login(&world).await;
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    for _ in 0..3 {
        assert_eq!(pull(&world).await.outcome, Outcome::Skipped);
    }
    world.enable_banking.server.clear_log();
    let attended = Request { by_hand: true, at_terminal: true, ..Request::default() };
    for _ in 0..3 {
        assert_eq!(source(world.cycle_with(attended.clone()).await).outcome, Outcome::Ok);
    }
    // HypoVereinsbank fails where it is told of the owner's presence (ACT #8355).
    world.enable_banking.bank(|bank| (bank.traps.fails_with_presence, bank.traps.quota) = (true, None));
    login(&world).await;
    let report = source(world.cycle_with(attended).await);
    assert_eq!(report.outcome, Outcome::Ok, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_own_reaction() {
    let world = world().await;
    login(&world).await;
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    let error = |code: &str, detail: Value| json!({"message": "words", "error": code, "detail": detail});
    for (status, body, outcome, words) in [
        (400, error("ASPSP_ERROR", json!(null)), Outcome::Failed, "the next run tries again"),
        (400, error("ASPSP_ERROR", json!("[HUB046] x")), Outcome::Failed, "the next run tries again"),
        (400, error("ASPSP_ERROR", json!({"message": "x"})), Outcome::Failed, "the next run tries again"),
        (408, error("ASPSP_TIMEOUT", json!(null)), Outcome::Failed, "the next run tries again"),
        (418, error("SOMETHING_NEW", json!([1])), Outcome::Failed, "SOMETHING_NEW"),
        (404, error("ACCOUNT_DOES_NOT_EXIST", json!(null)), Outcome::Failed, "link the account again"),
        (422, error("PSU_HEADER_NOT_PROVIDED", json!(null)), Outcome::Failed, "only while you are present"),
    ] {
        world.enable_banking.bank(|bank| bank.traps.failing = vec![("transactions", status, body.clone())]);
        let report = pull(&world).await;
        assert_eq!(report.outcome, outcome, "{body}: {report:?}");
        assert!(report.error.as_ref().is_some_and(|error| error.contains(words)), "{report:?}");
    }
    let action = error("ASPSP_PSU_ACTION_REQUIRED", json!(null));
    world.enable_banking.bank(|bank| bank.traps.failing = vec![("transactions", 400, action)]);
    let report = pull(&world).await;
    assert!(report.outcome == Outcome::Attention && report.error.unwrap().contains("sign in at the bank's own page"));
    assert_eq!(pull(&world).await.requests, 0);
    world.enable_banking.bank(|bank| bank.traps.failing.clear());
    let retried = world.cycle_with(Request { by_hand: true, ..Request::default() }).await;
    assert_eq!(source(retried).outcome, Outcome::Ok);
    assert_eq!(delivered(&world), booked(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_that_fail_hold_back_no_row() {
    let world = world().await;
    let body = json!({"message": "Error interacting with ASPSP", "error": "ASPSP_ERROR", "detail": {"message": "x"}});
    world.enable_banking.bank(|bank| bank.traps.failing = vec![("balances", 400, body)]);
    login(&world).await;
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new), (Outcome::Ok, 6), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("its balance does not come")), "{report:?}");
    assert_eq!(delivered(&world), booked(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_period_shrinks_whatever_the_way_of_refusing() {
    for (period, days, expected) in [
        (Period::Any, 90, 6),
        (Period::Refused(true), 90, 5),
        (Period::Refused(false), 88, 5),
        (Period::Trouble, 88, 5),
        (Period::Refused(false), 45, 4),
        (Period::Cut, 90, 5),
    ] {
        let world = world().await;
        world.enable_banking.bank(|bank| {
            bank.traps = Traps { period, days, history_minutes: 0, quota: None, ..Traps::default() };
        });
        login(&world).await;
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.new), (Outcome::Ok, expected), "{period:?} {days}: {report:?}");
        let again = pull(&world).await;
        assert_eq!((again.outcome, again.new, again.vanished), (Outcome::Ok, 0, 0), "{period:?} {days}: {again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_was_missed_comes_with_the_next_consent() {
    let world = world().await;
    login(&world).await;
    age(&world, 5);
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new), (Outcome::Ok, 5), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("within the hour")), "{report:?}");
    login(&world).await;
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new), (Outcome::Ok, 1), "{report:?}");
    assert_eq!(delivered(&world), booked(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_are_left_and_the_position_stays() {
    // Trade Republic, ACT #8846 and #8927; Swedbank, accounted #1754; an empty page first, FAQ.
    for (paging, rows) in [(Paging::EmptyFirst, 6), (Paging::Repeats, 3), (Paging::Endless, 0), (Paging::Usual, 6)] {
        let world = world().await;
        world.enable_banking.bank(|bank| (bank.traps.paging, bank.traps.page_rows) = (paging, 3));
        login(&world).await;
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.new), (Outcome::Ok, rows), "{paging:?}: {report:?}");
        let (_, status) = json(&world, &["status", "--json"]).await;
        let is_whole = matches!(paging, Paging::EmptyFirst | Paging::Usual);
        assert_eq!(status["accounts"][0]["complete"], is_whole, "{paging:?}: {status}");
        world.enable_banking.bank(|bank| bank.traps.paging = Paging::Usual);
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.new), (Outcome::Ok, 6 - rows), "{paging:?}: {report:?}");
        assert_eq!(delivered(&world), booked(&world), "{paging:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_booked_between_two_pages_doubles_none_and_twins_at_the_break_stay_two() {
    for references in [References::Own, References::Null] {
        let world = world().await;
        world.enable_banking.bank(|bank| {
            bank.traps.references = references;
            // Newest first, the twins stand on both sides of the break.
            bank.traps.page_rows = 3;
            bank.traps.booked_meanwhile = vec![entry(ago(0), "-7.77", "Late", "between two pages")];
        });
        login(&world).await;
        for _ in 0..3 {
            assert_eq!(pull(&world).await.outcome, Outcome::Ok);
        }
        assert_eq!(delivered(&world), booked(&world), "{references:?}");
    }
}

/// Ten pulls over a trap: no row twice, none lost.
async fn ten_pulls(what: &str, traps: Traps, change: impl Fn(&mut Account, usize)) {
    let world = world().await;
    world.enable_banking.bank(|bank| bank.traps = Traps { quota: None, ..traps });
    login(&world).await;
    for round in 0..10 {
        let report = pull(&world).await;
        assert_eq!(report.outcome, Outcome::Ok, "{what}, pull {round}: {report:?}");
        assert_eq!(delivered(&world), booked(&world), "{what}, pull {round}");
        world.enable_banking.bank(|bank| change(&mut bank.accounts[0], round));
    }
}

/// YN #154 and #155, SYL #59, SURE #2883: no ids. SEC #753: the same for all. ACT #8701, #7799, WM #669: positional.
/// SURE #3464, SEC #612: new ids at each fetch. SURE #2720, #3497: true twins.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_banks_neither_double_nor_lose_a_row() {
    for references in
        [References::Own, References::Null, References::Placeholder, References::Positional, References::New]
    {
        let arrive = |account: &mut Account, round: usize| {
            account.entries.push(entry(ago(2), "-1.10", "Kiosk", &format!("paper {}", round / 2)));
        };
        ten_pulls(&format!("{references:?}"), Traps { references, shuffles: true, ..Traps::default() }, arrive).await;
    }
}

/// FF #11925: codes differ from fetch to fetch. SURE #954: the same row twice in one answer.
#[tokio::test(flavor = "multi_thread")]
async fn codes_and_repeated_rows_neither_double_nor_lose_a_row() {
    ten_pulls("codes", Traps { codes_change: true, ..Traps::default() }, |_, _| {}).await;
    let once = |account: &mut Account| account.entries.remove(3);
    let same = Traps { doubles: Some(true), ..Traps::default() };
    // Twins have an id each here, and one of them alone is left.
    let world = world().await;
    world.enable_banking.bank(|bank| {
        once(&mut bank.accounts[0]);
        bank.traps = Traps { quota: None, ..same };
    });
    login(&world).await;
    for _ in 0..3 {
        assert_eq!(pull(&world).await.outcome, Outcome::Ok);
        assert_eq!(delivered(&world), booked(&world));
    }
    // Under two ids the balance after the row tells that it is one.
    world.enable_banking.bank(|bank| {
        bank.traps.doubles = Some(false);
        for (at, entry) in bank.accounts[0].entries.iter_mut().enumerate() {
            entry["balance_after_transaction"] = json!({"currency": "EUR", "amount": format!("{at}.00")});
        }
    });
    assert_eq!(pull(&world).await.new, 0);
    assert_eq!(delivered(&world), booked(&world));
}

/// Millennium gives everything whatever is asked for; Alior filters by the date of the purchase (GNC).
#[tokio::test(flavor = "multi_thread")]
async fn filters_of_banks_neither_double_nor_lose_a_row() {
    ten_pulls("all dates", Traps { ignores_dates: true, ..Traps::default() }, |_, _| {}).await;
    let late = |account: &mut Account, round: usize| {
        let mut row = entry(ago(1), "-2.22", "Card", &format!("bought {round} days before"));
        row["transaction_date"] = json!(ago(1 + round as u64).to_string());
        account.entries.push(row);
    };
    ten_pulls("by purchase", Traps { filters_by_transaction_date: true, ..Traps::default() }, late).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_fetches_the_history_right_after_the_consent() {
    let world = world().await;
    let daemon = crate::cli::Daemon::start(&world).await;
    let (status, said) = login_with(&world, |address| address).await;
    assert!(status == 0 && said.contains("the daemon fetches the whole history now"), "{said}");
    let started = std::time::Instant::now();
    while world.enable_banking.calls("balances") != [1] {
        assert!(started.elapsed().as_secs() < 30, "it never happened");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    daemon.stop().await;
}
