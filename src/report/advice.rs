//! What a kind of failure means, and what whoever reads of it can do.

use crate::failure::Kind;

/// Words about a kind.
#[derive(Debug, Clone, Copy)]
pub struct Advice {
    /// What happened.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The words about the kind of that name.
pub fn advice(name: &str) -> Advice {
    let Some(kind) = Kind::from_name(name) else {
        return Advice {
            meaning: "A kind that this version of toller does not know.",
            remedy: "Read the messages below, or make the report with the version that recorded it.",
        };
    };
    let (meaning, remedy) = words(kind);
    Advice { meaning, remedy }
}

fn words(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::NotFound => (
            "The origin has no such image (404, 410).",
            "Ask whoever fills the bucket. Once the images are there, fetch with --retry-failed.",
        ),
        Kind::Forbidden => (
            "The origin refused access (401, 403).",
            "Check the credentials in --header-file; some buckets also answer so for what is not there. Then fetch with --retry-failed.",
        ),
        Kind::RateLimited => (
            "The origin asked for fewer requests (429).",
            "Run fetch again later; a --rate below the origin's limit keeps it from happening.",
        ),
        Kind::ServerError => (
            "The origin had a fault of its own (5xx).",
            "Run fetch again later. If it stays, tell whoever runs the origin.",
        ),
        Kind::HttpStatus => (
            "The origin answered with a status that brings no image.",
            "Look at the status below, and at one of the URLs with curl.",
        ),
        Kind::Redirect => (
            "A redirect led in a circle, to plain http, or nowhere.",
            "Name the address at its end in --url, then fetch with --retry-failed.",
        ),
        Kind::Dns => (
            "The name of the host was not found.",
            "Check the host in the URL and this machine's DNS, then fetch again.",
        ),
        Kind::Connect => (
            "No connection came about, or it closed before an answer.",
            "Check network, firewall and proxy, then fetch again.",
        ),
        Kind::Tls => (
            "The TLS handshake or the certificate was not good.",
            "Read the cause below; a root of your own is named with --ca-cert. Then fetch again.",
        ),
        Kind::Protocol => {
            ("The answer was not HTTP as toller knows it.", "Look at what answers at that URL, then fetch again.")
        }
        Kind::Timeout => (
            "No whole answer came within the time of an attempt.",
            "Fetch again; on a slow line with fewer --workers or a longer --timeout.",
        ),
        Kind::Truncated => {
            ("The body ended too early.", "Fetch again. If it stays, the file is cut short at the origin.")
        }
        Kind::TooLarge => (
            "The body is larger than --max-bytes.",
            "If these are thumbnails after all, raise --max-bytes and fetch with --retry-failed.",
        ),
        Kind::Empty => (
            "The origin sent a good status and no bytes.",
            "Have the file made anew at the origin, then fetch with --retry-failed.",
        ),
        Kind::NotAnImage => (
            "What came whole is not an image, or not a whole one.",
            "Open one of the URLs: it is often an error page, or a file that was cut before it was uploaded. Then fetch with --retry-failed.",
        ),
        Kind::DigestMismatch => (
            "The bytes are not those that the origin declared.",
            "Fetch again. If it stays, a proxy changes bodies on the way, or the origin's metadata is wrong.",
        ),
        Kind::Placeholder => (
            "A picture that stands for one that is not there.",
            "Ask whoever fills the bucket. Once the images are there, fetch with --retry-failed.",
        ),
        Kind::BadGuid => (
            "The GUID can be no file's name.",
            "Correct it in the table: 1 to 200 bytes, no slash, no control character, no dot in front.",
        ),
        Kind::BadUrl => ("The URL cannot be asked for.", "Correct it in --url or in the column of --url-column."),
        Kind::Disk => {
            ("The file could not be written.", "Read the cause below, make room or mend the disk, then fetch again.")
        }
    }
}
