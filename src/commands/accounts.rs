//! `bankfeed accounts`: the accounts in the store.

use serde::Serialize;

use super::{Done, print_json};
use crate::control::Output;
use crate::model::money_text;
use crate::service::StoreService;
use crate::store::KnownAccount;

/// An account as JSON.
#[derive(Serialize)]
struct AccountJson<'a> {
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

impl<'a> AccountJson<'a> {
    fn new(stored: &'a KnownAccount) -> AccountJson<'a> {
        let account = &stored.account;
        AccountJson {
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

/// Prints the accounts.
pub(super) fn execute(service: &StoreService, json: bool, output: &mut dyn Output) -> Done {
    let accounts = service.engine.store.accounts();
    let shown: Vec<AccountJson<'_>> = accounts.iter().map(AccountJson::new).collect();
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
