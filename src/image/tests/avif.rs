//! AVIF, and boxes.

use super::*;

pub fn boxed(kind: [u8; 4], inside: &[u8]) -> Vec<u8> {
    let size = u32::try_from(inside.len() + 8).expect("a test's box is small");
    [&size.to_be_bytes()[..], &kind, inside].concat()
}

/// A box with a version and flags.
fn full(kind: [u8; 4], version: u8, inside: &[u8]) -> Vec<u8> {
    boxed(kind, &[&[version, 0, 0, 0], inside].concat())
}

fn ftyp(brands: &[u8]) -> Vec<u8> {
    boxed(*b"ftyp", brands)
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// A list of the places of items, each of one extent, in the given way of construction.
fn iloc(items: &[(u16, u32, u32)]) -> Vec<u8> {
    let count = u16::try_from(items.len()).unwrap();
    let mut list = [&[0x44, 0][..], &count.to_be_bytes()].concat();
    for (method, offset, length) in items {
        list.extend([&[0, 1][..], &method.to_be_bytes(), &[0, 0, 0, 1], &numbers(&[*offset, *length])].concat());
    }
    full(*b"iloc", 1, &list)
}

const BRANDS: &[u8] = b"avif\0\0\0\0mif1";

/// A file with these items, whose places count from the end of the list, and these bytes behind it.
fn file(items: &[(u16, u32, u32)], mdat: &[u8]) -> Vec<u8> {
    let made = |items: &[(u16, u32, u32)]| {
        let inside = [full(*b"hdlr", 0, b"pict"), iloc(items), boxed(*b"idat", b"inside")].concat();
        [ftyp(BRANDS), full(*b"meta", 0, &inside), boxed(*b"mdat", mdat)].concat()
    };
    let start = u32::try_from(made(items).len() - mdat.len()).unwrap();
    let moved: Vec<_> = items.iter().map(|(m, o, l)| (*m, if *m == 0 { start + o } else { *o }, *l)).collect();
    made(&moved)
}

/// The box `moov` of a file with two chunks at these places, of two samples and one.
fn moov(sizes: &[u8], places: &[u8]) -> Vec<u8> {
    let runs = full(*b"stsc", 0, &numbers(&[2, 1, 2, 1, 2, 1, 1]));
    let table = boxed(*b"stbl", &[&runs[..], sizes, places].concat());
    let header = full(*b"tkhd", 0, &[&[0; 72], &numbers(&[300 << 16, 200 << 16])[..]].concat());
    let media = boxed(*b"mdia", &[full(*b"hdlr", 0, b"pict"), boxed(*b"minf", &table)].concat());
    let track = boxed(*b"trak", &[header, media].concat());
    boxed(*b"moov", &[full(*b"mvhd", 0, &[0; 8]), track].concat())
}

fn sequence(sizes: &[u8], wide: bool) -> Vec<u8> {
    let made = |start: u32| {
        let places = if wide {
            full(*b"co64", 0, &numbers(&[2, 0, start, 0, start + 7]))
        } else {
            full(*b"stco", 0, &numbers(&[2, start, start + 7]))
        };
        [ftyp(b"avis\0\0\0\0msf1"), moov(sizes, &places), boxed(*b"mdat", b"abcdefghijk")].concat()
    };
    let start = made(0).len() - 11;
    made(u32::try_from(start).unwrap())
}

/// Every form of file there is.
pub fn avifs() -> Vec<Vec<u8>> {
    let different = full(*b"stsz", 0, &numbers(&[0, 3, 3, 4, 4]));
    let alike = full(*b"stsz", 0, &numbers(&[3, 3]));
    let alike = sequence(&alike, false);
    vec![
        file(&[(0, 0, 11)], b"first bytes"),
        file(&[(0, 5, 6), (0, 0, 5), (1, 0, 6), (2, 0, 100)], b"first bytes"),
        sequence(&different, false),
        sequence(&different, true),
        // The last byte of the box belongs to no sample here.
        alike[..alike.len() - 1].to_vec(),
        [&ftyp(b"mif3avif")[..], &boxed(*b"mini", b"all of it")].concat(),
    ]
}

#[test]
fn an_avif_is_whole_when_every_extent_of_its_items_is_there() {
    let image = file(&[(0, 0, 4), (0, 7, 4)], b"first bytes and more");
    let end = image.len() - 9;
    assert_eq!(reach(&image[..end]), Ok(Reach::Whole));
    for length in 0..end {
        let _ = why(&image[..length]);
    }
    assert_eq!(why(&image[..end - 1]), "avif cut inside its picture");
    // In the box beside the list, the file's length does not help.
    assert_eq!(why(&file(&[(1, 0, 7)], b"first bytes")), "avif cut inside its picture");
    assert_eq!(why(&file(&[(1, u32::MAX, u32::MAX)], b"")), "avif cut inside its picture");
    assert_eq!(why(&file(&[], b"first bytes")), "avif without picture");
}

#[test]
fn an_avif_of_nothing_but_its_first_boxes_is_refused() {
    assert_eq!(why(&ftyp(BRANDS)), "avif cut before or inside its box meta");
    assert_eq!(why(&[ftyp(BRANDS), full(*b"meta", 0, b"")].concat()), "avif without picture");
    assert_eq!(why(&ftyp(b"avis\0\0\0\0avif")), "avif cut before or inside its box moov");
    assert_eq!(why(&ftyp(b"mif3avif")), "avif cut before or inside its box mini");
    assert_eq!(why(&[ftyp(b"mif3avif"), boxed(*b"mini", b"")].concat()), "avif without picture");
}

#[test]
fn an_extent_without_length_proves_nothing() {
    assert_eq!(reach(&file(&[(0, 0, 0)], b"first bytes")), Ok(Reach::Beginning));
    // As many of them as can be written take no bytes in the list.
    let list = [&[0, 0, 0, 2][..], &[0, 1, 0, 0, 0xFF, 0xFF].repeat(2)].concat();
    let meta = full(*b"meta", 0, &full(*b"iloc", 0, &list));
    assert_eq!(reach(&[ftyp(BRANDS), meta].concat()), Ok(Reach::Beginning));
}

#[test]
fn lists_of_every_version_are_read_and_broken_ones_are_refused() {
    let of = |version, list: &[u8]| {
        let meta = full(*b"meta", 0, &full(*b"iloc", version, list));
        reach(&[ftyp(BRANDS), meta, vec![0; 40]].concat())
    };
    // One item with a base of eight bytes, an index, an offset of none and a length of four.
    let long = b"\x04\x84\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\x01\0\0\0\x09\0\0\0\x05";
    assert_eq!(of(2, long), Ok(Reach::Whole));
    let short = b"\x44\0\0\x01\0\x01\0\0\0\x01\0\0\0\x20\0\0\0\x05";
    assert_eq!(of(0, short), Ok(Reach::Whole));
    for cut in 0..short.len() {
        assert!(of(0, &short[..cut]).is_err());
    }
    assert_eq!(of(3, short), Err(NotWhole("avif with a broken list of places")));
}

#[test]
fn a_sequence_is_whole_when_every_chunk_of_its_samples_is_there() {
    let table = |sizes: &[u32]| reach(&sequence(&full(*b"stsz", 0, &numbers(sizes)), false));
    assert_eq!(table(&[0, 3, 3, 4, 4]), Ok(Reach::Whole));
    assert_eq!(table(&[0, 3, 3, 4, 5]), Err(NotWhole("avif cut inside its picture")));
    assert_eq!(table(&[5, 3]), Err(NotWhole("avif cut inside its picture")));
    assert_eq!(table(&[0, 4, 3, 4, 4, 1]), Err(NotWhole("avif with a broken list of places")));
    assert_eq!(table(&[0, 3, 3, 4]), Err(NotWhole("avif with a broken list of places")));
    assert_eq!(table(&[0, 0]), Err(NotWhole("avif without picture")));
    let fragments = boxed(*b"moov", &boxed(*b"mvex", b""));
    assert_eq!(reach(&[ftyp(b"avis\0\0\0\0"), fragments].concat()), Ok(Reach::Beginning));
}

#[test]
fn brands_decide_what_a_file_of_boxes_is() {
    let body = |brands: &[u8]| [ftyp(brands), file(&[(0, 0, 1)], b"x")[20..].to_vec()].concat();
    for brands in [&b"mif1\0\0\0\0miafavif"[..], b"heic\0\0\0\0avif", b"avif\0\0\0\0xxxx"] {
        assert_ne!(reach(&body(brands)), Err(NotWhole("mp4 or the like, not an image")), "{}", brands.escape_ascii());
    }
    for (brands, reason) in [
        (&b"heic\0\0\0\0mif1heic"[..], "heic, not an image toller takes"),
        (b"mif1\0\0\0\0heix", "heic, not an image toller takes"),
        // The minor version is no brand, but where low overhead needs one.
        (b"isomavifmp41", "mp4 or the like, not an image"),
        (b"", "mp4 or the like, not an image"),
    ] {
        assert_eq!(why(&body(brands)), reason);
    }
    for (body, reason) in [
        (&b"\0\0\0\x20ftypavif"[..], "cut inside its ftyp box"),
        (b"\0\0\0\x04ftypavif\0\0\0\0", "mp4 or the like, not an image"),
        (b"\0\0\0\x01ftyp\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFavif", "cut inside its ftyp box"),
        // A box to the end of the file leaves no place for another.
        (b"\0\0\0\0ftypavif\0\0\0\0mif1", "avif cut before or inside its box meta"),
    ] {
        assert_eq!(why(body), reason);
    }
}

#[test]
fn a_box_may_have_a_long_size_or_go_on_to_the_end() {
    let meta = file(&[(0, 0, 1)], b"x")[20..].to_vec();
    let long = [b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\x1C", BRANDS, &meta].concat();
    assert_eq!(reach(&long), Ok(Reach::Whole));
    let open = [&ftyp(b"mif3avif")[..], b"\0\0\0\0mini", b"as far as it goes"].concat();
    assert_eq!(reach(&open), Ok(Reach::Beginning));
}

/// A file whose primary item is this one, and whose properties are at these places of a list of them.
fn with_properties(primary: &[u8], list: &[Vec<u8>], places: &[Vec<u8>]) -> Vec<u8> {
    let properties = [boxed(*b"ipco", &list.concat()), places.concat()].concat();
    let inside = [boxed(*b"pitm", primary), iloc(&[(1, 0, 1)]), boxed(*b"idat", b"x"), boxed(*b"iprp", &properties)];
    [ftyp(BRANDS), full(*b"meta", 0, &inside.concat())].concat()
}

#[test]
fn the_sides_of_an_avif_are_those_of_its_primary_item() {
    let size = |width, height| full(*b"ispe", 0, &numbers(&[width, height]));
    let turn = boxed(*b"irot", b"\x01");
    let list = [size(64, 64), turn, boxed(*b"av1C", b""), size(300, 200), size(9, 9)];
    // Two items, of which the second has a codec, a size and a turn that is not made.
    let places = full(*b"ipma", 0, b"\0\0\0\x02\0\x01\x01\x01\0\x02\x03\x83\x04\x82");
    assert_eq!(sides(&with_properties(b"\0\0\0\0\0\x02", &list, std::slice::from_ref(&places))), ("avif", 300, 200));
    assert_eq!(sides(&with_properties(b"\0\0\0\0\0\x01", &list, std::slice::from_ref(&places))), ("avif", 64, 64));
    // Ids of four bytes, places of two, in a second list.
    let long = boxed(*b"ipma", b"\x01\0\0\x01\0\0\0\x01\0\x01\0\x02\x02\x80\x03\0\x05");
    assert_eq!(sides(&with_properties(b"\x01\0\0\0\0\x01\0\x02", &list, &[places.clone(), long])), ("avif", 9, 9));
    // No such item, no size among its properties, a list that is cut, and none.
    let wrong = full(*b"ipma", 0, b"\0\0\0\x01\0\x02\x02\x02\x09");
    let cut = full(*b"ipma", 0, b"\0\0\0\x01\0\x02\x02\x04");
    for (primary, places) in [
        (b"\0\0\0\0\0\x07", vec![places]),
        (b"\0\0\0\0\0\x02", vec![wrong]),
        (b"\0\0\0\0\0\x02", vec![cut]),
        (b"\0\0\0\0\0\x02", vec![]),
    ] {
        assert_eq!(sides(&with_properties(primary, &list, &places)), ("avif", 0, 0));
    }
}

#[test]
fn the_sides_of_a_sequence_are_those_of_its_track_and_of_a_small_avif_those_of_its_box() {
    let sequence = sequence(&full(*b"stsz", 0, &numbers(&[0, 3, 3, 4, 4])), false);
    assert_eq!(sides(&sequence), ("avif", 300, 200));
    let small = |bits: &[u8]| sides(&[ftyp(b"mif3avif"), boxed(*b"mini", &[&[0; 2], bits].concat())].concat());
    // 101 x 128 in seven bits each, 300 x 32768 in fifteen.
    assert_eq!(small(&[0x80 | 0x64, 0x7F << 1, 0, 0]), ("avif", 101, 128));
    assert_eq!(small(&[0x01, 0x2B, 0xFF, 0xFE]), ("avif", 300, 32_768));
    assert_eq!(small(&[0x01]), ("avif", 0, 0));
}

pub fn any_avif() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..60).prop_map(|noise| file(&[(0, 0, u32::try_from(noise.len()).unwrap())], &noise))
}
