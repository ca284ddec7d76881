//! `-` is standard input wherever an option takes a file, and nothing reads it twice.

use crate::support::{Cmd, Env, Origin, Tls, client_pem, guids};

#[test]
fn whatever_an_option_reads_from_a_file_it_reads_from_standard_input() {
    let guids = guids(3);
    let origin = Origin::builder().small().tls(Tls::ClientCert).start();
    let ca = std::fs::read_to_string(origin.ca()).unwrap();
    let (cert, key) = client_pem();
    let both = format!("{key}{cert}");
    for (from_stdin, text) in
        [("--header-file", "# a secret\nX-Token: right\n"), ("--ca-cert", &ca), ("--cert", &both), ("--key", &key)]
    {
        let env = Env::with(&guids);
        let mut fetch = env.fetch_url(&origin.template()).stdin(text).args([from_stdin, "-"]);
        for (option, text) in [("--ca-cert", &ca), ("--cert", &both), ("--key", &key)] {
            // The key is in the file of --cert too.
            let needed = option != from_stdin && (option != "--key" || from_stdin == "--header-file");
            if needed {
                fetch = fetch.arg(option).arg(env.write(&format!("{option}.pem"), text));
            }
        }
        fetch.run().expect(0);
        env.assert_done(&guids);
        let token = origin.requests().last().and_then(|request| request.header("X-Token").map(str::to_owned));
        assert_eq!(token.as_deref(), (from_stdin == "--header-file").then_some("right"), "{from_stdin}");
    }
    let env = Env::with(&guids);
    let out = env.fetch_url(&origin.template()).args(["--ca-cert", "-"]).stdin("no PEM").run().expect(1).complains();
    assert!(out.stderr.contains("trust roots: -: no certificate in it"), "{}", out.report());
    assert!(!env.dest().exists());
}

#[test]
fn a_certificate_with_its_key_may_come_from_a_pipe() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().tls(Tls::ClientCert).start());
    let (cert, key) = client_pem();
    let both = env.write("both.pem", format!("{key}{cert}"));
    // As a shell gives `--cert <(COMMAND)`.
    let script = format!("cat {} | \"$@\" --cert /dev/stdin", both.display());
    env.fetch(&origin).under("sh", ["-c", &script, "sh"]).run().expect(0);
    env.assert_done(&["a"]);
}

#[test]
fn standard_input_is_never_read_for_two() {
    let (env, origin) = (Env::with(&["a"]), Origin::start());
    let text = std::fs::read_to_string(origin.ca()).unwrap();
    let fetch = || env.fetch_url(&origin.template());
    let pipe = || env.toller(["pipe", "--url", &origin.template(), "--dest", "thumbs"]);
    let of_lists = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
    let assert_refused = |cmd: Cmd, refused: &str, taken: &str| {
        let out = cmd.stdin(text.as_str()).run().expect(2).complains().stderr_has("standard input");
        assert!(out.stderr.contains(refused) && out.stderr.contains(taken), "{}", out.report());
    };
    assert_refused(fetch().args(["--header-file", "-", "--ca-cert", "-"]), "--ca-cert -", "--header-file");
    assert_refused(fetch().args(["--header-file", "-", "--header-file", "-"]), "--header-file -", "--header-file");
    assert_refused(fetch().args(["--cert", "-", "--key", "-"]), "--key -", "--cert");
    assert_refused(fetch().args(["-n", "--cert", "-"]).env("TOLLER_CA_CERT", "-"), "--cert -", "--ca-cert");
    for option in ["--header-file", "--ca-cert", "--cert"] {
        assert_refused(pipe().args([option, "-"]), &format!("{option} -"), "the list of GUIDs");
    }
    assert_refused(of_lists("load").args(["-", "-"]), "GUIDS -", "GUIDS");
    assert_refused(of_lists("merge").args(["-", "-"]), "OUTCOMES -", "OUTCOMES");
    assert_eq!(origin.connections(), 0);
    assert!(!env.dest().exists());
}
