//! TIFF.

use super::*;

/// A number of so many bytes, in either order.
fn number(little: bool, size: usize, number: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes()[..size].to_vec();
    if !little {
        bytes.reverse();
    }
    bytes
}

/// A file of one directory with these entries: tag, size of a number, numbers. Those that do not fit lie behind it.
pub fn file(little: bool, big: bool, entries: &[(usize, usize, &[usize])], rest: &[u8]) -> Vec<u8> {
    let (count, word) = if big { (8, 8) } else { (2, 4) };
    let n = |size, value| number(little, size, value);
    let sign = if little { "II" } else { "MM" };
    let start = if big { [n(2, 43), n(2, 8), n(2, 0), n(8, 16)] } else { [n(2, 42), n(4, 8), vec![], vec![]] };
    let head = [sign.as_bytes(), &start.concat()].concat();
    let end = head.len() + count + entries.len() * (4 + 2 * word) + word;
    let (mut directory, mut behind) = (n(count, entries.len()), Vec::new());
    for (tag, size, values) in entries {
        let kind = match size {
            2 => 3,
            4 => 4,
            _ => 16,
        };
        let mut value: Vec<u8> = values.iter().flat_map(|value| n(*size, *value)).collect();
        if value.len() > word {
            let place = n(word, end + behind.len());
            behind.append(&mut value);
            value = place;
        }
        value.resize(word, 0);
        directory.extend([n(2, *tag), n(2, kind), n(word, values.len()), value].concat());
    }
    directory.extend(n(word, 0));
    [&head[..], &directory, &behind, rest].concat()
}

/// Two strips at the end of a file.
fn strips(little: bool, big: bool) -> Vec<u8> {
    let size = if big { 8 } else { 4 };
    let made = |start: usize| {
        file(little, big, &[(256, 2, &[9]), (273, size, &[start, start + 3]), (279, 2, &[3, 2])], b"abcde")
    };
    let start = made(0).len() - 5;
    made(start)
}

/// Every form of file there is.
pub fn tiffs() -> Vec<Vec<u8>> {
    let tile = file(true, false, &[(324, 4, &[50]), (325, 2, &[5])], &[7; 17]);
    assert_eq!(tile.len(), 55);
    vec![strips(true, false), strips(false, false), strips(true, true), strips(false, true), tile]
}

#[test]
fn a_tiff_is_whole_when_its_strips_or_tiles_are_there() {
    for image in tiffs() {
        assert_eq!(reach(&image), Ok(Reach::Whole), "{}", image.escape_ascii());
        for length in 4..image.len() {
            assert!(why(&image[..length]).starts_with("tiff cut"), "{length} of {}", image.escape_ascii());
        }
        assert_eq!(why(&image[..image.len() - 1]), "tiff cut inside its picture");
    }
}

#[test]
fn a_tiff_of_nothing_but_its_header_is_refused() {
    for body in [&b"II*\0\x08\0\0\0"[..], b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"] {
        assert_eq!(why(body), "tiff cut inside a directory");
    }
    assert_eq!(why(b"II*\0\x08"), "tiff cut inside its header");
    assert_eq!(why(b"II*\0\0\0\0\0"), "tiff without picture");
    assert_eq!(why(&file(true, false, &[(256, 2, &[9])], b"")), "tiff without picture");
}

#[test]
fn a_tiff_that_does_not_say_how_long_its_strips_are_proves_nothing() {
    let image = file(true, false, &[(273, 4, &[26])], b"strip");
    assert_eq!(reach(&image), Ok(Reach::Beginning));
    assert_eq!(why(&image[..26]), "tiff cut inside its picture");
}

#[test]
fn a_tiff_whose_last_values_or_directories_are_missing_is_refused() {
    // The strip is there, but what an entry names behind it is not.
    let entries: [(usize, usize, &[usize]); 3] = [(273, 4, &[50]), (279, 4, &[4]), (700, 4, &[7; 9])];
    let image = file(true, false, &entries, b"");
    assert_eq!(reach(&image), Ok(Reach::Whole));
    assert_eq!(why(&image[..image.len() - 1]), "tiff cut inside a directory");
    // There is another page, but where?
    let mut pages = tiffs().remove(0);
    let next = 10 + 3 * 12;
    pages[next] = 200;
    assert_eq!(why(&pages), "tiff cut inside a directory");
}

#[test]
fn directories_that_go_in_circles_end() {
    let mut image = tiffs().remove(0);
    let next = 10 + 3 * 12;
    image[next] = 8;
    assert_eq!(reach(&image), Ok(Reach::Beginning));
    let mut image = file(false, false, &[(256, 2, &[9])], b"");
    let next = image.len() - 1;
    image[next] = 8;
    assert_eq!(why(&image), "tiff with directories without end");
}

#[test]
fn the_sides_of_a_tiff_are_those_of_the_first_directory_that_has_a_picture() {
    let strip = |big| (273, if big { 8 } else { 4 }, &[8][..]);
    for (little, big, size) in [(true, false, 2), (false, false, 4), (true, true, 8), (false, true, 2)] {
        let image = file(little, big, &[(256, size, &[300]), (257, size, &[5]), (256, size, &[9]), strip(big)], b"");
        assert_eq!(sides(&image), ("tiff", 300, 5));
    }
    // None, of no number, of two, and longer than any.
    assert_eq!(sides(&file(true, false, &[(257, 4, &[5]), strip(false)], b"")), ("tiff", 0, 5));
    assert_eq!(sides(&file(true, false, &[(256, 2, &[]), (257, 2, &[5, 5]), strip(false)], b"")), ("tiff", 0, 0));
    assert_eq!(sides(&file(true, true, &[(256, 8, &[1 << 32]), (257, 8, &[7]), strip(true)], b"")), ("tiff", 0, 7));
    // A directory of sides alone comes first.
    let picture = file(true, false, &[(256, 2, &[300]), (257, 2, &[5]), strip(false)], b"");
    let mut pages = file(true, false, &[(256, 2, &[9])], &picture[8..]);
    pages[22] = 26;
    assert_eq!(sides(&pages), ("tiff", 300, 5));
}
