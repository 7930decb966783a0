//! `probity plugin` as an author and an operator use it: build, check, test, pack, sign, install, grant.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::rig;

/// A plugin's folder, a data folder and a configuration file.
struct Desk {
    folder: tempfile::TempDir,
}

const MANIFEST: &str = r#"# Mine.
schema = 1
name = "pass"
version = "1.0.0"
contract = "1.1"
license = "Apache-2.0"
nodes = ["guest-pass"]
component = "pass.wasm"

[build]
lang = "wat"
command = "cp source.wasm core.wasm"
artifact = "core.wasm"
"#;

const CASES: &str = r#"
tests:
  - name: a message goes on as it came
    input: [{payload: 1, topic: a}, {payload: {deep: [1, 2]}}]
    expect:
      emitted: [{port: 0, msg: {payload: 1, topic: a}}, {port: 0, msg: {payload: {deep: [1, 2]}}}]
      errors: []
      requests: []
"#;

impl Desk {
    fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        desk.write("pass/plugin.toml", MANIFEST.as_bytes());
        desk.write("pass/tests/pass.yaml", CASES.as_bytes());
        desk.write("pass/source.wasm", &rig::component("pass", |t| t));
        desk
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
        command.current_dir(self.folder.path()).arg("plugin").args(arguments);
        command.env("PROBITY_DATA_DIR", self.folder.path().join("data")).output().unwrap()
    }

    /// Runs a command that must end with this code; gives what it printed.
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    fn list(&self, more: &[&str]) -> Value {
        let output = self.run(&[&["list", "--format", "json"], more].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn plugin<'l>(list: &'l Value, name: &str) -> &'l Value {
    list["plugins"].as_array().unwrap().iter().find(|p| p["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn code_is_compiled_ahead() {
    let desk = Desk::new();
    desk.write("given/pass/plugin.toml", MANIFEST.as_bytes());
    desk.write("given/pass/pass.wasm", &rig::component("pass", |t| t));
    let text = desk.ends(0, &["compile", "pass", "--plugins-dir", "given", "--into", "cache"]);
    assert!(text.contains("pass: "), "{text}");
    let compiled = std::fs::read_dir(desk.folder.path().join("cache")).unwrap().flatten();
    let names: Vec<_> = compiled.map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|n| n.ends_with(".code")) && names.iter().any(|n| n == "key"), "{names:?}");
    desk.write("given/pass/pass.wasm", b"no component");
    desk.ends(1, &["compile", "pass", "--plugins-dir", "given", "--into", "cache"]);
}

#[test]
fn from_source_to_an_installed_and_signed_plugin() {
    let desk = Desk::new();
    assert!(desk.ends(1, &["check", "pass"]).contains("`probity plugin build` makes it"));
    desk.ends(0, &["build", "pass", "--pack", "pass.wasm"]);
    assert!(desk.read("pass/plugin.toml").contains("component = \"pass.wasm\"\ndigest = \"sha256:"));
    assert!(desk.read("pass/plugin.toml").starts_with("# Mine.\n"), "the author's text stays");
    desk.ends(0, &["check", "pass"]);
    assert!(desk.ends(1, &["check", "pass", "pass"]).contains("\"guest-pass\" is already given by plugin pass"));
    assert_eq!(desk.ends(0, &["test", "pass"]).lines().last(), Some("1 passed, 0 failed"));

    // Signatures are required: unsigned it is refused, signed by a trusted key it comes in, changed it is refused.
    desk.ends(0, &["keygen", "--out", "key", "--no-password"]);
    let key = desk.read("key.pub").lines().nth(1).unwrap().to_string();
    desk.write(
        "required.toml",
        format!("[plugins]\nsignatures = \"required\"\ntrusted_keys = [\"{key}\"]\n").as_bytes(),
    );
    let refused = desk.ends(1, &["install", "pass.wasm", "--config", "required.toml"]);
    assert!(refused.contains("is not signed; sign it with `probity plugin sign"), "{refused}");
    desk.ends(0, &["sign", "pass.wasm", "--key", "key"]);
    let installed = desk.ends(0, &["install", "pass.wasm", "--config", "required.toml"]);
    assert!(installed.contains("installed pass 1.0.0"), "{installed}");
    let list = desk.list(&["--config", "required.toml"]);
    assert_eq!(plugin(&list, "pass")["signature"]["state"], "trusted");
    assert_eq!(plugin(&list, "pass")["starts"], true);
    let mut bytes = desk.bytes("pass.wasm");
    let at = bytes.windows(9).position(|w| w == b"For tests").unwrap();
    bytes[at] = b'f';
    desk.write("data/plugins/pass.wasm", &bytes);
    let list = desk.list(&["--config", "required.toml"]);
    assert_eq!(plugin(&list, "pass")["starts"], false, "{list}");
}

