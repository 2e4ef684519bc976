//! Identity that survives: what services did to the ids of their rows, as their users reported it, replayed through whole
//! cycles. Ten pulls over each pattern double no row and lose none, in the sheet and in the base.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bankfeed::config;
use bankfeed::model::{Account, Row};
use bankfeed::remote::{Backoff, Error, Shutdown};
use bankfeed::settings::Secret;
use bankfeed::simulator::fibank::Bank;
use bankfeed::source::content_id::Occurrences;
use bankfeed::source::{self, Coverage, Ids, Page, Scope, Session, Settings, Setup, Source};
use bankfeed::store::Store;
use bankfeed::sync::{Answer, Engine, Matched, Report, Request};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use secrecy::SecretString;

use crate::world::World;

const IBAN: &str = "BG05FINV91501000000002";

/// A kind of source whose answers a test gives.
const SCRIPTED: source::Kind = scripted("scripted");
const OTHER: source::Kind = scripted("other");

const fn scripted(name: &'static str) -> source::Kind {
    source::Kind {
        name,
        title: "a script",
        keys: &[],
        example: "",
        questions: |_| unreachable!("init does not offer scripts"),
        read: |_| unreachable!("scripts stand in no file"),
        scope: |_| unreachable!("scripts stand in no file"),
        aliases: |_| Vec::new(),
    }
}

/// The answer of a scripted source, the same at every pull until the test changes it.
#[derive(Clone, Debug)]
struct Reply {
    rows: Vec<Row>,
    ids: Ids,
    from: Option<NaiveDate>,
    until: NaiveDate,
    opening: Option<rust_decimal::Decimal>,
    closing: Option<rust_decimal::Decimal>,
    is_partial: bool,
}

#[derive(Clone, Debug)]
struct Script(Arc<Mutex<Reply>>);

impl Script {
    fn new(ids: Ids) -> Script {
        let (rows, until) = (Vec::new(), Utc::now().date_naive());
        Script(Arc::new(Mutex::new(Reply {
            rows,
            ids,
            from: None,
            until,
            opening: None,
            closing: None,
            is_partial: false,
        })))
    }

    /// Changes the answer.
    fn edit(&self, change: impl FnOnce(&mut Reply)) {
        change(&mut self.0.lock().unwrap());
    }

    fn give(&self, rows: &[Row]) {
        self.edit(|answer| answer.rows = rows.to_vec());
    }
}

impl Settings for Script {
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        Vec::new()
    }
    fn private_texts(&self) -> Vec<SecretString> {
        Vec::new()
    }
    fn login_identity(&self) -> Option<SecretString> {
        Some(String::new().into())
    }
    fn connect(&self, _: Setup) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(self.clone()))
    }
    fn session_file(&self) -> Option<&Path> {
        None
    }
}

#[async_trait]
impl Source for Script {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Session for Script {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        Ok(vec![account()])
    }

    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error> {
        let Reply { mut rows, ids, from: own, until, opening, closing, is_partial } = self.0.lock().unwrap().clone();
        let from = if is_partial { own } else { own.max(from) };
        rows.retain(|row| from.is_none_or(|from| row.date >= from));
        rows.sort_by_key(|row| row.time);
        Ok(Page {
            account: account.clone(),
            from,
            until,
            opening,
            closing,
            count: rows.len(),
            rows: Box::new(rows.into_iter().map(Ok)),
            ids,
            continues: false,
            coverage: Coverage::Rows,
            unlisted: None,
            unread: Vec::new(),
            doubt: None,
            notes: Vec::new(),
        })
    }

    fn lists_every_account(&self) -> bool {
        !self.0.lock().unwrap().is_partial
    }

    async fn close(self: Box<Self>) {}
}

fn account() -> Account {
    let account = IBAN.to_owned();
    Account { account, name: "Everyday".into(), customer: String::new(), currency: "EUR".into(), balance: None }
}

