//! Secrets by reference: plain text, an environment variable, a file, or a systemd credential.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// The place of a secret. `Debug` never shows a plain one.
#[derive(Clone)]
pub enum Secret {
    /// In the configuration itself.
    Plain(SecretString),
    /// In an environment variable.
    Env(String),
    /// In a file; a final newline is ignored.
    File(PathBuf),
    /// A name in `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`).
    Credential(String),
}

impl Secret {
    /// Reads the secret now. The error says where it was looked for, never what was found.
    pub fn reveal(&self) -> Result<SecretString, String> {
        let text = match self {
            Secret::Plain(secret) => return Ok(secret.clone()),
            Secret::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable `{name}` is not set; set it, or say where else the secret is"))?
            }
            Secret::File(path) => read(path)?,
            Secret::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                Some(directory) => read(&PathBuf::from(directory).join(name))?,
                None => decrypt(name).ok_or_else(|| {
                    format!("credential `{name}`: $CREDENTIALS_DIRECTORY is not set; start bankfeed through systemd with LoadCredential={name}:…")
                })??,
            },
        };
        // Editors of Windows put a mark in front.
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        if text.is_empty() { Err("the secret is empty".into()) } else { Ok(SecretString::from(text)) }
    }
}

/// Decrypts the credential that `bankfeed init` has stored: root may do so by hand, as for `bankfeed check` before the
/// service has ever run. `None`: there is no such credential.
fn decrypt(name: &str) -> Option<Result<String, String>> {
    let path = PathBuf::from("/etc/credstore.encrypted").join(name);
    path.exists().then(|| {
        let mut command = std::process::Command::new("systemd-creds");
        let output = command.arg("decrypt").arg(format!("--name={name}")).arg(&path).arg("-").output();
        let output = output.map_err(|error| format!("credential `{name}`: cannot run systemd-creds: {error}"))?;
        let why = || format!("credential `{name}`: systemd-creds cannot decrypt {}; are you root?", path.display());
        if output.status.success() { String::from_utf8(output.stdout).map_err(|_| why()) } else { Err(why()) }
    })
}

fn read(path: &PathBuf) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| {
        format!("cannot read {}: {error}; put the secret there, readable for bankfeed", path.display())
    })
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Plain(_) => f.write_str("Plain(…)"),
            Secret::Env(name) => write!(f, "Env({name})"),
            Secret::File(path) => write!(f, "File({})", path.display()),
            Secret::Credential(name) => write!(f, "Credential({name})"),
        }
    }
}
