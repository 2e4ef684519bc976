//! The customers that a login may act for, and their accounts.

use serde_json::Value;

use super::api::{Answer, Call};
use super::{ListedAccount, Pull, compact, statement, wire};
use crate::model::{Account, payload};
use crate::remote::outline::{self, Defect};
use crate::remote::{Error, TREE_BYTES};

/// A customer the login may act for.
pub(super) struct Customer {
    id: String,
    name: String,
}

impl Pull {
    /// The customers of the login. A customer that cannot be read stands there as the account that is left out.
    pub(super) async fn customers(&mut self) -> Result<Vec<Result<Customer, Box<ListedAccount>>>, Error> {
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

    fn customer(&self, number: usize, entry: &Value) -> Result<Customer, Box<ListedAccount>> {
        let id = text_of(entry, &["ibCustomerId"]).filter(|id| id.chars().all(|char| char.is_ascii_graphic()));
        // The key of the name has not been seen; these are the ones its siblings suggest.
        let name = text_of(entry, &["custName", "customerName", "name", "fullName", "shortName", "description"]);
        match id {
            Some(id) => Ok(Customer { name: name.unwrap_or_else(|| id.clone()), id }),
            None => {
                let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
                let which = format!("customer {number}{name}");
                let error = self.malformed(format!("{which} of this login has no readable ibCustomerId"));
                Err(Box::new(ListedAccount { account: nameless(&which), customer: Err(error) }))
            }
        }
    }

    pub(super) async fn accounts_of(
        &mut self,
        customer: &Customer,
        one_of_several: bool,
    ) -> Result<Vec<ListedAccount>, Error> {
        let call = Call {
            path: "sywspicklist/sywspicklist/getFilteredAccounts",
            query: Vec::new(),
            customer: Some(&customer.id),
            route: "accounts",
            what: format!("the accounts of customer {}", customer.id),
            is_long: false,
            // A profile without rights must not take the others' accounts with it.
            refused_at: if one_of_several { self.api.patience() } else { u32::MAX },
        };
        let reply = match self.api.call(&call).await? {
            Answer::Json(text) => text,
            Answer::Refused(why) => {
                let error = Error::unavailable(format!("{}: the bank refuses {}: {why}", self.name, call.what));
                let account = nameless(&format!("customer {}", customer.id));
                return if one_of_several {
                    Ok(vec![ListedAccount { account, customer: Err(error) }])
                } else {
                    Err(error)
                };
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

    /// An element of the list of accounts; `None` where it has no IBAN. An element that cannot be read is
    /// named by its place.
    fn listed(&self, customer: &Customer, list: &str, number: usize, entry: &str) -> Option<ListedAccount> {
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
            return Some(ListedAccount { account: nameless(&which), customer: Err(error) });
        }
        let currency = text_of(&entry, &["ccy"]).unwrap_or_default().to_uppercase();
        let account = Account { account: iban, name, customer: customer.name.clone(), currency, balance: None };
        Some(ListedAccount { account, customer: Ok(customer.id.clone()) })
    }

    fn parse(&self, what: &str, text: &str) -> Result<Value, Error> {
        let mut room = String::new();
        wire::parse(text, &mut room)
            .map_err(|error| self.malformed(statement::defect(&format!("the reply to {what}"), text.len(), &error)))
    }

    pub(super) fn wants(&self, iban: &str) -> bool {
        self.scope.accounts.as_ref().is_none_or(|wanted| wanted.iter().any(|wanted| compact(wanted) == iban))
    }

    /// Accounts that the configuration names and the bank does not show.
    pub(super) fn missing(&self, known: &[ListedAccount]) -> Vec<ListedAccount> {
        let wanted = self.scope.accounts.iter().flatten().map(|iban| compact(iban));
        let unseen = wanted.filter(|iban| !known.iter().any(|known| known.account.account == *iban));
        unseen.map(|iban| ListedAccount { account: nameless(&iban), customer: Err(self.not_shown(&iban)) }).collect()
    }

    pub(super) fn not_shown(&self, iban: &str) -> Error {
        Error::rejected(format!(
            "{}: the bank shows this login no account {iban}; correct `accounts` in the configuration",
            self.name
        ))
    }
}

/// Asks for the customers that the login may act for.
pub(super) fn whose() -> Call<'static> {
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
pub(super) fn named_in(reply: &Value) -> Vec<&Value> {
    let listed: Vec<&Value> = match &reply["customer"] {
        Value::Array(customers) => customers.iter().collect(),
        one @ Value::Object(_) => vec![one],
        _ => Vec::new(),
    };
    let main = reply.get("mainCustomer").filter(|main| main.is_object());
    if listed.is_empty() { main.into_iter().collect() } else { listed }
}

/// The entry in the list for an account of which only the name is known.
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
