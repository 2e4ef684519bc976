//! Notices to the owner: once, again for a lasting cause, and when a cause is over; four kinds of notifier over real
//! sockets; and a notifier that does not work. The causes stand in causes.rs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bankfeed::notify::Teller;
use bankfeed::remote::Shutdown;
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Door, Entry};
use bankfeed::simulator::mail::{AUTHORITY, MailServer, Manner, STRANGER};
use bankfeed::simulator::notices::{Arrived, Notices};
use bankfeed::store;
use bankfeed::sync::{Engine, Outcome, Report, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, TimeDelta, Utc};

use crate::world::World;

/// A household with places that take notices.
pub struct Stage {
    pub world: World,
    pub notices: Notices,
    /// The time that is told; cycles themselves run in the present.
    pub now: DateTime<Utc>,
}

impl Stage {
    /// A stage with a topic that gets every kind of notice.
    pub async fn new() -> Stage {
        Stage::with(|notices| {
            let url = notices.server.url();
            format!(
                "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\non = [\"attention\", \"failure\", \"new-rows\", \"recovery\"]\n"
            )
        })
        .await
    }

    async fn with(config: impl FnOnce(&Notices) -> String) -> Stage {
        let notices = Notices::start().await.unwrap();
        let mut world = World::new(Bank::small()).await;
        // The page belongs to no section above it.
        world.extra[2] = format!("{}\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n", config(&notices));
        world.write_config();
        Stage { world, notices, now: Utc::now() }
    }

    /// Runs a cycle by a process that has just started; returns the notices that arrived meanwhile as well.
    pub async fn cycle(&self) -> (Report, Vec<Arrived>) {
        self.cycle_as(Request { by_hand: true, ..Request::default() }).await
    }

    pub async fn scheduled(&self) -> (Report, Vec<Arrived>) {
        self.cycle_as(Request::default()).await
    }

    async fn cycle_as(&self, request: Request) -> (Report, Vec<Arrived>) {
        let engine = Arc::new(self.world.engine());
        let mut teller = Teller::new(engine.clone());
        teller.begin(&request);
        let report = engine.cycle(&request, &(Arc::new(|_| {}) as bankfeed::sync::Watcher)).await.unwrap();
        teller.end(Ok(&report), self.now).await;
        (report, self.notices.take())
    }

    fn later(&mut self, time: TimeDelta) {
        self.now += time;
    }

    pub fn book(&self, cents: i64) {
        let now = Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
        self.world.bank.edit(|bank| {
            let (iban, number) = (bank.customers[0].accounts[0].iban.clone(), bank.last_number() + 1);
            let amount = rust_decimal::Decimal::new(cents, 2);
            bank.add(&iban, Entry { number, time: now, value_date: now.date_naive(), amount, ..Entry::default() });
        });
    }
}

/// The one message on the topic: priority, title, text.
pub fn message(arrived: &[Arrived]) -> (u8, &str, &str) {
    match arrived {
        [Arrived::Message { title, priority, text, .. }] => (*priority, title, text),
        other => panic!("not one message: {other:?}"),
    }
}

pub const TOKEN: &str = "a-token-that-opens-the-page";
pub const NEEDS_YOU: &str = "bankfeed needs you";

pub fn door(stage: &Stage, door: Door) {
    stage.world.bank.edit(|bank| bank.door = door);
}

pub fn open(stage: &Stage) {
    door(stage, Door::Open);
}

#[tokio::test]
async fn what_lasts_is_told_again_after_a_day_a_week_and_then_every_four_weeks() {
    let mut stage = Stage::new().await;
    stage.cycle().await;
    door(&stage, Door::Locked);
    assert_eq!(message(&stage.scheduled().await.1).0, 4);
    let mut told = Vec::new();
    for hour in 1..=24 * 70 {
        stage.later(TimeDelta::hours(1));
        // Most hours nothing can be due; a cycle in each of them would only take time.
        if [1, 23, 24, 25, 191, 192, 193, 863, 864, 865, 1535, 1536, 1537].contains(&hour) {
            let arrived = stage.scheduled().await.1;
            told.extend(arrived.iter().map(|_| hour));
            if !arrived.is_empty() {
                let (priority, _, text) = message(&arrived);
                assert_eq!(priority, 5, "it grows more urgent");
                assert!(text.starts_with("still, for ") && text.contains("needs you: fibank"), "{text}");
            }
        }
    }
    let days: Vec<i32> = told.iter().map(|hour| hour / 24).collect();
    assert_eq!(days, [1, 8, 36, 64]);
}

