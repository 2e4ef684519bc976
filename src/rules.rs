//! Enrichment: the owner's rules say which category, vendor, tags and note a transaction gets.
//!
//! Rules are applied from top to bottom; every rule that fits is applied, and for each of the four fields the last
//! fitting rule that sets it counts. The enrichment depends on the bank's data and the rules alone, never on an earlier
//! enrichment. Pure: no file, no clock, no store.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Enrichment, Field, Transaction, Value, money_text};

mod pattern;

use pattern::Finder;
pub use pattern::Pattern;

/// The fields that rules set, in the order in which they are shown.
pub const SET_BY_RULES: [Field; 4] = [Field::Category, Field::Vendor, Field::Tags, Field::Note];

/// Part of every fingerprint; a change in the meaning of the same rules raises it.
const MEANING: u32 = 1;

/// A `[[rule]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Line of the rule in the configuration, or its row in the owner's tab.
    pub line: usize,
    /// The conditions; every one must hold.
    pub when: Vec<Condition>,
    /// The values that the rule sets; an empty text leaves the field as it is.
    pub set: Enrichment,
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The field to test.
    #[serde(with = "field_key")]
    pub field: Field,
    /// The test that the field must pass.
    pub test: Test,
}

/// A test of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// The pattern is found in the value. Amounts are text with two decimals here, dates `YYYY-MM-DD`.
    Matches(Pattern),
    /// The value equals this text.
    Is(String),
    /// The value is an amount within these limits, the limits included.
    Within {
        /// Lower limit.
        min: Option<Decimal>,
        /// Upper limit.
        max: Option<Decimal>,
    },
    /// The absolute amount is within these limits, the limits included: money in and money out count alike.
    Size {
        /// Lower limit.
        min: Option<Decimal>,
        /// Upper limit.
        max: Option<Decimal>,
    },
}

/// The rules of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    fingerprint: u64,
}

impl Rules {
    /// Rules in the order in which they are applied.
    pub fn new(rules: Vec<Rule>) -> Rules {
        // Line numbers do not enter: a comment above a rule moves the rule down and changes nothing.
        let text: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
        let fingerprint = if rules.is_empty() { 0 } else { xxh3_64(format!("{MEANING}\n{text}").as_bytes()) };
        Rules { rules, fingerprint }
    }

    /// The rules.
    pub fn list(&self) -> &[Rule] {
        &self.rules
    }

    /// A number that tells one set of rules from another; 0 for no rules.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Compiles the rules for use. Compiled rules are large, so they are made for a piece of work and dropped after it.
    pub fn ready(&self) -> Enricher {
        Enricher { rules: self.rules.iter().map(Compiled::new).collect() }
    }
}

/// Compiled rules.
#[derive(Default)]
pub struct Enricher {
    rules: Vec<Compiled>,
}

/// The enrichment of one transaction, with the rules that led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// The enrichment.
    pub enrichment: Enrichment,
    /// The rules that fit, by their place in the list.
    pub fitting: Vec<usize>,
    /// The rule that had the last word on each of [`SET_BY_RULES`], by its place in the list.
    pub set_by: [Option<usize>; 4],
}

impl Enricher {
    /// The enrichment that the rules give a transaction.
    pub fn enrich(&mut self, transaction: &Transaction) -> Enrichment {
        self.explain(transaction).enrichment
    }

    /// The enrichment that the rules give a transaction, with the rules that led to it.
    pub fn explain(&mut self, transaction: &Transaction) -> Explained {
        let mut explained = Explained::default();
        for (at, rule) in self.rules.iter_mut().enumerate() {
            if !rule.tests.iter_mut().all(|(field, ready)| ready.holds(field, transaction, &explained.enrichment)) {
                continue;
            }
            explained.fitting.push(at);
            for (field, set_by) in SET_BY_RULES.iter().zip(&mut explained.set_by) {
                let text = value_of(&rule.set, field);
                if !text.is_empty() {
                    put(&mut explained.enrichment, field, text);
                    *set_by = Some(at);
                }
            }
        }
        explained
    }
}

