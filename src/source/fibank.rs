//! My Fibank (First Investment Bank, Bulgaria), by the web interface that its own page uses.
//!
//! Promises: one sign-in per pull; every account of every customer the login may act for; the whole window of an
//! account, in one request where the bank allows it and in smaller windows without gap or overlap where it does not; each row
//! as the bank gave it. A pull of two accounts of one customer takes nine requests.
//! Nothing here is documented by the bank: what is unclear is reported, never guessed at where money is concerned.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, TimeDelta};
use secrecy::SecretString;
use serde_json::Value;

use self::api::{Answer, Api, Call};
use self::outline::Defect;
use self::statement::{Owner, Reply};
use super::{InteractiveSignIn, Page, Scope, Session, Source};
use crate::model::{Account, payload};
use crate::remote::attempts::Attempts;
use crate::remote::{Cause, Context, Error, TREE_BYTES};

mod api;
mod form;
mod html;
mod interactive;
mod outline;
mod redenomination;
mod settings;
mod sign_in;
mod statement;
mod wire;

#[cfg(test)]
mod tests;

pub use settings::{FibankSettings, KIND};

/// The bank's page is made for browsers, and what else it would serve is not known.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";

/// Window sizes for a bank that refuses a long one. Its page offers a month; a year and a quarter were seen to work.
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
    pub fn new(
        name: &str,
        settings: &FibankSettings,
        scope: &Scope,
        context: Context,
        attempts: Arc<dyn Attempts>,
    ) -> Fibank {
        let (settings, scope) = (settings.clone(), scope.clone());
        Fibank { name: name.to_owned(), settings, scope, context, attempts }
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

/// One pull.
struct Pull {
    name: String,
    scope: Scope,
    api: Api,
    /// The accounts, once listed.
    known: Option<Vec<Known>>,
}

/// An account and the customer in whose name it is asked for, or why it cannot be asked for. What is missing stands in
/// the list like the others, so that its failure is told by name and the others go on.
struct Known {
    account: Account,
    customer: Result<String, Error>,
}

/// A customer the login may act for.
struct Customer {
    id: String,
    name: String,
}

#[async_trait]
impl Session for Pull {
    async fn accounts(&mut self) -> Result<Vec<Account>, Error> {
        let mut known: Vec<Known> = Vec::new();
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
            && let Some(Known { customer: Err(error), .. }) = missing.first()
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
        let owner = Owner { service: self.name.clone(), iban: account.account.clone() };
        let until = wire::now().date_naive();
        let from = from.max(self.scope.history_from).map(|from| from.min(until));
        let replies = self.replies(&owner, &customer, from.unwrap_or_else(beginning), until).await?;
        statement::page(&owner, account, (from, until), replies)
    }

    /// The bank's page has a sign-out, but its address has never been seen; asking a guessed one could do anything. The
    /// token is forgotten here and ends by itself.
    async fn close(self: Box<Self>) {}
}

impl Pull {
    /// The customers of the login; one that cannot be read stands there as what it leaves out.
    async fn customers(&mut self) -> Result<Vec<Result<Customer, Box<Known>>>, Error> {
        let call = whose();
        let reply = match self.api.call(&call).await? {
            Answer::Json(text) => self.parse(&call.what, &text.head(TREE_BYTES))?,
            Answer::Refused(why) => {
                return Err(Error::unavailable(format!("{}: the bank refuses {}: {why}", self.name, call.what)));
            }
        };
        let listed = named_in(&reply);
        if listed.is_empty() {
            return Err(self.malformed("the bank names no customer for this login".into()));
        }
        let customers: Vec<_> =
            listed.into_iter().enumerate().map(|(at, entry)| self.customer(at + 1, entry)).collect();
        if customers.iter().all(Result::is_err)
            && let Some(Err(error)) = customers.iter().find_map(|unreadable| Some(&unreadable.as_ref().err()?.customer))
        {
            return Err(error.clone());
        }
        Ok(customers)
    }

    fn customer(&self, number: usize, entry: &Value) -> Result<Customer, Box<Known>> {
        let id = text_of(entry, &["ibCustomerId"]).filter(|id| id.chars().all(|char| char.is_ascii_graphic()));
        // The key of the name has not been seen; these are the ones its siblings suggest.
        let name = text_of(entry, &["custName", "customerName", "name", "fullName", "shortName", "description"]);
        match id {
            Some(id) => Ok(Customer { name: name.unwrap_or_else(|| id.clone()), id }),
            None => {
                let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                let which = format!("customer {number}{name}");
                let error = self.malformed(format!("{which} of this login has no readable ibCustomerId"));
                Err(Box::new(Known { account: nameless(&which), customer: Err(error) }))
            }
        }
    }

    async fn accounts_of(&mut self, customer: &Customer, one_of_several: bool) -> Result<Vec<Known>, Error> {
        let call = Call {
            path: "sywspicklist/sywspicklist/getFilteredAccounts",
            query: Vec::new(),
            customer: Some(&customer.id),
            route: "accounts",
            what: format!("the accounts of customer {}", customer.id),
            is_long: false,
            // One profile without rights must not take the others' accounts with it.
            refused_at: if one_of_several { self.api.patience() } else { u32::MAX },
        };
        let reply = match self.api.call(&call).await? {
            Answer::Json(text) => text,
            Answer::Refused(why) => {
                let error = Error::unavailable(format!("{}: the bank refuses {}: {why}", self.name, call.what));
                let account = nameless(&format!("customer {}", customer.id));
                return if one_of_several { Ok(vec![Known { account, customer: Err(error) }]) } else { Err(error) };
            }
        };
        let listed = match outline::elements(&reply) {
            Ok(listed) => listed,
            Err(Defect::TooMany(most)) => {
                let what = format!("the reply to {} lists more than {most}, the most that are read", call.what);
                return Err(self.malformed(what));
            }
            Err(_) => {
                self.parse(&call.what, &reply.head(TREE_BYTES))?;
                return Err(self.malformed(format!("the reply to {} is no list", call.what)));
            }
        };
        let entries = listed.into_iter().enumerate();
        Ok(entries.filter_map(|(at, entry)| self.listed(customer, &call.what, at + 1, &entry)).collect())
    }

    /// An element of the list of accounts; `None` where it has no IBAN. One that cannot be read is told by its place.
    fn listed(&self, customer: &Customer, list: &str, number: usize, entry: &str) -> Option<Known> {
        let entry = payload::read(entry).filter(Value::is_object).unwrap_or_default();
        let given = ["ibanAcNo", "iban"].iter().map(|key| &entry[*key]).find(|given| !given.is_null());
        if entry.is_object() && given.is_none_or(|given| given == "") {
            // Statements are asked for by IBAN: whatever this is, it has none.
            tracing::debug!("{}: among {list} is one without an IBAN; it is left out", self.name);
            return None;
        }
        let iban = text_of(&entry, &["ibanAcNo", "iban"]).map(|iban| compact(&iban)).unwrap_or_default();
        let name = text_of(&entry, &["acDesc", "description"]).unwrap_or_default();
        if iban.is_empty() || !iban.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let named = if name.is_empty() { String::new() } else { format!(" ({name})") };
            let which = format!("number {number}{named} among {list}");
            let error = self.malformed(format!("{which} has no readable IBAN"));
            return Some(Known { account: nameless(&which), customer: Err(error) });
        }
        let currency = text_of(&entry, &["ccy"]).unwrap_or_default().to_uppercase();
        let account = Account { account: iban, name, customer: customer.name.clone(), currency, balance: None };
        Some(Known { account, customer: Ok(customer.id.clone()) })
    }

    fn wants(&self, iban: &str) -> bool {
        self.scope.accounts.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| compact(wanted) == iban))
    }

    /// Accounts that the configuration names and the bank does not show.
    fn missing(&self, known: &[Known]) -> Vec<Known> {
        let wanted = self.scope.accounts.iter().flatten().map(|iban| compact(iban));
        let unseen = wanted.filter(|iban| !known.iter().any(|known| known.account.account == *iban));
        unseen.map(|iban| Known { account: nameless(&iban), customer: Err(self.not_shown(&iban)) }).collect()
    }

    fn not_shown(&self, iban: &str) -> Error {
        Error::rejected(format!(
            "{}: the bank shows this login no account {iban}; correct `accounts` in the configuration",
            self.name
        ))
    }

    /// The replies that together cover every day from `from` until `until`, newest first. The window is one, or as
    /// large as the bank allows, whatever the form in which it refuses a larger one: the newest is tried first, and a size
    /// once refused is not tried again.
    async fn replies(
        &mut self,
        owner: &Owner,
        customer: &str,
        from: NaiveDate,
        until: NaiveDate,
    ) -> Result<Vec<Reply>, Error> {
        let mut replies = Vec::new();
        let mut days = (until - from).num_days() + 1;
        let mut end = until;
        // Whether a window of this size was answered, and whether a broken reply to the whole was met.
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
            let why = match self.statement(owner, customer, (begin, end), refused_at).await? {
                Answer::Json(body) => match Reply::read(owner, begin, body) {
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
                    self.name, owner.iban
                )));
            };
            tracing::debug!("{}: {} days refused ({why}); trying {size}", self.name, span);
            (days, is_proven) = (size, false);
        }
    }

    async fn statement(
        &mut self,
        owner: &Owner,
        customer: &str,
        (begin, end): (NaiveDate, NaiveDate),
        refused_at: u32,
    ) -> Result<Answer, Error> {
        let call = Call {
            path: "sywsquery/sywsquery/GetCustBal",
            query: vec![
                ("FromDate", wire::stamp(wire::in_sofia(begin.into()))),
                ("ToDate", wire::stamp(wire::end_of_day(end))),
                ("Iban", owner.iban.clone()),
                ("StmtType", "T".into()),
                ("isAccountFromPSD2", "false".into()),
            ],
            customer: Some(customer),
            route: "izvlechenia/acc-stmt-offline",
            what: format!("the statement of account {}", owner.iban),
            is_long: true,
            refused_at,
        };
        self.api.call(&call).await
    }

    fn parse(&self, what: &str, text: &str) -> Result<Value, Error> {
        let mut room = String::new();
        wire::parse(text, &mut room)
            .map_err(|error| self.malformed(statement::defect(&format!("the reply to {what}"), text.len(), &error)))
    }

    fn malformed(&self, what: String) -> Error {
        Error::malformed(format!("{}: {what}; the bank's interface may have changed", self.name))
    }
}

