//! SimpleFIN: the claim, the daily request and the way into the past, complaints, quota, and the traps of its ids.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use bankfeed::remote::Cause;
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::Bank;
use bankfeed::simulator::simplefin::{Complaint, Ledger, PASSWORD, Switches, USER};
use bankfeed::sync::{Outcome, Report, Request, SourceReport};
use chrono::{Days, NaiveDate, Utc};
use serde_json::Value;

use crate::cli::{json, run};
use crate::login::answer_to;
use crate::world::{World, write_private};

fn today() -> NaiveDate {
    Utc::now().date_naive()
}

fn back(days: u64) -> NaiveDate {
    today().checked_sub_days(Days::new(days)).unwrap()
}

/// A world with SimpleFIN alone as its source, both destinations, and these further lines in the source's entry.
async fn world(further: &str) -> World {
    let world = World::new(Bank::small()).await;
    configure(&world, further);
    world
}

fn configure(world: &World, further: &str) {
    let key = world.dir.path().join("google-key.json");
    let text = format!(
        "data_dir = \"{}\"\ntimezone = \"America/New_York\"\n{}{further}\n{}{}",
        world.data_dir().display(),
        world.us(),
        world.services.sheet(&key),
        world.table(),
    );
    write_private(&world.config_path(), &text);
}

/// A world whose owner has claimed the access.
async fn claimed(further: &str) -> World {
    let world = world(further).await;
    let (status, said) = login(&world, &world.simplefin.setup_token()).await;
    assert_eq!(status, 0, "{said}");
    world.simplefin.server.clear_log();
    world
}

async fn login(world: &World, answer: &str) -> (i32, String) {
    answer_to(world, &["login", "us"], answer).await
}

fn switch(world: &World, change: impl FnOnce(&mut Switches)) {
    world.simplefin.switch(change);
}

fn complain(world: &World, code: &str, words: &str, connection: Option<&str>, account: Option<&str>) {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let (connection, account) = (own(connection), own(account));
    let complaint = Complaint { code: code.to_owned(), words: words.to_owned(), connection, account };
    switch(world, |switches| switches.complaints = vec![complaint]);
}

/// A cycle of the schedule.
async fn cycle(world: &World) -> Report {
    world.scheduled_cycle().await
}

async fn pull(world: &World) -> SourceReport {
    cycle(world).await.sources.remove(0)
}

fn kept(world: &World) -> std::path::PathBuf {
    world.data_dir().join("logins/simplefin-us.json")
}

fn ids(world: &World) -> [String; 3] {
    world.simplefin.edit(|ledger| [0, 1, 2].map(|at| ledger.accounts[at].id.clone()))
}

/// The booked transactions by account, date, amount and description, with how many there are of each.
fn booked(world: &World) -> BTreeMap<String, usize> {
    let mut booked = BTreeMap::new();
    world.simplefin.edit(|ledger| {
        for account in &ledger.accounts {
            for row in account.transactions.iter().filter(|row| row.is_booked()) {
                let day = chrono::DateTime::from_timestamp(row.posted, 0).unwrap().date_naive();
                let amount: rust_decimal::Decimal = row.amount.parse().unwrap();
                *booked.entry(format!("{day} {amount:.2} {}", row.description)).or_default() += 1;
            }
        }
    });
    booked
}

/// The rows of the store in the same form; vanished ones are left out.
async fn stored(world: &World) -> BTreeMap<String, usize> {
    let (status, rows) = json(world, &["transactions", "--json", "--limit", "1000"]).await;
    assert_eq!(status, 0);
    let mut stored = BTreeMap::new();
    for row in rows.as_array().unwrap().iter().filter(|row| row["vanished"] != true) {
        let amount: rust_decimal::Decimal = row["amount"].as_str().unwrap().parse().unwrap();
        let (day, text) = (row["date"].as_str().unwrap(), row["description"].as_str().unwrap());
        *stored.entry(format!("{day} {amount:.2} {text}")).or_default() += 1;
    }
    stored
}

/// Everything is there, in the store and in both destinations, as often as it was booked.
async fn assert_whole(world: &World) {
    let booked = booked(world);
    assert_eq!(stored(world).await, booked);
    let count: usize = booked.values().sum();
    assert_eq!((world.in_sheet().len(), world.in_base().len()), (count, count));
}