#[tokio::test]
async fn only_what_is_asked_for_is_told_and_amounts_only_if_asked() {
    let stage = Stage::with(|notices| {
        let url = notices.server.url();
        format!(
            "[[notify]]\nkind = \"webhook\"\nurl = \"{url}/hook\"\non = \"attention\"\n\n\
             [[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/rows\"\non = [\"new-rows\"]\namounts = true\n"
        )
    })
    .await;
    let (_, arrived) = stage.cycle().await;
    let (_, _, text) = message(&arrived);
    assert!(text.contains("EUR: ") && text.contains("household: 12 rows added"), "{text}");
    stage.book(-1250);
    stage.book(-1);
    stage.book(100_000);
    let (_, arrived) = stage.cycle().await;
    let (priority, title, text) = message(&arrived);
    assert_eq!((priority, title), (2, "bankfeed: 3 new transactions"));
    assert_eq!(
        text,
        "3 new transactions\nEUR: 1 in, 1000.00; 2 out, 12.51\nhousehold: 3 rows added\nbase: 3 rows added"
    );
    door(&stage, Door::Locked);
    let (_, arrived) = stage.scheduled().await;
    let [Arrived::Call(call)] = &arrived[..] else { panic!("{arrived:?}") };
    assert_eq!((&call["kind"], &call["new"]), (&"attention".into(), &0.into()));
    assert_eq!(call["events"][0]["subject"], "source fibank");
    assert_eq!(call["events"][0]["cause"], "locked");
    assert!(call["text"].as_str().unwrap().starts_with("bankfeed needs you\nneeds you: fibank: "), "{call}");
    open(&stage);
    assert_eq!(stage.cycle().await.1, Vec::new(), "nobody asked for recoveries");
}

