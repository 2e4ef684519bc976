//! Open files over the control socket: a line of JSON with the descriptor beside it, or with the reason why there is none.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Longest reason.
const MAX_REASON_BYTES: usize = 16 * 1024;

/// Sends an open file, or the reason why there is none.
pub fn send(stream: &UnixStream, file: &Result<File, String>) -> io::Result<()> {
    let reason = file.as_ref().err();
    let mut line = serde_json::to_vec(&reason)?;
    line.truncate(MAX_REASON_BYTES);
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = file.iter().map(AsFd::as_fd).collect();
    if !descriptors.is_empty() && !message.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the descriptor"));
    }
    let mut sent = sendmsg(stream, &[IoSlice::new(&line)], &mut message, SendFlags::empty())?;
    while sent < line.len() {
        let mut nothing = SendAncillaryBuffer::default();
        sent += sendmsg(stream, &[IoSlice::new(&line[sent..])], &mut nothing, SendFlags::empty())?;
    }
    Ok(())
}

/// Receives an open file, or the reason why there is none.
pub fn receive(stream: &UnixStream) -> io::Result<Result<File, String>> {
    let (mut line, mut file) = (Vec::new(), None);
    while !line.ends_with(b"\n") {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut part = [0; 4096];
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut part)], &mut message, RecvFlags::CMSG_CLOEXEC)?;
        for message in message.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                file = file.or(descriptors.map(File::from).next());
            }
        }
        if received.bytes == 0 || line.len() > MAX_REASON_BYTES {
            // The caller has gone away.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        line.extend_from_slice(&part[..received.bytes]);
    }
    let reason: Option<String> = serde_json::from_slice(&line).map_err(io::Error::other)?;
    Ok(match (reason, file) {
        (None, Some(file)) => Ok(file),
        (reason, _) => Err(reason.unwrap_or_else(|| "it was not handed over".to_owned())),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn files_and_reasons_arrive() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"statement").unwrap();
        file.rewind().unwrap();
        send(&here, &Ok(file)).unwrap();
        let mut text = String::new();
        receive(&there).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "statement");
        let reason = "it is \"odd\"\n".repeat(500);
        let why = reason.clone();
        let sender = std::thread::spawn(move || send(&here, &Err(why)).unwrap());
        assert_eq!(receive(&there).unwrap().unwrap_err(), reason);
        sender.join().unwrap();
        assert!(receive(&there).is_err(), "the other side has gone away");
    }
}
