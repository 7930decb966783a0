//! `probity flows`: a flow file as one file per tab, and back.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{not_so, print, usage};
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
}

pub(super) fn flows(args: &FlowsArgs) -> ExitCode {
    let (Command::Split { file: from, .. } | Command::Join { dir: from }) = &args.command;
    if matches!(args.command, Command::Join { .. }) != from.is_dir() {
        let expected = if from.is_dir() { "a file" } else { "a folder" };
        return usage(&format!("{}: expected {expected}", from.display()));
    }
    let read = match app::read_flows(from).and_then(app::usable) {
        Ok(read) => read.loaded,
        Err(problem) => return usage(&format!("{problem:#}")),
    };
    match &args.command {
        Command::Join { .. } => print(&format!("{}\n", flow::save(&read))),
        Command::Split { dir, .. } => {
            if let Err(problem) = deploy::folder::write(dir, &read.entries) {
                return not_so(problem);
            }
            let files = flow::tabs::by_tab(&read.entries);
            let names: String = files.iter().map(|file| format!("{}\n", dir.join(&file.name).display())).collect();
            print(&names);
        }
    }
    ExitCode::SUCCESS
}