#[tokio::test]
async fn a_notifier_that_fails_changes_nothing_and_is_told_everything_later() {
    let stage = Stage::new().await;
    stage.cycle().await;
    for fault in [
        Fault::Drop,
        Fault::Status(500, "oops".into()),
        Fault::Status(302, String::new()),
        Fault::Status(403, r#"{"code":40301,"error":"forbidden"}"#.into()),
    ] {
        stage.notices.server.fail("", 0, u32::MAX, fault.clone());
        stage.book(-150);
        let (report, arrived) = stage.cycle().await;
        assert_eq!((report.exit_status(), arrived), (0, Vec::new()), "{fault:?}");
        let state = stage.world.engine().store.notifier("ntfy").unwrap().unwrap();
        let error = state.error.unwrap();
        assert!(!error.contains("topic") && !error.contains("home"), "the address is a secret: {error}");
        stage.notices.server.heal();
        stage.book(-150);
        let (_, arrived) = stage.cycle().await;
        assert_eq!(message(&arrived).1, "bankfeed: 2 new transactions", "{fault:?}: what was not told is told now");
        assert_eq!(stage.world.engine().store.notifier("ntfy").unwrap().unwrap().error, None);
    }
}

/// A server that does not answer holds up neither the notices for ever nor a stopping program.
#[tokio::test]
async fn a_stopping_program_tells_nobody() {
    let stage = Stage::new().await;
    let (stop, shutdown) = Shutdown::new();
    let engine = Arc::new(Engine { shutdown, ..stage.world.engine() });
    let mut teller = Teller::new(engine.clone());
    teller.begin(&Request::default());
    stop.send_replace(true);
    let report = engine.cycle(&Request::default(), &(Arc::new(|_| {}) as bankfeed::sync::Watcher)).await.unwrap();
    stage.notices.server.fail("", 0, u32::MAX, Fault::Hang);
    let asked = Instant::now();
    teller.end(Ok(&report), stage.now).await;
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(stage.notices.server.requests(), 0);
}

#[tokio::test]
async fn a_token_goes_along_and_a_dry_run_tells_nobody() {
    let stage = Stage::with(|notices| {
        notices.protect("tk_geheim");
        let url = notices.server.url();
        format!(
            "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\ntoken = \"tk_geheim\"\non = \"new-rows\"\n\n\
             [[notify]]\nkind = \"webhook\"\nurl = \"{url}/hook?key=1\"\ntoken = \"tk_geheim\"\non = \"new-rows\"\n\n\
             [[notify]]\nkind = \"healthchecks\"\nurl = \"{url}/ping/abc\"\n"
        )
    })
    .await;
    let (_, arrived) = stage.cycle_as(Request { dry_run: true, by_hand: true, ..Request::default() }).await;
    assert_eq!(arrived, []);
    let (_, arrived) = stage.cycle().await;
    assert_eq!(arrived.len(), 4, "{arrived:?}");
}

#[tokio::test]
async fn a_dead_mans_switch_hears_of_every_cycle() {
    let stage = Stage::with(|notices| {
        format!("[[notify]]\nkind = \"healthchecks\"\nurl = \"{}/ping/abc\"\n", notices.server.url())
    })
    .await;
    let start = Arrived::Ping("start", String::new());
    let (_, arrived) = stage.cycle().await;
    assert_eq!(
        arrived,
        [start.clone(), Arrived::Ping("success", "household: 12 rows added\nbase: 12 rows added".into())]
    );
    assert_eq!(stage.cycle().await.1, [start.clone(), Arrived::Ping("success", String::new())]);
    door(&stage, Door::Locked);
    for _ in 0..2 {
        let (_, arrived) = stage.scheduled().await;
        let [_, Arrived::Ping("fail", said)] = &arrived[..] else { panic!("{arrived:?}") };
        assert!(said.contains("блокиран"), "{said}");
    }
}

#[tokio::test]
async fn mail_reaches_everybody_in_the_list() {
    let mail = MailServer::start().await.unwrap();
    let stage = Stage::with(|_| {
        format!(
            "[[notify]]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nusername = \"ivan\"\npassword = \"тайна\"\n\
             from = \"bankfeed <bankfeed@example.com>\"\nto = [\"ivan@example.com\", \"Мария <maria@example.com>\"]\n\
             on = [\"attention\", \"new-rows\", \"recovery\"]\n",
            mail.port()
        )
    })
    .await;
    mail.protect("ivan", "друга");
    stage.cycle().await;
    let error = stage.world.engine().store.notifier("email").unwrap().unwrap().error.unwrap();
    assert_eq!(error, "the mail server refuses the login (SMTP 535); look at username and password");
    mail.protect("ivan", "тайна");
    stage.cycle().await;
    let mails = mail.take();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].from, "bankfeed@example.com");
    assert_eq!(mails[0].to, ["ivan@example.com", "maria@example.com"]);
    assert_eq!(mails[0].header("Subject"), Some("bankfeed: 12 new transactions"));
    assert!(mails[0].text().starts_with("12 new transactions\n"), "{:?}", mails[0]);
    door(&stage, Door::Locked);
    stage.scheduled().await;
    let mails = mail.take();
    assert!(mails[0].text().contains("блокиран"), "{:?}", mails[0]);
    mail.refuse(Some("421 4.3.0 closing"));
    open(&stage);
    let (report, _) = stage.cycle().await;
    assert_eq!(report.exit_status(), 0);
    mail.refuse(None);
    stage.cycle().await;
    assert!(mail.take()[0].text().starts_with("works again, after "));
}

