//! The re-execution of the idle daemon: the same program starts anew in the same process and inherits the lock of the
//! data directory, the listening sockets and the saved state.
//!
//! Reason: the threads of an opened store cannot be ended and wake up every second, and the memory that a cycle has
//! touched is never given back in full. The process id, the sockets and the state in systemd stay the same, and a
//! client that connects meanwhile waits for a few milliseconds.
//!
//! The descriptors travel as a message on a socket that is the new program's standard input, so no descriptor number has
//! to be trusted. The saved state may hold secrets, so it is in memory without a name (memfd).

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use super::cycle_log::CycleLog;
use super::directories::Directories;
use crate::control::Socket;
use crate::notify::Told;
use crate::service::timetable::Timetable;

/// The environment variable that marks a re-execution. The value is the process id, so that a child process ignores it.
const VARIABLE: &str = "BANKFEED_GOES_ON";

/// Lock, saved state, control socket, watched directories, page.
const DESCRIPTORS: usize = 5;

/// The parts of the daemon that outlive an idle time.
#[derive(Debug)]
pub struct IdleDaemon {
    /// The control socket, and the lock of the data directory.
    pub socket: Socket,
    /// The listener of the page.
    pub page: Option<TcpListener>,
    /// The watched directories of sources that read files.
    pub directories: Option<Arc<Directories>>,
    /// The saved state.
    pub saved: SavedState,
}

/// The state of the daemon that outlives an idle time.
#[derive(Default, Serialize, Deserialize)]
pub struct SavedState {
    /// The file of the configuration.
    pub path: PathBuf,
    /// The text of the file when it was last read: a changed file counts once the daemon is asked to reload.
    pub text: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The problems that are in the log already.
    pub cycle_log: CycleLog,
    /// The notices that were given already.
    pub told: Told,
    /// The next run and the next notice.
    pub timetable: Timetable,
    /// The time that the daemon stays active without work.
    pub patience: Duration,
    /// The kernel's number of each watched directory, with the source that reads it; `None`: no directory is watched.
    pub watched: Option<Vec<(i32, String)>>,
}

/// The configuration's text may hold secrets.
impl std::fmt::Debug for SavedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SavedState").field("timetable", &self.timetable).finish_non_exhaustive()
    }
}

impl IdleDaemon {
    /// Starts the program anew in this process. Returns only if that fails.
    pub fn reexec(&self) -> io::Error {
        let started = self.send().map(|stdin| {
            let mut arguments = std::env::args_os();
            let mut program = Command::new("/proc/self/exe");
            arguments.next().map(|name| program.arg0(name));
            program.args(arguments).env(VARIABLE, std::process::id().to_string()).stdin(stdin).exec()
        });
        started.unwrap_or_else(|error| error)
    }

    /// The end of a socket from which the new program receives everything.
    fn send(&self) -> io::Result<OwnedFd> {
        let mut saved = File::from(rustix::fs::memfd_create("bankfeed", rustix::fs::MemfdFlags::CLOEXEC)?);
        saved.write_all(&serde_json::to_vec(&self.saved)?)?;
        let (here, there) = UnixStream::pair()?;
        let mut descriptors = vec![self.socket.lock.as_fd(), saved.as_fd(), self.socket.listener.as_fd()];
        descriptors.extend(self.directories.as_ref().map(|directories| directories.queue().as_fd()));
        descriptors.extend(self.page.as_ref().map(AsFd::as_fd));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for the descriptors"));
        }
        rustix::net::sendmsg(&here, &[IoSlice::new(b"-")], &mut message, SendFlags::empty())?;
        Ok(there.into())
    }

    /// Receives what this process has sent before its re-execution; `None`: this is an ordinary start.
    pub fn receive() -> io::Result<Option<IdleDaemon>> {
        if std::env::var(VARIABLE).ok() != Some(std::process::id().to_string()) {
            return Ok(None);
        }
        keep_name();
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        rustix::net::recvmsg(&stream, &mut [IoSliceMut::new(&mut byte)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = message.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
            _ => Vec::new(),
        });
        let missing = || io::Error::other("a descriptor is missing");
        let lock = descriptors.next().ok_or_else(missing)?.into();
        let mut saved = File::from(descriptors.next().ok_or_else(missing)?);
        let control = descriptors.next().ok_or_else(missing)?.into();
        let mut text = Vec::new();
        saved.rewind()?;
        saved.read_to_end(&mut text)?;
        let saved: SavedState = serde_json::from_slice(&text)?;
        let directories = match &saved.watched {
            Some(watched) => Some(Directories::again(descriptors.next().ok_or_else(missing)?, watched.clone())),
            None => None,
        };
        let page = descriptors.next().map(TcpListener::from);
        let socket = Socket::again(control, lock, saved.data_dir.clone());
        Ok(Some(IdleDaemon { socket, page, directories, saved }))
    }
}

/// Restores the name of the process, which the kernel takes from the file that it runs, here `/proc/self/exe`.
fn keep_name() {
    let name = std::env::args_os().next().and_then(|name| Some(Path::new(&name).file_name()?.to_owned()));
    if let Some(name) = name
        && let Err(error) = std::fs::write("/proc/self/comm", name.as_encoded_bytes())
    {
        // The name matters only in lists of processes.
        tracing::debug!("the process keeps another name: {error}");
    }
}
