//! Numbers, times and sizes as they are typed: in bounds, or a wrong command line.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::{Error, Result};

const DAY: Duration = Duration::from_hours(24);

pub(super) fn whole<N: PartialOrd + std::fmt::Display + Copy>(option: &str, value: N, least: N, most: N) -> Result<N> {
    if value < least || value > most {
        return Err(Error::usage(format!("{option} {value}"), format!("it must be from {least} to {most}")));
    }
    Ok(value)
}

pub(super) fn between(option: &str, value: f64, least: f64, most: f64) -> Result<f64> {
    if value.is_finite() && value >= least && value <= most {
        return Ok(value);
    }
    Err(Error::usage(format!("{option} {value}"), format!("it must be from {least} to {most}")))
}

/// How long something may take.
pub(super) fn time(option: &str, text: &str) -> Result<Duration> {
    within(option, text, Duration::from_millis(1)..=366 * DAY, "1ms to 366d")
}

/// How long something may take, where no time at all is one too.
pub(super) fn time_or_none(option: &str, text: &str) -> Result<Duration> {
    within(option, text, Duration::ZERO..=366 * DAY, "0 to 366d")
}

/// The time between two looks.
///
/// # Errors
/// It is no time, or too short a one.
pub fn interval(option: &str, text: &str) -> Result<Duration> {
    within(option, text, Duration::from_millis(100)..=366 * DAY, "100ms to 366d")
}

/// How long ago something was.
///
/// # Errors
/// Not a time, or longer ago than anything in a warehouse.
pub fn age(option: &str, text: &str) -> Result<Duration> {
    within(option, text, Duration::ZERO..=36_525 * DAY, "0 to 100y")
}

fn within(option: &str, text: &str, bounds: RangeInclusive<Duration>, words: &str) -> Result<Duration> {
    let error = |cause: String| Error::usage(format!("{option} {text}"), cause);
    let time = duration(text).ok_or_else(|| {
        let capital = if text.contains('M') { "; m is minutes, and months are spelt out" } else { "" };
        error(format!("it must be a time, such as 90, 90s, 1h30m or 7d{capital}"))
    })?;
    if bounds.contains(&time) { Ok(time) } else { Err(error(format!("it must be from {words}"))) }
}

/// Seconds, or numbers with units from `ns` to `years`, one after the other. A capital `M`, which could be minutes or months,
/// is none of them.
fn duration(text: &str) -> Option<Duration> {
    /// humantime panics at some sums beyond all times, and each of those takes more digits than this.
    const LONGEST: usize = 24;
    if let Some(seconds) = number(text) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    // It also takes `5 5s` for 55.
    let of_number = |c: char| c.is_ascii_digit() || c == '.';
    let words: Vec<&str> = text.split_whitespace().collect();
    let torn = words.windows(2).any(|two| two[0].ends_with(of_number) && two[1].starts_with(of_number));
    let sane = text.len() <= LONGEST && !torn && !text.contains('M');
    sane.then(|| humantime::parse_duration(text).ok()).flatten()
}

/// Digits, with a point among them or not.
fn number(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| text.parse().ok()).flatten()
}