/// A full disk stops every service at once and is one thing to tell, also where the store cannot note that it was told.
#[tokio::test]
async fn a_full_disk_and_a_damaged_store_are_told_once() {
    let stage = Stage::new().await;
    let (mut report, _) = stage.cycle().await;
    let engine = Arc::new(stage.world.engine());
    let mut teller = Teller::new(engine.clone());
    for source in &mut report.sources {
        (source.outcome, source.error) = (Outcome::Attention, Some(store::Error::Full.to_string()));
    }
    for destination in &mut report.destinations {
        (destination.outcome, destination.error) = (Outcome::Attention, Some(store::Error::Full.to_string()));
    }
    teller.end(Ok(&report), stage.now).await;
    assert_eq!(report.exit_status(), 3);
    let arrived = stage.notices.take();
    let (_, title, text) = message(&arrived);
    assert_eq!(title, NEEDS_YOU);
    assert_eq!(text, format!("needs you: {}", store::Error::Full));
    let damaged = "the store is damaged: transaction number 7 is gone";
    for first in [true, false] {
        teller.end(Err((4, damaged)), stage.now).await;
        let arrived = stage.notices.take();
        if first {
            assert_eq!(message(&arrived).2, format!("needs you: {damaged}"));
        } else {
            assert_eq!(arrived, Vec::new());
        }
    }
    drop((teller, engine));
    let (_, arrived) = stage.cycle().await;
    let (_, title, text) = message(&arrived);
    assert_eq!(title, "bankfeed works again");
    assert!(text.contains("this machine") && text.contains("the store"), "{text}");
}

/// A sync by hand through the program tells the notifiers, reports a notice it cannot send, and keeps its exit status.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_by_hand_tells_too() {
    let stage = Stage::new().await;
    let (status, _) = crate::cli::json(&stage.world, &["sync", "--json"]).await;
    assert_eq!((status, message(&stage.notices.take()).1), (0, "bankfeed: 12 new transactions"));
    door(&stage, Door::Locked);
    stage.notices.server.fail_next("", Fault::Status(500, String::new()));
    let ended = crate::cli::run(&stage.world, &["sync"]).await;
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("notify `ntfy`: not taken (HTTP 500); it is tried again after the next cycle"), "{said}");
    let (_, standing) = crate::cli::json(&stage.world, &["status", "--json"]).await;
    assert_eq!(standing["notifiers"][0]["error"], "not taken (HTTP 500)");
    let (status, _) = crate::cli::json(&stage.world, &["sync", "--json"]).await;
    assert_eq!((status, message(&stage.notices.take()).1), (3, NEEDS_YOU));
    assert_eq!(crate::cli::run(&stage.world, &["sync"]).await.status.code(), Some(3));
    assert_eq!(stage.notices.take(), Vec::new());
}

/// A session opened by hand is told of 14, 7 and 1 days before it ends, once each, and its successor ends the matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_is_told_of_in_time() {
    let stage = Stage::new().await;
    stage.cycle().await;
    let token = stage.world.bank.issue_token();
    let kept = stage.world.data_dir().join("logins/fibank-fibank.json");
    let keep = |left: TimeDelta| {
        let (from, until) = (Utc::now() - TimeDelta::days(90), Utc::now() + left);
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, format!("{token}\n{} {}\n", from.to_rfc3339(), until.to_rfc3339())).unwrap();
        until.with_timezone(&chrono_tz::Europe::Sofia).format("%Y-%m-%dT%H:%M").to_string()
    };
    let until = keep(TimeDelta::days(15));
    assert_eq!(stage.scheduled().await.1, []);
    let (_, state) = crate::cli::json(&stage.world, &["status", "--json"]).await;
    assert!(state["sources"][0]["session_until"].as_str().unwrap().starts_with(&until), "{state}");
    assert!(state["sources"][0]["note"].is_null(), "{state}");

    for left in [TimeDelta::days(13), TimeDelta::days(6), TimeDelta::hours(23)] {
        let until = keep(left);
        let (report, arrived) = stage.scheduled().await;
        assert_eq!(report.exit_status(), 0, "it works still");
        let (_, title, text) = message(&arrived);
        assert_eq!(title, NEEDS_YOU);
        let parts = ["fibank: the session at the bank ends at ", &until, "`bankfeed login fibank` opens a new one"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(report.sources[0].notes[0].contains(&until), "{report:?}");
        assert_eq!(stage.scheduled().await.1, [], "once");
    }
    let said = String::from_utf8(crate::cli::run(&stage.world, &["status"]).await.stdout).unwrap();
    assert!(said.contains("note: the session at the bank ends at "), "{said}");

    keep(TimeDelta::days(90));
    let (_, arrived) = stage.scheduled().await;
    assert_eq!(message(&arrived).1, "bankfeed works again");
}

