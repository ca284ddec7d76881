//! The table of what is home: one row for each GUID whose file is there, written in the transaction that makes it done.
//! toller makes it where it is missing, without keys or indexes, as the runs' table.
//!
//! Width and height are those of the pixels as they are stored: an EXIF orientation is not applied.

use std::time::SystemTime;

use duckdb::params;

use crate::error::Result;

use super::tables::{OwnTable, type_of};
use super::{Shape, Window, micros};

/// Its columns; `{id_type}` is the type of the ids. All times are UTC.
const COLUMNS: [(&str, &str); 14] = [
    ("source_image_id", "{id_type} NOT NULL"),
    ("bytes", "BIGINT"),
    ("format", "VARCHAR"), // NULL where it is no image
    ("width", "INTEGER"),
    ("height", "INTEGER"),
    ("sha256", "VARCHAR"), // as `sha256sum` and DuckDB's sha256() write it
    ("proof", "VARCHAR"),  // declared, etag, structure, length
    ("etag", "VARCHAR"),
    ("last_modified", "VARCHAR"),
    ("content_type", "VARCHAR"),
    ("fetched_at", "TIMESTAMP"), // NULL when it was there already
    ("checked_at", "TIMESTAMP"), // the last 200, 304 or reuse
    ("gone_at", "TIMESTAMP"),    // the last 404 or 410
    ("run_id", "VARCHAR"),
];

impl Window<'_> {
    fn files(&self) -> OwnTable<'_> {
        OwnTable { name: &self.tables.file, columns: &COLUMNS, option: "--file-table" }
    }

    /// The files' table must be toller's, and for ids of this type, where there is one and it is wanted.
    ///
    /// # Errors
    /// It is another program's, or another table's.
    pub fn files_must_fit(&self, shape: &Shape) -> Result<()> {
        if self.tables.keep_files { self.must_fit(&self.files(), shape) } else { Ok(()) }
    }

    /// What makes the table; nothing where it is there, or not wanted.
    pub(super) fn files_ddl(&self, shape: &Shape) -> Result<String> {
        if self.tables.keep_files { self.ddl(&self.files(), shape) } else { Ok(String::new()) }
    }

    /// Whether the table is there, and toller's.
    pub(super) fn has_own_files(&self, shape: &Shape) -> Result<bool> {
        self.is_there_and_ours(&self.files(), shape)
    }

    /// Makes the files' table say of what is staged what is true now. A row of a file that is not the same any more goes,
    /// also where none is kept.
    pub(super) fn settle_files(&self, shape: &Shape, run_id: Option<&str>, again: bool) -> duckdb::Result<()> {
        let (file, kind) = (self.quoted(&self.tables.file), &shape.id_type);
        let these =
            |hows: &str| format!("source_image_id IN (SELECT id::{kind} FROM temp.main.outcome WHERE how IN ({hows}))");
        let new = these("'fetched', 'reused', 'replaced'");
        // Asked first, because a DELETE writes to the log even where it finds nothing.
        let known: bool =
            self.connection.query_row(&format!("SELECT EXISTS (FROM {file} WHERE {new})"), [], |row| row.get(0))?;
        if known {
            // What the origin has said of a file holds as long as it is the same one.
            self.connection.execute_batch(&format!(
                "UPDATE temp.main.outcome AS o SET etag = f.etag, last_modified = f.last_modified, \
                 content_type = f.content_type, proof = coalesce(f.proof, o.proof) FROM {file} AS f \
                 WHERE o.how = 'reused' AND o.proof IS NOT NULL AND f.source_image_id = o.id::{kind} AND f.sha256 = o.sha256; \
                 DELETE FROM {file} WHERE {new}"
            ))?;
        }
        if again {
            let at = format!("make_timestamp({})", micros(SystemTime::now()));
            self.connection.execute_batch(&format!(
                "UPDATE {file} SET checked_at = {at}, gone_at = NULL WHERE {same}; \
                 UPDATE {file} SET gone_at = {at} WHERE {gone}; \
                 INSERT INTO {file} (source_image_id, gone_at) SELECT id::{kind}, {at} FROM temp.main.outcome \
                 WHERE how = 'gone' AND id::{kind} NOT IN (SELECT source_image_id FROM {file})",
                same = these("'unchanged'"),
                gone = these("'gone'"),
            ))?;
        }
        if !self.tables.keep_files {
            return Ok(());
        }
        let insert = format!(
            "INSERT INTO {file} ({columns}) SELECT id::{kind}, bytes, format, width, height, sha256, proof, etag, last_modified, \
             content_type, CASE WHEN how <> 'reused' THEN make_timestamp(finished_at) END, make_timestamp(finished_at), NULL, ? \
             FROM temp.main.outcome WHERE proof IS NOT NULL",
            columns = COLUMNS.map(|(name, _)| name).join(", ")
        );
        self.connection.execute(&insert, params![run_id]).map(drop)
    }

    /// What a run that was stopped has taken for gone since then may be there: it was refused like the rest.
    pub(super) fn forgive_gone(&self, manifest: &str, run_id: &str, since: SystemTime) -> duckdb::Result<()> {
        // A catalogue that cannot be read has failed the statement before this one.
        let there = self.columns(&self.tables.file).unwrap_or_default();
        if !COLUMNS.iter().all(|(name, _)| type_of(&there, name).is_some()) {
            return Ok(());
        }
        let forgive = format!(
            "UPDATE {} SET gone_at = NULL WHERE gone_at >= greatest(make_timestamp(?), \
             (SELECT max(started_at) FROM {manifest} WHERE run_id = ?))",
            self.quoted(&self.tables.file)
        );
        self.connection.execute(&forgive, params![micros(since), run_id]).map(drop)
    }

    /// Takes away the rows of files that are not there any more.
    pub(super) fn forget_files(&self, shape: &Shape) -> duckdb::Result<()> {
        let sql = format!(
            "DELETE FROM {} WHERE source_image_id IN (SELECT id::{} FROM temp.main.outcome)",
            self.quoted(&self.tables.file),
            shape.id_type
        );
        self.connection.execute_batch(&sql)
    }
}
