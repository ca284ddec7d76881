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
    ("maud", &["report"]),
    ("plotters", &["report"]),
    ("ring", &["facts"]),
    ("md5", &["origin"]),
    ("crc32c", &["origin"]),
    ("base64", &["origin", "report"]),
    ("crossbeam_channel", &["run", "books"]),
    ("clap", &["cli", "commands"]),
    ("clap_complete", &["commands"]),
    ("roff", &["commands"]),
];

/// Calls that change the file system. They belong to the store.
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

/// What is no file of the destination is written by those who need it: each of them, and the calls that it needs for that.
const WRITERS: &[(&str, &[&str])] = &[
    // A stream that is read twice, in a temporary file without a name.
    ("input.rs", &["OpenOptions", "remove_file"]),
    // What --failed-list and --output name.
    ("commands/output.rs", &["File::create", "OpenOptions", "fs::rename", "rename(", "remove_file"]),
    // A warehouse that is being made.
    (
        "commands/making.rs",
        &["OpenOptions", "fs::rename", "rename(", "renameat", "remove_file", "remove_dir", "create_dir", "hard_link"],
    ),
];

/// The house from the ground up: every module, floor by floor. A module imports from the floors below its own, and from its
/// own floor where nothing says otherwise.
const FLOORS: &[(&str, &[&str])] = &[
    (
        "words",
        &["ending", "error", "facts", "failure", "guid", "line", "machine", "manifest", "outcome", "tally", "text"],
    ),
    ("image", &["image", "input"]),
    // They know nothing of each other: their constructors take the values they need.
    (EDGES, &["origin", "store", "warehouse"]),
    ("run", &["run"]),
    ("books", &["books"]),
    ("terminal", &["terminal"]),
    ("report", &["report"]),
    ("commands", &["commands"]),
    ("cli", &["cli"]),
    ("top", &["lib", "main"]),
];

const EDGES: &str = "edges";

#[derive(Clone)]
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

/// Does `code` call this? `is_symlink()` is no `symlink(`.
fn calls(code: &str, call: &str) -> bool {
    code.match_indices(call).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
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
fn files_are_written_in_the_store_and_where_it_is_said_why() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.module != "store") {
        let known = WRITERS.iter().find(|(name, _)| *name == source.name).map_or(&[][..], |(_, calls)| calls);
        let written: Vec<_> = WRITES.iter().filter(|call| calls(&source.code, call)).collect();
        let wrong = written.iter().filter(|call| !known.contains(call));
        breaches.extend(wrong.map(|call| format!("{} calls {call}", source.name)));
        let gone = known.iter().filter(|call| !written.contains(call));
        breaches.extend(gone.map(|call| format!("{} does not call {call} any more", source.name)));
    }
    let names: BTreeSet<String> = sources().into_iter().map(|source| source.name).collect();
    breaches.extend(WRITERS.iter().filter(|(name, _)| !names.contains(*name)).map(|(name, _)| format!("no {name}")));
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn every_module_has_its_floor_and_imports_point_downwards() {
    let floor_of = |module: &str| FLOORS.iter().position(|(_, modules)| modules.contains(&module));
    let mut breaches = Vec::new();
    for source in sources() {
        let Some(floor) = floor_of(&source.module) else {
            breaches.push(format!("{} is on no floor", source.name));
            continue;
        };
        for import in imports(&source.code) {
            match floor_of(&import) {
                None => breaches.push(format!("{} imports {import}, which is on no floor", source.name)),
                Some(other) if other > floor => breaches.push(format!("{} imports {import} upwards", source.name)),
                Some(other) if other == floor && FLOORS[floor].0 == EDGES && import != source.module => {
                    breaches.push(format!("{} imports {import}, an edge like itself", source.name));
                }
                Some(_) => {}
            }
        }
    }
    assert!(breaches.is_empty(), "{breaches:#?}");
}

