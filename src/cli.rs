//! The command line: what can be asked, and where each command is done.
//!
//! Commands that need the store are values ([`Command`]) which the owner of the store carries out: the running daemon
//! if there is one, else this very process. Each is one short file here and writes to an [`Output`], whoever runs it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::config::{self, Config};
use crate::control::{self, Command, Format, Hidden, Output, Selection};
use crate::daemon::signals::{self, Signals};
use crate::daemon::{self, Owned, Owner};
use crate::listing::day::{Edge, day};
use crate::store::{self, Store};
use crate::sync::{Request, Verification};

mod accounts;
mod backup;
mod check;
mod export;
mod extract;
mod init;
mod log;
mod login;
mod recover;
mod restore;
mod rules;
mod run;
mod simulate;
mod sql;
mod status;
mod sync;
pub mod terminal;
mod transactions;
mod verify;

/// Exit status: something failed and will be tried again.
pub const FAILED: u8 = 1;
/// Exit status: usage or configuration.
pub const USAGE: u8 = 2;
/// How often a command tries to get its turn at a store that passes from one short-lived owner to the next.
const TURNS: usize = 20;
/// Exit status: the owner must act.
pub const ATTENTION: u8 = 3;
/// Exit status: the store cannot be opened.
pub const STORE: u8 = 4;

/// Every bank transaction in your spreadsheet, exactly once.
#[derive(Parser)]
#[command(name = "bankfeed", version, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: ./config.toml, then the user's, then /etc/bankfeed/config.toml]
    #[arg(long, global = true, env = "BANKFEED_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
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
enum RulesSub {
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

/// Which transactions.
#[derive(Args)]
struct Which {
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
    /// What is meant; `Err`: why nothing can be.
    fn selection(self, config: &Config) -> Result<Selection, String> {
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

/// Standard output, with progress on a terminal.
pub fn standard_output() -> terminal::Terminal {
    terminal::Terminal::stdout()
}

/// The first thing that the program does: signals wait until it is known who reads them, what it writes is for its user
/// alone, and its memory, which may hold secrets, is left nowhere.
pub fn begin() -> io::Result<()> {
    signals::hold()?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    let none = rustix::process::Rlimit { current: Some(0), maximum: core.maximum };
    // Where that is forbidden, whoever forbids it has said what becomes of the memory.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    Ok(())
}

/// Runs the program with these arguments and returns its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are data and a success; anything else is talk. A closed pipe is nobody's problem.
            let _ = usage.print();
            return if usage.use_stderr() { USAGE } else { 0 };
        }
    };
    let is_daemon = matches!(cli.command, Sub::Run);
    log::start(is_daemon);
    // A daemon reads its signals; any other program that has nothing to leave in order ends at once.
    let released = if is_daemon { Ok(()) } else { signals::release() };
    match released.and_then(|()| dispatch(cli)) {
        Ok(status) => status,
        // Whoever read our output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            terminal::complain(&error);
            FAILED
        }
    }
}