/// A row `days` ago under an id that the service gave.
fn row(kind: &str, id: &str, days: i64, amount: &str, text: &str) -> Row {
    let today = Utc::now().date_naive().and_hms_opt(10, 0, 0).unwrap().and_utc();
    let time: DateTime<_> = (today - TimeDelta::days(days)).fixed_offset();
    Row {
        id: format!("{kind}:{IBAN}:{id}"),
        time,
        date: time.date_naive(),
        value_date: None,
        amount: amount.parse().unwrap(),
        currency: "EUR".into(),
        balance: None,
        counterparty: text.into(),
        counterparty_account: String::new(),
        description: String::new(),
        kind: String::new(),
        kind_code: String::new(),
        reference: String::new(),
        raw: format!(r#"{{"id":"{id}","amount":"{amount}","text":"{text}"}}"#),
    }
}

/// These rows as a service without ids gives them: named by their content.
fn by_content(kind: &str, rows: &[Row]) -> Vec<Row> {
    let mut seen = Occurrences::default();
    let named = rows.iter().map(|row| {
        let content = format!("{} {} {}", row.amount, row.counterparty, row.description);
        Row { id: seen.id(kind, IBAN, row.date, &content), ..row.clone() }
    });
    named.collect()
}

fn source_of(kind: &'static source::Kind, script: &Script) -> config::Source {
    config::Source {
        name: kind.name.to_owned(),
        kind,
        scope: Scope { accounts: None, history_from: None, overlap_days: 14 },
        settings: Arc::new(script.clone()),
    }
}

/// Two scripted sources and the two simulated destinations.
struct House {
    world: World,
    scripts: Vec<(&'static source::Kind, Script)>,
}

impl House {
    async fn new(scripts: Vec<(&'static source::Kind, Script)>) -> House {
        House { world: World::new(Bank::small()).await, scripts }
    }

    fn engine(&self) -> Engine {
        let mut config = config::load(&self.world.config_path()).unwrap();
        config.sources = self.scripts.iter().map(|(kind, script)| source_of(kind, script)).collect();
        let store = Store::open(&self.world.data_dir()).unwrap();
        Engine {
            config: Arc::new(config),
            store: Arc::new(store),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        }
    }

    async fn pull(&self) -> Report {
        let nobody: bankfeed::sync::Watcher = Arc::new(|_| {});
        let report = self.engine().cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
        assert_eq!(report.exit_status(), 0, "{report:?}");
        report
    }

    /// Pulls once, then again and again: nothing comes to be, changes or goes any more, and nothing is sent.
    async fn settle(&self) {
        self.pull().await;
        self.world.clear_logs();
        for _ in 0..9 {
            let report = self.pull().await;
            for source in &report.sources {
                assert_eq!((source.new, source.changed, source.vanished), (0, 0, 0), "{source:?}");
            }
        }
        let sent = self.world.google.server.requests() + self.world.airtable.server.requests();
        assert_eq!(sent, 0, "nothing new, nothing sent");
    }

    /// The amounts and counterparties of the rows that the bank shows, in the store and in both destinations.
    fn shown(&self) -> Vec<String> {
        let engine = self.engine();
        let live = engine.store.transactions_after(0, 10_000).unwrap();
        let live: Vec<_> = live.into_iter().map(|(_, row)| row).filter(|row| !row.vanished).collect();
        let mut ids: Vec<(String, String)> =
            live.iter().map(|row| (row.row.id.clone(), format!("{:.2}", row.row.amount))).collect();
        ids.sort();
        let gone: Vec<String> = engine
            .store
            .transactions_after(0, 10_000)
            .unwrap()
            .into_iter()
            .filter(|(_, row)| row.vanished)
            .map(|(_, row)| row.row.id)
            .collect();
        for (what, mut found) in [("sheet", self.world.in_sheet()), ("base", self.world.in_base())] {
            found.retain(|(id, _)| !gone.contains(id));
            found.sort();
            assert_eq!(found, ids, "the {what}");
        }
        let mut shown: Vec<String> =
            live.iter().map(|row| format!("{:.2} {}", row.row.amount, row.row.counterparty)).collect();
        shown.sort();
        shown
    }
}

fn texts(rows: &[Row]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(|row| format!("{:.2} {}", row.amount, row.counterparty)).collect();
    texts.sort();
    texts
}

fn week() -> Vec<Row> {
    vec![
        row("scripted", "a1", 6, "-2.50", "CAFE"),
        row("scripted", "a2", 6, "-2.50", "CAFE"),
        row("scripted", "a3", 6, "-40", "GROCER"),
        row("scripted", "a4", 4, "1500", "EMPLOYER"),
        row("scripted", "a5", 2, "-9.99", "STREAMING"),
    ]
}

/// The rows under other ids.
fn reissued(rows: &[Row], round: usize) -> Vec<Row> {
    let renamed = rows.iter().enumerate().map(|(at, row)| {
        let id = format!("r{round}-{at}");
        Row {
            id: format!("scripted:{IBAN}:{id}"),
            raw: row.raw.replace("\"id\"", &format!("\"was\":\"{id}\",\"id\"")),
            ..row.clone()
        }
    });
    renamed.collect()
}

async fn one(ids: Ids) -> (House, Script) {
    let script = Script::new(ids);
    (House::new(vec![(&SCRIPTED, script.clone())]).await, script)
}

/// Capital One through SimpleFIN: the ids of whole days are issued anew, all else is equal (we-promise/sure#3436); and a
/// bank at Enable Banking whose ids are other ones at each fetch (we-promise/sure#3464).
#[tokio::test]
async fn sure_3436_and_3464_ids_issued_anew() {
    let (house, script) = one(Ids::Reissued).await;
    script.give(&week());
    house.settle().await;
    let first = house.shown();
    assert_eq!(first, texts(&week()));
    house.world.clear_logs();
    for round in 0..10 {
        script.give(&reissued(&week(), round));
        let report = house.pull().await;
        assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (0, 0, 0));
    }
    assert_eq!(house.world.google.server.requests() + house.world.airtable.server.requests(), 0);
    assert_eq!(house.shown(), first);
    // A third coffee is a new row, whatever the ids do.
    let mut more = week();
    more.push(row("scripted", "a6", 6, "-2.50", "CAFE"));
    script.give(&reissued(&more, 99));
    house.settle().await;
    assert_eq!(house.shown(), texts(&more));
}

/// A link to the bank that is made anew gives every row another id, and some other words (we-promise/sure#2864): no row
/// comes twice, and the words are corrections.
#[tokio::test]
async fn sure_2864_a_link_made_anew_with_other_words() {
    let (house, script) = one(Ids::Reissued).await;
    script.give(&week());
    house.settle().await;
    let mut again = reissued(&week(), 1);
    again[2].counterparty = "GROCER 0042 SOFIA".into();
    script.give(&again);
    let report = house.pull().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (0, 1, 0));
    house.settle().await;
    assert_eq!(house.shown(), texts(&again));
}

/// Twins that a comparison of content would drop (we-promise/sure#2720, firefly-iii/firefly-iii#1208): two equal rows of
/// one day stay two, three are three, and in whichever order files that overlap are read.
#[tokio::test]
async fn sure_2720_and_firefly_1208_twins_stay_twins() {
    let (house, script) = one(Ids::Reissued).await;
    let twins = |count: usize| by_content("scripted", &vec![row("scripted", "", 3, "-3.20", "BAKER"); count]);
    for (count, is_last_day_open, shown) in [(2, false, 2), (3, false, 3), (2, true, 3), (1, true, 3), (3, false, 3)] {
        script.edit(|answer| {
            answer.rows = twins(count);
            let day = answer.rows[0].date;
            (answer.is_partial, answer.from) = (true, Some(day - TimeDelta::days(2)));
            answer.until = if is_last_day_open { day - TimeDelta::days(1) } else { day };
        });
        house.settle().await;
        assert_eq!(house.shown().len(), shown, "{count} of them");
    }
}

/// An entry comes twice in one answer, under two ids (we-promise/sure#954): the balance after it shows that it is one.
#[tokio::test]
async fn sure_954_one_entry_under_two_ids_in_one_answer() {
    let (house, script) = one(Ids::Reissued).await;
    let mut rows = week();
    rows.iter_mut().enumerate().for_each(|(at, row)| row.balance = Some((100 + 10 * at as i64).into()));
    script.give(&rows);
    house.settle().await;
    let mut doubled = rows.clone();
    doubled.push(Row { id: format!("scripted:{IBAN}:twice"), ..rows[2].clone() });
    doubled.push(Row {
        id: format!("scripted:{IBAN}:new"),
        counterparty: "NEW".into(),
        balance: Some(1.into()),
        ..rows[4].clone()
    });
    doubled.push(Row {
        id: format!("scripted:{IBAN}:new too"),
        counterparty: "NEW".into(),
        balance: Some(1.into()),
        ..rows[4].clone()
    });
    script.give(&doubled);
    house.settle().await;
    rows.push(doubled[6].clone());
    assert_eq!(house.shown(), texts(&rows));
}

/// A row that comes late, between rows of a day that is known (plaintextaccounting/hledger#1837): it is taken, and nothing else moves.
#[tokio::test]
async fn hledger_1837_a_late_row_of_a_known_day() {
    let (house, script) = one(Ids::Reissued).await;
    script.edit(|answer| answer.rows = by_content("scripted", &week()));
    house.settle().await;
    let mut more = week();
    more.insert(1, row("scripted", "", 6, "-12", "LATE"));
    script.edit(|answer| answer.rows = by_content("scripted", &more));
    let report = house.pull().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed, report.sources[0].vanished), (1, 0, 0));
    house.settle().await;
    assert_eq!(house.shown(), texts(&more));
}

