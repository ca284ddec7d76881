//! Looks for a body that makes the check panic or contradict itself.
//!
//! It includes the one folder, and knows nothing of the rest of the crate.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/image/mod.rs"]
mod image;

use image::{Reach, check};

fuzz_target!(|body: &[u8]| {
    let reach = |body| check(body).map(|seen| seen.reach);
    let Ok(Reach::Whole) = reach(body) else {
        return;
    };
    // What is whole stays the same picture with bytes after it, and has one place where it becomes whole.
    assert_eq!(check(&[body, b"\xFF\xD8\xFF"].concat()), check(body));
    let whole = |length: &usize| reach(&body[..*length]) == Ok(Reach::Whole);
    let lengths: Vec<usize> = (0..=body.len()).collect();
    let end = lengths.partition_point(|length| !whole(length));
    assert!(whole(&end) && (end == 0 || !whole(&(end - 1))));
});
