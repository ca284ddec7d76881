//! `report`: one page of a warehouse, whatever is in it and whatever is missing.

use crate::support::env::skipped;
use crate::support::{Cmd, Env, Origin, Out, Reply, guids, python, small_image_for};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// toller's own tables as a fetch makes them.
const TABLES: &str = "
CREATE TABLE run_manifest (run_id VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL, updated_at TIMESTAMP, finished_at TIMESTAMP,
  status VARCHAR NOT NULL, pending BIGINT, fetched BIGINT, reused BIGINT, failed BIGINT, bytes BIGINT, requests BIGINT,
  connections BIGINT, workers INTEGER, url VARCHAR, dest VARCHAR, extension VARCHAR, fanout INTEGER, host VARCHAR, pid BIGINT,
  version VARCHAR, error VARCHAR, expect VARCHAR, image_table VARCHAR);
CREATE TABLE thumb_failure (source_image_id VARCHAR NOT NULL, url VARCHAR, kind VARCHAR NOT NULL, http_status INTEGER,
  message VARCHAR, attempts BIGINT, permanent BOOLEAN NOT NULL, run_id VARCHAR, failed_at TIMESTAMP);";
const FILES: &str = "(source_image_id VARCHAR NOT NULL, bytes BIGINT, format VARCHAR, width INTEGER, height INTEGER,
  sha256 VARCHAR, proof VARCHAR, etag VARCHAR, last_modified VARCHAR, content_type VARCHAR, fetched_at TIMESTAMP,
  checked_at TIMESTAMP, gone_at TIMESTAMP, run_id VARCHAR);";

fn report(env: &Env) -> Cmd {
    env.toller(["report", "--warehouse"]).arg(env.warehouse())
}

fn told(env: &Env) -> Value {
    report(env).arg("--json").run().expect(0).json()
}

fn page_of(env: &Env) -> PathBuf {
    env.path("warehouse.duckdb.report.html")
}

fn page(env: &Env) -> String {
    report(env).args(["--output", "-"]).run().expect(0).stdout
}

/// A warehouse of these images, all home, with a table of files that knows each of them and a run that brought them.
fn home(guids: &[String]) -> Env {
    let env = Env::with(guids);
    env.sql(TABLES);
    env.sql(&format!("CREATE TABLE thumb_file {FILES}"));
    env.sql("UPDATE dim_image SET thumb_downloaded = true");
    env.sql(
        "INSERT INTO thumb_file SELECT source_image_id, 20000 + rowid, 'jpeg', 280, 210, sha256(source_image_id), 'etag', NULL, NULL, \
         'image/jpeg', TIMESTAMP '2026-01-01 10:00:00' + INTERVAL (rowid * 100) MILLISECOND, NULL, NULL, 'r1' FROM dim_image",
    );
    env.sql(&format!(
        "INSERT INTO run_manifest (run_id, started_at, updated_at, finished_at, status, fetched, bytes, dest, extension, fanout, image_table) \
         SELECT 'r1', TIMESTAMP '2026-01-01 10:00:00', TIMESTAMP '2026-01-01 10:00:20', TIMESTAMP '2026-01-01 10:00:20', 'complete', \
         count(*), sum(bytes), '{}', '.jpg', 0, 'main.dim_image' FROM thumb_file",
        env.dest().display()
    ));
    env
}

