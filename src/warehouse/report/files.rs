//! What the table of files says of what is home: how many, how large, of which formats and shapes, and how fast they came.

use serde::Serialize;

use super::{Choice, Picture, count};
use crate::error::Result;
use crate::warehouse::{RunRow, Shape, Window};

/// What a report asks of the table.
const COLUMNS: [&str; 10] =
    ["source_image_id", "bytes", "format", "width", "height", "sha256", "proof", "fetched_at", "gone_at", "run_id"];
/// How many formats, shapes and proofs are told apart.
const MOST: usize = 8;
/// Steps of size to a doubling.
const STEPS_TO_A_DOUBLING: u32 = 6;
/// A run of fewer images has no course to speak of.
const SOME: u64 = 100;
/// At most so many steps make a course.
const MOST_STEPS: f64 = 80.0;
/// How long a step may be, in seconds.
const STEPS: [f64; 22] = [
    0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    10_800.0, 21_600.0, 43_200.0, 86_400.0,
];

/// How far back the latest images are looked for at first, in seconds.
const SPANS: [u32; 3] = [60, 3600, 86_400];

/// How many files are of one sort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The sort; none is what the table does not say.
    pub name: Option<String>,
    /// How many files.
    pub files: u64,
}

/// One step of a distribution or of a course.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// Where it begins: bytes of a size, seconds of a course.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is known of the files that are home.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Files {
    /// How many the table knows.
    pub count: u64,
    /// All their bytes.
    pub bytes: u64,
    /// The bytes of one on average.
    pub average: Option<f64>,
    /// The length of the smallest.
    pub smallest: u64,
    /// The length of the largest.
    pub largest: u64,
    /// Files that the origin has no more.
    pub gone: u64,
    /// The most frequent formats; none where there are too many to be counted.
    pub formats: Option<Vec<Share>>,
    /// The most frequent widths and heights, likewise.
    pub shapes: Option<Vec<Share>>,
    /// What proved them whole, likewise.
    pub proofs: Option<Vec<Share>>,
    /// How many are how large.
    pub sizes: Vec<Step>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Which run.
    pub run_id: String,
    /// When it began.
    pub started_at: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// How many images it brought; the steps hold those of them that have not come anew since.
    pub fetched: u64,
    /// What came home in each step of time.
    pub steps: Vec<Step>,
}

/// A time in steps, at least one. A rest that is less than half of one goes with the step before it.
fn steps(seconds: f64, step: f64) -> Vec<Step> {
    let mut steps = vec![Step { from: 0.0, to: step, files: 0, bytes: 0 }];
    while let Some(last) = steps.last().filter(|last| last.to + step / 2.0 <= seconds) {
        steps.push(Step { from: last.to, to: last.to + step, ..*last });
    }
    if let Some(last) = steps.last_mut() {
        last.to = seconds;
    }
    steps
}