/// The files that a file imports, by their paths without the ending: `use super::page::PAGE` in `books/warehouse.rs` is
/// `books/page`. What stands in a folder's `mod.rs` counts for the folder.
fn files_imported(source: &Source, files: &BTreeSet<String>) -> BTreeSet<String> {
    let own = module_path(&source.name);
    let mut found = BTreeSet::new();
    let starts = ["crate::", "super::", "self::"].iter().flat_map(|start| source.code.match_indices(start));
    for (at, start) in starts {
        let before = source.code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let base = match start {
            "crate::" => Vec::new(),
            "self::" => own.clone(),
            _ => own[..own.len().saturating_sub(1)].to_vec(),
        };
        let rest = &source.code[at + start.len()..];
        for path in paths(rest) {
            let mut place = base.clone();
            for word in path {
                if word == "super" {
                    place.pop();
                } else {
                    place.push(word);
                }
            }
            // The longest beginning that is a file.
            let known = (0..=place.len()).rev().map(|n| place[..n].join("/")).find(|path| files.contains(path));
            found.extend(known.filter(|known| *known != own.join("/")));
        }
    }
    found
}

/// Where a file stands among the modules: `run/mod.rs` is `run`.
fn module_path(name: &str) -> Vec<String> {
    let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The paths that follow in a `use`: `{a, b::c}` are two, `a::{self, B}` is one.
fn paths(rest: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
    if word.is_empty() {
        let Some(inner) = rest.strip_prefix('{') else { return Vec::new() };
        let mut depth = 1;
        let mut start = 0;
        let mut found = Vec::new();
        for (at, c) in inner.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if (c == ',' && depth == 1) || depth == 0 {
                found.extend(paths(inner[start..at].trim()));
                start = at + 1;
            }
            if depth == 0 {
                break;
            }
        }
        return found;
    }
    match rest[word.len()..].strip_prefix("::").map(paths) {
        Some(further) if !further.is_empty() => {
            further.into_iter().map(|path| [vec![word.clone()], path].concat()).collect()
        }
        _ => vec![vec![word]],
    }
}

#[test]
fn no_file_imports_itself_by_way_of_another() {
    let sources = sources();
    let files: BTreeSet<String> = sources.iter().map(|source| module_path(&source.name).join("/")).collect();
    // A folder's mod.rs holds what its files share; that they name it, and it names them, is what a folder is.
    let is_folder = |file: &str| files.iter().any(|other| other.starts_with(&format!("{file}/")));
    let imports: std::collections::BTreeMap<String, BTreeSet<String>> = sources
        .iter()
        .map(|source| (module_path(&source.name).join("/"), files_imported(source, &files)))
        .map(|(file, imports)| (file, imports.into_iter().filter(|import| !is_folder(import)).collect()))
        .collect();
    let mut circles = Vec::new();
    for file in imports.keys().filter(|file| !is_folder(file)) {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = imports[file].iter().collect();
        while let Some(import) = next.pop() {
            if import == file {
                circles.push(file.clone());
                break;
            }
            if seen.insert(import) {
                next.extend(imports.get(import).into_iter().flatten());
            }
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
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
    assert!(calls("fs::symlink(a, b)", "symlink(") && !calls("path.is_symlink()", "symlink("));
    let code = "use crate::{\n    store::{Store, temp},\n    error, pace::Pace as P,\n};\nuse crate::guid::Guid; x(crate::run);";
    let found: Vec<String> = imports(code).into_iter().collect();
    assert_eq!(found, ["error", "guid", "pace", "run", "store"]);
    let source = Source { module: "books".into(), name: "books/warehouse.rs".into(), code: String::new() };
    let files: BTreeSet<String> = ["books", "books/page", "run", "run/stop", "guid"].map(String::from).into();
    for (code, wanted) in [
        ("use super::page::{PAGE, Page};", vec!["books/page"]),
        ("use crate::{guid::Guid, run::{self, stop::{Reason, Stop}}};", vec!["guid", "run", "run/stop"]),
        ("use super::super::run::stop::Stop; crate::guid::x()", vec!["guid", "run/stop"]),
        ("super::page::hash()", vec!["books/page"]),
    ] {
        let source = Source { code: code.into(), ..source.clone() };
        assert_eq!(files_imported(&source, &files).into_iter().collect::<Vec<_>>(), wanted, "{code}");
    }
    assert_eq!(code_of("a // use duckdb::x\nb\n#[cfg(test)]\nmod tests { fs::write }"), "a \nb");
}