/// Tags, attributes and texts of a page, as Python's parser sees them.
fn parsed(env: &Env, page: &Path) -> Option<Value> {
    const SCRIPT: &str = "
import html.parser, json, sys
tags, attributes, texts, addresses = set(), set(), [], set()
class Parser(html.parser.HTMLParser):
    style = False
    def handle_starttag(self, tag, attrs):
        self.style = tag == 'style'
        tags.add(tag)
        attributes.update(name for name, _ in attrs)
        addresses.update(value[:40] for name, value in attrs if name in ('src', 'href'))
    def handle_data(self, text):
        if not self.style: texts.append(text)
    def handle_endtag(self, tag): self.style = False
    def handle_comment(self, text): tags.add('comment')
    def unknown_decl(self, text): tags.add('cdata')
parser = Parser()
parser.feed(open(sys.argv[1], encoding='utf-8').read())
parser.close()
print(json.dumps({'tags': sorted(tags), 'attributes': sorted(attributes), 'texts': texts, 'addresses': sorted(addresses)}))";
    let Some(python) = python() else {
        skipped("no Python to parse the page with");
        return None;
    };
    Some(env.program(python).args(["-c", SCRIPT]).arg(page).run().expect(0).json())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

#[test]
fn after_a_fetch_the_page_shows_what_came_home_and_what_did_not() {
    let guids = guids(9);
    let (env, origin) = (Env::with(&guids), Origin::start());
    origin.on(&guids[0], [Reply::status(404)]);
    origin.on(&guids[1], [Reply::status(403)]);
    env.fetch(&origin).run().expect(4);
    report(&env).run().expect(0).stderr_has("the report is in").stderr_has("warehouse.duckdb.report.html");
    let page = std::fs::read_to_string(page_of(&env)).unwrap();
    assert!(page.contains("<h1>7 of 9 thumbnails are home</h1>"), "{page}");
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 7);
    for guid in &guids {
        assert!(page.contains(guid.as_str()), "{guid} is not on the page");
    }
    for words in ["not_found", "forbidden", "The origin has no such image", "status 404", "complete"] {
        assert!(page.contains(words), "{words} is not on the page");
    }
    let told = told(&env);
    assert_eq!((&told["total"], &told["home"], &told["failed_permanent"]), (&9.into(), &7.into(), &2.into()));
    assert_eq!(told["sheet"]["pictures"].as_array().unwrap().len(), 7);
    assert_eq!(told["failures"].as_array().unwrap().len(), 2);
}

#[test]
fn before_any_run_there_is_a_page_all_the_same_and_nothing_changes() {
    for (guids, words) in [(guids(7), "None of 7 thumbnails is home yet"), (guids(0), "No images are listed yet")] {
        let env = Env::with(&guids);
        assert!(page(&env).contains(words), "{words}");
        assert_eq!(env.value("SELECT count(*) FROM duckdb_tables()"), "1");
        assert_eq!(told(&env)["files"], Value::Null);
    }
}

#[test]
fn an_older_warehouse_without_a_table_of_files_still_has_its_contact_sheet() {
    let guids = guids(3);
    let env = Env::with(&guids);
    env.sql(TABLES);
    env.sql("UPDATE dim_image SET thumb_downloaded = true");
    for guid in &guids {
        env.write(&format!("thumbs/{guid}.jpg"), small_image_for(guid));
    }
    let out = report(&env).args(["--output", "-", "--extension", "jpg", "--dest"]).arg(env.dest()).run().expect(0);
    assert_eq!(out.stdout.matches("src=\"data:image/jpeg;base64,").count(), 3);
    assert!(!out.stdout.contains("id=\"files\""));
    env.sql(&format!("CREATE TABLE thumb_file {FILES}"));
    let page = page(&env);
    assert!(
        !page.contains("id=\"files\"") && page.contains("All 3 thumbnails are home"),
        "an empty table tells nothing"
    );
}

#[test]
fn files_that_are_elsewhere_are_said_to_be_and_the_rest_is_shown() {
    let env = home(&guids(4));
    let page = page(&env);
    assert!(page.contains("The files are not at hand"), "{page}");
    assert!(page.contains("id=\"files\"") && page.contains("280 × 210") && page.contains("All 4 thumbnails are home"));
    assert!(!page.contains("data:image"));
    report(&env).args(["--dest", "/nowhere/at/all"]).run().expect(1).complains();
}

#[test]
fn other_names_of_tables_are_names_here_too() {
    let env = Env::new();
    env.sql(&format!(
        "CREATE SCHEMA media; CREATE TABLE media.assets AS SELECT unnest(['a', 'b', 'c']) AS \"asset \"\"id\", true AS home; \
         CREATE TABLE media.known {FILES} INSERT INTO media.known (source_image_id, bytes, format) VALUES ('a', 10, 'webp'), ('b', 30, 'webp');"
    ));
    let names = ["--table", "media.assets", "--id-column", "asset \"id", "--done-column", "home"];
    let names = report(&env).args(names).args(["--file-table", "media.known", "--json"]);
    let told = names.run().expect(0).json();
    assert_eq!((&told["total"], &told["home"], &told["files"]["bytes"]), (&3.into(), &3.into(), &40.into()));
    assert_eq!(told["files"]["formats"][0]["name"], "webp");
    assert_eq!(told["sheet"]["pictures"], serde_json::json!([]));
}

