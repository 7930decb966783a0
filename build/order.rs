//! Lets the linker lay the functions that every start calls side by side. The kernel maps sixteen pages of the binary for
//! each one that is touched, so functions that lie scattered cost four times their size in memory: 24 MB of binary are
//! resident without this, 11 MB with it. `build/start-order` makes the list from a measured start.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;

/// Asks for the order where it is known to work: release builds for the platform that was measured, by rustc's own
/// linker. Names of functions carry hashes of the toolchain and of the crate they belong to; those that the linker does
/// not find it passes over, so that an old list is a smaller gain and nothing worse.
///
/// Link-time optimisation names a function it made visible to others `NAME.llvm.HASH`, where the hash is of all that was
/// compiled beside it: another one after every change of a line, and which functions are made visible changes, too. The
/// list has names without it. An ordering file takes whole names only; a linker script takes patterns, so functions with
/// such an end come first, in a section of their own before `.text`.
pub fn link(root: &Path, out: &Path) {
    let list = root.join("build/start.order.gz");
    println!("cargo::rerun-if-changed={}", list.display());
    println!("cargo::rerun-if-changed=build/order.rs");
    let is = |name: &str, wanted: &str| var(name).is_some_and(|value| value == wanted);
    if !is("PROFILE", "release") || !is("TARGET", "x86_64-unknown-linux-gnu") || !rustc_links_with_lld() {
        return;
    }
    let Ok(compressed) = std::fs::read(&list) else { return };
    let mut names = Vec::new();
    GzDecoder::new(&*compressed).read_to_end(&mut names).expect("build/start.order.gz is gzip");
    let names = String::from_utf8(names).expect("build/start.order.gz is text");
    let order = out.join("start.order");
    std::fs::write(&order, &names).expect("cargo's folder can be written");
    println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={}", order.display());
    let mut script = String::from("SECTIONS {\n  .text.start : {\n");
    for name in names.lines() {
        let _ = writeln!(script, "    *(.text.{name}.llvm.*)");
    }
    // With INSERT, all else lies as the linker itself would lay it.
    script.push_str("  }\n} INSERT BEFORE .text;\n");
    let first = out.join("start.ld");
    std::fs::write(&first, script).expect("cargo's folder can be written");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", first.display());
    println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
}

/// Whether nobody chose another linker, and this toolchain has the one that rustc takes since 1.90.
fn rustc_links_with_lld() -> bool {
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if var("RUSTC_LINKER").is_some() || ["linker", "fuse-ld"].iter().any(|word| flags.contains(word)) {
        return false;
    }
    let rustc = var("RUSTC").unwrap_or_else(|| "rustc".to_string());
    let Ok(asked) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim());
    sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld").exists()
}

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
