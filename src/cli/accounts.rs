//! `bankfeed accounts`: the accounts the store holds.

use serde::Serialize;

use super::{Done, print_json};
use crate::control::Output;
use crate::daemon::Owner;
use crate::model::money_text;
use crate::store::StoredAccount;

/// An account as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    account: &'a str,
    account_name: &'a str,
    customer: &'a str,
    currency: &'a str,
    balance: Option<String>,
    source: &'a str,
    fetched_until: Option<String>,
    complete: bool,
    problem: Option<&'a str>,
    former_currencies: Vec<(String, &'a str)>,
}

impl<'a> Shown<'a> {
    fn of(stored: &'a StoredAccount) -> Shown<'a> {
        let account = &stored.account;
        Shown {
            account: &account.account,
            account_name: &account.name,
            customer: &account.customer,
            currency: &account.currency,
            balance: account.balance.map(money_text),
            source: &stored.source,
            fetched_until: stored.fetched_until.map(|day| day.to_string()),
            complete: stored.is_complete(),
            problem: stored.why_incomplete(),
            former_currencies: stored
                .former_currencies
                .iter()
                .map(|(day, code)| (day.to_string(), code.as_str()))
                .collect(),
        }
    }
}

/// An account as it is sent to whoever builds something of the store.
pub(super) fn line(stored: &StoredAccount) -> crate::extract::Account {
    let account = &stored.account;
    crate::extract::Account {
        account: account.account.clone(),
        account_name: account.name.clone(),
        customer: account.customer.clone(),
        source: stored.source.clone(),
        currency: account.currency.clone(),
        balance: account.balance.map(money_text),
        fetched_until: stored.fetched_until.map(|day| day.to_string()),
        complete: stored.is_complete(),
        problem: stored.why_incomplete().map(str::to_owned),
    }
}

/// Prints the accounts.
pub(super) fn execute(owner: &Owner, json: bool, output: &mut dyn Output) -> Done {
    let accounts = owner.engine.store.accounts();
    let shown: Vec<Shown<'_>> = accounts.iter().map(Shown::of).collect();
    if shown.is_empty() {
        output.talk("no account is known yet; `bankfeed sync` fetches them\n")?;
    }
    if json {
        print_json(&shown, output)?;
        return Ok(0);
    }
    for account in shown {
        let balance = account.balance.as_deref().unwrap_or("-");
        let line = format!(
            "{}  {:>14} {}  {}  {}",
            account.account, balance, account.currency, account.account_name, account.customer
        );
        output.data(&format!("{}\n", line.trim_end()))?;
        if let Some(problem) = account.problem {
            output.data(&format!("  {problem}\n"))?;
        }
    }
    Ok(0)
}
