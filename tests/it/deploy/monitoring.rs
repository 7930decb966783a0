//! What watches: Prometheus' rules by `promtool`, Alertmanager's configuration by `amtool`, and both for real: they scrape
//! a real server with its token, and an alert that fires reaches a mailbox and a webhook.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::serve::{Folder, Server, probity, until};

/// `tests/all` sets them: then a missing program is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_PROMTOOL";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have gone already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Whether all of these are installed; says so when not.
#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn available(programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs.iter().filter(|p| !Path::new("/usr/bin").join(p).exists()).collect();
    assert!(
        missing.is_empty() || std::env::var_os(REQUIRED).is_none(),
        "{missing:?} are missing: apt-get install prometheus prometheus-alertmanager"
    );
    if !missing.is_empty() {
        eprintln!("SKIPPED: no {missing:?}; apt-get install prometheus prometheus-alertmanager");
    }
    missing.is_empty()
}

/// Runs `promtool`, which must be content.
pub(super) fn promtool(arguments: &[&str]) {
    tool("promtool", arguments);
}

fn tool(name: &str, arguments: &[&str]) {
    if !available(&[name]) {
        return;
    }
    let output = Command::new(name).args(arguments).output().expect("it runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
}

fn path(of: &str) -> String {
    super::file(of).display().to_string()
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    promtool(&["check", "rules", &path("deploy/monitoring/rules/probity.yml")]);
    promtool(&["test", "rules", &path("deploy/monitoring/rules.test.yml")]);
    // Each has a case in which it fires, or is a sibling of one that has.
    let tests = super::read("deploy/monitoring/rules.test.yml");
    let rules = super::read("deploy/monitoring/rules/probity.yml");
    // What slows the queue down, or waits for a person, wakes somebody.
    for alert in
        ["ProbityQueueWaits", "ProbityLeasesStuck", "ProbityRunsInDoubt", "ProbityDeadLetters", "ProbitySnapshotOld"]
    {
        assert!(tests.matches(alert).count() >= 2, "{alert}: a case in which it fires and one in which it does not");
    }
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let tested = alerts.iter().filter(|alert| tests.contains(**alert)).count();
    assert!(alerts.len() > 15 && tested * 3 > alerts.len() * 2, "{tested} of {} alerts are tested", alerts.len());
}

#[test]
fn the_configurations_are_read_by_the_programs_they_are_for() {
    promtool(&["check", "config", "--syntax-only", &path("deploy/monitoring/prometheus.yml")]);
    tool("amtool", &["check-config", &path("deploy/monitoring/alertmanager.yml")]);
}

/// Every metric that a rule asks for is one that the server has.
#[test]
fn rules_name_our_metrics() {
    let known = super::read("src/api/metrics.rs") + &super::read("src/api/metrics_queue.rs");
    let rules = super::read("deploy/monitoring/rules/probity.yml");
    let mut seen = 0;
    for line in rules.lines().filter(|line| line.trim_start().starts_with("expr:")) {
        for name in line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|n| n.starts_with("probity_")) {
            let name = name.trim_end_matches("_bucket");
            let there = known.contains(&format!("`{name}")) || known.contains(&format!("\"{name}\""));
            assert!(there, "{name} is not in /metrics");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} names");
}

/// Takes mails on a free port; gives what came, each as its whole text.
async fn mailbox() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = mails.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(receive(stream, kept.clone()));
        }
    });
    (port, mails)
}

