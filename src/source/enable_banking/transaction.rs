//! One transaction of a reply, as a bank behind Enable Banking words it.
//!
//! Absent keys and nulls mean the same, unknown keys mean nothing, and a value of an unexpected type is no reason to lose the
//! row. The content that names a row holds no id and no code: banks give those anew.

use chrono::{DateTime, NaiveDate, NaiveTime};
use rust_decimal::Decimal;
use serde_json::Value;

use crate::model::{Row, is_in_bounds, payload};
use crate::source::content_id::folded;

/// A transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// Booked, and not merely expected.
    pub is_booked: bool,
    pub date: Option<NaiveDate>,
    value_date: Option<NaiveDate>,
    amount: Result<Decimal, String>,
    pub currency: String,
    pub balance: Option<Decimal>,
    counterparty: String,
    counterparty_account: String,
    description: String,
    kind: String,
    kind_code: String,
    reference: String,
    /// The bank's id of the row; empty where it has none.
    pub entry_reference: String,
}

impl Transaction {
    /// Reads a transaction; `None`: it is no object.
    pub fn read(raw: &str) -> Option<Transaction> {
        let value = payload::read(raw).filter(Value::is_object)?;
        let amount = &value["transaction_amount"];
        let indicator = text(&value["credit_debit_indicator"]).to_uppercase();
        let is_debit = match indicator.as_str() {
            "DBIT" => Some(true),
            "CRDT" => Some(false),
            // Some rows have none: then the sign speaks.
            _ => None,
        };
        let signed = money(&amount["amount"]).map(|amount| match is_debit {
            Some(true) if !amount.is_zero() => -amount.abs(),
            Some(_) => amount.abs(),
            None => amount,
        });
        let goes_out = is_debit.unwrap_or_else(|| signed.as_ref().is_ok_and(Decimal::is_sign_negative));
        let (party, account) = if goes_out { ("creditor", "creditor_account") } else { ("debtor", "debtor_account") };
        let day = |key: &str| date(&value[key]);
        let code = &value["bank_transaction_code"];
        let codes = [text(&code["code"]), text(&code["sub_code"])];
        let status = text(&value["status"]).to_uppercase();
        Some(Transaction {
            is_booked: matches!(status.as_str(), "BOOK" | ""),
            date: day("booking_date").or_else(|| day("value_date")).or_else(|| day("transaction_date")),
            value_date: day("value_date"),
            amount: signed,
            currency: text(&amount["currency"]).to_uppercase(),
            balance: money(&value["balance_after_transaction"]["amount"]).ok(),
            counterparty: party_name(&value[party]),
            counterparty_account: account_number(&value[account]),
            description: lines(&value["remittance_information"]).join("\n"),
            kind: text(&code["description"]),
            kind_code: codes.iter().filter(|code| !code.is_empty()).cloned().collect::<Vec<_>>().join("-"),
            reference: text(&value["reference_number"]),
            entry_reference: text(&value["entry_reference"]),
        })
    }

    /// The parts that stay as they are from one listing to the next. Stored ids depend on it: it must never change.
    pub fn content(&self, currency: &str) -> String {
        let amount = self.amount.as_ref().map_or_else(Clone::clone, |amount| amount.normalize().to_string());
        let currency = if self.currency.is_empty() { currency } else { &self.currency };
        format!("{amount}\n{currency}\n{}\n{}", folded(&self.counterparty), folded(&self.description))
    }

    /// The fault for which it cannot be taken.
    pub fn fault(&self) -> Option<String> {
        match (&self.amount, self.date) {
            (Err(why), _) => Some(why.clone()),
            (_, None) => Some("it has neither a booking date nor another one".into()),
            _ => None,
        }
    }

