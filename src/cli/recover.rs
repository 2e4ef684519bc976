//! `bankfeed recover FILE`: a backup becomes the store again. Runs by itself, never beside a daemon.

use std::io;
use std::path::Path;

use chrono::Utc;

use super::terminal::{Terminal, complain};
use crate::commands::{STORE, status_of};
use crate::config::Config;
use crate::control::{self, Output};
use crate::store;

/// Puts the backup in the store's place and says what that means.
pub(super) fn run(config: &Config, file: &Path) -> io::Result<u8> {
    if control::connect(&config.data_dir)?.is_some() {
        let dir = config.data_dir.display();
        complain(&format!(
            "another bankfeed process owns {dir}; stop it first (`systemctl stop bankfeed`), then recover again"
        ));
        return Ok(STORE);
    }
    let recovered = match store::backup::restore(&config.data_dir, file, Utc::now()) {
        Ok(recovered) => recovered,
        Err(error) => {
            complain(&error);
            return Ok(status_of(&error));
        }
    };
    let made = recovered.head.made.with_timezone(&config.timezone);
    let mut text = format!("{} transactions are back, as of {}\n", recovered.rows, made.format("%Y-%m-%d %H:%M"));
    if let Some(kept) = recovered.kept {
        text += &format!("the former store is kept in {}\n", kept.display());
    }
    text += "what was fetched since will be fetched again; each destination is asked what it holds before anything is \
             appended, so that nothing arrives twice\n";
    Terminal::stdout().data(&text)?;
    Ok(0)
}
