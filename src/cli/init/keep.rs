//! The places of the secrets, and the way the file is written.
//!
//! A configuration below `/etc/bankfeed`, written by root on a machine that runs systemd, belongs to the service: there
//! the secrets become credentials, encrypted for this machine. Anywhere else they stand in the configuration itself.
//! The file is readable by its owner alone, so a second file of the same mode beside it would protect nothing more; and
//! one file cannot be moved or restored without its other half. The service account's key is a file already and stays
//! where it is.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::ExposeSecret;

use super::Answers;
use crate::config;
use crate::settings::answer;
use crate::settings::interview::{DraftSecret, Stop};

/// The folder in which systemd looks for encrypted credentials by itself.
const CREDSTORE: &str = "/etc/credstore.encrypted";

/// The place for secrets.
pub(super) enum Keeper {
    /// Into the configuration.
    InPlace,
    /// Through this program into this folder.
    Credentials { program: PathBuf, folder: PathBuf },
}

/// Secrets that have been put away.
#[derive(Default)]
pub(super) struct Kept {
    /// Names of the credentials with their files.
    pub credentials: Vec<(&'static str, PathBuf)>,
}

impl Keeper {
    /// The place for the secrets of a configuration at `path`.
    pub fn choose(path: &Path) -> Keeper {
        let is_services = std::path::absolute(path).is_ok_and(|path| path.starts_with("/etc/bankfeed"));
        let booted = Path::new("/run/systemd/system").is_dir();
        let program = PathBuf::from("/usr/bin/systemd-creds");
        if is_services && booted && rustix::process::geteuid().is_root() && program.exists() {
            Keeper::Credentials { program, folder: CREDSTORE.into() }
        } else {
            Keeper::InPlace
        }
    }

    /// Puts the secrets away. A credential that is there already is never replaced.
    pub fn keep(&self, answers: &Answers) -> Result<Kept, Stop> {
        let mut kept = Kept::default();
        let Keeper::Credentials { program, folder } = self else { return Ok(kept) };
        for secret in answers.drafts().iter().filter_map(|draft| draft.secret.as_ref()) {
            let name = secret.credential;
            match encrypt(program, folder, name, secret.text.expose_secret()) {
                Ok(path) => kept.credentials.push((name, path)),
                Err(why) => {
                    kept.undo();
                    return Err(Stop(why));
                }
            }
        }
        Ok(kept)
    }
}

impl Kept {
    /// The TOML of a secret.
    pub fn reference(&self, secret: &DraftSecret) -> String {
        let name = secret.credential;
        match self.credentials.iter().any(|(known, _)| *known == name) {
            true => format!("{{ credential = {} }}", answer::quoted(name)),
            false => secret.otherwise.clone(),
        }
    }

    /// Takes everything back.
    pub fn undo(&self) {
        for (_, path) in &self.credentials {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
        }
    }
}

fn encrypt(program: &Path, folder: &Path, name: &str, secret: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    if path.symlink_metadata().is_ok() {
        return Err(format!("the credential {} is there already; move it away first", path.display()));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    let failed = |why: String| format!("{} cannot encrypt {name}: {why}", program.display());
    let mut child = Command::new(program)
        .arg("encrypt")
        .arg(format!("--name={name}"))
        .arg("-")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(secret.as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() && written.is_ok() {
        return Ok(path);
    }
    // Half a credential is none; where there is not even that, nothing is to be removed.
    let _ = std::fs::remove_file(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().next_back().unwrap_or("it does not say why").to_owned()))
}

/// Writes the file beside its place, has it read as a configuration, and only then gives it its name, which must still
/// be free.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Stop> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .map_err(|error| Stop(format!("cannot make the folder {}: {error}", folder.display())))?;
    let draft = folder.join(format!(".bankfeed-init-{:08x}.toml", fastrand::u32(..)));
    let failed = |error: std::io::Error| Stop(format!("cannot write {}: {error}", path.display()));
    let written = put(&draft, text).map_err(failed).and_then(|()| {
        config::load(&draft).map_err(|error| Stop(format!("the file would be no good ({error})")))?;
        std::fs::hard_link(&draft, path).map_err(failed)
    });
    let removed = std::fs::remove_file(&draft);
    written?;
    removed.map_err(|error| Stop(format!("cannot remove {}: {error}", draft.display())))
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