#[test]
fn a_failing_case_says_what_was_expected_and_what_came() {
    let desk = Desk::new();
    desk.ends(0, &["build", "pass"]);
    desk.write("pass/tests/pass.yaml", CASES.replace("payload: 1, topic: a}}", "payload: 2}}").as_bytes());
    let text = desk.ends(1, &["test", "pass"]);
    assert!(text.contains("expect.emitted[0].msg.payload: expected 2, found 1"), "{text}");
    desk.write("pass/tests/pass.yaml", b"tests:\n  - name: x\n    inputs: 1\n    expect: {}\n");
    assert!(desk.ends(1, &["test", "pass"]).contains("inputs"));
}

#[test]
fn grants_are_kept_with_who_and_never_wider_than_asked() {
    let desk = Desk::new();
    let asks = "\n[[capability]]\nname = \"http\"\nreason = \"asks\"\nhosts = [\"*.example.org\"]\n";
    desk.write(
        "plugins/asks/plugin.toml",
        (MANIFEST
            .replace("[build]", "[limits]")
            .replace("lang = \"wat\"\n", "")
            .replace("command = \"cp source.wasm core.wasm\"\nartifact = \"core.wasm\"\n", "")
            + asks)
            .as_bytes(),
    );
    desk.write("plugins/asks/pass.wasm", &rig::component("http", |t| t));
    let place = ["--plugins-dir", "plugins"];
    let run = |code: i32, more: &[&str]| desk.ends(code, &[more, &place].concat());
    assert!(run(0, &["inspect", "pass"]).contains("http (*.example.org): asks [not granted]"));
    let refused = run(1, &["grant", "pass", "http", "--host", "evil.test"]);
    assert!(refused.contains("does not ask for host evil.test; it asks for *.example.org"), "{refused}");
    assert!(run(2, &["grant", "pass", "htpp"]).contains("did you mean \"http\"?"));
    assert!(run(1, &["grant", "pass", "state"]).contains("does not ask for \"state\""));
    run(0, &["grant", "pass", "http", "--host", "api.example.org"]);
    let list = desk.list(&place);
    assert_eq!(plugin(&list, "pass")["granted"], serde_json::json!(["http"]));
    let grants: Value = serde_json::from_str(&desk.read("data/plugins/grants.json")).unwrap();
    let grant = &grants["plugins"]["pass"]["http"];
    assert_eq!(grant["hosts"], serde_json::json!(["api.example.org"]));
    assert!(grant["by"].as_str().unwrap().starts_with("os:") && grant["at"].is_string(), "{grant}");
    run(0, &["revoke", "pass"]);
    assert_eq!(plugin(&desk.list(&place), "pass")["granted"], serde_json::json!([]));
    assert!(run(1, &["grant", "gone", "http"]).contains("there is no plugin \"gone\""));
}

#[test]
fn a_changed_file_and_a_wrong_digest_are_not_installed() {
    let desk = Desk::new();
    let packed = desk.ends(0, &["build", "pass", "--pack"]);
    assert!(packed.contains("packed pass/pass-1.0.0.wasm"), "{packed}");
    desk.ends(0, &["build", "pass", "--pack", "pass.wasm"]);
    let wrong = format!("sha256:{}", "0".repeat(64));
    assert!(desk.ends(1, &["install", "pass.wasm", "--digest", &wrong]).contains("it is not installed"));
    assert!(!desk.folder.path().join("data/plugins/pass.wasm").exists());
    desk.ends(0, &["install", "pass"]);
    assert!(desk.folder.path().join("data/plugins/pass/pass.wasm").is_file());
    assert!(!desk.folder.path().join("data/plugins/pass/source.wasm").exists(), "only a package's files are taken");
    let replaced = desk.ends(0, &["install", "pass.wasm"]);
    assert!(replaced.contains("replaces pass 1.0.0"), "{replaced}");
    assert!(!desk.folder.path().join("data/plugins/pass").exists());
    assert!(hidden(&desk.folder.path().join("data/plugins")).is_empty(), "nothing is left half done");
    assert!(desk.ends(2, &["install", "http://plugins.test/x.wasm"]).contains("use https://"));
}

