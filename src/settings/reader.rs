//! A TOML file with its lines: tables whose keys are checked against the known ones, and values that know where they
//! stand. Every error starts with file, line and entry; none repeats the file's text, because the line may hold a
//! secret.

use std::fmt::Display;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::{did_you_mean, nearest, one_of, quote};
use super::{Error, Key};

/// The file being read.
pub struct File<'a> {
    /// As the owner named it.
    pub name: String,
    /// The whole text.
    pub text: &'a str,
    /// The folder that relative paths in the file start at.
    pub folder: PathBuf,
    /// The folder that `~/` stands for.
    pub home: Option<PathBuf>,
    /// The keys that belong at the top of the file.
    pub top: &'static [Key],
}

/// A table of the file: the file itself, an entry, or a table inside one.
#[derive(Clone)]
pub struct Table<'a> {
    file: &'a File<'a>,
    /// The name of the table in errors, e.g. source `fibank`; empty for the file itself.
    pub label: String,
    at: usize,
    keys: Vec<&'static Key>,
    values: &'a DeTable<'a>,
}

/// The value of a key, or one item of a list.
pub struct Value<'a> {
    /// The file it stands in.
    pub file: &'a File<'a>,
    label: String,
    expected: &'static str,
    /// The first byte of the value in the file.
    pub at: usize,
    /// The value as TOML gives it.
    pub value: &'a DeValue<'a>,
}

impl File<'_> {
    /// The line of a byte, counted from 1.
    pub fn line(&self, at: usize) -> usize {
        // A key that is missing at the end of the file is missing on its last line.
        let at = at.min(self.text.trim_end().len());
        1 + self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// An error about the line that holds this byte.
    pub fn error(&self, at: usize, message: impl Display) -> Error {
        Error(format!("{}:{}: {message}", self.name, self.line(at)))
    }
}

impl<'a> Table<'a> {
    /// The whole file.
    pub fn root(file: &'a File<'a>, values: &'a DeTable<'a>) -> Table<'a> {
        Table { file, label: String::new(), at: 0, keys: file.top.iter().collect(), values }
    }

    /// Adds keys to the known ones.
    pub fn with_keys(mut self, keys: &'static [Key]) -> Table<'a> {
        self.keys.extend(keys);
        self
    }

    /// An error about the table as a whole.
    pub fn error(&self, message: impl Display) -> Error {
        self.file.error(self.at, join(&self.label, message))
    }

    /// An error about something inside it.
    pub fn error_at(&self, at: usize, message: impl Display) -> Error {
        self.file.error(at, join(&self.label, message))
    }

    /// The value of a key that may be left out.
    pub fn read<T>(&self, name: &str, how: impl FnOnce(&Value<'a>) -> Result<T, Error>) -> Result<Option<T>, Error> {
        let key = self.keys.iter().find(|key| key.name == name);
        debug_assert!(key.is_some(), "`{name}` is not among the known keys");
        let Some(found) = self.values.get(name) else { return Ok(None) };
        let value = Value {
            file: self.file,
            label: join(&self.label, name),
            expected: key.map_or("", |key| &*key.expected),
            at: found.span().start,
            value: found.get_ref(),
        };
        how(&value).map(Some)
    }

    /// The value of a key that may not be left out.
    pub fn require<T>(&self, name: &str, how: impl FnOnce(&Value<'a>) -> Result<T, Error>) -> Result<T, Error> {
        self.read(name, how)?.ok_or_else(|| {
            let expected = self.keys.iter().find(|key| key.name == name).map_or("", |key| &*key.expected);
            self.error(format!("{name} is missing, expected {expected}"))
        })
    }

    /// Refuses keys that nobody knows, the first in the file first.
    pub fn check_keys(&self) -> Result<(), Error> {
        let mut found: Vec<_> = self.values.iter().collect();
        found.sort_by_key(|(name, _)| name.span().start);
        for (name, _) in found {
            let at = name.span().start;
            let name = name.get_ref().as_ref();
            if !self.keys.iter().any(|key| key.name == name) {
                return Err(self.error_at(at, format!("unknown key {}", self.unknown(name))));
            }
        }
        Ok(())
    }

    /// The unknown key with what was probably meant, or with what there is.
    fn unknown(&self, name: &str) -> String {
        let known = || self.keys.iter().map(|key| key.name);
        let shown = quote(name);
        if let Some(near) = nearest(name, known()) {
            return format!("{shown}, did you mean `{near}`?");
        }
        // Written below an entry, a key of the file itself becomes one of the entry.
        if !self.label.is_empty() && self.file.top.iter().any(|key| key.name == name) {
            return format!("{shown}, it belongs at the top of the file, above the first entry");
        }
        format!("{shown}, expected {}", one_of(known()))
    }

    /// Every key with its place and what stands behind it, in the order of the file, for tables whose keys are names.
    pub fn entries(&self, expected: &'static str) -> Vec<(&'a str, usize, Value<'a>)> {
        let entry = |(name, found): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let (at, name): (usize, &'a std::borrow::Cow<'a, str>) = (name.span().start, name.get_ref());
            let (at_value, value) = (found.span().start, found.get_ref());
            let label = join(&self.label, quote(name));
            (name.as_ref(), at, Value { file: self.file, label, expected, at: at_value, value })
        };
        let mut entries: Vec<_> = self.values.iter().map(entry).collect();
        entries.sort_by_key(|(_, at, _)| *at);
        entries
    }

    /// The line it begins on.
    pub fn line(&self) -> usize {
        self.file.line(self.at)
    }

    /// The names of the keys that are there.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.values.keys().map(|name| name.get_ref().as_ref())
    }
}

