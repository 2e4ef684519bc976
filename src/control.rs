//! The control socket: the way of a command to the process that owns the store, with both ends of the connection.
//!
//! A call is one line of JSON. The answer is a stream of frames, one a line, and the last frame is the exit status. The
//! code that answers writes to an [`Output`], so the same code answers a call over the socket and a call of the command
//! line in the owning process itself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::export::Format;
use crate::rules::Rule;
use crate::selection::Selection;
use crate::sync::{Answer, ImportRequest, Request, Step, Verification};

mod descriptors;

/// Longest call accepted: `rules test` carries all rules of a configuration.
const MAX_CALL_BYTES: u64 = 2 * 1024 * 1024;

/// Longest time for a client to send its call.
const CALL_PATIENCE: Duration = Duration::from_secs(10);

/// Longest time for a client to read a frame.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest time for a person to answer: after it a code from the bank is stale.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Longest answer of a person.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// The commands that the process with the store carries out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Runs one cycle.
    Sync {
        /// Sources and destinations of the cycle.
        request: Request,
        /// The answer is JSON.
        json: bool,
    },
    /// Proves sources and destinations live, writing nothing.
    Check,
    /// Proves sources and destinations, and sends a test notice to each notifier.
    CheckNotify,
    /// Records the answers of the sources with all values replaced.
    Trace {
        /// A person sits at a terminal.
        at_terminal: bool,
    },
    /// Signs in to a bank. The caller is asked for the code that the bank sends.
    SignIn {
        /// Name of the source.
        name: String,
        /// A person sits at a terminal.
        at_terminal: bool,
    },
    /// Lists the banks that a source may choose from.
    Banks {
        /// Name of the source.
        name: String,
        /// As JSON.
        json: bool,
    },
    /// Keeps a session in the file that the connector reads.
    KeepLogin {
        /// Name of the source or destination.
        name: String,
        /// The session.
        session: HiddenText,
    },
    /// Shows the status of accounts, sources, destinations and notifiers.
    Status {
        /// As JSON.
        json: bool,
        /// Exit status 3 while the owner must act.
        #[serde(default)]
        exit_code: bool,
    },
    /// Lists the accounts in the store.
    Accounts {
        /// As JSON.
        json: bool,
    },
    /// Lists transactions in the store.
    Transactions {
        /// The selected transactions.
        selection: Selection,
        /// As JSON.
        json: bool,
    },
    /// Shows the effect of rules on the transactions in the store.
    RulesTest {
        /// The rules of the file, which the daemon may not have read yet.
        rules: Vec<Rule>,
        /// As JSON.
        json: bool,
    },
    /// Counts the values that applying the rules would overwrite; writes nothing.
    RulesPreview {
        /// Fingerprint of the rules of the file.
        fingerprint: u64,
    },
    /// Applies the rules to transactions in the store and to rows delivered already.
    RulesApply {
        /// Fingerprint of the rules of the file.
        fingerprint: u64,
        /// Values that rules gave before are overwritten.
        overwrite: bool,
    },
    /// Exports transactions for other tools.
    Export {
        /// The selected transactions.
        selection: Selection,
        /// The form of the export.
        format: Format,
        /// Words for the end, after the number of transactions; `None`: the number is not printed.
        #[serde(default)]
        ending: Option<String>,
    },
    /// Accounts, transactions and deliveries as a dump, for the process that builds a file or a database from it. The name
    /// on the wire is the one that running daemons know.
    #[serde(rename = "extract")]
    Dump {
        /// The selected transactions.
        selection: Selection,
    },
    /// Reads destinations back and compares them with the store.
    Verify {
        /// The destinations, and whether differences are repaired.
        request: Verification,
        /// As JSON.
        json: bool,
    },
    /// Puts rows back that the owner once deleted.
    Restore {
        /// Name of the destination.
        destination: String,
        /// Ids of the transactions.
        ids: Vec<String>,
    },
    /// Decides on a row that is kept apart.
    Match {
        /// Id of the row.
        id: String,
        /// The owner's word.
        answer: Answer,
    },
    /// Imports statement files, which the caller opens.
    Import {
        /// Source, account, currency and layout.
        request: ImportRequest,
        /// The names of the files.
        files: Vec<String>,
        /// As JSON.
        json: bool,
    },
    /// Sends the whole store as one file, in lines of base64.
    Backup,
    /// Has the daemon take this text for its configuration.
    Reload {
        /// The text of the file, which the daemon itself may not be able to read.
        text: HiddenText,
    },
}

