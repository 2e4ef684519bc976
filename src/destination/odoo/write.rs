//! Carries a plan out: a look at what is there, one `load` of the lines that are not, and a write for each line that has to
//! change.
//!
//! Only ids that are unknown are ever loaded: one reconciled line among them would make Odoo refuse all. `load` takes all
//! rows or none; a repetition after a lost answer finds the lines and makes none anew. Reconciled lines are never touched.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value as Json, json};

use crate::destination::Verdict;
use crate::remote::Error;

use super::Odoo;
use super::client::Call;
use super::errors::{Reaction, tail};
use super::line::{FoundLine, Line, Part, mark, unmarked, values};
use super::load::New;
use super::lookup::LINE;
use super::plan::{Found, LineOp, PlannedLine};

/// Verdicts by place among the steps.
pub(super) type PlacedVerdicts = Vec<(usize, Verdict)>;

impl Odoo {
    /// Carries `steps` out.
    pub(super) async fn carry_out(&mut self, steps: &[PlannedLine]) -> Result<Vec<Verdict>, Error> {
        let mut verdicts: Vec<Verdict> = steps.iter().map(without_request).collect();
        let acting: Vec<usize> =
            (0..steps.len()).filter(|at| !matches!(steps[*at].op, LineOp::Nothing | LineOp::Refuse(_))).collect();
        if acting.is_empty() {
            return Ok(verdicts);
        }
        let mut found = self.look(steps, &acting).await?;
        let mut new = Vec::new();
        for at in &acting {
            let step = &steps[*at];
            if let LineOp::Make { line, is_marked, .. } = &step.op
                && !found.contains_key(&step.id)
            {
                new.push(New { at: *at, id: &step.id, line, is_marked: *is_marked });
            }
        }
        let loaded = self.load(new, &mut found).await?;
        let changed = self.change_found(steps, &acting, &found).await?;
        for (at, verdict) in changed.into_iter().chain(loaded) {
            verdicts[at] = verdict;
        }
        Ok(verdicts)
    }

    /// The lines of the steps. A line that has to be there is looked for under any date: the owner may have moved it.
    async fn look(&mut self, steps: &[PlannedLine], acting: &[usize]) -> Result<HashMap<String, i64>, Error> {
        let acting: Vec<&PlannedLine> = acting.iter().map(|at| &steps[*at]).collect();
        let journals: BTreeSet<i64> = acting.iter().filter_map(|step| step.journal).collect();
        let since = acting.iter().map(|step| step.since).min().unwrap_or_default();
        let mut found = self.find(Some((&journals, since))).await?;
        let needs = |step: &PlannedLine| match step.op {
            LineOp::Change { .. } | LineOp::Remove => true,
            LineOp::Make { found, .. } => found == Found::Leave,
            LineOp::Nothing | LineOp::Refuse(_) => false,
        };
        if acting.iter().any(|step| needs(step) && !found.contains_key(&step.id)) {
            // One look at all lines serves the whole cycle.
            let all = match self.all.take() {
                Some(all) => all,
                None => self.find(None).await?,
            };
            found.extend(acting.iter().filter_map(|step| Some((step.id.clone(), *all.get(&step.id)?))));
            self.all = Some(all);
        }
        Ok(found)
    }

    /// Changes or deletes the lines that were found.
    async fn change_found(
        &mut self,
        steps: &[PlannedLine],
        acting: &[usize],
        found: &HashMap<String, i64>,
    ) -> Result<PlacedVerdicts, Error> {
        let (mut verdicts, mut there) = (Vec::new(), Vec::new());
        for at in acting {
            match (found.get(&steps[*at].id), &steps[*at].op) {
                (Some(_), LineOp::Make { found: Found::Leave, .. }) => {
                    verdicts.push((*at, self.present(&steps[*at].id)));
                }
                (Some(id), _) => there.push((*at, *id)),
                (None, LineOp::Change { .. }) => verdicts.push((*at, Verdict::Deleted)),
                // Gone as it should be: our own deletion, its answer lost, looks the same.
                (None, LineOp::Remove) => verdicts.push((*at, Verdict::Unchanged)),
                (None, _) => {}
            }
        }
        let ids: Vec<i64> = there.iter().map(|(_, id)| *id).collect();
        let lines = self.read_lines(&ids).await?;
        if there.iter().any(|(at, id)| lines.get(id).is_some_and(|line| is_later(line, &steps[*at]))) {
            self.refresh_locks().await?;
        }
        let mut deletions = Vec::new();
        for (at, id) in there {
            let step = &steps[at];
            let Some(line) = lines.get(&id) else {
                let verdict = if matches!(step.op, LineOp::Remove) { Verdict::Unchanged } else { Verdict::Deleted };
                verdicts.push((at, verdict));
                continue;
            };
            match &step.op {
                LineOp::Remove if line.is_reconciled => verdicts.push((at, Verdict::Rejected(told("deletion")))),
                LineOp::Remove => deletions.push((at, id)),
                LineOp::Make { line: wanted, is_marked, .. } => {
                    let parts = super::line::PARTS;
                    let verdict = self.change(line, wanted, &parts, Some(*is_marked)).await?;
                    let is_whole = matches!(verdict, Verdict::Unchanged | Verdict::Updated);
                    verdicts
                        .push((at, if is_whole && self.sent.contains(&step.id) { Verdict::Appended } else { verdict }));
                }
                LineOp::Change { line: wanted, parts, mark } => {
                    verdicts.push((at, self.change(line, wanted, parts, *mark).await?));
                }
                LineOp::Nothing | LineOp::Refuse(_) => {}
            }
        }
        verdicts.extend(self.delete(deletions).await?);
        Ok(verdicts)
    }

