//! `bankfeed backup FILE` in the process that asks: the store arrives as lines of base64 and becomes a file.
//!
//! The bytes go to a file beside the one asked for. The file is read back before it gets its name.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::call::call_owner;
use super::terminal::{Terminal, complain};
use crate::commands::{self, USAGE};
use crate::config::Config;
use crate::control::{Command, Output};
use crate::store::backup::Part;
use crate::sync::Step;

/// Has the store sent and puts it into the file.
pub(super) fn run(config: &Config, file: &Path) -> io::Result<u8> {
    let Some(mut receiver) = Receiver::create(file) else { return Ok(USAGE) };
    let status = call_owner(config, &Command::Backup, &mut receiver)?;
    if status == 0 { receiver.finish(file) } else { Ok(status) }
}

/// The file being received, as an output.
#[derive(Clone)]
struct Receiver {
    part: Arc<Mutex<Option<Part>>>,
    terminal: Terminal,
}

impl Receiver {
    /// Begins the file; `None`: the file cannot be written, and the reason was printed.
    fn create(path: &Path) -> Option<Receiver> {
        match Part::create(path) {
            Ok(part) => Some(Receiver { part: Arc::new(Mutex::new(Some(part))), terminal: Terminal::stdout() }),
            Err(error) => {
                complain(&error);
                None
            }
        }
    }

    /// Checks the file, gives it its name and prints the number of transactions.
    fn finish(mut self, path: &Path) -> io::Result<u8> {
        let Some(part) = self.part().take() else { return Ok(commands::FAILED) };
        match part.finish() {
            Ok(contents) => {
                let rows = contents.meta.rows;
                self.terminal.data(&format!("{rows} transactions are in {}\n", path.display()))?;
                Ok(0)
            }
            Err(error) => {
                complain(&error);
                Ok(commands::status_of(&error))
            }
        }
    }

    fn part(&self) -> MutexGuard<'_, Option<Part>> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Receiver {
    fn data(&mut self, text: &str) -> io::Result<()> {
        let bytes = BASE64.decode(text.trim_end()).map_err(io::Error::other)?;
        match self.part().as_mut() {
            Some(part) => part.write_all(&bytes),
            None => Err(io::Error::other("the file was closed already")),
        }
    }

    fn talk(&mut self, text: &str) -> io::Result<()> {
        self.terminal.talk(text)
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        self.terminal.step(step)
    }
}
