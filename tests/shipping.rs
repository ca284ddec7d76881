//! What ships with the program, and what the program asks of the system under it: one file, its page, its
//! completions, its unit, its example scripts, and whatever environment it is started in.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Out, Reply, binary, guids};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

pub fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(repository(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Whether a program is there; says so when it is not.
fn has(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').any(|folder| Path::new(folder).join(program).is_file());
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

/// The options of every command, each with its command.
pub fn options() -> Vec<(String, String)> {
    let mut toller = toller::cli::command();
    toller.build();
    let commands = toller.get_subcommands();
    let options = commands.flat_map(|command| {
        let name = command.get_name().to_owned();
        command.get_arguments().filter_map(move |arg| Some((name.clone(), format!("--{}", arg.get_long()?))))
    });
    options.filter(|(_, option)| option != "--help").collect()
}

// --- what ships ---

#[test]
fn every_option_is_in_the_help_the_man_page_and_the_documents() {
    let (env, document) = (Env::new(), text("docs/options.md"));
    let page = env.toller(["man"]).run().expect(0).stdout.replace("\\-", "-");
    let options = options();
    assert!(options.len() > 60, "{options:?}");
    for command in ["fetch", "status", "load", "report", "verify", "pending", "pipe", "merge", "completions", "man"] {
        let help = env.toller([command, "--help"]).run().expect(0).stdout;
        let section = page.split(&format!(".SS \"toller {command}\"")).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section about {command} in\n{page}"));
        let section = section.split("\n.S").next().unwrap();
        for (_, option) in options.iter().filter(|(of, _)| of == command) {
            assert!(help.contains(option.as_str()), "{option} is not in the help of {command}");
            assert!(section.contains(option.as_str()), "{option} is not in the man page's section on {command}");
            let row = document.lines().any(|line| line.starts_with(&format!("| `{option}")));
            assert!(row || command != "fetch", "{option} is not in the table of docs/options.md");
            assert!(document.contains(option.as_str()), "{option} of {command} is not in docs/options.md");
        }
    }
}

#[test]
fn the_man_page_has_no_mistake_that_man_knows_of() {
    if !has("man") || !has("groff") {
        return;
    }
    let env = Env::new();
    let page = env.write("toller.1", env.toller(["man"]).run().expect(0).stdout);
    let man = env.program("man").args(["--warnings", "-E", "UTF-8", "-l"]).arg(page).env("MANWIDTH", "100");
    let out = man.env("LC_ALL", "C.UTF-8").run().expect(0);
    assert_eq!(out.stderr, "", "{}", out.report());
    let out = out
        .stdout_has("EXIT STATUS")
        .stdout_has("--header-file")
        .stdout_has("'https://cdn.example.com/thumbs/{guid}.jpg'");
    assert!(out.stdout.lines().all(|line| line.chars().count() < 130), "{}", out.report());
}

#[test]
fn the_completions_are_what_their_shells_can_read() {
    let env = Env::new();
    for (shell, name) in [("bash", "toller.bash"), ("zsh", "_toller"), ("fish", "toller.fish")] {
        let made = env.toller(["completions", shell]).run().expect(0).stdout;
        let file = env.write(name, made);
        if has(shell) {
            let out = env.program(shell).arg("-n").arg(&file).run().expect(0);
            assert_eq!(out.stderr, "", "{}", out.report());
        }
    }
    // What bash offers after `toller fetch --max`.
    let ask = "source toller.bash; COMP_WORDS=(toller fetch --max); COMP_CWORD=2; _toller toller --max fetch; echo ${COMPREPLY[*]}";
    let out = env.program("bash").args(["-c", ask]).run().expect(0);
    assert_eq!(out.stdout.trim(), "--max-bytes --max-same --max-runtime --max-failure-rate", "{}", out.report());
}

#[test]
fn the_version_names_duckdb_rustls_and_the_build() {
    let env = Env::new();
    let out = env.toller(["--version"]).run().expect(0);
    let lines: Vec<&str> = out.stdout.lines().collect();
    let [program, duckdb, rustls, build] = lines[..] else { panic!("{}", out.report()) };
    assert_eq!(program, concat!("toller ", env!("CARGO_PKG_VERSION")));
    env.warehouse_of(&["a"]);
    assert_eq!(duckdb.replace("duckdb ", "v"), env.value("SELECT version()"));
    let lock = text("Cargo.lock");
    let locked = lock.split("[[package]]").find(|package| package.contains("name = \"rustls\"\n")).unwrap();
    let version = locked.lines().find_map(|line| line.strip_prefix("version = ")).unwrap();
    assert_eq!(rustls, format!("rustls {}", version.trim_matches('"')));
    assert!(build.starts_with("build ") && build.contains(std::env::consts::ARCH), "{build}");
    assert_eq!(env.toller(["-V"]).run().expect(0).stdout.trim(), program);
}

#[test]
fn the_binary_asks_nothing_of_the_system_not_even_a_folder() {
    let env = Env::new();
    let toller = binary();
    let out = env.program("ldd").arg(toller).run();
    let said = format!("{}{}", out.stdout, out.stderr);
    assert!(said.contains("statically linked") || said.contains("not a dynamic"), "{said}");
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return skipped("only root can chroot");
    }
    let origin = Origin::start();
    std::fs::create_dir(env.path("root")).unwrap();
    if std::fs::hard_link(toller, env.path("root/toller")).is_err() {
        assert!(env.program("cp").arg(toller).arg(env.path("root/toller")).try_run());
    }
    env.write("root/guids.txt", "a\nb\nc\n");
    std::fs::copy(origin.ca(), env.path("root/ca.pem")).unwrap();
    let chroot = |args: &[&str]| env.program("chroot").args(["root", "/toller"]).args(args).run();
    chroot(&["load", "--warehouse", "w.duckdb", "guids.txt"]).expect(0);
    let template = format!("https://127.0.0.1:{}/thumbs/{{guid}}.jpg", origin.port());
    let fetch = ["fetch", "--warehouse", "w.duckdb", "--dest", "thumbs", "--ca-cert", "ca.pem", "--url", &template];
    assert_eq!(chroot(&[&fetch[..], &["--json"]].concat()).expect(0).json()["fetched"], 3);
    assert_eq!(chroot(&["verify", "--warehouse", "w.duckdb", "--json"]).expect(0).json()["good"], 3);
    // Without /etc/hosts, /etc/resolv.conf and a name server there are no names, which is a failure, not a crash.
    for guid in ["a", "b", "c"] {
        std::fs::remove_file(env.path(&format!("root/thumbs/{guid}.jpg"))).unwrap();
    }
    chroot(&["verify", "--warehouse", "w.duckdb", "--fix", "--yes"]).expect(0);
    let nowhere = "https://nowhere.test/{guid}.jpg";
    let args = [&fetch[..8], &[nowhere, "--retries", "0", "--timeout", "5", "--json"]].concat();
    assert_eq!(chroot(&args).expect(3).json()["failures"]["dns"], 3);
}

#[test]
fn the_scripts_are_clean() {
    if !has("shellcheck") {
        return;
    }
    let env = Env::new();
    let mut folders = vec![repository("scripts")];
    let mut scripts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "sh") {
                assert!(path.metadata().unwrap().mode() & 0o111 == 0o111, "{} cannot be executed", path.display());
                scripts.push(path);
            }
        }
    }
    assert!(scripts.len() >= 10, "{scripts:?}");
    let out = env.program("shellcheck").args(&scripts).env("LC_ALL", "C.UTF-8").run();
    assert!(out.code == Some(0), "{}", out.report());
}

