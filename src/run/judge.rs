//! What counts as a good body, from the origin or on disk, and what a good one tells of itself.

use crate::facts::{Facts, Proof, Sha256};
use crate::failure::{Failure, Kind};
use crate::image::{self, Reach, Seen};
use crate::origin::Framing;

/// What counts as a good body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A whole image.
    Image,
    /// Whatever was delivered whole.
    Any,
}

impl Expect {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Any => "any",
        }
    }

    /// Whether a file on disk with this content is good, where the warehouse claims it, and what image it is, if any.
    ///
    /// # Errors
    /// Says in words why not.
    pub fn check(self, body: &[u8]) -> Result<Option<Seen>, &'static str> {
        match (image::check(body), self) {
            _ if body.is_empty() => Err("empty"),
            (Ok(seen), _) => Ok(Some(seen)),
            (Err(_), Self::Any) => Ok(None),
            (Err(why), Self::Image) => Err(why.0),
        }
    }

    /// Whether a body that the origin delivered is good, and what image it is, if any. It may be said to be encoded as something
    /// that toller does not know.
    pub(super) fn judge(self, body: &[u8], framing: Framing, encoding: Option<&str>) -> Result<Option<Seen>, Failure> {
        let (kind, why) = match (image::check(body), framing) {
            // Its own end proves that nothing was cut off, and its pixels that it is encoded as nothing else.
            (Ok(seen), _) if seen.reach == Reach::Whole => return Ok(Some(seen)),
            (Ok(_), Framing::CloseDelimited) => {
                (Kind::Truncated, "nothing but the connection's end says that it is whole".into())
            }
            (Err(why), Framing::CloseDelimited) => (Kind::Truncated, why.0.into()),
            (seen, Framing::Complete) => match (seen, encoding) {
                (_, Some(encoding)) => {
                    (Kind::NotAnImage, format!("it comes encoded as {encoding}, although it was not asked for so"))
                }
                (Ok(seen), None) => return Ok(Some(seen)),
                (Err(_), None) if self == Self::Any && !body.is_empty() => return Ok(None),
                (Err(why), None) => (Kind::NotAnImage, why.0.into()),
            },
        };
        Err(Failure::new(kind, why).with_status(200))
    }
}

/// The image in a file that no row claims, if it may be taken for what the origin has.
///
/// Nobody knows whether it is durable, so its own bytes must prove that it is whole, whatever is expected. A power cut
/// leaves files as long as they should be, with zeros where bytes did not reach the disk, at least a sector of them. Some
/// pictures do end in so many zeros; they are fetched once more than they need be.
#[must_use]
pub fn proves_itself(body: &[u8]) -> Option<Seen> {
    const SECTOR: usize = 512;
    if body.ends_with(&[0; SECTOR]) {
        return None;
    }
    image::check(body).ok().filter(|seen| seen.reach == Reach::Whole)
}

/// What a body tells of itself, of which this image was seen.
#[must_use]
pub fn facts(body: &[u8], seen: Option<Seen>, sha256: Option<Sha256>) -> Facts {
    let whole = seen.is_some_and(|seen| seen.reach == Reach::Whole);
    Facts {
        bytes: body.len() as u64,
        format: seen.map(|seen| seen.format.into()),
        width: seen.and_then(|seen| seen.width),
        height: seen.and_then(|seen| seen.height),
        sha256,
        proof: Some(if whole { Proof::Structure } else { Proof::Length }),
        ..Facts::default()
    }
}
