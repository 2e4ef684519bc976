//! The owner's word on rows that are kept apart: the same as a known row, or a row of its own.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::model::Transaction;
use crate::reconcile::{Known, fingerprint};
use crate::store::{self, DoubtfulRow, Writer};

/// The owner's word on a row that is kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The row is the same as a known one; `None`: the only candidate.
    Same(Option<String>),
    /// The row is one of its own.
    Different,
}

/// The result of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    /// No row is kept apart under this id.
    Unknown,
    /// The answer names none of the candidates, which are these.
    Undecided(Vec<String>),
    /// The row is the one with this id. Rows that have lost their last candidate by that are new.
    Same {
        /// The id that stays.
        id: String,
        /// Ids of rows that are new now.
        new: Vec<String>,
    },
    /// The row is new.
    New,
}

impl Engine {
    /// Carries out the owner's answer about the row with this id. The next cycle delivers a new row.
    pub fn match_row(&self, id: &str, answer: &Answer) -> Result<Matched, store::Error> {
        let doubtful = self.store.doubtful()?;
        let Some(asked) = doubtful.iter().find(|doubtful| doubtful.row.id == id) else { return Ok(Matched::Unknown) };
        let mut writer = self.store.writer();
        let matched = match answer {
            Answer::Different => {
                self.add_doubtful(asked, &mut writer)?;
                Matched::New
            }
            Answer::Same(known) => {
                let only = || asked.candidates.first().filter(|_| asked.candidates.len() == 1);
                let chosen = known
                    .as_ref()
                    .filter(|known| asked.candidates.contains(known))
                    .or_else(|| if known.is_none() { only() } else { None });
                let number = chosen.map(|chosen| self.store.find(chosen)).transpose()?.flatten();
                let (Some(chosen), Some(number)) = (chosen, number) else {
                    return Ok(Matched::Undecided(asked.candidates.clone()));
                };
                let fingerprint = fingerprint(&asked.row.raw);
                let alias = Known { number, fingerprint, date: asked.row.date, vanished: false };
                writer.add_alias(asked.feed, id, alias)?;
                writer.remove_doubtful(asked)?;
                let others = doubtful.iter().filter(|other| other.feed == asked.feed && other.row.id != asked.row.id);
                Matched::Same { id: chosen.clone(), new: self.without(chosen, others, &mut writer)? }
            }
        };
        writer.commit()?;
        self.store.sync()?;
        Ok(matched)
    }

    /// Takes a candidate away from rows that are kept apart; gives the ids of those that are new by that.
    fn without<'a>(
        &self,
        taken: &str,
        doubtful: impl Iterator<Item = &'a DoubtfulRow>,
        writer: &mut Writer<'_>,
    ) -> Result<Vec<String>, store::Error> {
        let mut new = Vec::new();
        for other in doubtful.filter(|other| other.candidates.iter().any(|candidate| candidate == taken)) {
            let candidates: Vec<String> = other.candidates.iter().filter(|one| *one != taken).cloned().collect();
            if candidates.is_empty() {
                self.add_doubtful(other, writer)?;
                new.push(other.row.id.clone());
            } else {
                writer.put_doubtful(&DoubtfulRow { candidates, ..other.clone() })?;
            }
        }
        Ok(new)
    }

    fn add_doubtful(&self, doubtful: &DoubtfulRow, writer: &mut Writer<'_>) -> Result<(), store::Error> {
        let feed = self.store.feeds().into_iter().find(|feed| feed.number == doubtful.feed);
        let feed = feed.ok_or_else(|| store::Error::Damaged(format!("account number {} is gone", doubtful.feed)))?;
        let transaction = Transaction {
            source: feed.source.as_str().into(),
            account: feed.account.account.as_str().into(),
            account_name: feed.account.name.as_str().into(),
            customer: feed.account.customer.as_str().into(),
            row: doubtful.row.clone(),
            enrichment: Default::default(),
            transfer: Default::default(),
            vanished: false,
        };
        let enrichment = self.rules()?.ready().enrich(&transaction);
        writer.add_enriched(doubtful.feed, transaction.row, enrichment)?;
        writer.remove_doubtful(doubtful)
    }
}