// --- the unit ---

/// The value of a setting of the unit.
fn unit(setting: &str) -> String {
    let unit = text("scripts/packaging/systemd/toller@.service");
    let value = unit.lines().find_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{setting} is not set")).to_owned()
}

#[test]
fn the_timers_first_run_fetches_what_is_pending() {
    let guids = guids(5);
    let (env, origin) = (Env::new(), Origin::start());
    // The unit's own settings file, with the places of this test in it.
    let folder = env.path("").display().to_string();
    let settings = text("scripts/packaging/systemd/NAME.env").replace("/var/lib/toller/", &folder);
    let settings = settings.replace("https://cdn.example.com/thumbs/{guid}.jpg", &origin.template());
    let settings = format!("{settings}\nTOLLER_CA_CERT={}\n", origin.ca().display());
    let command = unit("ExecStart").replace("/usr/bin/toller", &binary().display().to_string());
    let words: Vec<&str> = command.split(' ').collect();
    let start = || {
        // As systemd.exec(5) reads an EnvironmentFile: a line is a variable, `#` begins a comment.
        let lines = settings.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let command = env.program(words[0]).args(&words[1..]);
        lines.filter_map(|line| line.split_once('=')).fold(command, |command, (name, value)| command.env(name, value))
    };
    env.toller(["load", "--warehouse", "images.duckdb", "-"]).stdin(guids.join("\n")).run().expect(0);
    start().run().expect(0);
    assert_eq!(env.files().len(), 5);
    for guid in &guids {
        env.assert_whole(guid);
    }
    // The second one finds nothing to do, the third something that it cannot have.
    start().run().expect(0);
    assert_eq!(origin.request_count(), 5);
    env.toller(["load", "--warehouse", "images.duckdb", "-"]).stdin("gone\n").run().expect(0);
    origin.on("gone", [Reply::status(404)]);
    let code = start().run().expect(4).code.unwrap().to_string();
    let good = unit("SuccessExitStatus");
    assert!(good.split(' ').any(|word| word == code) && good.split(' ').any(|word| word == "3"), "{good}");
}