/// SMTP as far as a client of good manners needs it.
async fn receive(stream: tokio::net::TcpStream, mails: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let (mut mail, mut in_data) = (String::new(), false);
    stream.write_all(b"220 mailbox\r\n").await.ok();
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|n| n > 0) {
        let answer = match (in_data, line.trim_end()) {
            (true, ".") => {
                in_data = false;
                mails.lock().unwrap().push(std::mem::take(&mut mail));
                "250 kept\r\n"
            }
            (true, text) => {
                mail.push_str(text);
                mail.push('\n');
                ""
            }
            (false, "DATA") => {
                in_data = true;
                "354 go on\r\n"
            }
            (false, text) if text.starts_with("EHLO") => "250-mailbox\r\n250 8BITMIME\r\n",
            (false, "QUIT") => "221 goodbye\r\n",
            (false, _) => "250 ok\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

/// Takes calls of Alertmanager; gives their bodies.
async fn webhook() -> (String, Arc<Mutex<Vec<Value>>>) {
    let calls: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = calls.clone();
    let take = async move |body: axum::body::Bytes| kept.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let app = axum::Router::new().route("/hook", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, calls)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(name: &str, folder: &Path, arguments: &[String]) -> Process {
    let mut log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    writeln!(log, "{arguments:?}").unwrap();
    let mut command = Command::new(Path::new("/usr/bin").join(name));
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process(command.spawn().unwrap())
}

/// The shipped files with other addresses, times of seconds instead of minutes, and a rule that is true at once.
struct Watch {
    folder: Folder,
    prometheus: u16,
    alertmanager: u16,
}

impl Watch {
    fn new(server: &str, token: &str, mail: u16, hook: &str) -> Watch {
        let watch = Watch { folder: Folder::new(), prometheus: free_port(), alertmanager: free_port() };
        let write = |name: &str, text: String| -> PathBuf {
            let path = watch.folder.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let token = write("token", token.to_owned());
        let rules = adapt("deploy/monitoring/rules/probity.yml", &[]);
        // The servers' own alert, without the minute that it waits.
        let rules = rules.replacen("        for: 1m\n", "        for: 0s\n", 1);
        let rules = rules.replacen(r#"absent(up{job="probity"} == 1)"#, r#"absent(up{job="nobody"} == 1)"#, 1);
        let rules = write("rules.yml", rules);
        let targets = format!("static_configs: [{{targets: ['{}']}}]", server.trim_start_matches("http://"));
        let mut prometheus = adapt(
            "deploy/monitoring/prometheus.yml",
            &[
                ("scrape_interval: 15s", "scrape_interval: 1s"),
                ("evaluation_interval: 15s", "evaluation_interval: 1s"),
                ("scrape_timeout: 10s", "scrape_timeout: 1s"),
                ("/run/secrets/metrics_token", &token.display().to_string()),
                ("/etc/prometheus/rules/*.yml", &rules.display().to_string()),
                ("alertmanager:9093]\n\nscrape", &format!("'127.0.0.1:{}']\n\nscrape", watch.alertmanager)),
            ],
        );
        // Names of services are nobody's here: the first job asks the server of this test, the others are left out.
        let (head, rest) = prometheus.split_once("    dns_sd_configs:").expect("the first job");
        let named = rest.split_once("    relabel_configs: &named").expect("its end").0;
        assert!(named.contains("names: [nodered, "), "{named}");
        prometheus = format!("{head}    {targets}\n");
        write("prometheus.yml", prometheus);
        let alertmanager = adapt(
            "deploy/monitoring/alertmanager.yml",
            &[
                ("mail.example.org:587", &format!("127.0.0.1:{mail}")),
                ("  smtp_auth_username: probity@example.org\n", ""),
                ("  smtp_auth_password_file: /run/secrets/smtp_password\n", ""),
                ("smtp_require_tls: true", "smtp_require_tls: false"),
                ("https://duty.example.org/hook", hook),
                ("group_wait: 10s", "group_wait: 1s"),
            ],
        );
        write("alertmanager.yml", alertmanager);
        watch
    }

    fn start(&self) -> [Process; 2] {
        let at = |name: &str| self.folder.0.join(name).display().to_string();
        let alertmanager = start(
            "prometheus-alertmanager",
            &self.folder.0,
            &[
                format!("--config.file={}", at("alertmanager.yml")),
                format!("--storage.path={}", at("alerts")),
                format!("--web.listen-address=127.0.0.1:{}", self.alertmanager),
                "--cluster.listen-address=".to_owned(),
            ],
        );
        let prometheus = start(
            "prometheus",
            &self.folder.0,
            &[
                format!("--config.file={}", at("prometheus.yml")),
                format!("--storage.tsdb.path={}", at("data")),
                format!("--web.listen-address=127.0.0.1:{}", self.prometheus),
                // What fires before Alertmanager is known is told again after a second and not after a minute.
                "--rules.alert.resend-delay=1s".to_owned(),
            ],
        );
        [alertmanager, prometheus]
    }

    async fn query(&self, expr: &str) -> Vec<Value> {
        let mut url = url::Url::parse(&format!("http://127.0.0.1:{}/api/v1/query", self.prometheus)).unwrap();
        url.query_pairs_mut().append_pair("query", expr);
        let Ok(answer) = crate::harness::server::client().get(url).send().await else { return Vec::new() };
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

fn adapt(file: &str, words: &[(&str, &str)]) -> String {
    let mut text = super::read(file);
    for (from, to) in words {
        assert!(text.contains(from), "{file} has no {from:?} any more");
        text = text.replace(from, to);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_with_its_token_and_an_alert_reaches_mailbox_and_webhook() {
    if !available(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let folder = Folder::new();
    let token = "a-token-of-this-test-and-no-other";
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token));
    // As compose gives it: the hash, and what its holder may do.
    let server = Server::start(
        probity()
            .args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--data-dir"])
            .arg(folder.0.join("data"))
            .arg("--flows")
            .arg(folder.write("flows.json", &json!([])))
            .env("PROBITY_AUTH_TOKENS", format!("prometheus={hash}"))
            .env("PROBITY_AUTH_PERMISSIONS", "prometheus=probity.read"),
    );
    let (mail, mails) = mailbox().await;
    let (hook, calls) = webhook().await;
    let watch = Watch::new(&server.base, token, mail, &hook);
    let _running = watch.start();
    until("Prometheus has scraped the server", async || {
        watch.query(r#"up{job="probity"} == 1"#).await.len() == 1 && watch.query("probity_runs_open").await.len() == 1
    })
    .await;
    // Without the token nobody is told anything, and with it nobody changes anything.
    assert_eq!(crate::serve::get(&format!("{}/metrics", server.base)).await.0, 401);
    let client = crate::harness::server::client();
    let change = client.post(format!("{}/probity/v1/agreements/x/evaluate", server.base)).bearer_auth(token);
    assert_eq!(change.send().await.unwrap().status(), 403);
    until("the alert came by both ways", async || {
        let fired = |text: &str| text.contains("ProbityMissing");
        calls.lock().unwrap().iter().any(|call| fired(&call.to_string()))
            && mails.lock().unwrap().iter().any(|mail| fired(mail))
    })
    .await;
    let call = calls.lock().unwrap()[0].clone();
    assert_eq!(call["alerts"][0]["labels"]["severity"], "page");
    assert_eq!(call["alerts"][0]["annotations"]["summary"], "No server of Probity answers");
}
