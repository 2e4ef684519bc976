//! This process's own output: data to stdout or a file, talk and progress bars to stderr.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;

use super::init::ask::{Asker, Stop};
use crate::control::{Hidden, Output};
use crate::sync::Step;

/// One line of trouble for stderr. Where stderr is closed nobody wants to know.
pub fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "bankfeed: {what}");
}

/// Whether a person runs this command: one who can type, and who reads what is said. A timer has neither; a pipe behind
/// the command (`bankfeed sync --json | jq`) takes only the data away.
pub fn is_attended() -> bool {
    io::stdin().is_terminal() && (io::stderr().is_terminal() || io::stdout().is_terminal())
}

/// Standard output or a file, and a progress bar where stderr is a terminal.
#[derive(Clone)]
pub struct Terminal {
    data: Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>,
    bar: Option<ProgressBar>,
}

impl Terminal {
    /// Data goes to stdout.
    pub fn stdout() -> Terminal {
        Terminal::new(Box::new(io::stdout()))
    }

    /// Data goes to a new file that only its owner can read: it holds somebody's money.
    pub fn file(path: &Path) -> io::Result<Terminal> {
        use std::os::unix::fs::OpenOptionsExt;
        let file: File = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))?;
        Ok(Terminal::new(Box::new(file)))
    }

    /// Data goes to a file that must not be there yet and that only its owner can read.
    pub fn new_file(path: &Path) -> io::Result<Terminal> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Terminal::new(Box::new(file)))
    }

    fn new(data: Box<dyn Write + Send>) -> Terminal {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Terminal { data: Arc::new(Mutex::new(BufWriter::new(data))), bar }
    }

    /// The same output for another thread.
    pub fn share(&self) -> Terminal {
        self.clone()
    }

    /// Writes out what is buffered and takes the bar away.
    pub fn finish(&mut self) -> io::Result<()> {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        self.data.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

impl Output for Terminal {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        data.write_all(text.as_bytes())?;
        data.flush()
    }

    fn talk(&mut self, text: &str) -> io::Result<()> {
        match &self.bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(text.as_bytes())),
            None => io::stderr().write_all(text.as_bytes()),
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<Option<Hidden>> {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        let good = |text: &str| {
            Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).ok_or("it is empty".into())
        };
        match Asker::new().ask_secret(question, good) {
            Ok(answer) => Ok(Some(Hidden(answer.expose_secret().to_owned()))),
            Err(Stop(why)) => {
                complain(&why);
                Ok(None)
            }
        }
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_message(step.label);
            bar.set_length(step.total);
            bar.set_position(step.done);
            bar.tick();
        }
        Ok(())
    }
}