/// Rows of one amount within a few days that a comparison across days would merge (actualbudget/actual#608): they stay.
#[tokio::test]
async fn act_608_equal_amounts_on_neighbouring_days_are_two_rows() {
    let (house, script) = one(Ids::Reissued).await;
    let mut rows = vec![row("scripted", "x1", 5, "-10", "METRO")];
    script.give(&rows);
    house.settle().await;
    rows.push(row("scripted", "x2", 4, "-10", "METRO"));
    script.give(&reissued(&rows, 1));
    house.settle().await;
    assert_eq!(house.shown(), texts(&rows));
}

/// Entries numbered by their position, and a late one that renumbers them (actualbudget/actual#8701, whisper-money/whisper-money#669):
/// with ids made of content no row is overwritten.
#[tokio::test]
async fn act_8701_and_wm_669_ids_by_position() {
    let (house, script) = one(Ids::Reissued).await;
    let rows = [row("scripted", "1", 3, "-1", "A"), row("scripted", "2", 3, "-2", "B")];
    script.give(&rows);
    house.settle().await;
    let renumbered =
        [row("scripted", "1", 3, "-7", "C"), row("scripted", "2", 3, "-1", "A"), row("scripted", "3", 3, "-2", "B")];
    script.give(&renumbered);
    house.settle().await;
    assert_eq!(house.shown(), texts(&renumbered));
}