impl Window<'_> {
    /// Whether the table is there, for ids of this type, with all that is asked of it.
    pub(super) fn has_facts(&self, shape: &Shape) -> Result<bool> {
        let columns = self.columns(&self.tables.file)?;
        let kind =
            columns.iter().find(|column| column.name.eq_ignore_ascii_case(COLUMNS[0])).map(|column| &column.kind);
        Ok(kind == Some(&shape.id_type) && self.lacking(&self.tables.file, &COLUMNS)?.is_empty())
    }

    /// What the table tells; nothing where it is empty.
    pub(super) fn files_told(&self, table: &str) -> duckdb::Result<Option<Files>> {
        let sql = format!(
            "SELECT count(*), least(sum(greatest(bytes, 0)), {most})::BIGINT, min(greatest(bytes, 0))::BIGINT, \
             max(bytes)::BIGINT, count(gone_at), avg(greatest(bytes, 0)) FROM {table}",
            most = i64::MAX
        );
        let files = self.connection.query_row(&sql, [], |row| {
            Ok(Files {
                count: count(row, 0)?,
                bytes: count(row, 1)?,
                smallest: count(row, 2)?,
                largest: count(row, 3)?,
                gone: count(row, 4)?,
                average: row.get(5)?,
                ..Files::default()
            })
        })?;
        if files.count == 0 {
            return Ok(None);
        }
        let (formats, proofs) = (self.shares(table, "format")?, self.shares(table, "proof")?);
        let (shapes, sizes) = (self.shares(table, "width, height")?, self.sizes(table)?);
        Ok(Some(Files { formats, shapes, proofs, sizes, ..files }))
    }

    /// The most frequent values of columns. None where DuckDB has no memory for them all: then there are too many to be
    /// worth a list.
    fn shares(&self, table: &str, of: &str) -> duckdb::Result<Option<Vec<Share>>> {
        let name = of.replace(", ", " || ' × ' || ");
        let sql = format!(
            "SELECT ({name})::VARCHAR, sum(files)::BIGINT FROM (SELECT {of}, count(*) AS files FROM {table} GROUP BY ALL) \
             GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MOST}"
        );
        let ask = || -> duckdb::Result<Vec<Share>> {
            let mut statement = self.connection.prepare(&sql)?;
            statement.query_map([], |row| Ok(Share { name: row.get(0)?, files: count(row, 1)? }))?.collect()
        };
        match ask() {
            Err(cause) if cause.to_string().contains("Out of Memory Error") => Ok(None),
            other => other.map(Some),
        }
    }

    /// How many files are how large, in steps that grow with the size.
    fn sizes(&self, table: &str) -> duckdb::Result<Vec<Step>> {
        let sql = format!(
            "SELECT floor(log2(bytes) * {STEPS_TO_A_DOUBLING})::INTEGER, count(*), \
             least(sum(bytes), {most})::BIGINT FROM {table} WHERE bytes > 0 GROUP BY 1 ORDER BY 1",
            most = i64::MAX
        );
        let edge = |step: i32| 2f64.powf(f64::from(step) / f64::from(STEPS_TO_A_DOUBLING));
        let mut statement = self.connection.prepare(&sql)?;
        let steps = statement.query_map([], |row| {
            let step: i32 = row.get(0)?;
            Ok(Step { from: edge(step), to: edge(step + 1), files: count(row, 1)?, bytes: count(row, 2)? })
        })?;
        steps.collect()
    }

    /// How the latest run of some size went, as far as its files are still what it brought.
    pub(super) fn course(&self, table: &str, runs: &[RunRow]) -> duckdb::Result<Option<Course>> {
        let Some(run) = runs.iter().find(|run| run.fetched >= SOME && run.seconds > 0.0) else { return Ok(None) };
        let step = STEPS.into_iter().find(|step| run.seconds / step <= MOST_STEPS);
        let step = step.unwrap_or_else(|| (run.seconds / MOST_STEPS / 86_400.0).ceil() * 86_400.0);
        let sql = format!(
            "SELECT ((epoch_us(fetched_at) - epoch_us(?::TIMESTAMP)) / 1000000.0 / {step})::DOUBLE AS step, bytes \
             FROM {table} WHERE fetched_at >= ?::TIMESTAMP AND isfinite(fetched_at) AND run_id = ?"
        );
        let sql = format!(
            "SELECT floor(step)::INTEGER, count(*), least(sum(greatest(bytes, 0)), {most})::BIGINT FROM ({sql}) \
             WHERE step <= {MOST_STEPS} + 1 GROUP BY 1 ORDER BY 1",
            most = i64::MAX
        );
        let mut steps = steps(run.seconds, step);
        let started = run.started_at.as_deref();
        let mut statement = self.connection.prepare(&sql)?;
        let found = statement.query_map([started, started, Some(run.run_id.as_str())], |row| {
            Ok((row.get::<_, i32>(0)?, count(row, 1)?, count(row, 2)?))
        })?;
        for found in found {
            let (number, files, bytes) = found?;
            // What came after the last news of the run belongs to its last step.
            let number = usize::try_from(number).unwrap_or_default().min(steps.len() - 1);
            let own = &mut steps[number];
            (own.files, own.bytes) = (own.files + files, own.bytes.saturating_add(bytes));
        }
        if steps.iter().all(|step| step.files == 0) {
            return Ok(None);
        }
        let (run_id, started_at) = (run.run_id.clone(), run.started_at.clone());
        Ok(Some(Course { run_id, started_at, seconds: run.seconds, fetched: run.fetched, steps }))
    }

    /// Images of which the table knows more than the name.
    pub(super) fn known_pictures(&self, table: &str, choice: Choice, most: usize) -> duckdb::Result<Vec<Picture>> {
        if choice == Choice::Random {
            return self.pictures(&format!("{table} USING SAMPLE reservoir({most} ROWS)"));
        }
        // To find the latest among all takes a second; DuckDB leaves out at once what is older than a moment.
        let last = format!("SELECT max(epoch_us(fetched_at)) FROM {table} WHERE isfinite(fetched_at)");
        let last: Option<i64> = self.connection.query_row(&last, [], |row| row.get(0))?;
        let since = SPANS.iter().filter_map(|span| Some(last? - i64::from(*span) * 1_000_000));
        let order = format!("ORDER BY fetched_at DESC NULLS LAST, source_image_id LIMIT {most}");
        for since in since {
            let latest =
                format!("{table} WHERE isfinite(fetched_at) AND fetched_at >= make_timestamp({since}) {order}");
            let found = self.pictures(&latest)?;
            if found.len() == most {
                return Ok(found);
            }
        }
        self.pictures(&format!("{table} {order}"))
    }

    fn pictures(&self, from: &str) -> duckdb::Result<Vec<Picture>> {
        let sql = format!(
            "SELECT source_image_id::VARCHAR, format::VARCHAR, width::BIGINT, height::BIGINT, bytes::BIGINT FROM {from}"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let found = statement.query_map([], |row| {
            Ok(Picture {
                guid: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
                format: row.get(1)?,
                width: row.get(2)?,
                height: row.get(3)?,
                bytes: row.get(4)?,
            })
        })?;
        found.collect()
    }
}
