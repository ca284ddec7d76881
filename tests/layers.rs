//! The house keeps its shape: which file may name which crate, and which layer may import which. Read from
//! the source, so that nobody has to remember it.

use std::collections::BTreeSet;
use std::path::Path;

/// Crates, and the only places that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("duckdb", &["warehouse"]),
    ("ureq", &["origin"]),
    ("rustls", &["origin"]),
    ("rustls_native_certs", &["origin"]),
    ("webpki_root_certs", &["origin"]),
    ("nix", &["store"]),
    ("crossbeam_channel", &["run", "worker", "pipe"]),
];

/// Calls that change the file system, and the one place for them.
const WRITES: &[&str] = &[
    "fs::write",
    "File::create",
    "File::options",
    "OpenOptions",
    "fs::rename",
    "rename(",
    "renameat",
    "fs::copy",
    "remove_file",
    "remove_dir",
    "create_dir",
    "hard_link",
    "symlink(",
    "set_permissions",
    "DirBuilder",
];

/// The layers from the bottom up. A module imports from below, or from beside it in the same line, but the
/// edges know nothing of each other.
const LAYERS: &[&[&str]] = &[
    &["guid", "outcome", "error", "text"],
    &["image", "retry", "manifest"],
    &["origin", "store", "warehouse", "pace"],
    &["worker"],
    &["run"],
];

/// The place of the edges in `LAYERS`.
const EDGES: usize = 2;

struct Source {
    /// The top-level module it belongs to: `origin` for `src/origin/wire.rs`.
    module: String,
    name: String,
    /// Without comments, strings' contents left as they are, and without the unit tests at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&src).unwrap().display().to_string();
                let module = name.split(['/', '.']).next().unwrap_or_default().to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { module, name, code: code_of(&text) });
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn code_of(text: &str) -> String {
    let own = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = own.lines().map(|line| match line.find("//") {
        Some(comment) if !line[..comment].contains('"') => &line[..comment],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Does `code` name `word` as a path's beginning: `word::…`, `use word;`, `use word as …`?
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let inside = before.is_alphanumeric() || before == '_' || before == ':' || before == '"';
        let after = &code[at + word.len()..];
        let used = code[..at].ends_with("use ") && after.starts_with([';', ' ']);
        !inside && (after.starts_with("::") || used)
    })
}

/// The modules of this crate that `code` names, as `crate::name` or in `use crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let mut depth = 0;
        let mut word = String::new();
        let mut heads = true;
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ if c.is_alphanumeric() || c == '_' => {
                    if heads {
                        word.push(c);
                    }
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() {
                found.insert(std::mem::take(&mut word));
            }
            // Only what stands directly in the outer braces is a module; `b::c` names `b`.
            heads = depth == 1 && (c == '{' || c == ',' || (heads && c.is_whitespace()));
            if depth <= 0 {
                break;
            }
        }
        found.extend((!word.is_empty()).then_some(word));
    }
    found
}

#[test]
fn each_crate_is_named_in_its_own_place_only() {
    let mut breaches = Vec::new();
    for source in sources() {
        for (krate, places) in CRATES {
            if names(&source.code, krate) && !places.contains(&source.module.as_str()) {
                breaches.push(format!("{} names {krate}, which belongs to {places:?}", source.name));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn files_are_written_in_the_store_only() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.module != "store") {
        let written = WRITES.iter().filter(|call| source.code.contains(*call));
        breaches.extend(written.map(|call| format!("{} calls {call}", source.name)));
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn imports_point_downwards() {
    let layer_of = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut breaches = Vec::new();
    for source in sources() {
        let Some(layer) = layer_of(&source.module) else { continue };
        for import in imports(&source.code) {
            let upwards = layer_of(&import).is_some_and(|other| other > layer);
            let sideways = layer == EDGES && layer_of(&import) == Some(EDGES) && import != source.module;
            let command_line = layer <= EDGES && ["config", "cli", "main"].contains(&import.as_str());
            if upwards || sideways || command_line {
                breaches.push(format!("{} imports {import}", source.name));
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn only_main_exits() {
    let exits = |source: &Source| source.module != "main" && source.code.contains("process::exit");
    let breaches: Vec<String> = sources().into_iter().filter(exits).map(|source| source.name).collect();
    assert!(breaches.is_empty(), "{breaches:?}");
}

#[test]
fn these_tests_can_tell_a_breach() {
    assert!(names("use duckdb::Connection;", "duckdb") && names("let c = duckdb::open();", "duckdb"));
    assert!(names("use duckdb;", "duckdb") && names("pub use duckdb as db;", "duckdb"));
    assert!(!names("use libduckdb::x; let s = \"duckdb::x\"; open_duckdb::y()", "duckdb"));
    let code = "use crate::{\n    store::{Store, temp},\n    error, pace::Pace as P,\n};\nuse crate::guid::Guid; x(crate::run);";
    let found: Vec<String> = imports(code).into_iter().collect();
    assert_eq!(found, ["error", "guid", "pace", "run", "store"]);
    assert_eq!(code_of("a // use duckdb::x\nb\n#[cfg(test)]\nmod tests { fs::write }"), "a \nb");
}
