//! `bankfeed match`: decides on a row that may be the same as a row of another source.

use super::{Done, USAGE};
use crate::control::Output;
use crate::service::StoreService;
use crate::sync::{Answer, Matched};

/// Carries the answer out and prints the result.
pub(super) fn execute(service: &StoreService, id: &str, answer: &Answer, output: &mut dyn Output) -> Done {
    match service.match_row(id.to_owned(), answer.clone(), output)?? {
        Matched::Unknown => {
            output.talk(&format!("bankfeed: no row {id} is kept apart; `bankfeed status` lists those that are\n"))?;
            Ok(USAGE)
        }
        Matched::Undecided(candidates) => {
            let candidates = candidates.join(", ");
            output.talk(&format!("bankfeed: name the transaction that {id} is the same as, one of: {candidates}\n"))?;
            Ok(USAGE)
        }
        Matched::Same { id: known, new } => {
            output.data(&format!("{id} is {known}\n"))?;
            for id in new {
                output.data(&format!(
                    "{id} is new, because no other candidate is left; the next `bankfeed sync` delivers it\n"
                ))?;
            }
            Ok(0)
        }
        Matched::New => {
            output.data(&format!("{id} is new; the next `bankfeed sync` delivers it\n"))?;
            Ok(0)
        }
    }
}
