//! Statement files by hand: the file's rows go into the store like those of a pull, and nothing is delivered.

use std::any::Any;
use std::fs::File;
use std::sync::Arc;

use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::attempts::Asking;
use super::pull::{Ingest, Listing, Preview};
use crate::config;
use crate::remote::{Context, Error};
use crate::source::Scope;
use crate::source::files::content::Content;
use crate::source::files::pages::Pages;
use crate::source::files::prepared::Prepared;
use crate::source::files::session::too_long;
use crate::source::files::settings::FilesSettings;
use crate::source::files::state::Saved;
use crate::source::files::{KIND, Refusal, Statement};
use crate::store;

/// The name of the source of imported files where no source of the kind is configured.
const UNCONFIGURED: &str = "import";

/// The parameters of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// The source whose mapping is used; `None`: the only one of the kind `files`, or none.
    pub source: Option<String>,
    /// The account of files that name none.
    pub account: Option<String>,
    /// The currency of files that name none.
    pub currency: Option<String>,
    /// The one CSV layout to use.
    pub layout: Option<String>,
    /// Look and say, store nothing.
    pub dry_run: bool,
}

/// The result for one statement of a file, in the shape of `import --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The file as it was named.
    pub file: String,
    /// The kind of statement.
    pub format: Option<String>,
    /// The account as it is called here.
    pub account: Option<String>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub until: Option<NaiveDate>,
    /// Booked entries.
    pub entries: u64,
    /// Rows that the store did not hold.
    pub new: u64,
    /// Rows that the store held already.
    pub known: u64,
    /// Rows that the store held with other data.
    pub changed: u64,
    /// Opening balance and entries give the closing balance, where both are known.
    pub adds_up: Option<bool>,
    /// Why the file is refused.
    pub error: Option<String>,
    /// Oddities.
    pub notes: Vec<String>,
}

impl Imported {
    /// The result for a file of which nothing is kept.
    pub fn refused(file: &str, why: impl ToString) -> Imported {
        Imported { file: file.to_owned(), error: Some(why.to_string()), ..Imported::default() }
    }
}

/// The source that an import belongs to.
#[derive(Clone, Debug)]
pub struct ImportSource {
    source: config::Source,
    settings: FilesSettings,
}

impl ImportSource {
    /// Finds the source; `Err`: why there is none.
    pub fn find(config: &config::Config, name: Option<&str>) -> Result<ImportSource, String> {
        let folders: Vec<ImportSource> = config.sources.iter().filter_map(ImportSource::of).collect();
        let names = || folders.iter().map(|one| format!("`{}`", one.source.name)).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => {
                folders.iter().find(|one| one.source.name == name).cloned().ok_or_else(|| match folders.is_empty() {
                    true => format!("no source is called `{name}` and has kind = \"files\"; leave --source out"),
                    false => format!("no source called `{name}` has kind = \"files\"; there are: {}", names()),
                })
            }
            None if folders.len() == 1 => Ok(folders[0].clone()),
            None if config.sources.iter().any(|source| source.name == UNCONFIGURED) => {
                Err(format!("a source is called `{UNCONFIGURED}`; name the source of these files with --source"))
            }
            None => {
                let settings = FilesSettings::default();
                let scope = Scope::default();
                let shared = Arc::new(settings.clone());
                let source = config::Source { name: UNCONFIGURED.to_owned(), kind: &KIND, scope, settings: shared };
                Ok(ImportSource { source, settings })
            }
        }
    }

    fn of(source: &config::Source) -> Option<ImportSource> {
        let settings = (&*source.settings as &dyn Any).downcast_ref::<FilesSettings>()?.clone();
        Some(ImportSource { source: source.clone(), settings })
    }
}

impl Engine {
    /// Imports one file, whole or not at all.
    pub async fn import(
        &self,
        request: &ImportRequest,
        from: &ImportSource,
        name: &str,
        file: File,
    ) -> Result<Vec<Imported>, store::Error> {
        self.make_ready().await?;
        let imported = self.import_file(request, from, name, file);
        self.store.rest();
        imported
    }

