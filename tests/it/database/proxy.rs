//! A door in front of the real server that counts what passes, and fails on request: the connection is cut before or
//! after a statement was carried out, its answer is cut in two, or the statement arrives late.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bankfeed::simulator::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The text of a connection that is being made.
pub const STARTUP: &str = "(startup)";

/// The door.
pub struct Proxy {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    requests: u64,
    faults: Vec<Planted>,
    held: Vec<Held>,
}

struct Planted {
    matching: String,
    skip: u32,
    times: u32,
    fault: Fault,
}

/// A statement whose sender was cut off, on its way.
struct Held {
    left: u32,
    bytes: Vec<u8>,
    to: OwnedWriteHalf,
    from: OwnedReadHalf,
}

/// What is to become of the answer to a request.
enum Answer {
    Pass,
    /// Swallowed, and these bytes instead; then the connection is cut.
    Instead(Vec<u8>),
    /// Half of it; then the connection is cut.
    Half,
}

impl Proxy {
    /// Opens a door to the server at this port.
    pub async fn open(server: u16) -> Arc<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Proxy { port, state: Arc::default() });
        let (state, door) = (proxy.state.clone(), server);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", door)).await {
                        let _ = serve(client, server, state).await;
                    }
                });
            }
        });
        proxy
    }

    pub fn requests(&self) -> u64 {
        self.state.lock().unwrap().requests
    }

    pub fn clear_log(&self) {
        self.state.lock().unwrap().requests = 0;
    }

    pub fn fail(&self, matching: &str, skip: u32, times: u32, fault: Fault) {
        self.state.lock().unwrap().faults.push(Planted { matching: matching.into(), skip, times, fault });
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    pub fn faults_left(&self) -> bool {
        !self.state.lock().unwrap().faults.is_empty()
    }

    /// Lets everything arrive that is still on its way.
    pub async fn land(&self) {
        let held = std::mem::take(&mut self.state.lock().unwrap().held);
        for held in held {
            held.land().await;
        }
    }
}

impl State {
    /// Counts a request; returns its fault, and what arrives before it.
    fn next(&mut self, text: &str) -> (Option<Fault>, Vec<Held>) {
        self.requests += 1;
        let mut landing = Vec::new();
        let mut at = 0;
        while at < self.held.len() {
            match self.held[at].left {
                0 => landing.push(self.held.remove(at)),
                _ => {
                    self.held[at].left -= 1;
                    at += 1;
                }
            }
        }
        let Some(at) = self.faults.iter().position(|planted| text.contains(&planted.matching)) else {
            return (None, landing);
        };
        let planted = &mut self.faults[at];
        if planted.skip > 0 {
            planted.skip -= 1;
            return (None, landing);
        }
        let fault = planted.fault.clone();
        planted.times -= 1;
        if planted.times == 0 {
            self.faults.remove(at);
        }
        (Some(fault), landing)
    }
}

