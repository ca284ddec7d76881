//! How many bytes a compressed stream holds, without making one of them (RFC 1950 and 1951).
//!
//! Only so can it be known that a PNG has its last row: its chunks may be whole where the encoder was not done.
#![allow(
    clippy::inline_always,
    reason = "measured: the bit buffer stays in registers, and a picture takes two thirds of the time"
)]

/// The longest code of DEFLATE.
const LONGEST: usize = 15;
/// Codes up to this length are found by one look into a table.
const FAST: usize = 9;
/// In which order the lengths of the code length code come (RFC 1951, section 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
/// The shortest length of each length code from 257 on, and the bits that are added to it.
const LENGTHS: [(u16, u8); 29] = ranges([3, 4, 5, 6, 7, 8, 9, 10], 2);
/// The same for distances.
const DISTANCES: [(u16, u8); 30] = ranges([1, 2, 3, 4, 0, 0, 0, 0], 1);

/// The ranges of both, which double after each group of `1 << shift` codes.
const fn ranges<const N: usize>(first: [u16; 8], shift: usize) -> [(u16, u8); N] {
    let group = 1 << shift;
    let mut table = [(0, 0); N];
    let mut code = 0;
    while code < N {
        table[code] = if code < 2 * group {
            (first[code], 0)
        } else {
            let extra = code / group - 1;
            #[allow(clippy::cast_possible_truncation, reason = "at most 13 bits more, and 24577")]
            let entry = ((((code % group + group) << extra) + first[0] as usize) as u16, extra as u8);
            entry
        };
        code += 1;
    }
    // The last length has a code of its own (RFC 1951, section 3.2.5).
    if shift == 2 {
        table[N - 1] = (258, 0);
    }
    table
}

/// Whether the zlib stream in these pieces holds at least `enough` bytes; what follows them is not looked at.
pub fn holds<'a>(pieces: impl Iterator<Item = &'a [u8]>, enough: u64) -> bool {
    let mut stream = Stream { bits: Bits { pieces, piece: &[], buffer: 0, count: 0 }, made: 0, enough };
    stream.read().is_some() && stream.made >= enough
}

/// Bits from the least significant one on, over the borders of pieces.
struct Bits<'a, I> {
    pieces: I,
    piece: &'a [u8],
    /// The next `count` bits. Above them it may hold a part of the byte that comes next.
    buffer: u64,
    count: u32,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Bits<'a, I> {
    /// Makes at least 56 bits available, or all there are.
    #[inline(always)]
    fn fill(&mut self) {
        if let Some(eight) = self.piece.first_chunk::<8>() {
            self.buffer |= u64::from_le_bytes(*eight) << self.count;
            let whole = (63 - self.count) / 8;
            self.piece = &self.piece[whole as usize..];
            self.count += whole * 8;
            return;
        }
        while self.count <= 56 {
            let Some((byte, after)) = self.piece.split_first() else {
                let Some(next) = self.pieces.next() else { return };
                self.piece = next;
                continue;
            };
            self.piece = after;
            self.buffer |= u64::from(*byte) << self.count;
            self.count += 8;
        }
    }

    /// The next bits, at most 16, of those that `fill` made available.
    #[inline(always)]
    fn take(&mut self, bits: u32) -> Option<usize> {
        let taken = self.buffer & ((1 << bits) - 1);
        self.consume(bits)?;
        usize::try_from(taken).ok()
    }

    #[inline(always)]
    fn consume(&mut self, bits: u32) -> Option<()> {
        self.count = self.count.checked_sub(bits)?;
        self.buffer >>= bits;
        Some(())
    }

    /// Steps over whole bytes, from the next border of bytes on.
    fn skip(&mut self, mut bytes: usize) -> Option<()> {
        let ready = bytes.min(self.count as usize / 8);
        bytes -= ready;
        for _ in 0..ready {
            self.consume(8)?;
        }
        while bytes > 0 {
            // What lay above the count belongs to bytes that are stepped over here.
            self.buffer = 0;
            let here = bytes.min(self.piece.len());
            self.piece = &self.piece[here..];
            bytes -= here;
            if bytes > 0 {
                self.piece = self.pieces.next()?;
            }
        }
        Some(())
    }
}

/// A set of prefix codes.
struct Codes {
    /// By the next `FAST` bits: the symbol whose code they begin with, above four bits of that code's length, or zero.
    fast: [u16; 1 << FAST],
    /// How many codes have each length.
    count: [u16; LONGEST + 1],
    /// All symbols in the order of their codes.
    symbols: [u16; 288],
}

impl Codes {
    /// Makes the codes of these lengths, or `None` where there are more than fit (RFC 1951, section 3.2.2).
    fn new(lengths: &[u8]) -> Option<Self> {
        let mut codes = Self { fast: [0; 1 << FAST], count: [0; LONGEST + 1], symbols: [0; 288] };
        for length in lengths {
            codes.count[usize::from(*length)] += 1;
        }
        codes.count[0] = 0;
        let (mut next, mut place) = ([0_u16; LONGEST + 1], [0_u16; LONGEST + 1]);
        let mut code = 0;
        for length in 1..=LONGEST {
            code = (code + u32::from(codes.count[length - 1])) << 1;
            next[length] = u16::try_from(code).ok()?;
            place[length] = place[length - 1] + codes.count[length - 1];
            if code + u32::from(codes.count[length]) > 1 << length {
                return None;
            }
        }
        for (symbol, length) in (0..).zip(lengths).filter(|(_, length)| **length > 0) {
            let bits = usize::from(*length);
            codes.symbols[usize::from(place[bits])] = symbol;
            place[bits] += 1;
            if bits <= FAST {
                // Codes come with their most significant bit first, everything else the other way round.
                let reversed = next[bits].reverse_bits() >> (16 - bits);
                let entry = symbol << 4 | u16::from(*length);
                codes.fast[usize::from(reversed)..].iter_mut().step_by(1 << bits).for_each(|place| *place = entry);
            }
            next[bits] += 1;
        }
        Some(codes)
    }

