//! The origin's own word about a body: the digests that come beside it, and whether the body has them.
//!
//! A digest is computed only where a header offers one. Who declares it may mean the bytes as they were sent or as they are when
//! unpacked, and servers do not agree on it, so either will do. What is not understood proves nothing and fails nothing.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_ENCODING, WARNING};

use crate::facts::{Proof, Sha256};
use crate::failure::{Failure, Kind};

use super::encoding;

/// Base64, padded or not (RFC 9651, section 4.2.7).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Md5,
    Crc32c,
}
use Algorithm::{Crc32c, Md5, Sha256 as Sha};

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Sha => "sha-256",
            Md5 => "md5",
            Crc32c => "crc32c",
        }
    }

    /// Bytes of a digest.
    fn length(self) -> usize {
        match self {
            Sha => 32,
            Md5 => 16,
            Crc32c => 4,
        }
    }

    fn of(self, body: &[u8]) -> Vec<u8> {
        match self {
            Sha => Sha256::of(body).0.to_vec(),
            Md5 => md5::compute(body).0.to_vec(),
            Crc32c => crc32c::crc32c(body).to_be_bytes().to_vec(),
        }
    }
}

/// How a header writes its digests.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// `sha-256=:BASE64:;parameters, …` (RFC 9651, section 3.2)
    Dictionary,
    /// `MD5=BASE64,SHA-256=BASE64`
    List,
    /// `BASE64`
    Bare,
}

/// RFC 9530, RFC 3230, RFC 1864, Google Cloud Storage, Amazon S3.
const HEADERS: [(&str, Form, &[Algorithm]); 7] = [
    ("Repr-Digest", Form::Dictionary, &[Sha, Md5]),
    ("Content-Digest", Form::Dictionary, &[Sha, Md5]),
    ("Digest", Form::List, &[Sha, Md5]),
    ("Content-MD5", Form::Bare, &[Md5]),
    ("x-goog-hash", Form::List, &[Crc32c, Md5]),
    ("x-amz-checksum-sha256", Form::Bare, &[Sha]),
    ("x-amz-checksum-crc32c", Form::Bare, &[Crc32c]),
];

/// Left by those who make another picture of the origin's, and may leave its digests on it: Cloudflare's Polish and Resizing,
/// Fastly's Image Optimizer, Google Cloud Storage.
const CHANGED: [&str; 4] = ["cf-polished", "cf-resized", "fastly-io-info", "x-guploader-response-body-transformations"];

#[derive(Debug, PartialEq, Eq)]
struct Declared {
    header: &'static str,
    algorithm: Algorithm,
    digest: Vec<u8>,
}

/// What the origin's word proves of a body: the bytes as `sent`, and as they are when `unpacked`, where they came packed.
pub fn proof(
    headers: &HeaderMap,
    etag: Option<&str>,
    sent: &[u8],
    unpacked: Option<&[u8]>,
) -> Result<Option<Proof>, Failure> {
    let either = |is: &dyn Fn(&[u8]) -> bool| is(sent) || unpacked.is_some_and(is);
    let mut proof = None;
    for Declared { header, algorithm, digest } in declared(headers) {
        if either(&|body| algorithm.of(body) == digest) {
            proof = Some(Proof::Declared);
        } else if !is_another(headers, sent, unpacked.is_some()) {
            let (name, wanted, found) = (algorithm.name(), BASE64.encode(digest), BASE64.encode(algorithm.of(sent)));
            let words = format!("{header}: the origin declared {name} {wanted}, but the body has {found}");
            return Err(Failure::new(Kind::DigestMismatch, words).with_status(200));
        }
    }
    let is_etag = |md5: &str| either(&|body| format!("{:x}", md5::compute(body)).eq_ignore_ascii_case(md5));
    Ok(proof.or_else(|| etag.and_then(md5_in).filter(|md5| is_etag(md5)).map(|_| Proof::Etag)))
}

/// The MD5 that a strong ETag may be: S3 makes it so for what came in one part.
fn md5_in(etag: &str) -> Option<&str> {
    let hex = etag.strip_prefix('"')?.strip_suffix('"')?;
    (hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)
}

