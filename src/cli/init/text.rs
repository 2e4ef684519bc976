//! The texts of `bankfeed init`: the configuration, with the next useful options as comments, and the words at the end.
//! Pure.

use std::path::Path;

use secrecy::ExposeSecret;

use super::super::simulate::World;
use super::keep::Kept;
use super::{Airtable, Answers, Google, Writer};
use crate::config::{Environment, machine_timezone};
use crate::settings::answer::quoted;

/// The bank's own zone, for machines that do not say where they are.
const USUAL_ZONE: &str = "Europe/Sofia";

/// Name of the destination at Google.
const SHEET: &str = "sheet";

/// The whole file.
pub(super) fn file(answers: &Answers, kept: &Kept, path: &Path, world: Option<&World>) -> String {
    let mut text = general(answers, path, world);
    text += &fibank(answers, kept, world);
    match (&answers.google, &answers.airtable) {
        (None, None) => text += NOWHERE,
        (google, airtable) => {
            google.iter().for_each(|google| text += &google_sheets(google, kept, world));
            airtable.iter().for_each(|base| text += &airtable_base(base, kept, world));
        }
    }
    text + REST
}

fn general(answers: &Answers, path: &Path, world: Option<&World>) -> String {
    let data_dir = match world {
        Some(world) => format!("data_dir = {}", quoted(&world.data_dir().display().to_string())),
        None if path.starts_with("/etc/bankfeed") => "data_dir = \"/var/lib/bankfeed\"".to_owned(),
        None => "# data_dir = \"/var/lib/bankfeed\"".to_owned(),
    };
    let schedule = match &answers.schedule {
        Some(schedule) => format!("schedule = {}", quoted(schedule)),
        None => "# schedule = \"0 3,18 * * *\"".to_owned(),
    };
    format!(
        r#"# bankfeed: written by `bankfeed init`. Only its owner may read this file.
#
# A line that begins with # does nothing. A line such as `# jitter = "5m"` is an option at rest: take the # away to use
# it. config.example.toml explains every option there is. `bankfeed check` proves what stands here.

# Where bankfeed keeps its own copy of your transactions. Left out: ~/.local/state/bankfeed.
{data_dir}

# Your time zone, for the schedule and for times in reports.
timezone = {zone}

# When to ask the bank: minute, hour, day of month, month, weekday. Left out: only when you run `bankfeed sync`.
{schedule}

# Wait a random time of up to this long first, so that not everybody knocks at the bank's door at the same second.
# jitter = "5m"


# Where transactions come from.

[[source]]
name = "fibank"
kind = "fibank"
"#,
        zone = quoted(&zone()),
    )
}

/// The machine's time zone. A machine in UTC has most likely no time zone set, so the bank's zone is used.
fn zone() -> String {
    let zone = machine_timezone(&Environment::process()).map(|zone| zone.name()).unwrap_or(USUAL_ZONE);
    let unset = ["UTC", "Etc/UTC", "Etc/UCT", "UCT", "Universal", "Zulu", "GMT", "Etc/GMT"].contains(&zone);
    if unset { USUAL_ZONE.to_owned() } else { zone.to_owned() }
}

fn fibank(answers: &Answers, kept: &Kept, world: Option<&World>) -> String {
    format!(
        r#"username = {username}
password = {password}
{base_url}# Only these accounts. Left out: every account of every customer this login may act for.
# accounts = ["BG32 FINV 9150 1000 0000 01"]
# The first day to fetch. Left out: as far back as the bank goes.
# history_from = 2015-01-01


# Where rows go.
"#,
        username = quoted(&answers.username),
        password = kept.reference("fibank-password", answers.password.expose_secret()),
        base_url = base_url(world.map(|world| world.fibank.as_str())),
    )
}

