//! Numbers as they are typed: in bounds, or a wrong command line.

use std::time::Duration;

use crate::error::{Error, Result};

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

/// A time in seconds, a year at the most.
pub(super) fn seconds(option: &str, value: f64, least: f64) -> Result<Duration> {
    between(option, value, least, 366.0 * 86_400.0).map(Duration::from_secs_f64)
}

/// A number of bytes with k, M or G, a thousand each: a limit is then never exceeded, whatever the reader takes it for.
pub(super) fn bytes(option: &str, text: &str) -> Result<u64> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1_000),
        Some((at, 'm' | 'M')) => (&text[..at], 1_000_000),
        Some((at, 'g' | 'G')) => (&text[..at], 1_000_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|number| *number > 0);
    number.ok_or_else(|| Error::usage(format!("{option} {text}"), "it must be a number of bytes, such as 500k or 2M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_a_unit() {
        for (text, wanted) in [("1", 1), ("500k", 500_000), ("2M", 2_000_000), ("1g", 1_000_000_000)] {
            assert_eq!(bytes("--x", text), Ok(wanted));
        }
        for text in ["", "0", "k", "-1", "1.5M", "1T", "99999999999G", "ü"] {
            assert!(bytes("--x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn absurd_numbers_are_refused() {
        assert!(seconds("--x", f64::NAN, 0.0).is_err());
        assert!(seconds("--x", f64::INFINITY, 0.0).is_err());
        assert!(seconds("--x", -1.0, 0.0).is_err());
        assert!(whole("--workers", 65, 1, 64).is_err());
        assert!(whole("--workers", 0, 1, 64).is_err());
    }
}
