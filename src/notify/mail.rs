//! Mail: one message over SMTP, by TLS or STARTTLS, through the rules for outgoing connections.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::UNIX_EPOCH;

use jiff::Timestamp;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Failure, Message};
use crate::net::{Encryption, Net, Stream, Tls, TlsOptions};

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// It begins in the clear and must become TLS before anything is said (port 587).
    #[default]
    StartTls,
    /// TLS from the beginning (port 465).
    Tls,
    /// Never: for a server on this machine or in a network of one's own.
    None,
}

/// Where mail is handed in.
#[derive(Clone)]
pub struct MailOptions {
    pub host: String,
    pub port: u16,
    /// User and password; `None`: it takes mail without.
    pub login: Option<(String, String)>,
    /// Who writes: `probity@example.org` or `Probity <probity@example.org>`.
    pub from: String,
    pub tls: MailTls,
    /// PEM certificates that are trusted instead of the system's; empty: the system's.
    pub authorities: Vec<u8>,
}

impl std::fmt::Debug for MailOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailOptions").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl MailOptions {
    /// What cannot be used, without the password.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(problem) = address(&self.from) {
            problems.push(format!("mail.from: {problem}"));
        }
        if self.login.is_some() && self.tls == MailTls::None && !is_loopback(&self.host) {
            problems.push(
                "mail.tls: \"none\" would send mail.password in the clear; expected \"starttls\" or \"tls\"".into(),
            );
        }
        problems
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a text is an address that mail can be sent to.
///
/// # Errors
/// What it is not.
pub(super) fn address(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no mail address such as ana@example.org"))
}

/// Hands mail in.
pub struct Mailer<'a> {
    options: &'a MailOptions,
    net: &'a Net,
}

impl<'a> Mailer<'a> {
    pub fn new(options: &'a MailOptions, net: &'a Net) -> Mailer<'a> {
        Mailer { options, net }
    }

    /// Sends a message to all of these addresses at once.
    pub(super) async fn send(&self, message: &Message, to: &[String], now: Timestamp) -> Result<(), Failure> {
        let (envelope, bytes) = self.written(message, to, now).map_err(Failure::new)?;
        let mut connection = self.connect().await?;
        let sent = connection.send(&envelope, &bytes).await;
        // Saying goodbye is a courtesy.
        let _parted = connection.quit().await.is_ok();
        sent.map(drop).map_err(|error| failure(&self.options.host, &error))
    }

    /// Connects and logs in, and sends nothing.
    ///
    /// # Errors
    /// Why that does not go.
    pub async fn probe(&self) -> Result<(), String> {
        let mut connection = self.connect().await.map_err(|failure| failure.problem)?;
        let _parted = connection.quit().await.is_ok();
        Ok(())
    }

    /// The message with its headers. Its id is that of the notification, so that a mail that comes twice is seen to be one.
    fn written(&self, message: &Message, to: &[String], now: Timestamp) -> Result<(Envelope, Vec<u8>), String> {
        let from = address(&self.options.from)?;
        let date = UNIX_EPOCH + std::time::Duration::from_secs(now.as_second().max(0).unsigned_abs());
        let mut builder = lettre::Message::builder()
            .message_id(Some(format!("<{}@{}>", message.id, from.email.domain())))
            .date(date)
            .from(from)
            .subject(format!("[Probity] {}", message.subject()));
        for recipient in to {
            builder = builder.to(address(recipient)?);
        }
        let text = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(message.text());
        let mail = builder.multipart(MultiPart::mixed().singlepart(text)).map_err(|error| error.to_string())?;
        Ok((mail.envelope().clone(), mail.formatted()))
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let options = self.options;
        let own = (options.tls == MailTls::Tls && !options.authorities.is_empty())
            .then(|| Tls::new(&TlsOptions { authorities: options.authorities.clone(), ..TlsOptions::default() }))
            .transpose()
            .map_err(|problem| Failure::new(format!("mail.authority: {problem}")))?;
        let how = match (options.tls, &own) {
            (MailTls::Tls, Some(tls)) => Encryption::With(tls),
            (MailTls::Tls, None) => Encryption::System,
            (MailTls::StartTls | MailTls::None, _) => Encryption::None,
        };
        let stream = self.net.connect(&options.host, options.port, how).await;
        let stream = stream.map_err(|error| Failure::new(error.message))?;
        let said = |error: lettre::transport::smtp::Error| failure(&options.host, &error);
        let us = ClientId::Domain("probity.invalid".into());
        let stream = Box::new(Carried(Mutex::new(stream)));
        let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &us).await.map_err(said)?;
        if options.tls == MailTls::StartTls {
            if !connection.can_starttls() {
                let problem =
                    format!("{} does not offer STARTTLS; for one that needs none: mail.tls = \"none\"", options.host);
                return Err(Failure::new(problem));
            }
            connection.starttls(self.trust()?, &us).await.map_err(said)?;
        }
        if let Some((user, password)) = &options.login {
            let login = Credentials::new(user.clone(), password.clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &login).await.map_err(said)?;
        }
        Ok(connection)
    }

    /// Whom STARTTLS trusts.
    fn trust(&self) -> Result<TlsParameters, Failure> {
        let said = |error: lettre::transport::smtp::Error| Failure::new(format!("mail.authority: {}", whole(&error)));
        let mut trust = TlsParameters::builder(self.options.host.clone());
        if !self.options.authorities.is_empty() {
            trust = trust
                .certificate_store(CertificateStore::None)
                .add_root_certificate(Certificate::from_pem(&self.options.authorities).map_err(said)?);
        }
        trust.build_rustls().map_err(said)
    }
}

fn failure(host: &str, error: &lettre::transport::smtp::Error) -> Failure {
    Failure::new(format!("{host}: {}", whole(error)))
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        cause = error.source();
    }
    text
}

/// A connection of ours in the form that the mail library takes. The lock is never taken: it makes shared what nobody
/// shares.
struct Carried(Mutex<Box<dyn Stream>>);

impl Carried {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut Box<dyn Stream>> {
        Pin::new(self.get_mut().0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Carried")
    }
}

impl AsyncTokioStream for Carried {
    fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl AsyncRead for Carried {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        self.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Carried {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_sent_in_the_clear() {
        let options = |host: &str, tls| MailOptions {
            host: host.into(),
            port: 25,
            login: Some(("ana".into(), "s3cret".into())),
            from: "Probity <probity@example.org>".into(),
            tls,
            authorities: Vec::new(),
        };
        let problems = options("mail.example", MailTls::None).problems();
        assert!(problems.len() == 1 && problems[0].contains("in the clear") && !problems[0].contains("s3cret"));
        assert!(options("127.0.0.1", MailTls::None).problems().is_empty());
        assert!(options("mail.example", MailTls::StartTls).problems().is_empty());
        let nobody = MailOptions { from: "probity".into(), ..options("localhost", MailTls::Tls) };
        assert_eq!(nobody.problems(), ["mail.from: \"probity\" is no mail address such as ana@example.org"]);
        assert!(!format!("{nobody:?}").contains("s3cret"));
    }
}