fn google_sheets(google: &Google, kept: &Kept, world: Option<&World>) -> String {
    let name = google.writer.credential();
    let key = match kept.credentials.iter().any(|(known, _)| *known == name) {
        true => kept.reference(name, ""),
        false => format!("{{ file = {} }}", quoted(&google.key_file.display().to_string())),
    };
    let (remark, key) = match &google.writer {
        Writer::Robot(account) => (
            format!("# The spreadsheet must be shared, as editor, with\n# {}", account.escape_debug()),
            format!("service_account = {key}"),
        ),
        Writer::Owner => (
            format!("# Rows are written in your own name, once you have run `bankfeed login {SHEET}`."),
            format!("oauth = {{ client = {key} }}"),
        ),
    };
    format!(
        r#"
[[destination]]
name = "{SHEET}"
kind = "google-sheets"
{remark}
spreadsheet = {spreadsheet}
{key}
{base_url}# The tab; it is made if it is missing, and an existing one is used as it is.
# tab = "Transactions"
# Two more tabs, a proof of the balances and charts. A title, or false for none.
# balances_tab = "Balances"
# dashboard_tab = "Dashboard"
# One more where you write rules yourself, without this file; none unless you give it a title.
# rules_tab = "Rules"
# Where new rows go: below the others, or with "newest-first" under the header.
# order = "oldest-first"
{common}"#,
        spreadsheet = quoted(&google.spreadsheet),
        base_url = base_url(world.map(|world| world.google.as_str())),
        common = COMMON,
    )
}

fn airtable_base(airtable: &Airtable, kept: &Kept, world: Option<&World>) -> String {
    format!(
        r#"
[[destination]]
name = "base"
kind = "airtable"
base = {base}
token = {token}
{base_url}# The table; it is made with its fields if it is missing, and an existing one is used as it is.
# table = "Transactions"
# How many requests a month your plan allows (1000 on the free one): warned of at 80 %, never spent past.
# monthly_requests = 1000
{common}"#,
        base = quoted(&airtable.base),
        token = kept.reference("airtable-token", airtable.token.expose_secret()),
        base_url = base_url(world.map(|world| world.airtable.as_str())),
        common = COMMON,
    )
}

fn base_url(simulated: Option<&str>) -> String {
    simulated.map_or(String::new(), |url| format!("base_url = {}\n", quoted(url)))
}

const COMMON: &str = r#"# Headers in English, or with "bg" in Bulgarian.
# language = "en"
# Only transactions from this day on.
# since = 2024-01-01
# Only money that went out ("debit") or came in ("credit").
# direction = "debit"
"#;

const NOWHERE: &str = r#"
# Nowhere yet: transactions are only kept. Take the # away from one of these and fill in what is yours.
# [[destination]]
# name = "sheet"
# kind = "google-sheets"
# spreadsheet = "https://docs.google.com/spreadsheets/d/1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789/edit"
# service_account = { file = "/etc/bankfeed/google-key.json" }

# [[destination]]
# name = "base"
# kind = "airtable"
# base = "appXXXXXXXXXXXXXX"
# token = { file = "/etc/bankfeed/airtable-token" }
"#;

const REST: &str = r#"

# Rules fill the columns category, vendor, tags and note. Try them with `bankfeed rules test`.
# [[rule]]
# when = { counterparty = "lidl|kaufland|billa", direction = "debit" }
# set = { category = "Groceries", vendor = "Supermarket" }


# A page with charts, on this machine.
# [http]
# listen = "127.0.0.1:8350"
"#;

