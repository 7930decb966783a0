//! Grants: narrower than asked, never wider, kept whole.

use super::*;
use crate::plugin::manifest;

const MANIFEST: &str = r#"
schema = 1
name = "x"
version = "1.0.0"
contract = "1.0"
license = "MIT"
component = "x.wasm"
[[capability]]
name = "http"
reason = "asks"
hosts = ["*.example.org", "localhost"]
[[capability]]
name = "secret"
reason = "signs in"
secrets = ["TOKEN", "KEY"]
[[capability]]
name = "files"
reason = "reads"
[[capability]]
name = "clock"
reason = "tells the time"
"#;

fn manifest() -> Manifest {
    let (manifest, problems) = manifest::read(MANIFEST);
    assert!(problems.is_empty(), "{problems:?}");
    manifest
}

fn decision(scope: Scope) -> Decision {
    Decision { granted: true, by: "os:ana".into(), at: "2026-01-01T00:00:00Z".parse().unwrap(), digest: None, scope }
}

fn hosts(list: &[&str]) -> Scope {
    Scope { hosts: list.iter().map(|h| h.parse().unwrap()).collect(), ..Scope::default() }
}

#[test]
fn nothing_is_granted_until_somebody_grants_it() {
    let (grants, manifest) = (Grants::default(), manifest());
    let granted = grants.granted(&manifest, "sha256:1", None);
    assert_eq!(granted, Granted::default());
    assert_eq!(
        grants.missing(&manifest, "sha256:1", &granted),
        [
            "plugin x: \"http\" is not granted. To allow it: probity plugin grant x http",
            "plugin x: \"secret\" is not granted. To allow it: probity plugin grant x secret",
            "plugin x: \"files\" is not granted. To allow it: probity plugin grant x files --folder DIR",
            "plugin x: \"clock\" is not granted. To allow it: probity plugin grant x clock",
        ]
    );
}

#[test]
fn a_grant_is_as_narrow_as_it_was_given_and_never_wider_than_asked() {
    let manifest = manifest();
    let mut grants = Grants::default();
    let now = |grants: &Grants| grants.granted(&manifest, "sha256:1", None).hosts;
    grants.grant("x", Capability::Http, decision(hosts(&["api.example.org", "evil.test"])));
    assert_eq!(now(&grants), ["api.example.org"], "the file does not beat the manifest");
    grants.grant("x", Capability::Http, decision(hosts(&["*.example.org"])));
    assert_eq!(now(&grants), ["api.example.org", "*.example.org"], "grants add up");
    grants.revoke("x", Capability::Http, decision(hosts(&["*.example.org"])));
    assert_eq!(now(&grants), ["api.example.org"]);
    grants.revoke("x", Capability::Http, decision(Scope::default()));
    let granted = grants.granted(&manifest, "sha256:1", None);
    assert!(!granted.allows("http") && granted.hosts.is_empty());
    let missing = grants.missing(&manifest, "sha256:1", &granted);
    assert!(missing[0].contains("was revoked by os:ana"), "{missing:?}");
}

#[test]
fn a_grant_bound_to_a_build_ends_with_it() {
    let manifest = manifest();
    let mut grants = Grants::default();
    let bound = Decision { digest: Some("sha256:1".into()), ..decision(Scope::default()) };
    grants.grant("x", Capability::Clock, bound);
    assert!(grants.granted(&manifest, "sha256:1", None).allows("clock"));
    let granted = grants.granted(&manifest, "sha256:2", None);
    assert!(!granted.allows("clock"));
    let missing = grants.missing(&manifest, "sha256:2", &granted);
    assert!(missing[3].contains("was granted to another build of it"), "{missing:?}");
}

#[test]
fn shipped_plugins_have_what_they_ask_for_until_it_is_revoked() {
    let manifest = manifest();
    let mut grants = Grants::default();
    let granted = grants.granted(&manifest, "sha256:1", Some(&manifest));
    assert!(granted.allows("clock") && granted.allows_secret("TOKEN"));
    assert_eq!(granted.hosts, ["*.example.org", "localhost"]);
    assert!(granted.folders.is_empty(), "folders are never given by default");
    grants.revoke("x", Capability::Secret, decision(Scope::default()));
    let granted = grants.granted(&manifest, "sha256:1", Some(&manifest));
    assert!(!granted.allows_secret("TOKEN") && granted.allows("clock"));
    // One that claims our name, but asks for more than ours, does not get the rest.
    let ours = Manifest { capabilities: Vec::new(), ..manifest.clone() };
    assert_eq!(Grants::default().granted(&manifest, "sha256:1", Some(&ours)), Granted::default());
}

#[test]
fn secrets_and_folders_are_granted_one_by_one() {
    let mut grants = Grants::default();
    grants.grant("x", Capability::Secret, decision(Scope { secrets: vec!["TOKEN".into()], ..Scope::default() }));
    grants.grant("x", Capability::Files, decision(Scope { folders: vec!["/srv/in".into()], ..Scope::default() }));
    let granted = grants.granted(&manifest(), "", None);
    assert!(granted.allows_secret("TOKEN") && !granted.allows_secret("KEY"));
    assert_eq!(granted.folders, [PathBuf::from("/srv/in")]);
}

#[test]
fn what_the_manifest_does_not_ask_for_cannot_be_granted() {
    let manifest = manifest();
    let problems = |capability, scope: &Scope| super::problems(&manifest, capability, scope);
    assert_eq!(
        problems(Capability::State, &Scope::default()),
        ["plugin x does not ask for \"state\"; it asks for http, secret, files, clock"]
    );
    assert_eq!(
        problems(Capability::Http, &hosts(&["evil.test", "a.example.org:443"])),
        ["plugin x does not ask for host evil.test; it asks for *.example.org, localhost"]
    );
    assert_eq!(problems(Capability::Clock, &hosts(&["localhost"])), ["hosts belong to \"http\", not to \"clock\""]);
    assert_eq!(problems(Capability::Files, &Scope::default()), ["which folders? Name them (--folder DIR)"]);
    let secret = Scope { secrets: vec!["OTHER".into()], ..Scope::default() };
    assert_eq!(
        problems(Capability::Secret, &secret),
        ["plugin x does not ask for secret OTHER; it asks for TOKEN, KEY"]
    );
}

#[test]
fn the_file_is_kept_whole_and_two_who_write_at_once_both_count() {
    let folder = std::env::temp_dir().join(format!("probity-grants-{}", uuid::Uuid::new_v4()));
    let file = path(&folder);
    assert_eq!(Grants::load(&file).unwrap().plugins().count(), 0);
    let writers: Vec<_> = (0..8)
        .map(|i| {
            let file = file.clone();
            std::thread::spawn(move || {
                let scope = hosts(&[&format!("h{i}.example.org")]);
                Grants::update(&file, |g| g.grant("x", Capability::Http, decision(scope))).unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let grants = Grants::load(&file).unwrap();
    let (_, decision) = grants.of("x").next().unwrap();
    assert_eq!((decision.scope.hosts.len(), decision.by.as_str()), (8, "os:ana"));
    std::fs::write(&file, "{").unwrap();
    assert!(matches!(Grants::load(&file), Err(GrantsError::Broken { .. })));
    assert!(Grants::update(&file, |_| ()).is_err(), "a broken file is not written over");
    std::fs::remove_dir_all(&folder).unwrap();
}
