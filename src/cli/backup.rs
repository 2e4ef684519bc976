//! `bankfeed backup FILE`: the whole store as one portable file.
//!
//! The owner of the store sends the file as lines of base64, because the control socket carries text; whoever asked
//! decodes them into a file beside the one asked for, reads it back, and only then gives it its name.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::Utc;

use super::terminal::{Terminal, complain};
use super::{Done, FAILED, Failure};
use crate::control::Output;
use crate::daemon::Owner;
use crate::store::backups::{self, Part};
use crate::sync::Step;

/// Sends the store.
pub(super) fn execute(owner: &Owner, output: &mut dyn Output) -> Done {
    let store = &owner.engine.store;
    let sent = backups::stream(store, Utc::now(), |bytes| output.data(&format!("{}\n", BASE64.encode(bytes))))?;
    store.rest();
    sent.map(|()| 0).map_err(Failure::Output)
}

/// The file on its way, as an output.
#[derive(Clone)]
pub(super) struct Receiver {
    part: Arc<Mutex<Option<Part>>>,
    terminal: Terminal,
}

impl Receiver {
    /// Begins the file; `None`: it cannot be written, and that was said.
    pub(super) fn create(path: &Path) -> Option<Receiver> {
        match Part::create(path) {
            Ok(part) => Some(Receiver { part: Arc::new(Mutex::new(Some(part))), terminal: Terminal::stdout() }),
            Err(error) => {
                complain(&error);
                None
            }
        }
    }

    /// Checks the file, gives it its name and says what it holds.
    pub(super) fn finish(mut self, path: &Path) -> io::Result<u8> {
        let Some(part) = self.part().take() else { return Ok(FAILED) };
        match part.finish() {
            Ok(contents) => {
                let rows = contents.meta.rows;
                self.terminal.data(&format!("{rows} transactions are in {}\n", path.display()))?;
                Ok(0)
            }
            Err(error) => {
                complain(&error);
                Ok(super::status_of(&error))
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
