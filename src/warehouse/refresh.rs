//! What is home and is asked for again: what was last seen too long ago, and what is on record of it.

use std::time::SystemTime;

use duckdb::arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use duckdb::arrow::datatypes::Int64Type;

use crate::error::Result;
use crate::facts::{Known, Sha256};

use super::tables::quote;
use super::{Shape, Window, micros};

/// The columns of [`Window::known_sql`] come after row, id and URL.
const FIRST: usize = 3;

/// What is on record of files that are home, as it is read.
pub(super) struct OnRecord<'v> {
    done: &'v BooleanArray,
    bytes: &'v PrimitiveArray<Int64Type>,
    digests: &'v StringArray,
    etags: &'v StringArray,
    last_modified: &'v StringArray,
}

impl<'v> OnRecord<'v> {
    /// `None` where nobody asked for it.
    pub(super) fn new(vectors: &'v RecordBatch) -> Option<Self> {
        (vectors.num_columns() > FIRST).then(|| Self {
            done: vectors.column(FIRST).as_boolean(),
            bytes: vectors.column(FIRST + 1).as_primitive(),
            digests: vectors.column(FIRST + 2).as_string(),
            etags: vectors.column(FIRST + 3).as_string(),
            last_modified: vectors.column(FIRST + 4).as_string(),
        })
    }

    pub(super) fn at(&self, row: usize) -> Option<Box<Known>> {
        let text = |column: &StringArray| column.is_valid(row).then(|| column.value(row).into());
        self.done.value(row).then(|| {
            Box::new(Known {
                bytes: self.bytes.is_valid(row).then(|| self.bytes.value(row).unsigned_abs()),
                sha256: self.digests.is_valid(row).then(|| Sha256::parse(self.digests.value(row))).flatten(),
                etag: text(self.etags),
                last_modified: text(self.last_modified),
            })
        })
    }
}

impl Window<'_> {
    /// What is wanted of the rows, with what is on record of their files beside them: `FROM` what, `WHERE` what.
    ///
    /// What no record says anything of was last seen when it was made done. The columns have names that no condition of
    /// the user's names.
    pub(super) fn stale_sql(&self, shape: &Shape, before: SystemTime) -> Result<(String, String)> {
        let Shape { rows, id, done, .. } = shape;
        let updated = match &shape.updated_type {
            Some(_) => format!("{}.{}::TIMESTAMP", quote(&self.tables.table.table), quote(&self.tables.updated)),
            None => "NULL".into(),
        };
        let (from, seen) = if self.has_own_files(shape)? {
            let files = format!(
                "(SELECT source_image_id AS \"toller id\", TRY_CAST(bytes AS BIGINT) AS \"toller bytes\", \
                 sha256::VARCHAR AS \"toller sha256\", etag::VARCHAR AS \"toller etag\", last_modified::VARCHAR AS \"toller last_modified\", \
                 greatest(TRY_CAST(checked_at AS TIMESTAMP), TRY_CAST(gone_at AS TIMESTAMP)) AS \"toller seen\" FROM {})",
                self.quoted(&self.tables.file)
            );
            (format!("{rows} LEFT JOIN {files} ON \"toller id\" = {id}"), "\"toller seen\", ")
        } else {
            (rows.clone(), "")
        };
        let before = micros(before);
        let wanted = format!("(NOT {done} OR coalesce({seen}{updated}, make_timestamp(0)) < make_timestamp({before}))");
        Ok((from, wanted))
    }

    /// What is on record of the files, behind other columns.
    pub(super) fn known_sql(&self, shape: &Shape) -> Result<String> {
        let recorded = if self.has_own_files(shape)? {
            "\"toller bytes\", \"toller sha256\", \"toller etag\", \"toller last_modified\""
        } else {
            "NULL::BIGINT, NULL::VARCHAR, NULL::VARCHAR, NULL::VARCHAR"
        };
        Ok(format!(", {}, {recorded}", shape.done))
    }
}