/// Whether somebody on the way has put another body in the place of the one whose digests these are.
fn is_another(headers: &HeaderMap, sent: &[u8], is_unpacked: bool) -> bool {
    let packed = |name: &str| encoding::is_packed(headers, name);
    // Unpacked on the way, whether the header that says that it is packed was left or not.
    let here = packed(CONTENT_ENCODING.as_str()) && !encoding::is_gzip(sent);
    let there = packed("x-goog-stored-content-encoding") && !is_unpacked && !encoding::is_gzip(sent);
    // 214 Transformation Applied (RFC 7234, section 5.5.6).
    let warned = headers.get_all(WARNING).iter().any(|value| value.as_bytes().starts_with(b"214"));
    here || there || warned || CHANGED.iter().any(|mark| headers.contains_key(*mark))
}

/// Every digest that is declared in a way that is understood.
fn declared(headers: &HeaderMap) -> Vec<Declared> {
    let mut all: Vec<Declared> = Vec::new();
    // To look for each of them in vain would cost more than all the rest of most heads.
    if !headers.keys().any(|name| HEADERS.iter().any(|(known, ..)| known.eq_ignore_ascii_case(name.as_str()))) {
        return all;
    }
    // The checksum of the checksums of parts.
    let composite = headers.get("x-amz-checksum-type").is_some_and(|value| value.as_bytes() == b"COMPOSITE");
    for (header, form, algorithms) in HEADERS {
        let lines = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        for entry in lines.flat_map(|line| entries(line, form)) {
            let read = match form {
                Form::Dictionary => in_dictionary(entry),
                Form::List => entry.split_once('='),
                Form::Bare => {
                    Some((algorithms[0].name(), entry)).filter(|_| !composite || !header.starts_with("x-amz-"))
                }
            };
            let Some((name, text)) = read else { continue };
            let algorithm = algorithms.iter().copied().find(|known| known.name().eq_ignore_ascii_case(name.trim()));
            let digest = BASE64.decode(text.trim()).ok();
            if let Some((algorithm, digest)) = algorithm.zip(digest)
                && digest.len() == algorithm.length()
            {
                // Of two entries with one name the last one counts (RFC 9651, section 4.2.2).
                if matches!(form, Form::Dictionary) {
                    all.retain(|other| (other.header, other.algorithm) != (header, algorithm));
                }
                all.push(Declared { header, algorithm, digest });
            }
        }
    }
    all
}

/// The parts of a line between commas; a comma in quotes is none, and a bare value has none.
fn entries(line: &str, form: Form) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted && !matches!(form, Form::Bare)
    })
    .map(str::trim)
}

