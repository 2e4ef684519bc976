//! My Fibank (First Investment Bank, Bulgaria), by the web interface that its own page uses.
//!
//! Promises: one sign-in per pull; every account of every customer the login may act for; the whole window of an
//! account, in one request where the bank allows it and in smaller windows without gap or overlap where it does not;
//! each row as the bank gave it. A pull of two accounts of one customer takes nine requests. The bank documents none of
//! its interface: unclear replies are reported, and never guessed at where money is concerned.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use secrecy::SecretString;

use self::api::{Answer, Api, Call};
use self::statement::{AccountRef, Reply};
use super::{InteractiveSignIn, Page, Scope, Session, Setup, Source};
use crate::model::Account;
use crate::remote::attempts::Attempts;
use crate::remote::{Cause, Context, Error};

mod accounts;
mod api;
mod form;
mod html;
mod interactive;
pub(crate) mod interview;
mod redenomination;
mod refusal;
mod settings;
mod sign_in;
mod statement;
mod wire;

#[cfg(test)]
mod tests;

pub use settings::{FibankSettings, KIND};

/// The bank's page is made for browsers; no other client was ever seen to be served.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

/// Window sizes for a bank that refuses a long one. The bank's page offers a month; a year and a quarter were seen to
/// work.
const WINDOW_DAYS: [i64; 4] = [365, 90, 30, 7];

/// The connector.
pub struct Fibank {
    name: String,
    settings: FibankSettings,
    scope: Scope,
    context: Context,
    attempts: Arc<dyn Attempts>,
}

impl Fibank {
    /// Prepares the connector; nothing is sent.
    pub fn new(settings: &FibankSettings, setup: Setup) -> Fibank {
        let Setup { name, scope, context, attempts, .. } = setup;
        Fibank { name, settings: settings.clone(), scope, context, attempts }
    }

    fn password(&self) -> Result<SecretString, Error> {
        let revealed = self.settings.password.reveal();
        revealed.map_err(|why| Error::attention(Cause::Machine, format!("{}: password: {why}", self.name)))
    }
}

#[async_trait]
impl Source for Fibank {
    async fn open(&self) -> Result<Box<dyn Session>, Error> {
        let who = (self.settings.username.as_str(), self.password()?);
        let login = self.settings.login.as_deref();
        let attempts = self.attempts.clone();
        let api = Api::open(&self.name, &self.settings.base_url, &self.context, attempts, who, login).await?;
        Ok(Box::new(Pull { name: self.name.clone(), scope: self.scope.clone(), api, known: None }))
    }

    fn sign_in(&self) -> Option<&dyn InteractiveSignIn> {
        Some(self)
    }
}

/// A pull.
struct Pull {
    name: String,
    scope: Scope,
    api: Api,
    /// The accounts, once listed.
    known: Option<Vec<ListedAccount>>,
}

/// An account and the customer in whose name it is asked for, or the reason why it cannot be asked for. Missing
/// accounts stand in the list like the others, so that a failure is told by name and the others go on.
struct ListedAccount {
    account: Account,
    customer: Result<String, Error>,
}

#[async_trait]
impl Session for Pull {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        let mut known: Vec<ListedAccount> = Vec::new();
        let customers = self.customers().await?;
        let several = customers.len() > 1;
        for customer in customers {
            let listed = match customer {
                Ok(customer) => self.accounts_of(&customer, several).await?,
                Err(unreadable) => vec![*unreadable],
            };
            for found in listed {
                let iban = &found.account.account;
                let wanted = found.customer.is_err() || self.wants(iban);
                // Two customers may share an account; it is fetched once.
                if wanted && !known.iter().any(|other| other.account.account == *iban) {
                    known.push(found);
                }
            }
        }
        let missing = self.missing(&known);
        if known.is_empty()
            && let Some(ListedAccount { customer: Err(error), .. }) = missing.first()
        {
            return Err(Error::attention(Cause::NotFound, &error.message));
        }
        known.extend(missing);
        let accounts = known.iter().map(|known| known.account.clone()).collect();
        self.known = Some(known);
        Ok(accounts)
    }

    async fn fetch(&mut self, account: &Account, from: Option<NaiveDate>) -> Result<Page, Error> {
        if self.known.is_none() {
            self.accounts().await?;
        }
        let known = self.known.iter().flatten().find(|known| known.account.account == account.account);
        let customer = known.map_or_else(|| Err(self.not_shown(&account.account)), |known| known.customer.clone())?;
        let wanted = AccountRef { service: self.name.clone(), iban: account.account.clone() };
        let until = wire::now().date_naive();
        let from = from.max(self.scope.history_from).map(|from| from.min(until));
        let replies = self.replies(&wanted, &customer, from.unwrap_or_else(beginning), until).await?;
        statement::page(&wanted, account, (from, until), replies)
    }

    /// The bank's page has a sign-out, but its address has never been seen; asking a guessed one could do anything. The
    /// token is forgotten here and ends by itself.
    async fn close(self: Box<Self>) {}
}

