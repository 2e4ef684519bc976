//! The 150 files of strangers below `tests/data/statements`, each with what a reader must get out of it.

use std::path::PathBuf;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::Value;

use super::*;

type Read = Result<Vec<(Statement, Vec<FileRow>)>, Refusal>;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/statements").join(name)
}

/// Reads every file of a folder and lets `differences` compare; the test fails with all differences at once.
fn compare(name: &str, count: usize, mut differences: impl FnMut(&str, &Value, &Read) -> Vec<String>) {
    let expected: Value = serde_json::from_slice(&std::fs::read(folder(name).join("expected.json")).unwrap()).unwrap();
    let files = expected["files"].as_object().unwrap();
    assert_eq!(files.len(), count);
    let mut all = Vec::new();
    for (file, expected) in files {
        let bytes = std::fs::read(folder(name).join(file)).unwrap();
        // Only a CSV may leave its account to the owner, and no file its currency.
        let account = options().account.filter(|_| name == "csv");
        let found = read(file, &bytes, &Options { account, currency: None, ..options() });
        match (&expected["accept"], &found) {
            (Value::Bool(true), Err(refusal)) => all.push(format!("{file}: refused: {refusal}")),
            (Value::Bool(false), Ok(_)) => all.push(format!("{file}: read, though it is no statement")),
            (Value::Bool(true), Ok(_)) | (Value::String(_), Ok(_)) => {
                all.extend(differences(file, expected, &found).into_iter().map(|line| format!("{file}: {line}")));
            }
            _ => {}
        }
    }
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

fn decimal(value: &Value) -> Option<Decimal> {
    value.as_str().map(|text| Decimal::from_str(text).unwrap())
}

fn date(value: &Value) -> Option<NaiveDate> {
    value.as_str().map(|text| text[..10].parse().unwrap())
}

fn unequal<T: std::fmt::Debug + PartialEq>(what: &str, found: T, expected: T) -> Option<String> {
    (found != expected).then(|| format!("{what}: found {found:?}, expected {expected:?}"))
}

#[test]
fn mt940_files_give_what_is_expected() {
    compare("mt940", 60, |_, expected, found| {
        let found = found.as_ref().unwrap();
        let mut lines = Vec::new();
        let rows: Vec<&FileRow> = found.iter().flat_map(|(_, rows)| rows).collect();
        let statements = expected["statements"].as_array().unwrap();
        let wanted: Vec<&Value> = statements.iter().flat_map(|one| one["rows"].as_array().unwrap()).collect();
        lines.extend(unequal("entries", rows.len(), wanted.len()));
        for (row, wanted) in rows.iter().zip(&wanted) {
            let value_date = date(&wanted[1]);
            lines.extend(unequal("date", Some(row.date), date(&wanted[0]).or(value_date)));
            lines.extend(unequal("value date", row.value_date, value_date));
            lines.extend(unequal("amount", Some(row.amount), decimal(&wanted[2])));
            if let Some(id) = &row.bank_id {
                lines.extend(unequal("bank id", Some(id.as_str()), wanted[5].as_str()));
            }
        }
        // Pages that continue each other are one statement here, and several there.
        let mut messages = statements.iter();
        for (statement, _) in found {
            let first = messages.next().unwrap();
            let mut last = first;
            let page = |one: &Value| {
                one["closing"]["kind"] == "M"
                    && statement.closing.as_ref().map(|b| b.amount) != decimal(&one["closing"]["amount"])
            };
            while page(last) {
                let Some(next) = messages.next() else { break };
                last = next;
            }
            let balance = |value: &Value| decimal(&value["amount"]);
            lines.extend(unequal("opening", statement.opening.as_ref().map(|b| b.amount), balance(&first["opening"])));
            lines.extend(unequal("closing", statement.closing.as_ref().map(|b| b.amount), balance(&last["closing"])));
            let day = statement.closing.as_ref().and_then(|balance| balance.date);
            lines.extend(unequal("closing day", day, date(&last["closing"]["date"])));
            if first == last {
                lines.extend(unequal("adds up", statement.adds_up, first["adds_up"].as_bool()));
                lines.extend(unequal("sum", Some(statement.sum), decimal(&first["sum"])));
            }
            let account =
                first["account"].as_str().map(|text| statement::plain_account(text, first["currency"].as_str()));
            lines.extend(unequal("account", statement.account.clone(), account));
            lines.extend(unequal(
                "currency",
                statement.currency.clone(),
                first["currency"].as_str().map(str::to_owned),
            ));
        }
        lines.extend(unequal("messages left", messages.count(), 0));
        let texts = expected["first_texts_by_mt-940"].as_array().cloned().unwrap_or_default();
        for (row, text) in rows.iter().zip(&texts) {
            if let Some(kind) = text["posting_text"].as_str() {
                lines.extend(unequal("kind", row.kind.as_str(), kind.trim()));
            }
            // The library has account and name in one field.
            if let Some(name) = text["applicant_name"].as_str() {
                let squeezed = |text: &str| text.replace(' ', "");
                let whole = squeezed(name);
                if !whole.ends_with(&squeezed(&row.counterparty)) {
                    lines.push(format!(
                        "counterparty: found {:?} {:?}, expected {name:?}",
                        row.counterparty, row.counterparty_account
                    ));
                }
            }
        }
        lines
    });
}

#[test]
fn camt_files_give_what_is_expected() {
    compare("camt", 33, |file, expected, found| {
        let found = found.as_ref().unwrap();
        let mut lines = Vec::new();
        let Some(statements) = expected["statements"].as_array() else {
            let rows: usize = found.iter().map(|(_, rows)| rows.len()).sum();
            return unequal("entries", rows, expected["entries"].as_u64().unwrap() as usize).into_iter().collect();
        };
        lines.extend(unequal("statements", found.len(), statements.len()));
        for ((statement, rows), wanted) in found.iter().zip(statements) {
            let booked = wanted["entries"].as_array().unwrap().iter();
            let booked: Vec<&Value> = booked.filter(|one| one["status"] != "PDNG" && one["status"] != "INFO").collect();
            lines.extend(unequal("account", statement.account.as_deref(), wanted["account"].as_str()));
            lines.extend(unequal("entries", rows.len(), booked.len()));
            lines.extend(unequal("booked", Some(rows.len() as u64), wanted["booked"].as_u64()));
            lines.extend(unequal("sum", Some(statement.sum), decimal(&wanted["booked_sum"])));
            lines.extend(unequal("adds up", statement.adds_up, wanted["adds_up"].as_bool()));
            for (row, wanted) in rows.iter().zip(booked) {
                lines.extend(unequal("amount", Some(row.amount), decimal(&wanted["amount"])));
                lines.extend(unequal("currency", Some(row.currency.as_str()), wanted["currency"].as_str()));
                let value_date = date(&wanted["value_date"]);
                let day = date(&wanted["booking_date"]).or(value_date);
                if day.is_some() {
                    lines.extend(unequal("date", Some(row.date), day));
                }
                lines.extend(unequal("value date", row.value_date, value_date));
                if let (Some(id), Some(reference)) = (&row.bank_id, wanted["acct_svcr_ref"].as_str()) {
                    lines.extend(unequal("bank id", id.as_str(), reference));
                }
            }
        }
        let texts = expected["first_texts"].as_array().cloned().unwrap_or_default();
        let rows: Vec<&FileRow> = found.iter().flat_map(|(_, rows)| rows).collect();
        for (row, text) in rows.iter().zip(&texts).filter(|_| texts.len() == rows.len()) {
            if let Some(name) = text["counterparty"].as_str().filter(|_| !row.counterparty.is_empty()) {
                lines.extend(unequal("counterparty", row.counterparty.as_str(), name));
            }
            if let Some(iban) = text["iban"].as_str().filter(|_| !row.counterparty_account.is_empty()) {
                lines.extend(unequal("iban", row.counterparty_account.as_str(), iban));
            }
        }
        let _ = file;
        lines
    });
}

#[test]
fn ofx_files_give_what_is_expected() {
    compare("ofx", 28, |_, expected, found| {
        let found = found.as_ref().unwrap();
        let mut lines = Vec::new();
        let statements = expected["statements"].as_array().unwrap();
        lines.extend(unequal("statements", found.len(), statements.len()));
        for ((statement, rows), wanted) in found.iter().zip(statements) {
            lines.extend(unequal("account", statement.account.as_deref(), wanted["account"].as_str()));
            lines.extend(unequal("currency", statement.currency.as_deref(), wanted["currency"].as_str()));
            lines.extend(unequal("sum", Some(statement.sum), decimal(&wanted["sum"])));
            let ledger = statement.closing.as_ref().map(|balance| balance.amount);
            lines.extend(unequal("ledger balance", ledger, decimal(&wanted["ledger_balance"])));
            let wanted = wanted["rows"].as_array().unwrap();
            lines.extend(unequal("entries", rows.len(), wanted.len()));
            for (row, wanted) in rows.iter().zip(wanted) {
                lines.extend(unequal("date", Some(row.date), date(&wanted[0])));
                lines.extend(unequal("amount", Some(row.amount), decimal(&wanted[1])));
                lines.extend(unequal("kind", Some(row.kind.as_str()), wanted[3].as_str()));
                if let Some(id) = &row.bank_id {
                    lines.extend(unequal("id", Some(id.as_str()), wanted[2].as_str()));
                }
            }
        }
        lines
    });
}

#[test]
fn csv_files_are_read_by_the_layouts_that_ship() {
    compare("csv", 29, |_, expected, found| {
        let found = found.as_ref().unwrap();
        let mut lines = Vec::new();
        let rows: Vec<&FileRow> = found.iter().flat_map(|(_, rows)| rows).collect();
        let sum: Decimal = rows.iter().map(|row| row.amount).sum();
        let wanted = expected["rows"].as_array().unwrap();
        lines.extend(unequal("entries", rows.len(), wanted.len()));
        lines.extend(unequal("sum", Some(sum), decimal(&expected["sum"])));
        let fields: Vec<&str> = expected["row_fields"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for (row, wanted) in rows.iter().zip(wanted) {
            for (field, wanted) in fields.iter().zip(wanted.as_array().unwrap()) {
                lines.extend(match *field {
                    "date" => unequal("date", Some(row.date), date(wanted)),
                    "amount" => unequal("amount", Some(row.amount), decimal(wanted)),
                    "balance" => unequal("balance", row.balance, decimal(wanted)),
                    // A number of the row within its file is no reference.
                    "reference" if expected["mapping"]["reference"] == "#" => None,
                    "reference" => match (&row.bank_id, row.reference.as_str()) {
                        (Some(id), _) => unequal("id", Some(id.as_str()), wanted.as_str()),
                        (None, "") => None,
                        (None, reference) => unequal("reference", Some(reference), wanted.as_str()),
                    },
                    other => Some(format!("a field `{other}` that the test does not know")),
                });
            }
        }
        if let Some(fixed) = expected["mapping"]["currency_fixed"].as_str() {
            lines.extend(unequal("currency", found[0].0.currency.as_deref(), Some(fixed)));
        }
        lines
    });
}