    /// The verdict on a line that was to be made and is there: made by a try whose answer was lost, or before.
    fn present(&self, id: &str) -> Verdict {
        if self.sent.contains(id) { Verdict::Appended } else { Verdict::Unchanged }
    }

    /// Brings parts of a line to what they should be.
    async fn change(
        &mut self,
        found: &FoundLine,
        wanted: &Line,
        parts: &[Part],
        marked: Option<bool>,
    ) -> Result<Verdict, Error> {
        let mut wrong: Vec<Part> = parts.iter().copied().filter(|part| !found.shows(*part, wanted)).collect();
        if wrong.contains(&Part::Date) && self.is_moved(found, wanted) {
            wrong.retain(|part| *part != Part::Date);
            self.note_moved(wanted.date, found.date);
        }
        let mut fields = values(wanted, &wrong);
        if wanted.foreign.is_none() && found.foreign().is_none() {
            fields.retain(|name, _| !["foreign_currency_id", "amount_currency"].contains(name));
        }
        let shown = found.text(Part::Label);
        let text = if wrong.contains(&Part::Label) { &wanted.label } else { unmarked(shown) };
        let is_marked = marked.unwrap_or(unmarked(shown) != shown);
        let label = format!("{}{text}", if is_marked { mark(self.rows.language) } else { "" });
        if label == shown || marked.is_none() && !wrong.contains(&Part::Label) {
            fields.remove("payment_ref");
        } else {
            fields.insert("payment_ref", json!(label));
        }
        if fields.is_empty() {
            return Ok(Verdict::Unchanged);
        }
        let mut names: Vec<String> = wrong.iter().map(Part::to_string).collect();
        if names.is_empty() {
            names.push("mark".to_owned());
        }
        let what = format!("correction ({})", names.join(", "));
        if found.is_reconciled {
            return Ok(Verdict::Rejected(told(&what)));
        }
        self.write_line(found.id, &fields, &what).await
    }

    async fn write_line(
        &mut self,
        id: i64,
        fields: &BTreeMap<&'static str, Json>,
        what: &str,
    ) -> Result<Verdict, Error> {
        let first = [("vals", json!(fields))];
        let call = Call { model: LINE, method: "write", ids: Some(&[id]), first: &first, rest: &[] };
        match self.client.call::<Json>(&call).await {
            Ok(_) => Ok(Verdict::Updated),
            Err(refusal) if refusal.reaction == Reaction::Gone => Ok(Verdict::Deleted),
            Err(refusal) if refusal.reaction == Reaction::Books => Ok(Verdict::Rejected(refused(what, &refusal.said))),
            Err(refusal) => Err(refusal.error),
        }
    }

    /// Deletes lines at once, or one by one where the books refuse one of them.
    async fn delete(&mut self, lines: Vec<(usize, i64)>) -> Result<PlacedVerdicts, Error> {
        let mut verdicts = Vec::new();
        let mut waiting = if lines.is_empty() { Vec::new() } else { vec![lines] };
        while let Some(group) = waiting.pop() {
            let ids: Vec<i64> = group.iter().map(|(_, id)| *id).collect();
            let call = Call { model: LINE, method: "unlink", ids: Some(&ids), first: &[], rest: &[] };
            match self.client.call::<Json>(&call).await {
                Ok(_) => verdicts.extend(group.iter().map(|(at, _)| (*at, Verdict::Updated))),
                Err(refusal) if !matches!(refusal.reaction, Reaction::Gone | Reaction::Books) => {
                    return Err(refusal.error);
                }
                Err(_) if group.len() > 1 => waiting.extend(group.into_iter().map(|one| vec![one])),
                Err(refusal) if refusal.reaction == Reaction::Gone => verdicts.push((group[0].0, Verdict::Unchanged)),
                Err(refusal) => verdicts.push((group[0].0, Verdict::Rejected(refused("deletion", &refusal.said)))),
            }
        }
        Ok(verdicts)
    }

    /// True where Odoo itself has dated a line later, because the books are locked for the bank's day.
    pub(super) fn is_moved(&self, found: &FoundLine, wanted: &Line) -> bool {
        let lock = self.memory.layout.lock(wanted.journal);
        found.date > wanted.date && lock.is_some_and(|lock| wanted.date <= lock)
    }
}

/// True where a line stands under a later day than the bank's.
fn is_later(found: &FoundLine, step: &PlannedLine) -> bool {
    match &step.op {
        LineOp::Make { line, .. } | LineOp::Change { line, .. } => found.date > line.date,
        LineOp::Nothing | LineOp::Refuse(_) | LineOp::Remove => false,
    }
}

/// The verdict of a step that needs no request, or a place-holder for one that does.
fn without_request(step: &PlannedLine) -> Verdict {
    match &step.op {
        LineOp::Refuse(why) => Verdict::Rejected(why.clone()),
        _ => Verdict::Unchanged,
    }
}

/// Why a reconciled line stays as it is.
fn told(what: &str) -> String {
    format!(
        "the line is reconciled in Odoo and is never touched, so the bank's {what} is not carried out: undo the \
         reconciliation there to let it in, or correct the books by hand"
    )
}

/// Why the books refuse a change.
fn refused(what: &str, said: &str) -> String {
    format!("the books refuse the bank's {what}: open the period, or correct the books by hand{}", tail(said))
}
