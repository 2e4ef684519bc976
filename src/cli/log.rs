//! Lines of the log: with a priority for systemd's journal, with the time of day for people.
//!
//! Every message becomes one line: a line break would begin an entry of its own, and a control character from a bank
//! could steer a terminal.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use crate::printable::is_printable;
use chrono::Utc;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The owner's time zone, known once the configuration is read.
static ZONE: OnceLock<chrono_tz::Tz> = OnceLock::new();

/// Sets the time zone of the lines. The first zone stays.
pub(super) fn use_zone(zone: chrono_tz::Tz) {
    let _ = ZONE.set(zone);
}

/// Starts logging to stderr.
pub(super) fn start(is_daemon: bool) {
    let level = if is_daemon { Level::INFO } else { Level::WARN };
    let lines = Lines { journal: is_journal(), colour: colour() };
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level).event_format(lines);
    // The only failure is a second logger in one process, which is no reason to stop.
    drop(builder.try_init());
}

/// True if stderr is still the stream that systemd has connected to the journal, not redirected since.
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(stat) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

struct Lines {
    journal: bool,
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = String::new();
        context.format_fields(Writer::new(&mut message), event)?;
        let message: String = message.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect();
        let (priority, word, colour) = style(*event.metadata().level());
        if self.journal {
            return writeln!(writer, "<{priority}>{message}");
        }
        let now = Utc::now();
        let time = match ZONE.get() {
            Some(zone) => now.with_timezone(zone).format("%Y-%m-%d %H:%M:%S"),
            None => now.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S"),
        };
        match self.colour {
            true => writeln!(writer, "\x1b[2m{time}\x1b[0m \x1b[{colour}m{word}\x1b[0m {message}"),
            false => writeln!(writer, "{time} {word} {message}"),
        }
    }
}

/// Priority as syslog(3) counts, the word, and the colour of the word.
fn style(level: Level) -> (u8, &'static str, u8) {
    match level {
        Level::ERROR => (3, "ERROR", 31),
        Level::WARN => (4, " WARN", 33),
        Level::INFO => (6, " INFO", 32),
        _ => (7, "DEBUG", 34),
    }
}
