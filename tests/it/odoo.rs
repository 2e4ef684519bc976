//! Odoo: bank lines made once, read back, corrected as far as the books allow, and everything that only its owner can mend.

use std::collections::BTreeMap;
use std::sync::Arc;

use bankfeed::config::{self, Config};
use bankfeed::remote::{Backoff, Shutdown};
use bankfeed::simulator::Fault;
use bankfeed::simulator::fibank::{Bank, Entry, Fibank};
use bankfeed::store::Store;
use bankfeed::sync::{DestinationReport, Engine, Outcome, Request, Verification, Verified, Watcher};

use crate::world::write_private;

use bankfeed::simulator::odoo::{DATABASE, Group, KEY, LOGIN, Line, Odoo};

mod explore;

/// A bank, an Odoo, and a household between them.
struct Home {
    dir: tempfile::TempDir,
    bank: Fibank,
    odoo: Odoo,
    /// Accounts and their journals.
    journals: BTreeMap<String, i64>,
    /// Further lines of the entry.
    extra: String,
    key: String,
    database: String,
    login: Option<&'static str>,
}

impl Home {
    async fn new() -> Home {
        Home::with(Bank::small()).await
    }

    async fn with(bank: Bank) -> Home {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let accounts =
            bank.customers[0].accounts.iter().map(|account| (account.iban.clone(), account.currency.clone()));
        let accounts: Vec<(String, String)> = accounts.collect();
        let (bank, odoo) = (Fibank::start(bank).await.unwrap(), Odoo::start().await.unwrap());
        let journals = accounts.into_iter().map(|(iban, currency)| {
            let id = odoo.journal(&iban, &currency);
            (iban, id)
        });
        let journals = journals.collect();
        let (key, database) = (KEY.to_owned(), DATABASE.to_owned());
        // Memory where there is some: every save is synced.
        let dir = match std::path::Path::new("/dev/shm").is_dir() {
            true => tempfile::tempdir_in("/dev/shm").unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        Home { dir, bank, odoo, journals, extra: String::new(), key, database, login: Some(LOGIN) }
    }

    fn entry(&self) -> String {
        let journals = self.journals.iter().map(|(account, id)| format!("\"{account}\" = {id}"));
        let journals = journals.collect::<Vec<_>>().join(", ");
        let login = self.login.map_or(String::new(), |login| format!("login = \"{login}\"\n"));
        let (url, key, database, extra) = (self.odoo.server.url(), &self.key, &self.database, &self.extra);
        format!(
            "[[destination]]\nname = \"books\"\nkind = \"odoo\"\nurl = \"{url}\"\ndatabase = \"{database}\"\n{login}api_key = \"{key}\"\njournals = {{ {journals} }}\n{extra}\n"
        )
    }

    fn config(&self) -> Config {
        let (username, password) = self.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
        let (url, data) = (self.bank.server.url(), self.dir.path().join("data"));
        let text = format!(
            "data_dir = \"{}\"\ntimezone = \"Europe/Sofia\"\n\n[[source]]\nname = \"fibank\"\nkind = \"fibank\"\nusername = \"{username}\"\npassword = \"{password}\"\nbase_url = \"{url}\"\n\n{}",
            data.display(),
            self.entry()
        );
        let path = self.dir.path().join("config.toml");
        write_private(&path, &text);
        config::load(&path).unwrap()
    }

    fn engine(&self) -> Engine {
        let store = Arc::new(Store::open(&self.dir.path().join("data")).unwrap());
        Engine { config: Arc::new(self.config()), store, backoff: Backoff::immediate(), shutdown: Shutdown::never() }
    }

    async fn cycle(&self) -> DestinationReport {
        self.odoo.server.clear_log();
        let (engine, nobody): (_, Watcher) = (self.engine(), Arc::new(|_| {}));
        let mut report = engine.cycle(&Request { by_hand: true, ..Request::default() }, &nobody).await.unwrap();
        let report = report.destinations.remove(0);
        assert_eq!(report.requests, self.odoo.server.requests(), "what it counts is what was sent");
        report
    }

    async fn verify(&self, repair: bool) -> Verified {
        let (engine, nobody): (_, Watcher) = (self.engine(), Arc::new(|_| {}));
        engine.verify(&Verification { destinations: None, repair }, &nobody).await.unwrap().remove(0)
    }

    async fn filled() -> Home {
        let home = Home::new().await;
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.appended), (Outcome::Ok, 12), "{report:?}");
        home
    }

    /// The lines with an external id: transaction -> label, partner and amount.
    fn lines(&self) -> BTreeMap<String, Line> {
        self.odoo.edit(|books| {
            let named = books.lines.values().filter_map(|line| {
                let name = books.external_id(line.id)?;
                Some((name.to_owned(), line.clone()))
            });
            named.collect()
        })
    }

    fn rows_of(&self, account: &str) -> u64 {
        let of = |(iban, ..): &(String, Entry, rust_decimal::Decimal)| iban == account;
        self.bank.edit(|bank| bank.transactions().into_iter().filter(of).count() as u64)
    }

    fn line(&self, number: u64) -> Option<Line> {
        let end = format!("_3a{number}");
        self.lines().into_iter().find(|(name, _)| name.ends_with(&end)).map(|(_, line)| line)
    }

    fn change_line(&self, number: u64, change: impl FnOnce(&mut Line)) {
        let id = self.line(number).unwrap().id;
        self.odoo.edit(|books| change(books.lines.get_mut(&id).unwrap()));
    }

    /// Every booked row is one line with the bank's data, and no line has come from nowhere.
    fn settled(&self) {
        let booked = self.bank.edit(|bank| bank.transactions());
        let lines = self.lines();
        assert_eq!(self.odoo.edit(|books| books.lines.len()), lines.len(), "no line is without its id");
        assert_eq!(lines.len(), booked.len());
        for (iban, entry, _) in booked {
            let line = self.line(entry.number).unwrap_or_else(|| panic!("{} is not there", entry.number));
            assert_eq!(line.journal, self.journals[&iban]);
            assert_eq!(format!("{:.2}", line.amount), format!("{:.2}", entry.amount));
            assert_eq!(line.partner_name, entry.counterparty.trim());
        }
    }
}

