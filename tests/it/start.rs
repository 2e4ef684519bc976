//! Getting started: `init` from a pipe and from a terminal, and the README's way from a clone to the first row.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bankfeed::config;
use bankfeed::simulator::fibank::Bank;
use secrecy::ExposeSecret;

use crate::world::{World, fibank};

fn bankfeed(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankfeed"));
    command.args(arguments).current_dir(here).env("HOME", here).env("NO_COLOR", "1");
    command.env_remove("BANKFEED_CONFIG").env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
    command
}

/// Runs `init` with these answers on a pipe.
async fn init(here: &Path, arguments: &[&str], answers: &str) -> Output {
    let mut command = bankfeed(here, &[&["init"], arguments].concat());
    let answers = answers.to_owned();
    let run = move || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The program may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(answers.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("bankfeed: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

/// Writes the file that `simulate` leaves for `init`, for a world that runs in the test itself.
fn describe(world: &World) -> PathBuf {
    let dir = world.dir.path().to_owned();
    let description = world.services.description(&dir.join("google-key.json"));
    std::fs::write(dir.join("world.json"), description.to_string()).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_from_a_pipe_become_a_configuration_that_works_for_both_destinations() {
    let world = World::new(Bank::small()).await;
    world.bank.edit(|bank| bank.password = " па\"ро\\ла# ".into());
    let here = tempfile::tempdir().unwrap();
    let (user, password) = world.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
    let (key, base) = (world.dir.path().join("google-key.json"), &world.base);
    let answers = format!(
        "fibank\n{user}\n{password}\ng a\nhttps://docs.google.com/spreadsheets/d/{}/edit#gid=0\n{}\nhttps://airtable.com/{base}/tblX/viwY?blocks=hide\n{}\n@daily\n",
        world.spreadsheet,
        key.display(),
        world.airtable.token(),
    );
    let simulated = describe(&world);
    let output = init(here.path(), &["--simulated", simulated.to_str().unwrap()], &answers).await;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(output.stdout.is_empty(), "questions are talk");
    assert!(talk.contains("Share the spreadsheet with bankfeed@simulated-project.iam.gserviceaccount.com"), "{talk}");
    assert!(!talk.contains(&password) && !talk.contains("pat00"), "{talk}");
    let path = here.path().join("config.toml");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1, "nothing else is left");
    let loaded = config::load(&path).unwrap();
    let fibank = fibank(&loaded.sources[0]);
    assert_eq!(fibank.password.reveal().unwrap().expose_secret(), password);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    for arguments in [["check"], ["sync"]] {
        let mut command = bankfeed(here.path(), &arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    world.assert_delivered();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_gives_an_oauth_client_is_sent_to_sign_in() {
    let world = World::new(Bank::small()).await;
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("client.json"), world.google.oauth_client()).unwrap();
    let (user, password) = world.bank.edit(|bank| (bank.username.clone(), bank.password.clone()));
    let answers = format!("fibank\n{user}\n{password}\ng\n{}\nclient.json\n\n", world.spreadsheet);
    let simulated = describe(&world);
    let output = init(here.path(), &["--simulated", simulated.to_str().unwrap()], &answers).await;
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{talk}");
    assert!(talk.contains("Now: `bankfeed login sheet` signs you in at Google, `bankfeed check` proves it"), "{talk}");
    let mut command = bankfeed(here.path(), &["check"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nobody has signed in yet: run `bankfeed login sheet`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_never_overwritten_wherever_it_is_found() {
    for (place, arguments) in [
        ("config.toml", &[][..]),
        (".config/bankfeed/config.toml", &[][..]),
        ("mine.toml", &["--config", "mine.toml"][..]),
    ] {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let output = init(here.path(), arguments, "fibank\nivan\nsecret\nn\n\n").await;
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "it says so before it asks");
        assert!(complaint(&output).contains(&format!("{place} is there already")));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
    // A link that leads nowhere counts as there: writing through it would put the file somewhere else.
    let here = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", here.path().join("config.toml")).unwrap();
    let output = init(here.path(), &["--config", "config.toml"], "fibank\nivan\nsecret\nn\n\n").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(!here.path().join("elsewhere.toml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_end_early_or_are_no_good_write_nothing() {
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("key.json"), r#"{"web":{"client_secret":"hush-hush"}}"#).unwrap();
    std::fs::write(here.path().join("half.json"), r#"{"installed":{"client_secret":"hush-hush"}}"#).unwrap();
    let all = ["fibank", "ivan", "hush-hush", "g a", "1AbC", "key.json", "appX", "pat1.hush-hush", ""];
    for count in 0..5 {
        let answers: String = all[..count].iter().map(|answer| format!("{answer}\n")).collect();
        let output = init(here.path(), &[], &answers).await;
        assert_eq!(output.status.code(), Some(2));
        let complaint = complaint(&output);
        assert!(
            complaint.contains("the answers end before") && complaint.ends_with("nothing was written"),
            "{complaint}"
        );
    }
    for (answers, expected) in [
        ("fibank\n\n", "My Fibank user name: is empty"),
        ("fibank\nivan\n\n", "is empty"),
        ("fibank\nivan\nhush-hush\nx\n", "or n, or several letters such as `g a`"),
        ("fibank\nivan\nhush-hush\ng\nhttps://example.com/x\n", "expected the address of a spreadsheet"),
        ("fibank\nivan\nhush-hush\ng\n1AbC\nnowhere.json\n", "cannot read it"),
        ("fibank\nivan\nhush-hush\ng\n1AbC\nkey.json\n", "make one of the type Desktop app"),
        ("fibank\nivan\nhush-hush\ng\n1AbC\nhalf.json\n", "no whole OAuth client"),
        ("fibank\nivan\nhush-hush\na\ntblX\n", "expected the base's id"),
        ("fibank\nivan\nhush-hush\na\nappX\nkeyhush-hush\n", "ended in 2024"),
        ("fibank\nivan\nhush-hush\na\nappX\nhush-hush\n", "begins with pat"),
        ("fibank\nivan\nhush-hush\nn\n0 25 * * *\n", "Schedule: "),
    ] {
        let output = init(here.path(), &[], answers).await;
        assert_eq!(output.status.code(), Some(2), "{answers}");
        let complaint = complaint(&output);
        assert!(complaint.contains(expected) && complaint.ends_with("nothing was written"), "{complaint}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hush"), "{complaint}");
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 2, "only what was there before");
}

/// A terminal with a program at it.
pub struct Terminal {
    master: std::fs::File,
    child: Child,
    seen: String,
    /// The length of the answered part of `seen`.
    at: usize,
}

impl Terminal {
    pub fn start(mut command: Command) -> Terminal {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || std::fs::File::options().read(true).write(true).open(&name).unwrap();
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        Terminal { master: master.into(), child, seen: String::new(), at: 0 }
    }

    /// Waits for a question, then types an answer.
    fn answer(&mut self, question: &str, answer: &str) {
        let mut buffer = [0; 4096];
        let found = loop {
            if let Some(found) = self.seen[self.at..].find(question) {
                break found;
            }
            let read = self.master.read(&mut buffer).unwrap_or_default();
            assert!(read > 0, "no question {question}: {}", self.seen);
            self.seen += &String::from_utf8_lossy(&buffer[..read]);
        };
        self.at += found + question.len();
        self.master.write_all(answer.as_bytes()).unwrap();
    }

    /// Everything that was on the screen, and the exit status.
    pub fn end(mut self) -> (String, Option<i32>) {
        let mut buffer = [0; 4096];
        // Reading fails once the other side is closed.
        while let Ok(read) = self.master.read(&mut buffer) {
            if read == 0 {
                break;
            }
            self.seen += &String::from_utf8_lossy(&buffer[..read]);
        }
        let status = self.child.wait().unwrap();
        (self.seen, status.code())
    }
}

#[test]
fn on_a_terminal_secrets_are_not_shown_and_wrong_answers_are_asked_for_again() {
    let here = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(bankfeed(here.path(), &["init"]));
    terminal.answer("Where from [fibank]: ", "\n");
    terminal.answer("user name: ", "ivan\n");
    terminal.answer("not shown): ", "\n");
    terminal.answer("Once more.", "");
    terminal.answer("not shown): ", "hush-hush\n");
    terminal.answer("Where to [g]: ", "z\n");
    terminal.answer("Where to [g]: ", "n\n");
    terminal.answer("Schedule", "99 * * * *\n");
    terminal.answer("Schedule", "\n");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(0), "{seen}");
    assert!(seen.contains("ivan") && !seen.contains("hush"), "{seen}");
    let loaded = config::load(&here.path().join("config.toml")).unwrap();
    assert_eq!(loaded.schedule[0].text(), "0 3,18 * * *");

    let elsewhere = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::start(bankfeed(elsewhere.path(), &["init"]));
    terminal.answer("Where from [fibank]: ", "\n");
    terminal.answer("user name: ", "ivan\n");
    terminal.answer("not shown): ", "hush\u{3}");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(2), "{seen}");
    assert!(seen.contains("interrupted; nothing was written"), "{seen}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_leads_from_a_clone_to_the_first_row_in_four_steps() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let block = readme.split("### Four steps").nth(1).unwrap().split("```sh\n").nth(1).unwrap();
    let lines: Vec<&str> = block.split("\n```").next().unwrap().lines().collect();
    assert_eq!(lines.len(), 5, "the simulated world, and four steps: {lines:?}");
    assert!(lines[0].contains("cargo build --release"), "the first step is the build that was made for this test");
    let here = tempfile::tempdir().unwrap();
    let step = |line: &str| {
        let line = line.split(" # ").next().unwrap().trim_end();
        let line = line.replace("target/release/bankfeed", env!("CARGO_BIN_EXE_bankfeed"));
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec {}", line.trim_end_matches(" &"))).current_dir(here.path());
        command.env("HOME", here.path()).env_remove("BANKFEED_CONFIG").env_remove("XDG_CONFIG_HOME");
        command
    };
    assert!(lines[1].ends_with('&'));
    let mut world = step(lines[1]).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(world.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    for line in &lines[2..] {
        let output = step(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
    }
    world.kill().unwrap();
    world.wait().unwrap();
    let log = std::fs::read_to_string(here.path().join("world/google.jsonl")).unwrap();
    assert!(log.contains("appendCells") && log.contains("fibank:BG"), "the first rows are in the sheet");
}
