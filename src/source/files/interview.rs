//! The questions of `bankfeed init` about statement files, and the lines that the answers make.

use std::path::PathBuf;

use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, Interview, Stop, ask};

/// The usual place.
const USUAL: &str = "/var/lib/bankfeed/inbox";

/// Asks for the folder and makes it.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "Any bank's statement files are read from a folder: MT940, CAMT, OFX, CSV. A file dropped there is enough.\n",
    );
    let directory = ask(person, "Folder for statement files", Some(USUAL), |text| {
        let text = answer::line(text)?;
        let path = PathBuf::from(&text);
        if !path.is_absolute() {
            return Err("give the whole path, from / on".to_owned());
        }
        std::fs::create_dir_all(&path).map_err(|error| format!("the folder cannot be made: {error}"))?;
        Ok(text)
    })?;
    Ok(draft(&directory))
}

fn draft(directory: &str) -> Draft {
    let directory = quoted(directory);
    Draft {
        name: "statements",
        head: format!("\n[[source]]\nname = \"statements\"\nkind = \"files\"\ndirectory = {directory}\n"),
        secret: None,
        tail: "",
        options: OPTIONS,
        kept_file: None,
        sign_in_at: None,
    }
}

const OPTIONS: &str = r#"# Files that were read move into the folder done beside them; "keep" leaves them.
# after = "move"
# The account and the currency of files that name none.
# account = "BG32FINV91501000000001"
# currency = "EUR"
"#;