    /// The row; `None`: it has a fault.
    pub fn row(self, id: String, (own, currency): (&str, &str), raw: &str) -> Option<Row> {
        let (amount, date) = (self.amount.ok()?, self.date?);
        // A day without a time: the beginning of it, in the zone that the service counts days in.
        let time: DateTime<_> = date.and_time(NaiveTime::MIN).and_utc();
        let own = self.counterparty_account == own;
        Some(Row {
            id,
            time: time.fixed_offset(),
            date,
            value_date: self.value_date,
            amount,
            currency: if self.currency.is_empty() { currency.to_owned() } else { self.currency },
            balance: self.balance,
            counterparty: self.counterparty,
            counterparty_account: if own { String::new() } else { self.counterparty_account },
            description: self.description,
            kind: self.kind,
            kind_code: self.kind_code,
            reference: self.reference,
            raw: raw.to_owned(),
        })
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn lines(value: &Value) -> Vec<String> {
    let lines = match value {
        Value::Array(lines) => lines.iter().map(text).collect(),
        other => vec![text(other)],
    };
    lines.into_iter().filter(|line| !line.is_empty()).collect()
}

/// The name of the other side; some banks write it into the address.
fn party_name(party: &Value) -> String {
    let name = text(&party["name"]);
    if name.is_empty() { lines(&party["postal_address"]["address_line"]).join(" ") } else { name }
}

fn account_number(account: &Value) -> String {
    let iban = text(&account["iban"]);
    let number = if iban.is_empty() { text(&account["other"]["identification"]) } else { iban };
    number.split_whitespace().collect::<String>().to_uppercase()
}

fn date(value: &Value) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(value.as_str()?.trim().get(..10)?, "%Y-%m-%d").ok()
}

/// The decimal that a value is; the error ends the words "entry … cannot be read: …".
pub(super) fn money(value: &Value) -> Result<Decimal, String> {
    let text = text(value);
    if text.is_empty() {
        return Err("it has no amount".into());
    }
    let shown: String = text.chars().take(40).collect();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    let amount = Decimal::from_str_exact(&text).ok().filter(|_| is_plain);
    let amount = amount.ok_or_else(|| format!("amount `{shown}` is not a plain decimal"))?;
    let fits = is_in_bounds(amount);
    if fits { Ok(amount) } else { Err(format!("amount `{shown}` has more than fifteen digits before the point")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Transaction {
        Transaction::read(&value.to_string()).unwrap()
    }

    fn amount(indicator: Value, amount: Value) -> Result<String, String> {
        let value = json!({"credit_debit_indicator": indicator, "transaction_amount": {"amount": amount}});
        read(&value).amount.map(|amount| amount.to_string())
    }

    #[test]
    fn an_amount_has_the_sign_of_its_indicator_and_without_one_its_own() {
        for (indicator, text, expected) in [
            (json!("DBIT"), json!("5.20"), "-5.20"),
            (json!("DBIT"), json!("-5.20"), "-5.20"),
            (json!("CRDT"), json!("23"), "23"),
            (json!("CRDT"), json!("-23"), "23"),
            (Value::Null, json!("-42.50"), "-42.50"),
            (Value::Null, json!("5"), "5"),
            (json!("DBIT"), json!("0.00"), "0.00"),
            (json!("DBIT"), json!(12.5), "-12.5"),
        ] {
            assert_eq!(amount(indicator, text).as_deref(), Ok(expected));
        }
        for text in [json!("1,50"), json!("1e3"), json!(""), Value::Null, json!("1000000000000000"), json!("1_0")] {
            assert!(amount(Value::Null, text.clone()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_other_side_is_the_creditor_of_money_out_by_name_or_address() {
        let row = read(&json!({
            "credit_debit_indicator": "DBIT", "transaction_amount": {"amount": "1", "currency": "eur"},
            "creditor": {"name": "", "postal_address": {"address_line": ["ACME STORE", "WARSAW"]}},
            "creditor_account": {"iban": null, "other": {"identification": "12 3456"}},
            "debtor": {"name": "Me"}, "debtor_account": {"iban": "BG1"},
            "booking_date": null, "value_date": "2026-03-05", "transaction_date": "2026-03-04", "status": "BOOK",
            "remittance_information": ["one\ntwo", null, "three"],
            "bank_transaction_code": {"description": "Card", "code": "PMNT", "sub_code": "DCRD"},
        }));
        assert_eq!((row.counterparty.as_str(), row.counterparty_account.as_str()), ("ACME STORE WARSAW", "123456"));
        assert_eq!((row.description.as_str(), row.kind_code.as_str()), ("one\ntwo\nthree", "PMNT-DCRD"));
        assert_eq!((row.date, row.currency.as_str()), (NaiveDate::from_ymd_opt(2026, 3, 5), "EUR"));
    }

    #[test]
    fn the_content_holds_no_id_and_no_code_and_no_way_of_writing() {
        let row = |amount: &str, name: &str, code: &str, id: &str| {
            read(&json!({
                "transaction_amount": {"amount": amount, "currency": "EUR"}, "creditor": {"name": name},
                "credit_debit_indicator": "DBIT", "bank_transaction_code": {"code": code}, "entry_reference": id,
                "transaction_id": id, "merchant_category_code": code,
            }))
            .content("EUR")
        };
        assert_eq!(row("23.00", "Lidl  Sofia", "A", "1"), row("-23", "LIDL SOFIA", "B", "2"));
        assert_ne!(row("23", "Lidl", "A", "1"), row("23", "Billa", "A", "1"));
    }

    #[test]
    fn only_booked_rows_count_and_a_row_without_a_date_has_a_fault() {
        for (status, is_booked) in
            [("BOOK", true), ("PDNG", false), ("HOLD", false), ("SCHD", false), ("OTHR", false), ("NEW", false)]
        {
            assert_eq!(read(&json!({"status": status})).is_booked, is_booked, "{status}");
        }
        let row = read(&json!({"status": "BOOK", "transaction_amount": {"amount": "1.23", "currency": "EUR"}}));
        assert!(row.is_booked && row.fault().is_some_and(|why| why.contains("date")));
        assert_eq!(Transaction::read("7"), None);
    }
}
