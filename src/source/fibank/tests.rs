//! The connector against the simulated bank.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::*;
use crate::model::Row;
use crate::remote::{Backoff, Kind, Shutdown};
use crate::settings::Secret;
use crate::simulator::Fault;
use crate::simulator::fibank::{
    Absent, Amounts, Bank, Door, Expired, Fibank as Simulated, LongAnswer, Offsets, Options, PageStyle, RowOrder, Stmt,
};
use crate::simulator::world::{History, iban};
use crate::source::Refused;
use crate::source::testing::setup;

const POST: &str = "POST /oauth2-server/login";

/// A running bank and a connector to it.
struct Stage {
    bank: Simulated,
    source: Fibank,
    context: Context,
}

/// The settings of a test.
struct Asked {
    settings: FibankSettings,
    scope: Scope,
}

/// The result of a whole pull.
struct Pulled {
    accounts: Vec<Account>,
    pages: Vec<Result<Read, Error>>,
}

/// A page and its rows, read.
type Read = (Page, Vec<Result<Row, Refused>>);
type Instant = chrono::DateTime<chrono::FixedOffset>;

impl Stage {
    async fn with(bank: Bank, change: impl FnOnce(&mut Asked)) -> Stage {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut asked = Asked {
            settings: FibankSettings {
                username: bank.username.clone(),
                password: Secret::Plain(bank.password.clone().into()),
                base_url: "http://127.0.0.1/".parse().unwrap(),
                login: None,
            },
            scope: Scope::default(),
        };
        let bank = Simulated::start(bank).await.unwrap();
        asked.settings.base_url = bank.server.url().parse().unwrap();
        change(&mut asked);
        let context = Context::new(Shutdown::never(), Backoff::immediate());
        let source = Fibank::new(&asked.settings, setup(&asked.scope, context.clone()));
        Stage { bank, source, context }
    }

    async fn small() -> Stage {
        Stage::with(Bank::small(), |_| {}).await
    }

    /// The small bank with other options.
    async fn optional(change: impl FnOnce(&mut Options)) -> Stage {
        let mut bank = Bank::small();
        change(&mut bank.options);
        Stage::with(bank, |_| {}).await
    }

    async fn refusal(&self) -> Error {
        self.source.open().await.err().unwrap()
    }

    async fn pull(&self) -> Pulled {
        let mut session = self.source.open().await.unwrap();
        let accounts = session.accounts().await.unwrap();
        let mut pages = Vec::new();
        for account in &accounts {
            pages.push(session.fetch(account, None).await.map(|mut page| {
                let rows = std::mem::replace(&mut page.rows, Box::new(std::iter::empty())).collect();
                (page, rows)
            }));
        }
        session.close().await;
        Pulled { accounts, pages }
    }

    /// Requests to GetCustBal so far, as their windows.
    fn windows(&self) -> Vec<(String, String)> {
        let log = self.bank.server.log();
        let asked = log.iter().filter(|logged| logged.target.contains("GetCustBal"));
        asked
            .map(|logged| {
                let url = url::Url::parse("http://bank").unwrap().join(&logged.target).unwrap();
                let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
                (query["FromDate"].clone(), query["ToDate"].clone())
            })
            .collect()
    }
}

/// Everything of a row that the bank decides, as comparable text.
fn told(row: &Row) -> String {
    format!(
        "{} {} {:?} {} {} {:?} | {} | {} | {} | {} | {} | {}",
        row.id,
        row.time.to_rfc3339(),
        row.value_date,
        row.amount.normalize(),
        row.currency,
        row.balance.map(|balance| balance.normalize()),
        row.counterparty,
        row.counterparty_account,
        row.description,
        row.kind,
        row.kind_code,
        row.reference
    )
}

