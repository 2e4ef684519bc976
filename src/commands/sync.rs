//! `bankfeed sync`: one cycle now.

use super::{Done, USAGE, print_json};
use crate::control::Output;
use crate::service::StoreService;
use crate::sync::{Outcome, Report, Request};

/// Runs a cycle and prints its report.
pub(super) fn execute(service: &StoreService, request: &Request, json: bool, output: &mut dyn Output) -> Done {
    let config = &service.engine.config;
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let destinations: Vec<&str> = config.destinations.iter().map(|destination| destination.name.as_str()).collect();
    for (what, asked, known) in
        [("source", &request.sources, sources), ("destination", &request.destinations, destinations)]
    {
        if let Some(unknown) = asked.iter().flatten().find(|asked| !known.contains(&asked.as_str())) {
            output.talk(&format!("bankfeed: no {what} is called `{unknown}`; there are: {}\n", known.join(", ")))?;
            return Ok(USAGE);
        }
    }
    let report = service.cycle(request.clone(), output)??;
    if json {
        print_json(&report, output)?;
    } else {
        output.data(&text(&report))?;
    }
    Ok(report.exit_status())
}

/// The report in words.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    for source in &report.sources {
        let line = match source.outcome {
            Outcome::Skipped => "skipped".to_owned(),
            _ => format!(
                "{} accounts, {} transactions fetched: {} new, {} changed, {} vanished ({} requests)",
                source.accounts, source.fetched, source.new, source.changed, source.vanished, source.requests
            ),
        };
        text += &format!("{:<24} {line}\n", source.name);
        text += &trouble(source.outcome, source.error.as_deref());
        source.notes.iter().for_each(|note| text += &format!("  note: {note}\n"));
    }
    for destination in &report.destinations {
        let line = match destination.outcome {
            Outcome::Skipped => "skipped".to_owned(),
            _ if report.dry_run => format!("{} changes would be delivered", destination.appended),
            _ => format!(
                "{} rows appended, {} updated, {} refused, {} waiting ({} requests)",
                destination.appended,
                destination.updated,
                destination.rejected,
                destination.waiting,
                destination.requests
            ),
        };
        text += &format!("{:<24} {line}\n", destination.name);
        text += &trouble(destination.outcome, destination.error.as_deref());
        destination.notes.iter().for_each(|note| text += &format!("  note: {note}\n"));
    }
    report.problem.iter().for_each(|problem| text += &format!("needs you: {problem}\n"));
    text
}

fn trouble(outcome: Outcome, error: Option<&str>) -> String {
    match (outcome, error) {
        (Outcome::Attention, Some(error)) => format!("  needs you: {error}\n"),
        (_, Some(error)) => format!("  failed, will be tried again: {error}\n"),
        (_, None) => String::new(),
    }
}
