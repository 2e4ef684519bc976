//! A transaction as a bank line: external id, label, amounts in the journal's currency, and the reasons why a row cannot be
//! one. Pure.

use std::collections::BTreeMap;
use std::fmt;

use chrono::NaiveDate;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::model::{BGN_PER_EUR, Language, Transaction, bgn_to_eur, money_text};

use super::layout::{Journal, Layout};

/// The beginning of every external id.
const PREFIX: &str = "bankfeed.tx_";

/// The fields of a line that the bank's data fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Part {
    Date,
    Label,
    Amount,
    Partner,
    Account,
    Reference,
    Kind,
}

/// Every part.
pub(super) const PARTS: [Part; 7] =
    [Part::Date, Part::Label, Part::Amount, Part::Partner, Part::Account, Part::Reference, Part::Kind];

/// The bank's data of a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub journal: i64,
    pub date: NaiveDate,
    pub label: String,
    /// In the journal's currency.
    pub amount: Decimal,
    pub partner: String,
    pub account: String,
    pub reference: String,
    pub kind: String,
    /// Id of the row's own currency and the amount in it, where the journal has another.
    pub foreign: Option<(i64, Decimal)>,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Date => "date",
            Part::Label => "label",
            Part::Amount => "amount",
            Part::Partner => "partner",
            Part::Account => "account of the partner",
            Part::Reference => "reference",
            Part::Kind => "type",
        })
    }
}

/// The external id of a transaction: letters, digits and dashes stand for themselves, any other byte for its number.
pub(super) fn external_id(id: &str) -> String {
    let mut text = String::from(PREFIX);
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => text.push(char::from(byte)),
            other => text.push_str(&format!("_{other:02x}")),
        }
    }
    text
}

/// The transaction that an external id is of; `None`: the id is none of ours.
pub(super) fn transaction_id(external: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = external.strip_prefix(PREFIX)?.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'_' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
}

/// The label: the remittance lines, else the best that there is. A text of the bank's cannot pass for a mark.
pub(super) fn label(transaction: &Transaction) -> String {
    let row = &transaction.row;
    let texts = [&row.description, &row.counterparty, &row.kind, &row.reference];
    texts.into_iter().map(|text| plain(unmarked(text))).find(|text| !text.trim().is_empty()).unwrap_or_default()
}

/// Text without the one character that the database cannot hold.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "")
}

/// The words in front of the label of a row that the bank took back.
pub(super) fn mark(language: Language) -> &'static str {
    match language {
        Language::En => "[taken back by the bank] ",
        Language::Bg => "[върнато от банката] ",
    }
}

/// A label without its mark, in whichever language that was set.
pub(super) fn unmarked(label: &str) -> &str {
    [Language::En, Language::Bg].into_iter().find_map(|language| label.strip_prefix(mark(language))).unwrap_or(label)
}

/// The bank's data of a line, or why the row cannot be one.
pub(super) fn line(transaction: &Transaction, number: i64, layout: &Layout) -> Result<Line, String> {
    let row = &transaction.row;
    let journal = layout.journals.get(&number).ok_or_else(|| format!("journal {number} is not known yet"))?;
    if let Some(problem) = &journal.problem {
        return Err(bad_journal(number, problem));
    }
    let (amount, foreign) = amounts(row.amount, &row.currency, journal, layout)?;
    Ok(Line {
        journal: number,
        date: row.date,
        label: label(transaction),
        amount,
        partner: plain(&row.counterparty),
        account: plain(&row.counterparty_account),
        reference: plain(&row.reference),
        kind: plain(&row.kind),
        foreign,
    })
}

/// Why rows of an account wait that has no journal.
pub(super) fn no_journal(account: &str) -> String {
    format!("account `{account}` has no journal: add the account with the id of its bank journal to `journals`")
}

/// Why rows wait whose journal cannot take them.
pub(super) fn bad_journal(number: i64, problem: &str) -> String {
    format!("journal {number} {problem}")
}