/// A row that the bank takes back is marked, and the same row under a new id is back.
#[tokio::test]
async fn a_row_taken_back_comes_again_under_another_id() {
    let (house, script) = one(Ids::Reissued).await;
    script.give(&week());
    house.settle().await;
    script.give(&week()[..4]);
    assert_eq!(house.pull().await.sources[0].vanished, 1);
    assert_eq!(house.shown(), texts(&week()[..4]));
    script.give(&reissued(&week(), 3));
    let report = house.pull().await;
    assert_eq!((report.sources[0].new, report.sources[0].changed), (0, 1), "{report:?}");
    house.settle().await;
    assert_eq!(house.shown(), texts(&week()));
}

/// A login and an aggregator of one account give one set of rows: each under its own ids and in its own words.
#[tokio::test]
async fn a_login_and_an_aggregator_are_one_account() {
    let (login, aggregator) = (Script::new(Ids::Dependable), Script::new(Ids::Reissued));
    let house = House::new(vec![(&SCRIPTED, login.clone()), (&OTHER, aggregator.clone())]).await;
    login.give(&week());
    let other = |round: usize| -> Vec<Row> {
        let other = week().into_iter().enumerate().map(|(at, row)| {
            let id = format!("other:{IBAN}:{round}-{at}");
            Row {
                id,
                counterparty: format!("POS {} BG", row.counterparty.to_lowercase()),
                raw: format!("{{\"round\":{round}}}"),
                ..row
            }
        });
        other.collect()
    };
    aggregator.give(&other(0));
    house.settle().await;
    assert_eq!(house.shown(), texts(&week()));
    for round in 1..4 {
        aggregator.give(&other(round));
        let report = house.pull().await;
        assert!(
            report.sources.iter().all(|source| (source.new, source.changed, source.vanished) == (0, 0, 0)),
            "{report:?}"
        );
    }
    // The login corrects a row; the aggregator's own words change nothing.
    let mut corrected = week();
    corrected[2].counterparty = "GROCER AD".into();
    corrected[2].raw = "{}".into();
    login.give(&corrected);
    let report = house.pull().await;
    assert_eq!((report.sources[0].changed, report.sources[1].changed), (1, 0));
    house.settle().await;
    assert_eq!(house.shown(), texts(&corrected));
    let engine = house.engine();
    assert_eq!(engine.store.accounts().len(), 1);
    assert_eq!(engine.store.accounts()[0].feeds.len(), 2);
    engine.store.prove().unwrap();
}

