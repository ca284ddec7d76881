//! Lists as they come from databases, spreadsheets and scripts: nothing in them is lost or changed without a word.

use crate::support::env::quoted;
use crate::support::{Cmd, Env, guid, guids};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

fn load(env: &Env, name: &str) -> Cmd {
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg(name)
}

fn ids(env: &Env) -> Vec<String> {
    env.query("SELECT source_image_id FROM dim_image ORDER BY rowid").concat()
}

/// A fresh folder with this list, loaded.
fn loaded(name: &str, list: impl AsRef<[u8]>) -> Env {
    let env = Env::new();
    env.write(name, list);
    load(&env, name).run().expect(0);
    env
}

/// Asserts that a list is refused in these words, and that nothing of it is kept.
#[track_caller]
fn refused(name: &str, list: impl AsRef<[u8]>, words: &[&str]) {
    let env = Env::new();
    env.write(name, list);
    let out = load(&env, name).run().expect(1).complains().stderr_has(name);
    words.iter().fold(out, |out, words| out.stderr_has(words));
    assert!(!env.warehouse().exists(), "{name}");
}

/// Compresses through another program; none where it is not there.
fn packed(program: &str, text: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut child = std::process::Command::new(program)
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .map_err(|_| crate::support::env::skipped(&format!("{program} is not installed")))
        .ok()?;
    child.stdin.take().unwrap().write_all(text).unwrap();
    Some(child.wait_with_output().unwrap().stdout)
}

// --- headers ---

#[test]
fn the_first_guid_of_a_csv_without_a_header_is_not_lost() {
    let guids = guids(50);
    assert_eq!(ids(&loaded("g.csv", guids.join("\n"))), guids);
    assert_eq!(ids(&loaded("g.tsv", guids.join("\r\n"))), guids);
    assert_eq!(ids(&loaded("g.csv", "1\n2\n3\n")), ["1", "2", "3"]);
    assert_eq!(ids(&loaded("g.csv", "b\na\n")), ["b", "a"]);
    assert_eq!(ids(&loaded("g.csv", "only")), ["only"]);
}

#[test]
fn a_first_line_of_another_shape_than_all_others_is_a_header_and_that_is_said() {
    let guids = guids(1000);
    for (first, rest) in [("guid", guids.clone()), ("Image ID", (1..2000).map(|n| n.to_string()).collect())] {
        let env = Env::new();
        env.write("g.csv", format!("{first}\n{}\n", rest.join("\n")));
        load(&env, "g.csv").run().expect(0).stderr_has(first).stderr_has("--has-header no");
        assert_eq!(ids(&env), rest);
        load(&env, "g.csv").args(["--has-header", "no"]).run().expect(0);
        assert_eq!(env.value(&format!("SELECT count(*) FROM dim_image WHERE source_image_id = '{first}'")), "1");
    }
    // One that is not alone with its shape is none.
    let list = format!("guid\n{}\nother\n", guids.join("\n"));
    assert_eq!(ids(&loaded("g.csv", list)).len(), 1002);
}

#[test]
fn a_header_is_known_by_the_id_columns_name_in_any_case() {
    for list in ["SOURCE_IMAGE_ID\na\nb\n", "\"Source_Image_Id\"\na\nb\n", "\u{feff}source_image_id\r\na\r\nb"] {
        assert_eq!(ids(&loaded("g.csv", list)), ["a", "b"], "{list}");
    }
    let env = loaded("g.csv", "n, Source_Image_ID ,url\n1,a,x\n");
    assert_eq!(env.query("SELECT source_image_id, n, url FROM dim_image"), [["a", "1", "x"]]);
}

#[test]
fn several_columns_without_the_id_column_are_an_error_that_lists_them() {
    refused("g.csv", "guid,url\na,x\n", &["its columns are guid, url", "--id-column"]);
    refused("g.tsv", "1\tx\n2\ty\n", &["its columns are 1, x"]);
    refused("g.csv", "id,source_image_id,Source_image_id\n1,a,b\n", &["more than one column"]);
}

#[test]
fn has_header_decides_it() {
    let env = Env::new();
    env.write("g.csv", "first\nsecond\n");
    load(&env, "g.csv").args(["--has-header", "yes"]).run().expect(0);
    assert_eq!(ids(&env), ["second"]);
    env.write("h.csv", "source_image_id\nthird\n");
    load(&env, "h.csv").args(["--has-header", "no"]).run().expect(0);
    assert_eq!(ids(&env), ["second", "source_image_id", "third"]);
    env.write("two.csv", "a,x\nb,y\n");
    let no = load(&env, "two.csv").args(["--has-header", "no"]).run().expect(1).complains();
    no.stderr_has("put a line of names above them");
    load(&env, "two.csv").args(["--has-header", "perhaps"]).run().expect(2);
}

