//! The questions of `bankfeed init` about Google Sheets, and the lines that the answers make.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::key_text;
use super::oauth::OAuthClient;
use super::settings::spreadsheet;
use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};

/// Name of the entry.
const NAME: &str = "sheet";

/// The entry at rest, for owners who want none yet.
pub(super) const AT_REST: &str = r#"# [[destination]]
# name = "sheet"
# kind = "google-sheets"
# spreadsheet = "https://docs.google.com/spreadsheets/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789/edit"
# service_account = { file = "/etc/bankfeed/google-key.json" }
"#;

const OPTIONS: &str = r#"# The tab; it is made if it is missing, and an existing one is used as it is.
# tab = "Transactions"
# Two more tabs, a proof of the balances and charts. A title, or false for none.
# balances_tab = "Balances"
# dashboard_tab = "Dashboard"
# One more where you write rules yourself, without this file; none unless you give it a title.
# rules_tab = "Rules"
# Where new rows go: below the others, or with "newest-first" under the header.
# order = "oldest-first"
"#;

/// The account in whose name rows are written.
#[derive(Debug, PartialEq, Eq)]
enum Writer {
    /// A service account with this address, to share the spreadsheet with.
    Robot(String),
    /// The owner, who signs in in a browser.
    Owner,
}

/// Asks about the spreadsheet and the key to it.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nGoogle Sheets:\n\
         \x20 1. At https://console.cloud.google.com/ make a project, and enable the Google Sheets API in it.\n\
         \x20 2. Get a file from there, in one of two ways; which one you took is seen from the file.\n\
         \x20    The usual way: a robot user of your own (a service account), which sees only what you share with it.\n\
         \x20      Under IAM & Admin > Service Accounts make one (no roles); its Keys > Add key > JSON downloads the file.\n\
         \x20      Organisations (a Workspace domain, say) forbid such keys unless somebody has allowed them: make the project\n\
         \x20      with a private Google account instead, have an Organization Policy Administrator allow them, or:\n\
         \x20    Where that is forbidden: you sign in yourself, once, in a browser; the sign-in opens all your spreadsheets.\n\
         \x20      Under Google Auth Platform set the app up and publish it (in testing, sign-ins end after seven days);\n\
         \x20      under Clients make one of the type Desktop app, and download its JSON.\n\
         \x20 3. Open your spreadsheet, or a new one (https://sheets.new).\n",
    );
    let read = |text: &str| answer::read(text, spreadsheet);
    let spreadsheet = ask(person, "Address of the spreadsheet, or its id", None, read)?;
    let (path, key, writer) = ask(person, "Path of the downloaded file", None, key)?;
    match &writer {
        Writer::Robot(account) => person.say(&format!("  4. Share the spreadsheet with {account} as Editor.\n")),
        Writer::Owner => person.say("  You will sign in once this is written.\n"),
    }
    Ok(draft(&spreadsheet, path, key, &writer))
}

/// Reads a service account's key, or an OAuth client. The error never shows any of the file.
fn key(path: &str) -> Result<(PathBuf, SecretString, Writer), String> {
    let path = match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    };
    let path = std::path::absolute(&path).map_err(|error| error.to_string())?;
    if path.to_str().is_none_or(|path| path.chars().any(char::is_control)) {
        return Err("the path must be plain text".into());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read it: {error}"))?;
    let json = key_text::json(&text).ok_or("it is not JSON; it must be the file that was downloaded")?;
    if json.get("web").is_some() {
        return Err("it is an OAuth client for a web site; make one of the type Desktop app".into());
    }
    if json.get("installed").is_some() {
        OAuthClient::read(&text).map_err(|_| "it is no whole OAuth client; download its JSON again")?;
        return Ok((path, SecretString::from(text), Writer::Owner));
    }
    let account = json["client_email"].as_str().filter(|_| json["private_key"].is_string());
    let account = account.ok_or("it is no service account's key; it lacks client_email or private_key")?.to_owned();
    Ok((path, SecretString::from(text), Writer::Robot(account)))
}

fn draft(spreadsheet: &str, path: PathBuf, key: SecretString, writer: &Writer) -> Draft {
    let (remark, key_line, tail, credential) = match writer {
        Writer::Robot(account) => (
            format!("# The spreadsheet must be shared, as editor, with\n# {}", account.escape_debug()),
            "service_account = ",
            "\n",
            "google-key",
        ),
        Writer::Owner => (
            format!("# Rows are written in your own name, once you have run `bankfeed login {NAME}`."),
            "oauth = { client = ",
            " }\n",
            "google-client",
        ),
    };
    let spreadsheet = quoted(spreadsheet);
    let head = format!(
        "\n[[destination]]\nname = \"{NAME}\"\nkind = \"google-sheets\"\n{remark}\nspreadsheet = {spreadsheet}\n{key_line}"
    );
    let otherwise = format!("{{ file = {} }}", quoted(&path.display().to_string()));
    Draft {
        name: NAME,
        head,
        secret: Some(DraftSecret { credential, text: key, otherwise }),
        tail,
        options: OPTIONS,
        kept_file: Some(path),
        sign_in_at: (*writer == Writer::Owner).then_some("Google"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod tests {
    use super::*;

    /// The draft of an owner with a service account, or with an OAuth client.
    pub fn drafted(robot: bool) -> Draft {
        let writer = if robot { Writer::Robot("bot@p.iam.example".into()) } else { Writer::Owner };
        draft("1AbC", "/k/ey.json".into(), "{}".to_owned().into(), &writer)
    }
}
