//! TIFF: its directories, and the strips or tiles they name (TIFF 6.0, sections 2, 3 and 15; BigTIFF has wider numbers).

use super::{NotWhole, Reach, Seen, Sides, Verdict};

const CUT: NotWhole = NotWhole("tiff cut inside a directory");
const ENDLESS: NotWhole = NotWhole("tiff with directories without end");
const BEYOND: NotWhole = NotWhole("tiff cut inside its picture");

/// Width and height, then where the strips begin and how long they are, then the same of tiles.
const TAGS: [u64; 6] = [256, 257, 273, 279, 324, 325];

/// A file with its byte order and the size of its numbers.
struct File<'a> {
    body: &'a [u8],
    little: bool,
    big: bool,
    /// How many entries may still be read: no file has more than bytes, unless its directories go in circles.
    budget: usize,
}

/// A list of numbers of one size.
#[derive(Clone, Copy)]
struct List {
    at: u64,
    count: u64,
    size: u64,
}

/// Walks the directories behind the signature; the sides are those of the first one that has a picture.
pub fn check(body: &[u8]) -> Verdict {
    let magic = body[2].max(body[3]);
    let mut file = File { body, little: body[0] == b'I', big: magic == b'+', budget: body.len() };
    let start = if file.big { file.number(8, 8) } else { file.number(4, 4) };
    let mut next = start.ok_or(NotWhole("tiff cut inside its header"))?;
    let (mut first, mut reach) = (None, Reach::Whole);
    while next != 0 {
        let (after, found) = match file.directory(next) {
            // Readers show what comes before directories begin to go in circles.
            Err(ENDLESS) if first.is_some() => (0, Some((Reach::Beginning, (0, 0)))),
            read => read?,
        };
        if let Some((found, sides)) = found {
            first = first.or(Some(sides));
            if found == Reach::Beginning {
                reach = found;
            }
        }
        next = after;
    }
    Ok(Seen::new("tiff", reach, first.ok_or(NotWhole("tiff without picture"))?))
}

impl File<'_> {
    fn number(&self, at: u64, size: u64) -> Option<u64> {
        let start = usize::try_from(at).ok()?;
        let number = self.body.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little { number.iter().rev().fold(0, add) } else { number.iter().fold(0, add) })
    }

    fn spend(&mut self, entries: u64) -> Result<(), NotWhole> {
        let left = usize::try_from(entries).ok().and_then(|entries| self.budget.checked_sub(entries));
        self.budget = left.ok_or(ENDLESS)?;
        Ok(())
    }

    /// Where the next directory is, and what of this one's picture is there and its sides, if it has one.
    fn directory(&mut self, at: u64) -> Result<(u64, Option<(Reach, Sides)>), NotWhole> {
        let (count_size, entry_size, next_size) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.number(at, count_size).ok_or(CUT)?;
        self.spend(count.saturating_add(1))?;
        let entries = at + count_size;
        let mut lists = [None; TAGS.len()];
        for entry in 0..count {
            let entry = entries + entry * entry_size;
            let tag = self.number(entry, 2).ok_or(CUT)?;
            let list = self.list(entry).ok_or(CUT)?;
            if let Some(place) = TAGS.iter().position(|known| *known == tag) {
                // Of an entry that comes twice, readers take the first.
                lists[place] = lists[place].or(Some(list));
            }
        }
        let next = self.number(entries + count * entry_size, next_size).ok_or(CUT)?;
        let [width, height, pieces @ ..] = lists;
        let sides = (self.side(width), self.side(height));
        let mut found = None;
        for pair in pieces.chunks_exact(2) {
            if let Some(offsets) = pair[0].filter(|offsets| offsets.count * offsets.size > 0) {
                found = Some((self.pieces(offsets, pair[1])?, sides));
            }
        }
        Ok((next, found))
    }

    /// The numbers of an entry, which are in the entry itself where they fit; `None` if they are not there.
    fn list(&self, entry: u64) -> Option<List> {
        let wide = if self.big { 8 } else { 4 };
        let size = match self.number(entry + 2, 2)? {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => 0, // of no known kind
        };
        let count = self.number(entry + 4, wide)?;
        let value = entry + 4 + wide;
        let length = count.checked_mul(size)?;
        let at = if length <= wide { value } else { self.number(value, wide)? };
        (at.checked_add(length)? <= self.body.len() as u64).then_some(List { at, count, size })
    }

    fn side(&self, list: Option<List>) -> u32 {
        let number = list.filter(|list| list.count == 1).and_then(|list| self.number(list.at, list.size));
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    fn pieces(&mut self, offsets: List, lengths: Option<List>) -> Result<Reach, NotWhole> {
        let mut reach = Reach::Whole;
        self.spend(offsets.count)?;
        for piece in 0..offsets.count {
            let get = |list: List| self.number(list.at.checked_add(piece * list.size)?, list.size);
            let offset = get(offsets).ok_or(CUT)?;
            let length = lengths.filter(|lengths| piece < lengths.count);
            let length = length.map(|lengths| get(lengths).ok_or(CUT)).transpose()?;
            if length.is_none() {
                reach = Reach::Beginning;
            }
            if offset.checked_add(length.unwrap_or(1)).is_none_or(|end| end > self.body.len() as u64) {
                return Err(BEYOND);
            }
        }
        Ok(reach)
    }
}