fn book(home: &Home, payee: &str) -> u64 {
    let number = home.bank.edit(|bank| bank.last_number()) + 1;
    book_as(home, payee, number);
    number
}

fn book_as(home: &Home, payee: &str, number: u64) {
    let time = chrono::Utc::now().with_timezone(&chrono_tz::Europe::Sofia).fixed_offset();
    home.bank.edit(|bank| {
        let iban = bank.customers[0].accounts[0].iban.clone();
        let (amount, value_date) = (rust_decimal::Decimal::new(-150, 2), time.date_naive());
        let counterparty = payee.to_owned();
        bank.add(&iban, Entry { number, time, value_date, amount, counterparty, ..Entry::default() });
    });
}

fn change(home: &Home, number: u64, change: impl FnOnce(&mut Entry)) {
    home.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        change(entries.iter_mut().find(|entry| entry.number == number).unwrap());
    });
}

fn take_back(home: &Home, number: u64) -> Entry {
    home.bank.edit(|bank| {
        let entries = &mut bank.customers[0].accounts[0].entries;
        entries.remove(entries.iter().position(|entry| entry.number == number).unwrap())
    })
}

#[tokio::test]
async fn rows_become_lines_once_over_either_protocol() {
    for (version, first, new) in [(19, 9, 3), (18, 11, 3)] {
        let home = Home::new().await;
        home.odoo.set_version(version);
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.appended, report.requests), (Outcome::Ok, 12, first), "{report:?}");
        home.settled();
        assert_eq!(home.cycle().await.requests, 0, "nothing new, nothing sent");
        (0..3).for_each(|_| {
            book(&home, "КАФЕ");
        });
        let report = home.cycle().await;
        assert_eq!((report.appended, report.updated, report.requests), (3, 0, new), "{version}: {report:?}");
        home.settled();
        assert_eq!(home.verify(false).await.outcome, Outcome::Ok);
        assert!(home.verify(false).await.is_clean(), "{:?}", home.verify(false).await);
    }
}

