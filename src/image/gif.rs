//! GIF: blocks to the trailer (GIF version 89a, sections 17 to 27 and its grammar in appendix B).

use super::{NotWhole, Reach, Seen, Verdict};

const CUT: NotWhole = NotWhole("gif without trailer");

/// Walks the blocks behind the signature; the sides are those of the screen on which the pictures are laid.
///
/// Viewers show a GIF that ends, or goes on with something else, where its trailer should be, once a picture is there. Such
/// a one is no proof: it may have lost pictures at just that place.
pub fn check(blocks: &[u8]) -> Verdict {
    let (screen, after) = blocks.split_first_chunk::<7>().ok_or(CUT)?;
    let [w0, w1, h0, h1, packed, ..] = *screen;
    let sides = (u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into());
    let seen = |reach| Ok(Seen::new("gif", reach, sides));
    let mut rest = after.get(colour_table(packed)..).ok_or(CUT)?;
    let mut picture = false;
    let mut zeros = 0;
    while let Some((block, after)) = rest.split_first() {
        zeros = if *block == 0 { zeros + 1 } else { 0 };
        rest = match block {
            // One label, then sub-blocks, whatever the extension: that is how unknown ones are skipped.
            0x21 => sub_blocks(after.get(1..).ok_or(CUT)?).ok_or(CUT)?,
            0x2C => {
                let (image, after) = after.split_first_chunk::<9>().ok_or(CUT)?;
                picture = true;
                // The colours are followed by one byte, the LZW code size.
                let codes = after.get(colour_table(image[8]) + 1..).ok_or(CUT)?;
                sub_blocks(codes).ok_or(CUT)?
            }
            0x3B if picture => return seen(Reach::Whole),
            0x3B => return Err(NotWhole("gif without picture")),
            // Some writers end their sub-blocks twice; viewers step over it.
            0x00 => after,
            _ if picture => return seen(Reach::Beginning),
            _ => return Err(NotWhole("gif with an unknown block")),
        };
    }
    // More zeros than a writer's slip are the tail of a torn file, and the block before them may have been torn too.
    if picture && zeros < 2 { seen(Reach::Beginning) } else { Err(CUT) }
}

/// The bytes of the colour table that these packed fields announce.
fn colour_table(packed: u8) -> usize {
    if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
}

/// What follows a run of sub-blocks and the empty one that ends it.
fn sub_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, after) = rest.split_first()?;
        rest = after.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(rest);
        }
    }
}
