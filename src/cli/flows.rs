//! `probity flows`: a flow file as one file per tab, and back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::flow_history::{self, Ask};
use super::{Format, Settings, not_so, print, usage};
use crate::model::flow::FlowFile;
use crate::{app, deploy, flow};

#[derive(Args)]
pub(super) struct FlowsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a flow file into a folder, one file per tab, in a stable order. `serve --flows FOLDER` runs them.
    Split {
        /// A flow file
        file: PathBuf,
        /// The folder; files of tabs that are gone are removed from it
        dir: PathBuf,
    },
    /// Print the flow files of a folder as one, as Node-RED writes it.
    Join {
        /// A folder of flow files
        dir: PathBuf,
    },
    /// List the revisions of the flows in the store, newest first.
    History {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print the flows of a revision.
    Show {
        /// Its number
        number: i64,
        #[command(flatten)]
        settings: Settings,
    },
    /// Print what a revision changed.
    Diff {
        /// Its number
        number: i64,
        /// The revision to compare with [default: the one before]
        #[arg(long, value_name = "N")]
        from: Option<i64>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make an earlier revision the newest one again; servers that run follow it.
    Rollback {
        /// Its number
        number: i64,
        #[command(flatten)]
        settings: Settings,
    },
}

pub(super) fn flows(args: &FlowsArgs) -> ExitCode {
    let (settings, ask) = match &args.command {
        Command::Split { file, dir } => return split(file, dir),
        Command::Join { dir } => return join(dir),
        Command::History { limit, format, settings } => (settings, Ask::List { limit: *limit, format: *format }),
        Command::Show { number, settings } => (settings, Ask::Show { number: *number }),
        Command::Diff { number, from, settings } => (settings, Ask::Diff { from: *from, to: *number }),
        Command::Rollback { number, settings } => (settings, Ask::RollBack { number: *number }),
    };
    match settings.load() {
        Ok(config) => flow_history::answer(&config, &ask),
        Err(code) => code,
    }
}

fn split(file: &Path, dir: &Path) -> ExitCode {
    let read = match read(file, false) {
        Ok(read) => read,
        Err(code) => return code,
    };
    if let Err(problem) = deploy::folder::write(dir, &read.entries) {
        return not_so(problem);
    }
    let files = flow::tabs::by_tab(&read.entries);
    let names: String = files.iter().map(|file| format!("{}\n", dir.join(&file.name).display())).collect();
    print(&names);
    ExitCode::SUCCESS
}

fn join(dir: &Path) -> ExitCode {
    let read = match read(dir, true) {
        Ok(read) => read,
        Err(code) => return code,
    };
    print(&format!("{}\n", flow::save(&read)));
    ExitCode::SUCCESS
}

/// The flows of a file, or of a folder where one is wanted.
fn read(from: &Path, wants_dir: bool) -> Result<FlowFile, ExitCode> {
    if wants_dir != from.is_dir() {
        let expected = if wants_dir { "a folder" } else { "a file" };
        return Err(usage(&format!("{}: expected {expected}", from.display())));
    }
    match app::read_flows(from).and_then(app::usable) {
        Ok(read) => Ok(read.loaded),
        Err(problem) => Err(usage(&format!("{problem:#}"))),
    }
}
