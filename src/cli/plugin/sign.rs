//! `probity plugin sign` and `keygen`: minisign keys and signatures.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{failed, not_so, print, reported, usage};
use crate::clock::Clock;
use crate::plugin::package::{self, Origin};
use crate::plugin::signature;

#[derive(Args)]
pub(super) struct SignArgs {
    /// The plugin's folder or .wasm file
    path: PathBuf,
    /// The secret key's file, as `probity plugin keygen` or `minisign -G` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file that holds the key's password; asked for when it is needed and not given
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(super) fn sign(args: &SignArgs) -> Result<ExitCode, ExitCode> {
    let checked = package::check(&args.path, Origin::Given);
    reported(&checked.diagnostics)?;
    let Some((package, loaded)) = checked.package else { return Err(ExitCode::from(1)) };
    if !package.is_file() && package.manifest.digest.is_none() {
        return Err(not_so(
            "the manifest has no digest, so its signature would say nothing about the code; run `probity plugin build` \
             first",
        ));
    }
    let text = std::fs::read_to_string(&args.key).map_err(failed(&args.key))?;
    let key = signature::secret_key(&text, || password(args.password_file.as_deref(), "Password of the key: "))
        .map_err(|problem| not_so(format!("{}: {problem}", args.key.display())))?;
    let comment = format!("{} {} {}", package.manifest.title(), loaded.digest, Clock::System.now());
    let signed = signature::sign(&key, &loaded.signed, &comment).map_err(not_so)?;
    let file = package.signature_path();
    std::fs::write(&file, signed).map_err(failed(&file))?;
    let line = signature::public_line(&key).map_err(not_so)?;
    print(&format!("signed {}: {}\n", package.manifest.title(), file.display()));
    print(&format!("who trusts this key has in the configuration:\n\n[plugins]\ntrusted_keys = [\"{line}\"]\n"));
    Ok(ExitCode::SUCCESS)
}

#[derive(Args)]
pub(super) struct KeygenArgs {
    /// File for the secret key; the public one goes beside it as .pub
    #[arg(long, value_name = "FILE", default_value = "plugin.key")]
    out: PathBuf,
    /// Leave the secret key unprotected, for machines that sign by themselves
    #[arg(long)]
    no_password: bool,
    /// The file that holds the password; asked for when it is not given
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    password_file: Option<PathBuf>,
}

pub(super) fn keygen(args: &KeygenArgs) -> Result<ExitCode, ExitCode> {
    let secret_file = &args.out;
    let public_file = secret_file.with_extension("pub");
    for file in [secret_file, &public_file] {
        if file.exists() {
            return Err(not_so(format!("{} is there already; a key is not written over", file.display())));
        }
    }
    let password = match args.no_password {
        true => None,
        false => {
            let first = password(args.password_file.as_deref(), "Password for the new key: ").map_err(|e| usage(&e))?;
            if args.password_file.is_none() && password(None, "The same once more: ").map_err(|e| usage(&e))? != first {
                return Err(not_so("the passwords differ"));
            }
            Some(first)
        }
    };
    let keys = signature::generate(password.as_deref()).map_err(not_so)?;
    private(secret_file, &keys.secret)?;
    std::fs::write(&public_file, &keys.public).map_err(failed(&public_file))?;
    print(&format!(
        "key {}\nsecret: {} (keep it to yourself)\npublic: {}\n\n[plugins]\ntrusted_keys = [\"{}\"]\n",
        keys.id,
        secret_file.display(),
        public_file.display(),
        keys.line
    ));
    Ok(ExitCode::SUCCESS)
}

/// A password out of a file, else asked for.
fn password(file: Option<&Path>, prompt: &str) -> Result<String, String> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_string());
    }
    if !std::io::stdin().is_terminal() {
        return Err("there is nobody to ask for the password; give it with --password-file FILE".into());
    }
    rpassword::prompt_password(prompt).map_err(|e| format!("cannot read the password: {e}"))
}

/// A new file that only its owner can read.
fn private(path: &Path, text: &str) -> Result<(), ExitCode> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::File::options().create_new(true).write(true).mode(0o600).open(path).map_err(failed(path))?;
    file.write_all(text.as_bytes()).map_err(failed(path))
}
