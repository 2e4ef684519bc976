//! What a resting daemon hands to itself: the same program is started anew in the same process, with the lock of the
//! data directory, the sockets it listens on, and what it has to remember.
//!
//! Why anew: the threads of an opened store cannot be ended and wake up every second, and what a cycle has touched of
//! memory never quite comes back. Nobody outside notices: the process, its sockets and its standing with systemd stay
//! as they are, and whoever connects meanwhile waits for these few milliseconds.
//!
//! Descriptors travel as a message on a socket that the new program finds as its standard input; that needs no trust in
//! numbers. What is to be remembered may hold secrets, so it lies in memory that has no name.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::journal::Journal;
use crate::control::Socket;
use crate::notify::Told;

/// Says to the new program that it goes on; holds the number of the process, so that no other one takes it for itself.
const VARIABLE: &str = "BANKFEED_GOES_ON";

/// Lock, notes, control socket, page.
const DESCRIPTORS: usize = 4;

/// What outlives a rest.
#[derive(Debug)]
pub struct Handover {
    /// Where commands come in, and the lock of the data directory.
    pub socket: Socket,
    /// Where browsers come in.
    pub page: Option<TcpListener>,
    /// What is remembered.
    pub notes: Notes,
}

/// What is remembered over a rest.
#[derive(Default, Serialize, Deserialize)]
pub struct Notes {
    /// The configuration's file.
    pub path: PathBuf,
    /// What stood in it when it was last read: another text counts once the daemon is asked to reload.
    pub text: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// What the log has said already.
    pub journal: Journal,
    /// What notifiers were told.
    pub told: Told,
    /// When something is to be done.
    pub clock: Clock,
    /// How long the daemon stays awake when there is nothing to do.
    pub patience: Duration,
}

/// The configuration's text may hold secrets.
impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Handover {
    /// Starts the program anew in this process. Returns only if that cannot be done.
    pub fn start_anew(&self) -> io::Error {
        let started = self.send().map(|stdin| {
            let mut arguments = std::env::args_os();
            let mut program = Command::new("/proc/self/exe");
            arguments.next().map(|name| program.arg0(name));
            program.args(arguments).env(VARIABLE, std::process::id().to_string()).stdin(stdin).exec()
        });
        started.unwrap_or_else(|error| error)
    }

    /// The end of a socket where everything waits to be received.
    fn send(&self) -> io::Result<OwnedFd> {
        let mut notes = File::from(rustix::fs::memfd_create("bankfeed", rustix::fs::MemfdFlags::CLOEXEC)?);
        notes.write_all(&serde_json::to_vec(&self.notes)?)?;
        let (here, there) = UnixStream::pair()?;
        let mut descriptors = vec![self.socket.lock.as_fd(), notes.as_fd(), self.socket.listener.as_fd()];
        descriptors.extend(self.page.as_ref().map(AsFd::as_fd));
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        if !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("no room for the descriptors"));
        }
        rustix::net::sendmsg(&here, &[IoSlice::new(b"-")], &mut message, SendFlags::empty())?;
        Ok(there.into())
    }

    /// What this process has handed to itself; `None`: it was started by somebody else.
    pub fn receive() -> io::Result<Option<Handover>> {
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
        let mut notes = File::from(descriptors.next().ok_or_else(missing)?);
        let control = descriptors.next().ok_or_else(missing)?.into();
        let page = descriptors.next().map(TcpListener::from);
        let mut text = Vec::new();
        notes.rewind()?;
        notes.read_to_end(&mut text)?;
        let notes: Notes = serde_json::from_slice(&text)?;
        let socket = Socket::again(control, lock, notes.data_dir.clone());
        Ok(Some(Handover { socket, page, notes }))
    }
}

/// The kernel calls a process after the file it runs, which here is `/proc/self/exe`.
fn keep_name() {
    let name = std::env::args_os().next().and_then(|name| Some(Path::new(&name).file_name()?.to_owned()));
    if let Some(name) = name
        && let Err(error) = std::fs::write("/proc/self/comm", name.as_encoded_bytes())
    {
        // Only lists of processes look odd then.
        tracing::debug!("the process keeps another name: {error}");
    }
}