/// What the bank holds, in the same form, by account and time.
fn expected(bank: &Bank, in_leva: impl Fn(&str, &crate::simulator::fibank::Entry) -> bool) -> Vec<String> {
    let mut all = bank.transactions();
    let place = |account: &str| bank.customers.iter().flat_map(|c| &c.accounts).position(|a| a.iban == account);
    all.sort_by_key(|(account, entry, _)| (place(account), entry.time, entry.number));
    let mut lines = Vec::new();
    for (account, entry, balance) in &all {
        let today = &bank.customers.iter().flat_map(|c| &c.accounts).find(|a| a.iban == *account).unwrap().currency;
        let party = entry.extra.get("benOrderParty").and_then(|value| value.as_str()).unwrap_or_default();
        let lines_of = entry.remittance.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
        let row = Row {
            id: format!("fibank:{account}:{}", entry.number),
            time: entry.time.with_timezone(&chrono_tz::Europe::Sofia).fixed_offset(),
            date: entry.value_date,
            value_date: Some(entry.value_date),
            amount: entry.amount,
            currency: if in_leva(account, entry) { "BGN".into() } else { today.clone() },
            balance: Some(*balance),
            counterparty: if entry.counterparty.is_empty() { party } else { &entry.counterparty }.trim().to_owned(),
            counterparty_account: entry.counterparty_account.clone(),
            description: lines_of.collect::<Vec<_>>().join(" "),
            kind: entry.type_name.clone(),
            kind_code: entry.type_code.clone(),
            reference: entry.reference.clone(),
            raw: String::new(),
        };
        lines.push(told(&row));
    }
    lines
}

impl Pulled {
    /// Every row of every page, each page without a note and in order.
    fn whole(self) -> Vec<String> {
        let mut all = Vec::new();
        for page in self.pages {
            let (page, rows) = page.unwrap();
            assert_eq!(page.notes, Vec::<String>::new());
            assert_eq!(page.count, rows.len());
            let rows: Vec<Row> = rows.into_iter().map(Result::unwrap).collect();
            assert!(rows.is_sorted_by_key(|row| row.time));
            assert!(rows.iter().all(|row| row.date == row.time.date_naive() && row.raw.starts_with('{')));
            all.extend(rows.iter().map(told));
        }
        all
    }
}

fn never_in_leva(_: &str, _: &crate::simulator::fibank::Entry) -> bool {
    false
}

#[tokio::test]
async fn a_pull_of_two_accounts_takes_nine_requests_and_brings_everything() {
    let stage = Stage::small().await;
    let pulled = stage.pull().await;
    assert_eq!((stage.bank.server.requests(), stage.context.requests.get()), (9, 9));
    assert_eq!((stage.bank.login_attempts(), stage.bank.sign_ins()), (1, 1));
    assert_eq!(pulled.accounts.len(), 2);
    let first = &pulled.accounts[0];
    assert_eq!((first.name.as_str(), first.currency.as_str()), ("Ежедневна", "EUR"));
    assert_eq!(first.customer, "Иван Измислен");
    let page = &pulled.pages[0].as_ref().unwrap().0;
    assert_eq!((page.from, page.until), (None, wire::now().date_naive()));
    assert_eq!(page.account.balance, Bank::small().balance(&first.account));
    assert_eq!((page.opening, page.closing), ("100".parse().ok(), page.account.balance));
    assert_eq!(pulled.whole(), expected(&Bank::small(), never_in_leva));
    let log = stage.bank.server.log();
    assert_eq!(log.iter().filter(|logged| logged.target.starts_with("/EBank/api")).count(), 4);
    assert!(log.iter().all(|logged| logged.target != "/EBank/"));
}

#[tokio::test]
async fn the_sign_in_follows_whatever_the_bank_varies() {
    let variations: [fn(&mut Options); 9] = [
        |options| options.login_page_first = true,
        |options| options.certs_required = true,
        |options| options.relative_locations = true,
        |options| options.extra_redirect = true,
        |options| options.token_in_query = true,
        |options| options.state_echoed = false,
        |options| options.expires_in = None,
        |options| options.headers_required = true,
        |options| options.customer_id_as_text = true,
    ];
    for (at, variation) in variations.into_iter().enumerate() {
        let stage = Stage::optional(variation).await;
        assert_eq!(stage.pull().await.whole().len(), 12, "variation {at}");
        assert_eq!(stage.bank.login_attempts(), 1, "variation {at}");
    }
    for style in PageStyle::ALL {
        let stage = Stage::optional(|options| options.page_style = Some(style)).await;
        assert!(stage.source.open().await.is_ok(), "{style:?}");
    }
}