/// Fills empty fields of `known` from `given`. Returns true if a field was filled.
pub fn fill(known: &mut Enrichment, given: &Enrichment) -> bool {
    take_over(known, given, |known, given| known.is_empty() && !given.is_empty())
}

/// Replaces the fields of `known` for which `given` has a value; the other fields stay. Returns true if a field
/// changed.
pub fn overwrite(known: &mut Enrichment, given: &Enrichment) -> bool {
    take_over(known, given, |known, given| !given.is_empty() && known != given)
}

fn take_over(known: &mut Enrichment, given: &Enrichment, wanted: impl Fn(&str, &str) -> bool) -> bool {
    let mut changed = false;
    for field in &SET_BY_RULES {
        let text = value_of(given, field);
        if wanted(value_of(known, field), text) {
            put(known, field, text);
            changed = true;
        }
    }
    changed
}

/// The text that an enrichment has for one of [`SET_BY_RULES`].
pub fn value_of<'a>(enrichment: &'a Enrichment, field: &Field) -> &'a str {
    match field {
        Field::Category => &enrichment.category,
        Field::Vendor => &enrichment.vendor,
        Field::Tags => &enrichment.tags,
        Field::Note => &enrichment.note,
        _ => "",
    }
}

/// Puts a text into one of [`SET_BY_RULES`]; other fields are not set by rules.
pub fn put(enrichment: &mut Enrichment, field: &Field, text: &str) {
    let place = match field {
        Field::Category => &mut enrichment.category,
        Field::Vendor => &mut enrichment.vendor,
        Field::Tags => &mut enrichment.tags,
        Field::Note => &mut enrichment.note,
        _ => return,
    };
    text.clone_into(place);
}

struct Compiled {
    tests: Vec<(Field, Ready)>,
    set: Enrichment,
}

impl Compiled {
    fn new(rule: &Rule) -> Compiled {
        let tests = rule.when.iter().map(|condition| (condition.field.clone(), Ready::new(&condition.test)));
        Compiled { tests: tests.collect(), set: rule.set.clone() }
    }
}

/// A compiled test.
enum Ready {
    Matches(Box<Finder>),
    Is(String),
    Within(Option<Decimal>, Option<Decimal>),
    Size(Option<Decimal>, Option<Decimal>),
}

impl Ready {
    fn new(test: &Test) -> Ready {
        match test {
            Test::Matches(pattern) => Ready::Matches(Box::new(pattern.compile())),
            Test::Is(text) => Ready::Is(text.clone()),
            Test::Within { min, max } => Ready::Within(*min, *max),
            Test::Size { min, max } => Ready::Size(*min, *max),
        }
    }

    /// Tests the transaction's value of `field`; a field that rules set is tested on the value from the rules above.
    fn holds(&mut self, field: &Field, transaction: &Transaction, so_far: &Enrichment) -> bool {
        let value = match value_of(so_far, field) {
            _ if !field.belongs_to_owner() => field.value(transaction),
            "" => Value::Empty,
            text => Value::Text(Cow::Borrowed(text)),
        };
        match self {
            Ready::Matches(finder) => finder.is_match(&pattern::composed(&plain(&value))),
            Ready::Is(text) => plain(&value) == *text,
            Ready::Within(min, max) => matches!(value, Value::Money(amount) if within(amount, *min, *max)),
            Ready::Size(min, max) => matches!(value, Value::Money(amount) if within(amount.abs(), *min, *max)),
        }
    }
}

fn within(amount: Decimal, min: Option<Decimal>, max: Option<Decimal>) -> bool {
    min.is_none_or(|min| amount >= min) && max.is_none_or(|max| amount <= max)
}

fn plain<'a>(value: &'a Value<'a>) -> Cow<'a, str> {
    match value {
        Value::Empty => Cow::Borrowed(""),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Date(date) => Cow::Owned(date.to_string()),
        Value::Time(time) => Cow::Owned(time.to_rfc3339()),
        Value::Money(amount) => Cow::Owned(money_text(*amount)),
    }
}

