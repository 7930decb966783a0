//! The image: the final stages of the shipped Dockerfile by Debian's buildah, around the binary that these tests built
//! (base images for the build stages cannot be had here; their results are given as folders), looked at from the outside;
//! the list of what is in it; and that a static binary of this toolchain needs nothing beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// `tests/all` sets it: then a missing buildah is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_BUILDAH";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn available() -> bool {
    let there = Path::new("/usr/bin/buildah").exists() && is_root();
    assert!(
        there || std::env::var_os(REQUIRED).is_none(),
        "buildah is missing, or this is not root: apt-get install buildah"
    );
    if !there {
        eprintln!("SKIPPED: no buildah, or not root; apt-get install buildah busybox-static");
    }
    there
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Buildah with its images in a folder of the test.
struct Buildah(tempfile::TempDir);

impl Buildah {
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("/usr/bin/buildah");
        command.arg("--root").arg(self.0.path().join("root")).arg("--runroot").arg(self.0.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command.output().expect("buildah runs")
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the build stages would have made, as folders.
    fn stages(&self) {
        let build = self.path("build");
        for folder in ["out/data", "etc/ssl/certs"] {
            std::fs::create_dir_all(build.join(folder)).expect("a folder");
        }
        // A link, not a copy, where that goes.
        let binary = env!("CARGO_BIN_EXE_probity");
        let linked = std::fs::hard_link(binary, build.join("out/probity"));
        linked.or_else(|_| std::fs::copy(binary, build.join("out/probity")).map(drop)).expect("the binary is there");
        std::fs::write(build.join("out/sbom.cdx.json"), sbom()).expect("written");
        std::fs::write(build.join("etc/ssl/certs/ca-certificates.crt"), "certificates").expect("written");
        let dist = self.path("plugins/src/plugins/dist");
        std::fs::create_dir_all(&dist).expect("a folder");
        std::fs::write(dist.join("a-guest.wasm"), "guest").expect("written");
        let curl =
            Command::new("sh").arg(super::file("deploy/bin/curl-files.sh")).arg(self.path("curl/out/curl")).output();
        let curl = curl.expect("sh runs");
        assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    }

    /// Builds a stage of the shipped Dockerfile.
    fn build(&self, target: &str) {
        let contexts = ["build", "plugins", "curl"].map(|stage| format!("{stage}={}", self.path(stage).display()));
        let dockerfile = super::file("deploy/Dockerfile").display().to_string();
        let root = env!("CARGO_MANIFEST_DIR");
        let mut arguments =
            vec!["bud", "--format", "docker", "--isolation", "chroot", "--target", target, "--tag", target];
        for context in &contexts {
            arguments.extend(["--build-context", context]);
        }
        arguments.extend(["--file", &dockerfile, root]);
        self.said(&arguments);
    }
}

/// What cargo says the binary is made of, as the Dockerfile writes it.
fn sbom() -> String {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1"]);
    metadata.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let metadata = metadata.output().expect("cargo runs");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("metadata.json");
    std::fs::write(&file, metadata.stdout).expect("written");
    let input = std::fs::File::open(&file).expect("it is there");
    let output =
        Command::new("python3").arg(super::file("deploy/bin/sbom.py")).stdin(input).output().expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_image_is_one_binary_on_nothing_and_says_how_it_is() {
    if !available() {
        return;
    }
    let buildah = Buildah(tempfile::tempdir().expect("a folder"));
    buildah.stages();
    buildah.build("probity");
    let inspected: Value =
        serde_json::from_str(&buildah.said(&["inspect", "--type", "image", "probity"])).expect("JSON");
    let config = &inspected["Docker"]["config"];
    assert_eq!(config["User"], "1000:1000");
    assert_eq!(config["Entrypoint"], json!(["/probity"]));
    assert_eq!(config["Cmd"], json!(["serve"]));
    assert_eq!(config["ExposedPorts"], json!({"1880/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/probity", "health"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
    let environment = config["Env"].as_array().expect("a list");
    assert!(environment.contains(&json!("PROBITY_LISTEN=0.0.0.0:1880")), "{environment:?}");
    let root = mounted(&buildah, "probity");
    let mut top: Vec<String> = std::fs::read_dir(&root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !["dev", "proc", "sys", "run"].contains(&name.as_str()))
        .collect();
    top.sort();
    assert_eq!(top, ["data", "etc", "plugins", "probity", "usr"], "nothing else, and no shell");
    for file in [
        "usr/share/probity/flows",
        "usr/share/probity/agreements",
        "usr/share/probity/sbom.cdx.json",
        "plugins/a-guest.wasm",
    ] {
        assert!(root.join(file).exists(), "{file}");
    }
    owned_by_its_user(&root.join("data"));
    owned_by_its_user(&root.join("plugins"));

    buildah.build("with-curl");
    the_unchanged_health_check_runs(&mounted(&buildah, "with-curl"));
}

/// A container's file system.
fn mounted(buildah: &Buildah, image: &str) -> PathBuf {
    let container = buildah.said(&["from", "--pull-never", image]);
    PathBuf::from(buildah.said(&["mount", &container]))
}

fn owned_by_its_user(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).expect("it is there");
    assert_eq!((metadata.uid(), metadata.gid()), (1000, 1000), "{}", path.display());
}

/// The line of Node-RED's image, in both of compose's forms, run inside against a real server, there and gone.
fn the_unchanged_health_check_runs(root: &Path) {
    let folder = crate::serve::Folder::new();
    let mut command = crate::serve::probity();
    command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", "memory:", "--data-dir"]);
    let server = crate::serve::Server::start(command.arg(folder.0.join("data")));
    let run = |arguments: &[&str]| {
        let status = Command::new("chroot").arg(root).args(arguments).stdout(std::process::Stdio::null()).status();
        status.expect("chroot runs").code()
    };
    let url = format!("{}/", server.base);
    let shell = format!("curl -f -s {url} || exit 1");
    assert_eq!(run(&["/usr/bin/curl", "-f", "-s", &url]), Some(0));
    assert_eq!(run(&["/bin/sh", "-c", &shell]), Some(0));
    drop(server);
    assert_eq!(run(&["/bin/sh", "-c", &shell]), Some(1));
}

#[test]
fn what_is_in_the_binary_is_listed_with_licences_and_hashes() {
    let text = sbom();
    assert!(text == sbom(), "the same sources give the same list");
    let bom: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    assert_eq!(bom["metadata"]["component"]["name"], "probity");
    let components = bom["components"].as_array().expect("a list");
    let names: Vec<&str> = components.iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(["axum", "sqlx", "wasmtime", "tokio"].iter().all(|name| names.contains(name)));
    assert!(
        !["proptest", "wasm-smith", "tar"].iter().any(|name| names.contains(name)),
        "tests and builds are not in it"
    );
    let mut references: Vec<&str> = vec![bom["metadata"]["component"]["bom-ref"].as_str().expect("text")];
    for component in components {
        let name = &component["name"];
        let expression =
            component["licenses"][0]["expression"].as_str().unwrap_or_else(|| panic!("{name}: no licence"));
        spdx::Expression::parse(expression).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64), "{name}");
        references.push(component["bom-ref"].as_str().expect("text"));
    }
    let known: std::collections::BTreeSet<&str> = references.iter().copied().collect();
    assert_eq!(known.len(), references.len(), "each once");
    for dependency in bom["dependencies"].as_array().expect("a list") {
        let on = dependency["dependsOn"].as_array().expect("a list").iter().chain([&dependency["ref"]]);
        assert!(on.filter_map(Value::as_str).all(|name| known.contains(name)), "{dependency}");
    }
}

/// glibc linked in still finds hosts by name, in a root with nothing but the list of hosts: what the image relies on.
#[test]
fn a_static_binary_of_this_toolchain_needs_nothing_beside_it() {
    if !is_root() {
        eprintln!("SKIPPED: only root may change the root folder");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("names.rs");
    let look_up = "use std::net::ToSocketAddrs;\nfn main() { for a in (\"database.test\", 5432u16).to_socket_addrs().expect(\"found\") { println!(\"{a}\"); } }\n";
    std::fs::write(&source, look_up).expect("written");
    // The flags of the Dockerfile.
    let flags = super::read("deploy/Dockerfile");
    let flags =
        flags.lines().find_map(|line| line.strip_prefix("ENV RUSTFLAGS=")).expect("its flags").trim_matches('"');
    let mut rustc = Command::new("rustc");
    rustc.args(flags.split(' ')).args(["--target", "x86_64-unknown-linux-gnu", "-o"]).arg(folder.path().join("names"));
    let built = rustc.arg(&source).output().expect("rustc runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::create_dir(folder.path().join("etc")).expect("a folder");
    std::fs::write(folder.path().join("etc/hosts"), "10.1.2.3 database.test\n").expect("written");
    let found = Command::new("chroot").arg(folder.path()).arg("/names").output().expect("chroot runs");
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(said, "10.1.2.3:5432\n", "{}", String::from_utf8_lossy(&found.stderr));
}