/// A fault at the request that loads lines: the outcome and the requests of that cycle.
async fn load_through(version: u32, fault: Fault) -> (Outcome, u64) {
    let home = Home::new().await;
    home.odoo.set_version(version);
    assert_eq!(home.cycle().await.outcome, Outcome::Ok);
    (0..3).for_each(|_| {
        book(&home, "ХЛЯБ");
    });
    let text = format!("{fault:?}");
    home.odoo.server.fail_on(if version < 19 { "jsonrpc" } else { "json/2" }, &["bankfeed.tx_"], fault);
    let report = home.cycle().await;
    home.odoo.server.heal();
    if report.outcome != Outcome::Ok {
        assert_eq!(home.cycle().await.outcome, Outcome::Ok, "{version}: {text}");
    }
    home.odoo.server.land().await;
    home.settled();
    assert_eq!(home.cycle().await.requests, 0, "{version}: {text}");
    (report.outcome, report.requests)
}

#[tokio::test]
async fn a_lost_answer_doubles_nothing_however_often_it_is_lost() {
    for version in [19, 18] {
        for fault in [
            Fault::Drop,
            Fault::ApplyThenDrop,
            Fault::Truncate,
            Fault::CutBody,
            Fault::Status(502, "<html>Bad Gateway</html>".into()),
            Fault::ApplyThenStatus(504, "<html>Gateway Time-out</html>".into()),
            Fault::Held(100),
        ] {
            let applied =
                matches!(fault, Fault::ApplyThenDrop | Fault::Truncate | Fault::CutBody | Fault::ApplyThenStatus(..));
            let (outcome, _) = load_through(version, fault.clone()).await;
            // Found by the look before the next try, where it was applied.
            assert_eq!(outcome, if applied { Outcome::Ok } else { Outcome::Failed }, "{version}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn what_a_lost_try_has_made_counts_as_appended() {
    let home = Home::filled().await;
    (0..3).for_each(|_| {
        book(&home, "ХЛЯБ");
    });
    home.odoo.server.fail_next("/load", Fault::ApplyThenDrop);
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended, report.requests), (Outcome::Ok, 3, 5), "{report:?}");
    home.settled();
}

#[tokio::test]
async fn two_writers_at_once_make_each_line_once() {
    let home = Home::filled().await;
    book(&home, "ХЛЯБ");
    home.odoo.edit(|books| books.collisions = 2);
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, 1), "{report:?}");
    home.settled();
    // Another process with a store of its own meets the lines.
    let other = Home { dir: tempfile::tempdir().unwrap(), ..home };
    let report = other.cycle().await;
    assert_eq!((report.outcome, report.appended, report.updated), (Outcome::Ok, 0, 0), "{report:?}");
    other.settled();
}

#[tokio::test]
async fn corrections_reach_open_lines_and_leave_the_owners_words() {
    let home = Home::filled().await;
    let numbers: Vec<u64> = (0..3).map(|_| book(&home, "РЕД")).collect();
    home.cycle().await;
    home.change_line(numbers[0], |line| line.account_number = "written by the owner".into());
    for number in &numbers {
        change(&home, *number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    }
    change(&home, numbers[1], |entry| entry.amount = "-7.10".parse().unwrap());
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended, report.updated), (Outcome::Ok, 0, 3), "{report:?}");
    // A look, the external ids, the lines, and a write for each.
    assert_eq!(report.requests, 6);
    home.settled();
    assert_eq!(home.line(numbers[0]).unwrap().account_number, "written by the owner");
    assert_eq!(home.cycle().await.requests, 0);
}

