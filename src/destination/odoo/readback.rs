//! Reading every line of ours back, a page at a time, without writing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveDate;

use crate::destination::readback::{Cell, FoundRow, Reader, Shown};
use crate::model::{Field, Transaction};
use crate::remote::Error;

use super::Odoo;
use super::line::{FoundLine, Part, double, label, pair, plain, unmarked};

/// The fields that a read-back shows.
const FIELDS: [Field; 8] = [
    Field::Date,
    Field::Amount,
    Field::Currency,
    Field::Counterparty,
    Field::CounterpartyAccount,
    Field::Description,
    Field::Type,
    Field::Reference,
];

/// The days of lines that may have been moved out of a locked period, by transaction.
type Days = Arc<Mutex<HashMap<String, NaiveDate>>>;

impl Odoo {
    /// Reads the ids of our lines.
    pub(super) async fn read_ids(&mut self, reader: &mut dyn Reader) -> Result<(), Error> {
        self.make_ready().await?;
        reader.begin(Shown::nothing());
        let mut after = 0;
        loop {
            let lines = self.patiently(after, |odoo, after| Box::pin(odoo.next_ids(after))).await?;
            let Some(last) = lines.iter().max().copied().filter(|last| *last > after) else { return Ok(()) };
            after = last;
            for (id, _) in self.names(lines).await? {
                reader.row(FoundRow::id_only(id));
            }
        }
    }

    /// Reads our lines whole.
    pub(super) async fn read_rows(&mut self, reader: &mut dyn Reader) -> Result<(), Error> {
        self.make_ready().await?;
        self.patiently((), |odoo, ()| Box::pin(odoo.refresh_locks())).await?;
        let days = Days::default();
        reader.begin(self.shown(&days));
        let mut after = 0;
        loop {
            let lines = self.patiently(after, |odoo, after| Box::pin(odoo.next_lines(after))).await?;
            let Some(last) = lines.iter().map(|line| line.id).max().filter(|last| *last > after) else { return Ok(()) };
            after = last;
            let names: HashMap<i64, String> = self
                .names(lines.iter().map(|line| line.id).collect())
                .await?
                .into_iter()
                .map(|(id, line)| (line, id))
                .collect();
            for line in &lines {
                if let Some(id) = names.get(&line.id) {
                    days.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), line.date);
                    reader.row(self.found(id, line));
                }
            }
        }
    }

    async fn names(&mut self, lines: Vec<i64>) -> Result<Vec<(String, i64)>, Error> {
        self.patiently(lines, |odoo, lines| Box::pin(async move { odoo.transactions_of(&lines).await })).await
    }

    /// Asks again after a hiccup: a read may be repeated.
    async fn patiently<A: Clone + Send, T>(
        &mut self,
        about: A,
        ask: impl for<'a> Fn(&'a mut Odoo, A) -> super::Asked<'a, T> + Send + Sync,
    ) -> Result<T, Error> {
        let (backoff, shutdown) = (self.backoff.clone(), self.shutdown.clone());
        let mut tried = 0;
        loop {
            tried += 1;
            match ask(self, about.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(refusal) => backoff.wait(&shutdown, tried, refusal.error).await?,
            }
        }
    }

    fn found(&self, id: &str, line: &FoundLine) -> FoundRow {
        let text = |text: &str| if text.is_empty() { Cell::Empty } else { Cell::Text(text.to_owned()) };
        let journal = pair(&line.journal_id).and_then(|(id, _)| self.memory.layout.journals.get(&id));
        let (amount, currency) = match line.foreign() {
            Some((_, currency)) => (line.amount_currency, currency.to_owned()),
            None => (line.amount, journal.map(|journal| journal.currency.clone()).unwrap_or_default()),
        };
        let shown = line.text(Part::Label);
        let cells = vec![
            Cell::Text(line.date.to_string()),
            Cell::Number(amount),
            text(&currency),
            text(line.text(Part::Partner)),
            text(line.text(Part::Account)),
            text(unmarked(shown)),
            text(line.text(Part::Kind)),
            text(line.text(Part::Reference)),
        ];
        let place = format!("{:020}", line.id);
        FoundRow { id: id.to_owned(), place, cells, is_marked: unmarked(shown) != shown }
    }

    fn shown(&self, days: &Days) -> Shown {
        let (days, layout, journals) = (Arc::clone(days), self.memory.layout.clone(), self.journals.clone());
        let moved = move |transaction: &Transaction| {
            let row = &transaction.row;
            let lock = layout.lock(*journals.get(&*transaction.account)?)?;
            let found = days.lock().unwrap_or_else(PoisonError::into_inner).get(&row.id).copied()?;
            (row.date <= lock && found > row.date).then_some(found)
        };
        let text = |text: &str| if text.is_empty() { Cell::Empty } else { Cell::Text(plain(text)) };
        let expect = move |at: usize, transaction: &Transaction| {
            let row = &transaction.row;
            match FIELDS[at] {
                // Odoo itself has moved the line out of a locked period.
                Field::Date => Cell::Text(moved(transaction).unwrap_or(row.date).to_string()),
                Field::Amount => double(row.amount).map_or(Cell::Empty, Cell::Number),
                Field::Currency => text(&row.currency),
                Field::Counterparty => text(&row.counterparty),
                Field::CounterpartyAccount => text(&row.counterparty_account),
                Field::Description => text(&label(transaction)),
                Field::Type => text(&row.kind),
                _ => text(&row.reference),
            }
        };
        Shown::new(FIELDS.to_vec(), Box::new(expect))
    }
}
