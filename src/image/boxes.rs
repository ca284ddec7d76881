//! Boxes, of which AVIF and the container of JPEG XL are made (ISO/IEC 14496-12, section 4.2).

use super::bytes;

/// A box.
pub struct Boxed<'a> {
    pub kind: [u8; 4],
    /// What is inside, as far as it is there.
    pub inside: &'a [u8],
    pub size: Size,
}

/// What a box says of its size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All of it is there.
    There,
    /// It says that it goes on to the end of the file, wherever that is.
    Open,
    /// It says that it is longer than what is there.
    Cut,
}

/// Takes the next box off `rest`; `None` where nothing is left that can be one.
pub fn next<'a>(rest: &mut &'a [u8]) -> Option<Boxed<'a>> {
    let kind = bytes(rest, 4)?;
    let (size, header) = match u32::from_be_bytes(bytes(rest, 0)?) {
        0 => (None, 8),
        // A size beyond the address space is beyond the body too.
        1 => (Some(usize::try_from(u64::from_be_bytes(bytes(rest, 8)?)).unwrap_or(usize::MAX)), 16),
        size => (Some(size as usize), 8),
    };
    let (size, length) = match size {
        None => (Size::Open, rest.len()),
        Some(size) if size > rest.len() => (Size::Cut, rest.len()),
        Some(size) => (Size::There, size),
    };
    let inside = rest.get(header..length)?;
    *rest = &rest[length..];
    Some(Boxed { kind, inside, size })
}

/// What is inside the first box of this kind, if all of that is there.
pub fn find(mut rest: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    loop {
        let found = next(&mut rest)?;
        if found.kind == kind {
            return (found.size != Size::Cut).then_some(found.inside);
        }
    }
}