/// The amount in the journal's currency, and beside it the row's own where that is another. Only the fixed rate of the
/// euro converts: any other rate would be a guess.
fn amounts(
    amount: Decimal,
    currency: &str,
    journal: &Journal,
    layout: &Layout,
) -> Result<(Decimal, Option<(i64, Decimal)>), String> {
    if currency == journal.currency {
        return Ok((fitting(amount, currency, journal.decimals)?, None));
    }
    let converted = match (currency, journal.currency.as_str()) {
        ("BGN", "EUR") => bgn_to_eur(amount),
        ("EUR", "BGN") => {
            let leva = amount.checked_mul(BGN_PER_EUR).ok_or("its amount is too large")?;
            leva.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
        }
        (_, of_journal) => {
            return Err(format!(
                "its currency {currency} is not the journal's, {of_journal}, and the bank gives no amount in that: give the \
                 account a journal in {currency}"
            ));
        }
    };
    let foreign = layout.currencies.get(currency).ok_or_else(|| {
        format!("its currency {currency} is not active in Odoo: activate it under Accounting > Currencies")
    })?;
    let own = fitting(amount, currency, foreign.decimals)?;
    Ok((fitting(converted, &journal.currency, journal.decimals)?, Some((foreign.id, own))))
}

/// An amount that the books can hold as it is: no more decimals than the currency has, no more digits than a double.
fn fitting(amount: Decimal, currency: &str, decimals: u32) -> Result<Decimal, String> {
    let shown = money_text(amount);
    if amount.normalize().scale() > decimals {
        return Err(format!("its amount {shown} has more decimals than {currency} has in Odoo ({decimals})"));
    }
    let again = double(amount).map(|double| format!("{double:.*}", decimals as usize));
    let again = again.and_then(|text| text.parse::<Decimal>().ok());
    if again.map(|again| again.normalize()) != Some(amount.normalize()) {
        return Err(format!("its amount {shown} has more digits than Odoo keeps"));
    }
    Ok(amount)
}

/// The last step before the wire: Odoo has doubles and nothing else.
pub(super) fn double(amount: Decimal) -> Option<f64> {
    // By way of the text, which rounds once.
    amount.to_string().parse().ok().or_else(|| amount.to_f64())
}

impl Line {
    /// The cells of a row of `load`, in the order of [`columns`].
    pub fn cells(&self, id: &str, is_marked: bool, language: Language, with_foreign: bool) -> Vec<Json> {
        let mut cells = vec![
            json!(external_id(id)),
            json!(self.journal.to_string()),
            json!(self.date.to_string()),
            json!(self.label_text(is_marked, language)),
            json!(money_text(self.amount)),
            json!(self.partner),
            json!(self.account),
            json!(self.reference),
            json!(self.kind),
        ];
        if with_foreign {
            let (currency, amount) = self
                .foreign
                .map_or_else(Default::default, |(currency, amount)| (currency.to_string(), money_text(amount)));
            cells.extend([json!(currency), json!(amount)]);
        }
        cells
    }

    /// The label with its mark, where it has one.
    pub fn label_text(&self, is_marked: bool, language: Language) -> String {
        if is_marked { format!("{}{}", mark(language), self.label) } else { self.label.clone() }
    }

    /// The parts in which two versions of a line differ.
    pub fn parts_unlike(&self, other: &Line) -> Vec<Part> {
        let differs = |part: &Part| match part {
            Part::Date => self.date != other.date,
            Part::Label => self.label != other.label,
            Part::Amount => (self.amount, &self.foreign) != (other.amount, &other.foreign),
            Part::Partner => self.partner != other.partner,
            Part::Account => self.account != other.account,
            Part::Reference => self.reference != other.reference,
            Part::Kind => self.kind != other.kind,
        };
        PARTS.into_iter().filter(differs).collect()
    }
}

/// The columns of `load`.
pub(super) fn columns(with_foreign: bool) -> Vec<&'static str> {
    let mut columns = vec![
        "id",
        "journal_id/.id",
        "date",
        "payment_ref",
        "amount",
        "partner_name",
        "account_number",
        "ref",
        "transaction_type",
    ];
    if with_foreign {
        columns.extend(["foreign_currency_id/.id", "amount_currency"]);
    }
    columns
}

/// A line as the server shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FoundLine {
    pub id: i64,
    pub journal_id: Json,
    pub date: NaiveDate,
    #[serde(default)]
    payment_ref: Json,
    #[serde(default)]
    pub amount: f64,
    #[serde(default)]
    partner_name: Json,
    #[serde(default)]
    account_number: Json,
    #[serde(default, rename = "ref")]
    reference: Json,
    #[serde(default)]
    transaction_type: Json,
    #[serde(default)]
    foreign_currency_id: Json,
    #[serde(default)]
    pub amount_currency: f64,
    #[serde(default)]
    pub is_reconciled: bool,
}

