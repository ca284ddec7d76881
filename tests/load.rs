//! `load`: from a list of GUIDs, in whatever file it comes, to a warehouse that `fetch` takes.

use crate::support::env::quoted;
use crate::support::{Cmd, Env, Origin, duckdbs, guid, guids};

fn load(env: &Env, name: &str) -> Cmd {
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg(name)
}

fn ids(env: &Env) -> Vec<String> {
    env.query("SELECT source_image_id FROM dim_image ORDER BY 1").concat()
}

#[test]
fn a_loaded_warehouse_is_what_fetch_wants() {
    let guids = guids(10);
    let (env, origin) = (Env::new(), Origin::start());
    env.write("guids.txt", guids.join("\n"));
    load(&env, "guids.txt").run().expect(0);
    env.fetch(&origin).run().expect(0);
    env.assert_done(&guids);
    let columns = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'dim_image' ORDER BY 1";
    let wanted = [["source_image_id", "VARCHAR"], ["thumb_downloaded", "BOOLEAN"], ["updated_at", "TIMESTAMP"]];
    assert_eq!(env.query(columns), wanted);
}

#[test]
fn every_format_gives_the_same_rows() {
    let [a, b] = [guid(1), guid(2)];
    let json = |id: &str| format!("{{\"source_image_id\": \"{id}\", \"width\": 3}}");
    for (name, text) in [
        ("g.txt", format!("{a}\n{b}\n")),
        ("g.csv", format!("source_image_id,width\n{a},3\n{b},3\n")),
        ("g.tsv", format!("source_image_id\twidth\n{a}\t3\n{b}\t3\n")),
        ("g.ndjson", format!("{}\n{}\n", json(&a), json(&b))),
        ("g.json", format!("[{},\n{}]\n", json(&a), json(&b))),
    ] {
        let env = Env::new();
        env.write(name, text);
        load(&env, name).run().expect(0);
        let mut wanted = vec![a.clone(), b.clone()];
        wanted.sort();
        assert_eq!(ids(&env), wanted, "{name}");
        let flags = "SELECT count(*) FROM dim_image WHERE thumb_downloaded IS DISTINCT FROM true";
        assert_eq!(env.value(flags), "2", "{name}");
    }
}

#[test]
fn parquet_is_read_too() {
    let env = Env::new();
    let file = env.path("g.parquet");
    env.sql(&format!(
        "COPY (SELECT unnest(['a', 'b']) AS source_image_id, 3 AS width) TO {} (FORMAT parquet)",
        quoted(&file.display().to_string())
    ));
    std::fs::remove_file(env.warehouse()).unwrap();
    load(&env, "g.parquet").run().expect(0);
    assert_eq!(env.query("SELECT source_image_id, width FROM dim_image ORDER BY 1"), [["a", "3"], ["b", "3"]]);
}

#[test]
fn standard_input_is_a_file_like_any_other() {
    let env = Env::new();
    load(&env, "-").stdin("a\nb\n").run().expect(0);
    assert_eq!(ids(&env), ["a", "b"]);
}

#[test]
fn several_files_are_one_list() {
    let env = Env::new();
    env.write("one.txt", "a\nb\n");
    env.write("two.csv", "source_image_id\nb\nc\n");
    load(&env, "one.txt").arg("two.csv").run().expect(0);
    assert_eq!(ids(&env), ["a", "b", "c"]);
}

#[test]
fn loading_twice_adds_nothing() {
    let env = Env::new();
    env.write("g.txt", "a\nb\na\n");
    load(&env, "g.txt").run().expect(0);
    env.sql("UPDATE dim_image SET thumb_downloaded = true WHERE source_image_id = 'a'");
    let before = env.query("FROM dim_image ORDER BY 1");
    assert_eq!(before.len(), 2);
    load(&env, "g.txt").run().expect(0);
    assert_eq!(env.query("FROM dim_image ORDER BY 1"), before, "and takes nothing back");
}

#[test]
fn a_table_that_is_there_is_extended() {
    let env = Env::new();
    env.sql(
        "CREATE TABLE dim_image (id_was_first INTEGER, source_image_id UUID, thumb_downloaded BOOLEAN);
         CREATE TABLE other (x INTEGER)",
    );
    let [a, b] = [guid(1), guid(2)];
    env.sql(&format!("INSERT INTO dim_image VALUES (1, '{a}', true)"));
    // The same UUID in capitals is the same UUID.
    env.write("g.txt", format!("{}\n{b}\n", a.to_uppercase()));
    load(&env, "g.txt").run().expect(0);
    let rows = env.query("SELECT id_was_first, source_image_id, thumb_downloaded FROM dim_image ORDER BY 1");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], ["1", &a, "true"]);
    assert_eq!(rows[1][..2], ["NULL".to_owned(), b]);
}

#[test]
fn other_columns_come_along_into_a_new_table() {
    let env = Env::new();
    env.write("g.csv", "title,source_image_id,width\nSunset,a,300\n\"Sea, far\",b,200\n");
    load(&env, "g.csv").run().expect(0);
    let rows = env.query("SELECT source_image_id, title, width + 1 FROM dim_image ORDER BY 1");
    assert_eq!(rows, [["a", "Sunset", "301"], ["b", "Sea, far", "201"]]);
}

