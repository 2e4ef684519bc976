use std::collections::HashMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;

/// A row of one day: amount and currency, balance, counterparty, description, reference.
fn row(money: &str, balance: &str, texts: [&str; 3]) -> Row {
    let time = DateTime::parse_from_rfc3339("2026-02-03T10:00:00+02:00").unwrap();
    let (amount, currency) = money.split_once(' ').unwrap_or((money, "EUR"));
    Row {
        id: String::new(),
        time,
        date: time.date_naive(),
        value_date: None,
        amount: amount.parse().unwrap(),
        currency: currency.into(),
        balance: balance.parse().ok(),
        counterparty: texts[0].into(),
        counterparty_account: String::new(),
        description: texts[1].into(),
        kind: String::new(),
        kind_code: String::new(),
        reference: texts[2].into(),
        raw: String::new(),
    }
}

fn refs(rows: &[Row]) -> Vec<&Row> {
    rows.iter().collect()
}

fn within(fetched: &[Row], known: &[Row]) -> Vec<Within> {
    within_one_source(&refs(fetched), &refs(known))
}

fn between(fetched: &[Row], known: &[Row]) -> Vec<Between> {
    between_sources(&refs(fetched), &refs(known))
}

#[test]
fn equal_rows_of_one_source_pair_off_by_their_number() {
    let coffee = || row("-2.50", "", ["КАФЕ", "", ""]);
    assert_eq!(within(&[coffee(), coffee()], &[coffee()]), [Within::Same(0), Within::New]);
    assert_eq!(within(&[coffee()], &[coffee(), coffee()]), [Within::Same(0)]);
    assert_eq!(within(&[row("-2.5", "", [" кафе", "", "NOTPROVIDED"])], &[coffee()]), [Within::Same(0)], "folded");
    let [first, second] = [row("-2.50", "90", ["КАФЕ", "", ""]), row("-2.50", "87.50", ["КАФЕ", "", ""])];
    assert_eq!(within(std::slice::from_ref(&second), &[first, second.clone()]), [Within::Same(1)], "by its balance");
}

#[test]
fn a_row_alone_with_its_amount_is_the_same_in_other_words_and_two_are_no_match() {
    let (old, new) = (row("-9", "", ["AMZN", "", ""]), row("-9", "", ["Amazon", "", ""]));
    assert_eq!(within(std::slice::from_ref(&new), std::slice::from_ref(&old)), [Within::Reworded(0)]);
    assert_eq!(within(&[new.clone(), row("-9", "", ["B", "", ""])], std::slice::from_ref(&old)), [Within::New; 2]);
    assert_eq!(within(std::slice::from_ref(&new), &[old.clone(), row("-9", "", ["B", "", ""])]), [Within::New]);
    assert_eq!(within(&[row("-9 USD", "", ["AMZN", "", ""])], &[old]), [Within::New], "another currency");
}

#[test]
fn rows_restated_from_leva_to_euros_find_each_other() {
    let (leva, euros) = (row("-100 BGN", "", ["А", "", ""]), row("-51.13", "", ["А", "", ""]));
    assert_eq!(within(std::slice::from_ref(&euros), std::slice::from_ref(&leva)), [Within::Same(0)]);
    assert_eq!(between(std::slice::from_ref(&leva), std::slice::from_ref(&euros)), [Between::Same(0)]);
    // The bank rounds as it likes.
    let rounded = row("-51.12", "", ["А", "", ""]);
    assert_eq!(between(std::slice::from_ref(&leva), &[rounded]), [Between::Same(0)]);
    // Two amounts in leva that are one in euros stay two.
    let near = row("-100.01 BGN", "", ["Б", "", ""]);
    let known = [row("-51.13", "", ["Б", "", ""]), euros];
    assert_eq!(between(&[leva.clone(), near.clone()], &known), [Between::Same(1), Between::Same(0)]);
    assert_eq!(between(&[near], &[leva]), [Between::New]);
}

#[test]
fn balance_then_reference_then_text_decide_between_sources() {
    let known = [row("-5", "95", ["A", "", "R1"]), row("-5", "90", ["B", "", "R2"])];
    let by_balance = [row("-5", "90", ["x", "", ""]), row("-5", "95", ["y", "", ""])];
    assert_eq!(between(&by_balance, &known), [Between::Same(1), Between::Same(0)]);
    let by_reference = [row("-5", "", ["x", "", "r2"]), row("-5", "", ["y", "", "r1"])];
    assert_eq!(between(&by_reference, &known), [Between::Same(1), Between::Same(0)]);
    let by_text = [row("-5", "", ["POS", "b", ""]), row("-5", "", ["a", "", ""])];
    assert_eq!(between(&by_text, &known), [Between::Same(1), Between::Same(0)]);
}

