//! Ids of entries over downloads that overlap, in the patterns that other importers got wrong.

use std::collections::BTreeSet;

use super::identity;
use super::*;
use crate::source::content_id::Occurrences;

fn ids(text: &str, options: &Options) -> Vec<String> {
    let mut occurrences = Occurrences::default();
    let found = read("file", text.as_bytes(), options).unwrap();
    let of = |(statement, rows): (Statement, Vec<FileRow>)| {
        let account = statement.account.unwrap_or_default();
        rows.into_iter().map(move |row| (account.clone(), row)).collect::<Vec<_>>()
    };
    found.into_iter().flat_map(of).map(|(account, row)| identity::id(&mut occurrences, &account, &row)).collect()
}

fn csv(rows: &[&str]) -> String {
    format!("Date,Details,Debit,Credit,Balance\n{}", rows.iter().map(|row| format!("{row},\n")).collect::<String>())
}

fn union(files: &[String]) -> BTreeSet<String> {
    files.iter().flat_map(|file| ids(file, &options())).collect()
}

/// firefly-iii/firefly-iii#1208, #2611: equal rows of one day are dropped as doubles.
#[test]
fn twins_of_one_day_stay_two_in_every_file_that_holds_both() {
    let coffee = "01/02/2026,Coffee,2.40,";
    let two = csv(&[coffee, coffee]);
    assert_eq!(union(std::slice::from_ref(&two)).len(), 2);
    assert_eq!(union(&[two.clone(), two.clone()]).len(), 2);
    assert_eq!(union(&[two.clone(), csv(&[coffee, coffee, coffee])]).len(), 3);
    assert_eq!(union(&[csv(&[coffee]), two]).len(), 2);
    assert_eq!(union(&[csv(&[coffee, "02/02/2026,Coffee,2.40,"])]).len(), 2);
}

/// OCA/bank-statement-import#77: statement and line number as the key break on files that overlap.
#[test]
fn order_and_place_in_a_file_do_not_matter() {
    let rows = ["01/02/2026,A,1,", "01/02/2026,B,2,", "02/02/2026,C,,3", "03/02/2026,D,4,"];
    let whole = csv(&rows);
    let reversed: Vec<&str> = rows.iter().rev().copied().collect();
    assert_eq!(union(std::slice::from_ref(&whole)), union(&[csv(&reversed)]));
    assert_eq!(union(std::slice::from_ref(&whole)), union(&[csv(&rows[..3]), csv(&rows[1..])]));
}

/// hledger#1837, firefly-iii/firefly-iii#1031: white space, case and spelling of an amount differ between downloads.
#[test]
fn spelling_does_not_matter() {
    assert_eq!(
        ids(&csv(&["01/02/2026,Pay  Ment,1.50,"]), &options()),
        ids(&csv(&["01/02/2026,PAY MENT,1.5,"]), &options())
    );
}

#[test]
fn ids_are_plain_and_name_account_and_day() {
    let mut odd = options();
    odd.account = Some("Konto 1:ü%".to_owned());
    let id = ids(&csv(&["01/02/2026,A,1,"]), &odd).remove(0);
    assert!(id.starts_with("files:Konto%201%3A%C3%BC%25:2026-02-01:"), "{id}");
    assert!(id.ends_with(":1") && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
}

/// Downloads cut from files by strangers, day by day: their union is the whole.
#[test]
fn overlapping_downloads_give_each_entry_once() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/statements");
    let text = std::fs::read_to_string(format!("{folder}/csv/raiffeisen-at.csv")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.matches(';').count() > 3).collect();
    let day = |line: &&str| line[..10].to_owned();
    let whole: BTreeSet<String> = ids(&text, &options()).into_iter().collect();
    assert_eq!(whole.len(), 73);
    let days: BTreeSet<String> = lines.iter().map(day).collect();
    for cut in &days {
        let at = lines.iter().position(|line| day(line) == *cut).unwrap();
        let end = lines.iter().rposition(|line| day(line) == *cut).unwrap() + 1;
        let parts = [lines[..end].join("\n"), lines[at..].join("\n")];
        assert_eq!(union(&parts), whole, "cut at {cut}");
    }
    let text = std::fs::read_to_string(format!("{folder}/mt940/danske-se.sta")).unwrap();
    let messages: Vec<String> = text.split(":20:").skip(1).map(|message| format!(":20:{message}")).collect();
    let whole: BTreeSet<String> = ids(&text, &options()).into_iter().collect();
    for cut in 1..messages.len() {
        let parts = [messages[..cut + 1].concat(), messages[cut..].concat()];
        assert_eq!(union(&parts), whole, "cut at message {cut}");
    }
}
