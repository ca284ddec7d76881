//! `toller pending`: what is missing, a line each, in parts that are the same on every machine.

use crate::support::{Cmd, Env, binary, guids};
use std::collections::BTreeSet;

fn pending(env: &Env) -> Cmd {
    env.toller(["pending", "--warehouse"]).arg(env.warehouse())
}

/// The same as a word for a shell's pipeline.
fn typed(env: &Env) -> String {
    format!("'{}' pending --warehouse '{}'", binary().display(), env.warehouse().display())
}

fn lines(cmd: Cmd) -> Vec<String> {
    cmd.run().expect(0).stdout.lines().map(str::to_owned).collect()
}

/// A table of so many ids, `g0` and so on, with no file of guids to carry around.
fn many(env: &Env, count: usize) {
    env.sql(&format!(
        "CREATE TABLE dim_image AS SELECT 'g' || i AS source_image_id, false AS thumb_downloaded FROM range({count}) AS r(i)"
    ));
}

fn crc32(text: &str) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    crc.sum()
}

#[test]
fn what_is_missing_is_printed_once_and_in_the_tables_order() {
    let guids = guids(20);
    let env = Env::with(&guids);
    let row = |id: &str, done: &str| format!("INSERT INTO dim_image VALUES ({id}, {done}, NULL);");
    env.sql(&(row("NULL", "false") + &row("'done'", "true") + &row("'null'", "NULL")));
    env.sql(&(row(&format!("'{}'", guids[3]), "false") + &row("'null'", "false") + &row("'done too'", "true")));
    let wanted: Vec<String> = guids.iter().cloned().chain(["null".to_owned()]).collect();
    assert_eq!(lines(pending(&env)), wanted);
    // A failure, even one for good, is still missing; --where can leave it out.
    env.sql("CREATE TABLE other AS SELECT 'null' AS source_image_id");
    let condition = "source_image_id NOT IN (SELECT source_image_id FROM other) -- a comment";
    assert_eq!(lines(pending(&env).args(["--where", condition])), guids);
}

#[test]
fn an_id_column_that_is_a_key_or_a_number_is_printed_as_well() {
    let env = Env::new();
    env.sql(
        "CREATE TABLE dim_image (source_image_id INTEGER PRIMARY KEY, thumb_downloaded BOOLEAN);
         INSERT INTO dim_image VALUES (7, false), (-3, NULL), (5, true);",
    );
    assert_eq!(lines(pending(&env)), ["7", "-3"]);
}

#[test]
fn more_than_one_page_keeps_the_order_and_drops_what_is_repeated() {
    let env = Env::new();
    many(&env, 1_000_000);
    env.sql(&format!(
        "COPY (SELECT source_image_id FROM dim_image) TO '{}' (HEADER false);
         INSERT INTO dim_image SELECT 'g' || (i * 3) AS source_image_id, false FROM range(300_000) AS r(i);",
        env.path("wanted").display()
    ));
    // Long URLs, so that a page is full before the table ends.
    env.sql("ALTER TABLE dim_image ADD COLUMN url VARCHAR DEFAULT 'https://example.org/a-long-path/a-long-name'");
    let line = format!("{} --url-column url | cut -f 1 | cmp - wanted", typed(&env));
    env.program("bash").args(["-o", "pipefail", "-c", &line]).run().expect(0);
}

#[test]
fn a_condition_on_another_table_keeps_the_order_too() {
    let env = Env::new();
    many(&env, 30_000);
    // Large enough that DuckDB would rather go through it and look into dim_image than the other way round.
    env.sql("CREATE TABLE wanted AS SELECT 'g' || i AS g FROM range(300_000) AS r(i) ORDER BY hash(i)");
    let printed = lines(pending(&env).args(["--where", "source_image_id IN (SELECT g FROM wanted)"]));
    let in_order: Vec<String> = (0..30_000).map(|number| format!("g{number}")).collect();
    assert!(printed == in_order, "{} lines, from {:?}", printed.len(), printed.first());
}

#[test]
fn shards_are_disjoint_and_complete() {
    let guids = guids(500);
    let env = Env::with(&guids);
    for of in [1, 3, 8] {
        let mut all = BTreeSet::new();
        for part in 1..=of {
            let shard = lines(pending(&env).args(["--shard", &format!("{part}/{of}")]));
            assert!(shard.len() > 500 / of / 2, "shard {part} of {of} has only {}", shard.len());
            for guid in shard {
                assert!(all.insert(guid.clone()), "{guid} is in two shards of {of}");
            }
        }
        assert_eq!(all.into_iter().collect::<Vec<_>>(), sorted(&guids));
    }
}

