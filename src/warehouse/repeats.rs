//! Which rows say again what one before them said.
//!
//! A filter of a few bits a row tells nearly all ids apart, whatever their number: what it has not seen is new. What it
//! takes for seen is a suspicion only, of which there are few, and the ids themselves then say what is the same.

use duckdb::arrow::array::{AsArray, UInt64Array};
use duckdb::arrow::datatypes::Int64Type;
use duckdb::{Connection, params};

use crate::error::Result;

use super::{Selection, Shape, Window};

/// The filter has at least so many bits for a row.
const BITS: u64 = 10;
/// And at the most so many words of 64, which are 128 MB.
const MOST_WORDS: u64 = 1 << 24;
/// Where there are more suspicions the ids really are repeated, and DuckDB finds out by itself, by way of the disk.
const MOST_SUSPECTS: usize = 4_000_000;

/// The rows whose id stands in an earlier row as well, a bit for each row of the table.
#[derive(Debug, Default)]
pub struct Repeats(Vec<u64>);

impl Repeats {
    /// Whether that row is one of them.
    #[must_use]
    pub fn holds(&self, row: i64) -> bool {
        let (word, bit) = place(row);
        self.0.get(word).is_some_and(|bits| bits >> bit & 1 == 1)
    }

    fn add(&mut self, row: i64) {
        let (word, bit) = place(row);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }
}

fn place(row: i64) -> (usize, i64) {
    (usize::try_from(row / 64).unwrap_or(0), row % 64)
}

/// Hashes that were seen: it forgets none, and takes a few for seen that were not.
struct Filter {
    words: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn for_rows(rows: u64) -> Self {
        let words = (rows * BITS / 64).next_power_of_two().clamp(2, MOST_WORDS);
        Self { words: vec![0; usize::try_from(words).unwrap_or(2)], shift: 64 - words.ilog2() }
    }

    /// Adds a hash and says whether it was seen. Four bits of one word stand for it, so that memory is waited for once.
    fn has_seen(&mut self, hash: u64) -> bool {
        let bits = [0, 6, 12, 18].iter().fold(0, |bits, at| bits | 1 << (hash >> at & 63));
        let word = &mut self.words[usize::try_from(hash >> self.shift).unwrap_or(0)];
        let seen = *word & bits == bits;
        *word |= bits;
        seen
    }
}

impl Window<'_> {
    /// The pending rows whose id is in an earlier pending row as well. Where a key says that there are none, nothing is
    /// asked.
    ///
    /// # Errors
    /// As [`Window::count_pending_rows`].
    pub fn repeats(&self, shape: &Shape, selection: &Selection) -> Result<Repeats> {
        let mut repeats = Repeats::default();
        if shape.unique {
            return Ok(repeats);
        }
        let Shape { id, row, .. } = shape;
        let pending = self.pending_sql(shape, selection, self.leaves_failures_out(selection)?, "")?;
        let suspected = suspected(self.connection, &format!("SELECT hash({id}) {pending}"), self.count_rows()?);
        let Some(suspected) = suspected.map_err(|cause| self.not_read(selection, &cause))? else { return Ok(repeats) };
        let sql = format!(
            "SELECT {row} {pending} AND hash({id}) IN ({suspected}) \
             QUALIFY row_number() OVER (PARTITION BY {id} ORDER BY {row}) > 1"
        );
        let mut read = || -> duckdb::Result<()> {
            let mut statement = self.connection.prepare(&sql)?;
            for vectors in statement.stream_arrow([])? {
                vectors?.column(0).as_primitive::<Int64Type>().values().iter().for_each(|row| repeats.add(*row));
            }
            Ok(())
        };
        loop {
            match read() {
                Err(cause) if self.has_more_memory(&cause) => {}
                other => break other.map_err(|cause| self.not_read(selection, &cause))?,
            }
        }
        Ok(repeats)
    }
}

/// The hashes among these that come again, and a few more, as SQL; `None` where there are none.
pub(super) fn suspected(connection: &Connection, hashes: &str, rows: u64) -> duckdb::Result<Option<String>> {
    let Some(suspects) = suspects(connection, hashes, rows)? else {
        return Ok(Some(format!("{hashes} GROUP BY 1 HAVING count(*) > 1")));
    };
    if suspects.is_empty() {
        return Ok(None);
    }
    connection.execute_batch("CREATE OR REPLACE TEMP TABLE suspect (hash UBIGINT)")?;
    let mut rows = connection.appender_to_catalog_and_db("suspect", "temp", "main")?;
    suspects.iter().try_for_each(|hash| rows.append_row(params![hash]))?;
    rows.flush()?;
    Ok(Some("FROM temp.main.suspect".into()))
}

/// The hashes that may have come before; `None` where they are many.
fn suspects(connection: &Connection, hashes: &str, rows: u64) -> duckdb::Result<Option<Vec<u64>>> {
    let (mut filter, mut suspects) = (Filter::for_rows(rows), Vec::new());
    let mut statement = connection.prepare(hashes)?;
    for vectors in statement.stream_arrow([])? {
        let vectors = vectors?;
        let column = vectors.column(0).as_any().downcast_ref::<UInt64Array>();
        let hashes = column.expect("DuckDB's hash is a UBIGINT").values();
        suspects.extend(hashes.iter().filter(|hash| filter.has_seen(**hash)));
        if suspects.len() > MOST_SUSPECTS {
            return Ok(None);
        }
    }
    Ok(Some(suspects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_remembered_by_a_bit_each() {
        let mut repeats = Repeats::default();
        for row in [0, 63, 64, 1_000_000] {
            assert!(!repeats.holds(row));
            repeats.add(row);
            assert!(repeats.holds(row) && !repeats.holds(row + 1));
        }
        assert!(!repeats.holds(i64::MAX));
    }

    #[test]
    fn a_filter_forgets_nothing_and_suspects_little() {
        const ROWS: u64 = 100_000;
        let mut random = fastrand::Rng::with_seed(1);
        let hashes: Vec<u64> = (0..ROWS).map(|_| random.u64(..)).collect();
        let mut filter = Filter::for_rows(ROWS);
        let suspected = hashes.iter().filter(|hash| filter.has_seen(**hash)).count() as u64;
        assert!(suspected < ROWS / 50, "{suspected}");
        assert!(hashes.iter().all(|hash| filter.has_seen(*hash)));
        assert!(!Filter::for_rows(0).has_seen(1));
    }
}
