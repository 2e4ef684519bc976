//! A simulated mail server: SMTP over a real socket, with or without a login, strict about the order of commands.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::lock;

/// A message that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Headers and body as they came, lines ended by a line feed.
    pub data: String,
}

impl Mail {
    /// A header by its name, as sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.data.split("\n\n").next()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body, decoded where it came as base64 or quoted-printable.
    pub fn text(&self) -> String {
        let body = self.data.split_once("\n\n").map_or("", |(_, body)| body);
        match self.header("Content-Transfer-Encoding") {
            Some("base64") => {
                let decoded = BASE64.decode(body.replace('\n', "")).unwrap_or_default();
                String::from_utf8_lossy(&decoded).replace("\r\n", "\n")
            }
            Some("quoted-printable") => unquoted(body),
            _ => body.to_owned(),
        }
    }
}

fn unquoted(body: &str) -> String {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'=').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[derive(Default)]
struct State {
    login: Option<(String, String)>,
    refuse: Option<String>,
    mails: Vec<Mail>,
    sessions: u64,
}

/// The running server.
#[derive(Clone)]
pub struct MailServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl MailServer {
    /// Starts one on a free loopback port.
    pub async fn start() -> io::Result<MailServer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = MailServer { address: listener.local_addr()?, state: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    lock(&serving.state).sessions += 1;
                    // A client that goes away in the middle is its own affair.
                    drop(serving.talk(stream).await);
                });
            }
        });
        Ok(server)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it wants this login.
    pub fn protect(&self, username: &str, password: &str) {
        lock(&self.state).login = Some((username.to_owned(), password.to_owned()));
    }

    /// Answers every command with this line, e.g. `421 closing`; `None`: works.
    pub fn refuse(&self, line: Option<&str>) {
        lock(&self.state).refuse = line.map(str::to_owned);
    }

    /// What has arrived since the last call.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut lock(&self.state).mails)
    }

    /// Connections so far.
    pub fn sessions(&self) -> u64 {
        lock(&self.state).sessions
    }

    async fn talk(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mail.example.com ESMTP\r\n").await?;
        let (mut mail, mut allowed) = (None::<Mail>, lock(&self.state).login.is_none());
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let command = line.trim_end().to_owned();
            let refusal = lock(&self.state).refuse.clone();
            let answer = refusal.unwrap_or_else(|| self.answer(&command, &mut mail, &mut allowed));
            stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
            if answer.starts_with("354") {
                let data = data(&mut stream).await?;
                let whole = Mail { data, ..mail.take().unwrap_or_default() };
                lock(&self.state).mails.push(whole);
                stream.write_all(b"250 taken\r\n").await?;
            }
            if answer.starts_with("221") || answer.starts_with("421") {
                return Ok(());
            }
        }
    }

    fn answer(&self, command: &str, mail: &mut Option<Mail>, allowed: &mut bool) -> String {
        let address = |rest: &str| rest.trim_start().trim_start_matches('<').split('>').next().unwrap_or("").to_owned();
        let upper = command.to_ascii_uppercase();
        if upper.starts_with("EHLO ") {
            let login = if lock(&self.state).login.is_some() { "250-AUTH PLAIN\r\n" } else { "" };
            return format!("250-mail.example.com\r\n{login}250 8BITMIME");
        }
        if let Some(secret) = upper.starts_with("AUTH PLAIN ").then(|| &command["AUTH PLAIN ".len()..]) {
            let given = BASE64.decode(secret).unwrap_or_default();
            let wanted = lock(&self.state).login.clone();
            *allowed = wanted.is_some_and(|(name, password)| given == format!("\0{name}\0{password}").into_bytes());
            return if *allowed { "235 welcome" } else { "535 5.7.8 bad credentials" }.into();
        }
        if upper == "QUIT" {
            return "221 bye".into();
        }
        if !*allowed {
            return "530 5.7.0 authentication required".into();
        }
        match (&upper[..upper.len().min(8)], mail) {
            ("MAIL FRO", mail @ None) => {
                *mail = Some(Mail { from: address(&command["MAIL FROM:".len()..]), ..Mail::default() });
                "250 ok".into()
            }
            ("RCPT TO:", Some(mail)) => {
                mail.to.push(address(&command["RCPT TO:".len()..]));
                "250 ok".into()
            }
            ("DATA", Some(mail)) if !mail.to.is_empty() => "354 go on".into(),
            ("RSET" | "NOOP", _) => "250 ok".into(),
            _ => "503 5.5.1 bad sequence of commands".into(),
        }
    }
}

/// The message up to the line with a single dot, dots at the start of lines undone.
async fn data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut data, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text == "." {
            return Ok(data);
        }
        data += text.strip_prefix('.').unwrap_or(text);
        data.push('\n');
    }
}