/// A login that lacks a row, and a file that holds the row: the gap is closed by the pull that reads the file, and stays
/// closed.
#[tokio::test]
async fn a_file_closes_the_gap_that_a_login_left() {
    let (login, files) = (Script::new(Ids::Dependable), Script::new(Ids::Reissued));
    let mut whole = week();
    let mut balance = rust_decimal::Decimal::from(100);
    for row in &mut whole {
        balance += row.amount;
        row.balance = Some(balance);
    }
    whole.iter_mut().enumerate().for_each(|(at, row)| row.time += TimeDelta::minutes(at as i64));
    let gappy: Vec<Row> = whole.iter().enumerate().filter(|(at, _)| *at != 2).map(|(_, row)| row.clone()).collect();
    login.give(&gappy);
    // A file names no balance after a row, and another time of the day.
    let in_file = whole.iter().map(|row| Row {
        balance: None,
        counterparty: format!("{} OOD", row.counterparty),
        time: row.time - TimeDelta::hours(8),
        ..row.clone()
    });
    files.edit(|answer| {
        answer.rows = by_content("other", &in_file.collect::<Vec<_>>());
        (answer.is_partial, answer.from) = (true, Some(answer.rows[0].date));
    });
    let house = House::new(vec![(&SCRIPTED, login.clone())]).await;
    house.pull().await;
    assert!(!house.engine().store.accounts()[0].is_complete());
    let house = House { scripts: vec![(&SCRIPTED, login.clone()), (&OTHER, files)], ..house };
    let report = house.pull().await;
    assert_eq!((report.sources[1].new, report.sources[1].changed), (1, 0), "{report:?}");
    assert_eq!(house.engine().store.accounts()[0].why_incomplete(), None, "{report:?}");
    house.settle().await;
    assert_eq!(house.engine().store.accounts()[0].why_incomplete(), None);
    assert_eq!(house.shown().len(), whole.len());
    // A gap that the file does not close is still one.
    let gappy: Vec<Row> = gappy.into_iter().filter(|row| !row.id.ends_with("a4")).collect();
    login.give(&gappy);
    let house = House { scripts: vec![(&SCRIPTED, login)], ..house };
    house.pull().await;
    assert!(!house.engine().store.accounts()[0].is_complete());
}

/// A month from a file makes no account incomplete that the login vouches for, nor does the file vouch for an account
/// that the login cannot fetch.
#[tokio::test]
async fn a_login_vouches_for_the_account_and_a_file_only_for_itself() {
    let (login, files) = (Script::new(Ids::Dependable), Script::new(Ids::Reissued));
    login.give(&week());
    files.edit(|answer| {
        answer.rows = by_content("other", &week()[..2]);
        (answer.is_partial, answer.from) = (true, Some(answer.rows[0].date));
    });
    let house = House::new(vec![(&OTHER, files), (&SCRIPTED, login)]).await;
    house.settle().await;
    let account = house.engine().store.accounts()[0].clone();
    assert_eq!((account.source.as_str(), account.why_incomplete()), ("scripted", None));
    assert_eq!(house.shown(), texts(&week()));
}