#[test]
fn sizes_formats_and_shapes_add_up_to_all_files() {
    let env = home(&guids(240));
    env.sql("UPDATE thumb_file SET format = NULL, width = NULL WHERE rowid < 40");
    env.sql("UPDATE thumb_file SET gone_at = now()::TIMESTAMP WHERE rowid < 3");
    let files = &told(&env)["files"];
    let sum = |list: &Value| list.as_array().unwrap().iter().map(|one| one["files"].as_u64().unwrap()).sum::<u64>();
    for list in ["formats", "shapes", "proofs", "sizes"] {
        assert_eq!(sum(&files[list]), 240, "{list}: {files}");
    }
    assert_eq!((&files["count"], &files["gone"], &files["smallest"]), (&240.into(), &3.into(), &20_000.into()));
    let course = &told(&env)["course"];
    assert_eq!(sum(&course["steps"]), 240, "{course}");
    assert_eq!((&course["run_id"], &course["seconds"]), (&"r1".into(), &20.0.into()));
    let last = course["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["to"], 20.0);
    assert!(!page(&env).contains("that have not come anew since"));
    env.sql("UPDATE thumb_file SET run_id = 'r2' WHERE rowid < 40");
    assert!(page(&env).contains("by those 200 of its 240 images that have not come anew since"));
}

#[test]
fn one_body_under_many_names_is_counted_exactly() {
    let env = home(&guids(1000));
    env.sql("UPDATE thumb_file SET sha256 = sha256('placeholder') WHERE rowid % 10 = 0");
    env.sql("UPDATE thumb_file SET sha256 = sha256('twin' || rowid // 2) WHERE rowid BETWEEN 901 AND 909 AND rowid % 10 <> 0");
    env.sql("UPDATE thumb_file SET sha256 = NULL WHERE rowid = 1");
    env.sql("UPDATE thumb_file SET sha256 = '' WHERE rowid IN (2, 3)");
    let same = &told(&env)["same"];
    let truth = "FROM (SELECT count(*) AS n FROM thumb_file WHERE sha256 <> '' GROUP BY sha256 HAVING n > 1)";
    let number = |sql: &str| Value::from(env.value(&format!("SELECT {sql} {truth}")).parse::<u64>().unwrap());
    assert_eq!((&same["bodies"], &same["files"]), (&number("count(*)"), &number("sum(n)::BIGINT")));
    assert_eq!((&same["looked_at"], &same["one_in"]), (&997.into(), &1.into()));
    let first = &same["most"][0];
    assert_eq!((&first["files"], first["guids"].as_array().unwrap().len()), (&100.into(), 3));
    assert_eq!(first["sha256"], env.value("SELECT sha256('placeholder')"));
    assert!(page(&env).contains("10.0 % of all files"), "a body that may be a placeholder is pointed at");
}

#[test]
fn only_whole_images_that_browsers_show_are_in_the_page() {
    let names = ["whole", "svg", "tiff", "html", "cut", "large", "away", "folder"].map(String::from);
    let env = home(&names);
    let whole = small_image_for("whole");
    env.write("thumbs/whole.jpg", &whole);
    env.write("thumbs/svg.jpg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>");
    env.write("thumbs/tiff.jpg", b"II*\0\x08\0\0\0\0\0\0\0\0\0");
    env.write("thumbs/html.jpg", "<html><script>alert(1)</script></html>");
    env.write("thumbs/cut.jpg", &whole[..whole.len() / 2]);
    env.write("thumbs/large.jpg", [&whole[..], &vec![0; 300_000]].concat());
    std::fs::create_dir_all(env.path("thumbs/folder.jpg")).unwrap();
    let told = told(&env);
    let pictures = told["sheet"]["pictures"].as_array().unwrap();
    let seen: Vec<_> =
        pictures.iter().filter(|picture| picture["why_not"].is_null()).map(|picture| &picture["guid"]).collect();
    assert_eq!(seen, ["whole"]);
    let page = page(&env);
    assert_eq!(page.matches("<img").count(), 1);
    assert!(page.contains("src=\"data:image/jpeg;base64,/9j/"), "{page}");
    for why in [
        "not a format that browsers show",
        "not a whole image",
        "too large for this page",
        "no file here",
        "not readable",
    ] {
        assert!(page.contains(why), "{why} is not said");
    }
}

#[test]
fn the_sheet_holds_as_many_images_as_were_asked_for_the_latest_first_or_any() {
    let guids = guids(50);
    let env = home(&guids);
    std::fs::create_dir_all(env.dest()).unwrap();
    let sheet = |options: &[&str]| {
        let told = report(&env).arg("--json").args(options).run().expect(0).json();
        let pictures = told["sheet"]["pictures"].as_array().unwrap().clone();
        pictures.iter().map(|picture| picture["guid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let latest: Vec<_> = guids.iter().rev().take(5).cloned().collect();
    assert_eq!(sheet(&["--images", "5"]), latest);
    assert_eq!(sheet(&["--images", "0"]).len(), 0);
    let random = sheet(&["--images", "20", "--sample", "random"]);
    assert_eq!(random.len(), 20);
    assert!(random.iter().all(|guid| guids.contains(guid)));
    report(&env).args(["--images", "100000"]).run().expect(2).complains();
}

#[test]
fn the_page_takes_its_place_whole_and_never_that_of_the_warehouse() {
    let env = Env::with(&guids(2));
    let before = std::fs::read(env.warehouse()).unwrap();
    report(&env).arg("--output").arg(env.warehouse()).run().expect(2).complains();
    std::os::unix::fs::symlink(env.warehouse(), env.path("link.html")).unwrap();
    report(&env).arg("--output").arg(env.path("link.html")).run().expect(2).complains();
    assert_eq!(std::fs::read(env.warehouse()).unwrap(), before);
    report(&env).args(["--output", "/nowhere/at/all.html"]).run().expect(1).complains();
    std::fs::create_dir(env.path("folder")).unwrap();
    report(&env).arg("--output").arg(env.path("folder")).run().expect(1).complains();
    env.write("real.html", "an older page");
    std::os::unix::fs::symlink("real.html", env.path("latest.html")).unwrap();
    report(&env).arg("--output").arg(env.path("latest.html")).run().expect(0);
    assert!(std::fs::read_to_string(env.path("real.html")).unwrap().ends_with("</html>"));
    assert!(std::fs::symlink_metadata(env.path("latest.html")).unwrap().is_symlink(), "a link stays one");
    let left: Vec<_> = std::fs::read_dir(env.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("toller-report")), "{left:?}");
}

#[test]
fn a_page_for_stdout_is_all_that_is_there_and_json_makes_no_page() {
    let env = Env::with(&guids(2));
    let out = report(&env).args(["--output", "-"]).run().expect(0);
    assert!(out.stdout.starts_with("<!DOCTYPE html>") && out.stderr.is_empty(), "{}", out.report());
    assert_eq!(told(&env)["total"], 2);
    assert!(!page_of(&env).exists());
    report(&env).args(["--json", "--output", "-"]).run().expect(2).complains();
    env.toller(["report"])
        .env("TOLLER_WAREHOUSE", "warehouse.duckdb")
        .env("TOLLER_OUTPUT", "mine.html")
        .run()
        .expect(0);
    assert!(env.path("mine.html").exists());
    env.program("sh")
        .args(["-c", "exec \"$0\" report --warehouse warehouse.duckdb --output /dev/stdout | tail -c 7"])
        .arg(crate::support::binary())
        .run()
        .expect(0)
        .stdout_has("</html>");
}

#[test]
fn rows_full_of_null_make_a_page_too() {
    let env = Env::with(&guids(3));
    env.sql(&TABLES.replace(" NOT NULL", ""));
    env.sql(&format!("CREATE TABLE thumb_file {}", FILES.replace(" NOT NULL", "")));
    env.sql("INSERT INTO dim_image VALUES (NULL, NULL, NULL), (NULL, true, NULL)");
    for table in ["run_manifest", "thumb_failure", "thumb_file"] {
        env.sql(
            &format!("INSERT INTO {table} (source_image_id) VALUES (NULL)")
                .replace(if table == "run_manifest" { "source_image_id" } else { " none " }, "run_id"),
        );
    }
    env.sql("INSERT INTO thumb_file (source_image_id, bytes, fetched_at, width) VALUES ('x', -5, 'infinity', -1)");
    env.sql("INSERT INTO run_manifest (run_id, status, started_at, updated_at, fetched, bytes) VALUES ('y', 'running', '-infinity', 'infinity', -5, 9223372036854775807)");
    let told = told(&env);
    assert_eq!((&told["total"], &told["home"], &told["files"]["count"]), (&3.into(), &0.into(), &2.into()));
    assert!(page(&env).contains("None of 3 thumbnails is home yet"));
}

/// What would be more than text if it could.
const ATTACKS: [&str; 6] = [
    "<script>alert(1)</script>\"'&",
    "\"><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "]]></style></title></svg><iframe src=//evil.example>",
    "--><base href=//evil.example>&lt;b&gt;",
    "' onmouseover='alert(1)",
];

/// A warehouse in which everything that can be foreign is an attack.
fn attacked() -> (Env, PathBuf) {
    let env = home(&guids(150));
    for (number, attack) in ATTACKS.iter().enumerate() {
        let attack = format!("{number}{attack}\u{202e}gpj\u{1b}[2J\u{7}").replace('\'', "''");
        let twice = format!("{number}twice{attack}");
        env.sql(&format!(
            "INSERT INTO dim_image VALUES ('{attack}', true, now()::TIMESTAMP), ('{twice}', true, now()::TIMESTAMP); \
             INSERT INTO thumb_failure VALUES ('{attack}', '{attack}', '{attack}', 1, '{attack}', 1, true, '{attack}', now()::TIMESTAMP); \
             INSERT INTO thumb_file SELECT unnest(['{attack}', '{twice}']), 10, '{attack}', {number}, 1, '{attack}', '{attack}', '{attack}', \
             '{attack}', '{attack}', now()::TIMESTAMP, now()::TIMESTAMP, NULL, 'r1'; \
             INSERT INTO run_manifest SELECT '{attack}', now()::TIMESTAMP, now()::TIMESTAMP, NULL, '{attack}', 1, 1, 1, 1, 1, 1, 1, 1, \
             '{attack}', dest, extension, 0, '{attack}', 1, '{attack}', '{attack}', '{attack}', 'main.dim_image' FROM run_manifest WHERE run_id = 'r1';"
        ));
    }
    env.write("thumbs/0.jpg", small_image_for("0"));
    env.sql("INSERT INTO thumb_file (source_image_id, fetched_at) VALUES ('0', now()::TIMESTAMP + INTERVAL 1 DAY)");
    let odd = env.path("<img src=x onerror=alert(1)>.duckdb");
    std::fs::rename(env.warehouse(), &odd).unwrap();
    env.toller(["report", "--output", "page.html", "--warehouse"]).arg(odd).run().expect(0);
    let page = env.path("page.html");
    (env, page)
}

#[test]
fn what_is_foreign_stays_text_whatever_it_says() {
    let (env, page) = attacked();
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(!text.contains(['\u{202e}', '\u{1b}', '\u{7}']), "what steers a terminal or turns a line is made visible");
    assert!(text.contains("default-src 'none'; img-src data:; style-src 'unsafe-inline'"));
    let Some(parsed) = parsed(&env, &page) else { return };
    let tags = "a article b bdi body caption circle code dd div dl dt figcaption figure footer h1 h2 h3 head header html img li line \
                link main meta nav p polyline rect section span style svg table tbody td text th thead time title tr ul";
    let tags: Vec<&str> = tags.split_whitespace().collect();
    let strange: Vec<_> = strings(&parsed["tags"]).into_iter().filter(|tag| !tags.contains(tag)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    let attributes = "alt aria-label aria-labelledby charset class colspan content cx cy data-of datetime decoding dy fill font-family \
                      font-size height href http-equiv id lang loading name opacity points r rel role scope src stroke stroke-width style \
                      text-anchor viewbox width x x1 x2 xmlns y y1 y2";
    let attributes: Vec<&str> = attributes.split_whitespace().collect();
    let strange: Vec<_> =
        strings(&parsed["attributes"]).into_iter().filter(|name| !attributes.contains(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    for address in strings(&parsed["addresses"]) {
        assert!(address.starts_with('#') || address.starts_with("data:"), "{address}");
    }
    let texts = strings(&parsed["texts"]).concat();
    for attack in ATTACKS {
        assert!(texts.contains(attack), "{attack} is not there as it was given");
    }
}

#[test]
fn a_browser_finds_nothing_wrong_with_the_page() {
    let (env, page) = attacked();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/report-check.sh");
    let path = std::env::var("PATH").unwrap_or_default();
    let out: Out = env.program(script).arg(page).env("PATH", &path).run().expect(0);
    if out.stderr.starts_with("skipped: ") {
        skipped(out.stderr.trim_start_matches("skipped: ").trim_end());
    } else {
        out.stdout_has("360 light").stdout_has("1400 dark");
    }
}
