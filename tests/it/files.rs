//! Statement files from the folder to the destinations: each row once, whatever lies there and whatever fails meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bankfeed::simulator::fibank::Bank;
use bankfeed::sync::{Outcome, Report, Request};

use crate::cli::{json, run};
use crate::rest::{Daemon, until};
use crate::world::World;

/// A world whose bank is empty, with a folder for statement files.
struct Inbox {
    world: World,
    folder: PathBuf,
}

impl Inbox {
    async fn new(options: &str) -> Inbox {
        let mut world = World::new(Bank::small()).await;
        let folder = world.dir.path().join("inbox");
        fs::create_dir(&folder).unwrap();
        world.extra[0] = format!(
            "\n[[source]]\nname = \"statements\"\nkind = \"files\"\ndirectory = \"{}\"\n{options}\n",
            folder.display()
        );
        world.write_config();
        Inbox { world, folder }
    }

    fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap();
        // A file that changed lately is watched for a while.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        path
    }

    async fn cycle(&self) -> Report {
        let sources = Some(vec!["statements".to_owned()]);
        self.world.cycle_with(Request { sources, ..Request::default() }).await
    }

    fn there(&self, folder: &str) -> Vec<String> {
        let Ok(found) = fs::read_dir(self.folder.join(folder)) else { return Vec::new() };
        let files = found.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
        let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The number of times that each transaction id stands in the sheet and in the base.
    fn delivered(&self) -> [BTreeMap<String, usize>; 2] {
        let count = |rows: Vec<(String, String)>| {
            let mut counts = BTreeMap::new();
            rows.into_iter().for_each(|(id, _)| *counts.entry(id).or_default() += 1);
            counts
        };
        let is_empty = self.world.sheet().is_empty();
        let in_sheet = if is_empty { Vec::new() } else { self.world.in_sheet() };
        [count(in_sheet), count(self.world.in_base())]
    }

    #[track_caller]
    fn holds(&self, rows: usize) {
        for counts in self.delivered() {
            assert_eq!(counts.len(), rows, "{counts:?}");
            assert!(counts.values().all(|count| *count == 1), "{counts:?}");
        }
    }
}

fn statements(report: &Report) -> &bankfeed::sync::SourceReport {
    report.sources.iter().find(|source| source.name == "statements").unwrap()
}

fn corpus(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/statements").join(path)).unwrap()
}

const ACCOUNT: &str = "account = \"BG80BNBA96611020345678\"\ncurrency = \"EUR\"";

fn csv(rows: &[&str]) -> String {
    format!("Date,Details,Debit,Credit,Balance\n{}", rows.iter().map(|row| format!("{row},\n")).collect::<String>())
}

#[tokio::test]
async fn dropped_files_of_every_format_arrive_once_over_ten_pulls() {
    let inbox = Inbox::new(ACCOUNT).await;
    let files =
        ["mt940/danske-se.sta", "camt/053-v2-finland-ten-entries.xml", "ofx/canada.ofx", "csv/raiffeisen-at.csv"];
    let mut rows = 0;
    for pull in 0..10 {
        for file in files {
            inbox.drop_file(file.rsplit('/').next().unwrap(), corpus(file));
        }
        let report = inbox.cycle().await;
        let statements = statements(&report);
        assert_eq!((report.exit_status(), statements.outcome), (0, Outcome::Ok), "{report:#?}");
        if pull == 0 {
            rows = statements.new;
            assert!(rows > 80, "{report:#?}");
        } else {
            assert_eq!(
                (statements.new, statements.changed, statements.vanished),
                (0, 0, 0),
                "pull {pull}: {statements:#?}"
            );
        }
        inbox.holds(rows as usize);
        assert_eq!(inbox.there("").len(), 0);
        assert_eq!(inbox.there("done").len(), files.len() * (pull + 1));
    }
}

