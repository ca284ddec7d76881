//! The command line that one guesses: help in every spelling, what was meant, and errors that say what would have been right.

use crate::support::{Env, Origin};

#[test]
fn help_is_there_however_one_asks_for_it() {
    let env = Env::new();
    let ask = |args: &[&str]| env.toller(args).run().expect(0).stdout;
    assert_eq!(ask(&["help"]), ask(&["--help"]));
    assert_eq!(ask(&["help", "fetch"]), ask(&["fetch", "--help"]));
    env.toller(["fetsh"]).run().expect(2).complains().stderr_has("exists: 'fetch'");
    env.toller(["status", "--warehuse", "x"]).run().expect(2).complains().stderr_has("exists: '--warehouse'");
}

#[test]
fn help_wraps_at_words_and_fits_the_terminal() {
    let env = Env::new();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let wide = env.toller(["fetch", "-h"]).run().expect(0).stdout;
    for columns in [70, 80] {
        let out = env.toller(["fetch", "-h"]).on_terminal(columns).run().expect(0);
        let longest = out.stdout.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(longest <= Some(columns.into()), "{}", out.report());
        assert_eq!(words(&out.stdout), words(&wide), "the same words");
    }
}

#[test]
fn a_home_folder_that_no_shell_has_named_is_refused_by_every_command_alike() {
    let (env, origin) = (Env::with(&["a"]), Origin::builder().small().start());
    for command in ["fetch", "status", "load", "verify", "pending", "merge"] {
        let out = env.toller([command, "--warehouse=~/x.duckdb"]).run().expect(2).complains();
        assert!(out.stderr.contains("\"$HOME/x.duckdb\", or ./~/x.duckdb"), "{}", out.report());
    }
    env.fetch(&origin).arg("--dest=~/thumbs").run().expect(2).stderr_has("$HOME/thumbs");
    env.fetch(&origin).env("TOLLER_FAILED_LIST", "~someone/list").run().expect(2).stderr_has("./~someone/list");
    env.toller(["load", "--warehouse", "w.duckdb", "~/list.txt"]).run().expect(2).stderr_has("$HOME/list.txt");
    assert!(!env.path("~").exists() && !env.path("w.duckdb").exists() && origin.request_count() == 0);
    // A name that only begins so, or says where it is, is a name.
    env.fetch(&origin).args(["--failed-list", "~list"]).arg("--dest=./~/thumbs").run().expect(0);
    assert!(env.path("~list").is_file() && env.path("~/thumbs/a.jpg").is_file());
}

#[test]
fn all_columns_that_are_missing_are_named_at_once_with_those_that_are_there() {
    let env = Env::new();
    env.sql("CREATE TABLE dim_image (guid VARCHAR, home BOOLEAN, changed TIMESTAMP)");
    let status = |more: &[&str]| env.toller(["status", "--warehouse"]).arg(env.warehouse()).args(more).run().expect(1);
    let out = status(&["--updated-column", "seen"]).complains();
    assert!(
        out.stderr.contains("no columns source_image_id, thumb_downloaded, seen in dim_image\n"),
        "{}",
        out.report()
    );
    let way_out =
        "its columns are guid, home, changed; name others with --id-column, --done-column, --updated-column\n";
    assert!(out.stderr.contains(way_out), "{}", out.report());
    let out = status(&["--id-column", "guid"]);
    assert!(out.stderr.contains("no column thumb_downloaded in dim_image\n"), "{}", out.report());
}

#[test]
fn a_url_without_a_scheme_says_so() {
    let env = Env::with(&["a"]);
    for url in ["cdn.example.com/{guid}.jpg", "//cdn.example.com/{guid}.jpg"] {
        let out = env.fetch_url(url).run().expect(2).complains().stderr_has("it has no scheme\n");
        assert!(out.stderr.contains("--url 'https://cdn.example.com/{guid}.jpg'"), "{}", out.report());
    }
}

#[test]
fn a_condition_that_cannot_be_is_told_in_short_and_times_with_their_way_out() {
    let env = Env::with(&["a"]);
    env.sql("ALTER TABLE dim_image ADD COLUMN tz TIMESTAMPTZ");
    let status =
        |condition: &str| env.toller(["status", "--where", condition, "--warehouse"]).arg(env.warehouse()).run();
    for condition in [
        "updated_at > now() - INTERVAL 7 DAY",
        "tz > now() - INTERVAL 7 DAY",
        "tz > current_date",
        "tz::DATE = today()",
        "date_trunc('day', tz) > '2024-01-01'",
        "updated_at + 1 > '2024-01-01'",
        "no_such_function(tz)",
    ] {
        let out = status(condition).expect(2).complains().stderr_has("--where");
        assert!(out.stderr.lines().all(|line| line.chars().count() < 180), "{}", out.report());
        let times = condition.contains("tz") && !condition.contains("no_such") || condition.contains("now()");
        assert_eq!(out.stderr.contains("now()::TIMESTAMP - INTERVAL 7 DAY"), times, "{}", out.report());
    }
    // What the way out names works.
    for condition in ["tz::TIMESTAMP > now()::TIMESTAMP - INTERVAL 7 DAY", "updated_at < now()::TIMESTAMP::DATE"] {
        status(condition).expect(0);
    }
}
