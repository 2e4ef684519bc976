//! `bankfeed check`: proves everything live, or records what the bank says.

use std::io;
use std::path::Path;

use chrono::Utc;

use super::terminal::{Terminal, complain, is_attended};
use super::{Done, FAILED, USAGE, in_turn};
use crate::config::Config;
use crate::control::{Command, Output};
use crate::daemon::Owner;
use crate::notify;
use crate::sync::{Checked, Outcome};

/// Checks and prints one line per finding.
pub(super) fn execute(owner: &Owner, output: &mut dyn Output) -> Done {
    let config = &owner.engine.config;
    output.data(&format!("ok    configuration {}\n", config.path.display()))?;
    let checked = owner.check(output)??;
    output.data(&findings(&checked))?;
    Ok(status(&checked))
}

/// The same, and tells each notifier something.
pub(super) fn execute_and_notify(owner: &Owner, output: &mut dyn Output) -> Done {
    if owner.engine.config.notifiers.is_empty() {
        output
            .talk("bankfeed: the configuration has no [[notify]] entry, so nobody would be told anything; add one\n")?;
        return Ok(USAGE);
    }
    let checked = execute(owner, output)?;
    let told = tokio::runtime::Handle::current().block_on(notify::test(&owner.engine.config.notifiers, Utc::now()));
    for (notifier, told) in owner.engine.config.notifiers.iter().zip(&told) {
        let (word, text) = match told {
            Ok(()) => ("ok  ", "a test notice is on its way; look whether it arrives"),
            Err(why) => ("FAIL", why.as_str()),
        };
        output.data(&format!("{word}  notify {}: {text}\n", notifier.name))?;
    }
    let failed = told.iter().any(Result::is_err);
    Ok(if checked == 0 && failed { FAILED } else { checked })
}

/// Records: the recording is data, the findings are talk.
pub(super) fn trace(owner: &Owner, at_terminal: bool, output: &mut dyn Output) -> Done {
    let (checked, text) = owner.trace(at_terminal, output)??;
    output.data(&text)?;
    output.talk(&findings(&checked))?;
    Ok(status(&checked))
}

/// `check --trace FILE` on the side of whoever asks: the file is theirs.
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
    let status = in_turn(&config, &command, &mut file)?;
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

fn findings(checked: &[Checked]) -> String {
    let mut text = String::new();
    for check in checked {
        let word = if check.outcome == Outcome::Ok { "ok  " } else { "FAIL" };
        check.lines.iter().for_each(|line| text += &format!("{word}  {}: {line}\n", check.what));
    }
    text
}

fn status(checked: &[Checked]) -> u8 {
    let any = |outcome| checked.iter().any(|check| check.outcome == outcome);
    if any(Outcome::Attention) {
        super::ATTENTION
    } else if any(Outcome::Failed) {
        FAILED
    } else {
        0
    }
}