// --- CSV to the letter ---

#[test]
fn a_line_with_a_comma_too_many_or_too_few_is_an_error_that_names_it() {
    let rows: String = (0..30_000).fold(String::new(), |mut rows, n| {
        writeln!(rows, "id{n},https://h/{n}").unwrap();
        rows
    });
    let head = "source_image_id,url\n";
    refused("g.csv", format!("{head}{rows}a,https://h/x?size=1,2\n"), &["line 30002", "3 values", "quotes"]);
    refused("g.csv", format!("{head}a\n{rows}"), &["line 2", "1 value, where the first line has 2"]);
    refused("g.csv", "a\nb,c\n", &["line 2"]);
    // Spreadsheets end lines with delimiters that say nothing.
    assert_eq!(ids(&loaded("g.csv", format!("{head}a,x,,\nb,y,\n"))), ["a", "b"]);
}

#[test]
fn quotes_that_are_not_in_order_are_an_error_that_names_the_line() {
    let head = "source_image_id,title\n";
    refused("g.csv", format!("{head}a,x\nb,\"y\nc,z\n"), &["line 3", "never closed"]);
    refused("g.csv", format!("{head}a,\"x\" y\n"), &["line 2", "follows a closing quote"]);
    refused("g.csv", format!("{head}a,\"say \\\"x\\\"\"\n"), &["line 2"]);
    refused("g.csv", "\"a\nb\nc\"\n", &["line 1", "quote"]);
    let env = loaded("g.csv", format!("{head}a,\"say \"\"x\"\"\r\nand, more\"\r\n\"b\",5\" wide\r\n"));
    let wanted = [["a", "say \"x\"\r\nand, more"], ["b", "5\" wide"]];
    assert_eq!(env.query("SELECT source_image_id, title FROM dim_image ORDER BY 1"), wanted);
}

#[test]
fn what_spreadsheets_export_is_read() {
    for list in [
        "sep=;\r\nsource_image_id;width\r\na;1,5\r\nb;2\r\n",
        "source_image_id;width\na;1,5\nb;2\n",
        "source_image_id|width\na|1,5\nb|2\n",
        "width\tsource_image_id\n1,5\ta\n2\tb\n",
    ] {
        let env = loaded("g.csv", list);
        let rows = env.query("SELECT source_image_id, width FROM dim_image ORDER BY 1");
        assert_eq!(rows, [["a", "1,5"], ["b", "2"]], "{list}");
    }
    let env = loaded("g.tsv", "source_image_id\ttitle\na\t\"x\ty\"\nb\tit's\n");
    assert_eq!(env.query("SELECT title FROM dim_image ORDER BY 1"), [["it's"], ["x\ty"]]);
}

// --- values ---

#[test]
fn ids_are_text_from_every_format() {
    let upper = guid(1).to_uppercase();
    let written = [upper.as_str(), "2024-01-05", "007", "1e3", "true", "123456789012345678901234567890"];
    let json: Vec<String> = written.iter().map(|id| format!("{{\"source_image_id\": \"{id}\"}}")).collect();
    for (name, list) in [
        ("g.ndjson", json.join("\n")),
        ("g.json", format!("[{}]", json.join(",\n"))),
        ("pretty.json", json.join("\n").replace('{', "{\n  ")),
        ("g.jsonl", written.map(|id| format!("\"{id}\"")).join("\n")),
        ("g.csv", format!("source_image_id\n{}", written.join("\n"))),
        ("g.txt", written.join("\n")),
    ] {
        assert_eq!(ids(&loaded(name, list)), written, "{name}");
    }
    let numbers = "{\"source_image_id\": 123456789012345678901234567890}\n{\"source_image_id\": 1.50}\n";
    assert_eq!(ids(&loaded("g.ndjson", numbers)), ["123456789012345678901234567890", "1.50"]);
}

