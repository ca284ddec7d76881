//! Parse, run, exit code: the only place that exits.

use std::process::ExitCode;

use toller::cli::{self, Parsed};
use toller::terminal;

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(Parsed::Text(text)) => {
            return terminal::print(&text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        // A fault of toller's own is told by the panic itself, and has the exit code of every run that cannot go on.
        Ok(Parsed::Command(command, typed)) => {
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| command.carry_out(&typed))) {
                Ok(done) => done,
                Err(_) => return ExitCode::FAILURE,
            }
        }
        Err(error) => Err(error),
    };
    let code = done.unwrap_or_else(|error| {
        terminal::print_error(&error);
        error.code()
    });
    ExitCode::from(code.number())
}