/// Serves the files of a folder on loopback.
async fn serve(folder: std::path::PathBuf) -> std::net::SocketAddr {
    use axum::http::{StatusCode, Uri};
    let files = move |uri: Uri| {
        let found = std::fs::read(folder.join(uri.path().trim_start_matches('/')));
        std::future::ready(found.map_err(|_| StatusCode::NOT_FOUND))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(files)).await });
    address
}

/// Packed, signed and published, a plugin comes in from a URL and from an OCI layout, held to signature and digest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_plugin_is_installed_from_a_url_and_from_an_oci_layout() {
    let desk = Desk::new();
    desk.write("site/index.html", b"plugins");
    desk.ends(0, &["build", "pass", "--pack", "site/pass-1.0.0.wasm"]);
    desk.ends(0, &["keygen", "--out", "key", "--no-password"]);
    let key = desk.read("key.pub").lines().nth(1).unwrap().to_string();
    let config = format!("[plugins]\nsignatures = \"required\"\ntrusted_keys = [\"{key}\"]\n");
    desk.write("required.toml", config.as_bytes());
    let required = ["--config", "required.toml"];
    let address = serve(desk.folder.path().join("site")).await;
    let url = format!("http://{address}/pass-1.0.0.wasm");
    let install = |code: i32, more: &[&str]| desk.ends(code, &[&["install"], more, &required].concat());

    assert!(install(1, &[&url]).contains("is not signed"), "nobody signed it yet");
    desk.ends(0, &["sign", "site/pass-1.0.0.wasm", "--key", "key"]);
    assert!(install(0, &[&url]).contains("installed pass 1.0.0"));
    assert_eq!(plugin(&desk.list(&required), "pass")["signature"]["state"], "trusted");
    assert!(install(1, &[&format!("http://{address}/gone.wasm")]).contains("the server answered 404"));
    assert!(install(1, &[&url, "--digest", &format!("sha256:{}", "0".repeat(64))]).contains("it is not installed"));

    // As `oras push` and `skopeo` lay an artifact out.
    let (wasm, signature) = (desk.bytes("site/pass-1.0.0.wasm"), desk.bytes("site/pass-1.0.0.wasm.minisig"));
    let blob = |media: &str, bytes: &[u8], title: &str| {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
        desk.write(&format!("layout/blobs/sha256/{digest}"), bytes);
        let annotations = serde_json::json!({ "org.opencontainers.image.title": title });
        serde_json::json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len(), "annotations": annotations })
    };
    let layers = [
        blob("application/wasm", &wasm, "pass-1.0.0.wasm"),
        blob("application/octet-stream", &signature, "pass-1.0.0.wasm.minisig"),
    ];
    let config = blob("application/vnd.oci.empty.v1+json", b"{}", "");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.wasm.component.v1", "config": config, "layers": layers,
    });
    let image = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes(), "");
    desk.write("layout/oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [image] });
    desk.write("layout/index.json", index.to_string().as_bytes());
    std::fs::remove_dir_all(desk.folder.path().join("data")).unwrap();
    assert!(install(0, &["layout"]).contains("installed pass 1.0.0"));
    let listed = desk.list(&required);
    assert_eq!(
        (&plugin(&listed, "pass")["signature"]["state"], &plugin(&listed, "pass")["starts"]),
        (&"trusted".into(), &true.into())
    );
    let code =
        desk.folder.path().join("layout/blobs/sha256").join(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&wasm)));
    std::fs::write(code, [&wasm[..wasm.len() - 1], b"x"].concat()).unwrap();
    install(1, &["layout"]);
}

fn hidden(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|n| n.starts_with('.')).collect()
}

#[test]
fn a_plugin_of_no_name_is_not_made() {
    let desk = Desk::new();
    assert!(desk.ends(2, &["new", "Check Links"]).contains("is no name for a plugin"));
    assert!(desk.ends(1, &["new", "pass"]).contains("is there already and not empty"));
}
