//! `GET /all-transactions/`: the answer of the connector of 2022, for programs that were built on it.
//!
//! `{"result":[…]}`, oldest first, every object with that connector's names and its ways: amounts as text without a
//! sign, times in UTC, yes and no as booleans. Beside them stand the bank's own names with the bank's own values, the
//! account and its currency. A row the bank took back is left out: that connector would not have had it anew.

use std::io;
use std::sync::Arc;

use axum::extract::State as Of;
use axum::response::Response;
use chrono::{DateTime, FixedOffset, NaiveTime, SecondsFormat, TimeZone, Utc};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::{State, stream};
use crate::control::Output;
use crate::model::{Direction, Transaction, money_text, payload};

/// The bank's own names, without the three (reference, dtkt, amount) that both of them use.
const BANK_NAMES: [&str; 16] = [
    "acEntrySrNo",
    "trnType",
    "trnCode",
    "trname",
    "acBal",
    "dateTime",
    "valueDt",
    "contragent",
    "benOrderParty",
    "trnAccount",
    "remI",
    "remIi",
    "remIii",
    "isEbankOper",
    "isPayment",
    "loadAsNew",
];

/// Answers with everything.
pub(super) async fn all_transactions(Of(state): Of<Arc<State>>) -> Result<Response, ApiError> {
    stream::stream(&state, "application/json", write).await
}

fn write(state: &State, output: &mut dyn Output) -> io::Result<()> {
    output.data("{\"result\": [")?;
    let mut separator = "";
    for found in state.service.engine.store.by_date(None, None) {
        let (_, transaction) = found.map_err(io::Error::other)?;
        if !transaction.vanished {
            output.data(&format!("{separator}{}", Value::Object(object(&transaction))))?;
            separator = ", ";
        }
    }
    output.data("]}\n")
}

/// A transaction as that connector showed it. Values that another bank does not send are taken from the row.
fn object(transaction: &Transaction) -> Map<String, Value> {
    let row = &transaction.row;
    let raw = match payload::read(&row.raw) {
        Some(Value::Object(raw)) => raw,
        _ => Map::new(),
    };
    let is_yes = |name: &str| Value::Bool(raw.get(name).is_some_and(|value| value == "Y"));
    let text = |name: &str, otherwise: &str| match raw.get(name) {
        Some(Value::String(text)) => json!(text),
        _ => json!(otherwise),
    };
    let serial = row.id.rsplit(':').next().unwrap_or_default();
    let serial = serial.parse::<u64>().map_or_else(|_| json!(serial), |number| json!(number));
    let amount = money_text(row.amount.abs());
    let side = if row.direction() == Direction::Debit { "D" } else { "C" };
    let value_time = row.value_date.and_then(|date| midnight(date, row.time.offset()));
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    put("account_entry_serial_number", serial.clone());
    put("reference", json!(row.reference));
    put("account_balance", json!(row.balance.map(money_text)));
    put("amount", json!(amount));
    put("dtkt", text("dtkt", side));
    put("time", json!(utc(row.time)));
    put("value_time", json!(value_time.map(utc)));
    put("partner", text("contragent", &row.counterparty));
    put("beneficiary_order_party", text("benOrderParty", ""));
    put("transaction_name", text("trname", &row.kind));
    put("transaction_account", text("trnAccount", &row.counterparty_account));
    put("transaction_type", text("trnType", ""));
    put("transaction_code", text("trnCode", &row.kind_code));
    put("is_ebank_operation", is_yes("isEbankOper"));
    put("is_payment", is_yes("isPayment"));
    put("load_as_new", is_yes("loadAsNew"));
    put("remark_1", text("remI", &row.description));
    put("remark_2", text("remIi", ""));
    put("remark_3", text("remIii", ""));
    for name in BANK_NAMES {
        if let Some(value) = raw.get(name) {
            put(name, value.clone());
        }
    }
    put("iban", json!(transaction.account));
    put("ccy", json!(row.currency));
    object
}

/// A moment as that connector wrote it.
fn utc(time: DateTime<impl TimeZone>) -> String {
    time.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn midnight(date: chrono::NaiveDate, offset: &FixedOffset) -> Option<DateTime<FixedOffset>> {
    offset.from_local_datetime(&date.and_time(NaiveTime::MIN)).single()
}
