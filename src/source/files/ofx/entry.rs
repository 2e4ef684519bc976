//! Turns an entry, `STMTTRN`, into a row.

use chrono::{FixedOffset, NaiveDate, NaiveTime, Timelike};
use serde_json::{Map, Value};

use crate::source::files::charset::shown;
use crate::source::files::numbers;
use crate::source::files::statement::{Clock, FileRow, bank_id, says_none};

/// An entry while its values come in.
pub(super) struct Entry {
    /// Announced, not booked.
    pub(super) pending: bool,
    values: Map<String, Value>,
}

/// The most values that an entry has.
const MOST_VALUES: usize = 200;

impl Entry {
    pub(super) fn new(pending: bool) -> Entry {
        Entry { pending, values: Map::new() }
    }

    /// Takes a value; of those inside another aggregate the name says so.
    pub(super) fn value(&mut self, inside: &str, name: &str, value: String) {
        let own = matches!(inside, "STMTTRN" | "STMTTRNP");
        let key = if own { name.to_owned() } else { format!("{inside}.{name}") };
        if self.values.len() < MOST_VALUES {
            self.values.entry(key).or_insert(Value::String(value));
        }
    }

    fn get(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn first(&self, names: &[&str]) -> String {
        names.iter().map(|name| self.get(name)).find(|value| !value.is_empty()).unwrap_or_default().to_owned()
    }

    /// True if the entry takes back an earlier one.
    pub(super) fn deletes(&self) -> bool {
        self.get("CORRECTACTION").eq_ignore_ascii_case("DELETE")
    }

    /// The entry as a row, or why it cannot be one.
    pub(super) fn into_row(self) -> Result<FileRow, String> {
        let amount = self.get("TRNAMT");
        let amount = numbers::signed(amount).ok_or_else(|| format!("the amount `{}` cannot be read", shown(amount)))?;
        let posted = self.get("DTPOSTED");
        let date = date(posted).ok_or_else(|| format!("the date `{}` does not exist", shown(posted)))?;
        let counterparty = collapse(&self.first(&["EXTDNAME", "NAME", "PAYEE.NAME"]));
        let memo = collapse(self.get("MEMO"));
        Ok(FileRow {
            date,
            time: time(posted),
            value_date: date_of(self.get("DTAVAIL")),
            amount,
            currency: self.get("CURRENCY.CURSYM").to_ascii_uppercase(),
            description: if memo.is_empty() { counterparty.clone() } else { memo },
            counterparty,
            counterparty_account: self.first(&["BANKACCTTO.ACCTID", "CCACCTTO.ACCTID"]),
            reference: Some(self.first(&["REFNUM", "CHECKNUM"]))
                .filter(|reference| !says_none(reference) && !reference.trim_matches('0').is_empty())
                .unwrap_or_default(),
            bank_id: bank_id(self.get("FITID")),
            kind: self.get("TRNTYPE").to_owned(),
            raw: Value::Object(self.values).to_string(),
            ..FileRow::default()
        })
    }
}

/// The written day; it is never shifted to another zone.
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    let digits = text.trim().get(..8)?;
    let date = NaiveDate::parse_from_str(digits, "%Y%m%d").ok()?;
    (digits.bytes().all(|byte| byte.is_ascii_digit()) && numbers::plausible(date)).then_some(date)
}

fn date_of(text: &str) -> Option<NaiveDate> {
    date(text)
}

/// The time of day. Midnight and noon are what banks write that know none.
fn time(text: &str) -> Option<Clock> {
    let text = text.trim();
    let time = NaiveTime::parse_from_str(text.get(8..14)?, "%H%M%S").ok()?;
    if time == NaiveTime::MIN || (time.hour() == 12 && time.num_seconds_from_midnight() == 12 * 3600) {
        return None;
    }
    let zone = text.split_once('[').map(|(_, zone)| zone.split([':', ']']).next().unwrap_or_default());
    let offset = zone.and_then(|hours| {
        let (whole, fraction) = hours.trim().split_once('.').unwrap_or((hours.trim(), "0"));
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        let minutes: i32 = match fraction {
            "5" | "50" => 30,
            "75" => 45,
            _ => 0,
        };
        FixedOffset::east_opt(whole.parse::<i32>().ok()?.checked_mul(3600)? + sign * minutes * 60)
    });
    Some(Clock { time, offset })
}

fn collapse(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
