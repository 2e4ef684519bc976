//! Judgements about rows carried out: rows are added and changed, further ids noted, doubtful rows kept apart.

use super::ingest::{AccountIngest, Alias, Ingest, Judgement};
use crate::model::{ChangeKind, Row};
use crate::reconcile::{Known, as_first_seen, fingerprint};
use crate::store::{self, DoubtfulRow, Writer};

impl Ingest<'_> {
    /// Stores what a judgement says about a row.
    pub(super) fn take(
        &mut self,
        account: &mut AccountIngest,
        row: Row,
        judgement: Judgement,
        writer: &mut Writer<'_>,
    ) -> Result<(), store::Error> {
        let is_stored = !matches!(judgement, Judgement::Nothing | Judgement::Same(_) | Judgement::Back(..));
        if is_stored && row.has_broken_text() {
            let (iban, id) = (&account.account.account, &row.id);
            self.notes.push(format!("{iban}: {id} has a character that cannot be read; it is shown as \u{fffd}"));
        }
        self.settle_doubt(account, &row, &judgement, writer)?;
        let now = self.now.timestamp();
        match judgement {
            Judgement::Nothing | Judgement::Held(_) => {}
            Judgement::New => {
                self.counts.new += 1;
                account.added += 1;
                let transaction = account.transaction(self.source, row);
                let ready = match self.enricher.take() {
                    Some(ready) => ready,
                    None => self.engine.rules()?.ready(),
                };
                let enrichment = self.enricher.insert(ready).enrich(&transaction);
                writer.add_enriched(account.number, transaction.row, enrichment)?;
            }
            Judgement::Again(known, former, what, alias) => {
                self.counts.changed += 1;
                account.touched.push(known.number);
                add_alias(account.number, alias, &row, writer)?;
                let row = Row { id: former.row.id.clone(), ..as_first_seen(&former.row, row) };
                writer.change(known, &former, row, what, now)?;
            }
            Judgement::Same(alias) => add_alias(account.number, Some(alias), &row, writer)?,
            Judgement::Back(known, former, alias) => {
                self.counts.changed += 1;
                add_alias(account.number, Some(alias), &row, writer)?;
                writer.change(known, &former, former.row.clone(), ChangeKind::Reappeared, now)?;
            }
            Judgement::Doubtful(_) => {}
        }
        Ok(())
    }

    /// Keeps a doubtful row apart, and forgets one about which nothing is in doubt any more.
    fn settle_doubt(
        &mut self,
        account: &mut AccountIngest,
        row: &Row,
        judgement: &Judgement,
        writer: &mut Writer<'_>,
    ) -> Result<(), store::Error> {
        let Some(identity) = &mut account.identity else { return Ok(()) };
        let known = identity.doubtful(&row.id);
        match (known, judgement) {
            (None, Judgement::Doubtful(candidates)) => {
                let (feed, candidates, since) = (account.number, candidates.clone(), self.now);
                writer.put_doubtful(&DoubtfulRow { feed, row: row.clone(), candidates, since })?;
            }
            (Some(known), Judgement::Doubtful(candidates)) if known.row != *row || known.candidates != *candidates => {
                let (row, candidates) = (row.clone(), candidates.clone());
                writer.put_doubtful(&DoubtfulRow { row, candidates, ..known.clone() })?;
            }
            (Some(known), Judgement::New | Judgement::Again(..) | Judgement::Same(_) | Judgement::Back(..)) => {
                writer.remove_doubtful(known)?;
            }
            _ => {}
        }
        identity.doubtful_count += u64::from(matches!(judgement, Judgement::Doubtful(_)));
        Ok(())
    }
}

/// Notes the id of a row as a further id of a known one.
fn add_alias(account: u16, alias: Option<Alias>, row: &Row, writer: &mut Writer<'_>) -> Result<(), store::Error> {
    let Some(Alias { number, known_at }) = alias else { return Ok(()) };
    if let Some(day) = known_at.filter(|day| *day != row.date) {
        writer.remove_alias(account, &row.id, day)?;
    }
    let known = Known { number, fingerprint: fingerprint(&row.raw), date: row.date, vanished: false };
    writer.add_alias(account, &row.id, known)
}
