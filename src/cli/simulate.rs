//! `bankfeed simulate` (hidden): the simulated bank and services alone, for tests from outside and for benchmarks.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use chrono::Utc;
use serde::Deserialize;
use serde_json::json;

use super::terminal::Terminal;
use crate::control::Output;
use crate::daemon::signals::Signals;
use crate::simulator::fibank::Bank;
use crate::simulator::services::Services;
use crate::simulator::simplefin::Ledger;

/// Options of the simulation.
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

/// Runs the simulators until the process is told to stop. A line of JSON tells their addresses.
pub(super) async fn run(options: Options) -> io::Result<u8> {
    let signals = Signals::take()?;
    let bank = match options.rows {
        Some(rows) => Bank::large(rows),
        None => Bank::household(Utc::now().with_timezone(&chrono_tz::Europe::Sofia).date_naive()),
    };
    let services = Services::start(bank, "bankfeed").await?;
    if let Some(rows) = options.rows {
        services.simplefin.edit(|ledger| *ledger = Ledger::large(Utc::now().date_naive(), rows as u64));
    }
    if options.no_limits {
        services.lift_limits();
    }
    std::fs::create_dir_all(&options.log)?;
    let folder = std::path::absolute(&options.log)?;
    for (name, server) in services.servers() {
        // The log on disk is enough; keeping it in memory as well would only grow.
        server.keep_log(false);
        server.log_to(std::fs::File::create(options.log.join(format!("{name}.jsonl")))?);
    }
    let key_file = folder.join("google-key.json");
    services.write_key(&key_file)?;
    let mut addresses = services.description(&key_file);
    addresses["log"] = json!(options.log);
    // The description for `init --simulated`, and the answers that a person would give to it.
    std::fs::write(options.log.join("world.json"), format!("{addresses}\n"))?;
    std::fs::write(options.log.join("answers"), services.answers(&key_file))?;
    Terminal::stdout().data(&format!("{addresses}\n"))?;
    signals.stop().await;
    Ok(0)
}

/// The addresses of a simulated world, for a configuration that uses it.
pub(super) struct World {
    /// Addresses by kind of source or destination.
    base_urls: BTreeMap<String, String>,
    folder: PathBuf,
}

impl World {
    /// Reads the description that `simulate --log FOLDER` has written.
    pub fn read(folder: &Path) -> Result<World, String> {
        #[derive(Deserialize)]
        struct Described {
            base_urls: BTreeMap<String, String>,
        }
        let folder = std::path::absolute(folder).map_err(|error| error.to_string())?;
        let path = folder.join("world.json");
        let wrong = |why: String| format!("{}: {why}; does `bankfeed simulate --log` run there?", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let Described { base_urls } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(World { base_urls, folder })
    }

    /// The address of the service that stands for this kind of source or destination.
    pub fn base_url(&self, kind: &str) -> Option<&str> {
        self.base_urls.get(kind).map(String::as_str)
    }

    /// A data directory that is not the owner's own.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }
}