/// A number of bytes: k, M and G are a thousand each, with B behind them or not, so that a limit is never exceeded, whatever
/// the reader takes it for; Ki, Mi and Gi are 1024.
pub(super) fn bytes(option: &str, text: &str) -> Result<u64> {
    let wrong = || Error::usage(format!("{option} {text}"), "it must be a number of bytes, such as 500k, 2M or 2MiB");
    let lower = text.to_ascii_lowercase();
    let split = lower.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(lower.len());
    let (digits, unit) = lower.split_at(split);
    let unit: u64 = match unit.strip_suffix('b').unwrap_or(unit) {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    let (whole, part) = digits.trim_end_matches(' ').split_once('.').unwrap_or((digits.trim_end_matches(' '), "0"));
    let all_digits =
        |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || (unit == 1 && digits.contains('.')) {
        return Err(wrong());
    }
    // Nothing smaller than a billionth of a unit counts.
    let part = format!("{part:0<9.9}").parse::<u64>().map_err(|_| wrong())?;
    let bytes =
        whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(unit)?.checked_add(part * unit / 1_000_000_000));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_taken_as_people_write_them() {
        for (text, wanted) in [
            ("1", 1),
            ("500k", 500_000),
            ("500K", 500_000),
            ("2M", 2_000_000),
            ("2MB", 2_000_000),
            ("2 mb", 2_000_000),
            ("2MiB", 2 << 20),
            ("2Mi", 2 << 20),
            ("4kiB", 4096),
            ("1g", 1_000_000_000),
            ("1.5G", 1_500_000_000),
            ("0.5k", 500),
            ("1.00000000001k", 1000),
            ("1.5GiB", 3 << 29),
            ("300B", 300),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bytes("--x", text), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "0",
            "k",
            "-1",
            "+1",
            "1.5",
            "1.5B",
            "0.0001k",
            ".5k",
            "5.k",
            "1.2.3k",
            "1T",
            "1iB",
            "1kk",
            "1Mbit",
            "1e3",
            "inf",
            "NaN",
            "99999999999G",
            "18446744073709551616",
            "18446744073709551615k",
            "ü",
            "2ü",
            "2\u{a0}M",
            "2M ",
            " 2M",
        ] {
            assert!(bytes("--x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_taken_as_people_write_them() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        for (text, wanted) in [
            ("90", 90 * second),
            ("90s", 90 * second),
            ("1.5", Duration::from_millis(1500)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.001", Duration::from_millis(1)),
            ("500ms", Duration::from_millis(500)),
            ("5m", 5 * minute),
            ("5min", 5 * minute),
            ("1h30m", 90 * minute),
            ("1h 30m", 90 * minute),
            ("1.5h", 90 * minute),
            ("2 hours", 120 * minute),
            ("7d", 7 * DAY),
            ("1w", 7 * DAY),
            ("366d", 366 * DAY),
            ("1month", 2_630_016 * second),
        ] {
            assert_eq!(time("--x", text), Ok(wanted), "{text}");
        }
        assert_eq!((time_or_none("--x", "0"), time_or_none("--x", "0s")), (Ok(Duration::ZERO), Ok(Duration::ZERO)));
        assert_eq!(age("--x", "2y").map(|age| age.as_secs()), Ok(63_115_200));
    }

    #[test]
    fn what_is_no_time_or_an_absurd_one_is_refused() {
        for text in [
            "",
            " ",
            "0",
            "0s",
            "-1",
            "-1s",
            "+5",
            "1e3",
            "inf",
            "NaN",
            "infinity",
            "soon",
            "s",
            "5x",
            "5 5s",
            "1,5",
            "1.2.3",
            "1:30",
            "PT5M",
            "5S",
            "1M",
            "2M3s",
            "367d",
            "2y",
            "99999999999999999999",
            "1e400",
            "9999999999999999999d",
            "ü",
            "5ü",
        ] {
            assert!(time("--x", text).is_err(), "{text:?}");
        }
        assert!(age("--x", "101y").is_err() && age("--x", "-7d").is_err() && age("--x", "1M").is_err());
        let panics = "18446744073709551615s1000ms";
        assert!(age("--x", panics).is_err(), "humantime's own sum would overflow");
        let words = time("--timeout", "1M").expect_err("minutes or months").to_string();
        assert!(words.contains("--timeout 1M") && words.contains("m is minutes"), "{words}");
    }

    #[test]
    fn absurd_numbers_are_refused() {
        assert!(between("--x", f64::NAN, 0.0, 1.0).is_err() && between("--x", f64::INFINITY, 0.0, 1.0).is_err());
        assert!(whole("--workers", 65, 1, 64).is_err());
        assert!(whole("--workers", 0, 1, 64).is_err());
    }
}
