//! The entry of a directory of statement files in the configuration: its keys, their errors, and the lines of the example.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::NaiveDate;
use secrecy::SecretString;

use super::inbox;
use super::layout_keys::{self, CSV};
use super::layouts::Layout;
use super::session::Files;
use super::statement::plain_account;
use super::{Options, charset};
use crate::remote::Error;
use crate::settings::reader::Value;
use crate::settings::{self, Entry, Secret, Table, key, list_key, values};
use crate::source::{Kind, Scope, Settings, Setup, Source, WatchedDirectory};

/// `kind = "files"`.
pub const KIND: Kind = Kind {
    name: "files",
    title: "statement files",
    keys: &[
        key("directory", "the path of a folder in quotes"),
        key("after", "`move` or `keep` in quotes"),
        key("account", "the number of an account in quotes"),
        key("currency", "three capital letters in quotes such as \"EUR\""),
        key("accounts", "a table such as { \"37040044/532013000\" = \"DE89370400440532013000\" }"),
        key("encoding", "the name of an encoding in quotes such as \"windows-1251\""),
        list_key("csv", "[[source.csv]] tables", CSV),
    ],
    example: EXAMPLE,
    questions: super::interview::questions,
    read: |entry| Ok(Arc::new(FilesSettings::read(entry)?)),
    scope,
    aliases: |_| Vec::new(),
};

/// The lines of `config.example.toml`.
const EXAMPLE: &str = r#"# Statement files of any bank: MT940, CAMT.052, .053 and .054, OFX and QFX, CSV, and .zip of these.
kind = "files"

# The folder in which the files lie. They are read at every run, and by the daemon as soon as they are whole.
directory = "/var/lib/bankfeed/inbox"

# The fate of a file that was read: "move" puts it into the folder done beside it, or into rejected with a text that says
# why; "keep" leaves it, as in a folder that is synced. Left out: "move".
# after = "move"

# The account and the currency of files that name none.
# account = "BG32FINV91501000000001"
# currency = "EUR"

# What a file calls an account = how it is called here.
# accounts = { "37040044/532013000" = "DE89370400440532013000" }

# The encoding of files that are not UTF-8. Left out: found out.
# encoding = "windows-1251"

# CSV layouts of your own, for banks whose exports are not known by themselves: `bankfeed import --layouts` lists those that
# are. The first layout whose columns a file has is used. A column is a header in quotes, or a number from 1.
[[source.csv]]
name = "mybank"
date = "Buchungstag"
date_format = "%d.%m.%Y"

# The amount with its sign; a column that says which way the money goes may stand beside it.
amount = "Betrag"
# direction = { column = "Af Bij", out = ["Af"], in = ["Bij"] }
# Instead of it, a column for money out and one for money in.
# debit = "Soll"
# credit = "Haben"
# A fee that comes on top of the amount.
# fee = "Entgelt"
# Card exports in which spending is positive.
# invert = true

# The form of numbers. Left out: "." and none.
# decimal = ","
# thousands = "."

# The form of the file. Left out: found out, with a header.
# delimiter = ";"
# header = true
# skip_lines = 3
# encoding = "ISO-8859-1"
# Headers that a file must have beside those of the columns.
# has = ["Kundenreferenz"]

# Only rows with these texts are transactions; rows with those are none.
# only = { Status = ["Gebucht"] }
# leave_out = { Info = ["Umsatz vorgemerkt"] }

# Further columns. `payer` and `payee` are for banks that have the other side of money in and of money out in two columns.
# value_date = "Wertstellung"
# value_date_format = "%d.%m.%Y"
# balance = "Saldo"
# currency = "Währung"
# account = "Auftragskonto"
# counterparty = "Name"
# payer = "Auftraggeber"
# payee = "Empfänger"
# counterparty_account = "IBAN"
# reference = "Kundenreferenz"
# id = "Transaktionsnummer"
# type = "Buchungstext"
# One column or several, joined.
# description = ["Verwendungszweck", "Info"]
"#;

/// The fate of a file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// Into `done` or `rejected`.
    #[default]
    Move,
    /// The file stays.
    Keep,
}

/// A directory of statement files.
#[derive(Clone, Debug, Default)]
pub struct FilesSettings {
    /// The directory.
    pub directory: PathBuf,
    /// The fate of files that were read.
    pub after: After,
    /// The account of files that name none.
    pub account: Option<String>,
    /// The currency of files that name none.
    pub currency: Option<String>,
    /// Names of accounts in files, each with the name of that account here.
    pub accounts: BTreeMap<String, String>,
    /// The encoding of files that are neither UTF-8 nor say what they are.
    pub encoding: Option<String>,
    /// The owner's CSV layouts.
    pub layouts: Vec<Layout>,
}