#[tokio::test]
async fn a_reconciled_line_is_never_touched_and_its_correction_is_told() {
    let home = Home::filled().await;
    let (number, other) = (book(&home, "РЕД"), book(&home, "ДРУГ"));
    home.cycle().await;
    home.change_line(number, |line| line.reconciled = true);
    let before = home.line(number).unwrap();
    for number in [number, other] {
        change(&home, number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    }
    book(&home, "НОВ");
    let report = home.cycle().await;
    assert_eq!(
        (report.outcome, report.appended, report.updated, report.rejected),
        (Outcome::Ok, 1, 1, 1),
        "{report:?}"
    );
    assert_eq!(home.line(number).unwrap(), before);
    assert_eq!(home.cycle().await.requests, 0);
    let engine = home.engine();
    let state = engine.store.destination("books", &engine.config.destinations[0].target()).unwrap();
    let rejected: Vec<_> = state.rows.rejected().collect();
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].1.contains("reconciled in Odoo and is never touched"), "{rejected:?}");
    assert!(rejected[0].1.contains("correction (label, partner)"), "{rejected:?}");
    drop(engine);
    // The owner undoes the reconciliation, and the daily try lets the correction in.
    home.change_line(number, |line| line.reconciled = false);
    let engine = home.engine();
    let target = engine.config.destinations[0].target();
    let mut state = engine.store.destination("books", &target).unwrap();
    state.rows.retry_on = Some(chrono::NaiveDate::from_ymd_opt(2020, 1, 1).unwrap());
    engine.store.put_destination("books", &target, &state).unwrap();
    drop((engine, state));
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.rejected), (Outcome::Ok, 0), "{report:?}");
    home.settled();
}

#[tokio::test]
async fn a_line_the_owner_deleted_stays_deleted_until_it_is_asked_for() {
    let home = Home::filled().await;
    let numbers: Vec<u64> = (0..2).map(|_| book(&home, "РЕД")).collect();
    home.cycle().await;
    let gone = home.line(numbers[0]).unwrap().id;
    home.odoo.edit(|books| books.delete_line(gone));
    for payee in ["ПОПРАВЕН", "ПАК"] {
        change(&home, numbers[0], |entry| entry.counterparty = payee.into());
        book(&home, "НОВ");
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.appended, report.updated), (Outcome::Ok, 1, 0), "{report:?}");
        assert!(home.line(numbers[0]).is_none());
    }
    let iban = home.bank.edit(|bank| bank.customers[0].accounts[0].iban.clone());
    let (engine, nobody): (_, Watcher) = (home.engine(), Arc::new(|_| {}));
    let ids = [format!("fibank:{iban}:{}", numbers[0])];
    let config = engine.config.destinations[0].clone();
    engine.restore(&config, &ids, &nobody).await.unwrap();
    drop((engine, config));
    home.settled();
}

#[tokio::test]
async fn a_read_back_finds_what_is_missing_and_different_and_mends_it() {
    let home = Home::filled().await;
    let numbers: Vec<u64> = (0..3).map(|_| book(&home, "РЕД")).collect();
    home.cycle().await;
    let gone = home.line(numbers[0]).unwrap().id;
    home.odoo.edit(|books| books.delete_line(gone));
    home.change_line(numbers[1], |line| line.amount = 99.0);
    home.change_line(numbers[2], |line| line.date = line.date - chrono::Days::new(40));
    // A line of the owner's own is none of ours.
    home.odoo.edit(|books| {
        let mut own = books.lines.values().next().unwrap().clone();
        own.id = 5_000;
        books.lines.insert(own.id, own);
    });
    let found = home.verify(false).await;
    assert_eq!((found.missing.len(), found.doubled.len()), (1, 0), "{found:?}");
    let columns: Vec<&str> = found.different.iter().map(|one| one.column.as_str()).collect();
    assert_eq!(columns, ["amount", "date"], "{found:?}");
    let mended = home.verify(true).await;
    assert_eq!((mended.put_back.len(), mended.mended.len()), (1, 2), "{mended:?}");
    home.odoo.edit(|books| books.delete_line(5_000));
    home.settled();
    assert!(home.verify(false).await.is_clean());
}

