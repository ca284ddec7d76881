//! What the warehouse claims to have, taken out of it in one short window and then read at leisure.
//!
//! Checking a million files takes minutes, and nobody is kept out for that long: the claims are copied into a
//! database in memory, which spills to disk when there are many, and the warehouse is closed again.

use std::time::Duration;

use duckdb::{Connection, params};

use crate::error::{Error, Result};
use crate::facts::Sha256;
use crate::outcome::{Id, Outcome};

use super::repeats::suspected;
use super::{Shape, Staged, Warehouse, Window, plain};

/// The memory in bytes that the copy may take, however large the table is; the rest of it goes by way of the disk.
const COPYING: u64 = 256 << 20;

/// What the warehouse says of one GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its place among the claims.
    pub place: i64,
    /// Its id as text.
    pub id: Box<str>,
    /// Whether its thumbnail is said to be home.
    pub done: bool,
    /// Whether its file has a row, whatever that says.
    pub filed: bool,
    /// Whether its file is on record as an image.
    pub image: bool,
    /// The length of its file, where that is on record.
    pub bytes: Option<u64>,
    /// The digest of its file, where that is on record.
    pub sha256: Option<Sha256>,
}

/// All claims of a warehouse that is closed again.
#[derive(Debug)]
pub struct Claims<'w> {
    connection: &'w Connection,
    /// What is known of a file can be written down: the table for it is toller's, or can be made.
    pub can_file: bool,
}

impl Warehouse {
    /// Takes a copy of what the warehouse claims, and what its table looks like.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub fn claims(&self, patience: Duration) -> Result<(Claims<'_>, Shape)> {
        self.take_memory(COPYING)?;
        let (shape, can_file) = self.read(patience, |window| {
            let shape = window.shape()?;
            let Shape { rows, id, done, .. } = &shape;
            let claims = format!(
                "CREATE OR REPLACE TEMP TABLE copied_claim AS SELECT {id}::VARCHAR AS id, {done} AS done \
                 FROM {rows} WHERE {id} IS NOT NULL",
            );
            for copy in [claims, window.records_sql(&shape)?] {
                let copied = window.connection.execute_batch(&copy);
                copied.map_err(|cause| window.error("read claims", &cause))?;
            }
            let can_file = window.files_must_fit(&shape).is_ok();
            Ok((shape, can_file))
        })?;
        let once = self.claimed_once(&shape).map_err(|cause| claim_error(&cause))?;
        // Both in one order, so that a page of either is found beside that of the other: a join of all with all would need
        // room for all.
        let sorted = self.connection.execute_batch(&format!(
            "CREATE OR REPLACE TEMP TABLE claim AS SELECT *, row_number() OVER () AS place \
             FROM (SELECT *, md5_number(id) AS key FROM ({once}) ORDER BY key); DROP TABLE copied_claim; \
             CREATE OR REPLACE TEMP TABLE record AS SELECT * EXCLUDE (id), md5_number(id) AS key FROM copied_record \
             ORDER BY key; DROP TABLE copied_record; CREATE OR REPLACE TEMP TABLE name (id VARCHAR)",
        ));
        sorted.map_err(|cause| claim_error(&cause))?;
        Ok((Claims { connection: &self.connection, can_file }, shape))
    }

    /// What was copied, an id with several rows once: it is done when all of them are.
    fn claimed_once(&self, shape: &Shape) -> duckdb::Result<String> {
        let all = "SELECT id, done FROM temp.main.copied_claim";
        if shape.unique {
            return Ok(all.into());
        }
        let rows = self.connection.query_row("SELECT count(*) FROM temp.main.copied_claim", [], |row| row.get(0));
        let hashes = "SELECT hash(id) FROM temp.main.copied_claim";
        let Some(suspected) = suspected(&self.connection, hashes, rows.map(i64::unsigned_abs)?)? else {
            return Ok(all.into());
        };
        Ok(format!(
            "{all} WHERE hash(id) NOT IN ({suspected}) UNION ALL \
             SELECT id, bool_and(done) FROM temp.main.copied_claim WHERE hash(id) IN ({suspected}) GROUP BY id"
        ))
    }
}

fn claim_error(cause: &duckdb::Error) -> Error {
    Error::new("read claims", "memory", plain(&cause.to_string()))
}

