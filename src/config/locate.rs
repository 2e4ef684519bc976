//! The places of the configuration file and the data directory where the owner names none. The environment is an
//! argument.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Error;

/// Environment variables, as values.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables that this process was started with.
    pub fn process() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    /// A variable; one that is empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A folder of the XDG base directory specification: the variable where it is absolute, else `~/<fallback>`.
    fn xdg(&self, variable: &str, fallback: &str) -> Option<PathBuf> {
        let given = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        given.or_else(|| Some(Path::new(self.get("HOME")?).join(fallback)))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Environment {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The configuration file to use when the command line names none. `here` is the current directory; an empty path
/// keeps error messages short.
pub fn find(environment: &Environment, here: &Path) -> Result<PathBuf, Error> {
    // A file that was asked for is not replaced by another one: if it is missing, reading it says so.
    if let Some(given) = environment.get("BANKFEED_CONFIG") {
        return Ok(given.into());
    }
    let mut places = vec![here.join("config.toml")];
    places.extend(environment.xdg("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("bankfeed/config.toml")));
    places.push("/etc/bankfeed/config.toml".into());
    if let Some(found) = places.iter().find(|place| place.exists()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(Error(format!("no configuration: looked for {}; run `bankfeed init` to write one", places.join(", "))))
}

/// The data directory when the configuration names none.
pub(super) fn data_dir(environment: &Environment) -> Option<PathBuf> {
    // systemd separates several state directories by colons; the first is the main one.
    let systemd = environment.get("STATE_DIRECTORY").and_then(|list| std::env::split_paths(list).next());
    systemd.or_else(|| environment.xdg("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("bankfeed")))
}

/// The data directory of the service, if this process, reading the same configuration, would look elsewhere: a person
/// who types `bankfeed status` on the machine of the service means the service.
pub(super) fn other_than_the_service(environment: &Environment, file: &str) -> Option<&'static str> {
    let system_wide = Path::new(file).starts_with("/etc");
    (system_wide && environment.get("STATE_DIRECTORY").is_none()).then_some("/var/lib/bankfeed")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().copied().collect()
    }

    #[test]
    fn a_shell_on_the_machine_of_the_service_is_told_where_the_data_is() {
        let of = |variables: &[(&'static str, &'static str)], file| {
            other_than_the_service(&variables.iter().copied().collect(), file)
        };
        assert_eq!(of(&[("HOME", "/root")], "/etc/bankfeed/config.toml"), Some("/var/lib/bankfeed"));
        assert_eq!(of(&[("STATE_DIRECTORY", "/var/lib/bankfeed")], "/etc/bankfeed/config.toml"), None);
        assert_eq!(of(&[("HOME", "/root")], "/root/config.toml"), None);
    }

    #[test]
    fn the_data_directory_follows_systemd_then_xdg_then_home() {
        let chosen = |variables: &[(&str, &str)]| data_dir(&environment(variables));
        let home = ("HOME", "/home/ivan");
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[home]), Some("/home/ivan/.local/state/bankfeed".into()));
        assert_eq!(chosen(&[home, ("XDG_STATE_HOME", "/state")]), Some("/state/bankfeed".into()));
        assert_eq!(chosen(&[home, ("XDG_STATE_HOME", "relative")]), Some("/home/ivan/.local/state/bankfeed".into()));
        assert_eq!(
            chosen(&[home, ("XDG_STATE_HOME", "/state"), ("STATE_DIRECTORY", "/var/lib/bankfeed:/var/lib/other")]),
            Some("/var/lib/bankfeed".into())
        );
        assert_eq!(chosen(&[home, ("STATE_DIRECTORY", "")]), Some("/home/ivan/.local/state/bankfeed".into()));
    }

    #[test]
    fn the_nearest_configuration_is_found() {
        let here = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let variables = environment(&[("HOME", home.path().to_str().unwrap())]);
        let in_home = home.path().join(".config/bankfeed/config.toml");
        if !Path::new("/etc/bankfeed/config.toml").exists() {
            let error = find(&variables, Path::new("/nowhere")).unwrap_err();
            let expected = format!(
                "no configuration: looked for /nowhere/config.toml, {}, /etc/bankfeed/config.toml; run `bankfeed init` to write one",
                in_home.display()
            );
            assert_eq!(error.0, expected);
        }
        std::fs::create_dir_all(in_home.parent().unwrap()).unwrap();
        std::fs::write(&in_home, "").unwrap();
        assert_eq!(find(&variables, here.path()), Ok(in_home));
        std::fs::write(here.path().join("config.toml"), "").unwrap();
        assert_eq!(find(&variables, here.path()), Ok(here.path().join("config.toml")));
        let asked = environment(&[("BANKFEED_CONFIG", "/asked/for.toml")]);
        assert_eq!(find(&asked, here.path()), Ok("/asked/for.toml".into()));
    }
}
