//! How the page says what it says: foreign text, times, numbers and shares.

use maud::{Markup, html};

use crate::terminal::{grouped, size};
use crate::text::shown;

/// A time for the eye, to the minute.
pub(super) fn moment(time: &str) -> Markup {
    let text = shown(time);
    let short =
        text.get(..16).filter(|_| text.len() >= 19).map_or_else(|| text.to_string(), |short| short.replace('T', " "));
    html! { time datetime=(text) { (short) } }
}

/// Foreign text, visible and not too long for a page.
pub(super) fn brief(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", shown(&text[..end])),
        None => shown(text).into_owned(),
    }
}

/// A count for a quotient or the eye.
#[expect(clippy::cast_precision_loss, reason = "a rate or a share, not a count")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// A number for the eye: whole where it is large.
pub(super) fn plain(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a height above nought, rounded")]
    if number >= 10.0 { grouped(number.round() as u64) } else { trimmed((number * 10.0).round() / 10.0) }
}

/// Without a nought behind the dot.
pub(super) fn trimmed(number: f64) -> String {
    format!("{number:.1}").trim_end_matches(".0").to_owned()
}

pub(super) fn short_size(bytes: f64) -> String {
    if bytes == 0.0 { "0".into() } else { size(bytes).replace(".0 ", "\u{a0}").replace(' ', "\u{a0}") }
}

/// A share for the eye, never rounded to all or nothing.
pub(super) fn share_of(files: u64, all: u64) -> String {
    let percent = 100.0 * float(files) / float(all.max(1));
    match percent {
        _ if files == all => "100 %".into(),
        small if small < 0.1 => "< 0.1 %".into(),
        large if large > 99.9 => "> 99.9 %".into(),
        percent => format!("{percent:.1} %"),
    }
}
