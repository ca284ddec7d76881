//! What is made of the program for those who do not build it: the script that installs a release, the wheel, the image.
//! A script that says its name stands in for the program, which the makers do not look into.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Reply, python};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// An unpacked archive of release.sh with this program in it.
fn tree(env: &Env, name: &str, program: &str) -> PathBuf {
    env.script(&format!("{name}/toller"), program);
    for other in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt"] {
        env.write(&format!("{name}/{other}"), other);
    }
    env.path(name)
}

// --- install.sh ---

const PROGRAM: &str = "#!/bin/sh\necho toller 9.9.9 says $*\n";

/// A release on an origin: `SHA256SUMS` and an archive for this processor, and the installer that knows it.
fn release(env: &Env, processor: &str) -> Option<(Origin, Vec<u8>, String)> {
    if !env.program("curl").arg("--version").try_run() {
        skipped("no curl");
        return None;
    }
    let name = format!("toller-9.9.9-{processor}-unknown-linux-gnu");
    tree(env, &name, PROGRAM);
    env.program("tar").args(["-czf", "archive.tar.gz", &name]).run().expect(0);
    let archive = std::fs::read(env.path("archive.tar.gz")).unwrap();
    let sum = env.program("sha256sum").arg("archive.tar.gz").run().expect(0).stdout;
    let sums = format!("{}  install.sh\n{}  {name}.tar.gz\n", "0".repeat(64), &sum[..64]);
    let origin = Origin::start();
    origin.on("/SHA256SUMS", [Reply::bytes(200, "text/plain", sums)]);
    Some((origin, archive, format!("/{name}.tar.gz")))
}

fn install(env: &Env, origin: &Origin) -> Cmd {
    let install = env.program(repository("scripts/install.sh")).env("TOLLER_INSTALL_FROM", &origin.url());
    install
        .env("HOME", &env.path("home").display().to_string())
        .env("CURL_CA_BUNDLE", &origin.ca().display().to_string())
}

#[test]
fn the_installer_puts_the_checked_program_of_this_processor_in_place_of_the_old_one() {
    let env = Env::new();
    let Some((origin, archive, name)) = release(&env, std::env::consts::ARCH) else { return };
    origin.on(&name, [Reply::bytes(200, "application/gzip", archive)]);
    let installed = env.write("home/.local/bin/toller", "the old one");
    let out = install(&env, &origin).run().expect(0).stdout_has("toller 9.9.9").stdout_has("not on your PATH");
    assert_eq!(out.stderr, "", "{}", out.report());
    env.program(&installed).arg("hello").run().expect(0).stdout_has("says hello");
    let beside = std::fs::read_dir(installed.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "{}", out.report());
}

#[test]
fn the_installer_changes_nothing_when_a_sum_differs_or_a_download_fails() {
    let env = Env::new();
    let Some((origin, mut archive, name)) = release(&env, std::env::consts::ARCH) else { return };
    let installed = env.write("home/.local/bin/toller", "the old one");
    archive[40] ^= 1;
    origin.on(&name, [Reply::bytes(200, "application/gzip", archive)]);
    install(&env, &origin).run().expect(1).stderr_has("SHA-256").stderr_has("nothing was installed");
    origin.on("/SHA256SUMS", [Reply::bytes(200, "text/plain", "")]);
    install(&env, &origin).run().expect(1).stderr_has("no archive for");
    origin.on("/SHA256SUMS", [Reply::status(404)]);
    install(&env, &origin).run().expect(1).stderr_has("SHA256SUMS: it did not come");
    assert_eq!(std::fs::read_to_string(installed).unwrap(), "the old one");
    // The copy in the source does not know a release.
    let unnamed = env.program(repository("scripts/install.sh")).run();
    unnamed.expect(1).stderr_has("belongs to no release").stderr_has("TOLLER_INSTALL_FROM");
}

