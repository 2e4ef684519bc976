//! Notices by mail.
//!
//! Over TLS with the system's certificates: from the start on port 465, by STARTTLS on any other, and then never without
//! it. A server on this very machine is spoken to in the clear.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error as SmtpError};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use super::plan::Notice;
use crate::config::{Email, Notifier};
use crate::remote::root_cause;

/// How long the server may take for each step.
const TIMEOUT: Duration = Duration::from_secs(10);

/// TLS before the first word.
const TLS_PORT: u16 = 465;

/// Hands the notice over to the mail server.
pub async fn send(_notifier: &Notifier, email: &Email, notice: &Notice) -> Result<(), String> {
    let message = message(email, notice)?;
    let tls = match email.is_local() {
        true => Tls::None,
        false => {
            let parameters = TlsParameters::new_rustls(email.host.clone()).map_err(|error| root_cause(&error))?;
            if email.port == TLS_PORT { Tls::Wrapper(parameters) } else { Tls::Required(parameters) }
        }
    };
    let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host);
    let mut server = server.port(email.port).tls(tls).timeout(Some(TIMEOUT));
    if let Some((username, password)) = &email.login {
        let password = password.reveal().map_err(|why| format!("password: {why}"))?;
        server = server.credentials(Credentials::new(username.clone(), password.expose_secret().to_owned()));
    }
    server.build().send(message).await.map(|_| ()).map_err(|error| explain(&error))
}

fn message(email: &Email, notice: &Notice) -> Result<Message, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| "no mail address".to_owned());
    let mut builder = Message::builder().from(mailbox(&email.from)?).subject(&notice.title).date(notice.at.into());
    for to in &email.to {
        builder = builder.to(mailbox(to)?);
    }
    let built = builder.header(ContentType::TEXT_PLAIN).body(format!("{}\n", notice.text()));
    built.map_err(|error| error.to_string())
}

/// What the server said, without anything it may have repeated of the login.
fn explain(error: &SmtpError) -> String {
    let what = match error.status().map(|code| code.to_string()) {
        Some(code) if ["530", "534", "535", "538"].contains(&code.as_str()) => {
            return format!("the mail server refuses the login (SMTP {code}); look at username and password");
        }
        Some(code) => return format!("the mail server refuses the message (SMTP {code}); look at from and to"),
        None if error.is_timeout() => "no answer in time",
        None if error.is_tls() => "no safe connection to the mail server",
        None => "the mail server cannot be reached",
    };
    format!("{what}: {}", root_cause(error))
}
