//! The journals and currencies as the server describes them: asked once, remembered, and asked again where a journal cannot
//! take lines.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::remote::{Cause, Error};

use super::Odoo;
use super::client::Call;
use super::errors::{Reaction, Refusal};
use super::line::{bad_journal, pair};

/// The types of journals that hold bank lines.
const TYPES: [&str; 3] = ["bank", "cash", "credit"];

/// The known part of the books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Layout {
    /// Journals by id: those of the configuration, and those of earlier ones.
    pub journals: BTreeMap<i64, Journal>,
    /// Active currencies by their codes.
    pub currencies: BTreeMap<String, Currency>,
    /// The last locked day by company.
    pub locks: BTreeMap<i64, NaiveDate>,
}

/// A journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Journal {
    /// Name.
    pub name: String,
    /// The code of the currency that it is kept in.
    pub currency: String,
    /// Decimal places of that currency.
    pub decimals: u32,
    /// Id of its company.
    pub company: i64,
    /// Why it takes no lines, with the remedy.
    pub problem: Option<String>,
}

/// A currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Currency {
    pub id: i64,
    pub decimals: u32,
}

#[derive(Deserialize)]
struct JournalRecord {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    currency_id: Json,
    #[serde(default)]
    company_id: Json,
    #[serde(default)]
    active: Option<bool>,
}

#[derive(Deserialize)]
struct CompanyRecord {
    id: i64,
    #[serde(default)]
    currency_id: Json,
    #[serde(default)]
    fiscalyear_lock_date: Json,
    #[serde(default)]
    hard_lock_date: Json,
}

#[derive(Deserialize)]
struct CurrencyRecord {
    id: i64,
    name: String,
    #[serde(default = "usual_decimals")]
    decimal_places: u32,
}

fn usual_decimals() -> u32 {
    2
}

impl Layout {
    /// True where every one of these journals is known, and takes lines as far as is known.
    fn is_complete(&self, journals: &BTreeSet<i64>) -> bool {
        journals.iter().all(|id| self.journals.get(id).is_some_and(|journal| journal.problem.is_none()))
    }

    /// The last locked day of a journal's company.
    pub fn lock(&self, journal: i64) -> Option<NaiveDate> {
        self.locks.get(&self.journals.get(&journal)?.company).copied()
    }
}

impl Odoo {
    /// The journals of the configuration.
    fn configured(&self) -> BTreeSet<i64> {
        self.journals.values().copied().collect()
    }

    /// Reads the layout, unless it is complete.
    pub(super) async fn make_ready(&mut self) -> Result<(), Error> {
        let wanted = self.configured();
        if self.memory.layout.is_complete(&wanted) || self.fresh {
            return self.some_journal_works(&wanted);
        }
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        backoff.retry(&shutdown, self, |odoo| Box::pin(async { Ok(odoo.read_layout().await?) })).await?;
        self.some_journal_works(&wanted)
    }

    /// A place none of whose journals takes lines is the owner's affair; one journal among others holds up its own rows.
    fn some_journal_works(&self, wanted: &BTreeSet<i64>) -> Result<(), Error> {
        let known = |id: &i64| self.memory.layout.journals.get(id);
        if wanted.iter().any(|id| known(id).is_none_or(|journal| journal.problem.is_none())) {
            return Ok(());
        }
        Err(self.journals_refused(wanted))
    }

    pub(super) fn journals_refused(&self, wanted: &BTreeSet<i64>) -> Error {
        let problem = |id: &i64| self.memory.layout.journals.get(id)?.problem.as_ref().map(|why| bad_journal(*id, why));
        let problems: Vec<String> = wanted.iter().filter_map(problem).collect();
        Error::attention(Cause::NotFound, format!("{}: {}", self.service(), problems.join("; ")))
    }

    /// Reads journals, companies and currencies.
    pub(super) async fn read_layout(&mut self) -> Result<(), Refusal> {
        let wanted = self.configured();
        let journals = self.read_journals(&wanted).await?;
        let companies: BTreeSet<i64> = journals.iter().filter_map(|it| Some(pair(&it.company_id)?.0)).collect();
        let (currencies, own) = (self.read_currencies().await?, self.read_companies(&companies).await?);
        let layout = &mut self.memory.layout;
        layout.currencies = currencies;
        for id in &wanted {
            let journal = match journals.iter().find(|journal| journal.id == *id) {
                Some(found) => found.read(&own, &layout.currencies),
                None => Journal {
                    problem: Some(
                        "is not there, or belongs to a company that the user may not see: check `journals`, and the \
                         companies of the user"
                            .to_owned(),
                    ),
                    ..Journal::default()
                },
            };
            layout.journals.insert(*id, journal);
        }
        self.fresh = true;
        Ok(())
    }

