//! `import`: hands statement files to the process with the store. The files are opened here, because the daemon may not be
//! able to read them.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::call::call_owner;
use super::terminal::{Terminal, complain};
use crate::commands::USAGE;
use crate::config::Config;
use crate::control::{Command, HiddenText, Output};
use crate::settings::answer;
use crate::source::files::LONGEST_FILE_BYTES;
use crate::source::files::layouts::{self, Column, Layout};
use crate::source::files::settings::account;
use crate::sync::{ImportRequest, Step};

/// Imports these files.
pub(super) fn run(config: &Config, mut request: ImportRequest, files: Vec<PathBuf>, json: bool) -> io::Result<u8> {
    if let Some(text) = request.account.take() {
        match answer::read(&text, account) {
            Ok(account) => request.account = Some(account),
            Err(why) => {
                complain(&format!("--account: {why}"));
                return Ok(USAGE);
            }
        }
    }
    if let Some(text) = request.currency.take() {
        let code = text.trim().to_ascii_uppercase();
        if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            complain(&format!("--currency `{text}`: expected three letters such as EUR"));
            return Ok(USAGE);
        }
        request.currency = Some(code);
    }
    let names = files.iter().map(|file| file.display().to_string()).collect();
    let mut terminal = if json { Terminal::stdout() } else { Terminal::lines() };
    let mut output = Importer { terminal: terminal.clone(), files: Arc::new(files) };
    let status = call_owner(config, &Command::Import { request, files: names, json }, &mut output)?;
    terminal.finish()?;
    Ok(status)
}

/// Lists the CSV layouts that ship.
pub(super) fn list_layouts() -> io::Result<u8> {
    let mut output = Terminal::lines();
    for layout in layouts::shipped() {
        output.data(&format!("{:<24} {}\n", layout.name, columns(layout).join(" · ")))?;
    }
    output.finish()?;
    Ok(0)
}

/// The columns by which a file is known.
fn columns(layout: &Layout) -> Vec<String> {
    let amounts = [&layout.amount, &layout.debit, &layout.credit];
    let named = [Some(&layout.date)].into_iter().chain(amounts.map(Option::as_ref)).flatten();
    let name = |column: &Column| match column {
        Column::Name(name) => name.clone(),
        Column::Number(number) => format!("column {number}"),
    };
    named.map(name).chain(layout.has.iter().cloned()).collect()
}

/// The terminal, with the files of the command line.
#[derive(Clone)]
struct Importer {
    terminal: Terminal,
    files: Arc<Vec<PathBuf>>,
}

impl Output for Importer {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.terminal.data(text)
    }
    fn talk(&mut self, text: &str) -> io::Result<()> {
        self.terminal.talk(text)
    }
    fn step(&mut self, step: Step) -> io::Result<()> {
        self.terminal.step(step)
    }
    fn ask(&mut self, question: &str) -> io::Result<Option<HiddenText>> {
        self.terminal.ask(question)
    }
    fn file(&mut self, number: usize) -> io::Result<Result<File, String>> {
        let opened = self.files.get(number).ok_or_else(|| "there is no such file".to_owned());
        Ok(opened.and_then(|path| open(path).map_err(|error| format!("it cannot be read: {error}"))))
    }
}

/// Opens a file. The bytes of a pipe are gathered first, so that the file can be read more than once.
fn open(path: &Path) -> io::Result<File> {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    let file = File::open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a folder; name the files in it"));
    }
    if kind.is_file() {
        return Ok(file);
    }
    let mut gathered = File::from(rustix::fs::memfd_create("statement", rustix::fs::MemfdFlags::CLOEXEC)?);
    io::copy(&mut file.take(LONGEST_FILE_BYTES as u64 + 1), &mut gathered)?;
    gathered.rewind()?;
    Ok(gathered)
}
