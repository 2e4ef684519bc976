//! `[[rule]]` entries: what has to be true of a transaction, and what it then gets.
//!
//! A field is compared with a regular expression in quotes. Three kinds of field know more: `direction` is one of two
//! words, `account` an IBAN, and a field that holds an amount also takes `{ min = …, max = … }`.

use toml::de::DeValue;

use super::Error;
use super::keys::{LIMITS, RULE, SET};
use crate::model::{Direction, Enrichment, Field};
use crate::rules::{self, Condition, Pattern, Rule, Rules, SET_BY_RULES, Test};
use crate::settings::entries::entry_tables;
use crate::settings::values::{self, amount};
use crate::settings::{Table, Value};

const PATTERN_EXPECTED: &str = "a regular expression in quotes";
const AMOUNT_EXPECTED: &str = "{ min = …, max = … } or a regular expression in quotes";

/// The rules, in the order of the file.
pub(super) fn rules(value: &Value<'_>) -> Result<Rules, Error> {
    let tables = entry_tables(value, "rule", &[RULE])?;
    let numbered = tables.into_iter().enumerate();
    Ok(Rules::new(numbered.map(|(at, table)| rule(table, at + 1)).collect::<Result<_, _>>()?))
}

fn rule(mut table: Table<'_>, number: usize) -> Result<Rule, Error> {
    table.label = format!("rule {number}");
    table.check_keys()?;
    let when = table.require("when", |value| {
        let conditions = conditions(value.table(None, &[]).ok_or_else(|| value.wrong())?)?;
        let nothing = || value.error("says nothing, and would fit every transaction");
        if conditions.is_empty() { Err(nothing()) } else { Ok(conditions) }
    })?;
    let set = table.require("set", set)?;
    Ok(Rule { line: table.line(), when, set })
}

fn conditions(table: Table<'_>) -> Result<Vec<Condition>, Error> {
    let mut conditions = Vec::new();
    for (name, at, value) in table.entries(PATTERN_EXPECTED) {
        if name == "raw" && value.value.is_table() {
            // `raw.trnCode = …` without quotes is a table in a table to TOML.
            inside_raw(&value, name, &mut conditions)?;
            continue;
        }
        let field = values::field_called(name).map_err(|message| table.error_at(at, message))?;
        if field == Field::Transfer {
            let why =
                "`transfer` is known only once both rows are there, after the rules; look at counterparty_account";
            return Err(table.error_at(at, why));
        }
        let test = test(&field, &value)?;
        conditions.push(Condition { field, test });
    }
    Ok(conditions)
}

fn inside_raw(value: &Value<'_>, path: &str, conditions: &mut Vec<Condition>) -> Result<(), Error> {
    let Some(table) = value.table(None, &[]) else {
        let field = values::field_called(path).map_err(|message| value.error(message))?;
        let test = test(&field, value)?;
        conditions.push(Condition { field, test });
        return Ok(());
    };
    for (name, _, inner) in table.entries(PATTERN_EXPECTED) {
        inside_raw(&inner, &format!("{path}.{name}"), conditions)?;
    }
    Ok(())
}

fn test(field: &Field, value: &Value<'_>) -> Result<Test, Error> {
    match field {
        Field::Direction => {
            let words = [Direction::Debit, Direction::Credit].map(|direction| (direction.as_str(), direction.as_str()));
            value.choice(&words).map(|word| Test::Is(word.to_owned()))
        }
        Field::Account => values::iban(value).map(Test::Is),
        Field::Amount | Field::Debit | Field::Credit | Field::AmountEur | Field::Balance => match value.value {
            DeValue::String(_) => pattern(value),
            DeValue::Table(_) => within(value),
            _ => Err(value.wrong_for(AMOUNT_EXPECTED)),
        },
        _ => pattern(value),
    }
}

fn pattern(value: &Value<'_>) -> Result<Test, Error> {
    let pattern = Pattern::new(value.text()?);
    pattern.map(Test::Matches).map_err(|error| value.error(format!("not a regular expression: {error}")))
}

fn within(value: &Value<'_>) -> Result<Test, Error> {
    let table = value.table(None, LIMITS).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    let (min, max) = (table.read("min", amount)?, table.read("max", amount)?);
    match (min, max) {
        (None, None) => Err(value.error("says neither min nor max")),
        (Some(min), Some(max)) if min > max => {
            Err(value.error("min is more than max; money out is negative, so -200 is less than -100"))
        }
        _ => Ok(Test::Within { min, max }),
    }
}

fn set(value: &Value<'_>) -> Result<Enrichment, Error> {
    let table = value.table(None, SET).ok_or_else(|| value.wrong())?;
    table.check_keys()?;
    let mut set = Enrichment::default();
    for field in &SET_BY_RULES {
        let read = if *field == Field::Tags { tags } else { text };
        if let Some(text) = table.read(&field.key(), read)? {
            rules::put(&mut set, field, &text);
        }
    }
    if set == Enrichment::default() {
        return Err(value.error("sets nothing, expected category, vendor, tags or note"));
    }
    Ok(set)
}

fn text(value: &Value<'_>) -> Result<String, Error> {
    value.text().map(|text| text.trim().to_owned())
}

/// Tags are one text with commas.
fn tags(value: &Value<'_>) -> Result<String, Error> {
    if !value.value.is_array() {
        return text(value);
    }
    let mut tags = Vec::new();
    for item in value.list()? {
        let tag = text(&item)?;
        if tag.contains(',') {
            return Err(item.error("a tag of a list may not hold a comma"));
        }
        tags.push(tag);
    }
    if tags.is_empty() { Err(value.error("names no tag")) } else { Ok(tags.join(", ")) }
}
