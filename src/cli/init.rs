//! `bankfeed init`: a few questions, then a configuration file that works.
//!
//! Promises: nothing is written before the last answer is in, nothing that is there already is touched, the file is
//! readable by its owner alone and is one that [`config::load`] takes. Questions go to stderr and each answer is checked
//! when it is given; on a terminal a wrong one is asked for again, from a pipe it ends the whole thing.

use std::io;
use std::path::{Path, PathBuf};

use self::ask::Asker;
use self::keep::Keeper;
use super::terminal::complain;
use super::{USAGE, simulate};
use crate::config::{self, Environment};
use crate::destination::{self, kind::Kind};
use crate::schedule::Schedule;
use crate::settings::interview::{Draft, Interview, Stop, ask};
use crate::settings::words::one_of;
use crate::source;

pub(super) mod ask;
mod keep;
mod text;

/// When cycles run where nothing is said: once before breakfast, once after office hours.
const SCHEDULE: &str = "0 3,18 * * *";

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Use the simulated bank and services that `bankfeed simulate --log DIR` runs
    #[arg(long, value_name = "DIR", hide = true)]
    simulated: Option<PathBuf>,
}

/// Everything the owner was asked.
struct Answers {
    source: Answer,
    destinations: Vec<Answer>,
    schedule: Option<String>,
}

/// An entry as it was answered.
struct Answer {
    /// The name of its kind.
    kind: &'static str,
    draft: Draft,
}

impl Answers {
    /// The drafts of all entries.
    fn drafts(&self) -> Vec<&Draft> {
        std::iter::once(&self.source).chain(&self.destinations).map(|answer| &answer.draft).collect()
    }
}

/// Asks, writes, and says what comes next.
pub(super) fn run(path: Option<&Path>, options: &Options) -> io::Result<u8> {
    let environment = Environment::process();
    let path = match path {
        Some(path) => path.to_owned(),
        // With no file anywhere yet, the first place that would be looked at.
        None => config::find(&environment, Path::new("")).unwrap_or_else(|_| "config.toml".into()),
    };
    // Also a link that leads nowhere: writing "through" it would put the file somewhere else.
    if path.symlink_metadata().is_ok() {
        complain(&format!(
            "{} is there already and is left as it is; move it away, or give another place with --config FILE",
            path.display()
        ));
        return Ok(USAGE);
    }
    let world = match options.simulated.as_deref().map(simulate::World::read).transpose() {
        Ok(world) => world,
        Err(error) => {
            complain(&error);
            return Ok(USAGE);
        }
    };
    let mut asker = Asker::new();
    let made = questions(&mut asker, &path).and_then(|answers| {
        let keeper = Keeper::choose(&path);
        let kept = keeper.keep(&answers)?;
        let text = text::file(&answers, &kept, &path, world.as_ref());
        keep::write(&path, &text).inspect_err(|_| kept.undo())?;
        Ok((answers, kept))
    });
    match made {
        Ok((answers, kept)) => {
            asker.say(&text::farewell(&answers, &kept, &path, &environment));
            Ok(0)
        }
        Err(Stop(why)) => {
            complain(&format!("{why}; nothing was written"));
            Ok(USAGE)
        }
    }
}

fn questions(asker: &mut Asker, path: &Path) -> Result<Answers, Stop> {
    asker.say(&format!(
        "A few questions, then {} is written. What stands in [brackets] is taken if you just press Enter.\n\n",
        path.display()
    ));
    let source = source(asker)?;
    let phrases: Vec<&str> = destination::KINDS.iter().map(|kind| kind.offer.phrase).collect();
    asker.say(&format!(
        "\nRows can go to {}, or nowhere yet (n). Several letters mean several of them.\n",
        phrases.join(", ")
    ));
    let usual = destination::KINDS.first().and_then(|kind| kind.offer.words.first().copied());
    let mut destinations = Vec::new();
    for kind in ask(asker, "Where to", usual, wanted)? {
        destinations.push(Answer { kind: kind.name, draft: (kind.questions)(asker)? });
    }
    asker.say("\nWhen to ask the bank, as in a crontab (the usual is every day at 3:00 and 18:00); `never`: only when you say so.\n");
    let schedule = ask(asker, "Schedule", Some(SCHEDULE), |text| {
        if text == "never" { Ok(None) } else { Schedule::parse(text).map(|_| Some(text.to_owned())) }
    })?;
    Ok(Answers { source, destinations, schedule })
}

/// The login at the bank.
fn source(asker: &mut Asker) -> Result<Answer, Stop> {
    let names = || source::KINDS.iter().map(|kind| kind.name);
    let kind = match source::KINDS {
        [only] => only,
        several => {
            let titles: Vec<String> = several.iter().map(|kind| format!("{} ({})", kind.title, kind.name)).collect();
            asker.say(&format!("Rows can come from {}.\n", titles.join(", ")));
            ask(asker, "Where from", names().next(), |text| {
                several.iter().find(|kind| kind.name == text).ok_or_else(|| format!("expected {}", one_of(names())))
            })?
        }
    };
    Ok(Answer { kind: kind.name, draft: (kind.questions)(asker)? })
}

/// The kinds of destination that a person asks for.
fn wanted(text: &str) -> Result<Vec<&'static Kind>, String> {
    let text = text.to_lowercase();
    if ["n", "none", "nowhere"].contains(&text.as_str()) {
        return Ok(Vec::new());
    }
    let offered = |word: &str| destination::KINDS.iter().find(|kind| kind.offer.words.contains(&word));
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let found: Option<Vec<&Kind>> = words.map(offered).collect();
    found.filter(|kinds| !kinds.is_empty()).ok_or_else(|| {
        let letters: Vec<&str> = destination::KINDS.iter().map(|kind| kind.offer.words[0]).collect();
        format!("expected {} or n, or several letters such as `{}`", letters.join(", "), letters[..2].join(" "))
    })
}
