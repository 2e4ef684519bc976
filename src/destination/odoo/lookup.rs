//! Finding our lines: a search of the journals from a day on, then the external ids of what was found. A user with just
//! enough rights cannot look external ids up in any other way.

use std::collections::{BTreeSet, HashMap};

use chrono::NaiveDate;
use serde_json::{Map, Value as Json, json};

use super::Odoo;
use super::client::Call;
use super::errors::Refusal;
use super::line::{FOUND, FoundLine, transaction_id};

/// The model of bank lines.
pub(super) const LINE: &str = "account.bank.statement.line";

/// Lines whose external ids are asked for in one request.
const IDS_AT_ONCE: usize = 1000;

/// Lines read whole in one request.
pub(super) const LINES_AT_ONCE: usize = 500;

impl Odoo {
    /// Our lines by transaction: those in these journals from a day on, or all.
    pub(super) async fn find(
        &mut self,
        window: Option<(&BTreeSet<i64>, NaiveDate)>,
    ) -> Result<HashMap<String, i64>, Refusal> {
        let domain = match window {
            Some((journals, since)) => {
                vec![json!(["journal_id", "in", journals]), json!(["date", ">=", since.to_string()])]
            }
            None => self.scope(),
        };
        let call = Call { model: LINE, method: "search", ids: None, first: &[("domain", json!(domain))], rest: &[] };
        let lines: Vec<i64> = self.client.call(&call).await?;
        let mut found = HashMap::new();
        for some in lines.chunks(IDS_AT_ONCE) {
            found.extend(self.transactions_of(some).await?);
        }
        Ok(found)
    }

    /// The transactions of lines, as far as the lines are ours.
    pub(super) async fn transactions_of(&mut self, lines: &[i64]) -> Result<Vec<(String, i64)>, Refusal> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        let call = Call { model: LINE, method: "get_external_id", ids: Some(lines), first: &[], rest: &[] };
        let names: Map<String, Json> = self.client.call(&call).await?;
        let ours =
            names.into_iter().filter_map(|(line, name)| Some((transaction_id(name.as_str()?)?, line.parse().ok()?)));
        Ok(ours.collect())
    }

    /// Ids of lines after one, in their order, a page of them.
    pub(super) async fn next_ids(&mut self, after: i64) -> Result<Vec<i64>, Refusal> {
        let mut domain = self.scope();
        domain.push(json!(["id", ">", after]));
        let rest = [("order", json!("id")), ("limit", json!(IDS_AT_ONCE))];
        let call = Call { model: LINE, method: "search", ids: None, first: &[("domain", json!(domain))], rest: &rest };
        self.client.call(&call).await
    }

    /// Whole lines after one, in their order, a page of them.
    pub(super) async fn next_lines(&mut self, after: i64) -> Result<Vec<FoundLine>, Refusal> {
        let mut domain = self.scope();
        domain.push(json!(["id", ">", after]));
        let rest = [("fields", json!(FOUND)), ("order", json!("id")), ("limit", json!(LINES_AT_ONCE))];
        let first = [("domain", json!(domain))];
        let call = Call { model: LINE, method: "search_read", ids: None, first: &first, rest: &rest };
        self.client.call(&call).await
    }

    /// Whole lines by their ids; lines that are gone are missing from the answer.
    pub(super) async fn read_lines(&mut self, lines: &[i64]) -> Result<HashMap<i64, FoundLine>, Refusal> {
        if lines.is_empty() {
            return Ok(HashMap::new());
        }
        let rest = [("fields", json!(FOUND))];
        let call = Call { model: LINE, method: "read", ids: Some(lines), first: &[], rest: &rest };
        let found: Vec<FoundLine> = self.client.call(&call).await?;
        Ok(found.into_iter().map(|line| (line.id, line)).collect())
    }

    /// Every journal that our lines may stand in: those of the configuration, and those of earlier ones.
    fn scope(&self) -> Vec<Json> {
        let known: BTreeSet<i64> = self.memory.layout.journals.keys().chain(self.journals.values()).copied().collect();
        vec![json!(["journal_id", "in", known])]
    }
}
