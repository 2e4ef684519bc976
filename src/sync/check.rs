//! Proves sources and destinations live without writing anything.

use chrono::{TimeDelta, Utc};
use secrecy::ExposeSecret;

use super::attempts::Asking;
use super::{Engine, Outcome, SourceReport, Step, Watcher, outcome_of};
use crate::remote::trace::Trace;
use crate::remote::{Context, Error};
use crate::{config, store};

/// Days that the fetch of a recording reaches back.
const TRACED_DAYS: i64 = 31;

/// The result of a check of one source or destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// `source` or `destination`, and its name.
    pub what: String,
    /// The outcome.
    pub outcome: Outcome,
    /// Good news, or the one line of trouble with its remedy.
    pub lines: Vec<String>,
}

impl Engine {
    /// Checks every source and destination.
    pub async fn check(&self, watcher: &Watcher) -> Result<Vec<Checked>, store::Error> {
        let mut checked = Vec::new();
        for source in &self.config.sources {
            watcher(Step { label: format!("{}: checking", source.name), done: 0, total: 0 });
            checked.push(self.check_source(source, None, Asking::Unattended).await?);
        }
        for destination in &self.config.destinations {
            watcher(Step { label: format!("{}: checking", destination.name), done: 0, total: 0 });
            checked.push(self.check_destination(destination).await?);
        }
        Ok(checked)
    }

    /// As the check of every source, with a small fetch on top, and everything that was said written down, every value
    /// replaced. Also where the sign-in fails.
    pub async fn trace(&self, at_terminal: bool, watcher: &Watcher) -> Result<(Vec<Checked>, String), store::Error> {
        let asking = if at_terminal { Asking::Owner } else { Asking::Unattended };
        let (mut checked, mut text) = (Vec::new(), String::new());
        for source in &self.config.sources {
            watcher(Step { label: format!("{}: recording", source.name), done: 0, total: 0 });
            let private = source.settings.private_texts();
            let private: Vec<&str> = private.iter().map(|text| text.expose_secret()).collect();
            let trace = Trace::new(&private);
            let kind = source.kind.name;
            trace.note(&format!("what a source of kind {kind} answered; values are replaced, equal ones alike"));
            let found = self.check_source(source, Some(trace.clone()), asking).await?;
            trace.note(&format!("it ended as: {:?}", found.outcome));
            text += &trace.text();
            checked.push(found);
        }
        Ok((checked, text))
    }

    /// Signs in once and lists the accounts. A refusal counts like one of a cycle: it is not tried again; nor is a
    /// source in attention.
    async fn check_source(
        &self,
        source: &config::Source,
        trace: Option<Trace>,
        asking: Asking,
    ) -> Result<Checked, store::Error> {
        let what = format!("source {}", source.name);
        if let Some(attention) = self.held_back(source, &self.store.source(&source.name)?, asking) {
            return Ok(Checked { what, outcome: Outcome::Attention, lines: vec![attention] });
        }
        let is_traced = trace.is_some();
        let context = Context { trace, ..Context::new(self.shutdown.clone(), self.backoff.clone()) };
        let ledger = self.ledger(source, asking);
        let found = async {
            let connector = source.connect(ledger.setup(self, context, asking == Asking::Owner))?;
            connector.check().await?;
            if let Some(lines) = connector.proof().await? {
                return Ok(lines);
            }
            let mut session = connector.open().await?;
            let found: Result<_, Error> = async {
                let accounts = session.accounts().await?;
                if let Some(first) = accounts.first().filter(|_| is_traced) {
                    let day = (Utc::now() - TimeDelta::days(TRACED_DAYS)).date_naive();
                    session.fetch(first, Some(day)).await?;
                }
                Ok(accounts)
            }
            .await;
            session.close().await;
            let accounts = found?;
            let list = accounts.iter().map(|account| format!("{} {}", account.account, account.currency));
            let list: Vec<String> = list.collect();
            Ok(vec![format!("signed in, {} accounts: {}", accounts.len(), list.join(", "))])
        }
        .await;
        ledger.failure()?;
        Ok(match found {
            Ok(lines) => Checked { what, outcome: Outcome::Ok, lines },
            Err(error) => {
                let mut report = SourceReport { name: source.name.clone(), ..SourceReport::default() };
                self.record_result(source, &mut report, vec![error], Utc::now())?;
                Checked { what, outcome: report.outcome, lines: report.error.into_iter().collect() }
            }
        })
    }

    async fn check_destination(&self, config: &config::Destination) -> Result<Checked, store::Error> {
        let what = format!("destination {}", config.name);
        let context = Context::new(self.shutdown.clone(), self.backoff.clone());
        let memory = self.store.destination(&config.name, &config.target())?.connector();
        let found: Result<Vec<String>, Error> = async { config.connect(context, &memory)?.check().await }.await;
        Ok(match found {
            Ok(lines) => Checked { what, outcome: Outcome::Ok, lines },
            Err(error) => Checked { what, outcome: outcome_of(&error), lines: vec![error.message] },
        })
    }
}
