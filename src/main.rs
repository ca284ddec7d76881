//! Parse, run, exit code: the only place that exits.

use std::process::ExitCode;

use toller::cli::{self, Parsed};
use toller::terminal;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Text(text)) => {
            return terminal::print(&text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        Ok(Parsed::Command(command, typed)) => command.carry_out(typed),
        Err(error) => Err(error),
    };
    let code = done.unwrap_or_else(|error| {
        terminal::print_error(&error);
        error.code()
    });
    ExitCode::from(code.number())
}
