//! Rules and the rows that are stored already: what is still empty is filled after a change of the rules, and rewritten
//! only where the owner asks for it. Each such row becomes a change, which the destinations get like any other.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DestinationReport, Engine, Outcome, Report, Request, Step, Watcher};
use crate::model::Enrichment;
use crate::rules::{self, Enricher, Explained, SET_BY_RULES, value_of};
use crate::store;

/// Rows looked at in one go: a batch of writes, and how long nothing else gets its turn.
const ROWS_PER_LOOK: usize = 1000;

/// What applying rules to stored rows came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Rows looked at.
    pub rows: u64,
    /// Rows that got something where nothing was.
    pub filled: u64,
    /// Rows for which the rules give something else than what they have.
    pub different: u64,
}

impl Engine {
    /// Fills stored rows if the rules have changed since the last time. Free where they have not.
    pub(super) async fn follow_rules(&self, now: DateTime<Utc>, watcher: &Watcher) -> Result<(), store::Error> {
        if self.store.meta().rules == self.rules_fingerprint()? {
            return Ok(());
        }
        let applied = self.apply(false, now, watcher).await?;
        tracing::info!("the rules have changed: {} of {} rows filled", applied.filled, applied.rows);
        Ok(())
    }

    /// Applies the rules to every stored row and brings the destinations up to date.
    pub async fn apply_rules(&self, overwrite: bool, watcher: &Watcher) -> Result<(Applied, Report), store::Error> {
        if !overwrite {
            // What was agreed to be overwritten was shown with the rules as last read.
            self.read_sheet_rules(watcher).await?;
        }
        let applied = self.apply(overwrite, Utc::now(), watcher).await?;
        // A cycle without its first half.
        let request = Request { sources: Some(Vec::new()), by_hand: true, ..Request::default() };
        let mut report = self.cycle(&request, watcher).await?;
        for config in &self.config.destinations {
            let of = |one: &&mut DestinationReport| one.name == config.name && one.outcome == Outcome::Ok;
            let Some(one) = report.destinations.iter_mut().find(of) else { continue };
            if let Some(filled) = self.fill_new_columns(config, watcher).await? {
                (one.outcome, one.error) = (filled.outcome, filled.error);
                one.updated += filled.updated;
                one.rejected += filled.rejected;
                one.requests += filled.requests;
            }
        }
        Ok((applied, report))
    }

    /// What applying the rules would come to; writes nothing.
    pub fn preview_rules(&self) -> Result<Applied, store::Error> {
        let mut applied = Applied::default();
        self.explain_all(&mut self.rules()?.ready(), |_, transaction, explained| {
            applied.count(&transaction.enrichment, &explained.enrichment);
        })?;
        Ok(applied)
    }

    /// Calls `each` with every stored transaction and what these rules make of it.
    pub fn explain_all(
        &self,
        enricher: &mut Enricher,
        mut each: impl FnMut(u64, &crate::model::Transaction, &Explained),
    ) -> Result<(), store::Error> {
        let mut last = 0;
        loop {
            let found = self.store.transactions_after(last, ROWS_PER_LOOK)?;
            let Some((number, _)) = found.last() else { break };
            last = *number;
            for (number, transaction) in &found {
                each(*number, transaction, &enricher.explain(transaction));
            }
        }
        self.store.rest();
        Ok(())
    }

    async fn apply(&self, overwrite: bool, now: DateTime<Utc>, watcher: &Watcher) -> Result<Applied, store::Error> {
        let (rules, fingerprint) = (self.rules()?, self.rules_fingerprint()?);
        let mut enricher = rules.ready();
        let mut applied = Applied::default();
        let (mut last, total) = (0, self.store.meta().rows);
        loop {
            watcher(Step { label: "applying rules".into(), done: applied.rows, total });
            // Without rules there is nothing to say to any row.
            let most = if rules.list().is_empty() { 0 } else { ROWS_PER_LOOK };
            let found = self.store.transactions_after(last, most)?;
            let Some((number, _)) = found.last() else { break };
            last = *number;
            let mut writer = self.store.writer();
            for (number, transaction) in found {
                let (mut enrichment, given) = (transaction.enrichment.clone(), enricher.enrich(&transaction));
                applied.count(&enrichment, &given);
                let change = if overwrite { rules::overwrite } else { rules::fill };
                if change(&mut enrichment, &given) {
                    writer.enrich(number, enrichment, now.timestamp())?;
                }
            }
            if writer.rows() > 0 {
                writer.commit()?;
            }
            tokio::task::yield_now().await;
        }
        // Last, so that after a crash everything is looked at again.
        let mut writer = self.store.writer();
        writer.note_rules(fingerprint);
        writer.commit()?;
        self.store.sync()?;
        Ok(applied)
    }

    /// Fills what is still empty in rows that the bank has changed.
    pub(super) fn fill_touched(
        &self,
        touched: impl Iterator<Item = u64>,
        now: DateTime<Utc>,
    ) -> Result<(), store::Error> {
        let mut touched = touched.peekable();
        if touched.peek().is_none() {
            return Ok(());
        }
        let rules = self.rules()?;
        if rules.list().is_empty() {
            return Ok(());
        }
        let mut enricher = rules.ready();
        let mut writer = self.store.writer();
        for number in touched {
            let transaction = self.store.transaction(number)?;
            let mut enrichment = transaction.enrichment.clone();
            if rules::fill(&mut enrichment, &enricher.enrich(&transaction)) {
                writer.enrich(number, enrichment, now.timestamp())?;
            }
        }
        writer.commit()
    }
}

impl Applied {
    fn count(&mut self, known: &Enrichment, given: &Enrichment) {
        let any = |holds: fn(&str, &str) -> bool| {
            SET_BY_RULES.iter().any(|field| holds(value_of(known, field), value_of(given, field)))
        };
        self.rows += 1;
        self.filled += u64::from(any(|known, given| known.is_empty() && !given.is_empty()));
        self.different += u64::from(any(|known, given| !known.is_empty() && !given.is_empty() && known != given));
    }
}