/// A kept session's end is told at the instant when that is due, without a cycle and without the bank: to a daemon with
/// a schedule far away, and to a daemon without one.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_session_is_told_without_a_cycle() {
    for schedule in ["", "schedule = \"0 4 29 2 *\"\n"] {
        let stage = Stage::with(|notices| {
            let url = notices.server.url();
            format!(
                "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\non = [\"attention\"]\n\n\
                 [[notify]]\nkind = \"healthchecks\"\nurl = \"{url}/ping/abc\"\n"
            )
        })
        .await;
        let text = std::fs::read_to_string(stage.world.config_path()).unwrap();
        crate::world::write_private(
            &stage.world.config_path(),
            &text.replacen("[[source]]", &format!("{schedule}[[source]]"), 1),
        );
        let daemon = crate::cli::Daemon::start(&stage.world).await;
        let until = Utc::now() + TimeDelta::days(14) + TimeDelta::milliseconds(1700);
        let claims = serde_json::json!({"iat": (until - TimeDelta::days(90)).timestamp(), "exp": until.timestamp()});
        let token = format!("eyJhbGciOiJub25lIn0.{}.c2ln", BASE64.encode(claims.to_string()));
        stage.world.bank.take_token(&token);
        let (status, said) = crate::login::paste(&stage.world, &token).await;
        assert_eq!(status, 0, "{said}");
        let started = Instant::now();
        let arrived = loop {
            let arrived = stage.notices.take();
            if !arrived.is_empty() {
                break arrived;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "nobody is told");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let (_, title, text) = message(&arrived);
        assert_eq!(title, NEEDS_YOU);
        assert!(text.starts_with("needs you: fibank: the session at the bank ends at "), "{text}");
        assert!(
            Utc::now() >= DateTime::from_timestamp(until.timestamp(), 0).unwrap() - TimeDelta::days(14),
            "too early"
        );
        daemon.stop().await;
        assert_eq!(stage.world.bank.server.requests(), 1, "the token was tried, and no cycle ran");
        let again = crate::cli::Daemon::start(&stage.world).await;
        let (_, state) = crate::cli::json(&stage.world, &["status", "--json"]).await;
        assert_eq!((&state["daemon"], stage.notices.take()), (&true.into(), vec![]), "once, restarts or not");
        again.stop().await;
    }
}