#[tokio::test]
async fn a_date_that_the_server_moves_is_read_back_and_told() {
    let home = Home::new().await;
    let lock = chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
    home.odoo.edit(|books| books.companies[0].lock_date = Some(lock));
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, 12), "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("10 lines were dated later by Odoo")), "{:?}", report.notes);
    assert_eq!(home.cycle().await.requests, 0);
    // The move is the server's own and no difference; once the period is open, a repair moves the lines back.
    let found = home.verify(false).await;
    assert!(found.is_clean(), "{found:?}");
    home.odoo.edit(|books| books.companies[0].lock_date = None);
    let found = home.verify(true).await;
    assert_eq!(found.mended.len(), 10, "{found:?}");
    assert!(home.verify(false).await.is_clean());
    // A correction in a period that was locked since is told.
    let number = book(&home, "РЕД");
    home.cycle().await;
    let day = home.line(number).unwrap().date;
    home.odoo.edit(|books| books.companies[0].lock_date = Some(day));
    change(&home, number, |entry| entry.remittance[0] = "поправено".into());
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.rejected), (Outcome::Ok, 1), "{report:?}");
}

#[tokio::test]
async fn rows_that_the_bank_took_back_are_marked_left_or_deleted() {
    for policy in ["mark", "ignore", "delete"] {
        let mut home = Home::new().await;
        home.extra = format!("vanished = \"{policy}\"");
        home.cycle().await;
        let number = book(&home, "РЕД");
        home.cycle().await;
        let before = home.line(number).unwrap();
        let entry = take_back(&home, number);
        let report = home.cycle().await;
        assert_eq!(report.outcome, Outcome::Ok, "{policy}: {report:?}");
        let label = home.line(number).map(|line| line.payment_ref);
        match policy {
            "mark" => assert_eq!(label.unwrap(), format!("[taken back by the bank] {}", before.payment_ref)),
            "ignore" => assert_eq!(label.unwrap(), before.payment_ref),
            _ => assert_eq!(label, None),
        }
        assert!(home.verify(false).await.is_clean(), "{policy}");
        home.bank.edit(|bank| bank.customers[0].accounts[0].entries.push(entry));
        let report = home.cycle().await;
        assert_eq!(report.outcome, Outcome::Ok, "{policy}: {report:?}");
        assert_eq!(home.line(number).unwrap().payment_ref, before.payment_ref, "{policy}");
        home.settled();
        // Reconciled, the line stays as it is.
        home.change_line(number, |line| line.reconciled = true);
        take_back(&home, number);
        let report = home.cycle().await;
        assert_eq!(report.rejected, u64::from(policy != "ignore"), "{policy}: {report:?}");
        assert_eq!(home.line(number).unwrap().payment_ref, before.payment_ref, "{policy}");
    }
}

#[tokio::test]
async fn corrections_are_ignored_where_the_owner_wants_so() {
    let mut home = Home::new().await;
    home.extra = "updates = \"ignore\"".into();
    let number = book(&home, "РЕД");
    home.cycle().await;
    change(&home, number, |entry| entry.counterparty = "ПОПРАВЕН".into());
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.updated, report.requests), (Outcome::Ok, 0, 0), "{report:?}");
    assert_eq!(home.line(number).unwrap().partner_name, "РЕД");
}

