//! Numbers for the eye: counts with commas, bytes and times in units that fit them.

use std::time::{Duration, SystemTime};

/// A count with commas.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit that leaves something before the dot.
#[must_use]
pub fn size(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut number, mut unit) = (bytes, 0);
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{number:.0} B") } else { format!("{number:.1} {}", units[unit]) }
}

/// A time that is only an estimate, to two units.
#[must_use]
pub fn rough(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs().max(1))).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A time in seconds, with a tenth where there is one, or in larger units.
#[must_use]
pub fn span(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 60.0 => rough(Duration::from_secs_f64(seconds.min(1e9))),
        _ if seconds.fract() == 0.0 => format!("{seconds:.0} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// The time of the day, UTC.
pub(super) fn clock(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()[11..19].to_owned()
}

pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 12217, 1_234_567].map(grouped), ["0", "999", "1,000", "12,217", "1,234,567"]);
        assert_eq!([0.0, 999.0, 1500.0, 260_800_000.0].map(size), ["0 B", "999 B", "1.5 kB", "260.8 MB"]);
        assert_eq!((span(1.25), span(30.0)), ("1.2 s".into(), "30 s".into()));
        assert_eq!(clock(SystemTime::UNIX_EPOCH + Duration::from_secs(3723)), "01:02:03");
        assert_eq!(span(3725.0), "1h 2m");
    }
}