#[tokio::test]
async fn every_way_of_writing_a_statement_gives_the_same_rows() {
    let variations: [fn(&mut Options); 18] = [
        |options| options.amounts = Amounts::TwoPlaces,
        |options| options.amounts = Amounts::Double,
        |options| options.amounts = Amounts::Text,
        |options| options.offsets = Offsets::Sofia,
        |options| options.offsets = Offsets::Colon,
        |options| options.offsets = Offsets::Utc,
        |options| options.order = RowOrder::NewestFirst,
        |options| options.order = RowOrder::Unordered,
        |options| options.order = RowOrder::Time,
        |options| options.unknown_keys = true,
        |options| options.absent = Absent::Null,
        |options| options.absent = Absent::Empty,
        |options| options.debit_credit_amounts = true,
        |options| options.dtkt = ("ДТ".into(), "КТ".into()),
        |options| options.acc_elements = 2,
        |options| options.balance_rows = false,
        |options| options.reads_wall_clock = true,
        |options| options.stmt = Stmt::OmittedWhenEmpty,
    ];
    for (at, variation) in variations.into_iter().enumerate() {
        let stage = Stage::optional(variation).await;
        assert_eq!(stage.pull().await.whole(), expected(&Bank::small(), never_in_leva), "variation {at}");
        assert_eq!(stage.bank.server.requests(), 9, "variation {at}");
    }
    let stage = Stage::optional(|options| options.own_trn_account = true).await;
    let rows = stage.pull().await.whole();
    let mut bank = Bank::small();
    for account in &mut bank.customers[0].accounts {
        account.entries.iter_mut().for_each(|entry| entry.counterparty_account.clear());
    }
    assert_eq!(rows, expected(&bank, never_in_leva));
}

#[tokio::test]
async fn refusals_are_told_apart_with_one_password_and_without_secrets() {
    let doors = [
        (Door::Locked, Cause::Locked, "блокиран"),
        (Door::PasswordChange, Cause::PasswordChange, "нова парола"),
        (Door::SecondFactor, Cause::SecondFactor, "SMS"),
        (
            Door::Unknown("<p>Здравей, Ivan. Нови условия: correct horse!</p>".into()),
            Cause::UnknownPage,
            "Нови условия",
        ),
    ];
    for (door, cause, words) in doors {
        let stage = Stage::with(Bank { door, ..Bank::small() }, |_| {}).await;
        let error = stage.refusal().await;
        assert_eq!(error.kind, Kind::Attention(cause), "{error}");
        assert!(error.message.starts_with("bank: ") && error.message.contains(words), "{error}");
        assert!(!error.message.to_lowercase().contains("ivan") && !error.message.contains("horse"), "{error}");
        assert_eq!(stage.bank.login_attempts(), 1);
    }
}

#[tokio::test]
async fn a_refused_password_is_tried_once() {
    let stage = Stage::with(Bank::small(), |asked| asked.settings.password = Secret::Plain("wr0ng one".into())).await;
    let error = stage.refusal().await;
    assert_eq!(error.kind, Kind::Attention(Cause::PasswordRefused));
    assert!(error.message.contains("Грешно потребителско име") && !error.message.contains("wr0ng"), "{error}");
    assert_eq!((stage.bank.login_attempts(), stage.bank.server.requests()), (1, 5));
    // A refusal stays one even if its page does not arrive.
    stage.bank.server.fail("GET /oauth2-server/login?error", 0, u32::MAX, Fault::Drop);
    assert_eq!(stage.refusal().await.kind, Kind::Attention(Cause::PasswordRefused));
    assert_eq!(stage.bank.login_attempts(), 2);
}

#[tokio::test]
async fn maintenance_is_told_without_a_password() {
    let stage = Stage::with(Bank { door: Door::Maintenance, ..Bank::small() }, |_| {}).await;
    let error = stage.refusal().await;
    assert_eq!(error.kind, Kind::Attention(Cause::Maintenance));
    assert!(error.message.contains("профилактика"), "{error}");
    assert_eq!((stage.bank.login_attempts(), stage.bank.server.requests()), (0, 1));
}