#[tokio::test]
async fn rows_without_a_journal_wait_and_come_once_there_is_one() {
    let mut home = Home::new().await;
    let all = home.journals.clone();
    let (missing, id) = home.journals.pop_last().unwrap();
    let report = home.cycle().await;
    let rest = home.rows_of(&missing);
    assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 12 - rest, rest));
    assert!(report.notes.iter().any(|note| note.contains(&missing) && note.contains("has no journal")), "{report:?}");
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.requests, report.rejected), (Outcome::Ok, 0, 0), "{report:?}");
    home.journals = all;
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, rest), "{report:?}");
    assert!(report.notes.is_empty(), "{report:?}");
    assert_eq!(home.journals[&missing], id);
    home.settled();
}

#[tokio::test]
async fn a_journal_that_takes_no_lines_holds_up_its_own_rows_only() {
    let mut home = Home::new().await;
    let (second, good) = home.journals.clone().pop_last().unwrap();
    let rows = home.rows_of(&second);
    home.odoo.edit(|books| {
        let (mut old, mut foreign) = (books.journals[0].clone(), books.journals[0].clone());
        (old.id, old.kind, old.active, old.name) = (40, "bank".into(), false, "Old".into());
        (foreign.id, foreign.kind, foreign.company) = (41, "bank".into(), 2);
        books.journals.extend([old, foreign]);
    });
    for (bad, words) in [(1, "is no bank journal"), (40, "is archived"), (41, "may not see"), (99, "is not there")] {
        home.journals.insert(second.clone(), bad);
        home.dir = tempfile::tempdir().unwrap();
        home.odoo.edit(|books| {
            books.lines.clear();
            books.external_ids.clear();
        });
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 12 - rows, rows), "{report:?}");
        assert!(report.notes.iter().any(|note| note.contains(words)), "{bad}: {:?}", report.notes);
    }
    home.journals.insert(second.clone(), good);
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, rows), "{report:?}");
    home.settled();
    // With every journal bad the place is the owner's affair, and rows wait.
    home.odoo.edit(|books| books.journals.iter_mut().for_each(|journal| journal.active = false));
    book(&home, "ЧАКАЩ");
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 1), "{report:?}");
    assert!(report.error.unwrap().contains("is archived"));
    home.odoo.edit(|books| books.journals.iter_mut().for_each(|journal| journal.active = true));
    assert_eq!(home.cycle().await.appended, 1);
    home.settled();
}

#[tokio::test]
async fn a_missing_right_is_named_by_its_group() {
    for version in [19, 18] {
        let home = Home::new().await;
        home.odoo.set_version(version);
        home.odoo.edit(|books| books.users[0].groups = [Group::Invoicing, Group::Manager].into());
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 12), "{report:?}");
        let error = report.error.unwrap();
        assert!(error.contains("may not create") && error.contains("the group Basic"), "{error}");
        let (engine, nobody): (_, Watcher) = (home.engine(), Arc::new(|_| {}));
        let checked = engine.check(&nobody).await.unwrap().pop().unwrap();
        assert_eq!(checked.outcome, Outcome::Attention);
        assert!(checked.lines[0].contains("the group Basic"), "{checked:?}");
        drop(engine);
        home.odoo.edit(|books| books.users[0].groups = [Group::Full].into());
        assert_eq!(home.cycle().await.appended, 12);
        home.settled();
    }
}

#[tokio::test]
async fn a_key_is_told_before_it_ends_and_after() {
    for version in [19, 18] {
        let home = Home::new().await;
        home.odoo.set_version(version);
        let end = chrono::Utc::now() + chrono::Duration::days(5);
        home.odoo.edit(|books| books.users[0].keys[0].expires = Some(end));
        let report = home.cycle().await;
        let note = format!("the API key ends on {}", end.date_naive());
        assert!(report.notes.iter().any(|said| said.contains(&note)), "{:?}", report.notes);
        home.odoo.edit(|books| books.users[0].keys[0].expires = Some(chrono::Utc::now() - chrono::Duration::days(1)));
        book(&home, "ЧАКАЩ");
        for _ in 0..2 {
            let report = home.cycle().await;
            assert_eq!((report.outcome, report.waiting, report.requests), (Outcome::Attention, 1, 1), "{report:?}");
            assert!(report.error.as_deref().unwrap().contains("the key is refused"), "{report:?}");
            assert!(!format!("{report:?}").contains(KEY));
        }
        home.odoo.edit(|books| books.users[0].keys[0].expires = None);
        assert_eq!(home.cycle().await.appended, 1);
        home.settled();
    }
}

