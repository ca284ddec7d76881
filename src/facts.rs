//! What is known of a file that is home: what it is, what proved it whole, and what its origin calls this version of it.
//!
//! Plain words: where each fact arises (the image's walk, the head of a response, the digest) is elsewhere.

use std::borrow::Cow;
use std::fmt;

/// What proved a body whole, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// It is as long as HTTP said.
    Length,
    /// The image is there to its end.
    Structure,
    /// Its MD5 is the origin's ETag.
    Etag,
    /// It has the digest that the origin declared.
    Declared,
}

/// Every proof with its name in tables and JSON.
const PROOFS: [(Proof, &str); 4] =
    [(Proof::Length, "length"), (Proof::Structure, "structure"), (Proof::Etag, "etag"), (Proof::Declared, "declared")];

impl Proof {
    /// The name that tables and JSON use.
    #[must_use]
    pub fn name(self) -> &'static str {
        PROOFS.iter().find(|(proof, _)| *proof == self).map_or("", |(_, name)| name)
    }

    /// The proof of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        PROOFS.iter().find(|(_, known)| *known == name).map(|(proof, _)| *proof)
    }
}

/// A SHA-256, shown in hexadecimal as `sha256sum` and DuckDB's `sha256()` do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = Self([0; 32]);
        digest.0.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        digest
    }

    /// Reads 64 hexadecimal digits of either case; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: [u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |four: u8| b"0123456789abcdef"[usize::from(four)];
            (pair[0], pair[1]) = (digit(byte >> 4), digit(byte & 15));
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of a file: what stands of it in `thumb_file`, and in a line of `pipe`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its length.
    pub bytes: u64,
    /// `jpeg`, `png` and so on; none where it is no image.
    pub format: Option<Cow<'static, str>>,
    /// In pixels, as the file says, not turned by EXIF.
    pub width: Option<u32>,
    /// In pixels, as the file says, not turned by EXIF.
    pub height: Option<u32>,
    /// None where none is kept.
    pub sha256: Option<Sha256>,
    /// The strongest that held; none where nothing but the length is known.
    pub proof: Option<Proof>,
    /// As the origin wrote it, quotes and `W/` too.
    pub etag: Option<Box<str>>,
    /// As the origin wrote it.
    pub last_modified: Option<Box<str>>,
    /// As the origin wrote it.
    pub content_type: Option<Box<str>>,
}

/// What is on record of a file that is home, where the origin is asked whether it is still the one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its length.
    pub bytes: Option<u64>,
    /// None where none was kept.
    pub sha256: Option<Sha256>,
    /// As the origin wrote it.
    pub etag: Option<Box<str>>,
    /// As the origin wrote it.
    pub last_modified: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_sha256sum_does_and_read_in_either_case() {
        let digest = Sha256::of(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), hex);
        assert_eq!(Sha256::parse(hex), Some(digest));
        assert_eq!(Sha256::parse(&hex.to_uppercase()), Some(digest));
        for wrong in ["", "ba78", &hex[1..], &format!("{hex}0"), &hex.replace('b', "g"), &hex.replace('b', "+")] {
            assert_eq!(Sha256::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn proofs_have_names_and_the_origins_word_is_the_strongest() {
        for (proof, name) in PROOFS {
            assert_eq!((proof.name(), Proof::from_name(name)), (name, Some(proof)));
        }
        assert!(PROOFS.is_sorted() && Proof::from_name("hope").is_none());
    }
}
