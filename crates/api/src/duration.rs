//! Durations as Go writes them: `1h30m`, `1.5h`, `300ms`.
//!
//! The parser is our own, because the API server decides with Go's what it stores, and no library reads the same:
//! `kube::core::Duration` (5.0) panics on some texts instead of refusing them, takes an empty one for zero, and calculates
//! in floating point; jiff's parser refuses what Go allows (`30m1h`, `1.5h30m`, `.5s`, `0`).

use std::{fmt, str::FromStr, time::Duration};

use jiff::fmt::friendly::{FractionalUnit, Spacing, SpanPrinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration that is read and written as a Go string, never negative.
///
/// It prints without zero units: `1h`, `1h30m`, `1.5s`, `0.3s`, `0s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(Duration);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// There is no number where one is expected.
    #[error("a duration is a number with a unit, for example 1h30m, 90s or 300ms")]
    NoNumber,
    /// A number has no unit, or one that Go does not know. Only `0` needs none.
    #[error("a duration needs one of the units h, m, s, ms, us, ns after each number")]
    NoUnit,
    /// The duration is below zero.
    #[error("a duration must not be negative")]
    Negative,
    /// The duration is longer than 2^63-1 nanoseconds, about 292 years.
    #[error("a duration must not be longer than 2562047h (292 years)")]
    TooLong,
}

/// Reads a Go duration: numbers with units `h`, `m`, `s`, `ms`, `us`, `ns`, in any order, fractions allowed.
///
/// # Errors
///
/// When the text is no Go duration, is negative, or is longer than Go can represent (292 years).
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let unsigned = match text.strip_prefix('-') {
        Some(rest) if parse_unsigned(rest)? > 0 => return Err(ParseError::Negative),
        Some(rest) => rest,
        None => text.strip_prefix('+').unwrap_or(text),
    };
    parse_unsigned(unsigned).map(Duration::from_nanos)
}

/// Units with their nanoseconds; of units that begin alike the longer comes first. Go reads both micro
/// signs.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
];

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The longest that Go can represent: the largest signed 64-bit number of nanoseconds.
const MAX_NANOS: u64 = i64::MAX as u64;

fn parse_unsigned(text: &str) -> Result<u64, ParseError> {
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    loop {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::NoNumber);
        }
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, nanos)| after.strip_prefix(name).map(|after| (*nanos, after)))
            .ok_or(ParseError::NoUnit)?;
        total = nanos(whole, fraction, unit)
            .and_then(|nanos| total.checked_add(nanos))
            .filter(|total| *total <= MAX_NANOS)
            .ok_or(ParseError::TooLong)?;
        if after.is_empty() {
            return Ok(total);
        }
        rest = after;
    }
}

/// Splits a text after its leading ASCII digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// `whole.fraction` units in nanoseconds, rounded down; `None` when that does not fit.
fn nanos(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    // Digits below a nanosecond cannot count: 18 of them keep the product within 128 bits.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.parse::<u128>() {
        Ok(digits) => digits * u128::from(unit) / 10_u128.pow(u32::try_from(fraction.len()).ok()?),
        Err(_) => 0,
    };
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

impl GoDuration {
    /// A duration of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration for arithmetic.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

impl FromStr for GoDuration {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map(Self)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PRINTER: SpanPrinter =
            SpanPrinter::new().spacing(Spacing::None).fractional(Some(FractionalUnit::Second));
        f.write_str(&PRINTER.unsigned_duration_to_string(&self.0))
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_strings_are_read() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400 * NANOS_PER_SECOND),
            ("1h30m", 5_400 * NANOS_PER_SECOND),
            ("30m1h", 5_400 * NANOS_PER_SECOND),
            (".5s", 500_000_000),
            ("1.s", NANOS_PER_SECOND),
            ("+5s", 5 * NANOS_PER_SECOND),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", MAX_NANOS),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", ParseError::NoNumber),
            ("-", ParseError::NoNumber),
            (".s", ParseError::NoNumber),
            ("h", ParseError::NoNumber),
            ("1h ", ParseError::NoNumber),
            ("1", ParseError::NoUnit),
            ("3w", ParseError::NoUnit),
            ("1 h", ParseError::NoUnit),
            ("1H", ParseError::NoUnit),
            ("-1h", ParseError::Negative),
            ("9223372036854775808ns", ParseError::TooLong),
            ("2562048h", ParseError::TooLong),
            ("99999999999999999999h", ParseError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn printing_leaves_out_zero_units() {
        for (text, printed) in [
            ("90m", "1h30m"),
            ("60s", "1m"),
            ("1.5s", "1.5s"),
            ("3600.25s", "1h0.25s"),
            ("300ms", "0.3s"),
            ("0", "0s"),
        ] {
            assert_eq!(text.parse::<GoDuration>().map(|d| d.to_string()), Ok(printed.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(nanos in 0..=MAX_NANOS, shift in 0_u32..63) {
            let duration = GoDuration(Duration::from_nanos(nanos >> shift));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.hmsuµnw ]{0,24}") {
            let _ = parse(&text);
        }
    }
}