/// `check --notify` reaches every notifier and names the unreachable ones; plain `check` sends no notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_notice_goes_to_every_notifier() {
    let mail = MailServer::start().await.unwrap();
    let stage = Stage::with(|notices| {
        let url = notices.server.url();
        format!(
            "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\n\n[[notify]]\nkind = \"webhook\"\nurl = \"{url}/hook\"\n\n\
             [[notify]]\nkind = \"healthchecks\"\nurl = \"{url}/ping/abc\"\n\n\
             [[notify]]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n",
            mail.port()
        )
    })
    .await;
    assert_eq!(crate::cli::run(&stage.world, &["check"]).await.status.code(), Some(0));
    assert_eq!((stage.notices.take(), mail.take()), (vec![], vec![]));

    let daemon = crate::cli::Daemon::start(&stage.world).await;
    let output = crate::cli::run(&stage.world, &["check", "--notify"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok    notify ")).count(), 4, "{said}");
    let words = "notices of bankfeed arrive here; `bankfeed check --notify` has sent this one";
    let mut arrived = stage.notices.take();
    arrived.sort_by_key(|arrived| format!("{arrived:?}"));
    let [Arrived::Call(call), Arrived::Message { title, tags, text, .. }, ping] = &arrived[..] else {
        panic!("{arrived:?}")
    };
    assert_eq!((&call["kind"], &call["events"]), (&"test".into(), &serde_json::json!([])));
    assert_eq!((title.as_str(), tags[1].as_str(), text.as_str()), ("bankfeed: a test", "test", words));
    assert_eq!(*ping, Arrived::Ping("log", words.into()));
    assert_eq!(mail.take()[0].text().trim_end(), words);
    daemon.stop().await;

    stage.notices.server.fail("/topic", 0, u32::MAX, Fault::Status(403, "{}".into()));
    stage.notices.server.fail("/hook", 0, u32::MAX, Fault::Drop);
    stage.notices.server.fail("/ping", 0, u32::MAX, Fault::Status(404, String::new()));
    mail.protect("ivan", "тайна");
    let output = crate::cli::run(&stage.world, &["check", "--notify"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failures: Vec<&str> = said.lines().filter(|line| line.starts_with("FAIL")).collect();
    for (line, expected) in failures.iter().zip([
        "FAIL  notify ntfy: refused (HTTP 403); look at url and token",
        "FAIL  notify webhook: ",
        "FAIL  notify healthchecks: not there (HTTP 404); look at url",
        "FAIL  notify email: the mail server refuses the login (SMTP 530); look at username and password",
    ]) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert_eq!(failures.len(), 4, "{said}");
    assert!(!said.contains("topic/home") && !said.contains("/ping/abc"), "an address is a secret: {said}");

    let silent = World::new(Bank::small()).await;
    let output = crate::cli::run(&silent, &["check", "--notify"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("has no [[notify]] entry"), "{said}");
    assert_eq!(silent.bank.server.requests(), 0);
}

/// A daemon that cannot open its store tells so, once for each cause, however often it is started; other commands do
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_opened_is_told_once_by_the_daemon() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::with(|notices| {
        let url = notices.server.url();
        format!(
            "[[notify]]\nkind = \"ntfy\"\nurl = \"{url}/topic/home\"\n\n[[notify]]\nkind = \"healthchecks\"\nurl = \"{url}/ping/abc\"\n\n\
             [[notify]]\nkind = \"webhook\"\nurl = \"{url}/hook\"\non = \"new-rows\"\n"
        )
    })
    .await;
    stage.cycle().await;
    let format = stage.world.data_dir().join("FORMAT");
    let good = std::fs::read_to_string(&format).unwrap();
    let start = async || {
        let ended = crate::cli::run(&stage.world, &["run"]).await;
        assert_eq!(ended.status.code(), Some(4));
        (stage.notices.take(), String::from_utf8(ended.stderr).unwrap())
    };
    std::fs::write(&format, "bankfeed store 9\n").unwrap();
    assert_eq!(crate::cli::run(&stage.world, &["status"]).await.status.code(), Some(4));
    assert_eq!(stage.notices.take(), [], "whoever runs a command sees it");

    stage.notices.server.fail_next("/topic", Fault::Status(500, String::new()));
    let (arrived, said) = start().await;
    let [Arrived::Ping("fail", text)] = &arrived[..] else { panic!("{arrived:?}") };
    assert!(text.starts_with("needs you: ") && text.contains("written by another release of bankfeed"), "{text}");
    assert!(said.contains("notify `ntfy`: not taken (HTTP 500); it is tried again at the next start"), "{said}");
    let (arrived, _) = start().await;
    let (priority, title, same) = message(&arrived);
    assert_eq!((priority, title, same), (4, NEEDS_YOU, text.as_str()));
    for _ in 0..2 {
        assert_eq!(start().await.0, []);
    }
    let file = stage.world.data_dir().join("told-at-start");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("http"), "an address is a secret");

    std::fs::write(&format, "something else\n").unwrap();
    assert_eq!(start().await.0.len(), 2, "another cause");
    std::fs::write(&format, &good).unwrap();
    let daemon = crate::cli::Daemon::start(&stage.world).await;
    daemon.stop().await;
    assert!(!file.exists());
    std::fs::write(&format, "something else\n").unwrap();
    assert_eq!(start().await.0.len(), 2, "the same cause once more, after a while of peace");

    // A cause that cannot be noted is not told, because every start would tell it again.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (arrived, said) = start().await;
    assert_eq!(arrived, []);
    assert!(said.contains("nobody is told, because that could not be noted"), "{said}");
}

/// `check --notify` with these certificates as the machine's own; the line about the mail.
async fn mail_line(stage: &Stage, certificates: &str) -> String {
    let file = stage.world.dir.path().join("certificates.pem");
    std::fs::write(&file, certificates).unwrap();
    let mut command = crate::cli::bankfeed(&stage.world, &["check", "--notify"]);
    command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(i32::from(said.contains("FAIL"))), "{said}");
    said.lines().find(|line| line.contains("notify email")).unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// Mail goes over TLS in either way, never to a server with a bad certificate, and no login goes in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_or_not_at_all() {
    let running = [("starttls", Manner::StartTls), ("implicit", Manner::Implicit)];
    let running = running.map(|(tls, manner)| tokio::spawn(mail_goes_over_tls(tls, manner)));
    for case in running {
        case.await.unwrap();
    }
}

async fn mail_goes_over_tls(tls: &str, manner: Manner) {
    let mail = MailServer::start_as(manner).await.unwrap();
    mail.protect("ivan", "тайна");
    let stage = Stage::with(|_| {
        format!(
            "[[notify]]\nkind = \"email\"\nhost = \"localhost\"\nport = {}\ntls = \"{tls}\"\nusername = \"ivan\"\n\
             password = \"тайна\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n",
            mail.port()
        )
    })
    .await;
    let line = mail_line(&stage, AUTHORITY).await;
    assert!(line.starts_with("ok    notify email: "), "{tls}: {line}");
    assert!(mail.take()[0].text().starts_with("notices of bankfeed arrive here"), "{tls}");
    let line = mail_line(&stage, STRANGER).await;
    let expected = "FAIL  notify email: the mail server's certificate is not good (UnknownIssuer); look at host";
    assert!(line.starts_with(expected), "{tls}: {line}");

    let text = std::fs::read_to_string(stage.world.config_path()).unwrap();
    let other_name = text.replace("host = \"localhost\"", "host = \"127.0.0.1\"");
    crate::world::write_private(&stage.world.config_path(), &other_name);
    let line = mail_line(&stage, AUTHORITY).await;
    assert!(line.starts_with("FAIL  notify email: the mail server's certificate is not good ("), "{tls}: {line}");
    assert_eq!(mail.take(), [], "{tls}");
    let heard = mail.heard_in_the_clear();
    assert!(heard.iter().all(|line| line.starts_with("EHLO ") || line == "STARTTLS" || line == "QUIT"), "{heard:?}");

    // A server without TLS, or with an attacker in between who hides it, gets no mail.
    let clear = MailServer::start().await.unwrap();
    clear.protect("ivan", "тайна");
    let elsewhere = text.replace(&format!("port = {}", mail.port()), &format!("port = {}", clear.port()));
    crate::world::write_private(&stage.world.config_path(), &elsewhere);
    let line = mail_line(&stage, AUTHORITY).await;
    let expected = "FAIL  notify email: no safe connection to the mail server, and nothing is sent without one (";
    assert!(line.starts_with(expected) && line.ends_with("look at port and tls"), "{tls}: {line}");
    assert_eq!(clear.take(), []);
    let heard = clear.heard_in_the_clear();
    assert!(heard.iter().all(|line| !line.to_uppercase().contains("AUTH")), "{heard:?}");
}