#[test]
fn the_unit_is_what_systemd_can_read() {
    if !has("systemd-analyze") {
        return;
    }
    let env = Env::new();
    // The program and the page need not be installed here.
    let service =
        text("scripts/packaging/systemd/toller@.service").replace("/usr/bin/toller", &binary().display().to_string());
    env.write("toller@.service", service.replace("Documentation=", "#"));
    env.write("toller@.timer", text("scripts/packaging/systemd/toller@.timer").replace("Documentation=", "#"));
    let verify = env.program("systemd-analyze").args(["verify", "./toller@x.service", "./toller@x.timer"]);
    let out = verify.run().expect(0);
    assert_eq!(out.stderr, "", "{}", out.report());
}

// --- the examples ---

/// A script of scripts/examples, with a PATH on which toller is this one and mail, sleep and date are recorded.
fn example(env: &Env, script: &str) -> Cmd {
    let bin = env.path("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        symlink(binary(), bin.join("toller")).unwrap();
        for name in ["mail", "sleep"] {
            // mail reads its standard input, sleep has none.
            let body = if name == "mail" { "cat" } else { ":" };
            env.script(&format!("bin/{name}"), format!("#!/bin/sh\n{{ echo \"$*\"; {body}; }} >>{name}.log\n"));
        }
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    env.program(repository("scripts/examples").join(script)).env("PATH", &path)
}

/// The options that a fetch of this warehouse from that origin needs, but for those named.
fn places(env: &Env, origin: &Origin, less: &[&str]) -> Vec<String> {
    let (warehouse, dest, ca) = (env.warehouse(), env.dest(), origin.ca());
    let all = [
        ("--warehouse", warehouse.display().to_string()),
        ("--url", origin.template()),
        ("--dest", dest.display().to_string()),
        ("--ca-cert", ca.display().to_string()),
    ];
    let wanted = all.into_iter().filter(|(name, _)| !less.contains(name));
    wanted.flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

fn recorded(env: &Env, program: &str) -> String {
    std::fs::read_to_string(env.path(&format!("{program}.log"))).unwrap_or_default()
}

#[test]
fn the_cron_wrapper_mails_on_1_and_tries_again_on_3_and_75() {
    let guids = guids(3);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[1], [Reply::status(503), Reply::image()]);
    let wrapper = |less: &[&str]| {
        example(&env, "cron-fetch.sh").args(places(&env, &origin, less)).env("MAILTO", "ops@example.com")
    };
    wrapper(&[]).args(["--retries", "0"]).run().expect(0);
    env.assert_done(&guids);
    assert_eq!((recorded(&env, "sleep").as_str(), recorded(&env, "mail").as_str()), ("600\n", ""));
    {
        env.sql("UPDATE dim_image SET thumb_downloaded = false");
        let _other = env.occupy();
        wrapper(&[]).args(["--lock-wait", "0"]).env("WAIT", "7").run().expect(75);
        assert_eq!((recorded(&env, "sleep").as_str(), recorded(&env, "mail").as_str()), ("600\n7\n14\n", ""));
    }
    wrapper(&["--warehouse"]).args(["--warehouse", "missing.duckdb"]).run().expect(1);
    let mail = recorded(&env, "mail");
    assert!(mail.starts_with("-s toller on ") && mail.contains(" ended with 1 ops@example.com\n"), "{mail}");
    assert!(mail.contains("toller: ") && mail.contains("missing.duckdb"), "{mail}");
}

#[test]
fn the_loop_serves_every_warehouse_and_tells_the_worst() {
    let (env, origin) = (Env::new(), Origin::start());
    for (name, guid) in [("one", "a"), ("two", "b"), ("three", "c")] {
        env.toller(["load", "--warehouse", &format!("{name}.duckdb"), "-"]).stdin(guid).run().expect(0);
    }
    origin.on("b", [Reply::status(404)]);
    let run = |files: &[&str]| {
        let script = example(&env, "each-warehouse.sh").args(files).arg("--");
        script.args(places(&env, &origin, &["--warehouse", "--dest"])).run()
    };
    let out = run(&["one.duckdb", "two.duckdb", "three.duckdb"]).expect(4);
    assert_eq!(out.stdout, "one.duckdb: 0\ntwo.duckdb: 4\nthree.duckdb: 0\n", "{}", out.report());
    assert!(env.path("one/a.jpg").exists() && env.path("three/c.jpg").exists());
    run(&["missing.duckdb", "one.duckdb"]).expect(1);
    run(&["one.duckdb"]).expect(0);
}

#[test]
fn the_report_says_what_failed_and_why() {
    if !has("jq") {
        return;
    }
    let guids = guids(6);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(404)]);
    origin.on(&guids[2], [Reply::status(403)]);
    let run = || example(&env, "why-failed.sh").args(places(&env, &origin, &[])).run();
    let out = run().expect(4).stdout_has("3 of 6 are here, 3 failed\n  2 not_found\n  1 forbidden\n");
    assert!(guids[..3].iter().all(|guid| out.stdout.contains(guid.as_str())), "{}", out.report());
    assert_eq!(std::fs::read_to_string(env.path("failed.txt")).unwrap().lines().count(), 3);
    let out = run().expect(0);
    assert!(!out.stdout.contains("for example"), "{}", out.report());
}