#[tokio::test]
async fn whatever_stands_in_the_way_is_told_with_its_remedy() {
    let html = || "<html>sign in</html>".to_owned();
    let cases: [(u32, &str, Fault, Outcome, &str); 8] = [
        (19, "/json/2", Fault::Status(303, html()), Outcome::Attention, "points elsewhere"),
        (18, "/jsonrpc", Fault::Status(301, html()), Outcome::Attention, "points elsewhere"),
        (19, "/json/2", Fault::Status(200, html()), Outcome::Attention, "a web page came instead"),
        (18, "/jsonrpc", Fault::Status(200, html()), Outcome::Attention, "a web page came instead"),
        (19, "/json/2", Fault::Status(502, html()), Outcome::Failed, "down or slow"),
        (18, "/jsonrpc", Fault::Status(403, html()), Outcome::Attention, "refused before Odoo was reached"),
        (19, "/json/2", Fault::StatusRetryAfter(429, String::new(), 60), Outcome::Failed, "too many requests"),
        (19, "/json/2", Fault::Status(413, html()), Outcome::Ok, ""),
    ];
    for (version, matching, fault, outcome, words) in cases {
        let home = Home::new().await;
        home.odoo.set_version(version);
        home.cycle().await;
        book(&home, "ЧАКАЩ");
        let text = format!("{version} {fault:?}");
        let times = if outcome == Outcome::Ok { 0 } else { u32::MAX };
        if times > 0 {
            home.odoo.server.fail(matching, 0, times, fault);
        }
        let report = home.cycle().await;
        assert_eq!(report.outcome, outcome, "{text}: {report:?}");
        assert!(report.error.unwrap_or_default().contains(words), "{text}");
        home.odoo.server.heal();
        home.cycle().await;
        home.settled();
    }
}

#[tokio::test]
async fn a_wrong_database_or_login_is_named() {
    for version in [19, 18] {
        let mut home = Home::new().await;
        home.odoo.set_version(version);
        home.odoo.add_database("other");
        home.database = "nope".into();
        let report = home.cycle().await;
        assert_eq!(report.outcome, Outcome::Attention);
        assert!(report.error.unwrap().contains("no database `nope`"));
        home.database = DATABASE.into();
        if version < 19 {
            for (login, words) in
                [(None, "put the user's into `login`"), (Some("x@example.com"), "not of the user `x@example.com`")]
            {
                home.login = login;
                let report = home.cycle().await;
                assert_eq!(report.outcome, Outcome::Attention);
                assert!(report.error.as_deref().unwrap().contains(words), "{report:?}");
            }
            home.login = Some(LOGIN);
        }
        assert_eq!(home.cycle().await.appended, 12);
        home.settled();
        home.odoo.edit(|books| books.without_accounting = true);
        book(&home, "ЧАКАЩ");
        let report = home.cycle().await;
        assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 1), "{report:?}");
        assert!(report.error.unwrap().contains("no accounting"));
    }
}

#[tokio::test]
async fn amounts_that_the_books_cannot_hold_are_refused_by_name() {
    let mut bank = Bank::small();
    bank.customers[0].accounts[0].currency = "USD".into();
    let home = Home::with(bank).await;
    home.odoo.edit(|books| {
        let euro = books.currencies.iter().find(|known| known.name == "EUR").unwrap().id;
        books.journals.iter_mut().for_each(|journal| journal.currency = journal.currency.and(Some(euro)));
    });
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 3, 9), "{report:?}");
    let engine = home.engine();
    let state = engine.store.destination("books", &engine.config.destinations[0].target()).unwrap();
    assert!(state.rows.rejected().all(|(_, why)| why.contains("its currency USD is not the journal's, EUR")));
}

