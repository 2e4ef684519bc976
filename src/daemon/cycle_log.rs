//! The daemon's log of its cycles: one line for each cycle, one line when a problem begins, one line when it is over.
//!
//! Pure: reports become lines; the logger is elsewhere. The memory of problems outlives an idle time of the daemon. A
//! restart forgets it and may log a problem once more.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::Level;

use crate::sync::{DestinationReport, Outcome, Report, SourceReport};

/// The lasting problems that are in the log already, by their subject.
#[derive(Default, Serialize, Deserialize)]
pub struct CycleLog {
    said: BTreeMap<String, Vec<String>>,
}

impl CycleLog {
    /// The lines about a cycle that took so long; `Err`: the error of the store that ended it.
    pub fn lines(&mut self, ended: Result<&Report, &str>, took: Duration) -> Vec<(Level, String)> {
        let report = match ended {
            Ok(report) => report,
            Err(error) => return self.problem("the store", &[(Level::ERROR, error.to_owned())], true),
        };
        let mut lines = vec![(Level::INFO, summary(report, took))];
        lines.extend(self.problem("the store", &[], true));
        let problem: Vec<_> = report.problem.iter().map(|problem| (Level::ERROR, problem.clone())).collect();
        lines.extend(self.problem("this machine", &problem, true));
        for source in report.sources.iter().filter(|source| source.outcome != Outcome::Skipped) {
            let (problems, well) = (service(source.outcome, source.error.as_ref()), source.outcome == Outcome::Ok);
            lines.extend(self.problem(&format!("source `{}`", source.name), &problems, well));
            if well {
                // The end of a note is not logged.
                let notes = source.notes.iter().map(|note| (Level::WARN, format!("{}: {note}", source.name)));
                lines.extend(self.problem(&format!("notes of {}", source.name), &notes.collect::<Vec<_>>(), false));
            }
        }
        for to in report.destinations.iter().filter(|to| to.outcome != Outcome::Skipped) {
            let (problems, well) = (service(to.outcome, to.error.as_ref()), to.outcome == Outcome::Ok);
            lines.extend(self.problem(&format!("destination `{}`", to.name), &problems, well));
            let notes: Vec<_> = to.notes.iter().map(|note| (Level::WARN, format!("{}: {note}", to.name))).collect();
            lines.extend(self.problem(&format!("notes of destination {}", to.name), &notes, false));
            if to.rejected > 0 {
                let rows = counted(to.rejected, "row");
                lines.push((Level::WARN, format!("{}: {rows} refused; `bankfeed status` says which", to.name)));
            }
        }
        lines
    }

    /// Lines for the new problems of one subject, or the line that its problems are over.
    fn problem(&mut self, subject: &str, problems: &[(Level, String)], well: bool) -> Vec<(Level, String)> {
        let texts: Vec<String> = problems.iter().map(|(_, text)| text.clone()).collect();
        let said = self.said.insert(subject.to_owned(), texts).unwrap_or_default();
        let mut lines: Vec<(Level, String)> =
            problems.iter().filter(|(_, text)| !said.contains(text)).cloned().collect();
        if well && problems.is_empty() && !said.is_empty() {
            lines.push((Level::INFO, format!("{subject} is well again")));
        }
        lines
    }
}

fn service(outcome: Outcome, error: Option<&String>) -> Vec<(Level, String)> {
    let level = if outcome == Outcome::Attention { Level::ERROR } else { Level::WARN };
    let word = if outcome == Outcome::Attention { "needs you" } else { "failed, will be tried again" };
    error.iter().map(|error| (level, format!("{word}: {error}"))).collect()
}

/// `cycle done in 2.1 s: fibank 3 new; household 3 added, 1 waiting`.
fn summary(report: &Report, took: Duration) -> String {
    let sources = report.sources.iter().filter(|source| source.outcome != Outcome::Skipped).filter_map(came);
    let destinations = report.destinations.iter().filter(|to| to.outcome != Outcome::Skipped).filter_map(went);
    let parts: Vec<String> = sources.chain(destinations).collect();
    let what = if parts.is_empty() { "nothing new".to_owned() } else { parts.join("; ") };
    let kind = if report.dry_run { "dry run" } else { "cycle" };
    format!("{kind} done in {:.1} s: {what}", took.as_secs_f64())
}

