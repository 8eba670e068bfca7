//! The binary: command line, configuration file, start-up order, signals. The only crate that knows all others.

mod certificates;
mod cli;
mod config;
mod echo;
mod log;
mod serve;
mod state;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let _ = cli;
    ExitCode::SUCCESS
}