impl Claims<'_> {
    /// How many there are.
    ///
    /// # Errors
    /// As [`Claims::following`].
    pub fn count(&self) -> Result<u64> {
        let count = self.connection.query_row("SELECT count(*) FROM temp.main.claim", [], |row| row.get(0));
        count.map(i64::unsigned_abs).map_err(|cause| claim_error(&cause))
    }

    /// The next claims after `after`, at most `limit`.
    ///
    /// # Errors
    /// Neither memory nor the disk for temporary files has room.
    pub fn following(&self, after: i64, limit: usize) -> Result<Vec<Claim>> {
        // The places have no gaps, and a range of them is found without going through all that follow.
        self.claims_where(&format!("place > {after} AND place <= {after} + {limit}"))
    }

    /// The claims at these places, which are in order.
    ///
    /// # Errors
    /// As [`Claims::following`].
    pub fn at(&self, places: &[i64]) -> Result<Vec<Claim>> {
        let wanted = || -> duckdb::Result<()> {
            self.connection.execute_batch("CREATE OR REPLACE TEMP TABLE wanted (place BIGINT)")?;
            let mut rows = self.connection.appender_to_catalog_and_db("wanted", "temp", "main")?;
            places.iter().try_for_each(|place| rows.append_row(params![place]))?;
            rows.flush()
        };
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(Vec::new()) };
        wanted().map_err(|cause| claim_error(&cause))?;
        self.claims_where(&format!("place BETWEEN {first} AND {last} AND place IN (FROM temp.main.wanted)"))
    }

    fn claims_where(&self, condition: &str) -> Result<Vec<Claim>> {
        let read = || -> duckdb::Result<Vec<Claim>> {
            let these = format!("(SELECT * FROM temp.main.claim WHERE {condition})");
            let ends = format!("SELECT min(key)::VARCHAR, max(key)::VARCHAR FROM {these}");
            let ends =
                self.connection.query_row(&ends, [], |row| Ok(row.get::<_, Option<String>>(0)?.zip(row.get(1)?)))?;
            let Some((first, last)): Option<(String, String)> = ends else { return Ok(Vec::new()) };
            let records = format!(
                "(SELECT key, true AS filed, bool_or(image) AS image, any_value(bytes) AS bytes, any_value(sha256) AS sha256 \
                 FROM temp.main.record WHERE key BETWEEN {first} AND {last} GROUP BY key)"
            );
            let mut statement = self.connection.prepare(&format!(
                "SELECT place, id, done, coalesce(filed, false), coalesce(image, false), bytes, sha256 \
                 FROM {these} LEFT JOIN {records} USING (key) ORDER BY place"
            ))?;
            let rows = statement.query_map([], |row| {
                let digest: Option<Vec<u8>> = row.get(6)?;
                Ok(Claim {
                    place: row.get(0)?,
                    id: row.get::<_, String>(1)?.into(),
                    done: row.get(2)?,
                    filed: row.get(3)?,
                    image: row.get(4)?,
                    bytes: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
                    sha256: digest.and_then(|digest| digest.try_into().ok()).map(Sha256),
                })
            })?;
            rows.collect()
        };
        read().map_err(|cause| claim_error(&cause))
    }

    /// Takes down names that were found.
    ///
    /// # Errors
    /// As [`Claims::following`].
    pub fn add_names(&self, ids: &[Box<str>]) -> Result<()> {
        let add = || -> duckdb::Result<()> {
            let mut rows = self.connection.appender_to_catalog_and_db("name", "temp", "main")?;
            ids.iter().try_for_each(|id| rows.append_row(params![&**id]))?;
            rows.flush()
        };
        add().map_err(|cause| claim_error(&cause))
    }

    /// How many of these names the warehouse does not know. All at once, since all claims are gone through for it.
    ///
    /// # Errors
    /// As [`Claims::following`].
    pub fn count_unknown(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM temp.main.name AS n WHERE NOT EXISTS (SELECT 1 FROM temp.main.claim AS c WHERE c.id = n.id)";
        let count = self.connection.query_row(sql, [], |row| row.get(0));
        count.map(i64::unsigned_abs).map_err(|cause| claim_error(&cause))
    }
}

impl Warehouse {
    /// Makes GUIDs done, and writes down what is known of their files.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn correct_to_done(&self, shape: &Shape, files: &[Outcome], patience: Duration) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let staged = self.stage(files)?;
        self.write(patience, |window| window.correct(&staged, shape, true))
    }

    /// Makes GUIDs pending, and forgets their files.
    ///
    /// # Errors
    /// The warehouse cannot be written.
    pub fn correct_to_pending(&self, shape: &Shape, ids: &[Box<str>], patience: Duration) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let batch: Vec<_> = ids.iter().map(|id| Outcome::claimed(Id::new(id.clone()))).collect();
        let staged = self.stage(&batch)?;
        self.write(patience, |window| window.correct(&staged, shape, false))
    }
}

impl Window<'_> {
    /// Copies what is on record of files. A digest that somebody wrote by hand and that is none says nothing.
    fn records_sql(&self, shape: &Shape) -> Result<String> {
        let recorded = if self.has_own_files(shape)? {
            format!(
                "SELECT source_image_id::VARCHAR AS id, format IS NOT NULL AS image, TRY_CAST(bytes AS BIGINT) AS bytes, \
                 TRY(unhex(sha256::VARCHAR)) AS sha256 FROM {}",
                self.quoted(&self.tables.file)
            )
        } else {
            "SELECT '' AS id, false AS image, 0::BIGINT AS bytes, ''::BLOB AS sha256 LIMIT 0".into()
        };
        Ok(format!("CREATE OR REPLACE TEMP TABLE copied_record AS {recorded}"))
    }

    fn correct(&self, _: &Staged, shape: &Shape, to_done: bool) -> Result<()> {
        if to_done {
            let ddl = self.files_ddl(shape)?;
            self.transaction("make tables", || self.connection.execute_batch(&ddl))?;
        }
        // Where toller has never run for this table there are none of its own.
        let (failures, files) = (self.has_own_failures(shape)?, self.has_own_files(shape)?);
        let change = || {
            if to_done && failures {
                self.settle_failures(shape, "", false)?;
            }
            if to_done && files {
                self.settle_files(shape, None, false)?;
            } else if files {
                self.forget_files(shape)?;
            }
            self.set_done(shape, to_done, "")
        };
        self.transaction("correct", change).map(drop)
    }
}
