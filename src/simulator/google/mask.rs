//! Field masks: the fields of a message that a request selects.
//!
//! The same text form serves two purposes: `fields=` in a query projects an answer, and `fields` in a request selects
//! the fields that an update may touch (a selected field that is absent from the new value is cleared). Masks of the
//! two kinds are checked against the schema, so that a misspelt name is refused.

use serde_json::{Map, Value};

use super::schema::{element, field_names, field_type};

/// A set of fields, as a tree. Everything below a leaf is meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mask {
    /// Everything.
    All,
    /// The named fields and no others.
    Some(Vec<(String, Mask)>),
}

impl Mask {
    /// Reads a mask over `message`. Refused with the path that does not exist.
    pub fn parse(text: &str, message: &str) -> Result<Mask, String> {
        let mut mask = Mask::Some(Vec::new());
        let mut rest = text.trim();
        while !rest.is_empty() {
            rest = parse_path(rest, &mut mask, Some(message), "")?;
            match rest.chars().next() {
                None => break,
                Some(',') => rest = &rest[1..],
                Some(_) => return Err(rest.to_owned()),
            }
        }
        Ok(mask)
    }

    /// True if no field is selected.
    pub fn is_empty(&self) -> bool {
        matches!(self, Mask::Some(fields) if fields.is_empty())
    }

    /// The mask below a field; `None` if the field is not selected.
    pub fn below(&self, field: &str) -> Option<&Mask> {
        match self {
            Mask::All => Some(&Mask::All),
            Mask::Some(fields) => fields.iter().find(|(name, _)| name == field).map(|(_, mask)| mask),
        }
    }

    /// True if a dotted path is selected, or a field below it.
    pub fn names(&self, path: &str) -> bool {
        path.split('.').try_fold(self, |mask, field| mask.below(field)).is_some()
    }

    /// The selected part of `value`.
    pub fn project(&self, value: Value) -> Value {
        let Mask::Some(fields) = self else { return value };
        match value {
            Value::Object(mut map) => fields
                .iter()
                .filter_map(|(name, mask)| Some((name.clone(), mask.project(map.remove(name)?))))
                .collect::<Map<_, _>>()
                .into(),
            Value::Array(items) => items.into_iter().map(|item| self.project(item)).collect(),
            scalar => scalar,
        }
    }

    /// Brings the fields of `new` that the mask means into `old`; a meant field that `new` lacks is cleared.
    pub fn merge(&self, old: &mut Map<String, Value>, new: &Map<String, Value>) {
        match self {
            Mask::All => old.clone_from(new),
            Mask::Some(fields) => fields.iter().for_each(|(name, mask)| merge_field(mask, name, old, new)),
        }
    }

    fn add(&mut self, name: &str) -> &mut Mask {
        if *self == Mask::All {
            return self;
        }
        let Mask::Some(fields) = self else { return self };
        let at = fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            fields.push((name.to_owned(), Mask::Some(Vec::new())));
            fields.len() - 1
        });
        &mut fields[at].1
    }
}

fn merge_field(mask: &Mask, name: &str, old: &mut Map<String, Value>, new: &Map<String, Value>) {
    match (mask, new.get(name)) {
        (Mask::All, Some(value)) => {
            old.insert(name.to_owned(), value.clone());
        }
        (Mask::All, None) => {
            old.remove(name);
        }
        (Mask::Some(_), value) => {
            let nothing = Map::new();
            let inner = value.and_then(Value::as_object).unwrap_or(&nothing);
            let mut merged = old.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            mask.merge(&mut merged, inner);
            match merged.is_empty() && value.is_none() {
                true => old.remove(name),
                false => old.insert(name.to_owned(), Value::Object(merged)),
            };
        }
    }
}

/// Reads one path, with its group in parentheses if it has one, and gives back the text behind it. `message` is absent
/// inside free-form values, where every name is allowed.
fn parse_path<'a>(text: &'a str, mask: &mut Mask, message: Option<&str>, before: &str) -> Result<&'a str, String> {
    let end = text.find([',', '.', '/', '(', ')']).unwrap_or(text.len());
    let (name, rest) = (text[..end].trim(), &text[end..]);
    let path = if before.is_empty() { name.to_owned() } else { format!("{before}.{name}") };
    if name == "*" {
        *mask = Mask::All;
        return Ok(rest);
    }
    let inner = match message {
        None => None,
        Some(message) => match field_type(message, name) {
            Some(kind) if field_names(element(kind)).is_some() => Some(element(kind)),
            Some(_) if rest.starts_with(['.', '/', '(']) => return Err(path),
            Some(_) => None,
            None => return Err(path),
        },
    };
    let below = mask.add(name);
    match rest.chars().next() {
        Some('.' | '/') => parse_path(&rest[1..], below, inner, &path),
        Some('(') => parse_group(&rest[1..], below, inner, &path),
        _ => {
            *below = Mask::All;
            Ok(rest)
        }
    }
}

fn parse_group<'a>(mut rest: &'a str, mask: &mut Mask, message: Option<&str>, path: &str) -> Result<&'a str, String> {
    loop {
        rest = parse_path(rest, mask, message, path)?;
        match rest.chars().next() {
            Some(',') => rest = &rest[1..],
            Some(')') => return Ok(&rest[1..]),
            _ => return Err(path.to_owned()),
        }
    }
}
