//! The command line: reads the arguments, finds the configuration and hands the command on. Commands that need the store
//! go to the process that has it ([`call`]); the others are done here.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::{CommandFactory, Parser};

use crate::commands::{FAILED, USAGE};
use crate::config::{self, Config};
use crate::control::{Command, Output};
use crate::daemon::signals;
use crate::selection::Selection;
use crate::sync::{Answer, ImportRequest, Request, Verification};

mod arguments;
mod backup;
mod call;
mod check;
mod dump_receiver;
mod export;
mod import;
mod init;
mod log;
mod login;
mod recover;
mod rules;
mod run;
mod simulate;
mod sql;
pub mod terminal;

use arguments::{Cli, Decision, RulesSub, Sub, Which};
use call::call_and_print;
use terminal::{Terminal, complain};

/// The first step of the program: signals wait until their reader is known, new files are readable for their user alone,
/// and no core dump is written, because the memory may hold secrets.
pub fn begin() -> io::Result<()> {
    signals::hold()?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    let none = rustix::process::Rlimit { current: Some(0), maximum: core.maximum };
    // The limit may be forbidden; the system then decides about core dumps by itself.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    Ok(())
}

/// Runs the program with these arguments and returns its exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are data and a success; anything else is an error. A closed pipe does not matter.
            let _ = usage.print();
            return if usage.use_stderr() { USAGE } else { 0 };
        }
    };
    let is_daemon = matches!(cli.command, Sub::Run);
    log::start(is_daemon);
    // The daemon reads its signals; a command without the store may end at once.
    let released = if is_daemon { Ok(()) } else { signals::release() };
    match released.and_then(|()| dispatch(cli)) {
        Ok(status) => status,
        // The reader of the output has closed it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(&error);
            FAILED
        }
    }
}

fn dispatch(cli: Cli) -> io::Result<u8> {
    let command = match cli.command {
        Sub::Demo { keep_running } => {
            let mut output = Terminal::stdout();
            let status = runtime()?.block_on(crate::demo::run(keep_running, output.clone()))?;
            return output.finish().map(|()| status);
        }
        Sub::Simulate(options) => return runtime()?.block_on(simulate::run(options)),
        Sub::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bankfeed", &mut script);
            return Terminal::stdout().data(&String::from_utf8_lossy(&script)).map(|()| 0);
        }
        Sub::Init(options) => return init::run(cli.config.as_deref(), &options),
        Sub::Run => return run::run(cli.config.as_deref()),
        Sub::Reload => return with_config(cli.config.as_deref(), |config| call::reload(&config)),
        Sub::Backup { file } => return with_config(cli.config.as_deref(), |config| backup::run(&config, &file)),
        Sub::Recover { file } => return with_config(cli.config.as_deref(), |config| recover::run(&config, &file)),
        Sub::Login { name: Some(name), banks: true, json, .. } => Command::Banks { name, json },
        Sub::Login { name, paste, .. } => {
            return with_config(cli.config.as_deref(), |config| login::run(config, name, paste));
        }
        Sub::Check { trace: None, notify: false } => Command::Check,
        Sub::Check { trace: None, notify: true } => Command::CheckNotify,
        Sub::Check { trace: Some(file), .. } => {
            return with_config(cli.config.as_deref(), |config| check::record(config, &file));
        }
        Sub::Sync { source, destination, retry, dry_run, json } => {
            let some = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
            let at_terminal = terminal::is_attended();
            let (sources, destinations, by_hand) = (some(source), some(destination), retry || at_terminal);
            let request = Request { sources, destinations, dry_run, by_hand, at_terminal };
            Command::Sync { request, json }
        }
        Sub::Status { json, exit_code } => Command::Status { json, exit_code },
        Sub::Accounts { json } => Command::Accounts { json },
        Sub::Transactions { selection, json } => {
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                call_and_print(config, Command::Transactions { selection, json }, None)
            });
        }
        Sub::Sql { question, format } => {
            return with_config(cli.config.as_deref(), |config| sql::run(&config, question.as_deref(), format));
        }
        Sub::Rules(RulesSub::Test { json }) => {
            return with_config(cli.config.as_deref(), |config| {
                let rules = config.rules.list().to_vec();
                call_and_print(config, Command::RulesTest { rules, json }, None)
            });
        }
        Sub::Rules(RulesSub::Apply { overwrite, yes }) => {
            return with_config(cli.config.as_deref(), |config| rules::apply(config, overwrite, yes));
        }
        Sub::Export { format, output, selection } if export::is_built_here(format) => {
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                export::build(&config, selection, format, output.as_deref())
            });
        }
        Sub::Export { format, output, selection } => {
            let ending = Some(export::ending(output.as_deref()));
            return with_selection(cli.config.as_deref(), selection, |config, selection| {
                call_and_print(config, Command::Export { selection, format, ending }, output.as_deref())
            });
        }
        Sub::Verify { destination, json, repair } => {
            let request = Verification { destinations: destination.map(|name| vec![name]), repair };
            Command::Verify { request, json }
        }
        Sub::Import { layouts: true, .. } => return import::list_layouts(),
        Sub::Import { paths, source, account, currency, layout, dry_run, json, layouts: false } => {
            let request = ImportRequest { source, account, currency, layout, dry_run };
            return with_config(cli.config.as_deref(), |config| import::run(&config, request, paths, json));
        }
        Sub::Restore { destination, ids } => Command::Restore { destination, ids },
        Sub::Match { decision: Decision::Different, known_id: Some(known), .. } => {
            complain(&format!("a row that is different is the same as none, so `{known}` is one word too many"));
            return Ok(USAGE);
        }
        Sub::Match { decision: Decision::Different, id, known_id: None } => {
            Command::Match { id, answer: Answer::Different }
        }
        Sub::Match { decision: Decision::Same, id, known_id } => Command::Match { id, answer: Answer::Same(known_id) },
    };
    with_config(cli.config.as_deref(), |config| call_and_print(config, command, None))
}

/// Reads the configuration and the selection, whose days are in the configuration's time zone; status 2 where the selection
/// makes no sense.
fn with_selection(
    path: Option<&Path>,
    which: Which,
    then: impl FnOnce(Config, Selection) -> io::Result<u8>,
) -> io::Result<u8> {
    with_config(path, |config| match which.selection(&config) {
        Ok(selection) => then(config, selection),
        Err(why) => {
            complain(&why);
            Ok(USAGE)
        }
    })
}

/// Finds and reads the configuration; one line and status 2 where the configuration is no good.
fn with_config(path: Option<&Path>, then: impl FnOnce(Config) -> io::Result<u8>) -> io::Result<u8> {
    let lookup = || config::find(&config::Environment::process(), Path::new(""));
    let found = path.map_or_else(lookup, |path| Ok(path.to_owned()));
    match found.and_then(|path| config::load(&path)) {
        Ok(config) => {
            log::use_zone(config.timezone);
            then(config)
        }
        Err(error) => {
            complain(&error);
            Ok(USAGE)
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // The runtime looks up names on threads and panics where it cannot make one, so one thread is kept.
        .thread_keep_alive(std::time::Duration::from_secs(24 * 60 * 60))
        .build()
}