#[test]
fn the_id_column_may_have_another_name() {
    let (env, origin) = (Env::new(), Origin::start());
    env.write("g.csv", "n,image guid\n1,a\n2,b\n");
    load(&env, "g.csv").args(["--id-column", "image guid"]).run().expect(0);
    env.fetch(&origin).args(["--id-column", "image guid"]).run().expect(0);
    assert_eq!(env.files(), ["a.jpg", "b.jpg"].map(String::from).into());
}

#[test]
fn an_id_is_text_and_stays_as_it_was_written() {
    let env = Env::new();
    env.write("g.txt", "007\n1e3\n2024-01-01\ntrue\n");
    load(&env, "g.txt").run().expect(0);
    assert_eq!(ids(&env), ["007", "1e3", "2024-01-01", "true"]);
    let env = Env::new();
    env.write("g.csv", "source_image_id\n007\n008\n");
    load(&env, "g.csv").run().expect(0);
    assert_eq!(ids(&env), ["007", "008"]);
}

#[test]
fn plain_text_may_come_from_windows() {
    let env = Env::new();
    env.write("g.txt", "\u{feff}a\r\nb\r\n\r\nc,d\r\n\"e\"");
    load(&env, "g.txt").run().expect(0);
    assert_eq!(ids(&env), ["\"e\"", "a", "b", "c,d"], "and a line is a GUID, whatever is in it");
}

#[test]
fn a_new_warehouse_is_readable_by_duckdb_1_0() {
    let env = Env::new();
    env.write("g.txt", "a\n");
    load(&env, "g.txt").run().expect(0);
    // The main header: a checksum of 8 bytes, the magic, and the version of the storage: 64 is that of 1.0.
    let bytes = std::fs::read(env.warehouse()).unwrap();
    assert_eq!(&bytes[8..12], b"DUCK");
    assert_eq!(u64::from_le_bytes(bytes[12..20].try_into().unwrap()), 64);
    let Some(old) = duckdbs().iter().find(|old| old.version.starts_with("1.")) else { return };
    let read = "import duckdb, sys; print(duckdb.connect(sys.argv[1]).execute('FROM dim_image').fetchall())";
    let out = old.python(&env, read).arg(env.warehouse()).run().expect(0);
    assert!(out.stdout.starts_with("[('a', "), "DuckDB {}: {}", old.version, out.report());
}

#[test]
fn a_list_that_cannot_be_read_changes_nothing() {
    let env = Env::new();
    env.write("good.txt", "a\n");
    env.write("other.csv", "some,columns\n1,2\n");
    load(&env, "missing.txt").run().expect(1).complains().stderr_has("missing.txt");
    assert!(!env.warehouse().exists(), "no empty warehouse is left behind");
    load(&env, "other.csv").run().expect(1).complains().stderr_has("source_image_id");
    assert!(!env.warehouse().exists(), "no empty warehouse is left behind");
    load(&env, "good.txt").arg("missing.txt").run().expect(1).complains();
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).run().expect(2).complains();
}

#[test]
fn a_file_that_is_no_warehouse_is_not_touched() {
    let env = Env::new();
    env.write("g.txt", "a\n");
    env.write("warehouse.duckdb", "this is somebody's letter\n".repeat(100));
    load(&env, "g.txt").run().expect(1).complains().stderr_has("warehouse.duckdb");
    let text = std::fs::read_to_string(env.warehouse()).unwrap();
    assert!(text.starts_with("this is somebody's letter"));
}

#[test]
fn a_table_in_a_schema_is_made_with_its_schema() {
    let names = ["--table", "media.assets", "--id-column", "asset_id", "--done-column", "has_thumb"];
    let loaded = |env: &Env| env.query("SELECT asset_id, has_thumb FROM media.assets ORDER BY 1");
    let wanted = [["a", "false"], ["b", "false"]];
    for (file, text) in
        [("g.txt", "a\nb\n"), ("g.csv", "asset_id,title\na,Sunset\nb,Sea\n"), ("g.json", "[\"a\",\"b\"]")]
    {
        // Into a warehouse that is made for it, into one that is there, and once more.
        let (made, origin) = (Env::new(), Origin::builder().small().start());
        made.write(file, text);
        load(&made, file).args(names).run().expect(0);
        assert_eq!(loaded(&made), wanted, "{file}");
        made.fetch(&origin).args(names).run().expect(0);
        assert_eq!(made.files().len(), 2);
        let there = Env::with(&["mine"]);
        there.write(file, text);
        load(&there, file).args(names).run().expect(0);
        load(&there, file).args(names).run().expect(0);
        assert_eq!(loaded(&there), wanted, "{file}");
        assert_eq!(ids(&there), ["mine"], "{file}");
    }
}

#[test]
fn no_list_is_blamed_for_a_table_that_cannot_be_made() {
    let env = Env::new();
    env.write("g.csv", "source_image_id,title\na,Sunset\n");
    for (names, code, words) in [
        (["--table", "information_schema.assets"], 1, "information_schema"),
        (["--done-column", "Source_image_id"], 2, "--done-column"),
        (["--updated-column", "thumb_downloaded"], 2, "--updated-column"),
    ] {
        let out = load(&env, "g.csv").args(names).run().expect(code).complains().stderr_has(words);
        assert!(!out.stderr.contains("g.csv"), "{}", out.report());
        assert!(!env.warehouse().exists());
    }
}
