//! `bankfeed verify`: reads destinations back and reports missing, doubled and different rows.

use super::{Done, USAGE, print_json};
use crate::control::Output;
use crate::service::StoreService;
use crate::sync::{Verification, Verified, exit_status};

/// Reads back and prints the findings.
pub(super) fn execute(service: &StoreService, request: &Verification, json: bool, output: &mut dyn Output) -> Done {
    let known: Vec<&str> = service.engine.config.destinations.iter().map(|one| one.name.as_str()).collect();
    if let Some(unknown) = request.destinations.iter().flatten().find(|asked| !known.contains(&asked.as_str())) {
        output.talk(&format!("bankfeed: no destination is called `{unknown}`; there are: {}\n", known.join(", ")))?;
        return Ok(USAGE);
    }
    if known.is_empty() {
        output.talk("bankfeed: the configuration has no [[destination]], so there is nothing to verify; add one\n")?;
        return Ok(USAGE);
    }
    let verified = service.verify(request.clone(), output)??;
    if json {
        print_json(&verified, output)?;
    } else {
        output.data(&text(&verified))?;
    }
    Ok(exit_status(&verified))
}

/// The findings in words.
fn text(verified: &[Verified]) -> String {
    let mut text = String::new();
    for one in verified {
        text += &match &one.error {
            Some(error) => format!("{:<24} {error}\n", one.destination),
            None if one.is_untouched => {
                format!("{:<24} nothing has been delivered there yet; `bankfeed sync` does\n", one.destination)
            }
            None if one.is_clean() => {
                format!("{:<24} every delivered row is there once and unchanged\n", one.destination)
            }
            None => format!(
                "{:<24} {} missing, {} doubled, {} cells different\n",
                one.destination,
                one.missing.len(),
                one.doubled.len(),
                one.different.len()
            ),
        };
        one.missing.iter().for_each(|id| text += &format!("  missing: {id}\n"));
        one.doubled.iter().for_each(|id| text += &format!("  there more than once: {id}\n"));
        for cell in &one.different {
            let quoted =
                |value: &Option<String>| value.as_ref().map_or("nothing".to_owned(), |text| format!("{text:?}"));
            let (expected, found) = (quoted(&cell.expected), quoted(&cell.found));
            text += &format!("  different: {}: {} should be {expected} and is {found}\n", cell.id, cell.column);
        }
        one.deleted.iter().for_each(|id| text += &format!("  deleted by you: {id}\n"));
        if !one.put_back.is_empty() || !one.mended.is_empty() {
            text += &format!("  repaired: {} rows put back, {} mended\n", one.put_back.len(), one.mended.len());
        }
        if !one.is_untouched {
            one.notes.iter().for_each(|note| text += &format!("  note: {note}\n"));
        }
    }
    text
}
