//! Configurations as people write them: the example, the meaning of a good file, and the one line that each mistake
//! gets.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bankfeed::config::{Config, Environment, Error, NotifierKind, On, Safety, known_keys, load_with};
use bankfeed::destination::google_sheets::settings::Order;
use bankfeed::destination::policy::{Updates, Vanished};
use bankfeed::model::{Direction, Field, Language};
use bankfeed::settings::Secret;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use crate::world::{airtable, fibank, google_sheets};

/// Invented, with valid check digits.
const IBAN: &str = "BG32FINV91501000000001";

/// A complete source and destination to write below or above a mistake.
const SOURCE: &str = "[[source]]\nkind = \"fibank\"\nusername = \"ivan\"\npassword = { env = \"PASSWORD\" }\n";
const SHEET: &str = "[[destination]]\nname = \"household\"\nkind = \"google-sheets\"\nspreadsheet = \"1AbC\"\n\
                     service_account = { file = \"key.json\" }\n";
const BASE: &str = "[[destination]]\nname = \"base\"\nkind = \"airtable\"\nbase = \"appXXXXXXXXXXXXXX\"\ntoken = { env = \"TOKEN\" }\n";

fn environment() -> Environment {
    [("HOME", "/home/ivan"), ("TZ", "Europe/Sofia")].into_iter().collect()
}

/// Writes a file of mode 0600 and loads it.
fn load(text: impl AsRef<[u8]>) -> (TempDir, PathBuf, Result<Config, Error>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let loaded = load_with(&path, &environment());
    (folder, path, loaded)
}

fn valid(text: impl AsRef<[u8]>) -> Config {
    let (_folder, _, loaded) = load(text);
    loaded.unwrap()
}

/// The error with the folder taken off, so that it begins with `config.toml`.
fn refused(text: impl AsRef<[u8]>) -> String {
    let (_folder, path, loaded) = load(text);
    let error = loaded.expect_err("a broken configuration was accepted").to_string();
    error.replace(&format!("{}/", path.parent().unwrap().display()), "")
}

#[test]
fn the_example_loads_as_it_stands() {
    let (_folder, _, loaded) = load(fs::read(example()).unwrap());
    let config = loaded.unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.schedule.iter().map(|schedule| schedule.text()).collect::<Vec<_>>(), ["0 3 * * *", "0 18 * * *"]);
    assert_eq!(config.sources.len(), bankfeed::source::KINDS.len());
    assert_eq!(config.destinations.len(), bankfeed::destination::KINDS.len());
}

/// The claims of the example's comments hold: every commented option works once the `#` is removed, and no key is left
/// out.
#[test]
fn the_example_shows_every_key_and_all_of_them_work() {
    let text = fs::read_to_string(example()).unwrap();
    let awake: Vec<&str> = text.lines().map(wake).collect();
    // The two ways to sign in to Google exclude each other, and so do those to write an amount: a text has either.
    let without = |keys: &[&str]| {
        let left = awake.iter().copied().filter(|line| !keys.iter().any(|key| line.starts_with(key)));
        left.collect::<Vec<_>>().join("\n")
    };
    valid(without(&["service_account = ", "amount = ", "direction = { column"]));
    let config = valid(without(&["oauth = ", "debit = ", "credit = "]));
    assert_eq!(config.data_dir, Path::new("/var/lib/bankfeed"));
    assert_eq!(config.destinations[0].filter.accounts, Some(vec![IBAN.to_owned()]));

    let (mut section, mut kind) = (String::new(), String::new());
    let (mut shown, mut twice) = (BTreeSet::new(), Vec::new());
    for line in awake {
        if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            shown.insert(match name.split_once('.') {
                Some((_, key)) => (kind, key.to_owned()),
                None => (String::new(), name.to_owned()),
            });
            (section, kind) = (name.to_owned(), String::new());
        } else if line == "[http]" {
            (section, kind) = ("http".to_owned(), String::new());
            shown.insert((String::new(), section.clone()));
        } else if let Some((key, value)) = key_value(line) {
            if key == "kind" {
                kind = format!("{section} {}", value.trim_matches('"'));
            }
            let of_kind = known_keys().iter().any(|known| *known == (kind.clone(), key));
            let seen = shown.insert((if of_kind { kind.clone() } else { section.clone() }, key.to_owned()));
            if !seen && !["name", "kind"].contains(&key) {
                twice.push(key);
            }
        }
    }
    let known: BTreeSet<_> = known_keys().into_iter().map(|(section, key)| (section, key.to_owned())).collect();
    assert_eq!(shown, known);
    assert_eq!(twice, Vec::<&str>::new());
    for field in Field::all() {
        assert!(text.contains(&*field.key()), "the example does not name the field {field}");
    }
}

/// The example holds what every connector says of itself.
#[test]
fn the_example_is_put_together_from_the_connectors() {
    let text = fs::read_to_string(example()).unwrap();
    let sources = bankfeed::source::KINDS.iter().map(|kind| kind.example);
    for example in sources.chain(bankfeed::destination::KINDS.iter().map(|kind| kind.example)) {
        assert!(text.contains(example), "the example lacks these lines:\n{example}");
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml")
}

/// `# key = value` without the `# `; every other line as it is.
fn wake(line: &str) -> &str {
    line.strip_prefix("# ").filter(|rest| key_value(rest).is_some()).unwrap_or(line)
}

/// A line that sets a known key.
fn key_value(line: &str) -> Option<(&'static str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let known = known_keys().into_iter().map(|(_, known)| known).find(|known| *known == key)?;
    Some((known, value))
}

#[test]
fn a_short_file_gets_the_defaults() {
    let config = valid(format!("{SOURCE}{SHEET}{BASE}"));
    assert_eq!(config.data_dir, Path::new("/home/ivan/.local/state/bankfeed"));
    assert_eq!(config.timezone, chrono_tz::Europe::Sofia);
    assert!(config.schedule.is_empty() && config.catch_up && config.jitter.is_zero());
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.sources[0].name, "fibank");
    let fibank = fibank(&config.sources[0]);
    let scope = &config.sources[0].scope;
    assert_eq!((fibank.base_url.as_str(), scope.overlap_days), ("https://my.fibank.bg/", 14));
    assert_eq!((&scope.accounts, scope.history_from), (&None, None));
    let sheets = google_sheets(&config.destinations[0]).expect("the order is the file's");
    assert_eq!((sheets.tab.as_str(), sheets.order), ("Transactions", Order::OldestFirst));
    assert_eq!(sheets.base_url.as_str(), "https://sheets.googleapis.com/");
    assert_eq!((sheets.rows.updates, sheets.rows.vanished), (Updates::Apply, Vanished::Mark));
    let headers: Vec<&str> = sheets.rows.columns.iter().map(|column| column.header.as_str()).collect();
    assert_eq!(
        headers.join(", "),
        "Date, Amount, Currency, Counterparty, Description, Category, Type, Account, Balance, Value date, Reference, Transaction ID"
    );
    let airtable = airtable(&config.destinations[1]).expect("the order is the file's");
    assert_eq!((airtable.table.as_str(), airtable.monthly_requests), ("Transactions", None));
    assert_eq!(airtable.base_url.as_str(), "https://api.airtable.com/");
}

