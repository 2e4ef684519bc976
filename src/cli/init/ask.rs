//! Questions and answers: from a terminal, where a wrong answer is asked for again and a secret is not shown, or from a
//! pipe, one answer a line.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use secrecy::{SecretString, zeroize::Zeroize};

use crate::printable::printable;
use crate::settings::interview::{Interview, Stop};

/// The character of Ctrl-C where it does not interrupt.
const INTERRUPT: char = '\u{3}';

/// Asks on stderr and reads from stdin.
pub(in crate::cli) struct Asker {
    /// A person sits at the terminal and can be asked again.
    is_terminal: bool,
}

impl Asker {
    pub fn new() -> Asker {
        Asker { is_terminal: io::stdin().is_terminal() }
    }
}

impl Interview for Asker {
    fn say(&mut self, text: &str) {
        tell(text);
    }

    fn ask(
        &mut self,
        question: &str,
        usual: Option<&str>,
        take: &mut dyn FnMut(&str) -> Result<(), String>,
    ) -> Result<(), Stop> {
        let hint = usual.map_or(String::new(), |usual| format!(" [{usual}]"));
        loop {
            let line = self.line(&format!("{question}{hint}: "), question, false)?;
            let given = line.trim();
            let given = usual.filter(|_| given.is_empty()).unwrap_or(given);
            match take(given) {
                Ok(()) => return Ok(()),
                Err(why) => self.refuse(question, &why)?,
            }
        }
    }

    fn ask_secret(
        &mut self,
        question: &str,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<SecretString, Stop> {
        loop {
            let mut line = self.line(&format!("{question}: "), question, true)?;
            let read = read(&line);
            line.zeroize();
            match read {
                Ok(answer) => return Ok(SecretString::from(answer)),
                Err(why) => self.refuse(question, &why)?,
            }
        }
    }
}

/// Writes to stderr. A closed stderr means that no reader is left.
fn tell(text: &str) {
    let _ = io::stderr().write_all(printable(text).as_bytes());
}

impl Asker {
    fn refuse(&self, question: &str, why: &str) -> Result<(), Stop> {
        if !self.is_terminal {
            return Err(Stop(format!("{question}: {why}")));
        }
        tell(&format!("  That does not work: {why}. Once more.\n"));
        Ok(())
    }

    fn line(&self, prompt: &str, question: &str, hidden: bool) -> Result<String, Stop> {
        // First the silence, then the question: whoever types at once is not seen either.
        let silence = (hidden && self.is_terminal).then(Silence::begin).flatten();
        tell(prompt);
        let read = read_line(&mut io::stdin().lock());
        drop(silence);
        // Text that was typed unseen, or came from a pipe, has not moved the cursor on.
        if hidden || !self.is_terminal {
            tell("\n");
        }
        match read {
            Ok(line) if line.is_empty() => Err(Stop(format!("the answers end before the question \"{question}\""))),
            Ok(line) if line.contains(INTERRUPT) => Err(Stop("interrupted".into())),
            Ok(mut line) => {
                line.truncate(line.trim_end_matches(['\n', '\r']).len());
                Ok(line)
            }
            Err(error) => Err(Stop(format!("cannot read an answer: {error}"))),
        }
    }
}

/// A line with its end, which may be a typed Ctrl-C; empty: there is no more.
fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let buffer = input.fill_buf()?;
        let end = buffer.iter().position(|byte| [b'\n', INTERRUPT as u8].contains(byte));
        let taken = end.map_or(buffer.len(), |end| end + 1);
        line.extend_from_slice(&buffer[..taken]);
        input.consume(taken);
        if end.is_some() || taken == 0 {
            return String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8 text"));
        }
    }
}

/// The terminal's echo, off until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> Option<Silence> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        // Ctrl-C would end the program with the echo still off: it ends the line instead, and the line ends the program.
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT as u8;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, &self.0) {
            tracing::warn!("the terminal's echo could not be turned on again ({error}): run `stty echo`");
        }
    }
}
