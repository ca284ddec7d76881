//! GIF.

use super::*;

/// 1 x 1, two colours in a global table.
pub const SCREEN: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF";
/// 1 x 1 with a local table, code size 2, one sub-block of two bytes.
pub const PICTURE: &[u8] = b"\x2C\0\0\0\0\x01\0\x01\0\x80\0\0\0\xFF\xFF\xFF\x02\x02\x44\x01\0";
const PAUSE: &[u8] = b"\x21\xF9\x04\0\x0A\0\0\0";

pub fn small_gif() -> Vec<u8> {
    let comment = b"\x21\xFE\x01\x3B\x02;;\0"; // trailers inside sub-blocks do not count
    [SCREEN, comment, PAUSE, PICTURE, PAUSE, PICTURE, b"\x3B"].concat()
}

#[test]
fn gifs_that_lack_a_part_say_which() {
    let cases: [(&[&[u8]], &str); 6] = [
        (&[SCREEN, b"\x3B"], "gif without picture"),
        (&[SCREEN, b"junk", PICTURE], "gif with an unknown block"),
        (&[SCREEN, PAUSE], "gif without trailer"),
        (&[SCREEN, PICTURE, b"\x21\xFE\x05abc"], "gif without trailer"),
        (&[SCREEN, PICTURE, &[0; 2]], "gif without trailer"),
        (&[SCREEN, PICTURE, &[0; 40]], "gif without trailer"),
    ];
    for (parts, reason) in cases {
        assert_eq!(why(&parts.concat()), reason);
    }
}

#[test]
fn a_gif_that_ends_or_goes_on_with_junk_where_its_trailer_should_be_is_taken_but_proves_nothing() {
    for tail in [&b""[..], b"\0", b"junk", b"\xFF", PAUSE] {
        let image = [SCREEN, PAUSE, PICTURE, PAUSE, PICTURE, tail].concat();
        assert_eq!(reach(&image), Ok(Reach::Beginning), "{}", tail.escape_ascii());
    }
}

#[test]
fn a_gif_that_was_cut_inside_a_block_is_refused_and_between_two_blocks_it_proves_nothing() {
    let parts = [SCREEN, PAUSE, PICTURE, PAUSE, PICTURE];
    let ends: Vec<usize> = (3..=5).map(|count| parts[..count].concat().len()).collect();
    let image = parts.concat();
    for length in 0..=image.len() {
        let expected = ends.contains(&length).then_some(Reach::Beginning);
        assert_eq!(reach(&image[..length]).ok(), expected, "{length} bytes");
    }
}

#[test]
fn the_sides_of_a_gif_are_those_of_its_screen() {
    let image = |screen: &[u8]| [b"GIF89a", screen, &SCREEN[10..], PICTURE, b"\x3B"].concat();
    assert_eq!(sides(&image(b"\x03\x01\x05\0")), ("gif", 259, 5));
    assert_eq!(sides(&image(b"\0\0\x05\0")), ("gif", 0, 5));
    assert_eq!(sides(&[SCREEN, PICTURE].concat()), ("gif", 1, 1));
}

pub fn any_gif() -> impl Strategy<Value = Vec<u8>> {
    let block = vec(any::<u8>(), 1..40).prop_map(|inside| {
        let length = u8::try_from(inside.len()).expect("a sub-block is short");
        [&[length], &inside[..]].concat()
    });
    vec(block, 0..4).prop_map(|blocks| {
        let codes = PICTURE.strip_suffix(b"\x02\x44\x01\0").unwrap();
        [SCREEN, codes, &blocks.concat(), b"\0\x3B"].concat()
    })
}