#[test]
fn what_a_full_file_says_is_kept() {
    let text = format!(
        "data_dir = \"state\"\ntimezone = \"Europe/Berlin\"\nschedule = \"@daily\"\ncatch_up = false\njitter = \"1h30m\"\n\
         {SOURCE}accounts = [\"bg32 finv 9150 1000 0000 01\"]\nhistory_from = 2015-01-01\noverlap_days = 3650\n\
         base_url = \"http://127.0.0.1:8080\"\n\
         {SHEET}tab = \"Движения\"\nlanguage = \"bg\"\norder = \"newest-first\"\nupdates = \"ignore\"\nvanished = \"delete\"\n\
         since = \"2024-01-31\"\naccounts = [\"{IBAN}\"]\ndirection = \"debit\"\nbalances_tab = false\ndashboard_tab = false\n\
         base_url = \"http://localhost:1/api\"\n\
         columns = [\"date\", {{ field = \"counterparty\", header = \"Vendor\" }}, \"raw.remI\"]\n\
         {BASE}monthly_requests = 1_000\ntable = \"tblX\"\nbase_url = \"http://[::1]:9\"\n"
    );
    let (folder, path, loaded) = load(text);
    let config = loaded.unwrap();
    assert_eq!((config.path, config.data_dir), (path, folder.path().join("state")));
    assert_eq!((config.timezone, config.catch_up), (chrono_tz::Europe::Berlin, false));
    assert_eq!(config.jitter, Duration::from_secs(90 * 60));
    let fibank = fibank(&config.sources[0]);
    let scope = &config.sources[0].scope;
    assert_eq!(scope.accounts, Some(vec![IBAN.to_owned()]));
    assert_eq!(scope.history_from.unwrap().to_string(), "2015-01-01");
    assert_eq!((scope.overlap_days, fibank.base_url.as_str()), (3650, "http://127.0.0.1:8080/"));
    let household = &config.destinations[0];
    assert_eq!(household.filter.since.unwrap().to_string(), "2024-01-31");
    assert_eq!(household.filter.direction, Some(Direction::Debit));
    let sheets = google_sheets(household).expect("the order is the file's");
    assert_eq!((sheets.tab.as_str(), sheets.order), ("Движения", Order::NewestFirst));
    assert_eq!(sheets.base_url.as_str(), "http://localhost:1/api/");
    assert_eq!((sheets.rows.updates, sheets.rows.vanished), (Updates::Ignore, Vanished::Delete));
    assert_eq!(sheets.rows.language, Language::Bg);
    let columns: Vec<String> =
        sheets.rows.columns.iter().map(|column| format!("{}={}", column.field, column.header)).collect();
    assert_eq!(columns, ["date=Дата", "counterparty=Vendor", "raw.remI=remI", "id=Номер на запис"]);
    let Secret::File(key) = &sheets.service_account else { panic!("a file was named") };
    assert_eq!(*key, folder.path().join("key.json"));
    let airtable = airtable(&config.destinations[1]).expect("the order is the file's");
    assert_eq!((airtable.table.as_str(), airtable.monthly_requests), ("tblX", Some(1000)));
    assert_eq!(airtable.base_url.as_str(), "http://[::1]:9/");
}

/// TOML has several ways to write a table; the parser takes them all, and errors still find their line.
#[test]
fn tables_may_be_written_in_any_of_tomls_ways() {
    let source = "[[source]]\nkind = \"fibank\"\nusername = \"ivan\"\n";
    for secret in ["password.env = \"PASSWORD\"", "[source.password]\nenv = \"PASSWORD\""] {
        let config = valid(format!("{source}{secret}\n{SHEET}"));
        let fibank = fibank(&config.sources[0]);
        assert!(matches!(&fibank.password, Secret::Env(name) if name == "PASSWORD"));
    }
    let columns = "[[destination.columns]]\nfield = \"date\"\n[[destination.columns]]\nfield = \"dat\"\n";
    assert_eq!(
        refused(format!("{SOURCE}{SHEET}{columns}")),
        "config.toml:13: destination `household`: columns: field: no field is called `dat`, did you mean `date`?"
    );
}

#[test]
fn a_spreadsheet_is_known_by_its_address_or_its_id() {
    for given in [
        "1AbC-d_E",
        "https://docs.google.com/spreadsheets/d/1AbC-d_E/edit",
        "https://docs.google.com/spreadsheets/d/1AbC-d_E/edit?gid=0#gid=0",
        "https://docs.google.com/spreadsheets/u/1/d/1AbC-d_E",
        "docs.google.com/spreadsheets/d/1AbC-d_E/",
    ] {
        let config = valid(format!("{SOURCE}{}", SHEET.replace("1AbC", given)));
        let sheets = google_sheets(&config.destinations[0]).expect("one sheet");
        assert_eq!(sheets.spreadsheet, "1AbC-d_E", "{given}");
    }
}