#[tokio::test]
async fn hiccups_before_the_password_are_waited_out() {
    for target in ["oauth/authorize", "GET /oauth2-server/login", "fnGetCertsForLogin"] {
        for fault in [Fault::Status(502, String::new()), Fault::Drop, Fault::Truncate] {
            let stage = Stage::small().await;
            stage.bank.server.fail_next(target, fault.clone());
            assert!(stage.source.open().await.is_ok(), "{target} {fault:?}");
            assert_eq!((stage.bank.login_attempts(), stage.bank.server.faults_left()), (1, false));
        }
    }
    let stage = Stage::small().await;
    stage.bank.server.fail("authorize", 0, u32::MAX, Fault::Status(503, "<h1>Service Unavailable</h1>".into()));
    let error = stage.refusal().await;
    assert_eq!((error.kind, stage.bank.server.requests()), (Kind::Unavailable, 4));
    assert_eq!(stage.bank.login_attempts(), 0);
}

#[tokio::test]
async fn an_unclear_answer_to_the_password_ends_the_sign_in() {
    for fault in
        [Fault::Drop, Fault::ApplyThenDrop, Fault::Status(500, String::new()), Fault::ApplyThenStatus(502, "".into())]
    {
        let stage = Stage::small().await;
        stage.bank.server.fail_next(POST, fault.clone());
        let error = stage.refusal().await;
        assert_eq!(error.kind, Kind::Unavailable, "{fault:?}: {error}");
        let posts = stage.bank.server.log().iter().filter(|logged| logged.method == "POST").count();
        assert_eq!(posts, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_session_is_no_refused_password() {
    let stage = Stage::small().await;
    stage.bank.server.fail_next(POST, Fault::Status(403, "<p>Вашата сесия е изтекла</p>".into()));
    let error = stage.refusal().await;
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("сесия"), "{error}");
}

#[tokio::test]
async fn neither_password_nor_cookies_go_elsewhere() {
    let elsewhere = Simulated::start(Bank::small()).await.unwrap();
    let mut bank = Bank::small();
    bank.options.foreign_redirect = Some(format!("{}/oauth2-server/login", elsewhere.server.url()));
    let stage = Stage::with(bank, |_| {}).await;
    let error = stage.refusal().await;
    assert_eq!(error.kind, Kind::Attention(Cause::UnknownPage));
    assert_eq!((elsewhere.server.requests(), stage.bank.login_attempts()), (0, 1));
}

#[tokio::test]
async fn a_token_for_another_sign_in_is_not_used() {
    let stage = Stage::optional(|options| options.wrong_state = true).await;
    assert_eq!(stage.refusal().await.kind, Kind::Malformed);
    assert_eq!(stage.bank.login_attempts(), 1);
}

#[tokio::test]
async fn a_session_that_ends_is_renewed_once() {
    for expired in [Expired::Unauthorized, Expired::Redirect, Expired::Page] {
        let change = |options: &mut Options| (options.token_calls, options.expired) = (Some(2), expired);
        let stage = Stage::optional(change).await;
        let pulled = stage.pull().await;
        assert_eq!(pulled.whole(), expected(&Bank::small(), never_in_leva), "{expired:?}");
        assert_eq!((stage.bank.login_attempts(), stage.bank.server.requests()), (2, 15), "{expired:?}");
        let stage = Stage::optional(|options| (options.token_calls, options.expired) = (Some(1), expired)).await;
        let pulled = stage.pull().await;
        let failures: Vec<_> = pulled.pages.into_iter().map(|page| page.err().unwrap()).collect();
        assert!(failures.iter().all(|error| error.kind == Kind::Unavailable), "{failures:?}");
        assert!(failures[0].message.contains(&iban("00000001")), "{}", failures[0]);
        assert_eq!(stage.bank.login_attempts(), 2, "{expired:?}");
    }
}

#[tokio::test]
async fn an_account_without_statement_leaves_the_others_alone() {
    let mut bank = Bank::small();
    bank.customers[0].accounts[0].fails = true;
    let stage = Stage::with(bank, |_| {}).await;
    let mut pulled = stage.pull().await;
    let error = pulled.pages.remove(0).err().unwrap();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains(&iban("00000001")), "{error}");
    assert_eq!(pulled.pages[0].as_ref().unwrap().1.len(), 3);
    assert_eq!(stage.bank.login_attempts(), 1);
}

#[tokio::test]
async fn a_hiccup_of_a_read_is_waited_out() {
    for call in ["getCustQuery", "getFilteredAccounts", "GetCustBal"] {
        for fault in [Fault::Status(500, "{}".into()), Fault::Status(503, String::new()), Fault::Drop, Fault::Truncate]
        {
            let stage = Stage::small().await;
            stage.bank.server.fail_next(call, fault.clone());
            assert_eq!(stage.pull().await.whole().len(), 12, "{call} {fault:?}");
            assert_eq!(stage.bank.server.requests(), 10, "{call} {fault:?}");
        }
    }
}

#[tokio::test]
async fn smaller_windows_leave_no_gap_and_no_overlap() {
    for (limit, status) in [(30, 500), (90, 400), (365, 422)] {
        let mut bank = Bank::small();
        (bank.options.max_window_days, bank.options.long_window) = (Some(limit), status);
        let first = "2025-11-01".parse().unwrap();
        let stage = Stage::with(bank, |asked| asked.scope.history_from = Some(first)).await;
        let pulled = stage.pull().await;
        assert_eq!(pulled.pages[0].as_ref().unwrap().0.from, Some(first));
        assert_eq!(pulled.whole(), expected(&Bank::small(), never_in_leva), "{limit}");
        assert_covers(&accepted(&stage, i64::from(limit)), first);
    }
}

/// The windows of the first account that are no longer than the limit, newest first.
fn accepted(stage: &Stage, limit: i64) -> Vec<(Instant, Instant)> {
    let instant = |text: &str| chrono::DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z").unwrap();
    let windows = stage.windows().into_iter().map(|(from, to)| (instant(&from), instant(&to)));
    let mut short: Vec<_> = windows.filter(|(from, to)| (*to - *from).num_days() <= limit).collect();
    assert_eq!(short.len() % 2, 0);
    short.truncate(short.len() / 2);
    short
}

fn assert_covers(windows: &[(Instant, Instant)], first: NaiveDate) {
    assert_eq!(windows.first().unwrap().1, wire::end_of_day(wire::now().date_naive()));
    assert_eq!(windows.last().unwrap().0, wire::in_sofia(first.into()));
    for pair in windows.windows(2) {
        assert_eq!(pair[1].1 + TimeDelta::seconds(1), pair[0].0);
    }
}

#[tokio::test]
async fn the_whole_history_is_reached_in_small_windows() {
    let mut bank = Bank::small();
    bank.options.max_window_days = Some(30);
    bank.customers[0].accounts.truncate(1);
    let stage = Stage::with(bank, |_| {}).await;
    stage.bank.server.keep_log(false);
    let pulled = stage.pull().await;
    assert_eq!(pulled.pages[0].as_ref().unwrap().1.len(), 9);
    let days = (wire::now().date_naive() - beginning()).num_days() + 1;
    // Seven to sign in and list; the whole twice, a year, a quarter; then months.
    assert_eq!(stage.bank.server.requests(), 7 + 4 + (days as u64).div_ceil(30));
}

#[tokio::test]
async fn whatever_form_a_refusal_has_a_long_window_is_made_smaller() {
    let page = |words: &str| format!("<html><body><h1>Справка</h1><p>{words}</p></body></html>");
    let advice = "Справка се прави за най-много 30 дни. За съдействие: поддръжка на клиенти.";
    let first = "2025-11-01".parse().unwrap();
    for (answer, sign_ins) in [
        (LongAnswer::Success(page("Периодът не може да е по-дълъг от 30 дни.")), 1),
        (LongAnswer::Success(page(advice)), 1),
        (LongAnswer::Success("периодът е твърде дълъг".into()), 1),
        (LongAnswer::Success(r#"{"error":"PERIOD","message":"30 дни"}"#.into()), 1),
        (LongAnswer::Success(r#"{"status":400,"msg":"30 дни \ud83c"}"#.into()), 1),
        (LongAnswer::Success(r#"{"acc":null,"errors":[{"code":"PERIOD"}]}"#.into()), 1),
        (LongAnswer::Cut, 1),
        (LongAnswer::Failure(400, page(advice)), 1),
        (LongAnswer::Failure(422, String::new()), 1),
        (LongAnswer::Failure(500, String::new()), 1),
        (LongAnswer::Failure(502, page("Bad Gateway")), 1),
        (LongAnswer::Failure(504, page("Gateway Time-out")), 1),
        (LongAnswer::Redirect("/EBank/error?code=30".into()), 1),
        // These say that the session has ended; a new one tells that it had not.
        (LongAnswer::Redirect("/oauth2-server/login?client_id=E_BANK".into()), 2),
        (LongAnswer::Failure(401, String::new()), 2),
    ] {
        let mut bank = Bank::small();
        bank.options.max_window_days = Some(30);
        bank.options.long_answer = Some(answer.clone());
        let stage = Stage::with(bank, |asked| asked.scope.history_from = Some(first)).await;
        assert_eq!(stage.pull().await.whole(), expected(&Bank::small(), never_in_leva), "{answer:?}");
        assert_eq!(stage.bank.login_attempts(), sign_ins, "{answer:?}");
        assert_covers(&accepted(&stage, 30), first);
    }
    // Of a week, too.
    let mut bank = Bank::small();
    bank.options.max_window_days = Some(10);
    bank.options.long_answer = Some(LongAnswer::Success(page(advice)));
    let stage = Stage::with(bank, |asked| asked.scope.history_from = Some(first)).await;
    assert_eq!(stage.pull().await.whole(), expected(&Bank::small(), never_in_leva));
}

#[tokio::test]
async fn a_bank_that_refuses_every_window_is_asked_a_few_times_only() {
    for (fault, kind) in [
        (Fault::Status(200, "<p>Нова страница</p>".into()), Kind::Malformed),
        (Fault::Status(504, String::new()), Kind::Unavailable),
        (Fault::Drop, Kind::Unavailable),
        (Fault::Status(200, "<p>Профилактика</p>".into()), Kind::Attention(Cause::Maintenance)),
        (Fault::Status(503, "<p>Профилактика</p>".into()), Kind::Attention(Cause::Maintenance)),
        (Fault::Status(302, String::new()), Kind::Unavailable),
    ] {
        let stage = Stage::small().await;
        let mut session = stage.source.open().await.unwrap();
        let account = session.accounts().await.unwrap().remove(0);
        stage.bank.server.clear_log();
        stage.bank.server.fail("GetCustBal", 0, u32::MAX, fault.clone());
        let error = session.fetch(&account, None).await.err().unwrap();
        assert_eq!(error.kind, kind, "{fault:?}: {error}");
        assert!(stage.windows().len() <= 10, "{fault:?}: {}", stage.windows().len());
        assert!(stage.bank.login_attempts() <= 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_hiccup_on_the_way_through_small_windows_makes_none_smaller() {
    let mut bank = Bank::small();
    bank.options.max_window_days = Some(90);
    let first = "2025-11-01".parse().unwrap();
    let stage = Stage::with(bank, |asked| asked.scope.history_from = Some(first)).await;
    stage.pull().await;
    let requests = stage.bank.server.requests();
    for fault in [Fault::Status(500, String::new()), Fault::Drop, Fault::Truncate] {
        stage.bank.server.clear_log();
        // The whole twice and a year are refused; a quarter is answered.
        stage.bank.server.fail(&iban("00000001"), 4, 1, fault.clone());
        assert_eq!(stage.pull().await.whole(), expected(&Bank::small(), never_in_leva), "{fault:?}");
        assert_eq!((stage.bank.server.requests(), stage.bank.server.faults_left()), (requests + 1, false), "{fault:?}");
    }
}

#[tokio::test]
async fn a_location_is_read_whatever_its_bytes() {
    for raw_words in ["име=Иван Измислен".as_bytes().to_vec(), b"x=\xc8\xe2\xe0\xed".to_vec(), b"x=\xff\xfe".to_vec()]
    {
        for is_relative in [false, true] {
            let words = raw_words.clone();
            let stage = Stage::optional(|options| {
                (options.raw_words, options.relative_locations, options.extra_redirect) = (words, is_relative, true);
            });
            let stage = stage.await;
            assert_eq!(stage.pull().await.whole().len(), 12);
            assert_eq!(stage.bank.login_attempts(), 1);
        }
        for refusal_words in ["Грешна парола".as_bytes().to_vec(), b"\xc3\xf0\xe5\xf8\xea\xe0".to_vec()] {
            let mut bank = Bank::small();
            (bank.options.raw_words, bank.options.refusal_words) = (raw_words.clone(), refusal_words);
            let stage = Stage::with(bank, |asked| asked.settings.password = Secret::Plain("wr0ng".into())).await;
            let error = stage.refusal().await;
            assert_eq!(error.kind, Kind::Attention(Cause::PasswordRefused), "{error}");
            // Its page need not arrive.
            stage.bank.server.fail("GET /oauth2-server/login?error", 0, u32::MAX, Fault::Drop);
            assert_eq!(stage.refusal().await.kind, Kind::Attention(Cause::PasswordRefused));
        }
    }
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    for fault in [Fault::CutBody, Fault::Status(200, "<p>Нова страница</p>".into()), Fault::Status(200, "\"x\"".into())]
    {
        for call in ["getCustQuery", "getFilteredAccounts"] {
            let stage = Stage::small().await;
            stage.bank.server.fail_next(call, fault.clone());
            let mut session = stage.source.open().await.unwrap();
            assert_eq!(session.accounts().await.err().unwrap().kind, Kind::Malformed, "{call} {fault:?}");
        }
        let stage = Stage::small().await;
        stage.bank.server.fail(&iban("00000001"), 0, u32::MAX, fault.clone());
        let mut pulled = stage.pull().await;
        let error = pulled.pages.remove(0).err().unwrap();
        assert_eq!(error.kind, Kind::Malformed, "{fault:?}");
        if matches!(&fault, Fault::Status(_, text) if text.contains("Нова")) {
            assert!(error.message.contains("Нова страница"), "{error}");
        }
        assert!(pulled.pages[0].is_ok());
    }
    let stage = Stage::optional(|options| options.html_instead_of_json = true).await;
    let mut session = stage.source.open().await.unwrap();
    assert_eq!(session.accounts().await.err().unwrap().kind, Kind::Malformed);
    assert_eq!(stage.bank.login_attempts(), 1);
}

#[tokio::test]
async fn replies_without_account_or_rows_are_noted() {
    let variations: [fn(&mut Options); 3] = [
        |options| options.acc_elements = 0,
        |options| options.stmt = Stmt::Omitted,
        |options| options.stmt = Stmt::Null,
    ];
    for variation in variations {
        let stage = Stage::optional(variation).await;
        for page in stage.pull().await.pages {
            let (page, rows) = page.unwrap();
            assert_eq!((page.count, rows.len(), page.notes.len()), (0, 0, 1));
        }
    }
}

#[tokio::test]
async fn accounts_can_be_chosen_and_missing_ones_are_told() {
    let wanted = vec![iban("00000002"), iban("00009999")];
    let stage = Stage::with(Bank::small(), |asked| asked.scope.accounts = Some(wanted.clone())).await;
    let pulled = stage.pull().await;
    assert_eq!(pulled.accounts.iter().map(|account| account.account.clone()).collect::<Vec<_>>(), wanted);
    assert_eq!(pulled.pages[0].as_ref().unwrap().1.len(), 3);
    let error = pulled.pages[1].as_ref().err().unwrap();
    assert_eq!(error.kind, Kind::Rejected);
    assert!(error.message.contains(&wanted[1]) && error.message.contains("configuration"), "{error}");
    let stage = Stage::with(Bank::small(), |asked| asked.scope.accounts = Some(vec![iban("00009999")])).await;
    let mut session = stage.source.open().await.unwrap();
    assert_eq!(session.accounts().await.err().unwrap().kind, Kind::Attention(Cause::NotFound));
}

#[tokio::test]
async fn a_customer_without_rights_leaves_the_others_alone() {
    let mut bank = Bank::household("2026-11-01".parse().unwrap());
    bank.customers.truncate(2);
    let stage = Stage::with(bank.clone(), |_| {}).await;
    stage.bank.server.fail("getFilteredAccounts", 0, 4, Fault::Status(500, "{}".into()));
    let pulled = stage.pull().await;
    assert_eq!(pulled.accounts.len(), 1 + bank.customers[1].accounts.len());
    let error = pulled.pages[0].as_ref().err().unwrap();
    assert!(error.kind == Kind::Unavailable && error.message.contains(&bank.customers[0].id), "{error}");
    assert!(pulled.pages[1..].iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_household_comes_complete_and_equal() {
    let (start, today) = ("2024-06-01".parse().unwrap(), "2026-11-01".parse().unwrap());
    let changeover = redenomination::changeover();
    for history in [History::Restated, History::RestatedApart, History::Kept, History::KeptWithEntries] {
        let bank = Bank::household_between(start, today, history);
        let kept = matches!(history, History::Kept | History::KeptWithEntries);
        let always_euro: Vec<String> = Bank::household_between(start, "2024-06-02".parse().unwrap(), history)
            .customers
            .iter()
            .flat_map(|customer| &customer.accounts)
            .filter(|account| account.currency != "BGN")
            .map(|account| account.iban.clone())
            .collect();
        let in_leva = |account: &str, entry: &crate::simulator::fibank::Entry| {
            kept && entry.time < changeover && !always_euro.iter().any(|iban| iban == account)
        };
        let expected = expected(&bank, in_leva);
        assert!(expected.len() > 1000);
        let stage = Stage::with(bank.clone(), |_| {}).await;
        let pulled = stage.pull().await;
        assert_eq!(pulled.accounts.len(), 5);
        let customers: Vec<&str> = pulled.accounts.iter().map(|account| account.customer.as_str()).collect();
        assert!(bank.customers.iter().all(|customer| customers.contains(&customer.name.as_str())));
        for page in &pulled.pages {
            let account = &page.as_ref().unwrap().0.account;
            assert_eq!(account.balance, bank.balance(&account.account), "{history:?}");
        }
        let found = pulled.whole();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{history:?}");
        }
        assert_eq!(found.len(), expected.len());
        assert_eq!(stage.bank.server.requests(), 5 + 1 + 2 + 5);
    }
}

#[tokio::test]
async fn a_stop_ends_a_pull_that_waits() {
    let stage = Stage::small().await;
    let (stop, shutdown) = Shutdown::new();
    let context = Context::new(shutdown, Backoff::immediate());
    let source = Fibank::new(&stage.source.settings, setup(&stage.source.scope, context));
    stage.bank.server.fail_next("authorize", Fault::Hang);
    let (opened, _) = tokio::join!(source.open(), async {
        while stage.bank.server.requests() == 0 {
            tokio::task::yield_now().await;
        }
        stop.send(true).unwrap();
    });
    assert_eq!(opened.err().unwrap().kind, Kind::Stopped);
}

#[tokio::test]
async fn a_missing_secret_is_the_owners_affair() {
    let missing = Secret::Env("BANKFEED_NO_SUCH_VARIABLE".into());
    let stage = Stage::with(Bank::small(), |asked| asked.settings.password = missing).await;
    let error = stage.refusal().await;
    assert!(error.cause().is_some() && error.message.contains("BANKFEED_NO_SUCH_VARIABLE"), "{error}");
    assert_eq!(stage.bank.server.requests(), 0);
}

#[test]
fn sums_stay_exact_beyond_what_a_double_holds() {
    // Guards the one path every amount takes.
    let token = serde_json::value::RawValue::from_string("90071992547409.93".into()).unwrap();
    assert_eq!(wire::money(Some(&token)), Ok(Some(Decimal::new(9_007_199_254_740_993, 2))));
}