impl Pull {
    /// The replies that together cover every day from `from` until `until`, newest first. The window is one, or as
    /// large as the bank allows, whatever the form in which it refuses a larger one: the newest is tried first, and a
    /// size once refused is not tried again.
    async fn replies(
        &mut self,
        wanted: &AccountRef,
        customer: &str,
        from: NaiveDate,
        until: NaiveDate,
    ) -> Result<Vec<Reply>, Error> {
        let mut replies = Vec::new();
        let mut days = (until - from).num_days() + 1;
        let mut end = until;
        // A window of this size was answered; a broken reply to the whole was met.
        let (mut is_proven, mut was_broken) = (false, false);
        loop {
            let begin = from.max(end - TimeDelta::days(days - 1));
            let span = (end - begin).num_days() + 1;
            let smaller = WINDOW_DAYS.into_iter().find(|size| *size < span);
            let is_whole = replies.is_empty() && begin == from;
            // The whole history in one request is worth a second try; the smallest window every patience.
            let refused_at = match smaller {
                None => u32::MAX,
                Some(_) if is_proven => self.api.patience(),
                Some(_) if is_whole => 2,
                Some(_) => 1,
            };
            let why = match self.statement(wanted, customer, (begin, end), refused_at).await? {
                Answer::Json(body) => match Reply::read(wanted, begin, body) {
                    Ok(reply) => {
                        replies.push(reply);
                        if begin <= from {
                            return Ok(replies);
                        }
                        (end, is_proven) = (begin - TimeDelta::days(1), true);
                        continue;
                    }
                    Err(error) if smaller.is_none() => return Err(error),
                    Err(_) if is_whole && !was_broken => {
                        was_broken = true;
                        continue;
                    }
                    Err(error) => error.message,
                },
                Answer::Refused(why) => why,
            };
            let Some(size) = smaller else {
                return Err(Error::unavailable(format!(
                    "{}: the bank refuses the statement of account {}, even from {begin} to {end}: {why}",
                    self.name, wanted.iban
                )));
            };
            tracing::debug!("{}: {} days refused ({why}); trying {size}", self.name, span);
            (days, is_proven) = (size, false);
        }
    }

    async fn statement(
        &mut self,
        wanted: &AccountRef,
        customer: &str,
        (begin, end): (NaiveDate, NaiveDate),
        refused_at: u32,
    ) -> Result<Answer, Error> {
        let call = Call {
            path: "sywsquery/sywsquery/GetCustBal",
            query: vec![
                ("FromDate", wire::stamp(wire::in_sofia(begin.into()))),
                ("ToDate", wire::stamp(wire::end_of_day(end))),
                ("Iban", wanted.iban.clone()),
                ("StmtType", "T".into()),
                ("isAccountFromPSD2", "false".into()),
            ],
            customer: Some(customer),
            route: "izvlechenia/acc-stmt-offline",
            what: format!("the statement of account {}", wanted.iban),
            is_long: true,
            refused_at,
        };
        self.api.call(&call).await
    }

    fn malformed(&self, what: String) -> Error {
        Error::malformed(format!("{}: {what}; the bank's interface may have changed", self.name))
    }
}

/// The first day asked for where no other is given, as the bank's page was seen to ask.
fn beginning() -> NaiveDate {
    NaiveDate::from_ymd_opt(1993, 2, 27).unwrap_or_default()
}

/// An IBAN as it is compared: no blanks, capitals.
fn compact(iban: &str) -> String {
    iban.split_whitespace().collect::<String>().to_uppercase()
}
