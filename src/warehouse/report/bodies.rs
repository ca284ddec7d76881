//! Files with one and the same body: a picture that stands for many that are not there, or an image under several names.
//!
//! To group ten million digests by their text would take a gigabyte. So a number is made of each, and the numbers are
//! sorted: 8 bytes a file. A number that is there twice is a suspicion only; the digests themselves then say what is the same.

use duckdb::arrow::array::UInt64Array;
use serde::Serialize;

use super::count;
use crate::warehouse::Window;

/// At most so many numbers are sorted, 128 MB. Where there are more files, every second digest is looked at, or every third.
const MOST: u64 = 16_000_000;
/// How many bodies are shown.
const SHOWN: usize = 8;
/// How many names of each.
const NAMES: usize = 3;

/// What bodies are there more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SameBodies {
    /// Files whose digest was looked at.
    pub looked_at: u64,
    /// One digest in so many was looked at; 1 is all of them. All files with one digest are looked at, or none.
    pub one_in: u64,
    /// Bodies that are there more than once.
    pub bodies: u64,
    /// Files that have one of them.
    pub files: u64,
    /// The most frequent ones.
    pub most: Vec<SameBody>,
}

/// One body that is there more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SameBody {
    /// Its digest.
    pub sha256: String,
    /// How many files have it.
    pub files: u64,
    /// Its length.
    pub bytes: u64,
    /// Some of their names.
    pub guids: Vec<String>,
}

impl Window<'_> {
    pub(super) fn same_bodies(&self, table: &str, files: u64) -> duckdb::Result<SameBodies> {
        let one_in = files.div_ceil(MOST).max(1);
        let mut numbers = self.numbers(table, files / one_in, one_in)?;
        let mut same = SameBodies { looked_at: numbers.len() as u64, one_in, ..SameBodies::default() };
        numbers.sort_unstable();
        let mut most: Vec<(u64, u64)> = Vec::new();
        for run in numbers.chunk_by(|a, b| a == b).filter(|run| run.len() > 1) {
            let files = run.len() as u64;
            same.bodies += 1;
            same.files += files;
            if most.len() < SHOWN || most.last().is_some_and(|(least, _)| *least < files) {
                most.insert(most.partition_point(|(other, _)| *other >= files), (files, run[0]));
                most.truncate(SHOWN);
            }
        }
        drop(numbers);
        same.most = self.bodies(table, &most)?;
        Ok(same)
    }

    /// A number for each digest.
    fn numbers(&self, table: &str, about: u64, one_in: u64) -> duckdb::Result<Vec<u64>> {
        let part = if one_in > 1 { format!(" AND hash(sha256) % {one_in} = 0") } else { String::new() };
        let sql = format!("SELECT hash(sha256) FROM {table} WHERE sha256 <> ''{part}");
        let mut numbers = Vec::with_capacity(usize::try_from(about).unwrap_or_default());
        let mut statement = self.connection.prepare(&sql)?;
        for batch in statement.stream_arrow([])? {
            let batch = batch?;
            let column = batch.column(0).as_any().downcast_ref::<UInt64Array>();
            numbers.extend_from_slice(column.map_or(&[][..], |column| column.values()));
        }
        Ok(numbers)
    }

    /// The digests behind these numbers, with as many files as they really have.
    fn bodies(&self, table: &str, most: &[(u64, u64)]) -> duckdb::Result<Vec<SameBody>> {
        if most.is_empty() {
            return Ok(Vec::new());
        }
        let numbers: Vec<_> = most.iter().map(|(_, number)| number.to_string()).collect();
        let sql = format!(
            "SELECT sha256, files, bytes, unnest(guids) FROM (SELECT sha256::VARCHAR AS sha256, count(*) AS files, \
             max(bytes)::BIGINT AS bytes, min(source_image_id::VARCHAR, {NAMES}) AS guids FROM {table} \
             WHERE hash(sha256) IN ({}) GROUP BY 1 HAVING count(*) > 1) ORDER BY files DESC, sha256, 4",
            numbers.join(", ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut bodies: Vec<SameBody> = Vec::new();
        while let Some(row) = rows.next()? {
            let (sha256, guid): (String, String) = (row.get(0)?, row.get(3)?);
            match bodies.last_mut().filter(|body| body.sha256 == sha256) {
                Some(body) => body.guids.push(guid),
                None => {
                    bodies.push(SameBody { sha256, files: count(row, 1)?, bytes: count(row, 2)?, guids: vec![guid] });
                }
            }
        }
        Ok(bodies)
    }
}
