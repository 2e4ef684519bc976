//! `bankfeed simulate` (hidden): the simulated bank and services alone, for tests from outside and for benchmarks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use serde::Deserialize;
use serde_json::json;

use super::terminal::Terminal;
use crate::control::Output;
use crate::daemon::signals::Signals;
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

/// Runs the simulators until the process is told to stop. The output is a line of JSON with their addresses.
pub(super) async fn run(options: Options) -> io::Result<u8> {
    let signals = Signals::take()?;
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
    let folder = std::path::absolute(&options.log)?;
    for (name, server) in [("fibank", &fibank.server), ("google", &google.server), ("airtable", &airtable.server)] {
        // The log on disk is enough; keeping it in memory as well would only grow.
        server.keep_log(false);
        server.log_to(std::fs::File::create(options.log.join(format!("{name}.jsonl")))?);
    }
    let key_file = folder.join("google-key.json");
    std::fs::write(&key_file, google.service_account_key())?;
    let spreadsheet = google.create_spreadsheet("bankfeed");
    let addresses = json!({
        "fibank": {"url": fibank.server.url(), "username": username, "password": password},
        "google": {"url": google.server.url(), "key_file": key_file, "spreadsheet": spreadsheet},
        "airtable": {"url": airtable.server.url(), "token": airtable.token(), "base": airtable.create_base("bankfeed")},
        "log": options.log,
    });
    // The input of `init --simulated`, and the answers that a person would give.
    let answers = [&username, &password, "g", &spreadsheet, &key_file.display().to_string(), ""].join("\n");
    std::fs::write(options.log.join("world.json"), format!("{addresses}\n"))?;
    std::fs::write(options.log.join("answers"), answers + "\n")?;
    Terminal::stdout().data(&format!("{addresses}\n"))?;
    signals.stop().await;
    Ok(0)
}

/// The addresses of a simulated world, for a configuration that uses it.
pub(super) struct World {
    /// The bank.
    pub fibank: String,
    /// Google's API.
    pub google: String,
    /// Airtable's API.
    pub airtable: String,
    folder: PathBuf,
}

impl World {
    /// Reads what `simulate --log FOLDER` has written.
    pub fn read(folder: &Path) -> Result<World, String> {
        #[derive(Deserialize)]
        struct Service {
            url: String,
        }
        #[derive(Deserialize)]
        struct Addresses {
            fibank: Service,
            google: Service,
            airtable: Service,
        }
        let folder = std::path::absolute(folder).map_err(|error| error.to_string())?;
        let path = folder.join("world.json");
        let wrong = |why: String| format!("{}: {why}; does `bankfeed simulate --log` run there?", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let read: Addresses = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let google = format!("{}/", read.google.url);
        Ok(World { fibank: read.fibank.url, google, airtable: read.airtable.url, folder })
    }

    /// A data directory that is not the owner's own.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }
}