/// A rule in words, as the owner could have written it; lists of rules and the fingerprint rest on it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.when.iter().map(Condition::to_string).collect();
        write!(f, "{} -> {}", conditions.join(", "), in_words(&self.set))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Test::Matches(pattern) => write!(f, "{} ~ {:?}", self.field, pattern.as_str()),
            Test::Is(text) => write!(f, "{} = {text:?}", self.field),
            Test::Within { min, max } | Test::Size { min, max } => {
                let sign = if matches!(self.test, Test::Size { .. }) { "|" } else { "" };
                let min = min.map(|min| format!("{} <= ", money_text(min))).unwrap_or_default();
                let max = max.map(|max| format!(" <= {}", money_text(max))).unwrap_or_default();
                write!(f, "{min}{sign}{}{sign}{max}", self.field)
            }
        }
    }
}

/// An enrichment in words: `category "Food", note "…"`.
pub fn in_words(enrichment: &Enrichment) -> String {
    let set = SET_BY_RULES.iter().map(|field| (field, value_of(enrichment, field)));
    let set: Vec<String> =
        set.filter(|(_, text)| !text.is_empty()).map(|(field, text)| format!("{field} {text:?}")).collect();
    set.join(", ")
}

/// A field by its key.
mod field_key {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Field;

    pub fn serialize<S: Serializer>(field: &Field, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&field.key())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Row;

    fn transaction(counterparty: &str, amount: &str) -> Transaction {
        let time = chrono::DateTime::parse_from_rfc3339("2026-02-03T10:11:12+02:00").unwrap();
        let row = Row {
            id: "fibank:BG32FINV91501000000001:1".into(),
            time,
            date: time.date_naive(),
            value_date: None,
            amount: amount.parse().unwrap(),
            currency: "BGN".into(),
            balance: None,
            counterparty: counterparty.into(),
            counterparty_account: String::new(),
            description: "Покупка, карта 1234".into(),
            kind: "Плащане на ПОС".into(),
            kind_code: "POS".into(),
            reference: String::new(),
            raw: r#"{"trnCode":"POS","remitter":{"city":"София"}}"#.into(),
        };
        Transaction {
            source: "fibank".into(),
            account: "BG32FINV91501000000001".into(),
            account_name: "Семейна".into(),
            customer: "".into(),
            row,
            enrichment: Enrichment::default(),
            transfer: Default::default(),
            vanished: false,
        }
    }

    fn matches(field: &str, pattern: &str) -> Condition {
        Condition { field: field.parse().unwrap(), test: Test::Matches(Pattern::new(pattern).unwrap()) }
    }

    fn within(field: &str, min: Option<&str>, max: Option<&str>) -> Condition {
        let limit = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        Condition { field: field.parse().unwrap(), test: Test::Within { min: limit(min), max: limit(max) } }
    }

    fn is(field: &str, text: &str) -> Condition {
        Condition { field: field.parse().unwrap(), test: Test::Is(text.into()) }
    }

    fn rule(when: impl Into<Vec<Condition>>, set: &[(&str, &str)]) -> Rule {
        let mut enrichment = Enrichment::default();
        set.iter().for_each(|(field, text)| put(&mut enrichment, &field.parse().unwrap(), text));
        Rule { line: 1, when: when.into(), set: enrichment }
    }

    fn fits(condition: Condition, transaction: &Transaction) -> bool {
        let rules = Rules::new(vec![rule([condition], &[("note", "x")])]);
        rules.ready().enrich(transaction).note == "x"
    }

    #[test]
    fn every_rule_that_fits_is_applied_and_the_later_one_wins_field_by_field() {
        let rules = Rules::new(vec![
            rule([matches("counterparty", "lidl|kaufland")], &[("category", "Groceries"), ("tags", "food, home")]),
            rule([matches("counterparty", "lidl")], &[("vendor", "Lidl"), ("tags", "cheap")]),
            rule([matches("counterparty", "billa")], &[("category", "never")]),
            rule([matches("vendor", "^lidl$"), matches("category", "groc")], &[("note", "seen")]),
        ]);
        let explained = rules.ready().explain(&transaction("LIDL BULGARIA", "-10"));
        assert_eq!(
            in_words(&explained.enrichment),
            r#"category "Groceries", vendor "Lidl", tags "cheap", note "seen""#
        );
        assert_eq!(explained.fitting, [0, 1, 3]);
        assert_eq!(explained.set_by, [Some(0), Some(1), Some(1), Some(3)]);
        assert_eq!(rules.ready().explain(&transaction("OMV", "-10")), Explained::default());
    }

