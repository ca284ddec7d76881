//! README.md and docs/ are held to the program: every command in them is run, here or where it says, what they name is
//! there, and what ships is named in them.

use crate::shipping::{options, repository, text};
use crate::support::env::skipped;
use crate::support::{Env, Origin, Reply, binary, duckdbs, guids};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What of the documents is run elsewhere: by what it is known, which file runs it, and what stands there.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("cargo build --release --locked\n", "scripts/build.sh", "cargo build --release --locked"),
    ("scripts/demo.sh\n", ".ci/run", "scripts/demo.sh"),
    ("cargo vendor --locked", "scripts/vendor.sh", "cargo vendor --locked"),
    ("cargo build --release --offline", "scripts/airgap-check.sh", "cargo build --release --offline --locked"),
    ("cargo tree --locked", "tests/documents.rs", "CARGO_NET_OFFLINE"),
    ("systemctl enable", "scripts/packaging/deb-check.sh", "systemd-analyze verify --man=no toller@test.service"),
    ("served.py pending", "tests/served.rs", "[script, \"pending\"]"),
];

/// Each document, with its name.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(repository("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            names.push(format!("docs/{name}"));
        }
    }
    assert!(names.len() > 6, "{names:?}");
    names.into_iter().map(|name| (name.clone(), text(&name))).collect()
}

/// The blocks of code in a document, each with its language.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = document.split("```").collect();
    assert!(parts.len() % 2 == 1, "a block has no end");
    parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

/// A line of cron as the shell that cron starts would read it, in the folder of the test.
fn from_cron(line: &str) -> String {
    if line.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
        return format!("export {line}\n");
    }
    let command = line.splitn(7, ' ').nth(6).expect("five fields, two spaces, a command");
    format!("{}\n", command.replace("/usr/local/bin/", "scripts/examples/").replace("/data/", ""))
}

/// A model of dbt as the SQL that dbt makes of it.
fn from_dbt(model: &str) -> String {
    model.replace("{{ source('media', '", "media.").replace("{{ source('toller', '", "main.").replace("') }}", "")
}

/// All blocks of a document as one script, in their order, less what is run elsewhere.
fn script(name: &str, document: &str) -> String {
    // What ends badly is written down. 3 and 4 are good ends: an image of the origin is missing.
    let mut script = "set -Eu -o pipefail\n\
         trap 'code=$?; case $code in 3 | 4) ;; *) echo \"$code: $BASH_COMMAND\" >>wrong ;; esac' ERR\n"
        .to_owned();
    for (language, block) in blocks(document) {
        match language {
            "sh" if ELSEWHERE.iter().any(|(known_by, ..)| block.contains(known_by)) => {}
            "sh" => script += block,
            "cron" => script.extend(block.lines().map(from_cron)),
            "python" => script += &format!("$PYTHON - <<'PYTHON'\n{block}PYTHON\n"),
            "sql" => script += &format!("duckdb shop.duckdb \"{}\"\n", from_dbt(block)),
            // What was on a screen, what a test below reads, and what is no command.
            "console" | "yaml" | "text" => {}
            _ => panic!("{name}: nobody knows how to run a block of `{language}`:\n{block}"),
        }
    }
    script
}

