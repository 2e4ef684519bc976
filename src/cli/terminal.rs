//! The output of the process itself: data to stdout or a file, talk and progress bars to stderr.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret;

use super::init::ask::Asker;
use crate::control::{HiddenText, Output};
use crate::files::{self, OutputFile};
use crate::printable::printable;
use crate::settings::interview::{Interview, Stop};
use crate::sync::Step;

/// Prints a line of trouble to stderr. A closed stderr does not matter.
pub fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "bankfeed: {}", printable(&what.to_string()));
}

/// True if a person runs this command: stdin is a terminal, and stderr or stdout is one. A timer has no terminal; a pipe
/// behind the command (`bankfeed sync --json | jq`) takes stdout only.
pub fn is_attended() -> bool {
    io::stdin().is_terminal() && (io::stderr().is_terminal() || io::stdout().is_terminal())
}

/// A file in the making that an output of several threads writes to.
#[derive(Clone)]
pub struct SharedFile(Arc<Mutex<Option<OutputFile>>>);

impl SharedFile {
    /// Begins the file.
    pub fn create(path: &Path) -> io::Result<SharedFile> {
        Ok(SharedFile(Arc::new(Mutex::new(Some(OutputFile::create(path)?)))))
    }

    /// Gives a whole file its name; otherwise the former file stays.
    pub fn end(&self, is_whole: bool) -> io::Result<()> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        file.filter(|_| is_whole).map_or(Ok(()), OutputFile::finish)
    }
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Err(io::Error::other("the file was closed already")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output or a file, and a progress bar where stderr is a terminal.
#[derive(Clone)]
pub struct Terminal {
    data: Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>,
    bar: Option<ProgressBar>,
    /// True if people read the data.
    is_read: bool,
}

impl Terminal {
    /// Data goes to stdout.
    pub fn stdout() -> Terminal {
        Terminal { is_read: io::stdout().is_terminal(), ..Terminal::new(Box::new(io::stdout())) }
    }

    /// Data goes to stdout as lines for people, even if stdout is no terminal.
    pub fn lines() -> Terminal {
        Terminal { is_read: true, ..Terminal::stdout() }
    }

    /// Data goes to this file, which the caller finishes.
    pub fn file(file: &SharedFile) -> Terminal {
        Terminal::new(Box::new(file.clone()))
    }

    /// Data goes to a file that must not be there yet and that only its owner can read.
    pub fn new_file(path: &Path) -> io::Result<Terminal> {
        Ok(Terminal::new(Box::new(files::create_new(path)?)))
    }

    fn new(data: Box<dyn Write + Send>) -> Terminal {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Terminal { data: Arc::new(Mutex::new(BufWriter::new(data))), bar, is_read: false }
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
        let text = if self.is_read { printable(text) } else { text.into() };
        data.write_all(text.as_bytes())?;
        data.flush()
    }

    fn talk(&mut self, text: &str) -> io::Result<()> {
        let text = printable(text);
        match &self.bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(text.as_bytes())),
            None => io::stderr().write_all(text.as_bytes()),
        }
    }

    fn ask(&mut self, question: &str) -> io::Result<Option<HiddenText>> {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
        let good = |text: &str| {
            Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned).ok_or("it is empty".into())
        };
        match Asker::new().ask_secret(question, &good) {
            Ok(answer) => Ok(Some(HiddenText(answer.expose_secret().to_owned()))),
            Err(Stop(why)) => {
                complain(&why);
                Ok(None)
            }
        }
    }

    fn step(&mut self, step: Step) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            bar.set_message(printable(&step.label).into_owned());
            bar.set_length(step.total);
            bar.set_position(step.done);
            bar.tick();
        }
        Ok(())
    }
}