fn dispatch(cli: Cli) -> io::Result<u8> {
    let command = match cli.command {
        Sub::Demo { keep_running } => return runtime()?.block_on(crate::demo::run(keep_running)),
        Sub::Simulate(options) => return runtime()?.block_on(simulate::run(options)),
        Sub::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bankfeed", &mut script);
            return terminal::Terminal::stdout().data(&String::from_utf8_lossy(&script)).map(|()| 0);
        }
        Sub::Init(options) => return init::run(cli.config.as_deref(), &options),
        Sub::Run => return run::run(cli.config.as_deref()),
        Sub::Reload => return with_config(cli.config.as_deref(), |config| hand_over(&config)),
        Sub::Backup { file } => return with_config(cli.config.as_deref(), |config| back_up(config, &file)),
        Sub::Recover { file } => return with_config(cli.config.as_deref(), |config| recover::run(&config, &file)),
        Sub::Login { name, paste } => {
            return with_config(cli.config.as_deref(), |config| login::run(config, name, paste));
        }
        Sub::Check { trace: None, notify: false } => Command::Check,
        Sub::Check { trace: None, notify: true } => Command::CheckNotify,
        Sub::Check { trace: Some(file), .. } => {
            return with_config(cli.config.as_deref(), |config| check::record(config, &file));
        }
        Sub::Sync { source, destination, retry, dry_run, json } => {
            let some = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
            let by_hand = retry || terminal::is_attended();
            let request = Request { sources: some(source), destinations: some(destination), dry_run, by_hand };
            Command::Sync { request, json }
        }
        Sub::Status { json, exit_code } => Command::Status { json, exit_code },
        Sub::Accounts { json } => Command::Accounts { json },
        Sub::Transactions { selection, json } => {
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                ask_owner(config, Command::Transactions { selection, json }, None)
            });
        }
        Sub::Sql { question, format } => {
            return with_config(cli.config.as_deref(), |config| sql::run(&config, question.as_deref(), format));
        }
        Sub::Rules(RulesSub::Test { json }) => {
            return with_config(cli.config.as_deref(), |config| {
                let rules = config.rules.list().to_vec();
                ask_owner(config, Command::RulesTest { rules, json }, None)
            });
        }
        Sub::Rules(RulesSub::Apply { overwrite, yes }) => {
            return with_config(cli.config.as_deref(), |config| rules::apply(config, overwrite, yes));
        }
        Sub::Export { format, output, selection } if export::is_made_here(format) => {
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                export::make(&config, selection, format, output.as_deref())
            });
        }
        Sub::Export { format, output, selection } => {
            let ending = Some(export::ending(output.as_deref()));
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                ask_owner(config, Command::Export { selection, format, ending }, output.as_deref())
            });
        }
        Sub::Verify { destination, json, repair } => {
            let request = Verification { destinations: destination.map(|name| vec![name]), repair };
            Command::Verify { request, json }
        }
        Sub::Restore { destination, ids } => Command::Restore { destination, ids },
    };
    with_config(cli.config.as_deref(), |config| ask_owner(config, command, None))
}

/// Reads the configuration, and in its time zone which transactions are meant; status 2 where none can be.
fn with_selection(
    path: Option<&Path>,
    which: Which,
    then: impl FnOnce(Config, Selection) -> io::Result<u8>,
) -> io::Result<u8> {
    with_config(path, |config| match which.selection(&config) {
        Ok(selection) => then(config, selection),
        Err(why) => {
            terminal::complain(&why);
            Ok(USAGE)
        }
    })
}