async fn accounts(world: &World) -> BTreeMap<String, Value> {
    let (_, status) = json(world, &["status", "--json"]).await;
    let accounts = status["accounts"].as_array().unwrap().iter();
    accounts.map(|account| (account["account"].as_str().unwrap().to_owned(), account.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_token_is_claimed_once_and_its_answer_is_kept_before_anything_else() {
    let world = world("").await;
    let token = world.simplefin.setup_token();
    let (head, tail) = token.trim_end_matches('=').split_at(12);
    for wrong in ["", "%%%", "aGVsbG8="] {
        let (status, said) = login(&world, wrong).await;
        assert!(status != 0 && said.contains("this is no setup token"), "{said}");
    }
    assert_eq!(world.simplefin.server.requests(), 0, "nothing was sent");
    assert_eq!(pull(&world).await.cause.as_deref(), Some("token"));
    switch(&world, |switches| switches.line_feed = true);
    let (status, said) = login(&world, &format!(" {head} {tail} ")).await;
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains(PASSWORD) && !said.contains(head), "{said}");
    assert_eq!(kept(&world).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(kept(&world)).unwrap();
    assert_eq!(text.trim(), world.simplefin.access_url());
    let log = world.simplefin.server.log();
    let asked: Vec<&str> = log.iter().map(|request| request.target.as_str()).collect();
    assert_eq!(asked, ["/simplefin/claim/T0001", "/simplefin/accounts?version=2&balances-only=1"]);
    assert!(log[0].body.is_empty() && !format!("{log:?}").contains(USER));

    let (status, said) = login(&world, &token).await;
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("claimed already") && said.contains("bankfeed login us"), "{said}");
    assert_eq!(std::fs::read_to_string(kept(&world)).unwrap(), text, "the former access stays");
    assert_eq!(pull(&world).await.outcome, Outcome::Ok, "nothing holds the schedule");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_an_answer_is_in_doubt_and_a_failed_proof_loses_nothing() {
    let world = world("").await;
    world.simplefin.server.fail_next("POST /simplefin/claim", Fault::ApplyThenDrop);
    let (status, said) = login(&world, &world.simplefin.setup_token()).await;
    assert_eq!(status, 3, "{said}");
    assert!(said.contains("not known whether the setup token is used up"), "{said}");
    assert!(!kept(&world).exists());
    for (fault, words) in [
        (Fault::Status(500, "x".into()), "status 500"),
        (Fault::Answer(&[("content-type", "text/plain")], b"https://bridge.example/".to_vec()), "holds no user name"),
    ] {
        world.simplefin.server.fail_next("POST /simplefin/claim", fault);
        let (status, said) = login(&world, &world.simplefin.setup_token()).await;
        assert!(status == 3 && said.contains(words) && said.contains("make a new one"), "{said}");
    }
    world.simplefin.server.fail("GET /simplefin/accounts", 0, 2, Fault::Status(502, "<h1>Bad gateway</h1>".into()));
    let (status, said) = login(&world, &world.simplefin.setup_token()).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("the access URL is kept"), "{said}");
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_pull_goes_back_in_slices_and_every_later_one_is_one_request() {
    let world = claimed("").await;
    let account = ids(&world)[0].clone();
    let pending = world.simplefin.edit(|ledger| ledger.reserve(&account, "-50.00", "FUEL PREAUTH"));
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.error.as_deref()), (Outcome::Ok, None));
    assert_eq!((report.accounts, report.requests), (3, 5), "{report:?}");
    assert_whole(&world).await;
    let log = world.simplefin.server.log();
    let mut end = None;
    for request in &log {
        let query: BTreeMap<String, String> =
            url::Url::parse(&format!("http://x{}", request.target)).unwrap().query_pairs().into_owned().collect();
        let seconds = |key: &str| query.get(key).map(|text| text.parse::<i64>().unwrap());
        assert_eq!((query["version"].as_str(), query.get("pending")), ("2", None));
        assert_eq!(seconds("end-date"), end);
        let last = end.unwrap_or_else(|| Utc::now().timestamp());
        assert!((1..=45 * 86_400).contains(&(last - seconds("start-date").unwrap())));
        end = seconds("start-date");
    }
    assert_eq!(
        log[0].target.split("start-date=").nth(1),
        Some(&*back(44).and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp().to_string())
    );
    for _ in 0..2 {
        let report = pull(&world).await;
        assert_eq!((report.requests, report.new, report.changed, report.vanished), (1, 0, 0, 0), "{report:?}");
    }
    let posted = world.simplefin.edit(|ledger| ledger.post(&account, &pending, today(), true));
    let report = pull(&world).await;
    assert_eq!((report.requests, report.new, report.vanished), (1, 1, 0));
    assert!(
        world
            .in_sheet()
            .iter()
            .any(|(id, amount)| *id == format!("simplefin:{account}:{posted}") && amount == "-50.00")
    );
    assert_whole(&world).await;
    assert!(accounts(&world).await.values().all(|account| account["complete"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_begins_where_the_owner_wants_it() {
    let world = claimed(&format!("history_from = {}\n", back(60))).await;
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.requests), (Outcome::Ok, 2), "{report:?}");
    let (_, rows) = json(&world, &["transactions", "--json", "--limit", "1000"]).await;
    let first = rows.as_array().unwrap().iter().map(|row| row["date"].as_str().unwrap().to_owned()).min();
    assert!(first.unwrap() >= back(60).to_string());
    assert_eq!(pull(&world).await.requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_give_the_same_rows() {
    let world = claimed("").await;
    switch(&world, |switches| switches.is_old = true);
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.accounts), (Outcome::Ok, 3), "{report:?}");
    assert_whole(&world).await;
    switch(&world, |switches| switches.is_old = false);
    let report = pull(&world).await;
    assert_eq!((report.new, report.changed, report.vanished), (0, 0, 0), "{report:?}");
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_chosen_by_id_and_the_same_row_id_in_two_accounts_is_two_rows() {
    let world = claimed("accounts = [\"Demo Savings\", \"Demo Checking\"]\n").await;
    world.simplefin.edit(|ledger| {
        for (at, id) in ["Demo Savings", "Demo Checking"].into_iter().enumerate() {
            ledger.accounts[at].id = id.to_owned();
            ledger.accounts[at].transactions.truncate(1);
            ledger.accounts[at].transactions[0].id = "1791014400".into();
        }
    });
    let report = cycle(&world).await;
    assert_eq!((report.sources[0].outcome, report.sources[0].new), (Outcome::Ok, 2), "{report:?}");
    let ids: Vec<String> = world.in_sheet().into_iter().map(|(id, _)| id).collect();
    for account in ["Demo%20Savings", "Demo%20Checking"] {
        assert!(ids.contains(&format!("simplefin:{account}:1791014400")), "{ids:?}");
    }
    configure(&world, "accounts = [\"Demo Savings\", \"Nowhere\"]\n");
    let report = pull(&world).await;
    assert!(report.error.unwrap().contains("`accounts` names Nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_complaint_has_its_reaction_and_the_rows_are_stored_all_the_same() {
    let world = claimed("").await;
    let [checking, _, savings] = ids(&world);
    let (bank, other) =
        world.simplefin.edit(|ledger| (ledger.connections[0].id.clone(), ledger.connections[1].id.clone()));
    cycle(&world).await;
    let complaints = [
        (
            "con.auth",
            "Authentication failed\u{1b}[31m",
            Some(&*bank),
            None,
            Outcome::Attention,
            "Example Bank - Alex: Authentication failed[31m",
            2,
        ),
        ("con.new", "something", Some(&*other), None, Outcome::Attention, "Savings Union", 1),
        (
            "act.failed",
            "Failed to get all transactions. Try again later.",
            None,
            Some(&*savings),
            Outcome::Failed,
            "Try again later",
            1,
        ),
        ("act.missingdata", "Some are missing", None, Some(&*checking), Outcome::Failed, "Some are missing", 1),
        (
            "gen.api",
            "Requested date range exceeds limit of 90 days and was capped.",
            None,
            None,
            Outcome::Failed,
            "was capped",
            3,
        ),
        ("new.code", "who knows", None, None, Outcome::Failed, "who knows", 3),
    ];
    for (days, (code, words, connection, account, outcome, says, doubtful)) in (1..).zip(complaints) {
        complain(&world, code, words, connection, account);
        world.simplefin.edit(|ledger| ledger.book(&checking, back(days), "-1.00", &format!("ROW OF {code}")));
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.new), (outcome, 1), "{code}: {report:?}");
        assert!(report.error.as_ref().is_some_and(|error| error.contains(says)), "{code}: {report:?}");
        assert_whole(&world).await;
        let incomplete = accounts(&world).await.values().filter(|account| account["complete"] == false).count();
        assert_eq!(incomplete, doubtful, "{code}");
        if code == "con.auth" {
            let state = world.engine().store.source("us").unwrap();
            assert_eq!(state.attention.unwrap().cause, Cause::BankLogin);
        }
    }
    switch(&world, |switches| switches.complaints.clear());
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.new), (Outcome::Ok, 0), "{report:?}");
    assert!(accounts(&world).await.values().all(|account| account["complete"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_complaints_of_version_1_are_told_by_the_name_of_the_bank() {
    let world = claimed("").await;
    switch(&world, |switches| switches.is_old = true);
    for (words, outcome, cause, doubtful) in [
        ("Connection to Savings Union may need attention", Outcome::Attention, "bank-login", 1),
        ("You must reauthenticate.", Outcome::Attention, "bank-login", 3),
        ("Something else", Outcome::Failed, "unavailable", 3),
        ("Payment required.", Outcome::Attention, "access-ended", 3),
    ] {
        complain(&world, "", words, None, None);
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.cause.as_deref()), (outcome, Some(cause)), "{words}: {report:?}");
        let incomplete = accounts(&world).await.values().filter(|account| account["complete"] == false).count();
        assert_eq!(incomplete, doubtful, "{words}");
    }
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_missing_or_not_refreshed_is_told_and_never_deleted() {
    let world = claimed("").await;
    let [checking, _, savings] = ids(&world);
    cycle(&world).await;
    switch(&world, |switches| switches.missing = vec![savings.clone()]);
    world.simplefin.edit(|ledger| ledger.account(&checking).balance_date = Some(Utc::now().timestamp() - 6 * 86_400));
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.vanished), (Outcome::Attention, 0), "{report:?}");
    let error = report.error.unwrap();
    assert!(error.contains(&savings) && error.contains("was not refreshed since"), "{error}");
    assert!(accounts(&world).await.values().filter(|account| account["complete"] == false).count() == 2);
    assert_whole(&world).await;
    switch(&world, |switches| switches.missing.clear());
    world.simplefin.edit(|ledger| ledger.account(&checking).balance_date = None);
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_currency_is_refused_by_name_or_takes_the_configured_one() {
    let world = claimed("").await;
    let [checking, card, savings] = ids(&world);
    world.simplefin.edit(|ledger| {
        ledger.account(&card).currency = String::new();
        ledger.account(&savings).currency = "https://bank.example/currencies/points".into();
        ledger.account(&checking).currency = "eur".into();
    });
    let report = pull(&world).await;
    assert_eq!(report.outcome, Outcome::Failed);
    let error = report.error.unwrap();
    assert!(error.contains(&card) && error.contains("set `currency`") && error.contains("1 more"), "{error}");
    configure(&world, &format!("currency = \"USD\"\naccounts = [\"{checking}\", \"{card}\"]\n"));
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    let accounts = accounts(&world).await;
    assert_eq!((&accounts[&checking]["currency"], &accounts[&card]["currency"]), (&"EUR".into(), &"USD".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn spending_of_an_inverted_account_is_negative() {
    let world = world("").await;
    let card = ids(&world)[1].clone();
    configure(&world, &format!("invert = [\"{card}\"]\n"));
    login(&world, &world.simplefin.setup_token()).await;
    world.simplefin.edit(|ledger| ledger.book(&card, back(2), "42.00", "PURCHASE SENT AS POSITIVE"));
    cycle(&world).await;
    assert!(world.in_sheet().iter().any(|(id, amount)| id.contains(&card) && amount == "-42.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_day_sees_more_requests_than_the_service_allows() {
    let world = claimed("").await;
    switch(&world, |switches| switches.quota = Some(24));
    let mut last = None;
    for round in 0..30 {
        let request = Request { dry_run: round % 3 == 0, by_hand: true, ..Request::default() };
        last = Some(world.cycle_with(request).await.sources.remove(0));
    }
    let last = last.unwrap();
    assert_eq!((last.outcome, last.error.as_deref(), last.requests), (Outcome::Skipped, None, 0), "{last:?}");
    assert!(last.notes.iter().any(|note| note.contains("used up") && note.contains("it goes on at")), "{last:?}");
    assert_eq!(world.simplefin.spent_today(), 22, "two are left for a person at a terminal");
    let by_person = Request { by_hand: true, at_terminal: true, ..Request::default() };
    for (requests, outcome) in [(1, Outcome::Ok), (1, Outcome::Ok), (0, Outcome::Skipped)] {
        let report = world.cycle_with(by_person.clone()).await.sources.remove(0);
        assert_eq!((report.requests, report.outcome), (requests, outcome), "{report:?}");
    }
    assert_eq!(world.simplefin.spent_today(), 24);
    let state = world.engine().store.source("us").unwrap();
    assert!(state.attention.is_none() && state.error.is_none() && state.resting.is_some(), "{state:?}");
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_into_the_past_that_is_cut_short_is_gone_again() {
    let world = claimed("").await;
    world.simplefin.server.fail("end-date", 1, 2, Fault::Status(503, "busy".into()));
    let report = pull(&world).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert!(report.new > 10, "the rows that came are stored: {report:?}");
    assert!(accounts(&world).await.values().all(|account| account["complete"] == false));
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.requests), (Outcome::Ok, 5), "{report:?}");
    assert_whole(&world).await;
    assert_eq!(pull(&world).await.requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_that_has_ended_is_left_alone_until_the_owner_acts() {
    let world = claimed("").await;
    cycle(&world).await;
    world.simplefin.revoke();
    world.simplefin.server.clear_log();
    for _ in 0..4 {
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.cause.as_deref()), (Outcome::Attention, Some("access-ended")), "{report:?}");
        assert!(report.error.unwrap().contains("bankfeed login us"));
    }
    assert_eq!(world.simplefin.server.requests(), 1, "it is asked once");
    assert_eq!(run(&world, &["check"]).await.status.code(), Some(3));
    assert_eq!(world.simplefin.server.requests(), 1);
    let (status, said) = login(&world, &world.simplefin.setup_token()).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    assert_whole(&world).await;

    switch(&world, |switches| switches.is_unpaid = true);
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.cause.as_deref()), (Outcome::Attention, Some("access-ended")));
    assert!(report.error.unwrap().contains("payment"));
    switch(&world, |switches| switches.is_unpaid = false);
    assert_eq!(world.cycle().await.sources[0].outcome, Outcome::Ok, "`sync --retry` lifts it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_is_asked_again_later() {
    let world = claimed("").await;
    for (fault, words, requests) in [
        (Fault::Status(502, "<html><body>Bad gateway</body></html>".into()), "status 502", 2),
        (Fault::Answer(&[("content-type", "text/html")], b"<h1>Just a moment</h1>".to_vec()), "Just a moment", 2),
        (Fault::CutBody, "is cut off", 2),
        (Fault::Truncate, "the connection broke", 2),
        (Fault::Drop, "us: ", 2),
        (
            Fault::Answer(&[("content-type", "application/json")], b"{\"errors\":[]}".to_vec()),
            "has no list of accounts",
            1,
        ),
    ] {
        world.simplefin.server.fail("accounts", 0, 2, fault);
        let report = pull(&world).await;
        assert_eq!((report.outcome, report.requests), (Outcome::Failed, requests), "{report:?}");
        assert!(report.error.as_ref().is_some_and(|error| error.contains(words)), "{words}: {report:?}");
        world.simplefin.server.heal();
    }
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    assert_whole(&world).await;
    switch(&world, |switches| switches.is_exhausted = true);
    let report = pull(&world).await;
    assert_eq!((report.outcome, report.requests), (Outcome::Skipped, 1), "{report:?}");
    assert_eq!(pull(&world).await.requests, 0, "it rests until tomorrow");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_the_service_alone_and_are_seen_nowhere() {
    let world = claimed("").await;
    let other = world.bank.server.url();
    switch(&world, |switches| switches.redirect = Some(other.clone()));
    world.bank.server.clear_log();
    let report = pull(&world).await;
    assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
    assert!(report.error.as_ref().unwrap().contains("points to another address"), "{report:?}");
    assert_eq!(world.bank.server.requests(), 0);
    switch(&world, |switches| switches.redirect = None);
    let words = format!("user {USER} with {PASSWORD}");
    complain(&world, "gen.api", &words, None, None);
    let report = pull(&world).await;
    assert!(!format!("{report:?}").contains(PASSWORD) && !format!("{report:?}").contains(USER), "{report:?}");
    for arguments in [&["sync", "--json"][..], &["check"], &["status", "--json"], &["accounts"]] {
        let output = run(&world, arguments).await;
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(PASSWORD) && !said.contains(USER), "{arguments:?}: {said}");
    }
    assert!(!format!("{:?}", world.simplefin.server.log()).contains(PASSWORD));
    assert!(!format!("{:?}", world.engine().config).contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_url_in_the_configuration_needs_no_login() {
    let world = world("").await;
    configure(&world, &format!("access_url = \"{}\"\n", world.simplefin.access_url()));
    assert_eq!(run(&world, &["check"]).await.status.code(), Some(0));
    assert_eq!(world.simplefin.server.requests(), 1, "a check claims nothing and asks once");
    assert_eq!(pull(&world).await.outcome, Outcome::Ok);
    let (status, said) = login(&world, &world.simplefin.setup_token()).await;
    assert!(status == 1 && said.contains("`access_url` stands in the configuration"), "{said}");
    configure(&world, "access_url = \"http://u:p@bridge.example/simplefin\"\n");
    let output = run(&world, &["sync"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("access_url: must begin with https"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_that_cannot_be_right_raises_an_alarm() {
    let world = claimed("").await;
    let account = ids(&world)[0].clone();
    let ahead = today().checked_add_days(Days::new(360)).unwrap();
    let id = world.simplefin.edit(|ledger| ledger.book(&account, ahead, "-18.20", "CAFE"));
    let report = pull(&world).await;
    assert!(report.notes.iter().any(|note| note.contains("days ahead")), "{report:?}");
    assert_whole(&world).await;
    world.simplefin.edit(|ledger| {
        ledger.transaction(&account, &id).posted = back(5).and_hms_opt(12, 0, 0).unwrap().and_utc().timestamp();
    });
    let report = pull(&world).await;
    assert_eq!((report.new, report.changed), (0, 1), "{report:?}");
    assert_whole(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_corrections_and_withdrawals_arrive() {
    let world = claimed("").await;
    let account = ids(&world)[0].clone();
    cycle(&world).await;
    let late = world.simplefin.edit(|ledger| ledger.book(&account, back(40), "-7.00", "LATE"));
    let report = pull(&world).await;
    assert_eq!((report.new, report.requests), (1, 1), "{report:?}");
    world.simplefin.edit(|ledger| ledger.transaction(&account, &late).description = "LATE, CORRECTED".into());
    assert_eq!(pull(&world).await.changed, 1);
    assert_whole(&world).await;
    world.simplefin.edit(|ledger| ledger.account(&account).transactions.retain(|row| row.id != late));
    assert_eq!(pull(&world).await.vanished, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_connected_anew_waits_for_the_owners_word() {
    let world = claimed("").await;
    cycle(&world).await;
    let before = booked(&world);
    let renamed = world.simplefin.edit(|ledger| {
        let bank = ledger.connections[0].id.clone();
        ledger.relink(&bank)
    });
    let report = cycle(&world).await;
    let source = &report.sources[0];
    assert_eq!((source.outcome, source.new, source.vanished), (Outcome::Attention, 0, 0), "{source:?}");
    let (old, new) = &renamed[0];
    let error = source.error.as_ref().unwrap();
    assert!(error.contains(&format!("`adopt = {{ \"{new}\" = \"{old}\" }}`")), "{error}");
    assert_eq!(stored(&world).await, before, "no second copy");
    assert_eq!(world.in_sheet().len(), before.values().sum::<usize>());

    // The card is adopted, and the owner takes the other account for another one.
    let (card_old, card_new) = &renamed[1];
    configure(&world, &format!("adopt = {{ \"{card_new}\" = \"{card_old}\", \"{new}\" = \"{new}\" }}\n"));
    world.simplefin.edit(|ledger| ledger.book(card_new, back(1), "-9.99", "NEW ON THE CARD"));
    let report = pull(&world).await;
    assert!(accounts(&world).await.contains_key(new) && !accounts(&world).await.contains_key(card_new), "{report:?}");
    let names: Vec<String> = world.in_sheet().into_iter().map(|(id, _)| id).collect();
    assert!(names.iter().any(|id| id.starts_with(&format!("simplefin:{card_old}:"))));
}

/// Ten pulls, each after the service has done this; nothing is doubled or lost at any time, anywhere.
async fn ten_pulls(trap: &str, act: impl Fn(&mut Ledger, u64)) {
    let world = claimed("").await;
    cycle(&world).await;
    for round in 1..=10 {
        world.simplefin.edit(|ledger| act(ledger, round));
        let report = cycle(&world).await;
        assert_eq!(report.exit_status(), 0, "{trap}: {report:?}");
        assert_eq!(stored(&world).await, booked(&world), "{trap}, pull {round}");
    }
    assert_whole(&world).await;
}

fn checking(ledger: &Ledger) -> String {
    ledger.accounts[0].id.clone()
}

/// Capital One, we-promise/sure #3436: the ids of whole days are given anew, all else equal.
#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_given_anew_double_nothing() {
    ten_pulls("ids given anew", |ledger, round| {
        let account = checking(ledger);
        ledger.reissue(&account, back(round * 4));
        ledger.book(&account, back(round), "-3.00", &format!("ROW {round}"));
    })
    .await;
}

/// we-promise/sure #602 and #449: a pending row is booked under a new id, or under its own.
#[tokio::test(flavor = "multi_thread")]
async fn pending_rows_come_once_when_they_are_booked() {
    ten_pulls("pending", |ledger, round| {
        let account = checking(ledger);
        let waiting: Vec<String> = ledger
            .account(&account)
            .transactions
            .iter()
            .filter(|row| !row.is_booked())
            .map(|row| row.id.clone())
            .collect();
        for id in waiting {
            ledger.post(&account, &id, back(1), round % 2 == 0);
        }
        ledger.reserve(&account, "-50.00", "FUEL");
    })
    .await;
}

/// True twins have two ids: both are kept, also when both get new ones.
#[tokio::test(flavor = "multi_thread")]
async fn twins_stay_two() {
    ten_pulls("twins", |ledger, round| {
        let account = checking(ledger);
        for _ in 0..2 {
            ledger.book(&account, back(3), "-2.75", "METRO FARE");
        }
        if round % 3 == 0 {
            ledger.reissue(&account, back(3));
        }
    })
    .await;
}

/// Rows that come 40 days late, and texts that are corrected.
#[tokio::test(flavor = "multi_thread")]
async fn late_and_corrected_rows_come_once() {
    ten_pulls("late rows", |ledger, round| {
        let account = checking(ledger);
        ledger.book(&account, back(44 - round), "-7.00", "LATE");
        let row = &mut ledger.account(&account).transactions[5];
        row.description = format!("CORRECTED {round}");
        row.mcc = Some(format!("{round}"));
    })
    .await;
}

/// actualbudget/actual #7173, we-promise/sure #2864: a bank that is connected anew has new ids of accounts and rows.
#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_account_goes_on_as_it_was() {
    let world = claimed("").await;
    cycle(&world).await;
    let mut adopted: BTreeMap<String, String> = BTreeMap::new();
    for round in 1..=10 {
        if round % 3 == 0 {
            let renamed = world.simplefin.edit(|ledger| {
                let bank = ledger.connections[0].id.clone();
                ledger.relink(&bank)
            });
            for (old, new) in renamed {
                let here = adopted.get(&old).cloned().unwrap_or(old);
                adopted.insert(new, here);
            }
            assert_eq!(pull(&world).await.outcome, Outcome::Attention, "the owner is asked first");
            let pairs: Vec<String> = adopted.iter().map(|(new, old)| format!("\"{new}\" = \"{old}\"")).collect();
            configure(&world, &format!("adopt = {{ {} }}\n", pairs.join(", ")));
        }
        world.simplefin.edit(|ledger| {
            let account = checking(ledger);
            ledger.book(&account, back(1), "-4.00", &format!("ROW {round}"));
        });
        let report = cycle(&world).await;
        assert_eq!(report.exit_status(), 0, "{report:?}");
        assert_eq!(stored(&world).await, booked(&world), "pull {round}");
    }
    assert_whole(&world).await;
}
