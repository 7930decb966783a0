//! Both forms of a package, and finding packages.

use std::collections::BTreeMap;
use std::path::Path;

use super::guest;
use crate::plugin::discover::{Place, discover};
use crate::plugin::manifest;
use crate::plugin::package::{self, Origin, Package};

fn manifest_text(name: &str, version: &str, code: &str) -> String {
    format!("schema = 1\nname = \"{name}\"\nversion = \"{version}\"\ncontract = \"1.0\"\nlicense = \"MIT\"\n{code}\n")
}

fn write(folder: &Path, manifest: &str, name: &str, code: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    std::fs::write(folder.join(name), code).unwrap();
}

#[test]
fn folder_and_file_hold_the_same_package() {
    let component = guest::component("import node; export handler;", &BTreeMap::new());
    for (code, name, bytes) in [
        ("component = \"x.wasm\"", "x.wasm", component.as_slice()),
        ("script = \"x.js\"", "x.js", b"export const nodes = [];".as_slice()),
    ] {
        let place = tempfile::tempdir().unwrap();
        let (folder, file) = (place.path().join("x"), place.path().join("packed.wasm"));
        let text = manifest_text("x", "1.0.0", code);
        write(&folder, &text, name, bytes);
        std::fs::write(folder.join("README.md"), "read me").unwrap();
        let unpacked = package::check(&folder, Origin::Given);
        assert!(unpacked.diagnostics.is_empty(), "{:?}", unpacked.diagnostics);
        let (_, loaded) = unpacked.package.unwrap();
        let (manifest, _) = manifest::read(&text);
        std::fs::write(&file, package::pack(&text, &manifest, &loaded.code, loaded.readme.as_deref())).unwrap();
        let packed = package::check(&file, Origin::Given);
        assert!(packed.diagnostics.is_empty(), "{:?}", packed.diagnostics);
        let (package, packed) = packed.package.unwrap();
        assert_eq!(package.manifest, manifest);
        assert_eq!((&packed.code, &packed.digest), (&loaded.code, &loaded.digest));
        assert_eq!(packed.readme.as_deref(), Some("read me"));
        assert_ne!(packed.signed, loaded.signed);
    }
}

#[test]
fn a_changed_component_does_not_load() {
    let component = guest::component("import node; export handler;", &BTreeMap::new());
    let place = tempfile::tempdir().unwrap();
    let code = format!("component = \"x.wasm\"\ndigest = \"{}\"", package::sha256(&component));
    write(place.path(), &manifest_text("x", "1.0.0", &code), "x.wasm", &component);
    let package = Package::open(place.path(), Origin::Given).unwrap();
    assert!(package.load().is_ok());
    let mut changed = component.clone();
    changed.push(0);
    std::fs::write(place.path().join("x.wasm"), changed).unwrap();
    let problems = package.load().unwrap_err();
    assert_eq!(problems[0].code, "digest-mismatch");
    let worked_on = Package::open(place.path(), Origin::Development).unwrap();
    assert!(worked_on.load().is_ok(), "its next build notes the digest");
}

#[test]
fn what_the_operator_chose_comes_first_and_the_loser_is_named() {
    let place = tempfile::tempdir().unwrap();
    let put = |folder: &str, name: &str, version: &str| {
        let text = manifest_text(name, version, "script = \"x.js\"");
        write(&place.path().join(folder), &text, "x.js", b"1");
    };
    put("given/a", "a", "1.0.0");
    put("given/a-new", "a", "1.10.0");
    put("given/a-old", "a", "1.9.0");
    put("installed/a", "a", "3.0.0");
    put("installed/b", "b", "2.0.0");
    put("shipped/b", "b", "9.0.0");
    put("shipped/c", "c", "1.0.0");
    put("shipped/.hidden", "d", "1.0.0");
    std::fs::write(place.path().join("shipped/loose.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let places = [
        (Origin::Given, "given"),
        (Origin::Installed, "installed"),
        (Origin::Shipped, "shipped"),
        (Origin::Shipped, "nowhere"),
        (Origin::Given, "nowhere"),
    ];
    let found = discover(&places.map(|(origin, path)| Place { origin, path: place.path().join(path) }));
    let titles: Vec<String> = found.packages.iter().map(|p| p.manifest.title()).collect();
    assert_eq!(titles, ["a 1.10.0", "b 2.0.0", "c 1.0.0"]);
    let codes: Vec<(&str, bool)> =
        found.diagnostics.iter().map(|d| (d.code.as_str(), d.severity == crate::model::Severity::Warning)).collect();
    let repeated = ("repeated-plugin", true);
    assert_eq!(codes, [("no-manifest", false), ("no-plugins-folder", false), repeated, repeated, repeated, repeated]);
}
