//! Rebuilds when content that is embedded changes, new files included, and lists the manifests of our plugins and the
//! files of their templates for embedding: only sources, never what a build left beside them.

#[path = "build/editor.rs"]
mod editor;
#[path = "build/order.rs"]
mod order;

use std::fmt::Write;
use std::path::{Path, PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() {
    for folder in ["flows", "agreements"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    // Packed relative relocations: three per cent of the size, and 1.8 MB less memory, since the loader reads the whole
    // table at each start. glibc has them since 2.36, which Debian 12 has.
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to write"));
    let plugins = root.join("plugins");
    let mut manifests = String::from("static MANIFESTS: &[(&str, &str)] = &[\n");
    let mut templates = String::from("static TEMPLATES: &[(&str, Files)] = &[\n");
    for folder in folders(&plugins) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let manifest = folder.join("plugin.toml");
        if manifest.is_file() {
            writeln!(manifests, "    ({name:?}, include_str!({manifest:?})),").expect("a string takes all");
            println!("cargo::rerun-if-changed={}", manifest.display());
        }
        let template = folder.join("template");
        if template.is_dir() {
            println!("cargo::rerun-if-changed={}", template.display());
            writeln!(templates, "    ({name:?}, &[").expect("a string takes all");
            for file in files(&template) {
                let inside = file.strip_prefix(&template).expect("walked below it").display().to_string();
                writeln!(templates, "        ({inside:?}, include_bytes!({file:?})),").expect("a string takes all");
                println!("cargo::rerun-if-changed={}", file.display());
            }
            templates.push_str("    ]),\n");
        }
    }
    editor::embed(&out);
    order::link(&root, &out);
    for text in [&mut manifests, &mut templates] {
        text.push_str("];\n");
    }
    // An SDK goes into an author's folder whole.
    for (name, folder) in [("SDK", "sdk"), ("C_SDK", "c/sdk"), ("PYTHON_SDK", "python/sdk")] {
        writeln!(templates, "static {name}: Files = &[").expect("a string takes all");
        let sdk = plugins.join(folder);
        for file in files(&sdk).iter().filter(|f| !f.starts_with(sdk.join("template"))) {
            let inside = file.strip_prefix(&sdk).expect("walked below it").display().to_string();
            writeln!(templates, "    ({inside:?}, include_bytes!({file:?})),").expect("a string takes all");
            println!("cargo::rerun-if-changed={}", file.display());
        }
        templates.push_str("];\n");
    }
    // Not the folder `plugins` itself: builds of guests below it would set this off. A new plugin is noticed with
    // the workspace's list.
    if plugins.join("Cargo.toml").is_file() {
        println!("cargo::rerun-if-changed=plugins/Cargo.toml");
    }
    println!("cargo::rerun-if-changed=build.rs");
    std::fs::write(out.join("shipped_plugins.rs"), manifests).expect("cargo's folder can be written");
    std::fs::write(out.join("plugin_templates.rs"), templates).expect("cargo's folder can be written");
}

fn folders(path: &Path) -> Vec<PathBuf> {
    entries(path).into_iter().filter(|p| p.is_dir()).collect()
}

/// Every source file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    const BUILT: &[&str] = &["target", "dist", "node_modules", "__pycache__", "Cargo.lock"];
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if BUILT.contains(&name.as_str()) || name.ends_with(".wasm") {
            continue;
        }
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(read) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = read.flatten().map(|e| e.path()).collect();
    entries.sort();
    entries
}