/// Name and base64 of an entry.
fn in_dictionary(entry: &str) -> Option<(&str, &str)> {
    let (name, rest) = entry.split_once('=')?;
    let (base64, rest) = rest.strip_prefix(':')?.split_once(':')?;
    let rest = rest.trim_start();
    (rest.is_empty() || rest.starts_with(';')).then_some((name, base64))
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderName, HeaderValue};

    use super::*;

    /// The body of the examples in appendix B of RFC 9530, with what is declared of it there.
    const HELLO: &[u8] = b"{\"hello\": \"world\"}\n";
    const SHA: &str = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=";
    const MD5: &str = "UFIauregE76D7gDe0/n0JA==";
    /// Of 32 zeros, from appendix B.4 of RFC 3720, where it is written backwards.
    const ZEROS: &str = "ipE2qg==";

    fn head(lines: &str) -> HeaderMap {
        let lines = lines.lines().filter_map(|line| line.split_once(": "));
        lines
            .map(|(name, value)| {
                let name = HeaderName::try_from(name).expect("a name");
                (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
            })
            .collect()
    }

    fn proved(lines: &str, sent: &[u8], unpacked: Option<&[u8]>) -> Result<Option<Proof>, String> {
        let headers = head(lines);
        let etag = headers.get("etag").and_then(|etag| etag.to_str().ok());
        proof(&headers, etag, sent, unpacked).map_err(|failure| {
            assert_eq!((failure.kind, failure.http_status), (Kind::DigestMismatch, Some(200)));
            failure.message
        })
    }

    #[test]
    fn a_digest_that_the_body_has_proves_it_and_any_other_damage_is_told() {
        for line in [
            format!("Repr-Digest: sha-256=:{SHA}:"),
            format!("Content-Digest: sha-256=:{SHA}:"),
            format!("content-digest: sha-256=:{}:", SHA.trim_end_matches('=')),
            format!("Repr-Digest: sha-512=:AAAA:, md5=:{MD5}:;a=1;b=\"x,y\", sha-256=:{SHA}:"),
            format!("Repr-Digest: sha-512=:AAAA:\nRepr-Digest: sha-256=:{SHA}: ; q"),
            format!("Repr-Digest: sha-256=:{}:, sha-256=:{SHA}:", "A".repeat(43)),
            format!("Digest: SHA-256={SHA}"),
            format!("Digest: UNIXsum=30637,sha-256={SHA}, md5={MD5}"),
            format!("Digest: MD5={MD5}\nDigest: sha={MD5}"),
            format!("Content-MD5: {MD5}"),
            format!("x-goog-hash: md5={MD5}"),
            format!("x-amz-checksum-sha256: {SHA}"),
            format!("x-amz-checksum-type: FULL_OBJECT\nx-amz-checksum-sha256: {SHA}"),
        ] {
            assert_eq!(proved(&line, HELLO, None), Ok(Some(Proof::Declared)), "{line}");
            let words = proved(&line, b"{\"hellO\": \"world\"}\n", None).expect_err(&line);
            assert!(words.contains(SHA) || words.contains(MD5), "{words}");
        }
        let words = proved(&format!("content-md5: {MD5}"), b"Hello World", None).expect_err("another body");
        assert_eq!(
            words,
            "Content-MD5: the origin declared md5 UFIauregE76D7gDe0/n0JA==, but the body has sQqNsWTgdUEFt6mb5y4/5Q=="
        );
    }

    #[test]
    fn one_digest_of_several_that_differs_is_enough() {
        let lines = format!("x-goog-hash: crc32c=AAAAAA==\nx-goog-hash: md5={MD5}");
        assert!(
            proved(&lines, HELLO, None).expect_err("the first").starts_with("x-goog-hash: the origin declared crc32c")
        );
        let lines = format!("x-goog-hash: crc32c=AAAAAA==,md5={MD5}");
        assert!(proved(&lines, HELLO, None).is_err());
        for line in [format!("x-goog-hash: crc32c={ZEROS}"), format!("x-amz-checksum-crc32c: {ZEROS}")] {
            assert_eq!(proved(&line, &[0; 32], None), Ok(Some(Proof::Declared)), "{line}");
            assert!(proved(&line, &[0; 33], None).is_err(), "{line}");
        }
    }

    #[test]
    fn what_is_malformed_or_unknown_proves_nothing_and_fails_nothing() {
        for line in [
            format!("Repr-Digest: sha-256={SHA}"),
            format!("Repr-Digest: sha-256=\"{SHA}\""),
            format!("Repr-Digest: sha-256=:{SHA}:x"),
            format!("Repr-Digest: sha-256=:{SHA}"),
            format!("Repr-Digest: x=\"a,sha-256=:{}:\"", "A".repeat(43)),
            "Repr-Digest: sha-256=:ungültig:, sha-256=:!!!!:, sha-256=::, sha-256, =, ,".into(),
            "Content-Digest: sha-256=:AAAA:, crc32c=:AAAAAA==:, sha-512=:AAAA:".into(),
            "Digest: SHA-256=AAAA,id-sha-256=AAAA,crc32c=AAAAAA==".into(),
            format!("Digest: SHA-256=:{SHA}:"),
            "Content-MD5: 50521abab7a013be83ee00ded3f9f424".into(),
            "Content-MD5: ".into(),
            "x-goog-hash: crc32c, md5=, =AAAAAA==".into(),
            format!("x-goog-hash: sha-256={}", "A".repeat(43)),
            // S3's composite checksums of several parts.
            format!("x-amz-checksum-sha256: {SHA}-3"),
            "x-amz-checksum-crc32c: AAAAAA==-2".into(),
            "x-amz-checksum-type: COMPOSITE\nx-amz-checksum-crc32c: AAAAAA==".into(),
            "x-amz-checksum-crc64nvme: AAAAAAAAAAA=".into(),
            "Want-Repr-Digest: sha-256=10".into(),
        ] {
            assert_eq!(proved(&line, HELLO, None), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_packed_body_has_the_digest_as_it_was_sent_or_as_it_was_before() {
        let sent = b"\x1f\x8b not really";
        let gzip = "Content-Encoding: gzip";
        // A cache that packs what came plain leaves the store's digests as they were.
        for line in [format!("{gzip}\nx-goog-hash: md5={MD5}"), format!("{gzip}\nContent-MD5: {MD5}")] {
            assert_eq!(proved(&line, sent, Some(HELLO)), Ok(Some(Proof::Declared)), "{line}");
            assert_eq!(proved(&line, HELLO, None), Ok(Some(Proof::Declared)), "{line}");
            assert!(proved(&line, sent, Some(b"another")).is_err(), "{line}");
            assert!(proved(&line, sent, None).is_err(), "its gzip data are corrupt: {line}");
        }
        let line = format!("{gzip}\nContent-MD5: {}", BASE64.encode(md5::compute(sent).0));
        assert_eq!(proved(&line, sent, Some(HELLO)), Ok(Some(Proof::Declared)));
    }

    #[test]
    fn a_body_that_was_changed_on_the_way_is_not_held_against_the_digests_of_another() {
        for mark in [
            "x-goog-stored-content-encoding: gzip",
            "X-GUploader-Response-Body-Transformations: gunzipped",
            "Content-Encoding: gzip",
            "Content-Encoding: br",
            "cf-polished: origSize=24620, status=vary_header_present",
            "cf-resized: internal=ok/m q=0 n=31 c=0+11 v=2024.10.6 l=11520",
            "fastly-io-info: ifsz=24620 idim=640x480 ifmt=jpeg ofsz=9000 odim=320x240 ofmt=webp",
            "Warning: 214 proxy \"Transformation Applied\"",
        ] {
            let lines = format!("{mark}\nx-goog-hash: crc32c=DpDPAQ==\nx-goog-hash: md5=cIP/3rusdUx12Zla1kf1yA==");
            assert_eq!(proved(&lines, HELLO, None), Ok(None), "{mark}");
            let lines = format!("{mark}\nx-goog-hash: md5={MD5}");
            assert_eq!(proved(&lines, HELLO, None), Ok(Some(Proof::Declared)), "it was not, after all: {mark}");
        }
        let lines =
            "x-goog-stored-content-encoding: identity\nContent-Encoding: identity\nx-goog-hash: crc32c=DpDPAQ==";
        assert!(proved(lines, HELLO, None).is_err());
    }

    #[test]
    fn an_etag_proves_the_body_where_it_is_its_md5_and_nothing_else_ever() {
        let hex = "50521abab7a013be83ee00ded3f9f424";
        for etag in [hex.to_owned(), hex.to_uppercase()] {
            assert_eq!(proved(&format!("etag: \"{etag}\""), HELLO, None), Ok(Some(Proof::Etag)));
            assert_eq!(proved(&format!("etag: \"{etag}\""), b"packed", Some(HELLO)), Ok(Some(Proof::Etag)));
        }
        for etag in [
            format!("W/\"{hex}\""),
            format!("\"{hex}-2\""),
            format!("\"{}\"", &hex[1..]),
            hex.to_owned(),
            format!("\"{hex}"),
            "\"ff75d2472fb1bd69ae768d27577211a0\"".into(),
            "\"5f3a-4e2d\"".into(),
            "\"".into(),
            "\"\u{20}\"".into(),
        ] {
            assert_eq!(proved(&format!("etag: {etag}"), HELLO, None), Ok(None), "{etag}");
        }
        let both = format!("etag: \"{hex}\"\nContent-MD5: {MD5}");
        assert_eq!(proved(&both, HELLO, None), Ok(Some(Proof::Declared)), "the stronger one");
    }
}