impl Command {
    /// True if the answer is text for people, false if the answer is data for programs.
    pub fn is_text(&self) -> bool {
        match self {
            Command::Sync { json, .. }
            | Command::Status { json, .. }
            | Command::Accounts { json }
            | Command::Banks { json, .. }
            | Command::Transactions { json, .. }
            | Command::RulesTest { json, .. }
            | Command::Import { json, .. }
            | Command::Verify { json, .. } => !json,
            Command::Export { .. } | Command::Dump { .. } | Command::Backup | Command::Trace { .. } => false,
            _ => true,
        }
    }
}

/// A text that is passed on and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HiddenText(pub String);

impl std::fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HiddenText(…)")
    }
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Frame {
    Data(String),
    Talk(String),
    Step(Step),
    /// The caller answers with one line: an answer in JSON, or `null`.
    Ask(String),
    /// The caller answers with a message that carries the file with this number.
    File(usize),
    Exit(u8),
}

/// The receiver of a command's output.
pub trait Output: Send {
    /// Data: stdout.
    fn data(&mut self, text: &str) -> io::Result<()>;
    /// Talk: stderr.
    fn talk(&mut self, text: &str) -> io::Result<()>;
    /// Progress: a bar on a terminal.
    fn step(&mut self, step: Step) -> io::Result<()>;
    /// A question whose answer is not shown; `None`: no person answers.
    fn ask(&mut self, _question: &str) -> io::Result<Option<HiddenText>> {
        Ok(None)
    }
    /// Opens the file with this number among those that the command names, with the caller's rights; `Err`: why not.
    fn file(&mut self, _number: usize) -> io::Result<Result<File, String>> {
        Ok(Err("nobody can open it".to_owned()))
    }
}

/// Path of the socket.
fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Socket addresses hold about a hundred bytes; a longer path is reached through an open directory.
fn with_short_path<T>(data_dir: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    let path = socket_path(data_dir);
    if path.as_os_str().len() < 100 {
        return act(&path);
    }
    let dir = File::open(data_dir)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}/control.sock", dir.as_raw_fd())))
}

/// Connects to the owner of the store; `None`: no process owns it.
pub fn connect(data_dir: &Path) -> io::Result<Option<UnixStream>> {
    match with_short_path(data_dir, |path| UnixStream::connect(path)) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a command to the owner of the store and passes its answer on. Returns the exit status; `None`: the owner went
/// away before its first word, as a `sync` does that ends while another command waits. The command may then be tried
/// again.
pub fn call(stream: UnixStream, command: &Command, output: &mut dyn Output) -> io::Result<Option<u8>> {
    let mut line = serde_json::to_string(command)?;
    line.push('\n');
    if (&stream).write_all(line.as_bytes()).is_err() {
        return Ok(None);
    }
    let mut said = false;
    for line in BufReader::new(&stream).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line)? {
            Frame::Exit(status) => return Ok(Some(status)),
            Frame::Step(step) => output.step(step)?,
            Frame::Data(text) => {
                said = true;
                output.data(&text)?;
            }
            Frame::Ask(question) => {
                said = true;
                let mut answer = serde_json::to_string(&output.ask(&question)?)?;
                answer.push('\n');
                (&stream).write_all(answer.as_bytes())?;
            }
            Frame::File(number) => {
                said = true;
                descriptors::send(&stream, &output.file(number)?)?;
            }
            Frame::Talk(text) => {
                said = true;
                output.talk(&text)?;
            }
        }
    }
    if said {
        Err(io::Error::other("the process that owns the store went away before it had answered"))
    } else {
        Ok(None)
    }
}