/// Finds and reads the configuration; one line and status 2 where it is no good.
fn with_config(path: Option<&Path>, then: impl FnOnce(Config) -> io::Result<u8>) -> io::Result<u8> {
    let lookup = || config::find(&config::Environment::process(), Path::new(""));
    let found = path.map_or_else(lookup, |path| Ok(path.to_owned()));
    match found.and_then(|path| config::load(&path)) {
        Ok(config) => {
            log::use_zone(config.timezone);
            then(config)
        }
        Err(error) => {
            terminal::complain(&error);
            Ok(USAGE)
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // The runtime itself looks up names on threads. It panics where it has none and can make none; so one stays.
        .thread_keep_alive(std::time::Duration::from_secs(24 * 60 * 60))
        .build()
}

/// Has a command carried out by the owner of the store: the daemon, or this process if there is none.
fn ask_owner(config: Config, command: Command, file: Option<&Path>) -> io::Result<u8> {
    let file = file.map(terminal::SharedFile::create).transpose()?;
    let mut output = match &file {
        Some(file) => terminal::Terminal::file(file),
        None if command.is_text() => terminal::Terminal::lines(),
        None => terminal::Terminal::stdout(),
    };
    let status = in_turn(&config, &command, &mut output)?;
    output.finish()?;
    file.map_or(Ok(()), |file| file.end(status == 0))?;
    Ok(status)
}

/// Has the store sent and puts it into the file.
fn back_up(config: Config, file: &Path) -> io::Result<u8> {
    let Some(mut receiver) = backup::Receiver::create(file) else { return Ok(USAGE) };
    let status = in_turn(&config, &Command::Backup, &mut receiver)?;
    if status == 0 { receiver.finish(file) } else { Ok(status) }
}

/// Tries until there is an owner who carries the command out, be it this process.
fn in_turn<O: Output + Clone + 'static>(config: &Config, command: &Command, output: &mut O) -> io::Result<u8> {
    for _ in 0..TURNS {
        let asked = match control::connect(&config.data_dir) {
            Ok(Some(owner)) => control::call(owner, command, output)?,
            // No owner, or a directory that opening the store will complain about.
            Ok(None) | Err(_) => own(config.clone(), command.clone(), output.clone())?,
        };
        if let Some(status) = asked {
            return Ok(status);
        }
    }
    terminal::complain(&"the store changes hands too quickly; try again");
    Ok(FAILED)
}

/// Owns the store for one command. `None`: somebody else does and went away; see [`control::call`].
fn own(config: Config, command: Command, mut output: impl Output + 'static) -> io::Result<Option<u8>> {
    config.warnings.iter().for_each(|warning| terminal::complain(warning));
    let sends = matches!(
        command,
        Command::Sync { .. }
            | Command::Check
            | Command::CheckNotify
            | Command::Trace { .. }
            | Command::Verify { .. }
            | Command::Restore { .. }
            | Command::RulesApply { .. }
    );
    let missing = if sends { config.missing_secrets() } else { Vec::new() };
    if let Some(first) = missing.first() {
        // A check tells everything at once; for the others one reason is enough.
        let told = if matches!(command, Command::Check | Command::CheckNotify) {
            &missing[..]
        } else {
            std::slice::from_ref(first)
        };
        told.iter().for_each(|error| terminal::complain(error));
        return Ok(Some(USAGE));
    }
    let signals = Signals::take()?;
    let store = match open_store(&config, None) {
        Ok(Opened::Ours(store)) => *store,
        Ok(Opened::Theirs(daemon)) => {
            signals.give_back()?;
            return control::call(daemon, &command, &mut output);
        }
        Err(error) => return Ok(Some(refuse(&error, &config))),
    };
    // A cycle says itself what was left undone.
    let speaks = matches!(command, Command::Sync { .. });
    let work = Box::new(move |owner: Owner| execute(&owner, &command, &mut output));
    let runtime = runtime()?;
    let Owned { status, stopped } = runtime.block_on(daemon::own(config, store, &signals, work))?;
    // Nothing that may still hang on a dead service is worth waiting for.
    runtime.shutdown_background();
    signals.give_back()?;
    // Whatever was to be done with what it said is not wanted any more.
    Ok(Some(if stopped && status == 0 && !speaks { FAILED } else { status }))
}

/// Who has the store.
enum Opened {
    Ours(Box<Store>),
    Theirs(std::os::unix::net::UnixStream),
}

/// Opens the store, under a lock if that is held already, or finds its owner where that has just started.
fn open_store(config: &Config, lock: Option<std::fs::File>) -> Result<Opened, store::Error> {
    let opened = match lock {
        Some(lock) => Store::open_under(&config.data_dir, lock),
        None => Store::open(&config.data_dir),
    };
    let error = match opened {
        Ok(store) => return Ok(Opened::Ours(Box::new(store))),
        Err(error) => error,
    };
    if matches!(error, store::Error::InUse(_))
        && let Ok(Some(daemon)) = control::connect(&config.data_dir)
    {
        return Ok(Opened::Theirs(daemon));
    }
    Err(error)
}

/// Says why the store cannot be opened and returns the exit status.
fn refuse(error: &store::Error, config: &Config) -> u8 {
    terminal::complain(&explain(error, config));
    if *error == store::Error::Full { ATTENTION } else { STORE }
}

/// The exit status that an error of the store amounts to.
pub fn status_of(error: &store::Error) -> u8 {
    match error {
        store::Error::Full => ATTENTION,
        store::Error::Backup(_) => USAGE,
        store::Error::Damaged(_) | store::Error::Foreign(_) | store::Error::InUse(_) => STORE,
        store::Error::Io(_) | store::Error::Unfit(_) => FAILED,
    }
}

/// An error of the store in one line, with the way out where it is damaged.
pub fn explain(error: &store::Error, config: &Config) -> String {
    if !matches!(error, store::Error::Damaged(_)) {
        return error.to_string();
    }
    let data_dir = config.data_dir.display();
    match store::backups::latest(&config.data_dir) {
        Some((backup, head)) => {
            let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
            let made = head.made.with_timezone(&config.timezone).format("%Y-%m-%d %H:%M");
            let (path, backup) = (path.display(), backup.display());
            format!("{error}; bring the last good backup, of {made}, back: bankfeed --config {path} recover {backup}")
        }
        None => format!("{error}; there is no backup: move {data_dir} aside, and everything is fetched anew"),
    }
}

/// Carries a command out for whoever asked. Runs on a thread that may block.
pub fn execute(owner: &Owner, command: &Command, output: &mut dyn Output) -> io::Result<u8> {
    let (store, config) = (&owner.engine.store, &owner.engine.config);
    // A cycle does this for itself, and reports it.
    let ready = if matches!(command, Command::Sync { .. }) { Ok(()) } else { store.revive() };
    let done = ready.map_err(Failure::from).and_then(|()| match command {
        Command::Sync { request, json } => sync::execute(owner, request, *json, output),
        Command::Check => check::execute(owner, output),
        Command::CheckNotify => check::execute_and_notify(owner, output),
        Command::Trace { at_terminal } => check::trace(owner, *at_terminal, output),
        Command::SignIn { name, at_terminal } => login::sign_in(owner, name, *at_terminal, output),
        Command::KeepLogin { name, session } => login::keep(owner, name, session, output),
        Command::Status { json, exit_code } => status::execute(owner, *json, *exit_code, output),
        Command::Accounts { json } => accounts::execute(owner, *json, output),
        Command::Transactions { selection, json } => transactions::execute(owner, selection, *json, output),
        Command::RulesTest { rules, json } => rules::test(owner, rules, *json, output),
        Command::RulesPreview { fingerprint } => rules::preview(owner, *fingerprint, output),
        Command::RulesApply { fingerprint, overwrite } => rules::execute(owner, *fingerprint, *overwrite, output),
        Command::Export { selection, format, ending } => {
            export::execute(owner, selection, *format, ending.as_deref(), output)
        }
        Command::Extract { selection } => extract::execute(owner, selection, output),
        Command::Verify { request, json } => verify::execute(owner, request, *json, output),
        Command::Restore { destination, ids } => restore::execute(owner, destination, ids, output),
        Command::Backup => backup::execute(owner, output),
        Command::Reload { text } => reload(owner, text, output),
    });
    match done {
        Ok(status) => Ok(status),
        Err(Failure::Output(error)) => Err(error),
        Err(Failure::Store(error)) => {
            let error = store.note(error);
            output.talk(&format!("bankfeed: {}\n", explain(&error, config)))?;
            Ok(status_of(&error))
        }
    }
}

/// Has the daemon take up another configuration.
fn reload(owner: &Owner, text: &Hidden, output: &mut dyn Output) -> Done {
    let (status, said) = match owner.reload(text.0.clone()) {
        Ok(true) => (0, "the configuration is reloaded".to_owned()),
        Ok(false) => (0, "the configuration is good; it counts once the running cycle has ended".into()),
        Err(why) => (USAGE, format!("bankfeed: {why}; the configuration before stays")),
    };
    output.talk(&format!("{said}\n"))?;
    Ok(status)
}

/// Hands the configuration to the daemon, which may not be able to read the file.
fn hand_over(config: &Config) -> io::Result<u8> {
    let text = Hidden(config.text.expose_secret().to_owned());
    let asked = match control::connect(&config.data_dir)? {
        Some(daemon) => control::call(daemon, &Command::Reload { text }, &mut terminal::Terminal::stdout())?,
        None => None,
    };
    let none = || terminal::complain(&format!("no daemon runs with the data in {}", config.data_dir.display()));
    Ok(asked.unwrap_or_else(|| {
        none();
        FAILED
    }))
}

/// Why a command could not finish.
enum Failure {
    /// Nobody to tell it to.
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

/// What a command comes to.
type Done = Result<u8, Failure>;

/// Prints a value as pretty JSON with a final newline.
fn print_json<T: serde::Serialize>(value: &T, output: &mut dyn Output) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    output.data(&text)
}
