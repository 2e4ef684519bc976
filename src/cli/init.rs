//! `bankfeed init`: a few questions, then a configuration file that works.
//!
//! Promises: nothing is written before the last answer is in, nothing that is there already is touched, the file is
//! readable by its owner alone and is one that [`config::load`] takes. Questions go to stderr and each answer is checked
//! when it is given; on a terminal a wrong one is asked for again, from a pipe it ends the whole thing.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use self::ask::{Asker, Stop};
use self::keep::Keeper;
use super::terminal::complain;
use super::{USAGE, simulate};
use crate::config::{self, Environment};
use crate::destination::google_sheets::key_text;
use crate::destination::google_sheets::oauth::OAuthClient;
use crate::destination::{airtable, google_sheets};
use crate::schedule::Schedule;
use crate::settings::answer;

pub(super) mod ask;
mod keep;
mod text;

/// The default schedule: once before breakfast, once after office hours.
const SCHEDULE: &str = "0 3,18 * * *";

/// How to make the file.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Use the simulated bank and services that `bankfeed simulate --log DIR` runs
    #[arg(long, value_name = "DIR", hide = true)]
    simulated: Option<PathBuf>,
}

/// The owner's answers.
struct Answers {
    username: String,
    password: SecretString,
    google: Option<Google>,
    airtable: Option<Airtable>,
    schedule: Option<String>,
}

struct Google {
    spreadsheet: String,
    /// Path and text of the downloaded file.
    key_file: PathBuf,
    key: SecretString,
    writer: Writer,
}

/// The account that writes rows.
enum Writer {
    /// A service account with this address, to share the spreadsheet with.
    Robot(String),
    /// The owner, who signs in in a browser.
    Owner,
}

impl Writer {
    /// Name of the credential.
    fn credential(&self) -> &'static str {
        match self {
            Writer::Robot(_) => "google-key",
            Writer::Owner => "google-client",
        }
    }
}

struct Airtable {
    base: String,
    token: SecretString,
}

/// Asks, writes the file, and prints the next steps.
pub(super) fn run(path: Option<&Path>, options: &Options) -> io::Result<u8> {
    let environment = Environment::process();
    let path = match path {
        Some(path) => path.to_owned(),
        // Without any file the first place of the look-up is used.
        None => config::find(&environment, Path::new("")).unwrap_or_else(|_| "config.toml".into()),
    };
    // A dangling link counts as well: writing through the link would put the file at another place.
    if path.symlink_metadata().is_ok() {
        complain(&format!(
            "{} is there already and is left as it is; move it away, or give another place with --config FILE",
            path.display()
        ));
        return Ok(USAGE);
    }
    let world = match options.simulated.as_deref().map(simulate::World::read).transpose() {
        Ok(world) => world,
        Err(error) => {
            complain(&error);
            return Ok(USAGE);
        }
    };
    let mut asker = Asker::new();
    let made = questions(&mut asker, &path).and_then(|answers| {
        let keeper = Keeper::choose(&path);
        let kept = keeper.keep(&answers)?;
        let text = text::file(&answers, &kept, &path, world.as_ref());
        keep::write(&path, &text).inspect_err(|_| kept.undo())?;
        Ok((answers, kept))
    });
    match made {
        Ok((answers, kept)) => {
            asker.say(&text::farewell(&answers, &kept, &path, &environment));
            Ok(0)
        }
        Err(Stop(why)) => {
            complain(&format!("{why}; nothing was written"));
            Ok(USAGE)
        }
    }
}

fn questions(asker: &mut Asker, path: &Path) -> Result<Answers, Stop> {
    asker.say(&format!(
        "A few questions, then {} is written. What stands in [brackets] is taken if you just press Enter.\n\n",
        path.display()
    ));
    let username = asker.ask("My Fibank user name", None, answer::line)?;
    let password = asker.ask_secret("My Fibank password (it is not shown)", answer::line)?;
    asker.say("\nRows can go to a Google spreadsheet (g), an Airtable base (a), both (b), or nowhere yet (n).\n");
    let (to_google, to_airtable) = asker.ask("Where to", Some("g"), destinations)?;
    let google = to_google.then(|| google(asker)).transpose()?;
    let airtable = to_airtable.then(|| self::airtable(asker)).transpose()?;
    asker.say("\nWhen to ask the bank, as in a crontab (the usual is every day at 3:00 and 18:00); `never`: only when you say so.\n");
    let schedule = asker.ask("Schedule", Some(SCHEDULE), |text| {
        if text == "never" { Ok(None) } else { Schedule::parse(text).map(|_| Some(text.to_owned())) }
    })?;
    Ok(Answers { username, password, google, airtable, schedule })
}

fn destinations(text: &str) -> Result<(bool, bool), String> {
    match text.to_lowercase().as_str() {
        "g" | "google" | "google-sheets" | "sheets" => Ok((true, false)),
        "a" | "airtable" => Ok((false, true)),
        "b" | "both" => Ok((true, true)),
        "n" | "none" | "nowhere" => Ok((false, false)),
        _ => Err("expected g, a, b or n".into()),
    }
}

fn google(asker: &mut Asker) -> Result<Google, Stop> {
    asker.say(
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
    let spreadsheet = asker.ask("Address of the spreadsheet, or its id", None, |text| {
        answer::read(text, google_sheets::settings::spreadsheet)
    })?;
    let (key_file, key, writer) = asker.ask("Path of the downloaded file", None, key)?;
    match &writer {
        Writer::Robot(account) => asker.say(&format!("  4. Share the spreadsheet with {account} as Editor.\n")),
        Writer::Owner => asker.say("  You will sign in once this is written.\n"),
    }
    Ok(Google { spreadsheet, key_file, key, writer })
}

/// Reads a service account's key, or an OAuth client. The error never shows a part of the file.
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

fn airtable(asker: &mut Asker) -> Result<Airtable, Stop> {
    asker.say(
        "\nAirtable: at https://airtable.com/create/tokens make a token with the scopes data.records:read,\n\
         data.records:write, schema.bases:read and schema.bases:write, and add your base to its list.\n",
    );
    let base = asker.ask("Address of the base, or its id (app…)", None, |text| {
        // In the browser's address the base's id is the first part after the host.
        let part = text.split_once("airtable.com/").map_or(text, |(_, rest)| rest);
        answer::read(part.split(['/', '?', '#']).next().unwrap_or_default(), airtable::settings::base)
    })?;
    let token = asker.ask_secret("The token (it is not shown)", |text| match text {
        _ if text.starts_with("key") => Err("it is an API key, which Airtable ended in 2024; make a token".into()),
        _ if text.starts_with("pat") && text.chars().all(|c| c.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("it is no personal access token, which begins with pat".into()),
    })?;
    Ok(Airtable { base, token })
}

impl Answers {
    /// Every secret with the name it has as a credential.
    fn secrets(&self) -> Vec<(&'static str, &str)> {
        let google = self.google.iter().map(|google| (google.writer.credential(), google.key.expose_secret()));
        let airtable = self.airtable.iter().map(|airtable| ("airtable-token", airtable.token.expose_secret()));
        [("fibank-password", self.password.expose_secret())].into_iter().chain(google).chain(airtable).collect()
    }
}
