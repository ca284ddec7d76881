//! The ends that a run comes to because of what it met: nothing has ever worked, or too much has failed.

use std::time::{Instant, SystemTime};

use crate::ending::Ending;
use crate::error::Error;
use crate::failure::{Failure, Kind};

use super::ROW;
use super::sameness::Same;

/// Nothing has ever worked: every failure so far is the origin's.
pub(in crate::run) fn hopeless(url: &str, failure: &Failure) -> Ending {
    let (name, way_out) = match failure.kind {
        Kind::Dns => ("look-up", "look at the host in --url"),
        Kind::Tls => ("TLS", "see --ca-cert and SSL_CERT_FILE"),
        Kind::Forbidden => ("access", "see --header and --header-file"),
        _ if failure.http_status == Some(407) => ("proxy", "see --proxy: it takes user:password@ before the host"),
        Kind::Connect => ("connect", "look at the host and the port in --url, and see --proxy"),
        _ => ("protocol", "look at the scheme and the port in --url"),
    };
    let cause = format!("{ROW} {name} failures in a row and no success: {}", failure.message);
    let error = Error::new("fetch", place_of(url), cause).with_way_out(failure.way_out.unwrap_or(way_out));
    Ending::Broken { error, forgive_since: Some(SystemTime::UNIX_EPOCH) }
}

/// More failed than is allowed, most of them of this kind, the first of them at that time.
pub(super) fn too_many(words: &str, commonest: Kind, since: Instant) -> Ending {
    let way_out = match commonest {
        Kind::RateLimited => "ask for less with --rate, or allow more with --max-failure-rate",
        _ => "look at what failed, or allow more with --max-failure-rate",
    };
    let error = Error::new("fetch", "failure rate", words).with_way_out(way_out);
    Ending::Broken { error, forgive_since: SystemTime::now().checked_sub(since.elapsed()) }
}

/// One body has come for too many.
pub(super) fn always_the_same(same: &Same) -> Ending {
    let Same { digest, count, guids } = same;
    let guids: Vec<_> = guids.iter().map(|guid| guid.as_str()).collect();
    let cause = format!(
        "{count} of the last 100 bodies are one and the same, sha256 {digest}, such as those for {}",
        guids.join(", ")
    );
    let way_out = format!(
        "if it stands for what is not there: toller verify --fix --reject-digest {digest}, then fetch with \
         --reject-digest {digest}; if the pictures are alike, allow it with --max-same 100"
    );
    Ending::broken(Error::new("fetch", "placeholder", cause).with_way_out(way_out))
}

/// Scheme and authority of a URL, less what may be a secret in it.
fn place_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_in_the_name_of_its_place() {
        assert_eq!(place_of("https://user:pass@h.test:8443/a?sig=secret"), "https://h.test:8443");
    }
}
