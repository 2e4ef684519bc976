//! The commands that the process with the store carries out: one short file for each. Daemon, command line, page and
//! demo call [`execute`], which writes to an [`Output`] and returns the exit status of the program.

use std::io;

use crate::config::Config;
use crate::control::{Command, HiddenText, Output};
use crate::model::shortened;
use crate::service::StoreService;
use crate::store::{self, KnownAccount};

pub mod login;
pub mod status;
pub mod transactions;

mod accounts;
mod backup;
mod check;
mod dump;
mod export;
mod import;
mod match_row;
mod restore;
mod rules;
mod sync;
mod verify;

/// Exit status: a failure that will be tried again.
pub const FAILED: u8 = 1;
/// Exit status: usage or configuration.
pub const USAGE: u8 = 2;
/// Exit status: the owner must act.
pub const ATTENTION: u8 = 3;
/// Exit status: the store cannot be opened.
pub const STORE: u8 = 4;

/// Why a command could not finish.
pub enum Failure {
    /// The output is closed.
    Output(io::Error),
    /// The store failed.
    Store(store::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Failure {
        Failure::Store(error)
    }
}

/// The exit status of a command that finished.
pub type Done = Result<u8, Failure>;

/// Carries a command out. Runs on a thread that may block.
pub fn execute(service: &StoreService, command: &Command, output: &mut dyn Output) -> io::Result<u8> {
    let store = &service.engine.store;
    // A cycle revives the store for itself and reports a failure.
    let ready = if matches!(command, Command::Sync { .. }) { Ok(()) } else { store.revive() };
    match ready.map_err(Failure::from).and_then(|()| carry_out(service, command, output)) {
        Ok(status) => Ok(status),
        Err(Failure::Output(error)) => Err(error),
        Err(Failure::Store(error)) => {
            let error = store.note(error);
            output.talk(&format!("bankfeed: {}\n", explain(&error, &service.engine.config)))?;
            Ok(status_of(&error))
        }
    }
}

fn carry_out(service: &StoreService, command: &Command, output: &mut dyn Output) -> Done {
    match command {
        Command::Sync { request, json } => sync::execute(service, request, *json, output),
        Command::Check => check::execute(service, output),
        Command::CheckNotify => check::execute_and_notify(service, output),
        Command::Trace { at_terminal } => check::trace(service, *at_terminal, output),
        Command::Banks { name, json } => login::banks(service, name, *json, output),
        Command::SignIn { name, at_terminal } => login::sign_in(service, name, *at_terminal, output),
        Command::KeepLogin { name, session } => login::keep(service, name, session, output),
        Command::Status { json, exit_code } => status::execute(service, *json, *exit_code, output),
        Command::Accounts { json } => accounts::execute(service, *json, output),
        Command::Transactions { selection, json } => transactions::execute(service, selection, *json, output),
        Command::RulesTest { rules, json } => rules::test(service, rules, *json, output),
        Command::RulesPreview { fingerprint } => rules::preview(service, *fingerprint, output),
        Command::RulesApply { fingerprint, overwrite } => rules::apply(service, *fingerprint, *overwrite, output),
        Command::Export { selection, format, ending } => {
            export::execute(service, selection, *format, ending.as_deref(), output)
        }
        Command::Dump { selection } => dump::execute(service, selection, output),
        Command::Verify { request, json } => verify::execute(service, request, *json, output),
        Command::Restore { destination, ids } => restore::execute(service, destination, ids, output),
        Command::Import { request, files, json } => import::execute(service, request, files, *json, output),
        Command::Match { id, answer } => match_row::execute(service, id, answer, output),
        Command::Backup => backup::execute(service, output),
        Command::Reload { text } => reload(service, text, output),
    }
}

/// Has the daemon take up another configuration.
fn reload(service: &StoreService, text: &HiddenText, output: &mut dyn Output) -> Done {
    let (status, said) = match service.reload(text.0.clone()) {
        Ok(true) => (0, "the configuration is reloaded".to_owned()),
        Ok(false) => (0, "the configuration is good; it counts once the running cycle has ended".into()),
        Err(why) => (USAGE, format!("bankfeed: {why}; the configuration before stays")),
    };
    output.talk(&format!("{said}\n"))?;
    Ok(status)
}

/// The exit status of an error of the store.
pub fn status_of(error: &store::Error) -> u8 {
    match error {
        store::Error::Full => ATTENTION,
        store::Error::Backup(_) => USAGE,
        store::Error::Damaged(_) | store::Error::Foreign(_) | store::Error::InUse(_) => STORE,
        store::Error::Io(_) | store::Error::Unfit(_) => FAILED,
    }
}

/// An error of the store in one line, with the remedy where the store is damaged.
pub fn explain(error: &store::Error, config: &Config) -> String {
    if !matches!(error, store::Error::Damaged(_)) {
        return error.to_string();
    }
    let data_dir = config.data_dir.display();
    match store::backup::latest(&config.data_dir) {
        Some((backup, head)) => {
            let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
            let made = head.made.with_timezone(&config.timezone).format("%Y-%m-%d %H:%M");
            let (path, backup) = (path.display(), backup.display());
            format!("{error}; bring the last good backup, of {made}, back: bankfeed --config {path} recover {backup}")
        }
        None => format!("{error}; there is no backup: move {data_dir} aside, and everything is fetched anew"),
    }
}

/// A line for people: account numbers that are words of their own become `Everyday (BG32…0001)` where the store knows a
/// name. Ids, which contain account numbers, stay fit to be copied.
pub fn with_names(line: &str, accounts: &[KnownAccount]) -> String {
    let spell = |word: &str| {
        let bare = word.trim_start_matches('(').trim_end_matches([':', ';', ',', '.', ')']);
        let known = accounts.iter().map(|stored| &stored.account).find(|account| account.account == bare);
        match known.filter(|account| !account.name.is_empty()) {
            Some(account) => word.replacen(bare, &format!("{} ({})", account.name, shortened(bare)), 1),
            None => word.to_owned(),
        }
    };
    line.split(' ').map(spell).collect::<Vec<_>>().join(" ")
}

/// Prints a value as pretty JSON with a final newline.
fn print_json<T: serde::Serialize>(value: &T, output: &mut dyn Output) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    output.data(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoredAccount;

    #[test]
    fn account_numbers_for_people_become_names() {
        let known: Vec<StoredAccount> = serde_json::from_value(serde_json::json!([{
            "number": 1, "source": "fibank", "id_prefix": "", "fetched_until": null,
            "account": {
                "account": "BG32FINV91501000000001", "name": "Everyday", "customer": "", "currency": "EUR", "balance": null
            },
        }]))
        .unwrap();
        let known = KnownAccount::all(&known);
        for (line, expected) in [
            ("fibank: account BG32FINV91501000000001: no rows", "fibank: account Everyday (BG32…0001): no rows"),
            ("BG32FINV91501000000001: odd", "Everyday (BG32…0001): odd"),
            ("refused: fibank:BG32FINV91501000000001:7: no", "refused: fibank:BG32FINV91501000000001:7: no"),
            ("BG05FINV91501000000002: odd", "BG05FINV91501000000002: odd"),
        ] {
            assert_eq!(with_names(line, &known), expected);
        }
    }
}