#[test]
fn parquet_ids_become_text_and_other_columns_keep_their_type() {
    for (id, wanted) in [
        (format!("'{}'::UUID", guid(1)), guid(1)),
        ("9007199254740993::BIGINT".into(), "9007199254740993".into()),
        ("'\\x61\\x62'::BLOB".into(), "ab".into()),
        ("DATE '2024-01-05'".into(), "2024-01-05".into()),
    ] {
        let env = Env::new();
        let file = env.path("a[1]*?'b.parquet");
        let query = format!("SELECT {id} AS \"Source_Image_ID\", 2.75::DECIMAL(5,2) AS w, [1, 2] AS l");
        env.sql(&format!("COPY ({query}) TO {} (FORMAT parquet)", quoted(&file.display().to_string())));
        std::fs::remove_file(env.warehouse()).unwrap();
        load(&env, "a[1]*?'b.parquet").run().expect(0);
        let row = "SELECT source_image_id, typeof(source_image_id), w, typeof(w), typeof(l) FROM dim_image";
        assert_eq!(env.query(row), [[wanted.as_str(), "VARCHAR", "2.75", "DECIMAL(5,2)", "INTEGER[]"]]);
    }
    let env = Env::new();
    let file = quoted(&env.path("g.parquet").display().to_string());
    env.sql(&format!("COPY (SELECT 1.0::DOUBLE AS source_image_id) TO {file} (FORMAT parquet)"));
    load(&env, "g.parquet").run().expect(1).complains().stderr_has("DOUBLE");
    env.write("g.parquet.gz", "anything");
    load(&env, "g.parquet.gz").run().expect(1).complains().stderr_has("unpack it first");
}

#[test]
fn other_columns_keep_what_was_written_far_behind_the_beginning_too() {
    let mut csv = String::from("source_image_id,code,width,n\n");
    let mut json = String::new();
    for n in 0..30_000 {
        writeln!(csv, "id{n},{n},{n},{n}").unwrap();
        writeln!(json, "{{\"source_image_id\": \"id{n}\", \"code\": {n}, \"width\": {n}, \"n\": {n}}}").unwrap();
    }
    csv += "last,007,2.75,30000\n";
    json += "{\"source_image_id\": \"last\", \"code\": \"007\", \"width\": 2.750, \"n\": 30000, \"more\": {\"a\": [1, 2]}}\n";
    for (name, list, width) in [("g.csv", csv, "2.75"), ("g.ndjson", json, "2.750")] {
        let env = loaded(name, list);
        let last = "SELECT code, width FROM dim_image WHERE source_image_id = 'last'";
        assert_eq!(env.query(last), [["007", width]], "{name}");
        // One of which all values are whole numbers is one to reckon with.
        assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE n > 100"), "29900", "{name}");
        // And stays one: what does not fit in later is not made to.
        env.write("more.csv", "source_image_id,n\nmore,007\n");
        load(&env, "more.csv").run().expect(1).complains().stderr_has("n: 007 does not fit into BIGINT");
    }
}