    /// The codes that need no announcement (RFC 1951, section 3.2.6).
    fn fixed() -> (Option<Self>, Option<Self>) {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        (Self::new(&lengths), Self::new(&[5; 30]))
    }

    #[inline(always)]
    fn decode<'a, I: Iterator<Item = &'a [u8]>>(&self, bits: &mut Bits<'a, I>) -> Option<u16> {
        #[allow(clippy::cast_possible_truncation, reason = "only the lowest bits are meant")]
        let entry = self.fast[bits.buffer as usize & ((1 << FAST) - 1)];
        if entry > 0 {
            bits.consume(u32::from(entry & 0xF))?;
            return Some(entry >> 4);
        }
        // Bit by bit: how far is what was read beyond the first code of this length?
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for (length, count) in (1..).zip(&self.count[1..]) {
            code |= u32::from(bits.buffer >> (length - 1) & 1 == 1);
            let count = u32::from(*count);
            if code < first + count {
                bits.consume(length)?;
                return self.symbols.get((index + code - first) as usize).copied();
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}

struct Stream<'a, I> {
    bits: Bits<'a, I>,
    made: u64,
    enough: u64,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Stream<'a, I> {
    /// Reads until there is enough, or to the end of the last block; `None` if it is cut or makes no sense.
    fn read(&mut self) -> Option<()> {
        self.bits.fill();
        let header = self.bits.take(16)?.to_le_bytes();
        let whole = u16::from_be_bytes([header[0], header[1]]);
        // DEFLATE, and no dictionary, which nobody could know.
        if header[0] & 0x0F != 8 || whole % 31 != 0 || header[1] & 0x20 != 0 {
            return None;
        }
        let mut last = false;
        let mut fixed = None;
        while !last && self.made < self.enough {
            self.bits.fill();
            last = self.bits.take(1)? == 1;
            match self.bits.take(2)? {
                0 => self.stored()?,
                1 => {
                    // Made once: a stream can have a block of this kind every ten bits.
                    let (literals, distances) = fixed.get_or_insert_with(Codes::fixed);
                    self.compressed(literals.as_ref()?, distances.as_ref()?)?;
                }
                2 => {
                    let (literals, distances) = self.dynamic()?;
                    self.compressed(&literals, &distances)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn stored(&mut self) -> Option<()> {
        self.bits.consume(self.bits.count % 8)?;
        self.bits.fill();
        let length = self.bits.take(16)?;
        if self.bits.take(16)? != length ^ 0xFFFF {
            return None;
        }
        self.made += length as u64;
        self.bits.skip(length)
    }

    /// The codes of a block that brings its own (RFC 1951, section 3.2.7).
    fn dynamic(&mut self) -> Option<(Codes, Codes)> {
        let (literals, distances) = (self.bits.take(5)? + 257, self.bits.take(5)? + 1);
        let mut lengths = [0; 19];
        for place in &ORDER[..self.bits.take(4)? + 4] {
            self.bits.fill();
            lengths[*place] = u8::try_from(self.bits.take(3)?).ok()?;
        }
        let codes = Codes::new(&lengths)?;
        let mut lengths = [0; 288 + 32];
        let mut known = 0;
        while known < literals + distances {
            self.bits.fill();
            let (length, times) = match codes.decode(&mut self.bits)? {
                16 => (lengths[known.checked_sub(1)?], 3 + self.bits.take(2)?),
                17 => (0, 3 + self.bits.take(3)?),
                18 => (0, 11 + self.bits.take(7)?),
                length => (u8::try_from(length).ok()?, 1),
            };
            lengths.get_mut(known..known + times)?.fill(length);
            known += times;
        }
        let (literals, rest) = lengths.split_at(literals);
        Some((Codes::new(literals)?, Codes::new(&rest[..distances])?))
    }

    /// The symbols of a block, until it ends or there is enough.
    fn compressed(&mut self, literals: &Codes, distances: &Codes) -> Option<()> {
        while self.made < self.enough {
            // One length and one distance with all that belongs to them have 48 bits.
            if self.bits.count < 48 {
                self.bits.fill();
            }
            match literals.decode(&mut self.bits)? {
                ..=255 => self.made += 1,
                256 => return Some(()),
                code => {
                    let (length, extra) = *LENGTHS.get(usize::from(code) - 257)?;
                    let length = usize::from(length) + self.bits.take(u32::from(extra))?;
                    let (distance, extra) = *DISTANCES.get(usize::from(distances.decode(&mut self.bits)?))?;
                    let distance = usize::from(distance) + self.bits.take(u32::from(extra))?;
                    if distance as u64 > self.made {
                        return None;
                    }
                    self.made += length as u64;
                }
            }
        }
        Some(())
    }
}
