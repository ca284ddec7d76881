//! A condition that the user typed: SQL, but one expression and nothing more.
//!
//! It stands between brackets in statements of ours. DuckDB's own parser is asked, before anything runs, whether those
//! brackets hold it: `true); DROP TABLE x; --` would close them and go on.

use crate::error::{Error, ExitCode, Result};

use super::{Warehouse, Window, plain};

/// One expression, to be asked of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition(String);

impl Condition {
    /// `AND`, and the expression. On lines of its own, so that a comment at its end comments nothing of ours.
    pub(super) fn and(&self) -> String {
        format!(" AND (\n{}\n)", self.0)
    }
}

impl Warehouse {
    /// Takes a condition; nothing of it is run.
    ///
    /// # Errors
    /// It is not one expression: a wrong command line.
    pub fn condition(&self, sql: String) -> Result<Condition> {
        // What closes the brackets is no expression without them; what follows an expression is none within them.
        for statement in [format!("SELECT 1 WHERE (\n{sql}\n)"), format!("SELECT 1 WHERE\n{sql}\n")] {
            self.must_be_one(&statement).map_err(|cause| {
                Error::usage("--where", cause).with_way_out("it must be one SQL expression, such as: width > 100")
            })?;
        }
        Ok(Condition(sql))
    }

    /// Parses, which runs nothing.
    fn must_be_one(&self, statement: &str) -> std::result::Result<(), String> {
        let parse = "SELECT json_serialize_sql(?::VARCHAR)";
        let parsed = self.connection.query_row(parse, [statement], |row| row.get::<_, String>(0));
        let parsed = parsed.map_err(|cause| plain(&cause.to_string()))?;
        let parsed: serde_json::Value = serde_json::from_str(&parsed).map_err(|cause| cause.to_string())?;
        if parsed["error"] != false {
            return Err(plain(parsed["error_message"].as_str().unwrap_or("it cannot be read")));
        }
        match parsed["statements"].as_array().map(Vec::as_slice) {
            Some([one]) if one["named_param_map"].as_array().is_none_or(Vec::is_empty) => Ok(()),
            Some([_]) => Err("it has a parameter, for which there is no value".into()),
            _ => Err("more than one statement".into()),
        }
    }
}

/// Errors of DuckDB that say nothing about the statement.
const NOT_OF_THE_STATEMENT: [&str; 5] =
    ["IO Error", "Out of Memory Error", "INTERNAL Error", "FATAL Error", "INTERRUPT Error"];

/// What DuckDB adds to its errors: dozens of functions that were not meant, and extensions that cannot be loaded here.
const BESIDE_THE_POINT: [&str; 3] = [" You might need to add", " Candidate functions:", " Please try installing"];

/// The point of DuckDB's message about a condition, and the way out of it.
fn point(words: &str) -> (String, &'static str) {
    let words = plain(words);
    let end = BESIDE_THE_POINT.iter().filter_map(|more| words.find(more)).min().unwrap_or(words.len());
    let zoned = "without a time zone it works, in UTC: now()::TIMESTAMP - INTERVAL 7 DAY, now()::TIMESTAMP::DATE for today, \
                 a_column::TIMESTAMP";
    if words.contains("icu extension") || words.contains("'icu:") {
        let what = words.split('"').nth(1).filter(|_| words.starts_with("Catalog Error")).unwrap_or("a function of it");
        return (format!("{what} needs the extension icu, which is not built in"), zoned);
    }
    let point = &words[..end];
    let way_out = if point.contains("TIMESTAMP WITH TIME ZONE") { zoned } else { "look at the SQL of --where" };
    (point.to_owned(), way_out)
}

impl Window<'_> {
    /// What went wrong in a query; one that could be understood but for the condition is a wrong command line.
    pub(super) fn blame(&self, operation: &str, condition: Option<&Condition>, cause: &duckdb::Error) -> Error {
        let words = cause.to_string();
        if condition.is_none() || NOT_OF_THE_STATEMENT.iter().any(|other| words.starts_with(other)) {
            return self.error(operation, cause);
        }
        let (point, way_out) = point(&words);
        Error::new(operation, "--where", point).with_code(ExitCode::Usage).with_way_out(way_out)
    }
}