#[test]
fn a_release_that_lacks_something_is_none_and_its_own_installer_knows_where_it_lies() {
    let env = Env::new();
    let version = env!("CARGO_PKG_VERSION");
    let from = "https://releases.example.com/v1";
    let tag = format!("v{version}");
    let sums = |tag: &str| env.program(repository("scripts/packaging/sums.sh")).arg(env.path("dist")).args([from, tag]);
    let mut files = vec![format!("toller-{version}-vendored.tar.xz")];
    for (processor, debian) in [("x86_64", "amd64"), ("aarch64", "arm64")] {
        let tags = format!("manylinux_2_17_{processor}.manylinux2014_{processor}.musllinux_1_1_{processor}");
        files.push(format!("toller-{version}-{processor}-unknown-linux-gnu.tar.gz"));
        files.push(format!("toller_{version}-1_{debian}.deb"));
        files.push(format!("toller-{version}-py3-none-{tags}.whl"));
    }
    for file in &files {
        env.write(&format!("dist/{file}"), file);
    }
    let image = format!("toller-{version}-image.tar");
    sums(&tag).run().expect(1).stderr_has(&format!("{image} is not in"));
    for (architectures, code) in [(&["amd64"][..], 1), (&["amd64", "arm64"], 0)] {
        let platforms: String = architectures.iter().map(|name| format!(r#"{{"architecture":"{name}"}}"#)).collect();
        env.write("layout/blobs/sha256/0", platforms);
        env.program("tar").args(["-cf", &format!("dist/{image}"), "-C", "layout", "blobs"]).run().expect(0);
        sums(&tag).run().expect(code);
    }
    sums("v0.0.0").run().expect(1).stderr_has("the tag is v0.0.0");
    files.extend([image, "install.sh".into()]);
    let listed = std::fs::read_to_string(env.path("dist/SHA256SUMS")).unwrap();
    let listed: BTreeSet<&str> = listed.lines().map(|line| &line[66..]).collect();
    assert_eq!(listed, files.iter().map(String::as_str).collect());
    let installer = std::fs::read_to_string(env.path("dist/install.sh")).unwrap();
    assert!(installer.contains(&format!("${{TOLLER_INSTALL_FROM:-{from}}}")), "{installer}");
}

// --- what is made of an archive ---

/// Runs a maker of scripts/packaging; none where there is no Python.
fn make(env: &Env, maker: &str, args: &[&str]) -> Option<()> {
    // It reads the manifest with Python's own parser, which came with 3.11.
    let Some(python) = python().filter(|python| env.program(python).args(["-c", "import tomllib"]).try_run()) else {
        skipped("no Python 3.11");
        return None;
    };
    let from = r#"cd "$0" && exec "$@""#;
    let python = env.program("sh").args(["-c", from]).arg(repository("")).arg(python);
    python.arg(format!("scripts/packaging/{maker}")).args(args).env("SOURCE_DATE_EPOCH", "1800000000").run().expect(0);
    Some(())
}

#[test]
fn the_same_archive_makes_the_same_wheel_and_python_runs_it() {
    let env = Env::new();
    let tree = tree(&env, "tree", "#!/bin/sh\necho \"$@\"; exit 3\n").display().to_string();
    let wheels: Option<Vec<PathBuf>> = ["one", "two"]
        .map(|name| {
            std::fs::create_dir(env.path(name)).unwrap();
            make(&env, "wheel.py", &[&tree, "aarch64-unknown-linux-gnu", &env.path(name).display().to_string()])?;
            Some(std::fs::read_dir(env.path(name)).unwrap().next().unwrap().unwrap().path())
        })
        .into_iter()
        .collect();
    let Some(wheels) = wheels else { return };
    assert_eq!(wheels[0].file_name(), wheels[1].file_name());
    assert!(std::fs::read(&wheels[0]).unwrap() == std::fs::read(&wheels[1]).unwrap(), "{wheels:?}");
    let pip = || env.program(python().unwrap()).args(["-m", "pip", "--disable-pip-version-check"]);
    if !pip().arg("--version").try_run() {
        return skipped("no pip");
    }
    for platform in ["manylinux_2_17_aarch64", "musllinux_1_1_aarch64"] {
        let install = pip().args(["install", "-q", "--no-index", "--only-binary", ":all:", "--platform", platform]);
        install.args(["--target", platform]).arg(&wheels[0]).run().expect(0);
    }
    let module = env.program(python().unwrap()).args(["-m", "toller", "pending", "a b"]);
    let out = module.env("PYTHONPATH", &env.path("musllinux_1_1_aarch64").display().to_string()).run().expect(3);
    assert_eq!(out.stdout, "pending a b\n", "{}", out.report());
}

/// A blob of an unpacked image as JSON.
fn blob(env: &Env, described: &serde_json::Value) -> serde_json::Value {
    let digest = described["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = std::fs::read(env.path(&format!("layout/blobs/sha256/{digest}"))).unwrap();
    assert_eq!(described["size"], bytes.len());
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn the_same_archives_make_the_same_image_with_the_program_and_nothing_to_run_it_with() {
    let env = Env::new();
    let trees = ["x86_64", "aarch64"].map(|processor| {
        let tree = tree(&env, processor, processor).display().to_string();
        format!("{tree}:{processor}-unknown-linux-gnu")
    });
    for name in ["one.tar", "two.tar"] {
        let file = env.path(name).display().to_string();
        let Some(()) = make(&env, "image.py", &[&file, &trees[0], &trees[1]]) else { return };
    }
    assert!(std::fs::read(env.path("one.tar")).unwrap() == std::fs::read(env.path("two.tar")).unwrap());
    std::fs::create_dir(env.path("layout")).unwrap();
    env.program("tar").args(["-xf", "one.tar", "-C", "layout"]).run().expect(0);
    // Every blob is under the name of its own digest.
    let blobs = r#"cd layout/blobs/sha256; for blob in *; do echo "$blob  $blob"; done | sha256sum --quiet -c"#;
    env.program("sh").args(["-c", blobs]).run().expect(0);
    let index = std::fs::read(env.path("layout/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let images = &blob(&env, &index["manifests"][0])["manifests"];
    for (n, (architecture, program)) in [("amd64", "x86_64"), ("arm64", "aarch64")].into_iter().enumerate() {
        assert_eq!(images[n]["platform"]["architecture"], architecture);
        let manifest = blob(&env, &images[n]);
        let config = blob(&env, &manifest["config"]);
        assert_eq!(config["architecture"], architecture);
        assert_eq!(
            (&config["config"]["User"], &config["config"]["Entrypoint"][0]),
            (&"65532:65532".into(), &"/bin/toller".into())
        );
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "layout/blobs/sha256/");
        let said = env.program("tar").args(["-tvzf", &layer]).run().expect(0).stdout;
        let files: Vec<&str> = said.lines().filter(|line| line.contains("x ") && line.starts_with('-')).collect();
        assert!(files.len() == 1 && files[0].ends_with(" bin/toller"), "{said}");
        env.program("tar").args(["-xzOf", &layer, "bin/toller"]).run().expect(0).stdout_has(program);
    }
}
