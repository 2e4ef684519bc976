//! The texts of `bankfeed init`: the configuration, with the options that an owner may want next as comments, and the
//! words at the end. Pure.

use std::path::Path;

use super::super::simulate::World;
use super::keep::Kept;
use super::{Answer, Answers};
use crate::config::{Environment, machine_timezone};
use crate::destination;
use crate::settings::answer::quoted;
use crate::settings::interview::Draft;

/// The bank's own zone, for machines that do not say where they are.
const USUAL_ZONE: &str = "Europe/Sofia";

/// The whole file.
pub(super) fn file(answers: &Answers, kept: &Kept, path: &Path, world: Option<&World>) -> String {
    let mut text = general(answers, path, world);
    text += &entry(&answers.source, kept, world);
    text += SCOPE;
    text += "\n\n# Where rows go.\n";
    if answers.destinations.is_empty() {
        let at_rest: Vec<&str> = destination::KINDS.iter().map(|kind| kind.at_rest).collect();
        text += &format!(
            "\n# Nowhere yet: transactions are only kept. Take the # away from one of these and fill in what is yours.\n{}",
            at_rest.join("\n")
        );
    }
    for destination in &answers.destinations {
        text += &entry(destination, kept, world);
        text += COMMON;
    }
    text + REST
}

/// The lines of an entry.
fn entry(answer: &Answer, kept: &Kept, world: Option<&World>) -> String {
    let Answer { kind, draft } = answer;
    let address = world.and_then(|world| world.base_url(kind)).map(|url| format!("base_url = {}\n", quoted(url)));
    let secret = draft.secret.as_ref().map(|secret| kept.reference(secret)).unwrap_or_default();
    format!("{}{secret}{}{}{}", draft.head, draft.tail, address.unwrap_or_default(), draft.options)
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
"#,
        zone = quoted(&zone()),
    )
}

/// The machine's zone. A machine that runs in UTC was probably never told its place.
fn zone() -> String {
    let zone = machine_timezone(&Environment::process()).map(|zone| zone.name()).unwrap_or(USUAL_ZONE);
    let unset = ["UTC", "Etc/UTC", "Etc/UCT", "UCT", "Universal", "Zulu", "GMT", "Etc/GMT"].contains(&zone);
    if unset { USUAL_ZONE.to_owned() } else { zone.to_owned() }
}

const SCOPE: &str = r#"# Only these accounts. Left out: every account of every customer this login may act for.
# accounts = ["BG32 FINV 9150 1000 0000 01"]
# The first day to fetch. Left out: as far back as the bank goes.
# history_from = 2015-01-01
"#;

const COMMON: &str = r#"# Headers in English, or with "bg" in Bulgarian.
# language = "en"
# Only transactions from this day on.
# since = 2024-01-01
# Only money that went out ("debit") or came in ("credit").
# direction = "debit"
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
    let drafts = answers.drafts();
    let files = drafts.iter().filter(|_| kept.credentials.is_empty()).filter_map(|draft| draft.kept_file.as_ref());
    for file in files {
        text += &format!("It names {}: keep that file, and run chmod 600 on it.\n", file.display());
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
    let sign_in = |draft: &&Draft| {
        let (name, service) = (draft.name, draft.sign_in_at?);
        Some(format!("`bankfeed {option}login {name}` signs you in at {service}, "))
    };
    let login: String = drafts.iter().filter_map(sign_in).collect();
    text + &format!("Now: {login}`bankfeed {option}check` proves it, `bankfeed {option}sync` brings the first rows.\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::any::Any;

    use secrecy::ExposeSecret;

    use crate::config;
    use crate::destination::{airtable as airtable_connector, google_sheets};
    use crate::source::fibank::{self, FibankSettings};

    fn answers(google: bool, airtable: bool, schedule: Option<&str>) -> Answers {
        let sheet =
            google.then(|| Answer { kind: "google-sheets", draft: google_sheets::interview::tests::drafted(true) });
        let base =
            airtable.then(|| Answer { kind: "airtable", draft: airtable_connector::interview::tests::drafted() });
        Answers {
            source: Answer { kind: "fibank", draft: fibank::interview::tests::drafted() },
            destinations: sheet.into_iter().chain(base).collect(),
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
        answers.destinations[0].draft = google_sheets::interview::tests::drafted(false);
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
            let expected = if google { 2 } else { destination::KINDS.len() };
            assert_eq!(config.destinations.len(), expected);
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
