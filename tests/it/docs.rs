//! The tree agrees with its own documentation: layers, commands in the README, one place for each sharp tool.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// The top-level module a file belongs to.
fn module(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Only the demo, the hidden `simulate` and tests may name the simulators.
fn may_simulate(path: &Path) -> bool {
    is_test(path) || ["src/demo.rs", "src/cli/simulate.rs"].iter().any(|file| path.ends_with(file))
}

/// Files and folders of tests.
fn is_test(path: &Path) -> bool {
    let path = path.strip_prefix(root()).unwrap();
    path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
}

#[test]
fn modules_name_only_what_lies_below_them() {
    const LAYERS: [&[&str]; 10] = [
        &["main"],
        &["cli"],
        &["demo", "daemon"],
        &["web"],
        &["commands"],
        &["service"],
        &["config", "control", "export", "notify", "selection", "sync"],
        &["store", "rules", "reconcile", "transfers", "figures", "schedule", "source", "destination"],
        &["remote", "settings"],
        &["files", "model", "printable", "threads"],
    ];
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    for (path, text) in sources(&root().join("src")) {
        let from = module(&path);
        if from == "lib" {
            continue;
        }
        for to in text
            .split("crate::")
            .skip(1)
            .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        {
            let allowed = from == to
                || to.is_empty()
                || (from != "simulator" && matches!((layer(&from), layer(to)), (Some(from), Some(to)) if from <= to))
                || (from != "simulator" && to == "simulator" && may_simulate(&path));
            assert!(allowed, "{}: `{from}` must not name `{to}`", path.display());
        }
    }
}

/// A further kind of source or destination is added to a list, and to no other file outside of its own folder.
#[test]
fn kinds_are_named_by_the_lists_of_kinds_alone() {
    let sources = bankfeed::source::KINDS.iter().map(|kind| ("source", kind.name));
    let destinations = bankfeed::destination::KINDS.iter().map(|kind| ("destination", kind.name));
    let kinds: Vec<_> = sources.chain(destinations).map(|(list, name)| (list, name, name.replace('-', "_"))).collect();
    let mut found = std::collections::BTreeSet::new();
    for (path, text) in sources_without_tests() {
        let relative = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        // The command `import` reads statement files without a source of theirs.
        if ["sync/import.rs", "cli/import.rs"].contains(&&*relative) {
            continue;
        }
        let own = kinds.iter().any(|(list, _, module)| relative.starts_with(&format!("{list}/{module}")));
        // The words of recordings are a list of words of any kind.
        if own || relative.starts_with("simulator") || relative.starts_with("remote/trace") {
            continue;
        }
        let text = list_on_one_line(text);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("simulator::"));
        for line in code {
            // A module of the program may have the name of a kind.
            let path = |list: &str, module: &str| match root().join(format!("src/{module}.rs")).exists() {
                true => format!("{list}::{module}::"),
                false => format!("{module}::"),
            };
            let names = |(list, name, module): &(&str, &str, String)| {
                line.contains(&path(list, module)) || line.contains(&format!("\"{name}\""))
            };
            if kinds.iter().any(names) {
                found.insert(format!("{relative}: {}", line.split(" = ").next().unwrap()));
            }
        }
    }
    let lists = ["destination.rs: pub const KINDS: &[Kind]", "source.rs: pub const KINDS: &[Kind]"];
    assert_eq!(found, lists.map(str::to_owned).into());
}

/// The text with its list of kinds on one line, however the list is laid out.
fn list_on_one_line(text: String) -> String {
    let Some((before, rest)) = text.split_once("pub const KINDS") else { return text };
    let (list, after) = rest.split_once(';').unwrap();
    format!("{before}pub const KINDS{};{after}", list.replace('\n', " "))
}

/// The files of the program, each up to its tests.
fn sources_without_tests() -> impl Iterator<Item = (PathBuf, String)> {
    let files = sources(&root().join("src")).into_iter();
    let files = files.filter(|(path, _)| !is_test(path));
    files.map(|(path, text)| (path, text.split("#[cfg(test)]").next().unwrap().to_owned()))
}

#[test]
fn sharp_tools_have_one_place() {
    for (path, text) in sources(&root().join("src")) {
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: String =
            shipped.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let at = module(&path);
        let is_in = |folder: &str| path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().starts_with(folder);
        assert!(!code.contains("sled::") || at == "store", "{} names the store's crate", path.display());
        assert!(
            !code.contains("rusqlite::") || is_in("export/sqlite"),
            "{} names the database's crate",
            path.display()
        );
        assert!(!code.contains("rust_xlsxwriter::") || is_in("export/xlsx"), "{} names Excel's crate", path.display());
        assert!(!code.contains("println!"), "{} prints by itself: a closed pipe would panic", path.display());
        assert!(
            text.starts_with("//!") || path.to_str().unwrap().contains("tests"),
            "{} says not what it is",
            path.display()
        );
    }
}

#[test]
fn the_readme_begins_with_two_commands_and_names_every_command_there_is() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let first: Vec<&str> =
        readme.split("```sh\n").skip(1).take(2).map(|block| block.split("\n```").next().unwrap()).collect();
    assert_eq!(first, ["cargo run --release -- demo", "cargo test"]);
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names.iter().filter(|name| **name != "help") {
        let named =
            readme.contains(&format!("bankfeed {name}")) || readme.contains(&format!("-- {name}")) || *name == "run";
        assert!(named, "the README does not name `{name}`");
    }
}

/// Links of comments to names inside the program are of no use to a reader of the help.
#[test]
fn help_speaks_to_people() {
    let help = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_bankfeed")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut asked: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = asked.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let text = help(&arguments);
        assert!(!text.contains("[`") && !text.contains("::"), "{command:?}: {text}");
        seen += 1;
        let commands = text.split("Commands:").nth(1).map_or("", |rest| rest.split("Options:").next().unwrap());
        // A description may go over several lines; a command stands two spaces in.
        let names = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            asked.push(command.iter().cloned().chain([name.to_owned()]).collect());
        }
    }
    assert!(seen >= 20, "{seen} pages of help");
}