fn sorted(guids: &[String]) -> Vec<String> {
    guids.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn the_shard_of_a_guid_is_its_crc_32_and_nothing_of_this_machine() {
    // As python3 -c 'import zlib; print(zlib.crc32("ü".encode()))' says.
    let known = [("0d3b5f0e-1f2a-4c3d-8e4f-5a6b7c8d9e0f", 56_994_261), ("ü", 1_675_192_789), ("a b%2e", 3_433_703_549)];
    let env = Env::with(&known.map(|(guid, _)| guid));
    for (guid, crc) in known {
        assert_eq!(crc32(guid), crc);
        for of in [2, 5, 8, 1000] {
            let shard = lines(pending(&env).args(["--shard", &format!("{}/{of}", crc % of + 1)]));
            assert!(shard.contains(&guid.to_owned()), "{guid} of {of}");
        }
    }
}

#[test]
fn shard_auto_reads_what_slurm_and_kubernetes_say() {
    let guids = guids(40);
    let env = Env::with(&guids);
    let part = |number| lines(pending(&env).args(["--shard", &format!("{number}/4")]));
    let auto = |vars: &[(&str, &str)]| {
        let cmd = pending(&env).args(["--shard", "auto"]);
        vars.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    };
    let slurm = |id, min| [("SLURM_ARRAY_TASK_ID", id), ("SLURM_ARRAY_TASK_COUNT", "4"), ("SLURM_ARRAY_TASK_MIN", min)];
    assert_eq!(lines(auto(&slurm("3", "1"))), part(3));
    assert_eq!(lines(auto(&slurm("3", "0"))), part(4));
    assert_eq!(lines(auto(&slurm("12", "10"))), part(3));
    assert_eq!(lines(auto(&[("JOB_COMPLETION_INDEX", "0"), ("JOB_COMPLETIONS", "4")])), part(1));
    assert_eq!(lines(auto(&[("JOB_COMPLETION_INDEX", "3"), ("JOB_COMPLETIONS", "4")])), part(4));
    auto(&[]).run().expect(2).complains().stderr_has("--shard auto");
    auto(&[("JOB_COMPLETION_INDEX", "0")]).run().expect(2).complains();
    auto(&[("JOB_COMPLETION_INDEX", "4"), ("JOB_COMPLETIONS", "4")]).run().expect(2).complains();
}

#[test]
fn a_shard_that_is_none_is_a_wrong_command_line() {
    let env = Env::with(&guids(1));
    for wrong in ["0/4", "5/4", "1/0", "1", "", "/", "a/b", "-1/4", "1/4/2", "4294967297/4294967298"] {
        pending(&env).arg(format!("--shard={wrong}")).run().expect(2).complains();
    }
}

#[test]
fn where_and_limit_choose_and_sql_that_is_none_is_a_wrong_command_line() {
    let guids = guids(9);
    let env = Env::with(&guids);
    assert_eq!(lines(pending(&env).args(["--limit", "4"])), guids[..4]);
    assert!(lines(pending(&env).args(["--limit", "0"])).is_empty());
    let one = format!("source_image_id = '{}'", guids[5]);
    assert_eq!(lines(pending(&env).args(["--where", &one])), guids[5..6]);
    pending(&env).args(["--where", "no_such_column"]).run().expect(2).complains().stderr_has("--where");
    pending(&env).args(["--where", "1 = 1) --"]).run().expect(2).complains();
    pending(&env).args(["--url-column", "nowhere"]).run().expect(1).complains().stderr_has("--url-column");
    pending(&env).args(["--table", "nowhere"]).run().expect(1).complains().stderr_has("--table");
}

#[test]
fn a_url_column_stands_behind_a_tab() {
    let env = Env::new();
    env.sql(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, link VARCHAR);
         INSERT INTO dim_image VALUES ('a', false, 'https://h/a.jpg'), ('b', false, NULL), ('c', false, E'x\\ny\\tz');",
    );
    let out = pending(&env).args(["--url-column", "link"]).run().expect(0);
    // What would break the line becomes a space, and so no URL.
    assert_eq!(out.stdout, "a\thttps://h/a.jpg\nb\nc\tx y z\n");
}

#[test]
fn ids_that_no_line_can_hold_are_left_out_in_words() {
    let env = Env::with(&["good", "", "two\nlines", "a\ttab", "return\r", "also good"]);
    let out = pending(&env).run().expect(0).stderr_has("4 ids");
    assert_eq!(out.stdout, "good\nalso good\n");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_with_0() {
    let env = Env::new();
    many(&env, 300_000);
    let line = format!("{} | head -n 2; echo ${{PIPESTATUS[0]}}", typed(&env));
    let out = env.program("bash").args(["-c", &line]).run().expect(0);
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("g0\ng1\n0\n", ""));
}

#[test]
fn a_slow_reader_does_not_keep_the_warehouse_from_others() {
    let env = Env::new();
    many(&env, 300_000);
    let slowly = "{ read -r first; echo \"$first\"; read -r go <&3; wc -l; }";
    let line = format!("exec 3<&0; {} < /dev/null | {slowly}", typed(&env));
    let mut reader = env.program("bash").args(["-c", &line]).open_stdin().spawn();
    reader.wait_for_stdout("g0");
    // A program that writes needs the warehouse for itself.
    env.sql("UPDATE dim_image SET thumb_downloaded = true WHERE source_image_id = 'g5'");
    reader.say("go on\n");
    let out = reader.wait().expect(0);
    assert_eq!(out.stdout.lines().last(), Some("299999"), "{}", out.report());
}

#[test]
fn a_locked_warehouse_is_waited_for_and_then_75() {
    let env = Env::with(&guids(3));
    let occupied = env.occupy();
    pending(&env).args(["--lock-wait", "0"]).run().expect(75).complains();
    let waiting = pending(&env).spawn();
    drop(occupied);
    assert_eq!(waiting.wait().expect(0).stdout.lines().count(), 3);
}
