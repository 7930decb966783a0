//! `probity secrets`: where secrets come from, and new ones in the place of old. What a secret is is never printed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};

use super::{Settings, not_so, print, report, runtime, usage};
use crate::app;
use crate::config::Config;
use crate::config::secrets::{self, Standing};

#[derive(Args)]
pub(super) struct SecretsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Which secrets are set, from where, and whether everybody knows them.
    List(ListArgs),
    /// Make a new secret in the file that holds it; a running server uses it at once, and the old one for a while.
    Rotate(RotateArgs),
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
struct RotateArgs {
    #[command(flatten)]
    settings: Settings,
    /// auth.status_secret, director.secret, database_password (Postgres is given it, too) or auth.tokens.NAME
    key: String,
    /// auth.tokens.NAME: the file that gets the token; its hash goes where the tokens are
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) fn secrets(args: &SecretsArgs) -> ExitCode {
    match &args.command {
        Command::List(args) => list(args),
        Command::Rotate(args) => rotate(args),
    }
}

fn list(args: &ListArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let rows =
        secrets::standings(&config).into_iter().map(|Standing { key, origin, remark }| vec![key, origin, remark]);
    print(&report::table(&["secret", "from", ""], rows.collect()));
    ExitCode::SUCCESS
}

/// Keys whose secrets are ours to make.
const PLAIN: &[&str] = &["auth.status_secret", "director.secret"];

fn rotate(args: &RotateArgs) -> ExitCode {
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let token = args.key.strip_prefix("auth.tokens.").filter(|name| !name.is_empty());
    let holder = if token.is_some() { "auth.tokens" } else { args.key.as_str() };
    if token.is_none() && !PLAIN.contains(&holder) && holder != "database_password" {
        return usage(&format!(
            "{}: not a secret that Probity makes; expected {}, database_password or auth.tokens.NAME",
            args.key,
            PLAIN.join(", ")
        ));
    }
    let Some(file) = Config::file_of(holder) else {
        let variable = format!("PROBITY_{}_FILE", holder.to_uppercase().replace('.', "_"));
        return usage(&format!("{holder} does not stand in a file: {variable} must name one, which this can change"));
    };
    let done = match token {
        Some(name) => new_token(&file, name, args.to.as_deref()),
        None if holder == "database_password" => new_password(&config, &file),
        None => fresh().and_then(|secret| replace(&file, &secret)),
    };
    match done {
        Ok(()) => {
            let overlap_s = config.secrets.overlap_s;
            print(&format!(
                "{}: {} holds a new secret; the old one counts for {overlap_s} s yet where they overlap\n",
                args.key,
                file.display()
            ));
            ExitCode::SUCCESS
        }
        Err(problem) => not_so(format!("{}: {problem}", args.key)),
    }
}

/// 32 random bytes, hex.
fn fresh() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(hex::encode(bytes))
}

/// Puts a text into a file at one stroke, as far as the file can be exchanged; one that is mounted by itself is written
/// over.
fn replace(file: &Path, text: &str) -> Result<(), String> {
    let said = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
    let mode = std::fs::metadata(file).map_or(0o600, |known| known.permissions().mode());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let exchanged = || -> std::io::Result<()> {
        let mut next = tempfile::Builder::new().prefix(".secret").tempfile_in(folder)?;
        std::io::Write::write_all(&mut next, format!("{text}\n").as_bytes())?;
        next.as_file().sync_all()?;
        std::fs::set_permissions(next.path(), std::fs::Permissions::from_mode(mode))?;
        next.persist(file).map(drop).map_err(|error| error.error)
    };
    exchanged().or_else(|_| std::fs::write(file, format!("{text}\n"))).map_err(said)
}

/// Postgres is given the new password first; it is kept beside the file until it stands there.
fn new_password(config: &Config, file: &Path) -> Result<(), String> {
    let password = fresh()?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".next");
    let beside = PathBuf::from(beside);
    replace(&beside, &password)?;
    let options = app::store_options(config);
    let changed = runtime().block_on(crate::store::change_password(&config.database_url(), &options, &password));
    if let Err(error) = changed {
        std::fs::remove_file(&beside).ok();
        return Err(error.to_string());
    }
    replace(file, &password).map_err(|problem| format!("{problem}; the new password is in {}", beside.display()))?;
    std::fs::remove_file(&beside).ok();
    Ok(())
}

/// A new token for a name: the token to its file, its hash to where the tokens are.
fn new_token(file: &Path, name: &str, to: Option<&Path>) -> Result<(), String> {
    let to = to.ok_or("--to FILE: expected the file that gets the token")?;
    let token = fresh()?;
    let held = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let others = held.split([',', '\n']).map(str::trim).filter(|pair| !pair.is_empty());
    let others = others.filter(|pair| pair.split('=').next().map(str::trim) != Some(name));
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    let own = format!("{name}={hash}");
    let lines: Vec<&str> = others.chain([own.as_str()]).collect();
    replace(to, &token)?;
    replace(file, &lines.join("\n"))
}
