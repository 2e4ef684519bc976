//! Carries a plan out: one search that finds the rows that are there, then one request of each kind per ten rows.
//!
//! NocoDB takes each request whole or not at all, and a batch is several of them: a batch that is refused or lost in the
//! middle is sent again whole, and its search finds what has been written. The engine finds out which row of a refused
//! batch is to blame.

use serde_json::Value as Json;

use super::Nocodb;
use super::client::{Outgoing, Record};
use super::errors::{Reaction, Refusal};
use super::layout::Layout;
use super::look::{Work, names};
use super::plan::{PlannedRow, RecordOp};
use crate::destination::Verdict;
use crate::destination::readback::id_text;
use crate::remote::Error;

/// Rows in one request, by NocoDB's usual limit.
pub(super) const GROUP: usize = 10;

/// Number of times that a batch looks again because somebody wrote or deleted in that instant.
const ROUNDS: u32 = 4;

/// The kinds of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteKind {
    Insert,
    Update,
    Delete,
}

/// A row on its way, with its place among the steps.
type Row = (usize, Outgoing);

impl Nocodb {
    /// Carries `steps` out. `None`: the layout has changed, and they have to be planned anew.
    pub(super) async fn carry_out(&mut self, steps: &[PlannedRow]) -> Result<Option<Vec<Verdict>>, Error> {
        let steps = self.with_tick_field(steps).await?;
        let ids: Vec<String> = steps.iter().filter(|step| !step.op.is_idle()).flat_map(names).collect();
        let mut round = 0;
        loop {
            round += 1;
            let layout = self.make_ready().await?;
            let Some(found) = self.look(&layout, &ids).await? else { return Ok(None) };
            let work = self.decide(&layout, &steps, found);
            let verdicts = work.verdicts.clone();
            match self.send(&layout, &steps, work).await {
                Ok(()) => {
                    let verdict = |(at, step): (usize, &PlannedRow)| match &step.op {
                        RecordOp::Refuse(why) => Verdict::Rejected(why.clone()),
                        _ => verdicts.get(&at).cloned().unwrap_or(Verdict::Unchanged),
                    };
                    return Ok(Some(steps.iter().enumerate().map(verdict).collect()));
                }
                Err(refusal) => match refusal.reaction {
                    Reaction::Stale => return if self.refresh().await? { Ok(None) } else { Err(refusal.error) },
                    Reaction::Gone if round < ROUNDS => {}
                    Reaction::Taken(ref field) if round < ROUNDS && is_id_field(&layout, field) => {}
                    _ => return Err(refusal.error),
                },
            }
        }
    }

    /// The steps, once the tick field is there if one of them needs it. Rows that cannot be ticked are set aside.
    async fn with_tick_field(&mut self, steps: &[PlannedRow]) -> Result<Vec<PlannedRow>, Error> {
        let mut steps = steps.to_vec();
        if !steps.iter().any(|step| step.op.tick().is_some()) {
            return Ok(steps);
        }
        let Err(why) = self.tick_field().await? else { return Ok(steps) };
        for step in &mut steps {
            if let RecordOp::Amend { tick: Some(_), .. } = step.op {
                step.op = RecordOp::Refuse(format!("it cannot be ticked as vanished: {why}"));
            }
        }
        Ok(steps)
    }

    async fn send(&mut self, layout: &Layout, steps: &[PlannedRow], work: Work) -> Result<(), Refusal> {
        let updates = work.updates.into_iter().map(|(at, id, fields)| (at, Outgoing { id, fields })).collect();
        self.send_rows(layout, steps, WriteKind::Update, updates).await?;
        let deletions = work.deletions.into_iter().map(|(at, id)| (at, Outgoing { id, fields: Default::default() }));
        self.send_rows(layout, steps, WriteKind::Delete, deletions.collect()).await?;
        let inserts = work.inserts.into_iter().map(|(at, fields)| (at, Outgoing { id: Json::Null, fields })).collect();
        self.send_rows(layout, steps, WriteKind::Insert, inserts).await
    }

    async fn send_rows(
        &mut self,
        layout: &Layout,
        steps: &[PlannedRow],
        way: WriteKind,
        rows: Vec<Row>,
    ) -> Result<(), Refusal> {
        let mut left = &rows[..];
        while !left.is_empty() {
            let (group, rest) = left.split_at(left.len().min(self.group));
            let refusal = match self.send_group(layout, steps, way, group).await {
                Ok(()) => {
                    left = rest;
                    continue;
                }
                Err(refusal) => refusal,
            };
            match refusal.reaction {
                Reaction::TooMany(most) if most < group.len() => self.group = most,
                Reaction::TooLarge if group.len() > 1 => self.group = group.len() / 2,
                _ => return Err(refusal),
            }
        }
        Ok(())
    }

    async fn send_group(
        &mut self,
        layout: &Layout,
        steps: &[PlannedRow],
        way: WriteKind,
        group: &[Row],
    ) -> Result<(), Refusal> {
        let rows: Vec<Outgoing> = group.iter().map(|(_, row)| row.clone()).collect();
        match way {
            WriteKind::Update => drop(self.client.update(&layout.table, &rows).await?),
            WriteKind::Delete => {
                let records: Vec<Json> = rows.into_iter().map(|row| row.id).collect();
                self.client.delete(&layout.table, &records).await?;
            }
            WriteKind::Insert => {
                let ids: Vec<&str> = group.iter().map(|(at, _)| steps[*at].id.as_str()).collect();
                let written = match self.client.insert(&layout.table, &rows).await {
                    Ok(written) => written,
                    Err(refusal) => {
                        if refusal.error.is_transient() {
                            self.doubt.lose(ids.iter().map(|id| (*id).to_owned()));
                        }
                        return Err(refusal);
                    }
                };
                self.doubt.answered(&ids);
                self.check_written(layout, &ids, &written).await?;
            }
        }
        Ok(())
    }

    /// Checks that new rows bear their ids. NocoDB drops unknown fields in silence, and a row without an id would never be
    /// found again.
    async fn check_written(&mut self, layout: &Layout, ids: &[&str], written: &[Record]) -> Result<(), Refusal> {
        let title = layout.id_column().map(|bound| bound.title.as_str()).unwrap_or_default();
        let shows = |record: &Record, id: &str| record.fields.get(title).and_then(id_text).as_deref() == Some(id);
        if ids.iter().zip(written).all(|(id, record)| shows(record, id)) {
            return Ok(());
        }
        let bears = |record: &Record, id: &str| record.fields.values().any(|cell| cell.as_str() == Some(id));
        let mute = ids.iter().zip(written).filter(|(id, record)| !bears(record, id));
        let mute: Vec<Json> = mute.map(|(_, record)| record.id.clone()).collect();
        if !mute.is_empty() {
            self.client.delete(&layout.table, &mute).await?;
        }
        self.fresh = false;
        let what = format!("{}: the field with the ids has gone in this instant", self.service());
        Err(Refusal { reaction: Reaction::Stale, error: Error::unavailable(what) })
    }
}

fn is_id_field(layout: &Layout, title: &str) -> bool {
    layout.id_column().is_some_and(|bound| bound.title == title)
}