impl<'a> Value<'a> {
    /// An error about this value.
    pub fn error(&self, message: impl Display) -> Error {
        self.file.error(self.at, join(&self.label, message))
    }

    /// An error about a value of the wrong type. The error names the type that was found, never the value.
    pub fn wrong(&self) -> Error {
        self.wrong_for(self.expected)
    }

    /// The same, where the expected value depends on other keys.
    pub fn wrong_for(&self, expected: &str) -> Error {
        self.error(format!("expected {expected}, found {}", type_name(self.value)))
    }

    /// An error about a value of the right type that is still no good. The value is not repeated.
    pub fn wrong_value(&self) -> Error {
        self.error(format!("expected {}", self.expected))
    }

    /// Text on one line that is not empty.
    pub fn text(&self) -> Result<&'a str, Error> {
        let text = self.value.as_str().ok_or_else(|| self.wrong())?;
        if text.trim().is_empty() {
            return Err(self.error(format!("is empty, expected {}", self.expected)));
        }
        if text.chars().any(char::is_control) {
            return Err(self.error("contains a line break or another control character"));
        }
        Ok(text)
    }

    /// True or false.
    pub fn boolean(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.wrong())
    }

    /// A whole number within limits.
    pub fn whole(&self, limits: std::ops::RangeInclusive<u32>) -> Result<u32, Error> {
        let number = self.integer().ok_or_else(|| self.wrong())?;
        let fitting = u32::try_from(number).ok().filter(|number| limits.contains(number));
        fitting.ok_or_else(|| self.error(format!("expected {}, found {number}", self.expected)))
    }

    /// Any whole number.
    pub fn integer(&self) -> Option<i128> {
        let integer = self.value.as_integer()?;
        i128::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
    }

    /// A choice among a few words.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Error> {
        let text = self.text()?;
        let names = || words.iter().map(|(name, _)| *name);
        let found = words.iter().find(|(name, _)| *name == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let near = did_you_mean(text, names());
            self.error(format!("expected {}, found {}{near}", one_of(names()), quote(text)))
        })
    }

    /// The items of a list.
    pub fn list(&self) -> Result<Vec<Value<'a>>, Error> {
        let items = self.value.as_array().ok_or_else(|| self.wrong())?;
        Ok(items.iter().map(|item| self.item(item)).collect())
    }

    fn item(&self, item: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let (label, expected) = (self.label.clone(), self.expected);
        Value { file: self.file, label, expected, at: item.span().start, value: item.get_ref() }
    }

    /// The table that this is, if it is one, under a name of its own in errors.
    pub fn table(&self, label: Option<String>, keys: &'static [Key]) -> Option<Table<'a>> {
        let values = self.value.as_table()?;
        let label = label.unwrap_or_else(|| self.label.clone());
        Some(Table { file: self.file, label, at: self.at, keys: keys.iter().collect(), values })
    }
}

fn join(label: &str, rest: impl Display) -> String {
    if label.is_empty() { rest.to_string() } else { format!("{label}: {rest}") }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
