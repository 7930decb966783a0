//! Lets the linker lay the functions that every start calls side by side. The kernel maps sixteen pages of the binary for
//! each one that is touched, so functions that lie scattered cost four times their size in memory: 24 MB of binary are
//! resident without this, 11 MB with it. `build/start-order` makes the list from a measured start.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;

/// Asks for the order where it is known to work: release builds for the platform that was measured, by rustc's own
/// linker. Names of functions carry hashes of the toolchain and of what they were built from; those that the linker does
/// not find it passes over, so that an old list is a smaller gain and nothing worse.
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
    let order = out.join("start.order");
    std::fs::write(&order, names).expect("cargo's folder can be written");
    println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={}", order.display());
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
