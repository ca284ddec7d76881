//! What is in the files that options name: header lines, trust roots, the client's own certificate and its key.
//!
//! Each is read once, since it may be a stream; `-` is standard input, which cannot be read for two of them.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::input;
use crate::origin::{Identity, Pem, Roots};

/// Standard input must be named once, by whatever names it; `taken` is what is read there anyhow.
///
/// # Errors
/// A second one, by its name.
pub fn one_stdin<'f>(taken: Option<&str>, files: impl IntoIterator<Item = (&'f str, &'f PathBuf)>) -> Result<()> {
    let mut named = files.into_iter().filter(|(_, file)| file.as_path() == Path::new("-")).map(|(name, _)| name);
    let first = taken.or_else(|| named.next());
    let (Some(first), Some(second)) = (first, named.next()) else { return Ok(()) };
    let cause = format!("standard input can be read once only, and {first} takes it");
    Err(Error::usage(format!("{second} -"), cause)
        .with_way_out("give one of them as a file; in bash, <(COMMAND) is one"))
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned())).filter(|(name, _)| !name.is_empty())
}

/// The lines of `--header` and of the files of `--header-file`.
///
/// # Errors
/// A file that cannot be read, or a line that is no header's.
pub(super) fn headers(lines: &[String], files: &[PathBuf]) -> Result<Vec<(String, String)>> {
    let typed = |line: &String| header(line).ok_or_else(|| Error::usage("--header", "it must be 'Name: value'"));
    let mut headers = lines.iter().map(typed).collect::<Result<Vec<_>>>()?;
    for file in files {
        headers.extend(header_file(file)?);
    }
    Ok(headers)
}

fn header_file(file: &Path) -> Result<Vec<(String, String)>> {
    let error = |cause: String| Error::new("header file", file.display(), cause);
    let mut text = String::new();
    let read = input::source(file).and_then(|mut file| file.read_to_string(&mut text));
    read.map_err(|cause| error(cause.to_string()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            header(line).ok_or_else(|| error(format!("line {}: it must be 'Name: value'", number + 1)))
        })
        .collect()
}

/// The roots of `--ca-cert` and of the environment.
///
/// # Errors
/// The file of `--ca-cert` cannot be read.
pub(super) fn roots(ca_cert: Option<PathBuf>, spare: bool) -> Result<Roots> {
    let from = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    Ok(Roots {
        ca_cert: ca_cert.map(|file| Pem::read("trust roots", file)).transpose()?,
        file: from("SSL_CERT_FILE"),
        dir: from("SSL_CERT_DIR"),
        spare,
    })
}

/// The files of `--cert` and `--key`.
///
/// # Errors
/// One that cannot be read, or a key without a certificate.
pub(super) fn identity(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Identity>> {
    let Some(cert) = cert else {
        return if key.is_some() { Err(Error::usage("--key", "it does not go without --cert")) } else { Ok(None) };
    };
    let cert = Pem::read("client certificate", cert).map_err(|error| error.with_way_out("it is named by --cert"))?;
    let key = key.map(|key| Pem::read("client key", key)).transpose()?;
    Ok(Some(Identity { cert, key }))
}