#[tokio::test]
async fn a_refused_file_holds_back_no_other_and_says_why() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("good.csv", csv(&["01/02/2026,A,1.00,,99.00", "02/02/2026,B,2.00,,97.00"]));
    inbox.drop_file("bad.csv", csv(&["01/02/2026,A,1.00,", "32/02/2026,B,2.00,"]));
    inbox.drop_file("odd.csv", "When,What,How much\n2026-02-01,Coffee,-2.40\n");
    let report = inbox.cycle().await;
    let of = statements(&report);
    assert_eq!((of.outcome, of.new, report.exit_status()), (Outcome::Failed, 2, 1), "{report:#?}");
    let error = of.error.clone().unwrap();
    assert!(error.contains("bad.csv: line 3") && error.contains("odd.csv: "), "{error}");
    assert!(!error.contains('\n'), "{error}");
    inbox.holds(2);
    assert_eq!(inbox.there("done"), ["good.csv"]);
    assert_eq!(inbox.there("rejected"), ["bad.csv", "bad.csv.txt", "odd.csv", "odd.csv.txt"]);
    let text = fs::read_to_string(inbox.folder.join("rejected/odd.csv.txt")).unwrap();
    assert!(text.contains("`When` `What` `How much`"), "{text}");
    let block = &text[text.find("[[source.csv]]").unwrap()..text.find("\n\nNothing of").unwrap()];
    assert!(block.contains("amount = \"How much\""), "{text}");
    let report = inbox.cycle().await;
    assert_eq!(statements(&report).outcome, Outcome::Ok, "{report:#?}");
    // The block is a layout as it stands.
    let mut world = inbox.world;
    world.extra[0] += block;
    world.write_config();
    let inbox = Inbox { world, folder: inbox.folder };
    fs::rename(inbox.folder.join("rejected/odd.csv"), inbox.folder.join("odd.csv")).unwrap();
    let report = inbox.cycle().await;
    assert_eq!(statements(&report).new, 1, "{report:#?}");
    inbox.holds(3);
}

#[tokio::test]
async fn files_that_stay_are_known_by_their_content() {
    let inbox = Inbox::new(&format!("after = \"keep\"\n{ACCOUNT}")).await;
    inbox.drop_file("a.csv", csv(&["01/02/2026,A,1.00,", "02/02/2026,B,2.00,"]));
    inbox.drop_file("bad.csv", "no statement");
    for pull in 0..3 {
        let report = inbox.cycle().await;
        let of = statements(&report);
        assert_eq!((of.outcome, of.fetched), (Outcome::Failed, if pull == 0 { 2 } else { 0 }), "{report:#?}");
        assert!(of.error.as_ref().unwrap().contains("bad.csv: no statement"), "{report:#?}");
        assert_eq!(inbox.there(""), ["a.csv", "bad.csv"]);
    }
    // The same content under another name, and then other content under the old one.
    fs::remove_file(inbox.folder.join("bad.csv")).unwrap();
    fs::rename(inbox.folder.join("a.csv"), inbox.folder.join("b.csv")).unwrap();
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).outcome, statements(&report).fetched), (Outcome::Ok, 0), "{report:#?}");
    inbox.drop_file("b.csv", csv(&["01/02/2026,A,1.00,", "02/02/2026,B,2.00,", "03/02/2026,C,3.00,"]));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).fetched, statements(&report).new), (3, 1), "{report:#?}");
    inbox.holds(3);
}

#[tokio::test]
async fn overlapping_files_with_twins_give_each_row_once_in_any_order() {
    let coffee = "01/02/2026,Coffee,2.40,";
    let rows = [coffee, "01/02/2026,Bread,1.10,", coffee, "02/02/2026,Pay,,900.00", "03/02/2026,Rent,500.00,"];
    let reversed: Vec<&str> = rows.iter().rev().copied().collect();
    for files in [
        [csv(&rows), csv(&rows[2..]), csv(&reversed)],
        [csv(&reversed), csv(&rows[..4]), csv(&rows)],
        [csv(&rows[..3]), csv(&rows[2..]), csv(&reversed[..2])],
    ] {
        let inbox = Inbox::new(ACCOUNT).await;
        for (number, file) in files.iter().enumerate() {
            inbox.drop_file(&format!("{number}.csv"), file);
            if number == 1 {
                let report = inbox.cycle().await;
                assert_eq!(statements(&report).vanished, 0, "{report:#?}");
            }
        }
        let report = inbox.cycle().await;
        assert_eq!((statements(&report).vanished, statements(&report).outcome), (0, Outcome::Ok), "{report:#?}");
        inbox.holds(rows.len());
    }
}