#[tokio::test]
async fn leva_in_a_journal_of_euros_are_booked_at_the_fixed_rate() {
    let mut bank = Bank::small();
    bank.customers[0].accounts[0].currency = "BGN".into();
    let home = Home::with(bank).await;
    home.odoo.edit(|books| {
        let euro = books.currencies.iter().find(|known| known.name == "EUR").unwrap().id;
        books.journals.iter_mut().for_each(|journal| journal.currency = journal.currency.and(Some(euro)));
    });
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, 12), "{report:?}");
    let line = home.line(900_000_001).unwrap();
    assert_eq!((line.amount, line.amount_currency, line.foreign_currency), (945.89, 1850.0, Some(26)));
    let found = home.verify(false).await;
    assert!(found.is_clean(), "{found:?}");
    let number = book(&home, "РЕД");
    home.cycle().await;
    change(&home, number, |entry| entry.amount = "1000.00".parse().unwrap());
    assert_eq!(home.cycle().await.updated, 1);
    let line = home.line(number).unwrap();
    assert_eq!((line.amount, line.amount_currency), (511.29, 1000.0));
}

#[tokio::test]
async fn a_row_that_is_refused_keeps_no_other_waiting() {
    let home = Home::filled().await;
    let numbers: Vec<u64> = (0..3).map(|_| book(&home, "РЕД")).collect();
    change(&home, numbers[1], |entry| entry.counterparty = "ЛОШ".into());
    let refusal = r#"{"name":"odoo.exceptions.UserError","message":"No such thing.","arguments":[],"context":{},"debug":"Traceback"}"#;
    home.odoo.server.fail_on("/load", &["ЛОШ"], Fault::Status(422, refusal.into()));
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended, report.rejected), (Outcome::Ok, 2, 1), "{report:?}");
    // Every row is refused alike: the place is to blame.
    home.odoo.server.fail("/load", 0, u32::MAX, Fault::Status(422, refusal.into()));
    (0..6).for_each(|_| {
        book(&home, "НОВ");
    });
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.waiting), (Outcome::Attention, 6), "{report:?}");
    home.odoo.server.heal();
    change(&home, numbers[1], |entry| entry.counterparty = "ДОБЪР".into());
    assert_eq!(home.cycle().await.appended, 7);
    home.settled();
}

#[tokio::test]
async fn more_than_a_batch_goes_in_several_and_text_is_text() {
    let home = Home::filled().await;
    for payee in ["=IMPORTXML(\"x\")", "TRUE", "0042", "О'Нийл \\ {x}", "🌿", "[taken back by the bank] x", "false"]
    {
        book(&home, payee);
    }
    (0..240).for_each(|_| {
        book(&home, "МНОГО");
    });
    let report = home.cycle().await;
    assert_eq!((report.outcome, report.appended), (Outcome::Ok, 247), "{report:?}");
    assert_eq!(report.requests, 3 + 4 + 4, "three batches; those after the first meet its lines");
    home.settled();
    assert!(home.verify(false).await.is_clean());
}

#[tokio::test]
async fn the_check_says_what_stands_and_what_is_missing() {
    let home = Home::new().await;
    let lock = chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
    home.odoo.edit(|books| books.companies[0].hard_lock_date = Some(lock));
    let (engine, nobody): (_, Watcher) = (home.engine(), Arc::new(|_| {}));
    let checked = engine.check(&nobody).await.unwrap().pop().unwrap();
    let told = checked.lines.join("\n");
    assert_eq!(checked.outcome, Outcome::Ok, "{told}");
    for words in [
        "Odoo 19 answers, over JSON-2",
        "goes to journal `Bank 1` in EUR",
        "locked through 2026-02-28",
        "may create",
        "the key ends on",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(home.odoo.edit(|books| books.lines.is_empty()), "a check writes nothing");
}
