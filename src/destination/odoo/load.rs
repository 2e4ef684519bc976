//! Loading new lines: all rows of a call or none. A refused call names rows by their places; those are set aside and the
//! others go again.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::destination::Verdict;
use crate::remote::Error;

use super::Odoo;
use super::client::Call;
use super::errors::{Reaction, is_conflict, tail};
use super::line::{Line, bad_journal, columns};
use super::lookup::LINE;
use super::write::PlacedVerdicts;

/// A line to be made, with its place among the steps.
#[derive(Clone, Copy)]
pub(super) struct New<'a> {
    pub at: usize,
    pub id: &'a str,
    pub line: &'a Line,
    pub is_marked: bool,
}

/// The answer to `load`. Without ids nothing was taken.
#[derive(Deserialize)]
struct Loaded {
    ids: Json,
    #[serde(default)]
    messages: Vec<Message>,
}

/// A message about a row, by its place in the call.
#[derive(Deserialize)]
struct Message {
    #[serde(default, rename = "type")]
    kind: String,
    record: Option<usize>,
    field: Option<String>,
    #[serde(default)]
    message: String,
}

/// A part of the answer to a read-back after a load.
#[derive(Deserialize)]
struct Dated {
    id: i64,
    date: NaiveDate,
}

impl Odoo {
    /// Makes lines. Lines that turn out to be there already are added to `found`, to be treated as such.
    pub(super) async fn load(
        &mut self,
        lines: Vec<New<'_>>,
        found: &mut HashMap<String, i64>,
    ) -> Result<PlacedVerdicts, Error> {
        let (mut verdicts, mut made) = (Vec::new(), Vec::new());
        let mut waiting = if lines.is_empty() { Vec::new() } else { vec![lines] };
        while let Some(mut group) = waiting.pop() {
            self.sent.extend(group.iter().map(|new| new.id.to_owned()));
            let loaded = match self.load_once(&group).await {
                Ok(loaded) => loaded,
                Err(refusal) if refusal.reaction == Reaction::TooLarge && group.len() > 1 => {
                    let second = group.split_off(group.len() / 2);
                    waiting.extend([second, group]);
                    continue;
                }
                // Lines that were made before must not be told as refused.
                Err(refusal) if refusal.error.is_refusal() && !made.is_empty() => {
                    verdicts.extend(group.iter().map(|new| (new.at, Verdict::Rejected(refusal.said.clone()))));
                    continue;
                }
                Err(refusal) => return Err(refusal.error),
            };
            if let Some(ids) = ids(&loaded, group.len()) {
                verdicts.extend(group.iter().map(|new| (new.at, Verdict::Appended)));
                let named = group.iter().map(|new| new.id.to_owned()).zip(ids.iter().copied());
                self.all.iter_mut().for_each(|all| all.extend(named.clone()));
                made.extend(ids.into_iter().zip(group.iter().map(|new| new.line.date)));
                continue;
            }
            let rest = self.sort_out(group, &loaded.messages, &mut verdicts, found, made.is_empty()).await?;
            waiting.extend((!rest.is_empty()).then_some(rest));
        }
        self.read_dates_back(&made).await?;
        Ok(verdicts)
    }