/// The fields of a found line.
pub(super) const FOUND: [&str; 12] = [
    "id",
    "journal_id",
    "date",
    "payment_ref",
    "amount",
    "partner_name",
    "account_number",
    "ref",
    "transaction_type",
    "foreign_currency_id",
    "amount_currency",
    "is_reconciled",
];

/// Amounts this near to each other are one amount: half of the smallest unit that any currency has in Odoo.
const NEAR: f64 = 0.0005;

impl FoundLine {
    /// The text of a part; Odoo says `false` for an empty one.
    pub fn text(&self, part: Part) -> &str {
        let value = match part {
            Part::Label => &self.payment_ref,
            Part::Partner => &self.partner_name,
            Part::Account => &self.account_number,
            Part::Reference => &self.reference,
            Part::Kind => &self.transaction_type,
            Part::Date | Part::Amount => return "",
        };
        value.as_str().unwrap_or_default()
    }

    /// Id and name of its foreign currency.
    pub fn foreign(&self) -> Option<(i64, &str)> {
        pair(&self.foreign_currency_id)
    }

    /// True where a part shows the bank's data.
    pub fn shows(&self, part: Part, line: &Line) -> bool {
        let near = |amount: Decimal, found: f64| double(amount).is_some_and(|amount| (amount - found).abs() < NEAR);
        match part {
            Part::Date => self.date == line.date,
            Part::Amount => {
                let foreign = match (line.foreign, self.foreign()) {
                    (None, None) => true,
                    (Some((wanted, amount)), Some((found, _))) => wanted == found && near(amount, self.amount_currency),
                    _ => false,
                };
                near(line.amount, self.amount) && foreign
            }
            Part::Label => unmarked(self.text(part)) == line.label,
            Part::Partner => self.text(part) == line.partner,
            Part::Account => self.text(part) == line.account,
            Part::Reference => self.text(part) == line.reference,
            Part::Kind => self.text(part) == line.kind,
        }
    }
}

/// Id and name of a record that another one names.
pub(super) fn pair(value: &Json) -> Option<(i64, &str)> {
    let pair = value.as_array()?;
    Some((pair.first()?.as_i64()?, pair.get(1)?.as_str()?))
}

/// The values to write for these parts, by the names of Odoo's fields.
pub(super) fn values(line: &Line, parts: &[Part]) -> BTreeMap<&'static str, Json> {
    let mut values = BTreeMap::new();
    for part in parts {
        match part {
            Part::Date => drop(values.insert("date", json!(line.date.to_string()))),
            Part::Amount => {
                values.insert("amount", json!(double(line.amount)));
                let (currency, amount) = match line.foreign {
                    Some((currency, amount)) => (json!(currency), json!(double(amount))),
                    None => (json!(false), json!(0.0)),
                };
                values.extend([("foreign_currency_id", currency), ("amount_currency", amount)]);
            }
            Part::Label => drop(values.insert("payment_ref", json!(line.label))),
            Part::Partner => drop(values.insert("partner_name", json!(line.partner))),
            Part::Account => drop(values.insert("account_number", json!(line.account))),
            Part::Reference => drop(values.insert("ref", json!(line.reference))),
            Part::Kind => drop(values.insert("transaction_type", json!(line.kind))),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_holds_the_whole_id() {
        for id in ["fibank:BG32FINV91501000000001:17", "files:DE89:2026-01-01:ab.c_d:1", "a", "odd/+%id"] {
            let external = external_id(id);
            assert!(external[PREFIX.len()..].bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
            assert_eq!(transaction_id(&external).as_deref(), Some(id));
        }
        for other in ["", "bankfeed.tx_", "__export__.line_1", "bankfeed.tx_a_3", "bankfeed.tx_a_zz"] {
            assert_eq!(transaction_id(other), None, "{other}");
        }
    }

    #[test]
    fn only_amounts_that_the_books_can_hold_go_there() {
        let fits = |text: &str, decimals| fitting(text.parse().unwrap(), "EUR", decimals).is_ok();
        for (text, decimals) in [("-12.34", 2), ("12345678901234.56", 2), ("0.10", 2), ("5", 0), ("1.500", 2)] {
            assert!(fits(text, decimals), "{text}");
        }
        for (text, decimals) in [("1.005", 2), ("100.4", 0), ("999999999999999.99", 2)] {
            assert!(!fits(text, decimals), "{text}");
        }
    }
}