#[test]
fn a_row_that_is_left_without_a_candidate_closes_a_gap() {
    let known = [row("-5", "95", ["A", "", ""])];
    let fetched = [row("-5", "95", ["x", "", ""]), row("-5", "90", ["y", "", ""]), row("-7", "83", ["z", "", ""])];
    assert_eq!(between(&fetched, &known), [Between::Same(0), Between::New, Between::New]);
}

#[test]
fn nothing_is_merged_by_guess() {
    let known = [row("-5", "", ["A", "", ""]), row("-5", "", ["B", "", ""])];
    let fetched = [row("-5", "", ["x", "", ""])];
    assert_eq!(between(&fetched, &known), [Between::Doubtful(vec![0, 1])]);
    assert_eq!(
        between(&[row("-5", "80", ["A", "", ""])], &[row("-5", "90", ["A", "", ""])]),
        [Between::Doubtful(vec![0])]
    );
    // The day as a whole agrees.
    let both = [row("-5", "", ["x", "", ""]), row("-5", "", ["y", "", ""])];
    assert_eq!(between(&both, &known), [Between::Same(0), Between::Same(1)]);
    // The day as a whole does not agree.
    let more = [both[0].clone(), both[1].clone(), row("-8", "", ["z", "", ""])];
    assert_eq!(between(&more, &known)[..2], [Between::Doubtful(vec![0, 1]), Between::Doubtful(vec![0, 1])]);
    assert_eq!(between(&more, &known)[2], Between::New);
}

#[test]
fn interchangeable_rows_pair_off_by_their_number() {
    let known = [row("-5", "95", ["A", "", ""]), row("-5", "90", ["A", "", ""]), row("-5", "85", ["B", "", ""])];
    let fetched = [row("-5", "", ["a", "", ""]), row("-5", "", ["a", "", ""])];
    let found = between(&fetched, &known);
    assert_eq!(found, [Between::Same(0), Between::Same(1)]);
}

fn any_row() -> impl Strategy<Value = Row> {
    let money = prop::sample::select(vec!["-5", "-5.00", "-7", "12"]);
    let balance = prop::sample::select(vec!["", "", "90", "95"]);
    let text = prop::sample::select(vec!["A", "a", "AB", "C", ""]);
    let reference = prop::sample::select(vec!["", "NONREF", "R1", "R2"]);
    (money, balance, text.clone(), text, reference)
        .prop_map(|(money, balance, a, b, reference)| row(money, balance, [a, b, reference]))
}

proptest! {
    /// No known row is taken twice, money agrees in every pair, and a fetched row that is new leaves no known row of its
    /// amount without a match.
    #[test]
    fn between_sources_no_row_is_used_twice_nor_new_beside_a_candidate(
        fetched in prop::collection::vec(any_row(), 0..9),
        known in prop::collection::vec(any_row(), 0..9),
    ) {
        let found = between(&fetched, &known);
        let mut used = HashMap::new();
        for (row, found) in fetched.iter().zip(&found) {
            if let Between::Same(at) = found {
                prop_assert!(used.insert(*at, ()).is_none());
                prop_assert!(same_money(row, &known[*at]));
            }
        }
        for (row, found) in fetched.iter().zip(&found) {
            let left = (0..known.len()).filter(|at| !used.contains_key(at) && same_money(row, &known[*at])).count();
            match found {
                Between::New => prop_assert_eq!(left, 0),
                Between::Doubtful(candidates) => prop_assert_eq!(candidates.len(), left),
                Between::Same(_) => {}
            }
        }
    }

    /// Rows of equal content pair off by the smaller number, in whichever order they come.
    #[test]
    fn within_one_source_equal_rows_pair_off_by_the_smaller_number(
        fetched in prop::collection::vec(any_row(), 0..9),
        known in prop::collection::vec(any_row(), 0..9),
    ) {
        let count = |rows: &[Row]| {
            let mut count: HashMap<(Decimal, String), usize> = HashMap::new();
            for row in rows {
                *count.entry((row.amount, content(row))).or_default() += 1;
            }
            count
        };
        let (mine, theirs) = (count(&fetched), count(&known));
        let equal: usize = mine.iter().map(|(key, number)| theirs.get(key).map_or(0, |other| *number.min(other))).sum();
        let found = within(&fetched, &known);
        prop_assert_eq!(found.iter().filter(|found| matches!(found, Within::Same(_))).count(), equal);
        let mut used = HashMap::new();
        for found in &found {
            if let Within::Same(at) | Within::Reworded(at) = found {
                prop_assert!(used.insert(*at, ()).is_none());
            }
        }
    }
}
