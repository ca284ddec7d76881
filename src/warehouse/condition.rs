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

impl Window<'_> {
    /// What went wrong in a query; one that could be understood but for the condition is a wrong command line.
    pub(super) fn blame(&self, operation: &str, condition: Option<&Condition>, cause: &duckdb::Error) -> Error {
        let error = self.error(operation, cause);
        let words = cause.to_string();
        if condition.is_some() && !NOT_OF_THE_STATEMENT.iter().any(|other| words.starts_with(other)) {
            error.with_code(ExitCode::Usage).with_way_out("look at the SQL of --where")
        } else {
            error
        }
    }
}