/// The next steps for the owner.
pub(super) fn farewell(answers: &Answers, kept: &Kept, path: &Path, environment: &Environment) -> String {
    let mut text = format!("\n{} is written; only you can read it.\n", path.display());
    if let Some(google) = answers.google.as_ref().filter(|_| kept.credentials.is_empty()) {
        text += &format!("It names {}: keep that file, and run chmod 600 on it.\n", google.key_file.display());
    }
    if !kept.credentials.is_empty() {
        let files: Vec<String> = kept.credentials.iter().map(|(_, file)| file.display().to_string()).collect();
        text += &format!(
            "The secrets are encrypted for this machine: {}. The service finds them there.\n",
            files.join(", ")
        );
    }
    let found = crate::config::find(environment, Path::new("")).is_ok_and(|found| found == path);
    let option = if found { String::new() } else { format!("--config {} ", path.display()) };
    let signs_in = answers.google.as_ref().is_some_and(|google| matches!(google.writer, Writer::Owner));
    let login =
        if signs_in { format!("`bankfeed {option}login {SHEET}` signs you in at Google, ") } else { String::new() };
    text + &format!("Now: {login}`bankfeed {option}check` proves it, `bankfeed {option}sync` brings the first rows.\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::any::Any;

    use crate::config;
    use crate::source::fibank::FibankSettings;

    fn answers(google: bool, airtable: bool, schedule: Option<&str>) -> Answers {
        Answers {
            username: "иван \"\\".into(),
            password: "p'\"\\#1".to_owned().into(),
            google: google.then(|| Google {
                spreadsheet: "1AbC".into(),
                key_file: "/k/ey.json".into(),
                key: "{}".to_owned().into(),
                writer: Writer::Robot("bot@p.iam.example".into()),
            }),
            airtable: airtable.then(|| Airtable { base: "appX".into(), token: "patX.y".to_owned().into() }),
            schedule: schedule.map(str::to_owned),
        }
    }

    fn load(text: &str) -> config::Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let environment: Environment = [("HOME", "/home/ivan")].into_iter().collect();
        config::load_with(&path, &environment).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn every_file_loads_and_says_what_was_answered() {
        for (google, airtable) in [(true, false), (false, true), (true, true), (false, false)] {
            for schedule in [Some("0 3,18 * * *"), None] {
                let text = file(&answers(google, airtable, schedule), &Kept::default(), Path::new("c.toml"), None);
                let config = load(&text);
                assert_eq!(config.destinations.len(), usize::from(google) + usize::from(airtable));
                assert_eq!(config.schedule.len(), schedule.iter().len());
                let settings: &dyn Any = &*config.sources[0].settings;
                let fibank: &FibankSettings = settings.downcast_ref().unwrap();
                assert_eq!(fibank.username, "иван \"\\");
                assert_eq!(fibank.password.reveal().unwrap().expose_secret(), "p'\"\\#1");
                assert_eq!(fibank.base_url.as_str(), "https://my.fibank.bg/");
            }
        }
    }

    #[test]
    fn whoever_signs_in_in_a_browser_is_told_to() {
        let mut answers = answers(true, false, None);
        answers.google.as_mut().unwrap().writer = Writer::Owner;
        let (kept, path) = (Kept::default(), Path::new("/x/c.toml"));
        let config = load(&file(&answers, &kept, path, None));
        assert!(config.destinations[0].settings.browser_sign_in().is_some());
        let said = farewell(&answers, &kept, path, &Environment::default());
        assert!(said.contains("Now: `bankfeed --config /x/c.toml login sheet` signs you in at Google, `"), "{said}");
        let kept = Kept { credentials: vec![("google-client", "/c/google-client".into())] };
        let text = file(&answers, &kept, path, None);
        assert!(text.contains("oauth = { client = { credential = \"google-client\" } }"), "{text}");
        let unit = include_str!("../../../systemd/bankfeed.service");
        assert!(unit.lines().any(|line| line == "LoadCredentialEncrypted=google-client"));
    }

    #[test]
    fn every_option_at_rest_can_be_woken() {
        for (google, airtable) in [(true, true), (false, false)] {
            let text = file(&answers(google, airtable, None), &Kept::default(), Path::new("c.toml"), None);
            let is_option = |line: &&str| {
                line.starts_with("[[")
                    || line.starts_with('[')
                    || line.split_once(" = ").is_some_and(|(key, _)| {
                        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    })
            };
            let woken: Vec<&str> =
                text.lines().map(|line| line.strip_prefix("# ").filter(is_option).unwrap_or(line)).collect();
            assert!(woken.len() > 20 && woken.contains(&"jitter = \"5m\""));
            let config = load(&woken.join("\n"));
            assert_eq!(config.destinations.len(), 2);
            assert!(config.http.is_some() && !config.rules.list().is_empty() && !config.schedule.is_empty());
        }
    }

    #[test]
    fn credentials_are_named_and_nothing_secret_is_left_in_the_file() {
        let names = ["fibank-password", "google-key", "airtable-token"];
        let kept = Kept { credentials: names.map(|name| (name, Path::new("/c").join(name))).to_vec() };
        let (answers, path) = (answers(true, true, None), Path::new("/etc/bankfeed/config.toml"));
        let text = file(&answers, &kept, path, None);
        let config = load(&text);
        assert_eq!(config.data_dir, Path::new("/var/lib/bankfeed"));
        assert_eq!(names.iter().filter(|name| text.contains(&format!("{{ credential = \"{name}\" }}"))).count(), 3);
        assert!(!text.contains("patX.y") && !text.contains("#1"));
        let said = farewell(&answers, &kept, path, &Environment::default());
        assert!(said.contains("/c/fibank-password, /c/google-key, /c/airtable-token"), "{said}");
        let unit = include_str!("../../../systemd/bankfeed.service");
        for name in names {
            assert!(unit.lines().any(|line| line == format!("LoadCredentialEncrypted={name}")), "{name}");
        }
    }
}
