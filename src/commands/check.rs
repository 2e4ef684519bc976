//! `bankfeed check`: proves everything live, or records the answers of the sources.

use chrono::Utc;

use super::{ATTENTION, Done, FAILED, USAGE};
use crate::control::Output;
use crate::notify;
use crate::service::StoreService;
use crate::sync::{Checked, Outcome};

/// Checks and prints one line per finding.
pub(super) fn execute(service: &StoreService, output: &mut dyn Output) -> Done {
    let config = &service.engine.config;
    output.data(&format!("ok    configuration {}\n", config.path.display()))?;
    let checked = service.check(output)??;
    output.data(&findings(&checked))?;
    Ok(status(&checked))
}

/// Checks, and sends a test notice to each notifier.
pub(super) fn execute_and_notify(service: &StoreService, output: &mut dyn Output) -> Done {
    if service.engine.config.notifiers.is_empty() {
        output
            .talk("bankfeed: the configuration has no [[notify]] entry, so nobody would be told anything; add one\n")?;
        return Ok(USAGE);
    }
    let checked = execute(service, output)?;
    let told = tokio::runtime::Handle::current().block_on(notify::test(&service.engine.config.notifiers, Utc::now()));
    for (notifier, told) in service.engine.config.notifiers.iter().zip(&told) {
        let (word, text) = match told {
            Ok(()) => ("ok  ", "a test notice is on its way; look whether it arrives"),
            Err(why) => ("FAIL", why.as_str()),
        };
        output.data(&format!("{word}  notify {}: {text}\n", notifier.name))?;
    }
    let failed = told.iter().any(Result::is_err);
    Ok(if checked == 0 && failed { FAILED } else { checked })
}

/// Records: the recording is data, the findings are talk.
pub(super) fn trace(service: &StoreService, at_terminal: bool, output: &mut dyn Output) -> Done {
    let (checked, text) = service.trace(at_terminal, output)??;
    output.data(&text)?;
    output.talk(&findings(&checked))?;
    Ok(status(&checked))
}

fn findings(checked: &[Checked]) -> String {
    let mut text = String::new();
    for check in checked {
        let word = if check.outcome == Outcome::Ok { "ok  " } else { "FAIL" };
        check.lines.iter().for_each(|line| text += &format!("{word}  {}: {line}\n", check.what));
    }
    text
}

fn status(checked: &[Checked]) -> u8 {
    let any = |outcome| checked.iter().any(|check| check.outcome == outcome);
    if any(Outcome::Attention) {
        ATTENTION
    } else if any(Outcome::Failed) {
        FAILED
    } else {
        0
    }
}