    #[test]
    fn all_conditions_must_hold() {
        let when = [matches("counterparty", "кафе"), within("debit", None, Some("5")), is("direction", "debit")];
        let rules = Rules::new(vec![rule(when, &[("category", "Coffee")])]);
        let category = |transaction| rules.ready().enrich(&transaction).category;
        assert_eq!(category(transaction("KAФE", "-4.99")), "Coffee");
        assert_eq!(category(transaction("KAФE", "-5.01")), "");
        assert_eq!(category(transaction("KAФE", "4.99")), "");
        assert_eq!(category(transaction("ХЛЯБ", "-4.99")), "");
    }

    #[test]
    fn amounts_are_compared_as_decimals_with_their_sign() {
        let out = transaction("x", "-100.10");
        assert!(fits(within("amount", Some("-100.10"), Some("-100.1")), &out));
        assert!(!fits(within("amount", Some("-100.09"), None), &out));
        assert!(fits(within("debit", Some("100"), Some("200")), &out));
        assert!(!fits(within("credit", Some("0"), None), &out), "there is none");
        assert!(fits(within("amount_eur", Some("-51.19"), Some("-51.17")), &out));
        assert!(!fits(within("balance", Some("0"), None), &out));
        assert!(fits(matches("amount", r"^-100\.10$"), &out));
    }

    #[test]
    fn every_field_can_be_looked_at() {
        let one = transaction("Ресторант Х", "-1");
        for (field, pattern) in [
            ("account_name", "семейна"),
            ("date", "^2026-02"),
            ("time", "T10:11"),
            ("type_code", "^pos$"),
            ("raw.remitter.city", "софия"),
            ("reference", "^$"),
        ] {
            assert!(fits(matches(field, pattern), &one), "{field}");
        }
        assert!(fits(is("account", "BG32FINV91501000000001"), &one) && !fits(is("account", "BG32"), &one));
    }

    #[test]
    fn what_was_stored_before_does_not_enter() {
        let mut known = transaction("x", "-1");
        known.enrichment.category = "Old".into();
        assert!(!fits(matches("category", "old"), &known));
    }

    #[test]
    fn filling_leaves_what_is_there_and_overwriting_never_clears() {
        let old = rule([], &[("category", "A"), ("note", "mine")]).set;
        let new = rule([], &[("category", "B"), ("vendor", "V")]).set;
        let mut filled = old.clone();
        assert!(fill(&mut filled, &new) && !fill(&mut filled, &new));
        assert_eq!(in_words(&filled), r#"category "A", vendor "V", note "mine""#);
        assert!(overwrite(&mut filled, &new) && !overwrite(&mut filled, &new));
        assert_eq!(in_words(&filled), r#"category "B", vendor "V", note "mine""#);
    }

    #[test]
    fn the_fingerprint_is_of_the_meaning() {
        let one = rule([matches("counterparty", "a")], &[("category", "A")]);
        let of = |rules: &[&Rule]| Rules::new(rules.iter().map(|rule| (*rule).clone()).collect()).fingerprint();
        let other = Rule { when: vec![matches("counterparty", "b")], ..one.clone() };
        let renamed = rule([matches("counterparty", "a")], &[("category", "B")]);
        assert_eq!(of(&[&one]), of(&[&Rule { line: 9, ..one.clone() }]));
        let all = [of(&[]), of(&[&one]), of(&[&other]), of(&[&renamed]), of(&[&one, &other]), of(&[&other, &one])];
        assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
        assert_eq!(all[0], 0);
    }

    #[test]
    fn rules_survive_the_wire() {
        let all = vec![rule([matches("raw.x", "а|b"), within("amount", None, Some("1.50"))], &[("tags", "x")])];
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Rule>>(&text).unwrap(), all);
        assert!(serde_json::from_str::<Vec<Rule>>(&text.replace("а|b", "(")).is_err());
    }
}
