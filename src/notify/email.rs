//! Notices by mail.
//!
//! Mail goes over TLS with the system's certificates, from the start or by STARTTLS, and never falls back to the clear:
//! no login goes over an open connection. Only a server on this very machine is reached without TLS.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error as SmtpError};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use super::plan::Notice;
use crate::config::{Email, Notifier, Safety};
use crate::remote::root_cause;

/// Longest time that the server may take for each step.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Hands the notice over to the mail server.
pub async fn send(_notifier: &Notifier, email: &Email, notice: &Notice) -> Result<(), String> {
    let message = message(email, notice)?;
    let parameters = || {
        TlsParameters::new_rustls(email.host.clone())
            .map_err(|error| format!("cannot set up TLS: {}; install the system's CA certificates", root_cause(&error)))
    };
    let tls = match email.safety {
        Safety::Local => Tls::None,
        Safety::StartTls => Tls::Required(parameters()?),
        Safety::Implicit => Tls::Wrapper(parameters()?),
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

/// The server's answer as a sentence, without the parts of the login that the server may have repeated.
fn explain(error: &SmtpError) -> String {
    let root = root_cause(error);
    // lettre reports every failure before the first word over TLS as a failed connection.
    if let Some((_, why)) = root.split_once("invalid peer certificate: ") {
        return format!(
            "the mail server's certificate is not good ({why}); look at host, or add its issuer to this machine's certificates"
        );
    }
    if ["STARTTLS is not supported", "corrupt message"].iter().any(|text| root.contains(text)) {
        return format!(
            "no safe connection to the mail server, and nothing is sent without one ({root}); look at port and tls"
        );
    }
    let what = match error.status().map(|code| code.to_string()) {
        Some(code) if ["530", "534", "535", "538"].contains(&code.as_str()) => {
            return format!("the mail server refuses the login (SMTP {code}); look at username and password");
        }
        Some(code) => return format!("the mail server refuses the message (SMTP {code}); look at from and to"),
        None if error.is_timeout() => "no answer in time",
        None if error.is_tls() => "no safe connection to the mail server",
        None => "the mail server cannot be reached",
    };
    format!("{what}: {root}")
}
