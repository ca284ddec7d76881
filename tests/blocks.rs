//! Lists of nothing but ids, longer than what `load` takes at a time.

use crate::support::env::eventually;
use crate::support::{Cmd, Env, guids};

/// More than two blocks on any machine with up to four processors.
const LONG: usize = 1_000_000;

fn load(env: &Env, name: &str) -> Cmd {
    env.toller(["load", "--json", "--warehouse"]).arg(env.warehouse()).arg(name)
}

fn counts(env: &Env, name: &str) -> [u64; 4] {
    let out = load(env, name).run().expect(0).json();
    ["lines", "added", "known", "empty"].map(|name| out[name].as_u64().unwrap())
}

/// Asserts that the table holds these ids in this order, and no place where others were.
#[track_caller]
fn assert_table(env: &Env, ids: &[String]) {
    let rows = env.query("SELECT source_image_id FROM dim_image ORDER BY rowid").concat();
    assert_eq!(rows.len(), ids.len());
    let wrong = rows.iter().zip(ids).position(|(row, id)| row != id);
    assert_eq!(wrong, None, "{:?} in place of {:?}", rows[wrong.unwrap_or(0)], ids[wrong.unwrap_or(0)]);
    let places = "SELECT max(rowid) + 1, bool_and(thumb_downloaded = false AND updated_at IS NULL) FROM dim_image";
    assert_eq!(env.query(places), [[ids.len().to_string(), "true".into()]]);
}

#[test]
fn a_long_list_keeps_its_order_and_each_id_once() {
    let ids = guids(LONG);
    for name in ["g.txt", "g.csv"] {
        let env = Env::new();
        // Within a block, from one to the next, and the whole first half again; with empty lines between them.
        let list = ids.iter().flat_map(|id| [id.as_str(), ""]).chain([ids[0].as_str()]);
        let list: Vec<_> = list.chain(ids[..LONG / 2].iter().map(String::as_str)).chain([ids[3].as_str()]).collect();
        env.write(name, list.join("\n"));
        let known = LONG as u64 / 2 + 2;
        assert_eq!(counts(&env, name), [2 * LONG as u64 + known, LONG as u64, known, LONG as u64], "{name}");
        assert_table(&env, &ids);
        assert_eq!(counts(&env, name)[1], 0, "{name}");
    }
}

#[test]
fn a_long_list_extends_a_table_by_what_it_lacks() {
    let env = Env::new();
    let ids = guids(LONG);
    env.write("first.txt", ids[LONG / 4..].join("\n"));
    env.write("all.txt", [&ids[..], &ids[..LONG / 2]].concat().join("\n"));
    load(&env, "first.txt").run().expect(0);
    let (long, quarter) = (LONG as u64, LONG as u64 / 4);
    assert_eq!(counts(&env, "all.txt"), [long + 2 * quarter, quarter, long + quarter, 0]);
    assert_table(&env, &[&ids[LONG / 4..], &ids[..LONG / 4]].concat());
}

#[test]
fn texts_that_are_the_same_uuid_are_one_however_far_apart_they_stand() {
    let env = Env::new();
    env.sql("CREATE TABLE dim_image (source_image_id UUID, thumb_downloaded BOOLEAN)");
    let ids = guids(LONG / 2);
    let list = [&ids[..], &[ids[0].to_uppercase(), ids[1].clone()]].concat();
    env.write("g.txt", list.join("\n"));
    assert_eq!(counts(&env, "g.txt"), [LONG as u64 / 2 + 2, LONG as u64 / 2, 2, 0]);
    // What is no UUID is found wherever it stands.
    env.write("h.txt", [&list[..], &["no uuid".into()]].concat().join("\n"));
    load(&env, "h.txt").run().expect(1).complains().stderr_has("no uuid does not fit into UUID");
    assert_eq!(env.value("SELECT count(*) FROM dim_image"), (LONG / 2).to_string());
}

#[test]
fn the_first_line_of_a_long_csv_is_a_header_only_where_no_other_is_like_it() {
    let ids = guids(LONG / 2);
    let env = Env::new();
    env.write("g.csv", format!("guid\n{}\n", ids.join("\n")));
    assert_eq!(counts(&env, "g.csv"), [LONG as u64 / 2, LONG as u64 / 2, 0, 0]);
    assert_table(&env, &ids);
    // One that shows it at the very end is early enough.
    let env = Env::new();
    let all = [&["guid".into()], &ids[..], &["other".into()]].concat();
    env.write("g.csv", all.join("\n"));
    assert_eq!(counts(&env, "g.csv")[..2], [LONG as u64 / 2 + 2; 2]);
    assert_table(&env, &all);
}

#[test]
fn an_error_in_the_last_line_of_a_long_list_leaves_what_there_was() {
    let mut list = guids(LONG / 2).join("\n").into_bytes();
    list.extend(b"\nM\xfcller\n");
    let words = format!("line {}", LONG / 2 + 1);
    let env = Env::new();
    env.write("bad.txt", &list);
    load(&env, "bad.txt").run().expect(1).complains().stderr_has(&words);
    let left: Vec<_> = std::fs::read_dir(env.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["bad.txt"]);
    env.write("good.txt", "a\nb\n");
    load(&env, "good.txt").run().expect(0);
    load(&env, "bad.txt").run().expect(1).complains().stderr_has(&words);
    assert_table(&env, &["a".into(), "b".into()]);
    // And what was read before it is not there either.
    std::fs::remove_file(env.warehouse()).unwrap();
    load(&env, "good.txt").arg("bad.txt").run().expect(1).complains().stderr_has(&words);
    assert!(!env.warehouse().exists());
}

#[test]
fn a_load_that_is_killed_in_the_middle_of_a_long_list_leaves_what_there_was() {
    let list = guids(LONG).join("\n");
    let env = Env::new();
    let mut killed = load(&env, "-").open_stdin().spawn();
    killed.say(&list);
    let making = env.path(".warehouse.duckdb.toller/warehouse.duckdb");
    let size = || std::fs::metadata(&making).map_or(0, |found| found.len());
    eventually("the first block to be written", || (size() > 1 << 20).then_some(()));
    killed.kill9();
    assert!(!env.warehouse().exists(), "there is no half a warehouse");
    env.write("good.txt", "a\nb\n");
    load(&env, "good.txt").run().expect(0);
    let mut killed = load(&env, "-").open_stdin().spawn();
    killed.say(&list);
    killed.kill9();
    assert_table(&env, &["a".into(), "b".into()]);
}

#[test]
fn long_and_odd_ids_are_what_they_were_in_a_block_too() {
    let env = Env::new();
    let long = |n: usize| format!("{n}{}", "x".repeat(3 << 20));
    let ids: Vec<_> = (0..9).map(long).chain(["a\0b", "\u{85}c", "\"d\"", " e ", "f,g"].map(String::from)).collect();
    env.write("g.txt", format!("{}\n \t\n", ids.join("\r\n")));
    assert_eq!(counts(&env, "g.txt"), [15, 14, 0, 1]);
    assert_table(&env, &ids);
}