/// Two statements of one day in one file, as banks send pages: equal and like entries of both are entries of their own,
/// however often the file comes.
#[tokio::test]
async fn statements_of_one_day_in_one_file_take_nothing_from_each_other() {
    let inbox = Inbox::new("").await;
    let head = ":20:STARTUMS\n:25:BG80BNBA96611020345678\n:28C:";
    let first = format!(
        "{head}1/1\n:60F:C261005EUR100,00\n:61:2610051005D10,00NMSCA\n:86:Coffee\n:61:2610051005D2,40NMSCB\n:86:Ticket\n:62F:C261005EUR87,60\n-\n"
    );
    let second = format!(
        "{head}2/1\n:60F:C261005EUR87,60\n:61:2610051005D10,00NMSCC\n:86:Tea\n:61:2610051005D2,40NMSCB\n:86:Ticket\n:62F:C261005EUR75,20\n-\n"
    );
    for pull in 0..3 {
        inbox.drop_file(&format!("{pull}.sta"), format!("{first}{second}"));
        let report = inbox.cycle().await;
        let of = statements(&report);
        assert_eq!((of.new, of.changed, of.vanished), (if pull == 0 { 4 } else { 0 }, 0, 0), "{report:#?}");
        inbox.holds(4);
    }
}

/// Two files of which each holds a part of one day: the second one says nothing about entries of the first one.
#[tokio::test]
async fn a_file_that_begins_in_the_middle_of_a_day_rewords_no_entry_of_that_day() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file(
        "1.csv",
        csv(&["04/02/2026,Rent,50.00,,950.00", "05/02/2026,Coffee,2.40,,947.60", "05/02/2026,Bread,1.00,,946.60"]),
    );
    inbox.cycle().await;
    inbox.drop_file("2.csv", csv(&["05/02/2026,Tea,2.40,,944.20", "06/02/2026,Milk,3.00,,941.20"]));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).new, statements(&report).changed), (2, 0), "{report:#?}");
    inbox.holds(5);
}

#[tokio::test]
async fn a_row_vanishes_inside_the_closed_days_of_a_statement_and_on_no_other() {
    let rows =
        |days: &[u32]| -> Vec<String> { days.iter().map(|day| format!("{day:02}/02/2026,Row {day},1.00,")).collect() };
    let file = |days: &[u32]| csv(&rows(days).iter().map(String::as_str).collect::<Vec<_>>());
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("1.csv", file(&[1, 2, 3, 4, 5, 6]));
    inbox.cycle().await;
    // The outer days are open: other files may hold more of them.
    inbox.drop_file("2.csv", format!("{}01/02/2026,Another,7.00,,\n", file(&[2, 3, 4, 5])));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).vanished, statements(&report).new), (0, 1), "{report:#?}");
    inbox.drop_file("3.csv", file(&[1, 2, 4, 5]));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).vanished, statements(&report).new), (1, 0), "{report:#?}");
    inbox.drop_file("4.csv", file(&[1, 2, 3, 4]));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).vanished, statements(&report).changed), (0, 1), "{report:#?}");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_the_owners_matter_until_it_is_there() {
    let inbox = Inbox::new(ACCOUNT).await;
    fs::remove_dir(&inbox.folder).unwrap();
    let report = inbox.cycle().await;
    let of = statements(&report);
    assert_eq!((of.outcome, of.cause.as_deref()), (Outcome::Attention, Some("not-found")), "{report:#?}");
    assert!(of.error.as_ref().unwrap().ends_with("does not exist; make it, or correct `directory`"), "{report:#?}");
    fs::create_dir(&inbox.folder).unwrap();
    inbox.drop_file("a.csv", csv(&["01/02/2026,A,1.00,"]));
    let report = inbox.cycle().await;
    assert_eq!((statements(&report).outcome, statements(&report).new), (Outcome::Ok, 1), "{report:#?}");
}

#[tokio::test]
async fn a_dry_run_goes_through_all_files_and_moves_none() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("a.csv", csv(&["01/02/2026,A,1.00,"]));
    inbox.drop_file("b.csv", csv(&["02/02/2026,B,1.00,"]));
    inbox.drop_file("bad.csv", "no statement");
    let report = inbox.world.cycle_with(Request { dry_run: true, ..Request::default() }).await;
    assert_eq!((statements(&report).new, statements(&report).outcome), (2, Outcome::Failed), "{report:#?}");
    assert_eq!(inbox.there(""), ["a.csv", "b.csv", "bad.csv"]);
    assert_eq!((inbox.there("done").len(), inbox.there("rejected").len()), (0, 0));
}

