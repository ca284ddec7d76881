//! `--where`: one expression over the user's rows, in every command that takes it, and never anything else.

use crate::support::{Cmd, Env, Origin};

/// Every command that takes a condition, with this one.
fn commands(env: &Env, origin: &Origin, condition: &str) -> [Cmd; 4] {
    let at = |command: &str| env.toller([command, "--warehouse"]).arg(env.warehouse());
    [at("status"), at("pending"), env.fetch(origin).arg("--dry-run"), env.fetch(origin)]
        .map(|command| command.args(["--where", condition]))
}

fn env() -> (Env, Origin) {
    let env = Env::new();
    env.sql(
        "CREATE TABLE dim_image (source_image_id VARCHAR, thumb_downloaded BOOLEAN, width INTEGER);
         INSERT INTO dim_image VALUES ('a', false, 1), ('b', false, 2), ('c', true, 3);
         CREATE TABLE precious (n INTEGER); INSERT INTO precious VALUES (7)",
    );
    (env, Origin::builder().small().start())
}

#[test]
fn what_is_more_than_one_expression_is_refused_before_anything_runs() {
    let (env, origin) = env();
    let before = std::fs::read(env.warehouse()).unwrap();
    for condition in [
        "true); DROP TABLE dim_image; SELECT (true",
        "true); DROP TABLE dim_image; --",
        "true); DELETE FROM precious; SELECT (true",
        "true) OR (true",
        "false) UNION ALL SELECT 1, 'x', NULL WHERE (true",
        "true GROUP BY 1",
        "true LIMIT 1",
        "true; DROP TABLE precious",
        "true;",
        "width, true",
        "FROM precious",
        "width = ?",
        "width = $x",
        "true /*",
        "'",
        "",
        "--",
        "width ==== 2",
    ] {
        for command in commands(&env, &origin, condition) {
            command.run().expect(2).complains().stderr_has("--where");
        }
    }
    assert!(std::fs::read(env.warehouse()).unwrap() == before, "the warehouse changed");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_condition_may_name_the_table_and_use_all_of_sql() {
    for condition in [
        "width = 2",
        "dim_image.width = 2",
        "main.dim_image.width = 2",
        "\"WIDTH\" = 2 -- the second",
        "width = 2 /* the second */",
        "width IN (SELECT n - 5 FROM precious)",
        "(width) = (2)",
        "width = 2 AND source_image_id <> ');'",
        "EXISTS (FROM precious WHERE n = dim_image.width + 5)",
        "false OR width > 1",
    ] {
        let (env, origin) = env();
        let [status, pending, plan, fetch] = commands(&env, &origin, condition);
        assert_eq!(status.arg("--json").run().expect(0).json()["pending"], 1, "{condition}");
        assert_eq!(pending.run().expect(0).stdout, "b\n", "{condition}");
        assert_eq!(plan.arg("--json").run().expect(0).json()["pending"], 1, "{condition}");
        fetch.run().expect(0);
        assert_eq!(env.query("SELECT source_image_id FROM dim_image WHERE thumb_downloaded"), [["b"], ["c"]]);
    }
}

#[test]
fn a_condition_may_name_a_table_in_a_schema() {
    let (env, origin) = env();
    env.sql("CREATE SCHEMA media; CREATE TABLE media.assets AS FROM dim_image");
    for (number, condition) in ["media.assets.width = 1", "assets.width = 2"].into_iter().enumerate() {
        env.fetch(&origin).args(["--table", "media.assets", "--where", condition]).run().expect(0);
        let done = "SELECT count(*) - 1 FROM media.assets WHERE thumb_downloaded";
        assert_eq!(env.value(done), (number + 1).to_string());
    }
}

#[test]
fn a_column_that_is_not_there_is_a_wrong_command_line() {
    let (env, origin) = env();
    for command in commands(&env, &origin, "height > 3") {
        command.run().expect(2).complains().stderr_has("height");
    }
}