#[test]
fn plain_secrets_are_kept_and_warned_about() {
    let text = SOURCE.replace("{ env = \"PASSWORD\" }", "\"s3cret\"") + BASE;
    let (_folder, path, loaded) = load(&text);
    let config = loaded.unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    let fibank = fibank(&config.sources[0]);
    assert_eq!(fibank.password.reveal().unwrap().expose_secret(), "s3cret");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let shown = path.display();
    let expected = format!("{shown}: others can read source `fibank`: password; run chmod 600 {shown}");
    assert_eq!(load_with(&path, &environment()).unwrap().warnings, [expected]);
    // A file without a plain secret may be readable by anybody.
    fs::write(&path, format!("{SOURCE}{BASE}")).unwrap();
    assert_eq!(load_with(&path, &environment()).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn rules_are_read_in_their_order_with_their_lines() {
    let text = format!(
        "{SOURCE}{SHEET}\
         [[rule]]\n\
         when = {{ counterparty = \"lidl|billa\", debit = {{ min = 10, max = \"99.90\" }}, direction = \"debit\" }}\n\
         set = {{ category = \"Food\", tags = [\"home\", \"daily\"] }}\n\
         [[rule]]\n\
         [rule.when]\n\
         account = \"bg32 finv 9150 1000 0000 01\"\n\
         raw.trn.code = \"FAK\"\n\
         amount = {{ max = -1_000.5 }}\n\
         \"raw.remI\" = \"x\"\n\
         [rule.set]\n\
         note = \"n\"\n"
    );
    let config = valid(text);
    let rules = config.rules.list();
    assert_eq!(rules.iter().map(|rule| rule.line).collect::<Vec<_>>(), [10, 13]);
    assert_eq!(
        rules[0].to_string(),
        r#"counterparty ~ "lidl|billa", 10.00 <= debit <= 99.90, direction = "debit" -> category "Food", tags "home, daily""#
    );
    assert_eq!(
        rules[1].to_string(),
        r#"account = "BG32FINV91501000000001", raw.trn.code ~ "FAK", amount <= -1000.50, raw.remI ~ "x" -> note "n""#
    );
    assert_eq!(valid(format!("{SOURCE}{SHEET}")).rules.fingerprint(), 0);
}

#[test]
fn a_mistake_in_a_rule_is_told_with_its_line() {
    let refused = |when: &str, set: &str| {
        let error = refused(format!("{SOURCE}{SHEET}[[rule]]\nwhen = {when}\nset = {set}\n"));
        error.strip_prefix("config.toml:").unwrap().to_owned()
    };
    let (when, set) = ("{ counterparty = \"lidl\" }", "{ category = \"Food\" }");
    for (broken, expected) in [
        ("{}", "11: rule 1: when: says nothing, and would fit every transaction"),
        (
            "\"lidl\"",
            "11: rule 1: when: expected a table such as { counterparty = \"lidl|billa\", direction = \"debit\" }, found text",
        ),
        (
            "{ counterpary = \"lidl\" }",
            "11: rule 1: when: no field is called `counterpary`, did you mean `counterparty`?",
        ),
        (
            "{ counterparty = \"lidl(\" }",
            "11: rule 1: when: `counterparty`: not a regular expression: unclosed group at character 5",
        ),
        (
            "{ counterparty = 7 }",
            "11: rule 1: when: `counterparty`: expected a regular expression in quotes, found a whole number",
        ),
        (
            "{ counterparty = \"\" }",
            "11: rule 1: when: `counterparty`: is empty, expected a regular expression in quotes",
        ),
        ("{ direction = \"out\" }", "11: rule 1: when: `direction`: expected `debit` or `credit`, found `out`"),
        (
            "{ account = \"BG33FINV91501000000001\" }",
            "11: rule 1: when: `account`: `BG33FINV91501000000001` is not an IBAN: its check digits do not fit, look for a typing error",
        ),
        (
            "{ amount = 5 }",
            "11: rule 1: when: `amount`: expected { min = …, max = … } or a regular expression in quotes, found a whole number",
        ),
        ("{ amount = {} }", "11: rule 1: when: `amount`: says neither min nor max"),
        ("{ amount = { mni = 5 } }", "11: rule 1: when: `amount`: unknown key `mni`, did you mean `min`?"),
        ("{ amount = { min = \"5 лв\" } }", "11: rule 1: when: `amount`: min: expected an amount such as -12.50"),
        (
            "{ amount = { min = -100, max = -200 } }",
            "11: rule 1: when: `amount`: min is more than max; money out is negative, so -200 is less than -100",
        ),
    ] {
        assert_eq!(refused(broken, set), expected);
    }
    for (broken, expected) in [
        ("{}", "12: rule 1: set: sets nothing, expected category, vendor, tags or note"),
        ("{ categry = \"Food\" }", "12: rule 1: set: unknown key `categry`, did you mean `category`?"),
        ("{ category = \"\" }", "12: rule 1: set: category: is empty, expected text in quotes"),
        ("{ tags = [\"a,b\"] }", "12: rule 1: set: tags: a tag of a list may not hold a comma"),
    ] {
        assert_eq!(refused(when, broken), expected);
    }
    let half = |line: &str| super::config::refused(format!("{SOURCE}{SHEET}[[rule]]\n{line}\n"));
    assert_eq!(
        half("set = { category = \"Food\" }"),
        "config.toml:10: rule 1: when is missing, expected a table such as { counterparty = \"lidl|billa\", direction = \"debit\" }"
    );
    assert_eq!(half("then = 1"), "config.toml:11: rule 1: unknown key `then`, did you mean `when`?");
    assert_eq!(
        super::config::refused(format!("{SOURCE}[rule]\nx = 1\n")),
        "config.toml:5: rule: expected [[rule]] in double brackets, one for each rule"
    );
}

#[test]
fn every_missing_secret_is_told_once_with_its_line() {
    let text = format!(
        "{SOURCE}{SHEET}{BASE}[http]\nlisten = \"127.0.0.1:1\"\nimport_token = {{ file = \"nowhere\" }}\n\
         [[notify]]\nkind = \"ntfy\"\nurl = \"https://ntfy.sh/x\"\n\
         [[notify]]\nkind = \"webhook\"\non = \"failure\"\n[notify.url]\nenv = \"NO_SUCH_4711\"\n"
    );
    let text = text.replace("TOKEN", "NO_SUCH_4711").replace("PASSWORD", "NO_SUCH_4711");
    let config = valid(&text);
    let missing: Vec<String> = config.missing_secrets().iter().map(ToString::to_string).collect();
    let places: Vec<&str> = missing.iter().map(|error| error.split("config.toml:").nth(1).unwrap()).collect();
    let expected = [
        "4: source `fibank`: password: the environment variable",
        "9: destination `household`: service_account: cannot read",
        "14: destination `base`: token: the environment variable",
        "17: http: import_token: cannot read",
        "24: notify `webhook`: url: the environment variable",
    ];
    assert_eq!(places.len(), expected.len(), "{missing:?}");
    for (place, expected) in places.iter().zip(expected) {
        assert!(place.starts_with(expected), "{place}");
    }
    let same = valid(format!("{SOURCE}[[notify]]\nkind = \"ntfy\"\nurl = {{ env = \"PATH\" }}\n"));
    let error = same.missing_secrets().pop().unwrap().to_string();
    assert!(error.contains("config.toml:7: notify `ntfy`: url: "), "{error}");
}

#[test]
fn a_missing_secret_is_told_only_when_it_is_needed() {
    let config = valid(SOURCE.replace("env = \"PASSWORD\"", "file = \"nowhere\""));
    let error = config.check_secrets().unwrap_err().to_string();
    assert!(error.contains("config.toml:4: source `fibank`: password: cannot read /"), "{error}");
    assert!(
        error
            .ends_with("/nowhere: No such file or directory (os error 2); put the secret there, readable for bankfeed"),
        "{error}"
    );
}

#[test]
fn no_destination_is_worth_a_warning() {
    let (_folder, path, loaded) = load(SOURCE);
    let expected = format!("{}: no destination, rows are only stored; add a [[destination]]", path.display());
    assert_eq!(loaded.unwrap().warnings, [expected]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = format!("\u{feff}timezone = \"Europe/Sofia\"\n{SOURCE}{SHEET}").replace('\n', "\r\n");
    assert_eq!(valid(&text).destinations[0].name, "household");
    assert_eq!(
        refused(text + "tabb = \"x\"\r\n"),
        "config.toml:11: destination `household`: unknown key `tabb`, did you mean `tab`?"
    );
}

#[test]
fn every_mistake_gets_one_line_that_names_the_place_and_the_remedy() {
    let cases = mistakes();
    assert!(cases.len() >= 45, "{}", cases.len());
    let mut wrong = Vec::new();
    for (text, expected) in &cases {
        let error = refused(text);
        if error != *expected {
            wrong.push(format!("expected {expected}\n     got {error}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Broken configurations with their error texts.
fn mistakes() -> Vec<(String, String)> {
    let mut cases = Vec::new();
    let mut case = |text: String, expected: &str| cases.push((text, format!("config.toml{expected}")));

    // The file as a whole.
    case(
        SOURCE.replace("[[source]]", "[source]"),
        ":1: source: expected [[source]] in double brackets, one for each source",
    );
    case("source = \"fibank\"".into(), ":1: source: expected [[source]] entries, found text");
    case("source = [\"fibank\"]".into(), ":1: source: expected [[source]] entries, found text");
    let quoted: Vec<&str> = bankfeed::source::KINDS.iter().map(|kind| kind.name).collect();
    let no_source = format!(": no source, add a [[source]] with kind = \"{}\"", quoted.join("\" or \""));
    let kinds = bankfeed::settings::words::one_of(quoted);
    case(String::new(), &no_source);
    case(SHEET.into(), &no_source);
    for (line, expected) in [
        ("timezone = Europe/Sofia", ":1: not valid TOML: string values must be quoted, expected literal string"),
        ("timezone = \"Europe/Sofia", ":1: not valid TOML: invalid basic string, expected `\"`"),
        ("catch_up = yes", ":1: not valid TOML: string values must be quoted, expected literal string"),
        ("catch_up", ":1: not valid TOML: key with no value, expected `=`"),
        ("catch_up = true\ncatch_up = true", ":2: catch_up is given twice"),
        ("[[source]", ":1: not valid TOML: unclosed array table, expected `]`"),
        ("schedule = [\"0 3 * * *\"", ":2: not valid TOML: missing comma between array elements, expected `,`"),
        ("tiemzone = \"Europe/Sofia\"", ":1: unknown key `tiemzone`, did you mean `timezone`?"),
        (
            "colour = 1",
            ":1: unknown key `colour`, expected `data_dir`, `timezone`, `schedule`, `catch_up`, `jitter`, `source`, `destination`, `rule`, `http` or `notify`",
        ),
        ("[source]\nkind = \"fibank\"", ":3: source is given twice, write [[source]] in double brackets each time"),
        (
            "destination = \"sheets\"",
            ":6: destination is given twice, write [[destination]] in double brackets each time",
        ),
        (
            "timezone = \"Europe/Sofa\"",
            ":1: timezone: no time zone is called `Europe/Sofa`, did you mean `Europe/Sofia`?",
        ),
        ("timezone = \"EEST\"", ":1: timezone: no time zone is called `EEST`, did you mean `EET`?"),
        (
            "timezone = 2",
            ":1: timezone: expected an IANA time zone in quotes such as \"Europe/Sofia\", found a whole number",
        ),
        ("catch_up = \"yes\"", ":1: catch_up: expected true or false, found text"),
        ("data_dir = \"\"", ":1: data_dir: is empty, expected the path of a folder in quotes"),
        (
            "jitter = 300",
            ":1: jitter: expected a length of time in quotes such as \"5m\", \"30s\" or \"1h\", or 0, found a whole number",
        ),
        (
            "jitter = \"5 minutes\"",
            ":1: jitter: expected a length of time such as \"5m\", \"30s\" or \"1h\", found `5 minutes`",
        ),
        ("jitter = \"25h\"", ":1: jitter: is longer than a day"),
        (
            "schedule = 3",
            ":1: schedule: expected a crontab line in quotes such as \"0 3 * * *\", or a list of them, found a whole number",
        ),
        ("schedule = \"0 25 * * *\"", ":1: schedule: `0 25 * * *`: hour: `25` is not between 0 and 23"),
        (
            "schedule = [\n  \"0 3 * * *\",\n  \"0 0 31 2 *\",\n]",
            ":3: schedule: `0 0 31 2 *`: never fires, because there is no such day",
        ),
        (
            "schedule = \"@reboot\"",
            ":1: schedule: `@reboot`: `@reboot` is not supported, expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually",
        ),
        (
            "schedule = \"3 * * *\"",
            ":1: schedule: `3 * * *`: expected five fields (minute, hour, day of month, month, weekday), six with seconds first, or a word like @daily; found 4 fields",
        ),
    ] {
        case(format!("{line}\n{SOURCE}{SHEET}"), expected);
    }

    // Sources; the mistake stands in line 5.
    for (line, expected) in [
        ("user = \"ivan\"", ":5: source 1: unknown key `user`, did you mean `username`?"),
        (
            "schedule = \"@daily\"",
            ":5: source 1: unknown key `schedule`, it belongs at the top of the file, above the first entry",
        ),
        ("name = \"fi\\nbank\"", ":5: source 1: name: contains a line break or another control character"),
        ("name = \" fibank\"", ":5: source 1: name: starts or ends with a space"),
        ("name = 1", ":5: source 1: name: expected a name of your choice in quotes, found a whole number"),
        ("overlap_days = 3651", ":5: source 1: overlap_days: expected a whole number from 0 to 3650, found 3651"),
        ("overlap_days = -1", ":5: source 1: overlap_days: expected a whole number from 0 to 3650, found -1"),
        (
            "overlap_days = 1.5",
            ":5: source 1: overlap_days: expected a whole number from 0 to 3650, found a number with a decimal point",
        ),
        ("history_from = 2015", ":5: source 1: history_from: expected a date such as 2015-01-01, found a whole number"),
        (
            "history_from = \"1.1.2015\"",
            ":5: source 1: history_from: expected a day as year-month-day, such as 2024-01-31",
        ),
        (
            "history_from = 2015-01-01T00:00:00",
            ":5: source 1: history_from: expected a day as year-month-day, such as 2024-01-31",
        ),
        (
            "history_from = \"2015-02-29\"",
            ":5: source 1: history_from: expected a day as year-month-day, such as 2024-01-31",
        ),
        (
            "accounts = \"BG32FINV91501000000001\"",
            ":5: source 1: accounts: expected a list of account numbers in quotes, found text",
        ),
        ("accounts = []", ":5: source 1: accounts: names no account, leave the key out to mean all"),
        (
            "accounts = [\n  \"BG32FINV91501000000001\",\n  \"BG33FINV91501000000001\",\n]",
            ":7: source 1: accounts: `BG33FINV91501000000001` is not an IBAN: its check digits do not fit, look for a typing error",
        ),
        (
            "accounts = [\"everything\"]",
            ":5: source 1: accounts: `everything` is not an IBAN: expected a country, two digits and the account number",
        ),
        (
            "accounts = [\"BG32 FINV 9150 1000 0000 01\", \"BG32FINV91501000000001\"]",
            ":5: source 1: accounts: `BG32FINV91501000000001` stands in the list twice",
        ),
        (
            "base_url = \"http://my.fibank.bg\"",
            ":5: source 1: base_url: must begin with https, plain http is accepted for this machine only (127.0.0.1)",
        ),
        ("base_url = \"my.fibank.bg\"", ":5: source 1: base_url: expected an address such as \"https://example.com\""),
        ("base_url = \"file:///etc\"", ":5: source 1: base_url: expected an address such as \"https://example.com\""),
        (
            "base_url = \"https://my.fibank.bg/EBank\"",
            ":5: source 1: base_url: must end after the host, without a path",
        ),
        (
            "base_url = \"https://ivan:pw@my.fibank.bg\"",
            ":5: source 1: base_url: must not hold a user name or password",
        ),
        ("base_url = \"https://my.fibank.bg?x=1\"", ":5: source 1: base_url: must not hold a `?` or `#`"),
    ] {
        case(format!("{SOURCE}{line}\n{SHEET}"), expected);
    }
    case(
        "[[source]]\nname = \"bank\"\n".into(),
        &format!(":1: source `bank`: kind is missing, expected {kinds} in quotes"),
    );
    case(
        "[[source]]\nkind = \"fibnk\"\n".into(),
        &format!(":2: source 1: kind: expected {kinds}, found `fibnk`, did you mean `fibank`?"),
    );
    let files = format!("{SOURCE}[[source]]\nname = \"statements\"\nkind = \"files\"\n");
    case(files.clone(), ":5: source `statements`: directory is missing, expected the path of a folder in quotes");
    let csv = "[[source.csv]]\nname = \"mine\"\ndate = 1\ndate_format = \"%d.%m.%Y\"\n";
    for (lines, expected) in [
        ("after = \"copy\"", ":9: source `statements`: after: expected `move` or `keep`, found `copy`"),
        (
            "currency = \"euro\"",
            ":9: source `statements`: currency: expected three capital letters in quotes such as \"EUR\"",
        ),
        (
            "accounts = [\"x\"]",
            ":9: source `statements`: accounts: expected a table such as { \"37040044/532013000\" = \"DE89370400440532013000\" }, found a list",
        ),
        (
            "encoding = \"latin-77\"",
            ":9: source `statements`: encoding: names an encoding that is not known, such as \"windows-1251\" or \"ISO-8859-15\"",
        ),
        (
            "overlap_days = 7",
            ":9: source `statements`: overlap_days has no meaning for files, which are read whole; leave it out",
        ),
        (
            "[source.csv]\nname = \"mine\"",
            ":9: source `statements`: csv: expected [[source.csv]] in double brackets, one for each layout",
        ),
        (csv, ":9: source `statements`: csv `mine`: `amount`, or `debit` and `credit`, is missing"),
        (
            &format!("{csv}amuont = 2"),
            ":13: source `statements`: csv `mine`: unknown key `amuont`, did you mean `amount`?",
        ),
        (
            &format!("{csv}amount = 0"),
            ":13: source `statements`: csv `mine`: amount: columns are counted from 1, found 0",
        ),
        (
            &format!("{csv}amount = 2\ndecimal = \"..\""),
            ":14: source `statements`: csv `mine`: decimal: expected one character in quotes",
        ),
        (
            &format!("{csv}amount = 2\ndirection = {{ column = 3, out = [\"D\"] }}"),
            ":14: source `statements`: csv `mine`: direction: in is missing, expected a list of texts in quotes",
        ),
        (
            &format!("{csv}amount = \"Betrag\"\nheader = false"),
            ":9: source `statements`: csv `mine`: a file without a header has no names of columns: give each column by its number",
        ),
        (
            &csv.replace("%d", "%Q"),
            ":12: source `statements`: csv `mine`: date_format: is no form of a date: %d is the day, %m the month, %Y the year, %y the year of two digits",
        ),
    ] {
        case(format!("{files}directory = \"/inbox\"\n{lines}\n"), expected);
    }
    case(
        "# mine\n[[source]]\nkind = \"fibank\"\nusername = \"ivan\"\n".into(),
        ":2: source 1: password is missing, expected text in quotes, or a table with exactly one of env, file, credential",
    );
    case(
        SOURCE.replace("\"ivan\"", "\"\""),
        ":3: source 1: username: is empty, expected the login name at the bank in quotes",
    );
    case(
        format!("{SOURCE}{SOURCE}"),
        ":1: source 1: name is missing, expected one because several have the kind `fibank`",
    );
    case(
        format!("{SOURCE}name = \"a\"\n{SOURCE}name = \"a\"\n"),
        ":10: source `a`: the name `a` is taken by another source",
    );

    // Errors about secrets repeat no part of the found text.
    let expected_table = "expected a table with exactly one of `env`, `file` or `credential`";
    for (secret, expected) in [
        ("\"\"", "is empty".to_owned()),
        (
            "12345",
            "expected text in quotes, or a table with exactly one of env, file, credential, found a whole number"
                .into(),
        ),
        (
            "[\"x\"]",
            "expected text in quotes, or a table with exactly one of env, file, credential, found a list".into(),
        ),
        ("{}", expected_table.into()),
        ("{ env = \"A\", file = \"b\" }", expected_table.into()),
        ("{ hunter2 = \"x\" }", expected_table.into()),
        ("{ credental = \"x\" }", "unknown key `credental`, did you mean `credential`?".into()),
        ("{ env = 1 }", "env: expected the name of an environment variable in quotes, found a whole number".into()),
        (
            "{ env = \"patAbc.0123\" }",
            "env: expected the name of an environment variable, such as \"AIRTABLE_TOKEN\"".into(),
        ),
        (
            "{ credential = \"../x\" }",
            "credential: expected the name of a credential, such as \"fibank-password\"".into(),
        ),
    ] {
        case(SOURCE.replace("{ env = \"PASSWORD\" }", secret), &format!(":4: source 1: password: {expected}"));
    }

    // Google Sheets; the mistake stands in line 10.
    for (line, expected) in [
        ("tabb = \"x\"", "unknown key `tabb`, did you mean `tab`?"),
        ("tab = \"\"", "tab: is empty, expected the title of a tab in quotes"),
        (
            "order = \"newest\"",
            "order: expected `oldest-first` or `newest-first`, found `newest`, did you mean `newest-first`?",
        ),
        ("updates = \"never\"", "updates: expected `apply` or `ignore`, found `never`"),
        ("vanished = \"remove\"", "vanished: expected `mark`, `ignore` or `delete`, found `remove`"),
        ("language = \"de\"", "language: expected `en` or `bg`, found `de`"),
        ("direction = \"debt\"", "direction: expected `debit` or `credit`, found `debt`, did you mean `debit`?"),
        ("since = \"yesterday\"", "since: expected a day as year-month-day, such as 2024-01-31"),
        (
            "oauth = { client = \"x\" }",
            "oauth: client: expected the JSON key itself, or { file = \"…\" } with the path of the key file",
        ),
        (
            "oauth = { client = { id = \"x\" } }",
            "oauth: client: secret is missing, expected text in quotes, or a table with exactly one of env, file, credential",
        ),
        (
            "oauth = { client = { secret = \"x\" } }",
            "oauth: client: id is missing, expected the client's id in quotes, such as \"….apps.googleusercontent.com\"",
        ),
        (
            "oauth = { client = { id = \"x\", secrt = \"y\" } }",
            "oauth: client: expected id and secret, found another key, did you mean `secret`?",
        ),
        (
            "oauth = { client = { id = \"x\", secret = \"y\", token_uri = \"http://example.com\" } }",
            "oauth: client: token_uri: must begin with https, plain http is accepted for this machine only (127.0.0.1)",
        ),
        ("oauth = { client = { file = \"/x\" } }", "oauth and service_account exclude each other, give one of them"),
        ("balances_tab = 3", "balances_tab: expected the title of a tab in quotes, or false, found a whole number"),
        ("rules_tab = true", "rules_tab: expected the title of a tab in quotes, or false, found true or false"),
        ("dashboard_tab = true", "dashboard_tab: expected the title of a tab in quotes, or false, found true or false"),
        ("min_amount = -10", "min_amount: is negative; it is the least amount either way, `direction` says which"),
        ("min_amount = \"much\"", "min_amount: expected an amount such as -12.50"),
        ("type = []", "type: names no type, leave the key out to mean all"),
        (
            "type = 5",
            "type: expected a type of operation in quotes as the bank calls it, or a list of them, found a whole number",
        ),
        (
            "columns = \"date\"",
            "columns: expected a list of fields, each a name in quotes or { field = \"…\", header = \"…\" }, found text",
        ),
        ("columns = []", "columns: names no field, leave the key out for the usual columns"),
        ("columns = [\"date\", \"ammount\"]", "columns: no field is called `ammount`, did you mean `amount`?"),
        ("columns = [\"Transaction ID\"]", "columns: no field is called `Transaction ID`, did you mean `id`?"),
        (
            "columns = [\"raw.\"]",
            "columns: no field is called `raw.`, expected `id`, `source`, `account`, `account_name`, `customer`, `time`, `date`, `value_date`, `amount`, `currency`, `direction`, `debit`, `credit`, `amount_eur`, `balance`, `counterparty`, `counterparty_account`, `description`, `type`, `type_code`, `reference`, `transfer`, `category`, `vendor`, `tags`, `note` or `raw.<path>`",
        ),
        ("columns = [\"date\", \"date\"]", "columns: the field `date` stands in two columns"),
        (
            "columns = [\"date\", { field = \"time\", header = \"date\" }]",
            "columns: two columns have the header `date`",
        ),
        (
            "columns = [{ field = \"time\", header = \"Transaction ID\" }]",
            "columns: two columns have the header `Transaction ID`",
        ),
        ("columns = [{ feild = \"time\" }]", "columns: unknown key `feild`, did you mean `field`?"),
        ("columns = [{ header = \"Time\" }]", "columns: field is missing, expected the name of a field in quotes"),
        (
            "columns = [{ field = \"time\", header = 1 }]",
            "columns: header: expected the column's header in quotes, found a whole number",
        ),
        (
            "base_url = \"http://192.168.1.2/\"",
            "base_url: must begin with https, plain http is accepted for this machine only (127.0.0.1)",
        ),
        (
            "monthly_requests = 1",
            "unknown key `monthly_requests`, expected `name`, `kind`, `base_url`, `columns`, `updates`, `vanished`, `language`, `since`, `accounts`, `direction`, `min_amount`, `type`, `spreadsheet`, `tab`, `service_account`, `order`, `balances_tab`, `dashboard_tab`, `rules_tab` or `oauth`",
        ),
    ] {
        case(format!("{SOURCE}{SHEET}{line}\n"), &format!(":10: destination `household`: {expected}"));
    }
    let spreadsheet = "expected the address of a spreadsheet, https://docs.google.com/spreadsheets/d/…, or its id";
    for (given, expected) in [
        ("https://example.com/spreadsheets/d/1AbC/edit", spreadsheet),
        ("https://docs.google.com/document/d/1AbC/edit", spreadsheet),
        ("https://docs.google.com/spreadsheets/", spreadsheet),
        ("my sheet", spreadsheet),
        (
            "https://docs.google.com/spreadsheets/d/e/2PACX-1/pubhtml",
            "is the address of a published copy, take it from the browser while editing the spreadsheet",
        ),
    ] {
        let text = format!("{SOURCE}{}", SHEET.replace("1AbC", given));
        case(text, &format!(":8: destination `household`: spreadsheet: {expected}"));
    }
    case(
        format!("{SOURCE}{}", SHEET.replace("{ file = \"key.json\" }", "\"/etc/key.json\"")),
        ":9: destination `household`: service_account: expected the JSON key itself, or { file = \"…\" } with the path of the key file",
    );
    case(
        format!("{SOURCE}{SHEET}{}", SHEET.replace("household", "other")),
        ":10: destination `other`: writes to the same place as destination `household`",
    );
    case(
        format!("{SOURCE}{SHEET}{}", BASE.replace("\"base\"", "\"household\"")),
        ":11: destination `household`: the name `household` is taken by another destination",
    );

    // Airtable; the mistake stands in line 10.
    for (line, expected) in [
        ("monthly_requests = 0", "monthly_requests: expected a whole number of at least 1, found 0"),
        ("monthly_requests = \"1000\"", "monthly_requests: expected a whole number of at least 1, found text"),
        ("base_url = \"https://api.airtable.com/v0\"", "base_url: must end after the host, without a path"),
        ("tables = \"x\"", "unknown key `tables`, did you mean `table`?"),
        (
            "order = \"newest-first\"",
            "unknown key `order`, expected `name`, `kind`, `base_url`, `columns`, `updates`, `vanished`, `language`, `since`, `accounts`, `direction`, `min_amount`, `type`, `base`, `table`, `token`, `monthly_requests` or `accounts_table`",
        ),
    ] {
        case(format!("{SOURCE}{BASE}{line}\n"), &format!(":10: destination `base`: {expected}"));
    }
    case(
        format!("{SOURCE}{}", BASE.replace("appXXXXXXXXXXXXXX", "https://airtable.com/appX")),
        ":8: destination `base`: base: expected the base's id, which begins with app: the first part of its address after airtable.com/",
    );

    // Odoo; the mistake stands in line 11.
    let books = "[[destination]]\nname = \"books\"\nkind = \"odoo\"\nurl = \"https://odoo.example.com\"\ndatabase = \"company\"\napi_key = \"k\"\n";
    for (line, expected) in [
        ("journals = {}", "journals: names no account"),
        (
            "journals = 7",
            "journals: expected a table of accounts with the ids of their bank journals, such as { \"BG…\" = 7 }, found a whole number",
        ),
        (
            "journals = { \"A\" = \"x\" }",
            "journals: `A`: expected the id of a journal, a whole number of at least 1, found text",
        ),
        ("journals = { \"A\" = 7, \"B\" = 7 }", "journals: `B` and `A` have one journal, give each its own"),
        ("columns = [\"date\"]", "columns: a bank line of Odoo has fields of its own, leave the key out"),
        (
            "base_url = \"https://odoo.example.com\"",
            "base_url: the address of an Odoo stands in `url`, leave the key out",
        ),
    ] {
        case(format!("{SOURCE}{books}{line}\n"), &format!(":11: destination `books`: {expected}"));
    }
    case(
        format!("{SOURCE}[[destination]]\nname = \"s\"\nkind = \"google_sheets\"\n"),
        ":7: destination `s`: kind: expected `google-sheets`, `airtable`, `nocodb`, `odoo` or `postgres`, found `google_sheets`, did you mean `google-sheets`?",
    );
    cases
}

#[test]
fn files_that_are_no_text_are_refused_in_one_line() {
    assert_eq!(
        refused(b"timezone = \"UTC\"\nusername = \"\xc8\xe2\xe0\xed\"\n"),
        "config.toml:2: not UTF-8 text, save the file as UTF-8"
    );
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("config.toml");
    assert_eq!(
        load_with(&missing, &environment()).unwrap_err().to_string(),
        format!(
            "{}: cannot read it: No such file or directory (os error 2), `bankfeed init` writes one",
            missing.display()
        )
    );
    assert_eq!(
        load_with(folder.path(), &environment()).unwrap_err().to_string(),
        format!("{}: cannot read it: Is a directory (os error 21)", folder.path().display())
    );
}

/// Wherever a secret may stand by design or by mistake, no error and no `Debug` shows it.
#[test]
fn a_planted_secret_is_never_shown() {
    const PLANTED: &str = "Hunter2-PLANTED";
    let source = |password: &str| SOURCE.replace("{ env = \"PASSWORD\" }", password) + BASE;
    let quoted = format!("\"{PLANTED}\"");
    let webhook = format!("[[notify]]\nkind = \"webhook\"\nurl = \"https://example.com/?key={PLANTED}\"\n");
    let good = [
        source(&quoted),
        format!("{SOURCE}{BASE}{webhook}"),
        SOURCE.to_owned() + &BASE.replace("{ env = \"TOKEN\" }", &quoted),
    ];
    for text in good {
        let (_folder, path, loaded) = load(text);
        let config = loaded.unwrap();
        assert!(!format!("{config:?} {config:#?}").contains(PLANTED));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = load_with(&path, &environment()).unwrap().warnings;
        assert!(warnings.len() == 1 && !warnings[0].contains(PLANTED));
    }
    let key = format!("{{ type = \"service_account\", private_key = {quoted} }}");
    let client = |client: &str| {
        let sheet = SHEET
            .replace("service_account = { file = \"key.json\" }", &format!("oauth = {{ client = {{ {client} }} }}"));
        assert!(sheet.contains("oauth"));
        SOURCE.to_owned() + &sheet
    };
    let (_folder, _, loaded) = load(client(&format!("id = \"x\", secret = {quoted}")));
    assert!(!format!("{:?}", loaded.unwrap()).contains(PLANTED));
    let broken = [
        client(&format!("id = \"x\", secret = {quoted}, {PLANTED} = 1")),
        client(&format!("id = \"x y {PLANTED}\", secret = {quoted}")),
        client(&format!("id = [{quoted}], secret = {quoted}")),
        client(&format!("id = \"x\", secret = [{quoted}]")),
        client(&format!("id = \"x\", secret = {quoted}, auth_uri = \"http://example.com/{PLANTED}\"")),
        source(PLANTED),
        source(&format!("{PLANTED} = 1")),
        source(&format!("\"{PLANTED}")),
        source(&format!("'{PLANTED}")),
        source(&format!("\"\"\"{PLANTED}")),
        source(&format!("{quoted} {quoted}")),
        source(&format!("\"\\q{PLANTED}\"")),
        source(&format!("[{quoted}]")),
        source(&format!("{{ {PLANTED} }}")),
        source(&format!("{{ {PLANTED} = \"env\" }}")),
        source(&format!("{{ env = {quoted} }}")),
        source(&format!("{{ credential = \"/{PLANTED}\" }}")),
        source(&format!("{{ env = \"A\", value = {quoted} }}")),
        source(&format!("{{ env = [{quoted}] }}")),
        source(&format!("{quoted}\npassword = {quoted}")),
        source(&format!("{quoted}\n{PLANTED}")),
        source(&format!("{quoted}\npasword = {quoted}")),
        source(&format!("{quoted}\nbase_url = \"https://ivan:{PLANTED}@my.fibank.bg\"")),
        source(&format!("{quoted}\nbase_url = \"https://my.fibank.bg/?token={PLANTED}\"")),
        source(&format!("{quoted}\nbase_url = \"{PLANTED}\"")),
        source(&format!("{quoted}\nhistory_from = {quoted}")),
        source(&format!("{quoted}\noverlap_days = {quoted}")),
        format!("{}{}", source(&quoted), SHEET.replace("{ file = \"key.json\" }", &quoted)),
        format!("{}{}", source(&quoted), SHEET.replace("{ file = \"key.json\" }", &key)),
        format!("{}{}", source(&quoted), SHEET.replace("\"1AbC\"", &format!("\"https://example.com/{PLANTED}\""))),
        format!("{SOURCE}{}", BASE.replace("appXXXXXXXXXXXXXX", PLANTED)),
        format!("{SOURCE}{BASE}[[notify]]\nkind = \"ntfy\"\nurl = {quoted}\n"),
        format!("{SOURCE}{BASE}[[notify]]\nkind = \"webhook\"\nurl = \"http://example.com/{PLANTED}\"\n"),
        format!("{SOURCE}{BASE}[[notify]]\nkind = \"healthchecks\"\nurl = \"https://a:{PLANTED}@example.com\"\n"),
    ];
    for text in broken {
        let (_folder, _, loaded) = load(&text);
        let error = loaded.expect_err(&text);
        assert!(!format!("{error} {error:?}").contains(PLANTED), "{error}\n--- for\n{text}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

/// The program answers each mistake with one line, exit status 2, and no other output.
#[test]
fn the_program_says_so_and_ends_with_status_2() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in mistakes() {
        fs::write(folder.path().join("config.toml"), text).unwrap();
        let ended = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed"))
            .arg("status")
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", "/home/ivan")
            .env("TZ", "Europe/Sofia")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&ended.stderr), format!("bankfeed: {expected}\n"));
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{expected}");
    }
}

#[test]
fn the_page_is_off_unless_asked_for() {
    assert!(valid(format!("{SOURCE}{SHEET}")).http.is_none());
    let http = valid(format!("{SOURCE}{SHEET}[http]\nlisten = \"localhost:8350\"\n")).http.unwrap();
    assert_eq!(http.listen.to_string(), "127.0.0.1:8350");
    assert!(http.token.is_none() && http.import_token.is_none());
    let config = valid(format!(
        "{SOURCE}{SHEET}[http]\nlisten = \"[::]:80\"\ntoken = {{ credential = \"http-token\" }}\nimport_token = \"{}\"\n",
        "i".repeat(16)
    ));
    assert_eq!(config.warnings, Vec::<String>::new());
    let http = config.http.unwrap();
    assert!(matches!(http.token, Some(Secret::Credential(name)) if name == "http-token"));
    assert!(matches!(http.import_token, Some(Secret::Plain(_))));
}

#[test]
fn mistakes_in_the_page_s_settings() {
    for (text, expected) in [
        ("[http]", ":10: http: listen is missing, expected an address and a port in quotes such as \"127.0.0.1:8350\""),
        ("[[http]]", ":10: http: expected [http] in single brackets, there is only one"),
        (
            "[http]\nlisten = 8350",
            ":11: http: listen: expected an address and a port in quotes such as \"127.0.0.1:8350\", found a whole number",
        ),
        (
            "[http]\nlisten = \"8350\"",
            ":11: http: listen: expected an address and a port such as \"127.0.0.1:8350\", found `8350`, the address is missing",
        ),
        (
            "[http]\nlisten = \"127.0.0.1\"",
            ":11: http: listen: expected an address and a port such as \"127.0.0.1:8350\", found `127.0.0.1`, the port is missing",
        ),
        (
            "[http]\nlisten = \"http://127.0.0.1:1\"",
            ":11: http: listen: expected an address and a port such as \"127.0.0.1:8350\", found `http://127.0.0.1:1`, without http://",
        ),
        (
            "[http]\nlisten = \"0.0.0.0:8350\"",
            ":10: http: token is missing, but listen is an address that others can reach; give a token, or listen on 127.0.0.1",
        ),
        ("[http]\nlisten = \"127.0.0.1:1\"\ntokn = \"x\"", ":12: http: unknown key `tokn`, did you mean `token`?"),
        ("[http]\nlisten = \"127.0.0.1:1\"\ntoken = \"\"", ":12: http: token: is empty"),
    ] {
        assert_eq!(refused(format!("{SOURCE}{SHEET}{text}")), format!("config.toml{expected}"), "{text}");
    }
}

#[test]
fn tokens_that_could_be_guessed_or_open_too_much() {
    let page = |tokens: &str| valid(format!("{SOURCE}{SHEET}[http]\nlisten = \"127.0.0.1:1\"\n{tokens}"));
    let warnings = page("token = \"hunter2\"").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("config.toml:12: http: token is short and could be guessed"), "{warnings:?}");
    assert!(!warnings[0].contains("hunter2"));
    let http = |tokens: &str| {
        let mut config = page(tokens);
        // Only these secrets are there.
        (config.sources, config.destinations) = (Vec::new(), Vec::new());
        config.check_secrets().map_err(|error| error.to_string())
    };
    let long = "0123456789abcdefghij";
    assert_eq!(http(&format!("token = \"{long}\"")), Ok(()));
    let same = http(&format!("token = \"{long}\"\nimport_token = \"{long}\"")).unwrap_err();
    assert!(
        same.contains("config.toml:13: http: import_token: is the same as token") && !same.contains(long),
        "{same}"
    );
    let spaced = http("token = \"a token of many words\"").unwrap_err();
    assert!(spaced.contains("config.toml:12: http: token: must consist of ASCII"), "{spaced}");
}

#[test]
fn whom_to_tell_is_read_with_sensible_defaults() {
    let config = valid(format!(
        "{SOURCE}{SHEET}\
         [[notify]]\nkind = \"ntfy\"\nurl = \"https://ntfy.sh/topic\"\n\
         [[notify]]\nkind = \"ntfy\"\nurl = {{ env = \"TOPIC\" }}\non = \"new-rows\"\namounts = true\n\
         [[notify]]\nkind = \"email\"\nhost = \"localhost\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n"
    ));
    let named: Vec<&str> = config.notifiers.iter().map(|notifier| notifier.name.as_str()).collect();
    assert_eq!(named, ["ntfy 1", "ntfy 2", "email"]);
    assert_eq!(config.notifiers[0].on, [On::Attention, On::Failure, On::Recovery]);
    assert!(!config.notifiers[0].amounts && config.notifiers[1].amounts);
    assert_eq!(config.notifiers[1].on, [On::NewRows]);
    let NotifierKind::Email(email) = &config.notifiers[2].kind else { panic!("the order is the file's") };
    assert!(email.is_local() && email.port == 25 && email.login.is_none());
    for (keys, expected) in [
        ("host = \"localhost\"", (25, Safety::Local)),
        ("host = \"127.0.0.2\"\nport = 465", (465, Safety::Local)),
        ("host = \"localhost\"\ntls = \"starttls\"", (25, Safety::StartTls)),
        ("host = \"smtp.example.com\"", (587, Safety::StartTls)),
        ("host = \"smtp.example.com\"\nport = 25", (25, Safety::StartTls)),
        ("host = \"smtp.example.com\"\nport = 465", (465, Safety::Implicit)),
        ("host = \"smtp.example.com\"\nport = 2465\ntls = \"implicit\"", (2465, Safety::Implicit)),
    ] {
        let mail = format!("[[notify]]\nkind = \"email\"\n{keys}\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n");
        let config = valid(format!("{SOURCE}{SHEET}{mail}"));
        let NotifierKind::Email(email) = &config.notifiers[0].kind else { panic!("it is mail") };
        assert_eq!((email.port, email.safety), expected, "{keys}");
    }
}

#[test]
fn mistakes_in_whom_to_tell() {
    let mail = "kind = \"email\"\nhost = \"smtp.example.com\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"";
    for (text, expected) in [
        (
            "kind = \"ntfy\"",
            ":10: notify 1: url is missing, expected an address in quotes, or a table with exactly one of env, file, credential",
        ),
        (&format!("{mail}\ntls = \"none\""), ":15: notify 1: tls: expected `starttls` or `implicit`, found `none`"),
        (
            "kind = \"ntfi\"",
            ":11: notify 1: kind: expected `ntfy`, `webhook`, `email` or `healthchecks`, found `ntfi`, did you mean `ntfy`?",
        ),
        (
            "kind = \"ntfy\"\nurl = \"https://ntfy.sh\"",
            ":12: notify 1: url: the topic is missing, expected an address such as \"https://ntfy.sh/my-topic\"",
        ),
        (
            "kind = \"ntfy\"\nurl = \"http://ntfy.sh/x\"",
            ":12: notify 1: url: must begin with https, plain http is accepted for this machine only (127.0.0.1)",
        ),
        (
            "kind = \"ntfy\"\ntopic = \"x\"",
            ":12: notify 1: unknown key `topic`, expected `name`, `kind`, `on`, `amounts`, `url` or `token`",
        ),
        (
            "kind = \"ntfy\"\nurl = \"https://ntfy.sh/x\"\non = [\"attention\", \"atention\"]",
            ":13: notify 1: on: expected `attention`, `failure`, `new-rows` or `recovery`, found `atention`, did you mean `attention`?",
        ),
        (
            "kind = \"ntfy\"\nurl = \"https://ntfy.sh/x\"\non = [\"failure\", \"failure\"]",
            ":13: notify 1: on: `failure` stands in the list twice",
        ),
        (
            "kind = \"healthchecks\"\nurl = \"https://hc-ping.com/x\"\ntoken = \"x\"",
            ":13: notify 1: unknown key `token`, expected `name`, `kind`, `on`, `amounts` or `url`",
        ),
        (&format!("{mail}\nusername = \"ivan\""), ":10: notify 1: password is missing, it belongs to username"),
        (
            &mail.replace("b@example.com", "nobody"),
            ":14: notify 1: to: expected a mail address in quotes such as \"ivan@example.com\", or a list of them",
        ),
        (
            &mail.replace("smtp.", "https://smtp."),
            ":12: notify 1: host: expected the name of a mail server in quotes such as \"smtp.example.com\"",
        ),
        (&format!("{mail}\nport = 70000"), ":15: notify 1: port: expected a whole number from 1 to 65535, found 70000"),
    ] {
        let refused = refused(format!("{SOURCE}{SHEET}[[notify]]\n{text}\n"));
        assert_eq!(refused, format!("config.toml{expected}"), "{text}");
    }
}
