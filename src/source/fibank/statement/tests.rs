use chrono::DateTime;

use super::*;
use crate::model::Row;
use crate::remote::Kind;

const IBAN: &str = "BG32FINV91501000000001";

fn wanted() -> AccountRef {
    AccountRef { service: "bank".into(), iban: IBAN.into() }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn money(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn listed() -> Account {
    Account {
        account: IBAN.into(),
        name: "от списъка".into(),
        customer: "Иван".into(),
        currency: "EUR".into(),
        balance: None,
    }
}

/// A reply about the account with these members and rows.
fn reply(members: &str, rows: &[&str]) -> String {
    format!(r#"{{"acc":[{{"iban":"{IBAN}","ccy":"EUR"{members},"stmt":[{}]}}]}}"#, rows.join(","))
}

fn pages(bodies: &[String]) -> Result<Page, Error> {
    let replies =
        bodies.iter().map(|body| Reply::read(&wanted(), day("2026-02-01"), body.clone())).collect::<Result<_, _>>()?;
    page(&wanted(), &listed(), (None, day("2026-02-28")), replies)
}

fn rows_of(rows: &[&str]) -> Vec<Result<Row, Refused>> {
    pages(&[reply("", rows)]).unwrap().rows.collect()
}

/// One entry with these members beside the mandatory ones.
fn entry(number: u64, time: &str, members: &str) -> String {
    format!(r#"{{"acEntrySrNo":{number},"trnType":"ZZ","dateTime":"{time}"{members}}}"#)
}

fn one(members: &str) -> Result<Row, Refused> {
    rows_of(&[&entry(7, "2026-02-03T10:11:12+0200", members)]).remove(0)
}

#[test]
fn a_row_is_told_as_the_bank_gave_it() {
    let text = r#"{"acEntrySrNo":900000001, "reference":" FAKE\u00271 ","trnType":"ZZ","trnCode":"FAK","dtkt":"D",
        "amount":9.50,"acBal":"90.5","dateTime":"2026-02-03T23:11:12Z","valueDt":"2026-02-02T22:00:00Z","trname":"Превод",
        "contragent":"ИЗМИСЛЕН  ЕООД","benOrderParty":"друг","trnAccount":"BG05FINV91501000000002","remI":"Фактура 1",
        "remIi":"","remIii":"кв. 3","new":{"x":[1,null]}}"#;
    let row = rows_of(&[text]).remove(0).unwrap();
    let expected = Row {
        id: format!("fibank:{IBAN}:900000001"),
        time: DateTime::parse_from_rfc3339("2026-02-04T01:11:12+02:00").unwrap(),
        date: day("2026-02-04"),
        value_date: Some(day("2026-02-03")),
        amount: money("-9.50"),
        currency: "EUR".into(),
        balance: Some(money("90.5")),
        counterparty: "ИЗМИСЛЕН  ЕООД".into(),
        counterparty_account: "BG05FINV91501000000002".into(),
        description: "Фактура 1 кв. 3".into(),
        kind: "Превод".into(),
        kind_code: "FAK".into(),
        reference: "FAKE'1".into(),
        raw: text.into(),
    };
    assert_eq!(row, expected);
    assert_eq!(row.time.offset().local_minus_utc(), 7200);
}

#[test]
fn absent_optional_keys_leave_fields_empty() {
    let row = one(&format!(r#","dtkt":"C","amount":1,"benOrderParty":"друг","trnAccount":"{IBAN}","trnCode":null"#));
    let row = row.unwrap();
    assert_eq!((row.counterparty.as_str(), row.counterparty_account.as_str()), ("друг", ""));
    assert_eq!((row.kind_code.as_str(), row.description.as_str(), row.value_date, row.balance), ("ZZ", "", None, None));
}

#[test]
fn the_sign_comes_from_dtkt_and_reversals_keep_theirs() {
    let amount =
        |dtkt: &str, amount: &str| one(&format!(r#","dtkt":"{dtkt}","amount":{amount}"#)).map(|row| row.amount);
    for debit in ["D", "DT", "Д", "ДТ", "Дт", "d"] {
        assert_eq!(amount(debit, "5"), Ok(money("-5")), "{debit}");
    }
    for credit in ["C", "CT", "K", "KT", "К", "КТ", "Кт"] {
        assert_eq!(amount(credit, "\"5.10\""), Ok(money("5.10")), "{credit}");
    }
    assert_eq!(amount("D", "-5"), Ok(money("5")));
    assert_eq!(amount("C", "-5"), Ok(money("-5")));
}

#[test]
fn what_cannot_be_read_names_account_and_entry() {
    for members in [
        r#","dtkt":"X","amount":1"#,
        r#","amount":1"#,
        r#","dtkt":"D""#,
        r#","dtkt":"D","amount":"1 234,56""#,
        r#","dtkt":"D","amount":1,"acBal":"?""#,
        r#","dtkt":"D","amount":1,"valueDt":"вчера""#,
        r#","dtkt":"D","amount":1,"remI":{}"#,
    ] {
        let refused = one(members).unwrap_err();
        assert!(refused.why.starts_with("entry 7 of 2026-02-03 cannot be read: "), "{refused:?}");
        assert_eq!((refused.id.unwrap(), refused.since), (format!("fibank:{IBAN}:7"), day("2026-02-03")), "{members}");
    }
}

#[test]
fn a_row_that_cannot_be_read_holds_no_other_back() {
    let good = |number| entry(number, "2026-02-03T10:11:12+0200", r#","dtkt":"D","amount":1"#);
    let (one, other) = (good(1), good(2));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (row, name, id, since) in [
        (r#"{"acEntrySrNo":null,"dateTime":"2026-02-05","dtkt":"D"}"#, "row 2 of 2026-02-05", None, "2026-02-05"),
        (r#"{"acEntrySrNo":"A7","dateTime":"2026-02-05","amount":1}"#, "row 2 of 2026-02-05", None, "2026-02-05"),
        (r#"{"acEntrySrNo":7,"dtkt":"D","amount":1}"#, "entry 7", Some(7), "2026-02-01"),
        (r#"{"acEntrySrNo":7,"dateTime":"3.2.2026","amount":1}"#, "entry 7", Some(7), "2026-02-01"),
        (r#"{"acEntrySrNo":7,"dateTime":"0001-01-01T00:00:00Z"}"#, "entry 7", Some(7), "2026-02-01"),
        (r#"{"acEntrySrNo":7,"dateTime":{"y":2026},"amount":1}"#, "entry 7", Some(7), "2026-02-01"),
        (
            r#"{"acEntrySrNo":7,"dateTime":"2026-02-04","amount":"abc","dtkt":"D"}"#,
            "entry 7 of 2026-02-04",
            Some(7),
            "2026-02-04",
        ),
        (r#"{"acEntrySrNo":7,"dateTime":"2026-02-04","amount":NaN}"#, "row 2", None, "2026-02-01"),
        (r#"{"acEntrySrNo":7,"acEntrySrNo":8,"dateTime":"2026-02-04"}"#, "row 2", None, "2026-02-01"),
        (r#"{}"#, "row 2", None, "2026-02-01"),
        ("null", "row 2", None, "2026-02-01"),
        ("7", "row 2", None, "2026-02-01"),
        (&deep, "row 2", None, "2026-02-01"),
    ] {
        let (rows, refused): (Vec<_>, Vec<_>) = rows_of(&[&one, row, &other]).into_iter().partition(Result::is_ok);
        assert_eq!(rows.len(), 2, "{row}");
        let [Err(refused)] = &refused[..] else { panic!("{row}") };
        assert!(refused.why.starts_with(&format!("{name} cannot be read: ")), "{refused:?}");
        let id = id.map(|number: u64| format!("fibank:{IBAN}:{number}"));
        assert_eq!((&refused.id, refused.since), (&id, day(since)), "{row}");
    }
    let many: Vec<&str> = std::iter::repeat_n("null", 1000).chain([one.as_str()]).collect();
    let rows = rows_of(&many);
    assert_eq!((rows.len(), rows.iter().filter(|row| row.is_ok()).count()), (REFUSED_TOLD + 2, 1));
}

#[test]
fn a_broken_character_is_shown_as_one_and_kept_as_it_came() {
    for (text, shown) in [(r"x \ud83c", "x \u{fffd}"), ("x\ty", "x\ty"), (r"\ud83c\ud83c\udf89", "\u{fffd}\u{1f389}")] {
        let row =
            one(&format!(r#","dtkt":"D","amount":1,"contragent":"{text}","remI":"ред","x\udc00":"{text}""#)).unwrap();
        assert_eq!((row.counterparty.as_str(), row.description.as_str()), (shown, "ред"));
        assert!(row.raw.contains(text), "{}", row.raw);
    }
    let row =
        rows_of(&[r#"{"trnType":"Z\ud83c","acEntrySrNo":7,"dateTime":"2026-02-03","amount":1,"dtkt":"D"}"#]).remove(0);
    assert_eq!(row.unwrap().kind_code, "Z\u{fffd}");
}

#[test]
fn figures_of_the_account_hold_no_row_back() {
    let row = entry(7, "2026-02-03", r#","dtkt":"D","amount":1"#);
    let ends = [r#"{"trnType":"OP","acBal":"?"}"#, &row, r#"{"trnType":"CL","acBal":{}}"#];
    for (members, told) in [
        (r#","acyCurrBalance":"abc""#, "acyCurrBalance"),
        (r#","acyCurrBalance":12,50"#, "acyCurrBalance"),
        (r#","acyCurrBalance":[1]"#, "acyCurrBalance"),
        (r#","acyCurrBalance":NaN,"acDesc":{}"#, "acyCurrBalance"),
    ] {
        let page = pages(&[reply(members, &[&row])]).unwrap();
        assert_eq!((page.account.balance, page.unread.len(), page.account.name.as_str()), (None, 1, "от списъка"));
        assert!(page.unread[0].contains(told), "{:?}", page.unread);
        assert_eq!(page.rows.filter(Result::is_ok).count(), 1);
    }
    let page = pages(&[reply("", &ends).replace(r#""ccy":"EUR""#, r#""ccy":["EUR"]"#)]).unwrap();
    assert_eq!((page.account.currency.as_str(), page.opening, page.closing), ("EUR", None, None));
    assert_eq!((page.unread.len(), page.rows.filter(Result::is_ok).count()), (3, 1));
}

#[test]
fn rows_that_are_no_transactions_are_recognised_before_anything_else() {
    let transaction = entry(7, "2026-02-03T10:11:12+0200", r#","dtkt":"D","amount":9.5,"acBal":90.5"#);
    let rows = [
        r#"{"trnType":"OP","acBal":100.00,"dateTime":"whenever","dtkt":5}"#,
        &transaction,
        r#"{"trnType":"dt","amount":"?"}"#,
        r#"{"trnType":"CT","acEntrySrNo":1,"amount":0,"dateTime":"2026-02-03"}"#,
        r#"{"trnType":" cl ","acBal":"90.5"}"#,
    ];
    let page = pages(&[reply(r#","acyCurrBalance":91"#, &rows)]).unwrap();
    assert_eq!((page.opening, page.closing), (Some(money("100")), Some(money("90.5"))));
    assert_eq!((page.count, page.account.balance), (1, Some(money("91"))));
    assert_eq!(page.rows.count(), 1);
}

#[test]
fn rows_come_oldest_first_and_equal_times_by_number() {
    let members = r#","dtkt":"D","amount":1"#;
    let rows = [
        entry(12, "2026-02-03T10:00:00+0200", members),
        entry(9, "2026-02-03T10:00:00+0200", members),
        entry(30, "2026-02-01T10:00:00+0200", members),
        entry(1, "2026-02-03T07:30:00Z", members),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let numbers = rows_of(&rows).into_iter().map(|row| row.unwrap().id.rsplit(':').next().unwrap().to_owned());
    assert_eq!(numbers.collect::<Vec<_>>(), ["30", "1", "9", "12"]);
}

#[test]
fn windows_join_without_doubling_an_entry() {
    let members = r#","dtkt":"D","amount":1"#;
    let at = |number, time| entry(number, time, members);
    let newer = reply(
        r#","acyCurrBalance":5"#,
        &[r#"{"trnType":"OP","acBal":7}"#, &at(2, "2026-02-01"), &at(3, "2026-02-02"), r#"{"trnType":"CL","acBal":5}"#],
    );
    let older = reply(
        r#","acyCurrBalance":5"#,
        &[r#"{"trnType":"OP","acBal":8}"#, &at(1, "2026-01-31"), &at(2, "2026-02-01"), r#"{"trnType":"CL","acBal":7}"#],
    );
    let page = pages(&[newer, older]).unwrap();
    assert_eq!((page.opening, page.closing, page.count), (Some(money("8")), Some(money("5")), 3));
    assert!(page.notes.is_empty(), "{:?}", page.notes);
    let dates: Vec<String> = page.rows.map(|row| row.unwrap().date.to_string()).collect();
    assert_eq!(dates, ["2026-01-31", "2026-02-01", "2026-02-02"]);
}

#[test]
fn an_entry_doubled_in_one_reply_is_noted_and_two_different_ones_are_refused() {
    let one = entry(7, "2026-02-03T10:11:12+0200", r#","dtkt":"D","amount":1"#);
    let page = pages(&[reply("", &[&one, &one])]).unwrap();
    assert_eq!((page.count, page.notes.len()), (1, 1));
    let other = entry(7, "2026-02-03T10:11:12+0200", r#","dtkt":"D","amount":2"#);
    let third = entry(8, "2026-02-03T10:11:12+0200", r#","dtkt":"D","amount":2"#);
    let rows = rows_of(&[&one, &other, &third]);
    let [Err(refused), Ok(row)] = &rows[..] else { panic!("{rows:?}") };
    assert!(refused.why.contains("entry 7 of 2026-02-03") && refused.why.contains("stands there twice"), "{refused:?}");
    assert!(row.id.ends_with(":8"));
    // The balance after it says that it is one.
    let told = |text| entry(7, "2026-02-03", &format!(r#","dtkt":"D","amount":1,"acBal":5,"remI":"{text}""#));
    assert_eq!(rows_of(&[&told("a"), &told("b")]).into_iter().filter(Result::is_ok).count(), 1);
}

#[test]
fn the_account_asked_for_is_picked_from_several() {
    let stranger = r#"{"iban":"BG05FINV91501000000002","ccy":"USD","stmt":[{"trnType":"??"}]}"#;
    let own = r#"{"iban":"BG32 FINV 9150 1000 0000 01","ccy":"bgn","acDesc":"Моята","stmt":[]}"#;
    let page = pages(&[format!(r#"{{"acc":[{stranger},{own}]}}"#)]).unwrap();
    assert_eq!((page.account.name.as_str(), page.account.currency.as_str()), ("Моята", "BGN"));
    assert!(page.notes.is_empty());
    for nothing in [r#"{"acc":[]}"#.to_owned(), r#"{"acc":null}"#.to_owned(), format!(r#"{{"acc":[{stranger}]}}"#)] {
        let page = pages(&[nothing]).unwrap();
        assert_eq!((page.count, page.notes.len(), page.account), (0, 1, listed()));
    }
}

#[test]
fn a_reply_without_rows_is_noted_unless_others_have_some() {
    let without = format!(r#"{{"acc":[{{"iban":"{IBAN}","ccy":"EUR","description":"Сметка"}}]}}"#);
    let page = pages(std::slice::from_ref(&without)).unwrap();
    assert_eq!((page.count, page.notes.len(), page.account.name.as_str()), (0, 1, "Сметка"));
    let page = pages(&[without.clone(), reply("", &[])]).unwrap();
    assert_eq!((page.notes.len(), page.unlisted), (0, Some(day("2026-02-01"))));
    let begins = reply("", &[r#"{"trnType":"OP","acBal":0}"#]);
    assert_eq!(pages(&[begins.clone(), without.clone()]).unwrap().unlisted, None, "before it there is nothing");
    assert_eq!(pages(&[without, begins]).unwrap().unlisted, Some(day("2026-02-01")));
}

#[test]
fn other_shapes_are_malformed_without_being_quoted() {
    let whole = reply("", &[&entry(7, "2026-02-03", r#","dtkt":"D","amount":1,"remI":"тайна""#)]);
    let mut half = whole.len() - 20;
    while !whole.is_char_boundary(half) {
        half += 1;
    }
    for body in [&whole[..half], r#"{"balances":[]}"#, r#"{"acc":{"тайна":1}}"#, r#"[1]"#, "{\"acc\":[тайна]}"]
    {
        let error = pages(&[body.to_owned()]).err().unwrap();
        assert_eq!(error.kind, Kind::Malformed, "{body}");
        assert!(!error.message.contains("тайна"), "{error}");
    }
    assert!(pages(&[whole[..half].to_owned()]).err().unwrap().message.contains("cut off"));
}

#[test]
fn a_list_that_does_not_say_whose_it_is_counts_by_its_rows() {
    let row = entry(7, "2026-02-03", r#","dtkt":"D","amount":1"#);
    for (rows, coverage) in [("", Coverage::Nothing), (row.as_str(), Coverage::Rows)] {
        let page = pages(&[format!(r#"{{"acc":[{{"iban":null,"ccy":"EUR","stmt":[{rows}]}}]}}"#)]).unwrap();
        assert_eq!(page.coverage, coverage, "{rows}");
    }
}

#[test]
fn an_account_that_stands_there_twice_has_the_rows_of_both() {
    let row = |number| entry(number, "2026-02-03", r#","dtkt":"D","amount":1"#);
    let part = |row: &str| format!(r#"{{"iban":"{IBAN}","ccy":"EUR","stmt":[{row}]}}"#);
    let both = format!(r#"{{"acc":[{},{}]}}"#, part(&row(1)), part(&row(2)));
    assert_eq!(pages(std::slice::from_ref(&both)).unwrap().count, 2);
    let half = format!(r#"{{"acc":[{},{{"iban":"{IBAN}","ccy":"EUR"}}]}}"#, part(&row(1)));
    assert_eq!(pages(&[half]).unwrap().coverage, Coverage::Nothing);
    let other = both.replacen("EUR", "USD", 1);
    assert!(pages(&[other]).err().unwrap().message.contains("different currencies"));
}

#[test]
fn an_unreadable_row_at_the_change_to_euros_lets_no_currency_be_guessed() {
    let row = |number, time: &str, amount: &str, balance: &str| {
        entry(number, time, &format!(r#","dtkt":"C","amount":{amount},"acBal":{balance}"#))
    };
    let (older, newer) = (row(1, "2025-12-30", "10", "110"), row(3, "2026-01-02", "1", "512.29"));
    for hidden in [row(2, "2025-12-31", "\"abc\"", "1000"), r#"{"trnType":"ZZ","amount":890}"#.into()] {
        let rows = rows_of(&[&older, &hidden, &newer]);
        let taken: Vec<&Row> = rows.iter().flatten().collect();
        assert_eq!((taken.len(), taken[0].currency.as_str()), (1, "EUR"), "{rows:?}");
        assert!(
            rows.iter().flat_map(|row| row.as_ref().err()).any(|row| row.why.contains("its currency is not certain"))
        );
    }
}

/// The currency of the rows of an account in euros whose entries are these: number, date, amount, balance.
fn currencies(members: &str, entries: &[(u64, &str, &str, &str)]) -> Vec<String> {
    let rows: Vec<String> = entries
        .iter()
        .map(|(number, date, amount, balance)| {
            entry(*number, date, &format!(r#","dtkt":"C","amount":{amount},"acBal":{balance}"#))
        })
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    pages(&[reply(members, &rows)]).unwrap().rows.map(|row| row.unwrap().currency).collect()
}

#[test]
fn rows_before_the_euro_are_in_leva_where_the_balance_says_so() {
    let kept = [(1, "2025-12-30", "10", "110"), (2, "2025-12-31", "890", "1000"), (3, "2026-01-02", "1", "512.29")];
    assert_eq!(currencies("", &kept), ["BGN", "BGN", "EUR"]);
    let restated = [(2, "2025-12-31", "890", "511.29"), (3, "2026-01-02", "1", "512.29")];
    assert_eq!(currencies("", &restated), ["EUR", "EUR"]);
    let nought = [(2, "2025-12-31", "-890", "0"), (3, "2026-01-02", "1", "1.00")];
    assert_eq!(currencies("", &nought), ["EUR", "EUR"]);
    let neither = [(2, "2025-12-31", "890", "1000"), (3, "2026-01-02", "1", "77")];
    assert_eq!(currencies("", &neither), ["EUR", "EUR"]);
    // The last hour of 2025 in Sofia is a matter of Sofia's clock.
    let edge = [(2, "2025-12-31T21:59:59Z", "890", "1000"), (3, "2025-12-31T22:00:00Z", "1", "512.29")];
    assert_eq!(currencies("", &edge), ["BGN", "EUR"]);
}

#[test]
fn without_a_row_of_2026_the_balance_of_today_decides() {
    let rows = [(1, "2025-12-30", "10", "110"), (2, "2025-12-31", "890", "1000")];
    assert_eq!(currencies(r#","acyCurrBalance":511.29"#, &rows), ["BGN", "BGN"]);
    assert_eq!(currencies(r#","acyCurrBalance":1000"#, &rows), ["EUR", "EUR"]);
    assert_eq!(currencies("", &rows), ["EUR", "EUR"]);
}

#[test]
fn a_late_entry_at_the_turn_does_not_hide_the_change() {
    // Number 4 was booked last and dated back to the last day of 2025.
    let rows = [(2, "2025-12-30", "890", "1000"), (4, "2025-12-31", "-2", "510.29"), (3, "2026-01-02", "1", "512.29")];
    assert_eq!(currencies("", &rows), ["BGN", "BGN", "EUR"]);
}

#[test]
fn a_change_booked_as_two_rows_parts_the_currencies_between_them() {
    let before = (1, "2025-12-30", "10", "1000");
    let parted = |closing, opening| currencies("", &[before, closing, opening, (4, "2026-01-02", "1", "512.29")]);
    let opening = (3, "2026-01-01T00:00:00", "511.29", "511.29");
    assert_eq!(parted((2, "2025-12-31T23:59:59", "-1000", "0"), opening), ["BGN", "BGN", "EUR", "EUR"]);
    assert_eq!(parted((2, "2026-01-01T00:00:00", "-1000", "0"), opening), ["BGN", "BGN", "EUR", "EUR"]);
    // An account that was emptied and filled with as much again was not exchanged.
    let refilled = (3, "2026-01-01T00:00:00", "1000", "1000");
    assert_eq!(parted((2, "2025-12-31T23:59:59", "-1000", "0"), refilled)[0], "EUR");
}

#[test]
fn other_currencies_are_as_the_bank_says() {
    let body = reply("", &[&entry(1, "2020-01-01", r#","dtkt":"D","amount":1,"acBal":5"#)]).replace("EUR", "USD");
    let page = pages(&[body]).unwrap();
    assert_eq!(page.rows.map(|row| row.unwrap().currency).collect::<Vec<_>>(), ["USD"]);
}