/// A row of a file that may be either of two rows of the login is kept apart, listed, and decided by the owner.
#[tokio::test]
async fn a_row_that_nothing_decides_is_kept_apart_until_the_owner_decides() {
    for is_same in [true, false] {
        let (login, files) = (Script::new(Ids::Dependable), Script::new(Ids::Reissued));
        let rows = [row("scripted", "1", 3, "-5", "NORTH"), row("scripted", "2", 3, "-5", "SOUTH")];
        login.give(&rows);
        let in_file = by_content("other", &[row("other", "", 3, "-5", "CARD 1234")]);
        files.give(&in_file);
        let house = House::new(vec![(&SCRIPTED, login), (&OTHER, files)]).await;
        let report = house.pull().await;
        assert!(report.sources[1].notes.iter().any(|note| note.contains("kept apart")), "{report:?}");
        house.settle().await;
        assert_eq!(house.shown(), texts(&rows));
        let engine = house.engine();
        let doubtful = engine.store.doubtful().unwrap();
        let ids: Vec<&String> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(doubtful.iter().map(|one| &one.row.id).collect::<Vec<_>>(), [&in_file[0].id]);
        assert_eq!(doubtful[0].candidates.iter().collect::<Vec<_>>(), ids);
        engine.store.prove().unwrap();
        let id = &in_file[0].id;
        if is_same {
            let undecided = engine.match_row(id, &Answer::Same(None)).unwrap();
            assert_eq!(undecided, Matched::Undecided(doubtful[0].candidates.clone()));
            let same = engine.match_row(id, &Answer::Same(Some(rows[1].id.clone()))).unwrap();
            assert_eq!(same, Matched::Same { id: rows[1].id.clone(), new: Vec::new() });
            assert_eq!(engine.store.find(id).unwrap(), engine.store.find(&rows[1].id).unwrap());
        } else {
            assert_eq!(engine.match_row(id, &Answer::Different).unwrap(), Matched::New);
        }
        assert_eq!(engine.match_row(id, &Answer::Different).unwrap(), Matched::Unknown);
        drop(engine);
        house.settle().await;
        assert_eq!(house.shown().len(), if is_same { 2 } else { 3 });
        assert!(house.engine().store.doubtful().unwrap().is_empty());
    }
}

/// A row that both sources have shown and that its giver misses stays, unless other rows have taken its place.
#[tokio::test]
async fn a_row_that_another_source_shows_does_not_vanish() {
    let (login, other) = (Script::new(Ids::Dependable), Script::new(Ids::Reissued));
    login.give(&week());
    other.give(&by_content("other", &week()));
    let house = House::new(vec![(&SCRIPTED, login.clone()), (&OTHER, other)]).await;
    house.settle().await;
    login.give(&week()[..4]);
    let report = house.pull().await;
    assert_eq!(report.sources[0].vanished, 0);
    house.settle().await;
    assert_eq!(house.shown(), texts(&week()));
}

/// On 2026-01-01 accounts went from leva to euros: a file in leva and a login that restates in euros are one set of rows.
#[tokio::test]
async fn a_file_in_leva_and_a_login_in_euros_pair() {
    let (files, login) = (Script::new(Ids::Reissued), Script::new(Ids::Dependable));
    let leva: Vec<Row> = ["-100", "-19.56", "250"]
        .iter()
        .map(|amount| Row { currency: "BGN".into(), ..row("other", "", 5, amount, "В ЛЕВА") })
        .collect();
    files.edit(|answer| {
        answer.rows = by_content("other", &leva);
        (answer.is_partial, answer.from) = (true, Some(answer.rows[0].date));
    });
    login.give(&[
        row("scripted", "1", 5, "-51.13", "IN EUROS"),
        row("scripted", "2", 5, "-10.00", "IN EUROS"),
        row("scripted", "3", 5, "127.82", "IN EUROS"),
    ]);
    let house = House::new(vec![(&OTHER, files), (&SCRIPTED, login)]).await;
    house.settle().await;
    assert_eq!(house.shown(), texts(&leva));
}