/// A folder with what the documents speak of: the program, DuckDB's own, the scripts and two warehouses.
fn ground(origin: &Origin, guids: &[String]) -> Option<Env> {
    let python = duckdbs().last()?;
    let env = Env::new();
    env.toller(["load", "--warehouse", "images.duckdb", "-"]).stdin(guids.join("\n")).run().expect(0);
    let shop = "import duckdb, sys
c = duckdb.connect('shop.duckdb')
c.execute('CREATE SCHEMA media; CREATE TABLE media.assets (asset_id VARCHAR, title VARCHAR, has_thumb BOOLEAN)')
c.executemany(\"INSERT INTO media.assets VALUES (?, 'a title', NULL)\", [[guid] for guid in sys.stdin.read().split()])";
    python.python(&env, shop).stdin(guids.join("\n")).run().expect(0);
    let cli = "import duckdb, sys
file, sql = [word for word in sys.argv[1:] if not word.startswith('-')]
print(*('|'.join(map(str, row)) for row in duckdb.connect(file).execute(sql).fetchall()), sep='\\n')";
    env.write("cli.py", cli);
    env.script("bin/duckdb", format!("#!/bin/sh\nexec {} cli.py \"$@\"\n", python.python));
    symlink(binary(), env.path("bin/toller")).unwrap();
    symlink(repository("scripts"), env.path("scripts")).unwrap();
    origin.on(&guids[0], [Reply::status(404)]);
    Some(env)
}

/// Runs every block of a document, from the first to the last.
fn run(env: &Env, origin: &Origin, name: &str, document: &str) {
    let python = duckdbs().last().unwrap();
    let script = script(name, document).replace("https://cdn.example.com/thumbs/{guid}.jpg", &origin.template());
    env.write("script.sh", script);
    let path = format!("{}:{}", env.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let bash = env.program("bash").arg("script.sh").env("PATH", &path).env("PYTHONPATH", &python.path);
    let bash = bash.env("PYTHON", python.python).env("SSL_CERT_FILE", &origin.ca().display().to_string());
    let out = bash.env("WAIT", "0").run();
    let wrong = std::fs::read_to_string(env.path("wrong")).unwrap_or_default();
    assert!(wrong.is_empty() && matches!(out.code, Some(0 | 3 | 4)), "{name}: {wrong}\n{}", out.report());
}

#[test]
fn whoever_types_the_readme_from_the_first_line_to_the_last_has_all_images_and_knows_what_failed() {
    let (guids, origin) = (guids(30), Origin::builder().small().start());
    let Some(env) = ground(&origin, &guids) else { return };
    run(&env, &origin, "README.md", &text("README.md"));
    for guid in &guids[1..] {
        env.assert_whole(guid);
    }
    assert!(env.path("shop.duckdb.report.html").exists() && env.path("monday.html").exists());
    assert_eq!(std::fs::read_to_string(env.path("failed.txt")).unwrap(), format!("{}\n", guids[0]));
    assert_eq!(std::fs::read_to_string(env.path("thumbs.sha256")).unwrap().lines().count(), 29);
    // The sources of dbt are those that its model reads.
    let readme = text("README.md");
    let yaml = blocks(&readme).into_iter().find(|(language, _)| *language == "yaml").unwrap().1;
    for (_, model) in blocks(&readme).into_iter().filter(|(language, _)| *language == "sql") {
        for source in model.split("source('").skip(1) {
            let names: Vec<&str> = source.split('\'').collect();
            let listed = [names[0], names[2]].iter().all(|name| yaml.contains(&format!("name: {name}")));
            assert!(listed, "{names:?} in\n{yaml}");
        }
    }
}

#[test]
fn every_command_of_the_documents_is_run() {
    for (name, document) in documents().into_iter().skip(1) {
        let (guids, origin) = (guids(12), Origin::builder().small().start());
        let Some(env) = ground(&origin, &guids) else { return };
        let fetch =
            env.toller(["fetch", "--warehouse", "images.duckdb", "--dest", "thumbs", "--limit", "6", "--ca-cert"]);
        fetch.arg(origin.ca()).args(["--url", &origin.template()]).run().expect(4);
        run(&env, &origin, &name, &document);
    }
    for (known_by, file, stands_there) in ELSEWHERE {
        assert!(documents().iter().any(|(_, document)| document.contains(known_by)), "{known_by} is in no document");
        assert!(text(file).contains(stands_there), "{file} does not run {known_by}");
    }
}

#[test]
fn what_a_document_types_in_passing_is_there_to_be_typed() {
    let (options, toller) = (options(), toller::cli::command());
    let commands: Vec<&str> =
        toller.get_subcommands().map(|command| command.get_name()).chain(["help", "COMMAND"]).collect();
    for (name, document) in documents() {
        for code in document.split('`').filter(|code| code.starts_with("toller ") && !code.contains('\n')) {
            let mut words = code.split([' ', '=', '[']).skip(1);
            let command = words.next().unwrap();
            assert!(commands.contains(&command) || command.starts_with('-'), "{name}: `{code}`");
            for word in words.filter(|word| word.starts_with("--")) {
                let known = options.iter().any(|(of, option)| of == command && option == word);
                assert!(known, "{name}: `{code}`: {command} has no {word}");
            }
        }
    }
}

/// What a document names of the repository: where its links lead, relative to its folder, and paths of scripts.
fn named(document: &str) -> BTreeSet<String> {
    let links = document.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link.to_owned());
    let links = links.filter(|link| !link.contains("://"));
    let word = |c: char| !(c.is_ascii_alphanumeric() || "/._-@*".contains(c));
    let paths = document.split(word).filter(|word| word.starts_with("scripts/"));
    links.chain(paths.map(|path| format!("/{}", path.trim_end_matches(['.', '/'])))).collect()
}

#[test]
fn what_the_documents_name_is_there() {
    let more = ["CONTRIBUTING.md", "CHANGELOG.md"].map(|name| (name.to_owned(), text(name)));
    for (name, document) in documents().into_iter().chain(more) {
        for place in named(&document) {
            let (file, title) = place.split_once('#').unwrap_or((&place, ""));
            let path = match file.strip_prefix('/') {
                Some(path) => repository(path),
                None if file.is_empty() => repository(&name),
                None => repository(&name).with_file_name("").join(file),
            };
            assert!(path.exists() || place.contains('*'), "{name} names {place}, which is not there");
            if !title.is_empty() {
                let (title, target) = (title.replace('-', " "), std::fs::read_to_string(&path).unwrap());
                let found = target.lines().any(|line| line.starts_with('#') && line.to_lowercase().ends_with(&title));
                assert!(found, "{name} names {place}, and no part is called that");
            }
        }
    }
}

#[test]
fn what_ships_is_named_where_one_looks_for_it() {
    let all: String = documents().into_iter().map(|(_, document)| document).collect();
    for folder in ["scripts", "scripts/examples", "scripts/cluster", "scripts/packaging/systemd", "docs"] {
        for entry in std::fs::read_dir(repository(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let source = path.extension().is_some_and(|extension| extension == "rs");
            assert!(path.is_dir() || source || all.contains(name), "{} is in no document", path.display());
        }
    }
    for command in toller::cli::command().get_subcommands() {
        let typed = format!("| `toller {}` |", command.get_name());
        assert!(text("docs/options.md").contains(&typed), "{typed} is not among the commands");
    }
}

#[test]
fn the_picture_of_a_terminal_shows_what_the_readme_has_as_text() {
    let (readme, picture) = (text("README.md"), text("docs/terminal.svg"));
    assert!(picture.len() < 60_000 && picture.contains("prefers-color-scheme: dark"));
    let lines = picture.lines().filter(|line| line.starts_with("<text"));
    let drawn = lines.map(|line| line.split_once('>').unwrap().1.trim_end_matches("</text>"));
    // The terminal has wrapped what is longer than it is wide.
    let drawn: String = drawn.collect();
    let shown = blocks(&readme).into_iter().find(|(language, _)| *language == "console").unwrap().1;
    let shown = shown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert_eq!(drawn, shown.replace('\n', ""));
    let demo = text("scripts/demo.sh");
    for command in shown.lines().filter_map(|line| line.strip_prefix("$ toller ")) {
        let command = command.split(" --").next().unwrap();
        assert!(demo.contains(command), "demo.sh has no {command}");
    }
}

#[test]
fn every_crate_has_its_reason_and_all_of_them_are_counted() {
    let (document, manifest) = (text("docs/dependencies.md"), text("Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let crates = section.lines().filter(|line| !line.starts_with('#') && line.contains(" = "));
    let rows: Vec<String> = crates
        .map(|line| {
            let (name, reason) = (line.split(' ').next().unwrap(), line.rsplit(" # ").next().unwrap());
            format!("| {name} | {reason} |")
        })
        .collect();
    for row in &rows {
        assert!(document.contains(row), "docs/dependencies.md lacks\n{row}");
    }
    let counted = format!("The binary is made from the {} crates below", rows.len());
    assert!(document.contains(&counted), "{counted}");
    if !cfg!(target_arch = "x86_64") {
        return skipped("the crates were counted on x86-64");
    }
    let env = Env::new();
    let count = blocks(&document)[0].1;
    let home = std::env::var("HOME").unwrap_or_default();
    let bash = env.program("bash").args(["-c", &format!("set -o pipefail; cd \"$0\"; {count}")]).arg(repository(""));
    let outer = ["CARGO_HOME", "RUSTUP_HOME"].map(|name| (name, std::env::var(name).unwrap_or_default()));
    let bash =
        outer.iter().filter(|(_, value)| !value.is_empty()).fold(bash, |bash, (name, value)| bash.env(name, value));
    let out = bash.env("HOME", &home).env("CARGO_NET_OFFLINE", "true").run();
    if out.code != Some(0) {
        return skipped("cargo cannot list the crates without a network");
    }
    let wanted = format!("those that they need, {} in all", out.stdout.trim());
    assert!(document.contains(&wanted), "{wanted}");
}
