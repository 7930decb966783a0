//! Rebuilds when the content that `app` embeds changes, new files included.

fn main() {
    for folder in ["flows", "agreements"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
