//! A real mail server for tests: Debian's aiosmtpd on free ports, with STARTTLS and with TLS, gone with the test process.
//!
//! `tests/all` installs it. Where there is none, tests are skipped and say so, unless `PROBITY_TEST_REQUIRE_AIOSMTPD` is
//! set.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Debian's own, for which Debian's package is.
const PYTHON: &str = "/usr/bin/python3";

/// A running mail server. It takes mail of "ana".
pub struct MailServer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// STARTTLS, with the certificate of `tests/cases/tls` (localhost).
    pub port: u16,
    /// TLS from the beginning.
    pub tls_port: u16,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // The end of its input is the sign to stop; who is quicker does not matter.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn is_required() -> bool {
    std::env::var("PROBITY_TEST_REQUIRE_AIOSMTPD").is_ok()
}

impl MailServer {
    /// A server that refuses so many messages for the time being before it takes one; `None` where there is no aiosmtpd.
    /// The password is what the file holds at each login.
    pub fn start(password: &Path, refusals: usize) -> Option<MailServer> {
        let there = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            assert!(!is_required(), "there is no aiosmtpd: apt-get install python3-aiosmtpd");
            eprintln!("SKIPPED: no aiosmtpd; apt-get install python3-aiosmtpd");
            return None;
        }
        let root = env!("CARGO_MANIFEST_DIR");
        let mut child = Command::new(PYTHON)
            .args([format!("{root}/tests/it/harness/smtp.py"), format!("{root}/tests/cases/tls")])
            .arg(password)
            .arg(refusals.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = lines.next().expect("the mail server says its ports").unwrap();
        let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
        Some(MailServer { child, lines, port: ports[0], tls_port: ports[1] })
    }

    /// The next message it was given, taken or refused; waits for it.
    pub fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("the mail server lives").unwrap()).unwrap()
    }
}
