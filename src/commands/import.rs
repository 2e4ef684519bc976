//! `bankfeed import`: statement files into the store by hand.

use super::{Done, USAGE, print_json};
use crate::control::Output;
use crate::service::{ImportFile, StoreService};
use crate::sync::{ImportRequest, ImportSource, Imported};

/// Imports the files one after the other and prints the results.
pub(super) fn execute(
    service: &StoreService,
    request: &ImportRequest,
    files: &[String],
    json: bool,
    output: &mut dyn Output,
) -> Done {
    let source = match ImportSource::find(&service.engine.config, request.source.as_deref()) {
        Ok(source) => source,
        Err(why) => {
            output.talk(&format!("bankfeed: {why}\n"))?;
            return Ok(USAGE);
        }
    };
    let (mut all, mut refused) = (Vec::new(), false);
    for (number, name) in files.iter().enumerate() {
        let of = |file| ImportFile { request: request.clone(), source: source.clone(), name: name.clone(), file };
        let imported = match output.file(number)? {
            Ok(file) => service.import(of(file), output)??,
            Err(why) => vec![Imported::refused(name, why)],
        };
        refused |= imported.iter().any(|one| one.error.is_some());
        if json {
            all.extend(imported);
        } else {
            let (line, block) = text(name, &imported, request.dry_run);
            output.data(&line)?;
            if let Some(block) = block {
                output.talk(&format!("{block}\n"))?;
            }
        }
    }
    if json {
        print_json(&all, output)?;
    }
    Ok(if refused { USAGE } else { 0 })
}

/// The line of a file, and the block that a refusal proposes.
fn text(name: &str, imported: &[Imported], dry_run: bool) -> (String, Option<String>) {
    if let Some(why) = imported.iter().find_map(|one| one.error.as_deref()) {
        let (line, block) = why.split_once('\n').map_or((why, None), |(line, block)| (line, Some(block.to_owned())));
        let line = line.trim_end_matches([':', ' ']);
        return (format!("{name}: refused, nothing of it is kept: {line}\n"), block);
    }
    let sum = |of: fn(&Imported) -> u64| imported.iter().map(of).sum::<u64>();
    let mut accounts: Vec<String> = imported.iter().filter_map(words).collect();
    accounts.dedup();
    let of = match accounts.len() {
        0 => "no account".to_owned(),
        1..=3 => accounts.join(", "),
        more => format!("{more} accounts"),
    };
    let (from, until) =
        (imported.iter().filter_map(|one| one.from).min(), imported.iter().filter_map(|one| one.until).max());
    let days = from.zip(until).map(|(from, until)| format!(", {from} to {until}")).unwrap_or_default();
    let form = imported.first().and_then(|one| one.format.clone()).unwrap_or_default();
    let balances = if imported.iter().any(|one| one.adds_up == Some(false)) {
        "; the balances do not add up"
    } else if imported.iter().all(|one| one.adds_up == Some(true)) {
        "; the balances add up"
    } else {
        ""
    };
    let would = if dry_run { " (dry run: nothing is stored)" } else { "" };
    let line = format!(
        "{name}: {form}, {of}{days}: {} entries, {} new, {} known, {} changed{balances}{would}\n",
        sum(|one| one.entries),
        sum(|one| one.new),
        sum(|one| one.known),
        sum(|one| one.changed),
    );
    (line, None)
}

fn words(one: &Imported) -> Option<String> {
    Some(format!("{} {}", one.account.as_deref()?, one.currency.as_deref()?))
}
