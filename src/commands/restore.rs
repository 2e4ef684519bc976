//! `bankfeed restore`: puts rows back that the owner once deleted in a destination.

use std::collections::HashSet;

use super::{ATTENTION, Done, FAILED, USAGE};
use crate::control::Output;
use crate::service::StoreService;
use crate::sync::{Left, Outcome, Restored};

/// Puts the rows back and prints the result.
pub(super) fn execute(service: &StoreService, destination: &str, ids: &[String], output: &mut dyn Output) -> Done {
    let destinations = &service.engine.config.destinations;
    let Some(config) = destinations.iter().find(|one| one.name == destination) else {
        let known: Vec<&str> = destinations.iter().map(|one| one.name.as_str()).collect();
        output
            .talk(&format!("bankfeed: no destination is called `{destination}`; there are: {}\n", known.join(", ")))?;
        return Ok(USAGE);
    };
    match service.restore(config.clone(), ids.to_vec(), output)?? {
        Restored::Unknown(unknown) => {
            let unknown = unknown.join(", ");
            output.talk(&format!(
                "bankfeed: the store knows no transaction {unknown}, so nothing was put back; `bankfeed transactions --json` shows the ids\n"
            ))?;
            Ok(USAGE)
        }
        Restored::Done { report, put_back, left } => {
            let wanted = ids.iter().collect::<HashSet<_>>().len() - left.len();
            if wanted > 0 {
                output.data(&format!("{destination}: {} of {wanted} rows are back\n", put_back.len()))?;
            }
            for (id, why) in &left {
                output.talk(&format!("bankfeed: {id} is not put back in `{destination}`: {}\n", reason(*why)))?;
            }
            if let Some(error) = &report.error {
                output.talk(&format!("bankfeed: {error}\n"))?;
            }
            Ok(match report.outcome {
                Outcome::Attention => ATTENTION,
                Outcome::Failed => FAILED,
                _ if put_back.len() < wanted => FAILED,
                _ if left.is_empty() => 0,
                _ => USAGE,
            })
        }
    }
}

/// The reason why a row is not put back, in words.
fn reason(left: Left) -> &'static str {
    match left {
        Left::There => "it is there",
        Left::Waiting => "it has not been delivered yet; the next `bankfeed sync` brings it",
        Left::LeftOut => "`since`, `accounts` or `direction` of this destination leave it out",
        Left::Withdrawn => "the bank has taken it back",
    }
}