#[test]
fn the_textfile_is_what_prometheus_reads() {
    if !has("jq") {
        return;
    }
    let guids = guids(4);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(404)]);
    let run = || {
        example(&env, "prometheus.sh").arg(env.warehouse()).arg("toller.prom").run().expect(0);
        std::fs::read_to_string(env.path("toller.prom")).unwrap()
    };
    let before = run();
    assert!(before.contains("\",state=\"pending\"} 4\n") && !before.contains("last_run"), "{before}");
    env.fetch(&origin).run().expect(4);
    let metrics = run();
    let file = env.warehouse().display().to_string();
    assert!(metrics.contains(&format!("toller_images{{warehouse=\"{file}\",state=\"done\"}} 3\n")), "{metrics}");
    assert!(metrics.contains("kind=\"not_found\"} 1\n"), "{metrics}");
    assert!(metrics.contains("toller_last_run_seconds{") && metrics.contains("status=\"complete\"} "), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.ends_with('}') && value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(std::fs::metadata(env.path("toller.prom")).unwrap().mode() & 0o777, 0o644);
}

// --- the environment ---

/// toller, started by a line of shell in which `"$0" "$@"` is its command line.
fn in_shell(env: &Env, shell: &str, command: &str) -> Cmd {
    env.program("sh").args(["-c", shell]).arg(binary()).arg(command)
}

/// Fetches three GUIDs, the command line wrapped in a line of shell in which `"$0" "$@"` is it.
fn fetch_in(shell: &str, options: &[&str], variables: &[(&str, &str)]) -> (Env, Out) {
    let (env, origin) = (Env::with(&["a", "b", "c"]), Origin::start());
    let fetch = in_shell(&env, shell, "fetch").args(places(&env, &origin, &[])).args(options);
    let out = variables.iter().fold(fetch, |fetch, (name, value)| fetch.env(name, value)).run();
    (env, out)
}