    fn import_file(
        &self,
        request: &ImportRequest,
        from: &ImportSource,
        name: &str,
        file: File,
    ) -> Result<Vec<Imported>, store::Error> {
        let now = Utc::now();
        let today = now.with_timezone(&self.config.timezone).date_naive();
        let prepared = match self.prepare(request, from, name, file, today) {
            Ok(prepared) => prepared,
            Err(refusal) => return Ok(vec![Imported::refused(name, refusal)]),
        };
        let ledger = self.ledger(&from.source, Asking::Owner);
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let state = ledger.setup(self, context, true).state;
        let of_state = |error: Error| ledger.failure().err().unwrap_or(store::Error::Io(error.message));
        let mut saved = Saved::read(&state.read().map_err(of_state)?);
        let before = saved.clone();
        saved.learn(&prepared);
        let pages = Pages::new(prepared, today, from.source.scope.history_from);
        let (mut all, mut preview, mut listing) = (Vec::new(), Preview::default(), Listing::default());
        for index in pages.prepared().order() {
            let statement = &pages.prepared().statements()[*index];
            let latest = statement.account.as_ref().and_then(|account| saved.accounts.get(account));
            let account = pages.account(statement, latest);
            let fetched = vec![(account.clone(), Ok(pages.page(*index, account)))];
            let mut notes = Vec::new();
            let mut ingest = Ingest::new(self, &from.source, true, now, &mut notes, &mut listing);
            match request.dry_run {
                true => ingest.preview(fetched, &mut preview)?,
                false => ingest.store(fetched)?,
            }
            let (new, changed) = (ingest.counts.new, ingest.counts.changed);
            let failures: Vec<String> =
                std::mem::take(&mut ingest.failures).into_iter().map(|error| error.message).collect();
            drop(ingest);
            notes.extend(failures);
            all.push(result(name, statement, new, changed, notes));
        }
        if all.is_empty() {
            all.push(Imported {
                file: name.to_owned(),
                format: format(pages.prepared().statements().first()),
                ..Imported::default()
            });
        }
        if let Some(first) = all.first_mut() {
            first.notes.splice(0..0, pages.prepared().notes().iter().cloned());
        }
        if !request.dry_run && saved != before {
            state.write(&saved.text()).map_err(of_state)?;
        }
        Ok(all)
    }

    /// Reads a file whole.
    fn prepare(
        &self,
        request: &ImportRequest,
        from: &ImportSource,
        name: &str,
        file: File,
        today: NaiveDate,
    ) -> Result<Prepared, Refusal> {
        let read = Content::read(file).map_err(|error| Refusal::whole(format!("it cannot be read: {error}")))?;
        let (content, _) = read.ok_or_else(|| Refusal::whole(too_long()))?;
        let mut options = from.settings.options(today);
        options.account = request.account.clone().or(options.account);
        options.currency = request.currency.clone().or(options.currency);
        options.layout.clone_from(&request.layout);
        Prepared::new(name, content, Arc::new(options), self.config.timezone)
    }
}

fn format(statement: Option<&Statement>) -> Option<String> {
    statement.map(|statement| statement.format.to_string())
}

fn result(name: &str, statement: &Statement, new: u64, changed: u64, notes: Vec<String>) -> Imported {
    let entries = statement.entries as u64;
    let mut all = statement.notes.clone();
    all.extend(notes.into_iter().filter(|note| !statement.notes.iter().any(|known| note.ends_with(known.as_str()))));
    Imported {
        file: name.to_owned(),
        format: format(Some(statement)),
        account: statement.account.clone(),
        currency: statement.currency.clone(),
        from: statement.from,
        until: statement.until,
        entries,
        new,
        known: entries.saturating_sub(new + changed),
        changed,
        adds_up: statement.adds_up,
        error: None,
        notes: all,
    }
}
