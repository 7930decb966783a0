//! The `probity` command: parses the command line and calls the command.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    probity::cli::main()
}
