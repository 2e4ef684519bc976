//! `bankfeed check --trace FILE` in the process that asks.

use std::io;
use std::path::Path;

use super::call::call_owner;
use super::terminal::{Terminal, complain, is_attended};
use crate::commands::USAGE;
use crate::config::Config;
use crate::control::{Command, Output};

/// Has the answers of the sources recorded in a new file, which belongs to the caller.
pub(super) fn record(config: Config, path: &Path) -> io::Result<u8> {
    let mut file = match Terminal::new_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            complain(&format!("{} is there already and is left as it is; name another file", path.display()));
            return Ok(USAGE);
        }
        Err(error) => {
            complain(&format!("cannot write {}: {error}", path.display()));
            return Ok(USAGE);
        }
    };
    let command = Command::Trace { at_terminal: is_attended() };
    let status = call_owner(&config, &command, &mut file)?;
    file.finish()?;
    if path.metadata()?.len() == 0 {
        std::fs::remove_file(path)?;
        return Ok(status);
    }
    let path = path.display();
    file.talk(&format!(
        "{path} is written: what the bank answered, values replaced. Look through it before you send it.\n"
    ))?;
    Ok(status)
}
