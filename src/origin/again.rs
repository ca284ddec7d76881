//! When an origin wants to be asked again.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;
use ureq::http::header::RETRY_AFTER;

/// Bounded, so that no arithmetic with it overflows; more seconds are as good as never.
const MOST: f64 = 1e11;

/// How long the origin asks to wait: `Retry-After` of a 429 or 503, in seconds or as a date (RFC 9110, section 10.2.3), which
/// counts from the answer's own `Date`; else, of a 429, when its limit is set anew. A wait of nothing is as good as none said:
/// whoever refuses, and says to come at once, is asked again by the common pace.
pub(super) fn after(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = text("date").and_then(date).unwrap_or(now);
    let asked = text(RETRY_AFTER.as_str()).and_then(|text| match date(text) {
        Some(date) => Some(date.duration_since(now).unwrap_or_default()),
        None => number(text).map(seconds),
    });
    let asked = asked.filter(|wait| !wait.is_zero());
    match status {
        429 => asked.or_else(|| limit_reset(headers, now)),
        503 => asked,
        _ => None,
    }
}

/// When a limit is set anew: `RateLimit-Reset` and its older names, or `t` in `RateLimit`; from now, or, if it is too large
/// for that, from 1970, in milliseconds or finer where it is larger still.
fn limit_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    const DAYS_30: Duration = Duration::from_hours(30 * 24);
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let in_limit = || text("ratelimit")?.split([';', ',']).find_map(|part| part.trim().strip_prefix("t="));
    let named = ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"].into_iter().find_map(text);
    // More is no time in any unit.
    let mut asked = number(named.or_else(in_limit)?).filter(|number| *number < 1e20)?;
    while asked >= MOST {
        asked /= 1000.0;
    }
    let asked = seconds(asked);
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wait = if asked > DAYS_30 { asked.saturating_sub(since_1970) } else { asked };
    Some(wait).filter(|wait| !wait.is_zero())
}

/// What is no number, or below zero, says nothing.
fn number(text: &str) -> Option<f64> {
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Rounded up to whole ones.
fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number.ceil().min(MOST))
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn an_origin_says_in_many_ways_when_to_come_back() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let ask = |status, lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            after(status, &lines.collect(), now).map(|wait| wait.as_secs())
        };
        let after = |value| ask(503, &[("retry-after", value)]);
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("0.2"), Some(1), "a fraction is rounded up");
        assert!(after("99999999999999999999999").is_some_and(|long| long > 1_000_000_000), "long, and not unheard");
        assert_eq!(after("Sun, 06 Nov 1994 08:49:40 GMT"), Some(3));
        assert_eq!(
            (after("soon"), after("-1"), ask(429, &[]), ask(500, &[("retry-after", "3")])),
            (None, None, None, None)
        );
        let past = "Sun, 06 Nov 1994 08:49:00 GMT";
        assert_eq!((after(past), after("0"), after("0.0")), (None, None, None), "nothing is as good as none said");
        let dated = [("retry-after", "Sun, 06 Nov 1994 09:00:10 GMT"), ("date", "Sun, 06 Nov 1994 09:00:00 GMT")];
        assert_eq!(ask(429, &dated), Some(10), "by the origin's own clock");
        for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
            assert_eq!(ask(429, &[(name, "7")]), Some(7));
            assert_eq!(ask(429, &[(name, "784111784")]), Some(7), "seconds since 1970");
            for finer in ["784111784000", "784111783500.5", "784111784000000", "784111784000000000"] {
                assert_eq!(ask(429, &[(name, finer)]), Some(7), "{finer}");
            }
            assert_eq!((ask(429, &[(name, "1e300")]), ask(429, &[(name, "1e999")])), (None, None), "{name}");
            assert_eq!((ask(503, &[(name, "7")]), ask(429, &[(name, "7"), ("retry-after", "2")])), (None, Some(2)));
        }
        for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
            assert_eq!((ask(429, &[(name, "0")]), ask(429, &[(name, "784111700")])), (None, None), "{name}");
        }
        assert_eq!(ask(429, &[("retry-after", "0"), ("ratelimit-reset", "7")]), Some(7));
        assert_eq!(ask(429, &[("ratelimit", "\"default\";r=0;t=9")]), Some(9));
    }
}
