//! `bankfeed restore`: puts rows back that the owner once deleted in a destination.

use super::{Done, FAILED, USAGE};
use crate::control::Output;
use crate::daemon::Owner;
use crate::sync::{Outcome, Restored};

/// Puts the rows back and says so.
pub(super) fn execute(owner: &Owner, destination: &str, ids: &[String], output: &mut dyn Output) -> Done {
    let destinations = &owner.engine.config.destinations;
    let Some(config) = destinations.iter().find(|one| one.name == destination) else {
        let known: Vec<&str> = destinations.iter().map(|one| one.name.as_str()).collect();
        output
            .talk(&format!("bankfeed: no destination is called `{destination}`; there are: {}\n", known.join(", ")))?;
        return Ok(USAGE);
    };
    match owner.restore(config.clone(), ids.to_vec(), output)?? {
        Restored::Unknown(unknown) => {
            let unknown = unknown.join(", ");
            output.talk(&format!(
                "bankfeed: not known to be deleted in `{destination}`: {unknown}; `bankfeed status` lists what is, `bankfeed verify {destination}` looks\n"
            ))?;
            Ok(USAGE)
        }
        Restored::Done { report, put_back } => {
            output.data(&format!("{destination}: {} of {} rows are back\n", put_back.len(), ids.len()))?;
            if let Some(error) = &report.error {
                output.talk(&format!("bankfeed: {error}\n"))?;
            }
            Ok(match report.outcome {
                Outcome::Attention => 3,
                Outcome::Failed => FAILED,
                _ => u8::from(put_back.len() < ids.len()),
            })
        }
    }
}