impl Held {
    async fn land(mut self) {
        let _ = self.to.write_all(&self.bytes).await;
        // Until the server is done with it, one way or the other.
        let done = async {
            loop {
                match message(&mut self.from).await {
                    Ok((b'Z', _)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(20), done).await;
    }
}

/// A message: its kind, and its bytes with kind and length.
async fn message(from: &mut OwnedReadHalf) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut bytes = head.to_vec();
    bytes.resize(1 + length, 0);
    from.read_exact(&mut bytes[5..]).await?;
    Ok((head[0], bytes))
}

async fn serve(client: TcpStream, server: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (to_client, answers) =
        (Arc::new(tokio::sync::Mutex::new(Some(to_client))), Arc::new(Mutex::new(VecDeque::new())));
    let stopped = Arc::new(AtomicBool::new(false));
    let back = tokio::spawn(pass_back(from_server, to_client.clone(), answers.clone(), stopped.clone()));
    let mut request = Vec::new();
    let mut text = String::new();
    let mut is_first = true;
    loop {
        if is_first {
            let mut length = [0; 4];
            from_client.read_exact(&mut length).await?;
            request.extend(length);
            request.resize(u32::from_be_bytes(length) as usize, 0);
            from_client.read_exact(&mut request[4..]).await?;
            STARTUP.clone_into(&mut text);
        } else {
            let Ok((kind, bytes)) = message(&mut from_client).await else { break };
            request.extend_from_slice(&bytes);
            match kind {
                b'Q' => text = c_text(&bytes[5..]),
                // The name of the statement comes first.
                b'P' => text = bytes[5..].splitn(3, |byte| *byte == 0).nth(1).map(c_text).unwrap_or_default(),
                b'S' => {}
                // Parts of a sign-in and the end of a session are no requests of their own.
                b'p' | b'X' => {
                    to_server.write_all(&request).await?;
                    request.clear();
                    continue;
                }
                _ => continue,
            }
            if kind == b'P' {
                continue;
            }
        }
        is_first = false;
        let (fault, landing) = state.lock().unwrap().next(&text);
        for held in landing {
            // What arrives may have to wait for this very client.
            let landing = tokio::spawn(held.land());
            let _ = tokio::time::timeout(Duration::from_millis(200), landing).await;
        }
        let none = Vec::new;
        let (answer, forward) = match fault {
            None => (Answer::Pass, true),
            Some(Fault::Status(_, code) | Fault::StatusRetryAfter(_, code, _)) => {
                (Answer::Instead(refusal(&code)), false)
            }
            Some(Fault::ApplyThenStatus(_, code)) => (Answer::Instead(refusal(&code)), true),
            Some(Fault::ApplyThenDrop) => (Answer::Instead(none()), true),
            Some(Fault::Truncate | Fault::CutBody) => (Answer::Half, true),
            Some(Fault::Slow(time)) => {
                // Carried out, and the answer takes its time.
                answers.lock().unwrap().push_back(Answer::Pass);
                let held_back = to_client.lock().await;
                to_server.write_all(&request).await?;
                tokio::time::sleep(time).await;
                drop(held_back);
                request.clear();
                continue;
            }
            // A connection that is only being made has nothing to arrive late.
            Some(Fault::Held(left)) if text != STARTUP => {
                stopped.store(true, Ordering::Relaxed);
                to_client.lock().await.take();
                // Answers to former requests have passed: the client waits for each of these.
                let from = back.await.unwrap();
                if let Some(from) = from {
                    state.lock().unwrap().held.push(Held { left, bytes: request, to: to_server, from });
                }
                return Ok(());
            }
            Some(_) => (Answer::Instead(none()), false),
        };
        if forward {
            answers.lock().unwrap().push_back(answer);
            to_server.write_all(&request).await?;
            request.clear();
            continue;
        }
        if let (Answer::Instead(bytes), Some(mut client)) = (answer, to_client.lock().await.take()) {
            let _ = client.write_all(&bytes).await;
            let _ = client.shutdown().await;
        }
        return Ok(());
    }
    Ok(())
}

/// Passes answers back; gives the connection back where it is still of use.
async fn pass_back(
    mut from: OwnedReadHalf,
    to: Arc<tokio::sync::Mutex<Option<OwnedWriteHalf>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    stopped: Arc<AtomicBool>,
) -> Option<OwnedReadHalf> {
    let mut swallowed = Vec::new();
    loop {
        if stopped.load(Ordering::Relaxed) {
            return Some(from);
        }
        let read = tokio::select! {
            read = message(&mut from) => read,
            () = until(&stopped) => return Some(from),
        };
        let Ok((kind, bytes)) = read else {
            to.lock().await.take();
            return None;
        };
        let passes = matches!(answers.lock().unwrap().front(), None | Some(Answer::Pass));
        if passes {
            let mut to = to.lock().await;
            if let Some(client) = to.as_mut()
                && client.write_all(&bytes).await.is_err()
            {
                to.take();
            }
        } else {
            swallowed.extend_from_slice(&bytes);
        }
        if kind == b'Z' {
            let answer = answers.lock().unwrap().pop_front();
            let bytes = match answer {
                None | Some(Answer::Pass) => continue,
                Some(Answer::Instead(bytes)) => bytes,
                Some(Answer::Half) => swallowed[..swallowed.len() / 2].to_vec(),
            };
            if let Some(mut client) = to.lock().await.take() {
                let _ = client.write_all(&bytes).await;
                let _ = client.shutdown().await;
            }
            return None;
        }
    }
}

async fn until(stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn c_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The server's last words to a client, with this SQLSTATE.
fn refusal(code: &str) -> Vec<u8> {
    let code = if code.len() == 5 { code } else { "57P01" };
    let mut body = Vec::new();
    for (field, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', "so says the door")] {
        body.push(field);
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = vec![b'E'];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}