/// The owner's end. The socket file is removed when this value is dropped, under the lock of the data directory, so that
/// the file of another owner is never removed.
#[derive(Debug)]
pub struct Socket {
    /// The listener for calls.
    pub listener: UnixListener,
    /// The lock of the data directory.
    pub lock: File,
    data_dir: PathBuf,
}

impl Socket {
    /// The socket again after the re-execution of this process.
    pub fn again(listener: UnixListener, lock: File, data_dir: PathBuf) -> Socket {
        Socket { listener, lock, data_dir }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.data_dir) {
            tracing::warn!("cannot remove {}: {error}", socket_path(&self.data_dir).display());
        }
    }
}

fn remove(data_dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(socket_path(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the owner's end. The caller holds the lock, so only one process does this; the socket file of a dead process is
/// replaced.
pub fn listen(data_dir: &Path, lock: File) -> io::Result<Socket> {
    remove(data_dir)?;
    let listener = with_short_path(data_dir, |path| UnixListener::bind(path))?;
    let socket = Socket { listener, lock, data_dir: data_dir.to_owned() };
    // The directory is private already; the socket file is private as well.
    std::fs::set_permissions(socket_path(data_dir), std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

/// Reads a client's call, which has to come soon.
pub async fn hear(stream: &mut tokio::net::UnixStream) -> io::Result<String> {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt};
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(stream.take(MAX_CALL_BYTES));
    tokio::time::timeout(CALL_PATIENCE, reader.read_line(&mut line)).await.map_err(io::Error::from)??;
    Ok(line)
}

/// Answers one call with `execute`, which returns the exit status.
pub fn answer(stream: UnixStream, execute: impl FnOnce(Command, &mut dyn Output) -> io::Result<u8>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(CALL_PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(MAX_CALL_BYTES)).read_line(&mut line)?;
    carry_out(stream, &line, execute)
}

/// Answers a call that was read already with `execute`, which returns the exit status.
pub fn carry_out(
    stream: UnixStream,
    line: &str,
    execute: impl FnOnce(Command, &mut dyn Output) -> io::Result<u8>,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut wire = Wire(&stream);
    let status = match serde_json::from_str(line) {
        Ok(command) => execute(command, &mut wire)?,
        Err(_) => {
            wire.talk("the daemon does not understand this command; is it of another release? restart it\n")?;
            2
        }
    };
    wire.send(&Frame::Exit(status))
}

/// Answers a call with the reason why it cannot be carried out now.
pub fn refuse(stream: &UnixStream, why: &str) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let mut wire = Wire(stream);
    wire.talk(&format!("bankfeed: {why}\n"))?;
    wire.send(&Frame::Exit(1))
}

/// The socket as an output.
struct Wire<'a>(&'a UnixStream);

impl Wire<'_> {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut line = serde_json::to_string(frame)?;
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

impl Output for Wire<'_> {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.send(&Frame::Data(text.to_owned()))
    }
    fn talk(&mut self, text: &str) -> io::Result<()> {
        self.send(&Frame::Talk(text.to_owned()))
    }
    fn step(&mut self, step: Step) -> io::Result<()> {
        self.send(&Frame::Step(step))
    }
    fn ask(&mut self, question: &str) -> io::Result<Option<HiddenText>> {
        self.send(&Frame::Ask(question.to_owned()))?;
        self.0.set_read_timeout(Some(ANSWER_PATIENCE))?;
        let mut line = String::new();
        match BufReader::new(self.0.take(MAX_ANSWER_BYTES)).read_line(&mut line) {
            // The caller has gone away.
            Ok(0) => Err(io::ErrorKind::BrokenPipe.into()),
            Ok(_) => serde_json::from_str(&line).map_err(io::Error::other),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            Err(error) => Err(error),
        }
    }
    fn file(&mut self, number: usize) -> io::Result<Result<File, String>> {
        self.send(&Frame::File(number))?;
        self.0.set_read_timeout(Some(ANSWER_PATIENCE))?;
        descriptors::receive(self.0)
    }
}
