//! `bankfeed simulate` (hidden): the simulated bank and services alone, for tests from outside and for benchmarks.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;

use super::terminal::Terminal;
use crate::control::Output;
use crate::simulator::airtable::Airtable;
use crate::simulator::fibank::{Bank, Fibank};
use crate::simulator::google::Google;

/// What to simulate.
#[derive(clap::Args)]
pub(super) struct Options {
    /// A bank with this many transactions instead of the demo household
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Leave the services' rate limits out
    #[arg(long)]
    no_limits: bool,
    /// Write what each service is asked to DIR/SERVICE.jsonl, and Google's key to DIR/google-key.json
    #[arg(long, value_name = "DIR")]
    log: PathBuf,
}

/// Runs the simulators until the process is told to stop. One line of JSON says where they are.
pub(super) async fn run(options: Options) -> io::Result<u8> {
    let bank = match options.rows {
        Some(rows) => Bank::large(rows),
        None => Bank::household(Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive()),
    };
    let (username, password) = (bank.username.clone(), bank.password.clone());
    let (fibank, google, airtable) = (Fibank::start(bank).await?, Google::start().await?, Airtable::start().await?);
    if options.no_limits {
        google.quota(None);
        airtable.rate_limit(None, Duration::ZERO);
    }
    std::fs::create_dir_all(&options.log)?;
    for (name, server) in [("fibank", &fibank.server), ("google", &google.server), ("airtable", &airtable.server)] {
        // The log on disk is enough; keeping it in memory as well would only grow.
        server.keep_log(false);
        server.log_to(std::fs::File::create(options.log.join(format!("{name}.jsonl")))?);
    }
    let key_file = options.log.join("google-key.json");
    std::fs::write(&key_file, google.service_account_key())?;
    let addresses = json!({
        "fibank": {"url": fibank.server.url(), "username": username, "password": password},
        "google": {"url": google.server.url(), "key_file": key_file, "spreadsheet": google.create_spreadsheet("bankfeed")},
        "airtable": {"url": airtable.server.url(), "token": airtable.token(), "base": airtable.create_base("bankfeed")},
        "log": options.log,
    });
    Terminal::stdout().data(&format!("{addresses}\n"))?;
    crate::daemon::stop_signal().await;
    Ok(0)
}
