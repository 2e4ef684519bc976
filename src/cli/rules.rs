//! `bankfeed rules apply` in the process that asks.

use std::io::{self, BufRead, IsTerminal, Write};

use super::call::call_and_print;
use super::terminal::complain;
use crate::commands::USAGE;
use crate::config::Config;
use crate::control::Command;

/// Applies the rules. The question of `--overwrite` comes before anything is written.
pub(super) fn apply(config: Config, overwrite: bool, yes: bool) -> io::Result<u8> {
    let fingerprint = config.rules.fingerprint();
    if overwrite && !yes {
        if !io::stdin().is_terminal() {
            complain(&"--overwrite asks first, and nobody is here to answer; add --yes to mean it");
            return Ok(USAGE);
        }
        let status = call_and_print(config.clone(), Command::RulesPreview { fingerprint }, None)?;
        if status != 0 {
            return Ok(status);
        }
        if !agreed()? {
            io::stderr().write_all(b"nothing was changed\n")?;
            return Ok(0);
        }
    }
    call_and_print(config, Command::RulesApply { fingerprint, overwrite }, None)
}

fn agreed() -> io::Result<bool> {
    // The question goes straight to the terminal, because a progress bar would be drawn over it.
    io::stderr().write_all(b"Overwrite? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