/// A source that the owner has given another name is the same source: its rows keep their ids and come once.
#[tokio::test]
async fn a_renamed_source_brings_no_row_twice() {
    const RENAMED: source::Kind = scripted("scripted");
    let script = Script::new(Ids::Dependable);
    script.give(&week());
    let house = House::new(vec![(&SCRIPTED, script.clone())]).await;
    house.settle().await;
    let engine = house.engine();
    let mut config = (*engine.config).clone();
    config.sources[0].name = "renamed".into();
    config.sources[0].kind = &RENAMED;
    let engine = Engine { config: Arc::new(config), ..engine };
    let nobody: bankfeed::sync::Watcher = Arc::new(|_| {});
    let report = engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
    assert_eq!((report.sources[0].new, report.sources[0].changed), (0, 0), "{report:?}");
    assert_eq!(engine.store.accounts().len(), 1);
}

/// An entry of a random history: its day, amount and words, and the pull since which each source shows the entry.
#[derive(Clone, Debug)]
struct Entry {
    day: i64,
    amount: usize,
    words: usize,
    since: [usize; 2],
}

const PULLS: usize = 4;

fn entry() -> impl Strategy<Value = Entry> {
    (1i64..3, 0usize..3, 0usize..3, 0usize..PULLS + 1, 0usize..PULLS + 1).prop_map(|(day, amount, words, a, b)| Entry {
        day,
        amount,
        words,
        since: [a, b],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Two sources, each with words of its own, ids that change at each pull, twins and gaps: no row that one source shows
    /// is lost, and no more rows of one day and amount are shown than the source with the most of them has.
    #[test]
    fn random_histories_of_two_sources_lose_and_double_nothing(history in prop::collection::vec(entry(), 0..9)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(random_history(&history));
    }
}

async fn random_history(history: &[Entry]) {
    let scripts = [Script::new(Ids::Reissued), Script::new(Ids::Reissued)];
    let kinds = [&SCRIPTED, &OTHER];
    let of_source = |at: usize, pull: usize| -> Vec<Row> {
        let shown = history.iter().enumerate().filter(|(_, entry)| entry.since[at] <= pull);
        let rows = shown.map(|(place, entry)| {
            let words = [["NORTH", "SOUTH", "EAST"], ["pos north", "card 7", "east ltd"]][at][entry.words];
            row(kinds[at].name, &format!("{pull}-{place}"), entry.day, ["-5", "-7.50", "20"][entry.amount], words)
        });
        rows.collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(Bank::small()).await;
    let engine = || {
        let mut config = config::load(&world.config_path()).unwrap();
        config.destinations.clear();
        config.sources = (0..2).map(|at| source_of(kinds[at], &scripts[at])).collect();
        let store = Store::open(dir.path()).unwrap();
        Engine {
            config: Arc::new(config),
            store: Arc::new(store),
            backoff: Backoff::immediate(),
            shutdown: Shutdown::never(),
        }
    };
    let engine = engine();
    let nobody: bankfeed::sync::Watcher = Arc::new(|_| {});
    for pull in 0..PULLS + 2 {
        (0..2).for_each(|at| scripts[at].give(&of_source(at, pull)));
        let report = engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
        assert_eq!(report.exit_status(), 0, "{report:?}");
        let count = |rows: &mut dyn Iterator<Item = (NaiveDate, rust_decimal::Decimal)>| {
            let mut counts: BTreeMap<(NaiveDate, rust_decimal::Decimal), usize> = BTreeMap::new();
            rows.for_each(|key| *counts.entry(key).or_default() += 1);
            counts
        };
        let stored = engine.store.transactions_after(0, 1000).unwrap();
        let live =
            count(&mut stored.iter().filter(|(_, row)| !row.vanished).map(|(_, row)| (row.row.date, row.row.amount)));
        let apart = count(&mut engine.store.doubtful().unwrap().iter().map(|one| (one.row.date, one.row.amount)));
        let sources = [0, 1].map(|at| count(&mut of_source(at, pull).iter().map(|row| (row.date, row.amount))));
        for key in live.keys().chain(sources[0].keys()).chain(sources[1].keys()) {
            let of = |counts: &BTreeMap<_, usize>| counts.get(key).copied().unwrap_or_default();
            let most = of(&sources[0]).max(of(&sources[1]));
            assert!(of(&live) + of(&apart) >= most, "lost: {key:?} in pull {pull}: {live:?} {apart:?} {sources:?}");
            assert!(of(&live) <= most, "doubled: {key:?} in pull {pull}: {live:?} {apart:?} {sources:?}");
        }
        engine.store.prove().unwrap();
    }
}
