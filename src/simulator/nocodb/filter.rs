//! The `where` of a list: `(field,op,value)` with `~and` and `~or` between.
//!
//! Values stand bare or between double quotes. A double quote inside of quotes is an error; a value with a backslash is
//! found by some versions and not by others, and is not found here.

use serde_json::Value;

use super::model::{Field, Record, Table};
use super::refusal::Refusal;

/// A condition on one field.
struct Condition {
    /// `None`: the record's number.
    field: Option<Field>,
    op: String,
    values: Vec<Operand>,
}

#[derive(Debug, PartialEq)]
struct Operand {
    text: String,
    quoted: bool,
}

/// A filter as read: any of the alternatives, each with all its conditions.
pub(super) struct Filter(Vec<Vec<Condition>>);

impl Filter {
    pub fn read(text: &str, table: &Table) -> Result<Filter, Refusal> {
        let (mut rest, mut alternatives, mut current) = (text.trim(), Vec::new(), Vec::new());
        loop {
            let inner = rest.strip_prefix('(').ok_or_else(|| {
                let found: String = rest.chars().take(1).collect();
                Refusal::filter(format!(
                    "Invalid filter syntax: expected a logical operator like '~not' or opening parenthesis, but found '{found}'"
                ))
            })?;
            let (parts, after) = split(inner)?;
            current.push(condition(parts, table)?);
            rest = after.trim_start();
            if let Some(more) = rest.strip_prefix("~and") {
                rest = more;
            } else if let Some(more) = rest.strip_prefix("~or") {
                alternatives.push(std::mem::take(&mut current));
                rest = more;
            } else if rest.is_empty() {
                alternatives.push(current);
                return Ok(Filter(alternatives));
            } else {
                return Err(Refusal::filter(format!("Invalid filter syntax: unexpected '{rest}'")));
            }
        }
    }

    pub fn accepts(&self, record: &Record) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.accepts(record)))
    }
}

/// The parts between one pair of parentheses, and the text behind.
fn split(text: &str) -> Result<(Vec<Operand>, &str), Refusal> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            ',' | ')' => {
                parts.push(Operand { text: std::mem::take(&mut part), quoted: std::mem::take(&mut quoted) });
                if char == ')' {
                    return Ok((parts, &text[at + 1..]));
                }
            }
            '"' if part.is_empty() && !quoted => {
                quoted = true;
                let (length, escaped) = closing(&text[at + 1..])?;
                part.push_str(&text[at + 1..at + 1 + length]);
                if escaped {
                    // Escaped or not, such a value is found by nobody.
                    part.push('\u{fffd}');
                }
                let next = text[at + 2 + length..].chars().next();
                if !matches!(next, Some(',' | ')')) {
                    let text =
                        format!("Lexing error: unexpected character: ->\"<- at offset: {at}, please contact support");
                    return Err(Refusal::filter(text));
                }
                let skipped = text[at + 1..at + 2 + length].chars().count();
                chars.by_ref().take(skipped).for_each(drop);
            }
            other => part.push(other),
        }
    }
    Err(Refusal::filter("Invalid filter syntax: expected a closing parentheses ')', but found ''"))
}

/// The length of a quoted text up to its closing quote, and whether it holds a backslash.
fn closing(text: &str) -> Result<(usize, bool), Refusal> {
    let (mut escaped, mut any) = (false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => (escaped, any) = (true, true),
            '"' => return Ok((at, any)),
            _ => {}
        }
    }
    Err(Refusal::filter("Lexing error: unexpected character: ->\"<-, please contact support"))
}

fn condition(mut parts: Vec<Operand>, table: &Table) -> Result<Condition, Refusal> {
    if parts.len() < 2 {
        return Err(Refusal::filter("Invalid filter syntax: expected an operator"));
    }
    let values = parts.split_off(2);
    let (op, name) = (parts.remove(1).text, parts.remove(0).text);
    let field = if name == "Id" || name == table.id_field {
        None
    } else {
        let found = table.field(&name).cloned();
        Some(found.ok_or_else(|| Refusal::filter(format!("Invalid filter field '{name}' not found")))?)
    };
    if !matches!(op.as_str(), "eq" | "in" | "like" | "blank" | "gt" | "gte" | "lt") {
        return Err(Refusal::filter(format!("Invalid filter operator '{op}'")));
    }
    Ok(Condition { field, op, values })
}

impl Condition {
    fn accepts(&self, record: &Record) -> bool {
        let number = Value::from(record.id.to_string());
        let cell = match &self.field {
            Some(field) => record.cells.get(&field.id),
            None => Some(&number),
        };
        let text = cell.map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned));
        let joined = || self.values.iter().map(|value| value.text.as_str()).collect::<Vec<_>>().join(",");
        match self.op.as_str() {
            "blank" => text.is_none_or(|text| text.is_empty()),
            "eq" if self.values.len() == 1 && !self.values[0].quoted && self.values[0].text == "null" => text.is_none(),
            "eq" => text.is_some_and(|text| text == self.day().map_or_else(joined, str::to_owned)),
            "in" => text.is_some_and(|text| self.values.iter().any(|value| value.text == text)),
            // Hardest on a client: the pattern may stand anywhere in the text.
            "like" => text.is_some_and(|text| like(&text, &format!("%{}%", joined()))),
            "gt" => self.compares(text.as_deref(), std::cmp::Ordering::is_gt),
            "gte" => self.compares(text.as_deref(), std::cmp::Ordering::is_ge),
            _ => self.compares(text.as_deref(), std::cmp::Ordering::is_lt),
        }
    }

    /// The day behind `exactDate`.
    fn day(&self) -> Option<&str> {
        match self.values.as_slice() {
            [kind, day] if kind.text == "exactDate" => Some(&day.text),
            _ => None,
        }
    }

    fn compares(&self, text: Option<&str>, suits: fn(std::cmp::Ordering) -> bool) -> bool {
        let (Some(text), Some(value)) = (text, self.values.last()) else { return false };
        let numbers = text.parse::<f64>().ok().zip(value.text.parse::<f64>().ok());
        let order = numbers.map_or_else(|| Some(text.cmp(&value.text)), |(one, other)| one.partial_cmp(&other));
        order.is_some_and(suits)
    }
}

/// SQL's LIKE without regard to case, as PostgreSQL's ILIKE.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.to_lowercase().chars().collect(), pattern.to_lowercase().chars().collect());
    // Reachable positions of the text after each character of the pattern.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for wild in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            match wild {
                '%' => next[at] = reached[..=at].contains(&true),
                '_' => next[at] = at > 0 && reached[at - 1],
                plain => next[at] = at > 0 && reached[at - 1] && text[at - 1] == plain,
            }
        }
        reached = next;
    }
    reached[text.len()]
}
