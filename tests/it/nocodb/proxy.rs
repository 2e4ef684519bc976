//! A small proxy in front of a server, real or simulated, that loses answers and holds requests back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The fate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The request never arrives.
    Request,
    /// The request is carried out, and the answer never arrives.
    Answer,
    /// The connection closes at once, and the request arrives when [`Proxy::land`] is called.
    Late,
}

#[derive(Default)]
struct Script {
    /// Part of the request's line, requests to let pass, and the fate of the next.
    planned: Vec<(String, u32, Loss)>,
    held: Vec<Vec<u8>>,
    log: Vec<String>,
}

/// The proxy. Clones are the same.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    server: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Proxy {
    /// Starts in front of this server.
    pub async fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), server, script: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(client).await });
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// After `skip` requests with this text in their first line, the next one is lost.
    pub fn lose(&self, matching: &str, skip: u32, loss: Loss) {
        self.script.lock().unwrap().planned.push((matching.into(), skip, loss));
    }

    /// True if a planned loss has not happened yet.
    pub fn losses_left(&self) -> bool {
        !self.script.lock().unwrap().planned.is_empty()
    }

    /// Planned losses do not happen.
    pub fn forget_losses(&self) {
        self.script.lock().unwrap().planned.clear();
    }

    /// The held requests arrive.
    pub async fn land(&self) {
        let held = std::mem::take(&mut self.script.lock().unwrap().held);
        for request in held {
            self.forward(&request).await.unwrap();
        }
    }

    /// The first lines of the requests since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().unwrap().log)
    }

    /// Serves one request: every answer says that the connection closes.
    async fn serve(&self, mut client: TcpStream) {
        let Some(request) = read_request(&mut client).await else { return };
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        match self.fate(&line) {
            None => {
                if let Some(answer) = self.forward(&request).await {
                    let _ = client.write_all(&answer).await;
                }
            }
            Some(Loss::Request) => {}
            Some(Loss::Answer) => drop(self.forward(&request).await),
            Some(Loss::Late) => self.script.lock().unwrap().held.push(request),
        }
    }

    fn fate(&self, line: &str) -> Option<Loss> {
        let mut script = self.script.lock().unwrap();
        script.log.push(line.to_owned());
        let at = script.planned.iter().position(|(matching, ..)| line.contains(matching))?;
        if script.planned[at].1 > 0 {
            script.planned[at].1 -= 1;
            return None;
        }
        Some(script.planned.remove(at).2)
    }

    async fn forward(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut server = TcpStream::connect(self.server).await.ok()?;
        server.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await.ok()?;
        (!answer.is_empty()).then_some(answer)
    }
}

/// A whole request, told to close its connection.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut request, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let end = request.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= end + 4 + length.unwrap_or(0) {
                let body = request.split_off(end + 2);
                request.extend_from_slice(b"connection: close\r\n");
                request.extend(body);
                return Some(request);
            }
        }
        match client.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.extend_from_slice(&buffer[..count]),
        }
    }
}