impl FilesSettings {
    fn read(entry: &Entry<'_>) -> Result<FilesSettings, settings::Error> {
        let table = &entry.table;
        if let Some(at) = table.read("overlap_days", |value| Ok(value.at))? {
            return Err(table.error_at(at, "overlap_days has no meaning for files, which are read whole; leave it out"));
        }
        let after = |value: &Value<'_>| value.choice(&[("move", After::Move), ("keep", After::Keep)]);
        Ok(FilesSettings {
            directory: table.require("directory", values::path)?,
            after: table.read("after", after)?.unwrap_or_default(),
            account: table.read("account", account)?,
            currency: table.read("currency", currency)?,
            accounts: table.read("accounts", accounts)?.unwrap_or_default(),
            encoding: table.read("encoding", encoding)?,
            layouts: table.read("csv", |value| layouts(value, &table.label))?.unwrap_or_default(),
        })
    }

    /// The options of the readers.
    pub fn options(&self, today: NaiveDate) -> Options {
        Options {
            account: self.account.clone(),
            currency: self.currency.clone(),
            accounts: self.accounts.clone(),
            encoding: self.encoding.clone(),
            layouts: self.layouts.clone(),
            layout: None,
            today,
        }
    }

    /// A text that differs wherever a refused file may be read otherwise: with other settings or by another release.
    pub(super) fn fingerprint(&self) -> String {
        let text = format!("{} {:?}", env!("CARGO_PKG_VERSION"), self.options(NaiveDate::MIN));
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }
}

impl Settings for FilesSettings {
    fn secrets(&self) -> Vec<(&'static str, &Secret)> {
        Vec::new()
    }

    fn private_texts(&self) -> Vec<SecretString> {
        Vec::new()
    }

    fn login_identity(&self) -> Option<SecretString> {
        None
    }

    fn connect(&self, setup: Setup) -> Result<Box<dyn Source>, Error> {
        Ok(Box::new(Files::new(self.clone(), setup)))
    }

    fn watched_directory(&self) -> Option<WatchedDirectory<'_>> {
        Some(WatchedDirectory { path: &self.directory, is_wanted: inbox::is_wanted })
    }
}

/// Files name their accounts themselves, and each is read whole.
fn scope(table: &Table<'_>) -> Result<Scope, settings::Error> {
    Ok(Scope { accounts: None, history_from: table.read("history_from", values::date)?, overlap_days: 0 })
}

/// The number of an account: an IBAN without blanks, or any other name.
pub fn account(value: &Value<'_>) -> Result<String, settings::Error> {
    Ok(plain_account(value.text()?, None))
}

/// An ISO 4217 code.
pub fn currency(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { Ok(text.to_owned()) } else { Err(value.wrong_value()) }
}

fn encoding(value: &Value<'_>) -> Result<String, settings::Error> {
    let text = value.text()?;
    match charset::by_name(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(value.error("names an encoding that is not known, such as \"windows-1251\" or \"ISO-8859-15\"")),
    }
}

fn accounts(value: &Value<'_>) -> Result<BTreeMap<String, String>, settings::Error> {
    let table = value.table(None, &[]).ok_or_else(|| value.wrong())?;
    let entries = table.entries("the number of an account in quotes");
    entries.iter().map(|(name, _, value)| Ok(((*name).to_owned(), account(value)?))).collect()
}

fn layouts(value: &Value<'_>, label: &str) -> Result<Vec<Layout>, settings::Error> {
    if value.value.is_table() {
        return Err(value.error("expected [[source.csv]] in double brackets, one for each layout"));
    }
    let mut layouts: Vec<Layout> = Vec::new();
    for (number, item) in (1..).zip(value.list()?) {
        let mut table = item.table(Some(format!("{label}: csv {number}")), CSV).ok_or_else(|| item.wrong())?;
        let name = table.require("name", values::name)?;
        table.label = format!("{label}: csv `{name}`");
        table.check_keys()?;
        if layouts.iter().any(|other| other.name == name) {
            return Err(table.error("the name is taken by another layout of this source"));
        }
        layouts.push(layout_keys::layout(&table, name)?);
    }
    Ok(layouts)
}
