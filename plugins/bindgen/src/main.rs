//! Writes everything that follows from the contract `plugins/wit/plugin.wit`: the SDK's copy of it, the SDK's Rust
//! bindings, those for C and `docs/plugins/reference.md`. With `--check` it writes nothing and fails when one of them is stale.
//!
//! Run it in `plugins/` after a change of the contract: `cargo run --manifest-path bindgen/Cargo.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

mod bindings;
mod c;
mod reference;

fn main() -> Result<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => bail!("unknown argument `{other}`; only `--check` is known"),
    };
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate lies in plugins/")?;
    let contract = plugins.join("wit/plugin.wit");
    let wit = std::fs::read_to_string(&contract).with_context(|| format!("{} cannot be read", contract.display()))?;

    let made = [
        (plugins.join("sdk/wit/plugin.wit"), wit.clone()),
        (plugins.join("python/sdk/plugin.wit"), wit.clone()),
        (plugins.join("sdk/src/bindings.rs"), bindings::generate(&contract, "plugin")?),
        (plugins.join("javascript/src/bindings.rs"), bindings::generate(&contract, "interpreter")?),
        (plugins.join("../docs/plugins/reference.md"), reference::generate(&contract)?),
    ];
    let c = c::generate(&contract)?.into_iter().map(|(name, text)| (plugins.join("c/sdk").join(name), text));
    let mut stale = Vec::new();
    for (path, text) in made.into_iter().chain(c) {
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            write(&path, &text)?;
        }
    }
    if !stale.is_empty() {
        let names: Vec<String> = stale.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "older than {}: {}\nrun `cargo run --manifest-path bindgen/Cargo.toml` in plugins/",
            contract.display(),
            names.join(", ")
        );
    }
    Ok(())
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
