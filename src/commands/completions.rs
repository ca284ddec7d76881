//! `toller completions`: what completes the command line in a shell, from the definition of the arguments.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{ExitCode, Result};
use crate::terminal::print;

/// What `-h` begins with.
pub const EXAMPLES: &str = "\
Examples:
  toller completions bash > ~/.local/share/bash-completion/completions/toller
  toller completions fish > ~/.config/fish/completions/toller.fish
  toller completions zsh > ~/.zfunc/_toller";

/// `toller completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Carries out `toller completions`.
///
/// # Errors
/// It cannot be printed.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode> {
    let mut made = Vec::new();
    clap_complete::generate(args.shell, &mut command, "toller", &mut made);
    print(&String::from_utf8_lossy(&made))?;
    Ok(ExitCode::Done)
}