    async fn load_once(&mut self, group: &[New<'_>]) -> Result<Loaded, super::errors::Refusal> {
        let with_foreign = group.iter().any(|new| new.line.foreign.is_some());
        let language = self.rows.language;
        let data: Vec<Vec<Json>> =
            group.iter().map(|new| new.line.cells(new.id, new.is_marked, language, with_foreign)).collect();
        let first = [("fields", json!(columns(with_foreign))), ("data", json!(data))];
        let call = Call { model: LINE, method: "load", ids: None, first: &first, rest: &[] };
        let loaded: Loaded = self.client.call(&call).await?;
        let is_whole = loaded.ids.as_array().is_none_or(|ids| ids.len() == group.len());
        if !is_whole || loaded.ids.is_array() && ids(&loaded, group.len()).is_none() {
            let (service, sent) = (self.service(), group.len());
            return Err(Error::malformed(format!("{service}: {sent} lines were sent and others answered for")).into());
        }
        Ok(loaded)
    }

    /// Sets the rows aside that a refused call names, and returns the others. The call itself took none.
    async fn sort_out<'a>(
        &mut self,
        group: Vec<New<'a>>,
        messages: &[Message],
        verdicts: &mut PlacedVerdicts,
        found: &mut HashMap<String, i64>,
        is_first: bool,
    ) -> Result<Vec<New<'a>>, Error> {
        let errors: Vec<&Message> = messages.iter().filter(|message| message.kind != "warning").collect();
        if errors.iter().any(|error| is_conflict(&error.message)) {
            return Err(self.client.wording.conflict());
        }
        let is_right = |error: &&&Message| {
            error.message.starts_with("You are not allowed to") || error.message.contains("top-secret records")
        };
        if let Some(error) = errors.iter().find(is_right).filter(|error| !error.message.contains("top-secret")) {
            return Err(self.client.wording.not_permitted(&error.message));
        }
        let refused: BTreeSet<i64> = errors
            .iter()
            .filter(|error| speaks_of_journal(error))
            .filter_map(|error| Some(group.get(error.record?)?.line.journal))
            .collect();
        if !refused.is_empty() {
            return self.leave_journals_out(group, &errors, &refused, verdicts).await;
        }
        // Another writer has made lines of these ids in between, under a day that the look did not reach, and somebody has
        // reconciled the lines.
        if errors.iter().any(|error| error.message.contains("posted journal item")) {
            let there = self.find(None).await?;
            if group.iter().any(|new| there.contains_key(new.id)) {
                let rest = group.into_iter().filter(|new| !there.contains_key(new.id)).collect();
                found.extend(there);
                return Ok(rest);
            }
        }
        self.set_aside(group, &errors, verdicts, is_first)
    }

    fn set_aside<'a>(
        &mut self,
        group: Vec<New<'a>>,
        errors: &[&Message],
        verdicts: &mut PlacedVerdicts,
        is_first: bool,
    ) -> Result<Vec<New<'a>>, Error> {
        let service = self.service().to_owned();
        let mut named: HashMap<usize, String> = HashMap::new();
        for error in errors {
            let said = self.client.wording.quote(&error.message);
            named.extend(error.record.filter(|at| *at < group.len()).map(|at| (at, said)));
        }
        let Some(error) = errors.first().filter(|_| !named.is_empty()) else {
            return Err(Error::malformed(format!("{service}: the lines were refused without a reason")));
        };
        // A refusal with equal words about every row may be about the place.
        let is_about_all = named.len() == group.len() && errors.iter().all(|it| it.message == error.message);
        if is_about_all && is_first && error.field.is_none() {
            let said = tail(&self.client.wording.quote(&error.message));
            return Err(Error::unexplained(format!("{service}: the books refuse the lines{said}")));
        }
        let mut rest = Vec::new();
        for (at, new) in group.into_iter().enumerate() {
            match named.remove(&at) {
                Some(said) => verdicts.push((new.at, Verdict::Rejected(said))),
                None => rest.push(new),
            }
        }
        Ok(rest)
    }

    /// Notes journals that take no lines, and sets their rows aside.
    async fn leave_journals_out<'a>(
        &mut self,
        group: Vec<New<'a>>,
        errors: &[&Message],
        refused: &BTreeSet<i64>,
        verdicts: &mut PlacedVerdicts,
    ) -> Result<Vec<New<'a>>, Error> {
        self.fresh = false;
        self.read_layout().await?;
        for id in refused {
            let about = |error: &&&Message| {
                error.record.and_then(|at| group.get(at)).is_some_and(|new| new.line.journal == *id)
            };
            let said = errors.iter().find(about).map(|error| self.client.wording.quote(&error.message));
            if let Some(journal) = self.memory.layout.journals.get_mut(id) {
                let said = tail(&said.unwrap_or_default());
                journal
                    .problem
                    .get_or_insert(format!("takes no lines: set it right in Odoo, or name another one{said}"));
            }
        }
        self.make_ready().await?;
        let (aside, rest): (Vec<New<'_>>, Vec<New<'_>>) =
            group.into_iter().partition(|new| refused.contains(&new.line.journal));
        for new in aside {
            let journal = self.memory.layout.journals.get(&new.line.journal);
            let problem = journal.and_then(|journal| journal.problem.clone()).unwrap_or_default();
            verdicts.push((new.at, Verdict::Rejected(bad_journal(new.line.journal, &problem))));
        }
        Ok(rest)
    }

    /// Reads the dates of new lines back: Odoo moves a line out of a locked period and says nothing.
    async fn read_dates_back(&mut self, made: &[(i64, NaiveDate)]) -> Result<(), Error> {
        if made.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = made.iter().map(|(id, _)| *id).collect();
        let rest = [("fields", json!(["date"]))];
        let call = Call { model: LINE, method: "read", ids: Some(&ids), first: &[], rest: &rest };
        let dated: Vec<Dated> = self.client.call(&call).await?;
        let dates: HashMap<i64, NaiveDate> = dated.into_iter().map(|line| (line.id, line.date)).collect();
        for (id, asked) in made {
            if let Some(became) = dates.get(id).filter(|date| *date != asked) {
                self.note_moved(*asked, *became);
            }
        }
        Ok(())
    }
}

/// The ids of the lines that were made, one for each row.
fn ids(loaded: &Loaded, rows: usize) -> Option<Vec<i64>> {
    let ids: Vec<i64> = loaded.ids.as_array()?.iter().filter_map(Json::as_i64).collect();
    (ids.len() == rows).then_some(ids)
}

/// True for a message whose cause is the row's journal.
fn speaks_of_journal(error: &Message) -> bool {
    error.field.as_deref() == Some("journal_id")
        || ["archived journal", "suspense account", "top-secret records"]
            .iter()
            .any(|words| error.message.contains(words))
}