#[tokio::test]
async fn an_older_statement_read_later_leaves_the_balance_of_the_newer_one() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("new.csv", csv(&["01/03/2026,B,1.00,,98.00", "02/03/2026,C,1.00,,97.00"]));
    inbox.cycle().await;
    inbox.drop_file("old.csv", csv(&["01/02/2026,A,1.00,,100.00", "02/02/2026,A,1.00,,99.00"]));
    inbox.cycle().await;
    let engine = inbox.world.engine();
    let accounts = engine.store.accounts();
    let account = accounts.iter().find(|account| account.source == "statements").unwrap();
    assert_eq!(account.account.balance.unwrap().to_string(), "97.00");
    assert!(account.is_complete(), "{:?}", account.why_incomplete());
}

#[tokio::test(flavor = "multi_thread")]
async fn import_says_for_each_statement_what_became_of_it_and_leaves_the_file() {
    let inbox = Inbox::new(ACCOUNT).await;
    let here = inbox.world.dir.path();
    let write = |name: &str, content: &[u8]| {
        let path = here.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows = ["01/02/2026,A,1.00,,99.00", "02/02/2026,B,2.00,,97.00", "03/02/2026,C,,3.00,100.00"];
    let good = write("good.csv", csv(&rows[..2]).as_bytes());
    let more = write("more.csv", csv(&rows).as_bytes());
    let bad = write("bad.csv", csv(&["32/02/2026,B,2.00,"]).as_bytes());
    let zip = write("two.zip", &corpus("camt/two-days.zip"));
    let missing = here.join("missing.csv").to_str().unwrap().to_owned();
    for is_first in [true, false] {
        // A look stores nothing, so the import that follows finds the same.
        for options in [&["--dry-run"][..], &[]] {
            let arguments = [&["import", "--json", &good, &bad, &missing, &zip][..], options].concat();
            let (status, found) = json(&inbox.world, &arguments).await;
            assert_eq!(status, 2, "{found:#}");
            let found = found.as_array().unwrap();
            assert_eq!(found[0]["file"], good.as_str());
            assert_eq!(found[0]["format"], "csv");
            assert_eq!(found[0]["currency"], "EUR");
            assert_eq!(found[0]["account"], "BG80BNBA96611020345678");
            assert_eq!(found[0]["from"], "2026-02-01");
            assert_eq!(found[0]["until"], "2026-02-02");
            let (new, known) = if is_first { (2, 0) } else { (0, 2) };
            for (key, expected) in [("entries", 2), ("new", new), ("known", known), ("changed", 0)] {
                assert_eq!(found[0][key], expected, "{key}: {found:#?}");
            }
            assert_eq!(found[0]["adds_up"], true);
            assert!(found[0]["error"].is_null());
            assert!(found[1]["error"].as_str().unwrap().starts_with("line 2: "), "{found:#?}");
            assert_eq!(found[1]["file"], bad.as_str());
            assert!(found[2]["error"].as_str().unwrap().contains("No such file"), "{found:#?}");
            assert_eq!(found.len(), 5, "the archive holds two statements: {found:#?}");
            assert!(found[3..].iter().all(|one| one["format"] == "camt.053" && one["file"] == zip.as_str()));
        }
    }
    let output = run(&inbox.world, &["import", &more, &bad]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(2), 2), "{said}");
    assert!(said.contains("more.csv: csv, BG80BNBA96611020345678 EUR, 2026-02-01 to 2026-02-03: 3 entries, 1 new, 2 known, 0 changed; the balances add up"), "{said}");
    assert!(said.contains("bad.csv: refused, nothing of it is kept: line 2: "), "{said}");
    assert!(fs::read(&more).is_ok() && inbox.there("") == Vec::<String>::new());
    // Nothing is delivered by it.
    assert_eq!(inbox.delivered(), [BTreeMap::new(), BTreeMap::new()]);
    let output = run(&inbox.world, &["import", "--layouts"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().lines().count() > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn import_works_beside_the_daemon_and_without_a_source_of_files() {
    let world = World::new(Bank::small()).await;
    let daemon = Daemon::start(&world).await;
    let path = world.dir.path().join("a.csv");
    fs::write(&path, csv(&["01/02/2026,A,1.00,", "02/02/2026,B,2.00,"])).unwrap();
    let path = path.to_str().unwrap();
    let (status, found) = json(&world, &["import", "--json", path]).await;
    assert_eq!(status, 2, "{found:#}");
    assert!(found[0]["error"].as_str().unwrap().contains("names no account"), "{found:#}");
    let named = ["--account", "BG80 BNBA 9661 1020 3456 78", "--currency", "eur"];
    for new in [2, 0] {
        let (status, found) = json(&world, &[&["import", "--json", path][..], &named].concat()).await;
        assert_eq!(status, 0, "{found:#}");
        assert_eq!(found[0]["new"], new, "{found:#}");
    }
    let (_, rows) = json(&world, &["transactions", "--json", "--account", "BG80BNBA96611020345678"]).await;
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert_eq!(rows[0]["source"], "import");
    assert!(rows.iter().all(|row| row["id"].as_str().unwrap().starts_with("files:BG80BNBA96611020345678:2026-02-0")));
    // A pipe is a file, too.
    let config = world.config_path();
    let piped = format!(
        "cat {path} | {} --config {} import --json --account X --currency USD -",
        env!("CARGO_BIN_EXE_bankfeed"),
        config.display()
    );
    let output =
        tokio::task::spawn_blocking(move || std::process::Command::new("sh").arg("-c").arg(piped).output().unwrap());
    let output = output.await.unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found[0]["new"], 2, "{output:?}");
    assert_eq!(found[0]["account"], "X");
    for (options, why) in [
        (&["--source", "fibank"][..], "no source is called `fibank` and has kind = \"files\""),
        (&["--currency", "euro"], "expected three letters"),
        (&["--layout", "nobody", "--account", "X", "--currency", "EUR"], "there is no layout `nobody`"),
    ] {
        let output = run(&world, &[&["import", path][..], options].concat()).await;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(2) && said.contains(why), "{said}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_reads_a_file_soon_after_it_is_whole_be_it_awake_or_at_rest() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("lay-there.csv", csv(&["01/02/2026,A,1.00,"]));
    let daemon = Daemon::start(&inbox.world).await;
    until("the file that lay there is read", || inbox.there("done").len() == 1).await;
    until("its row is delivered", || inbox.delivered()[1].len() == 1).await;
    for round in 2..5 {
        daemon.fall_asleep().await;
        if round == 3 {
            // Neither a hidden file nor a download that goes on is read.
            fs::write(inbox.folder.join(".hidden.csv"), "x").unwrap();
            fs::write(inbox.folder.join("next.csv.part"), csv(&["03/02/2026,C,1.00,"])).unwrap();
            fs::rename(inbox.folder.join("next.csv.part"), inbox.folder.join("next.csv")).unwrap();
        } else {
            fs::write(inbox.folder.join(format!("{round}.csv")), csv(&[&format!("0{round}/02/2026,R,1.00,")])).unwrap();
        }
        until("the file is read", || inbox.there("done").len() == round).await;
        until("the row is in the base", || inbox.delivered().iter().all(|rows| rows.len() == round)).await;
    }
    inbox.holds(4);
    assert_eq!(inbox.there(""), [".hidden.csv"]);
    daemon.stop().await;
}

/// A process that is killed between storing and moving leaves the file, and reading it again adds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_instant_loses_and_doubles_nothing() {
    let inbox = Inbox::new(ACCOUNT).await;
    let rows: Vec<String> =
        (0..1200).map(|row| format!("{:02}/02/2026,Row {},1.00,", 1 + row / 60, row % 40)).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    // Each day lies whole in one file.
    for (number, part) in rows.chunks(480).enumerate() {
        inbox.drop_file(&format!("{number}.csv"), csv(part));
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..12 {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed"));
        command.arg("--config").arg(inbox.world.config_path()).args(["sync", "--source", "statements"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(random.u64(30..900))).await;
        child.kill().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    }
    let (status, report) = json(&inbox.world, &["sync", "--json", "--source", "statements"]).await;
    assert_eq!(status, 0, "{report:#}");
    assert_eq!((inbox.there("").len(), inbox.there("done").len()), (0, 3));
    inbox.holds(rows.len());
    let (_, kept) = json(&inbox.world, &["transactions", "--json", "--account", "BG80BNBA96611020345678"]).await;
    assert_eq!(kept.as_array().unwrap().len(), rows.len());
}

#[tokio::test]
async fn a_check_says_how_many_files_wait() {
    let inbox = Inbox::new(ACCOUNT).await;
    inbox.drop_file("a.csv", csv(&["01/02/2026,A,1.00,"]));
    let checked = inbox.world.engine().check(&(std::sync::Arc::new(|_| {}) as bankfeed::sync::Watcher)).await.unwrap();
    let found = checked.iter().find(|checked| checked.what == "source statements").unwrap();
    assert_eq!(found.lines, [format!("the folder {} is there, 1 files wait", inbox.folder.display())]);
    assert_eq!(inbox.there(""), ["a.csv"]);
}