fn came(source: &SourceReport) -> Option<String> {
    let counts = [(source.new, "new"), (source.changed, "changed"), (source.vanished, "vanished")];
    part(&source.name, source.outcome, &counts)
}

fn went(to: &DestinationReport) -> Option<String> {
    part(&to.name, to.outcome, &[(to.appended, "added"), (to.updated, "corrected"), (to.waiting, "waiting")])
}

fn part(name: &str, outcome: Outcome, counts: &[(u64, &str)]) -> Option<String> {
    let mut words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match outcome {
        Outcome::Attention => words.push("needs you".into()),
        Outcome::Failed => words.push("failed".into()),
        Outcome::Ok | Outcome::Skipped => {}
    }
    (!words.is_empty()).then(|| format!("{name} {}", words.join(", ")))
}

fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(source: (Outcome, u64, Option<&str>), to: (Outcome, u64, u64)) -> Report {
        let name = "fibank".to_owned();
        let source = SourceReport {
            name,
            outcome: source.0,
            new: source.1,
            error: source.2.map(str::to_owned),
            ..Default::default()
        };
        let name = "household".to_owned();
        let to = DestinationReport { name, outcome: to.0, appended: to.1, waiting: to.2, ..Default::default() };
        Report {
            started: String::new(),
            finished: String::new(),
            dry_run: false,
            sources: vec![source],
            destinations: vec![to],
            problem: None,
        }
    }

    /// A month of cycles in a few lines.
    #[test]
    fn each_cycle_is_a_line_and_each_problem_is_said_once() {
        use Outcome::{Attention, Failed, Ok as Fine};
        let locked = Some("fibank: the login is locked");
        let mut cycle_log = CycleLog::default();
        let mut log = String::new();
        for (source, to) in [
            ((Fine, 2837, None), (Fine, 2837, 0)),
            ((Fine, 0, None), (Fine, 0, 0)),
            ((Attention, 0, locked), (Fine, 0, 0)),
            ((Attention, 0, locked), (Fine, 0, 0)),
            ((Failed, 0, Some("fibank: no answer in time")), (Failed, 1, 2)),
            ((Fine, 3, None), (Fine, 3, 0)),
            ((Fine, 0, None), (Fine, 0, 0)),
        ] {
            for (level, line) in cycle_log.lines(Ok(&report(source, to)), Duration::from_millis(1234)) {
                log += &format!("{level} {line}\n");
            }
        }
        assert_eq!(
            log,
            "INFO cycle done in 1.2 s: fibank 2837 new; household 2837 added\n\
             INFO cycle done in 1.2 s: nothing new\n\
             INFO cycle done in 1.2 s: fibank needs you\n\
             ERROR needs you: fibank: the login is locked\n\
             INFO cycle done in 1.2 s: fibank needs you\n\
             INFO cycle done in 1.2 s: fibank failed; household 1 added, 2 waiting, failed\n\
             WARN failed, will be tried again: fibank: no answer in time\n\
             INFO cycle done in 1.2 s: fibank 3 new; household 3 added\n\
             INFO source `fibank` is well again\n\
             INFO cycle done in 1.2 s: nothing new\n"
        );
        let mut warned = report((Fine, 0, None), (Fine, 1, 0));
        warned.destinations[0].notes = vec!["the spreadsheet has 91 % of its cells".into()];
        let lines: Vec<_> = (0..2).flat_map(|_| cycle_log.lines(Ok(&warned), Duration::ZERO)).collect();
        let notes: Vec<_> = lines.into_iter().filter(|(level, _)| *level == Level::WARN).collect();
        assert_eq!(notes, [(Level::WARN, "household: the spreadsheet has 91 % of its cells".to_owned())]);
        for _ in 0..2 {
            log = cycle_log.lines(Err("damaged"), Duration::ZERO).iter().map(|(_, line)| line.as_str()).collect();
        }
        assert_eq!(log, "");
    }
}
