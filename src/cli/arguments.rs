//! The command line as clap reads it. The comments here are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{init, simulate, sql};
use crate::config::Config;
use crate::export::Format;
use crate::selection::Selection;
use crate::selection::day::{Edge, day};

/// Every bank transaction in your spreadsheet, exactly once.
#[derive(Parser)]
#[command(name = "bankfeed", version, max_term_width = 100)]
pub(super) struct Cli {
    /// Configuration file [default: ./config.toml, then the user's, then /etc/bankfeed/config.toml]
    #[arg(long, global = true, env = "BANKFEED_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Sub,
}

#[derive(Subcommand)]
pub(super) enum Sub {
    /// Show the whole job with no account anywhere, against a simulated bank and simulated services
    Demo {
        /// Keep the simulated services running afterwards
        #[arg(long)]
        keep_running: bool,
    },
    /// Ask a few questions and write a configuration; one that is there is never overwritten
    Init(init::Options),
    /// Prove configuration, secrets, sources and destinations, writing nothing
    Check {
        /// Record in a new file what the bank answers, every name, number and secret replaced
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Also send a test notice to each [[notify]]
        #[arg(long, conflicts_with = "trace")]
        notify: bool,
    },
    /// Sign in by hand where a key is not enough; without NAME: say where that can be done
    Login {
        /// Name of the source or destination
        name: Option<String>,
        /// Of a bank: take the token of a session opened in a browser
        #[arg(long, requires = "name")]
        paste: bool,
        /// Of a service for many banks: list the banks of the country, by the names that the configuration takes
        #[arg(long, requires = "name", conflicts_with = "paste")]
        banks: bool,
        /// Print the list as JSON
        #[arg(long, requires = "banks")]
        json: bool,
    },
    /// Run one cycle now
    Sync {
        /// Pull only this source (may be repeated)
        #[arg(long, value_name = "NAME")]
        source: Vec<String>,
        /// Deliver only to this destination (may be repeated)
        #[arg(long, value_name = "NAME")]
        destination: Vec<String>,
        /// Say that you have acted: also try sources that are left alone until you have (on a terminal that is taken as
        /// said)
        #[arg(long)]
        retry: bool,
        /// Say what would happen and write nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the daemon
    Run,
    /// Show how everything stands
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// End with status 3 while you must act, 1 while something else fails
        #[arg(long)]
        exit_code: bool,
    },
    /// List the accounts in the store
    Accounts {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List transactions in the store
    Transactions {
        #[command(flatten)]
        selection: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the store in SQL, read-only: tables accounts, transactions, deliveries; without a question, a prompt
    Sql {
        /// The question, e.g. "SELECT COUNT(*) FROM transactions"
        #[arg(value_name = "QUERY")]
        question: Option<String>,
        /// Form of the answer
        #[arg(long, value_enum, default_value_t = sql::Format::Table)]
        format: sql::Format,
    },
    /// Try the rules of the configuration, or apply them to rows already there
    #[command(subcommand)]
    Rules(RulesSub),
    /// Write everything out for other tools
    Export {
        /// Form of the output
        #[arg(long, value_enum)]
        format: Format,
        /// Write to this file instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        selection: Which,
    },
    /// Bring statement files into the store by hand; a file that cannot be read whole is refused whole
    Import {
        /// The files: MT940, CAMT, OFX, CSV, or .zip of these; `-` is standard input
        #[arg(required_unless_present = "layouts", value_name = "FILE")]
        paths: Vec<PathBuf>,
        /// Take mapping and CSV layouts from this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// The account of files that name none
        #[arg(long)]
        account: Option<String>,
        /// The currency of files that name none
        #[arg(long)]
        currency: Option<String>,
        /// Read CSV files by this layout alone
        #[arg(long, value_name = "NAME")]
        layout: Option<String>,
        /// Say what would happen and store nothing
        #[arg(long)]
        dry_run: bool,
        /// Print the results as JSON, one object for each statement
        #[arg(long)]
        json: bool,
        /// List the CSV layouts that ship
        #[arg(long, conflicts_with = "paths")]
        layouts: bool,
    },
    /// Read a destination back and say exactly what is missing, doubled or different
    Verify {
        /// Only this destination
        destination: Option<String>,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
        /// Put back what is missing, remove surplus copies, write differing cells again
        #[arg(long)]
        repair: bool,
    },
    /// Put back rows that you once deleted in a destination
    Restore {
        /// Name of the destination
        destination: String,
        /// Ids of the transactions, as `status` lists them
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Decide on a row that may be the same as a row of another source, as `status` lists them
    Match {
        /// The decision
        decision: Decision,
        /// Id of the row that is kept apart
        id: String,
        /// Id of the transaction that it is the same as; needed where there are several candidates
        known_id: Option<String>,
    },
    /// Write the whole store into one portable file
    Backup {
        /// The file
        file: PathBuf,
    },
    /// Bring a backup back; the present store is kept beside it
    Recover {
        /// The file
        file: PathBuf,
    },
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Hand the configuration to the running daemon, as `systemctl reload` does
    #[command(hide = true)]
    Reload,
    /// Run the simulated bank and services alone and print their addresses
    #[command(hide = true)]
    Simulate(simulate::Options),
}

#[derive(Subcommand)]
pub(super) enum RulesSub {
    /// Show which rule sets what on which transactions, and which none fits; writes nothing
    Test {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Fill what is still empty in rows already delivered
    Apply {
        /// Also replace what rules gave before, whatever the cells hold now
        #[arg(long)]
        overwrite: bool,
        /// Do not ask before overwriting
        #[arg(long, requires = "overwrite")]
        yes: bool,
    },
}

/// The options that select transactions.
#[derive(Args)]
pub(super) struct Which {
    /// Booked on or after this day: 2026-01-31, 2026-01, 2026, today, yesterday, or 30d (so many days ago; also w, m, y)
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    since: Option<String>,
    /// Booked on or before this day
    #[arg(long, value_name = "DAY", allow_hyphen_values = true)]
    until: Option<String>,
    /// Of this account: its IBAN or its name, whatever the capitals
    #[arg(long, allow_hyphen_values = true)]
    account: Option<String>,
    /// With this text in any field
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    search: Option<String>,
    /// Only the latest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl Which {
    /// The selection that is meant; `Err`: why the selection makes no sense.
    pub(super) fn selection(self, config: &Config) -> Result<Selection, String> {
        let today = chrono::Utc::now().with_timezone(&config.timezone).date_naive();
        let read = |option: &str, text: Option<String>, edge: Edge| match text {
            Some(text) => day(&text, edge, today).map(Some).map_err(|why| format!("{option} `{text}`: {why}")),
            None => Ok(None),
        };
        let selection = Selection {
            since: read("--since", self.since, Edge::First)?,
            until: read("--until", self.until, Edge::Last)?,
            account: self.account,
            search: self.search,
            limit: self.limit.map(|limit| limit as usize),
        };
        selection.contradiction().map_or(Ok(selection), Err)
    }
}

/// The owner's word on a row that is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Decision {
    /// The row is one that is known
    Same,
    /// The row is one of its own, and is delivered
    Different,
}