#[test]
fn closed_streams_do_not_keep_it_from_its_job() {
    for shell in [r#"exec "$0" "$@" >&-"#, r#"exec "$0" "$@" 2>&-"#, r#"exec "$0" "$@" <&- >&- 2>&-"#] {
        for option in ["--json", "-v"] {
            let (env, out) = fetch_in(shell, &[option], &[]);
            out.expect(0);
            env.assert_done(&["a", "b", "c"]);
        }
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let (env, out) = fetch_in(r#""$0" "$@" | true; exit "${PIPESTATUS-0}""#, &["--json"], &[]);
    assert!(!out.stderr.contains("panicked"), "{}", out.report());
    env.assert_done(&["a", "b", "c"]);
}

#[test]
fn quiet_is_quiet_and_json_is_one_object() {
    let (env, out) = fetch_in(r#"exec "$0" "$@""#, &["-q"], &[]);
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(0), "", ""), "{}", out.report());
    env.assert_done(&["a", "b", "c"]);
    let (_env, out) = fetch_in(r#"exec "$0" "$@""#, &["--json", "-q"], &[]);
    assert_eq!((&out.json()["fetched"], out.stderr.as_str(), out.stdout.lines().count()), (&3.into(), "", 1));
}

#[test]
fn on_a_terminal_no_color_and_a_dumb_one_mean_plain_text() {
    if !has("script") {
        return;
    }
    // `script` gives it a terminal; everything that is said there comes to our stdout.
    let shell = r#"printf '"%s" ' "$0" "$@" >command; exec script -qec 'stty cols 100; . ./command' /dev/null"#;
    for (variables, plain, bar) in [
        (&[("TERM", "xterm"), ("NO_COLOR", "1")][..], false, true),
        (&[("TERM", "dumb")], true, false),
        (&[("TERM", "xterm")], false, true),
    ] {
        let (env, out) = fetch_in(shell, &[], variables);
        env.assert_done(&["a", "b", "c"]);
        assert!(out.stdout.contains("3 "), "{}", out.report());
        let (colour, moves) = (out.stdout.contains("\u{1b}[3"), out.stdout.contains('\u{1b}'));
        assert!(!colour || variables.len() == 1 && bar, "{variables:?}\n{}", out.report());
        assert!(!plain || !moves, "{variables:?}\n{}", out.report());
    }
}

#[test]
fn without_a_home_in_a_plain_locale_and_without_anything_else_it_works() {
    let (env, out) = fetch_in(r#"exec env -i LC_ALL=C LANG=C "$0" "$@""#, &[], &[]);
    out.expect(0);
    env.assert_done(&["a", "b", "c"]);
    let (env, out) = fetch_in(r#"exec env -i HOME=/nowhere TMPDIR=/nowhere "$0" "$@""#, &[], &[]);
    out.expect(0);
    env.assert_done(&["a", "b", "c"]);
    // GUIDs are UTF-8 whatever the locale says.
    let (env, origin) = (Env::with(&["żółw", "b c"]), Origin::start());
    env.fetch(&origin).env("LC_ALL", "C").run().expect(0);
    env.assert_done(&["żółw", "b c"]);
}

#[test]
fn the_umask_decides_who_may_read() {
    for (umask, file, folder) in [("077", 0o600, 0o700), ("022", 0o644, 0o755)] {
        let (env, out) = fetch_in(&format!(r#"umask {umask}; exec "$0" "$@""#), &[], &[]);
        out.expect(0);
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(env.image("a")), mode(env.dest())), (file, folder), "umask {umask}, file and folder");
        env.assert_done(&["a", "b", "c"]);
        // The lock, too, so that a colleague's run can be told to wait.
        assert_eq!(mode(env.dest().join(".toller/lock")), file, "umask {umask}, the lock");
    }
}

#[test]
fn a_working_directory_that_is_gone_matters_only_to_relative_paths() {
    let gone = r#"mkdir gone && cd gone && rmdir ../gone || exit 99; exec "$0" "$@""#;
    let (env, out) = fetch_in(gone, &[], &[]);
    out.expect(0);
    env.assert_done(&["a", "b", "c"]);
    let (env, out) = fetch_in(gone, &["--failed-list", "failed.txt"], &[]);
    out.expect(1).complains().stderr_has("failed.txt");
    assert!(env.files().is_empty());
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    let fetch = in_shell(&env, gone, "fetch").args(["--warehouse", "warehouse.duckdb", "--dest", "thumbs"]);
    fetch.args(["--url", &origin.template()]).run().expect(1).complains().stderr_has("warehouse.duckdb");
}
