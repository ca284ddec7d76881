//! docs DIR [DATE]: writes the man page and the completions into DIR, as `toller man` and `toller completions` print them.
//!
//! Run when a release is made (`scripts/release.sh`), on the machine that builds, which need not be able to run what it
//! has built; and a page that ships has a date.
#![allow(clippy::unwrap_used, reason = "a release that cannot be made says why by itself")]

use std::path::Path;

use clap_complete::Shell;
use toller::cli::command;
use toller::commands::man::page;

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (dir, date) = match args.as_slice() {
        [dir] => (Path::new(dir), ""),
        [dir, date] => (Path::new(dir), date.as_str()),
        _ => {
            eprintln!("docs: want: DIR [DATE]");
            std::process::exit(2);
        }
    };
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("toller.1"), page(command(), date)).unwrap();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command(), "toller", dir).unwrap();
    }
}
