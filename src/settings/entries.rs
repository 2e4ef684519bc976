//! The entries of a list such as `[[source]]`: each has a kind, the keys of its kind, and a name of its own.

use std::path::Path;

use super::reader::{Table, Value};
use super::words::{did_you_mean, one_of, quote};
use super::{Error, Key, values};

/// An entry whose name and kind are known and whose keys have been checked.
pub struct Entry<'a> {
    /// The table of the entry.
    pub table: Table<'a>,
    /// The name of its kind.
    pub kind: &'static str,
    /// The name of the entry.
    pub name: String,
    /// The data directory of the configuration.
    pub data_dir: &'a Path,
}

/// The keys of one kind of entry, beside those that all kinds have; `None`: a kind that later versions will know, so
/// that it is refused by name.
pub struct KindKeys {
    /// The name of the kind.
    pub name: &'static str,
    /// The keys.
    pub keys: Option<&'static [Key]>,
}

/// The keys of a list of entries.
pub struct ListKeys {
    /// `source`, `destination` or `notify`.
    pub list: &'static str,
    /// The keys of every kind that are named before those of the kind.
    pub first: Vec<&'static [Key]>,
    /// The keys of the kinds.
    pub kinds: Vec<KindKeys>,
    /// The keys of every kind that are named after those of the kind.
    pub last: &'static [Key],
}

/// The entries of a list, named: by themselves, or by their kind where only one entry has it.
pub fn entries<'a>(top: &Table<'a>, keys: &ListKeys, data_dir: &'a Path) -> Result<Vec<Entry<'a>>, Error> {
    let list = keys.list;
    let Some(items) = top.read(list, |value| entry_tables(value, list, &keys.first))? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (number, mut table) in (1..).zip(items) {
        table.label = format!("{list} {number}");
        let name = table.read("name", values::name)?;
        if let Some(name) = &name {
            table.label = format!("{list} `{name}`");
        }
        let (kind, own) = table.require("kind", |value| entry_kind(value, &keys.kinds))?;
        let table = table.with_keys(own).with_keys(keys.last);
        table.check_keys()?;
        found.push((table, kind, name));
    }
    let kinds: Vec<&str> = found.iter().map(|(_, kind, _)| *kind).collect();
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for (table, kind, name) in found {
        let alone = kinds.iter().filter(|other| **other == kind).count() == 1;
        let given = name.is_some();
        // A notifier is never named on the command line or in a sheet: a number will do.
        let number = || entries.iter().filter(|other| other.kind == kind).count() + 1;
        let numbered = || (list == "notify").then(|| format!("{kind} {}", number()));
        let Some(name) = name.or_else(|| alone.then(|| kind.to_owned())).or_else(numbered) else {
            return Err(table.error(format!("name is missing, expected one because several have the kind `{kind}`")));
        };
        if entries.iter().any(|other| other.name == name) {
            let taken = format!("the name {} is taken by another {list}", quote(&name));
            let place = table.read("name", |value| Ok(value.at))?;
            return Err(place.filter(|_| given).map_or_else(|| table.error(&taken), |at| table.error_at(at, &taken)));
        }
        entries.push(Entry { table, kind, name, data_dir });
    }
    Ok(entries)
}

/// The tables of `[[source]]`, `[[destination]]`, `[[notify]]` or `[[rule]]`.
pub fn entry_tables<'a>(value: &Value<'a>, list: &str, common: &[&'static [Key]]) -> Result<Vec<Table<'a>>, Error> {
    if value.value.is_table() {
        return Err(value.error(format!("expected [[{list}]] in double brackets, one for each {list}")));
    }
    let items = value.list()?;
    let table = |item: &Value<'a>| {
        let table = item.table(None, &[]).ok_or_else(|| item.wrong())?;
        Ok(common.iter().fold(table, |table, keys| table.with_keys(keys)))
    };
    items.iter().map(table).collect()
}

fn entry_kind(value: &Value<'_>, kinds: &[KindKeys]) -> Result<(&'static str, &'static [Key]), Error> {
    let text = value.text()?;
    let possible = || kinds.iter().filter(|kind| kind.keys.is_some()).map(|kind| kind.name);
    match kinds.iter().find(|kind| kind.name == text) {
        Some(KindKeys { name, keys: Some(keys) }) => Ok((name, keys)),
        Some(KindKeys { name, keys: None }) => {
            Err(value.error(format!("`{name}` is not supported yet in this version")))
        }
        None => {
            let near = did_you_mean(text, possible());
            Err(value.error(format!("expected {}, found {}{near}", one_of(possible()), quote(text))))
        }
    }
}