    async fn read_journals(&mut self, wanted: &BTreeSet<i64>) -> Result<Vec<JournalRecord>, Refusal> {
        let fields = json!(["name", "type", "currency_id", "company_id", "active"]);
        let call = Call {
            model: "account.journal",
            method: "search_read",
            ids: None,
            first: &[("domain", json!([["id", "in", wanted]]))],
            // Archived journals are to be told from missing ones.
            rest: &[("fields", fields), ("context", json!({"active_test": false}))],
        };
        self.client.call(&call).await
    }

    async fn read_currencies(&mut self) -> Result<BTreeMap<String, Currency>, Refusal> {
        let call = Call {
            model: "res.currency",
            method: "search_read",
            ids: None,
            first: &[("domain", json!([]))],
            rest: &[("fields", json!(["name", "decimal_places"]))],
        };
        let records: Vec<CurrencyRecord> = or_nothing(self.client.call(&call).await)?;
        let entry = |it: CurrencyRecord| (it.name, Currency { id: it.id, decimals: it.decimal_places });
        Ok(records.into_iter().map(entry).collect())
    }

    /// Reads the currencies of companies, and notes their last locked days.
    async fn read_companies(&mut self, wanted: &BTreeSet<i64>) -> Result<BTreeMap<i64, String>, Refusal> {
        // Not every version has both kinds of locks.
        let fields = ["currency_id", "fiscalyear_lock_date", "hard_lock_date"];
        let records = match self.companies(wanted, &fields).await {
            Err(refusal) if refusal.reaction == Reaction::Unknown => self.companies(wanted, &fields[..1]).await,
            records => records,
        };
        let records = or_nothing(records)?;
        self.memory.layout.locks.clear();
        let mut currencies = BTreeMap::new();
        for record in records {
            let date = |value: &Json| value.as_str().and_then(|text| text.parse::<NaiveDate>().ok());
            if let Some(lock) = date(&record.fiscalyear_lock_date).max(date(&record.hard_lock_date)) {
                self.memory.layout.locks.insert(record.id, lock);
            }
            currencies.extend(pair(&record.currency_id).map(|(_, name)| (record.id, name.to_owned())));
        }
        Ok(currencies)
    }

    async fn companies(&mut self, wanted: &BTreeSet<i64>, fields: &[&str]) -> Result<Vec<CompanyRecord>, Refusal> {
        let call = Call {
            model: "res.company",
            method: "search_read",
            ids: None,
            first: &[("domain", json!([["id", "in", wanted]]))],
            rest: &[("fields", json!(fields))],
        };
        self.client.call(&call).await
    }

    /// Asks anew for the locked days.
    pub(super) async fn refresh_locks(&mut self) -> Result<(), Refusal> {
        let companies = self.memory.layout.journals.values().map(|journal| journal.company).collect();
        self.read_companies(&companies).await.map(drop)
    }
}

/// No records where the server keeps them to itself: locks are then told by their effect.
fn or_nothing<T>(records: Result<Vec<T>, Refusal>) -> Result<Vec<T>, Refusal> {
    match records {
        Err(refusal) if refusal.is_no_answer() => Ok(Vec::new()),
        records => records,
    }
}

impl JournalRecord {
    fn read(&self, companies: &BTreeMap<i64, String>, currencies: &BTreeMap<String, Currency>) -> Journal {
        let company = pair(&self.company_id).map_or(0, |(id, _)| id);
        let own = pair(&self.currency_id).map(|(_, name)| name.to_owned());
        let currency = own.or_else(|| companies.get(&company).cloned()).unwrap_or_default();
        let name = &self.name;
        let problem = if !TYPES.contains(&self.kind.as_str()) {
            Some(format!(
                "(`{name}`) is no bank journal but one of type {}: name a bank journal in `journals`",
                self.kind
            ))
        } else if self.active == Some(false) {
            Some(format!("(`{name}`) is archived: unarchive it, or name another one in `journals`"))
        } else if currency.is_empty() {
            Some(format!("(`{name}`) tells no currency: give the journal one"))
        } else {
            None
        };
        let decimals = currencies.get(&currency).map_or(2, |known| known.decimals);
        Journal { name: name.clone(), currency, decimals, company, problem }
    }
}