/// Asks whom the login may act for.
fn whose() -> Call<'static> {
    Call {
        path: "sywsquery/sywsquery/getCustQuery",
        query: Vec::new(),
        customer: None,
        route: "dashboard",
        what: "the customers of this login".into(),
        is_long: false,
        refused_at: u32::MAX,
    }
}

/// The customers in the answer.
fn named_in(reply: &Value) -> Vec<&Value> {
    let listed: Vec<&Value> = match &reply["customer"] {
        Value::Array(customers) => customers.iter().collect(),
        one @ Value::Object(_) => vec![one],
        _ => Vec::new(),
    };
    let main = reply.get("mainCustomer").filter(|main| main.is_object());
    if listed.is_empty() { main.into_iter().collect() } else { listed }
}

/// The first day asked for where no other is given: the bank's page was seen to be asked from here on.
fn beginning() -> NaiveDate {
    NaiveDate::from_ymd_opt(1993, 2, 27).unwrap_or_default()
}

/// An IBAN as it is compared: no blanks, capitals.
fn compact(iban: &str) -> String {
    iban.split_whitespace().collect::<String>().to_uppercase()
}

/// What stands in the list for something of which only the name is known.
fn nameless(account: &str) -> Account {
    let empty = String::new;
    Account { account: account.to_owned(), name: empty(), customer: empty(), currency: empty(), balance: None }
}

/// The first of these keys that holds text or a number, as text.
fn text_of(entry: &Value, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match &entry[*key] {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}