#[test]
fn json_of_many_shapes_is_read() {
    let env =
        loaded("g.json", r#" [ {"source_image_id":"a","n":null,"x":{"y":1}}, {"x":"\u00e4","source_image_id":"b"} ] "#);
    let rows = env.query("SELECT source_image_id, n, x FROM dim_image ORDER BY 1");
    assert_eq!(rows, [["a", "NULL", "{\"y\":1}"], ["b", "NULL", "ä"]]);
    assert_eq!(ids(&loaded("g.json", r#"["a", "b", 3]"#)), ["a", "b", "3"]);
    assert_eq!(ids(&loaded("g.json", "{\"guid\": \"a\"}{\"guid\": \"b\"}")), ["a", "b"]);
    assert_eq!(ids(&loaded("g.json", "")), Vec::<String>::new());
    assert_eq!(ids(&loaded("g.json", "[]")), Vec::<String>::new());
    refused("g.ndjson", "{\"guid\": \"a\"}\n{\"guid\": \"b\", \"url\": \"x\"}\n", &["its columns are", "url"]);
    refused("g.ndjson", "{\"source_image_id\": \"a\"}\n{\"source_image_id\": \"b\"\n", &["line 2"]);
    refused("g.json", "[{\"source_image_id\": \"a\"}, null]", &["entry 2"]);
    refused("g.json", "[{\"source_image_id\": \"a\"}] and more", &["trailing"]);
}

#[test]
fn a_table_of_other_types_is_filled_by_casts_or_not_at_all() {
    let env = Env::new();
    env.sql(
        "CREATE TABLE dim_image (source_image_id BIGINT, thumb_downloaded BOOLEAN, updated_at TIMESTAMP, w INTEGER)",
    );
    env.write("good.csv", "source_image_id,w\n007,3\n8,\n");
    load(&env, "good.csv").run().expect(0);
    assert_eq!(env.query("SELECT source_image_id, w FROM dim_image ORDER BY 1"), [["7", "3"], ["8", "NULL"]]);
    for (list, words) in [
        ("source_image_id,w\n9,1\nabc,2\n", "source_image_id: abc does not fit into BIGINT"),
        ("source_image_id,w\n1.5,1\n", "1.5 does not fit"),
        ("source_image_id,w\n9007199254740993.5,1\n", "9007199254740993.5 does not fit"),
        ("source_image_id,w\n9,2.75\n", "w: 2.75 does not fit into INTEGER"),
    ] {
        env.write("bad.csv", list);
        load(&env, "good.csv").arg("bad.csv").run().expect(1).complains().stderr_has("bad.csv").stderr_has(words);
        assert_eq!(env.value("SELECT count(*) FROM dim_image"), "2", "nothing is loaded");
    }
    env.write("more.csv", "source_image_id,colour\n10,red\n");
    load(&env, "more.csv").run().expect(0).stderr_has("colour is left out");
}

#[test]
fn a_column_may_be_called_anything() {
    let env = Env::new();
    let id = "a\"b'); DROP TABLE dim_image; --";
    env.write("g.csv", format!("\"{}\",\"x\"\"y\",x,X,,c0\na,2,3,4,5,6\n", id.replace('"', "\"\"")));
    load(&env, "g.csv").args(["--id-column", id]).run().expect(0);
    env.toller(["pending", "--warehouse"])
        .arg(env.warehouse())
        .args(["--id-column", id])
        .run()
        .expect(0)
        .stdout_has("a\n");
    let row = "SELECT \"x\"\"y\", x, x_1, column4, c0 FROM dim_image";
    assert_eq!(env.query(row), [["2", "3", "4", "5", "6"]]);
}

// --- what is no list ---

#[test]
fn what_is_not_utf8_is_refused_with_the_way_out() {
    let utf16 =
        |text: &str, mark: &str| format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for name in ["g.txt", "g.csv", "g.json"] {
        refused(name, utf16("abc\nd\n", "\u{feff}"), &["UTF-16", "iconv"]);
        refused(name, utf16("abc\nd\n", ""), &["UTF-16", "iconv"]);
    }
    refused("g.txt", b"a\nM\xfcller\n", &["line 2", "not UTF-8", "iconv"]);
    refused("g.csv", b"source_image_id,title\na,M\xfcller\n", &["line 2", "not UTF-8"]);
}

#[test]
fn unknown_compressions_are_refused_and_known_ones_read_whatever_their_name() {
    let text = b"source_image_id\na\nb\n";
    for (program, name) in [("gzip", "g.csv.gz"), ("zstd", "g.csv.zst"), ("gzip", "g.csv"), ("zstd", "g.csv")] {
        let Some(list) = packed(program, text) else { continue };
        assert_eq!(ids(&loaded(name, &list)), ["a", "b"], "{name}");
        // Both may be several, one behind the other; and what is cut off is no list.
        assert_eq!(ids(&loaded(name, [&list[..], &packed(program, b"c\n").unwrap()].concat())), ["a", "b", "c"]);
        refused(name, &list[..list.len() - 5], &[]);
    }
    if let Some(list) = packed("zstd", b"a\nb\n") {
        assert_eq!(ids(&loaded("g.txt.zst", list)), ["a", "b"]);
    }
    for (program, name) in [("xz", "g.txt.xz"), ("bzip2", "g.csv.bz2"), ("lz4", "g.csv")] {
        if let Some(list) = packed(program, text) {
            refused(name, list, &[program, "-d"]);
        }
    }
    refused("g.csv", b"PK\x03\x04rest of a zip", &["ZIP"]);
}

#[test]
fn lines_end_as_any_system_ends_them_and_empty_ones_are_counted() {
    for list in ["a\nb\nc", "a\r\nb\r\nc\r\n", "a\rb\rc\r", "\u{feff}a\n\nb\n  \nc\n"] {
        for name in ["g.txt", "g.csv"] {
            assert_eq!(ids(&loaded(name, list)), ["a", "b", "c"], "{name} {list:?}");
        }
    }
    // Where the buffer of 64 kB ends between the two, too.
    for extra in 0..3 {
        let list = format!("{}\r\n\r\nb\r\n", "a".repeat(65_534 + extra));
        assert_eq!(ids(&loaded("g.txt", list)).len(), 2);
    }
    let env = Env::new();
    env.write("g.csv", "source_image_id,n\na,1\n\nb,2\n,3\na,4\n");
    env.write("h.txt", "b\nc\n\n");
    let out = load(&env, "g.csv").args(["h.txt", "--json"]).run().expect(0).json();
    let counts = ["lines", "added", "known", "empty", "total"].map(|name| out[name].as_u64().unwrap());
    assert_eq!(counts, [8, 3, 2, 3, 3]);
    load(&env, "g.csv")
        .run()
        .expect(0)
        .stdout_has("3 of 5 entries were there already")
        .stdout_has("2 of 5 entries held no GUID");
}

#[test]
fn an_empty_list_is_said_to_be_one() {
    for name in ["g.txt", "g.csv", "g.json", "g.tsv"] {
        let env = Env::new();
        env.write(name, "");
        load(&env, name).run().expect(0).stderr_has(name).stderr_has("nothing in it").stdout_has("0 images added");
    }
}

#[test]
fn entries_that_are_obviously_no_guids_are_loaded_with_a_warning() {
    for (name, list, words) in [
        ("g.txt", "a.jpg\nb.JPEG\n", "end like files"),
        ("g.csv", "a.png\nb.png\n", "end like files"),
        ("g.txt", "https://h/a\nhttps://h/b\n", "are URLs"),
        ("g.txt", "a,1\nb,2\n", "hold a comma"),
    ] {
        let env = Env::new();
        env.write(name, list);
        load(&env, name).run().expect(0).stderr_has(words).stdout_has("2 images added");
        // Where the table has such ids, they are its GUIDs.
        let again = load(&env, name).run().expect(0);
        assert!(!again.stderr.contains(words), "{}", again.report());
    }
}

#[test]
fn odd_guids_are_taken_by_load_and_by_every_other_command() {
    let env = Env::new();
    env.write("g.txt", b"a/b\n..\n\x01\x02\nx\0y\n\xf0\x9f\x90\x88\n-rf\n\"q\"\n \t\n");
    load(&env, "g.txt").run().expect(0).stdout_has("7 images added").stdout_has("1 of 8");
    assert_eq!(env.value("SELECT count(*) FROM dim_image WHERE source_image_id = 'x' || chr(0) || 'y'"), "1");
    std::fs::create_dir(env.dest()).unwrap();
    for command in ["pending", "status", "verify"] {
        let mut line = env.toller([command, "--warehouse"]).arg(env.warehouse());
        if command == "verify" {
            line = line.arg("--dest").arg(env.dest()).args(["--extension", "jpg"]);
        }
        line.run().expect(0);
    }
}

#[test]
fn pipes_and_odd_paths_are_read_and_folders_are_not() {
    let env = Env::new();
    let shell = "exec \"$0\" \"$@\" <(printf 'a\\nb\\n')";
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).under("bash", ["-c", shell]).run().expect(0);
    let fifo = "mkfifo fifo && (printf 'c\\n' > fifo &) && exec \"$0\" \"$@\"";
    load(&env, "fifo").under("bash", ["-c", fifo]).run().expect(0);
    env.write("-x.txt", "d\n");
    load(&env, "./-x.txt").run().expect(0);
    std::fs::write(env.path("~"), "e\n").unwrap();
    load(&env, "~").run().expect(0);
    let name = std::ffi::OsStr::from_bytes(b"\xff.txt");
    std::fs::write(std::path::Path::new(&env.path("x")).with_file_name(name), "f\n").unwrap();
    env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg(name).run().expect(0);
    assert_eq!(ids(&env), ["a", "b", "c", "d", "e", "f"]);
    load(&env, ".").run().expect(1).complains().stderr_has("it is a folder");
    let name = std::ffi::OsStr::from_bytes(b"\xff.parquet");
    std::fs::write(std::path::Path::new(&env.path("x")).with_file_name(name), "f\n").unwrap();
    let out = env.toller(["load", "--warehouse"]).arg(env.warehouse()).arg(name).run();
    out.expect(1).complains().stderr_has("not UTF-8");
}

#[test]
fn a_list_inside_an_object_is_not_taken_for_one_image() {
    for json in [
        r#"{"images":[{"source_image_id":"a"},{"source_image_id":"b"}]}"#,
        r#"{"source_image_id":["q"]}"#,
        r#"{"source_image_id":{"q":1}}"#,
    ] {
        refused("g.json", json, &["a list or an object"]);
    }
}
