//! A simulated mail server: SMTP over a real socket, with or without a login, strict about the order of commands; in
//! the clear, or over TLS from the first byte or by STARTTLS, with a certificate for `localhost` of its own authority.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::lock;

/// The authority of the server's certificate, for clients that are to trust it.
pub const AUTHORITY: &str = include_str!("mail/ca.pem");
/// A certificate authority that has no part in the server's certificate.
pub const STRANGER: &str = include_str!("mail/stranger.pem");

/// The security of the server's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// In the clear.
    Clear,
    /// TLS is offered, and demanded before a login.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

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
    clear: Vec<String>,
}

/// A connection to the server.
struct Talk {
    mail: Option<Mail>,
    allowed: bool,
    /// True for a connection under TLS.
    safe: bool,
}

/// The running server.
#[derive(Clone)]
pub struct MailServer {
    address: SocketAddr,
    manner: Manner,
    state: Arc<Mutex<State>>,
}

impl MailServer {
    /// Starts one on a free loopback port, in the clear.
    pub async fn start() -> io::Result<MailServer> {
        MailServer::start_as(Manner::Clear).await
    }

    /// Starts one on a free loopback port.
    pub async fn start_as(manner: Manner) -> io::Result<MailServer> {
        let acceptor = acceptor()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = MailServer { address: listener.local_addr()?, manner, state: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    lock(&serving.state).sessions += 1;
                    // A client that goes away in the middle is its own affair.
                    drop(serving.serve(stream, &acceptor).await);
                });
            }
        });
        Ok(server)
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Makes the server demand this login.
    pub fn protect(&self, username: &str, password: &str) {
        lock(&self.state).login = Some((username.to_owned(), password.to_owned()));
    }

    /// Answers every command with this line, e.g. `421 closing`; `None`: works normally.
    pub fn refuse(&self, line: Option<&str>) {
        lock(&self.state).refuse = line.map(str::to_owned);
    }

    /// The messages that have arrived since the last call.
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut lock(&self.state).mails)
    }

    /// Connections so far.
    pub fn sessions(&self) -> u64 {
        lock(&self.state).sessions
    }

    /// The lines that came in the clear.
    pub fn heard_in_the_clear(&self) -> Vec<String> {
        lock(&self.state).clear.clone()
    }

    async fn serve(&self, stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<()> {
        const GREETING: &[u8] = b"220 mail.example.com ESMTP\r\n";
        if self.manner == Manner::Implicit {
            let mut stream = BufReader::new(acceptor.accept(stream).await?);
            stream.write_all(GREETING).await?;
            return self.talk(&mut stream, true).await.map(drop);
        }
        let mut stream = BufReader::new(stream);
        stream.write_all(GREETING).await?;
        if self.talk(&mut stream, false).await? {
            // Bytes sent ahead of the handshake are thrown away with the buffer.
            let stream = acceptor.accept(stream.into_inner()).await?;
            self.talk(&mut BufReader::new(stream), true).await?;
        }
        Ok(())
    }

    /// Talks until the end, or until client and server have agreed on TLS.
    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut BufReader<S>, safe: bool) -> io::Result<bool> {
        let mut talk = Talk { mail: None, allowed: lock(&self.state).login.is_none(), safe };
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(false);
            }
            let command = line.trim_end().to_owned();
            if !safe {
                lock(&self.state).clear.push(command.clone());
            }
            let refusal = lock(&self.state).refuse.clone();
            let answer = refusal.unwrap_or_else(|| self.answer(&command, &mut talk));
            stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
            stream.flush().await?;
            if answer.starts_with("220") {
                return Ok(true);
            }
            if answer.starts_with("354") {
                let data = data(stream).await?;
                let whole = Mail { data, ..talk.mail.take().unwrap_or_default() };
                lock(&self.state).mails.push(whole);
                stream.write_all(b"250 taken\r\n").await?;
                stream.flush().await?;
            }
            if answer.starts_with("221") || answer.starts_with("421") {
                return Ok(false);
            }
        }
    }

    fn answer(&self, command: &str, Talk { mail, allowed, safe }: &mut Talk) -> String {
        let address = |rest: &str| rest.trim_start().trim_start_matches('<').split('>').next().unwrap_or("").to_owned();
        let upper = command.to_ascii_uppercase();
        let begins_tls = self.manner == Manner::StartTls && !*safe;
        if upper.starts_with("EHLO ") {
            let login = if lock(&self.state).login.is_some() && !begins_tls { "250-AUTH PLAIN\r\n" } else { "" };
            let tls = if begins_tls { "250-STARTTLS\r\n" } else { "" };
            return format!("250-mail.example.com\r\n{tls}{login}250 8BITMIME");
        }
        if begins_tls {
            return match upper.as_str() {
                "STARTTLS" => "220 go ahead".into(),
                "QUIT" => "221 bye".into(),
                _ => "530 5.7.0 must issue a STARTTLS command first".into(),
            };
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

fn acceptor() -> io::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("mail/server.pem")).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("mail/server-key.pem")).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key));
    Ok(TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?)))
}

/// The message up to the line with a single dot, dots at the start of lines undone.
async fn data(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
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
