//! `bankfeed check`: proves everything live.

use super::{Done, FAILED};
use crate::control::Output;
use crate::daemon::Owner;
use crate::sync::Outcome;

/// Checks and prints one line per finding.
pub(super) fn execute(owner: &Owner, output: &mut dyn Output) -> Done {
    let config = &owner.engine.config;
    output.data(&format!("ok    configuration {}\n", config.path.display()))?;
    let checked = owner.check(output)??;
    for check in &checked {
        let word = if check.outcome == Outcome::Ok { "ok  " } else { "FAIL" };
        for line in &check.lines {
            output.data(&format!("{word}  {}: {line}\n", check.what))?;
        }
    }
    let any = |outcome| checked.iter().any(|check| check.outcome == outcome);
    Ok(if any(Outcome::Attention) {
        3
    } else if any(Outcome::Failed) {
        FAILED
    } else {
        0
    })
}
