//! The questions of `bankfeed init` about Enable Banking, and the lines that the answers make.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::jwt::Signer;
use super::settings::{KIND, application_id, country_code};
use crate::settings::answer::{self, quoted};
use crate::settings::interview::{Draft, DraftSecret, Interview, Stop, ask};
use crate::settings::values::service_address;

/// Name of the entry.
const NAME: &str = "bank";

const OPTIONS: &str = r#"# Whose accounts these are: "personal" or "business".
# customer = "personal"
# How often the bank may be asked without you, per account, kind of question and day.
# daily_calls = 4
"#;

/// The answers.
struct Answers {
    application: String,
    key: PathBuf,
    pem: SecretString,
    country: String,
    bank: String,
    redirect_url: String,
}

/// Asks for the application and the bank.
pub(super) fn questions(person: &mut dyn Interview) -> Result<Draft, Stop> {
    person.say(
        "\nEnable Banking:\n\
         \x20 1. At https://enablebanking.com/cp/ register an application for production. As redirect URL give\n\
         \x20    https://localhost/bankfeed (no page need be there). The browser downloads its key, a .pem file.\n\
         \x20 2. Activate it by linking accounts: sign in at your bank there and choose them. It is free of charge.\n",
    );
    let application = ask(person, "Id of the application", None, |text| {
        application_id(text).ok_or_else(|| "it looks like 00000000-0000-4000-8000-000000000000".into())
    })?;
    let (key, pem) = ask(person, "Path of the .pem file", None, |path| key(&application, path))?;
    let country = ask(person, "Country of the bank, two letters", Some("BG"), |text| {
        country_code(text).ok_or_else(|| "expected two letters such as BG".into())
    })?;
    let bank =
        ask(person, "Name of the bank (`bankfeed login bank --banks` lists all names later)", None, answer::line)?;
    let redirect_url = ask(person, "Redirect URL", Some("https://localhost/bankfeed"), |text| {
        service_address(text, true).map(|_| text.to_owned()).map_err(str::to_owned)
    })?;
    Ok(draft(Answers { application, key, pem, country, bank, redirect_url }))
}

/// Reads the key of the application. The error never shows any of the file.
fn key(application: &str, path: &str) -> Result<(PathBuf, SecretString), String> {
    let path = match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    };
    let path = std::path::absolute(&path).map_err(|error| error.to_string())?;
    if path.to_str().is_none_or(|path| path.chars().any(char::is_control)) {
        return Err("the path must be plain text".into());
    }
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read it: {error}"))?;
    Signer::read(application, &text).map_err(|why| format!("it {why}"))?;
    Ok((path, SecretString::from(text)))
}

fn draft(answers: Answers) -> Draft {
    let Answers { application, key, pem, country, bank, redirect_url } = answers;
    let kind = KIND.name;
    let [application, country, bank, redirect_url] =
        [application, country, bank, redirect_url].map(|text| quoted(&text));
    Draft {
        name: NAME,
        head: format!(
            "\n[[source]]\nname = \"{NAME}\"\nkind = \"{kind}\"\napplication = {application}\nbank = {bank}\ncountry = {country}\n\
             redirect_url = {redirect_url}\nprivate_key = "
        ),
        secret: Some(DraftSecret {
            credential: "enable-banking-key",
            otherwise: format!("{{ file = {} }}", quoted(&key.display().to_string())),
            text: pem,
        }),
        tail: "\n",
        options: OPTIONS,
        kept_file: Some(key),
        sign_in_at: Some("the bank"),
    }
}
