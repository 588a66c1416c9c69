//! Durations as Go writes them: `8h`, `1h30m`, `1.5s`.

use std::time::Duration;

/// Reads a duration: decimal numbers, each with a unit of `h`, `m`, `s`, `ms`, `us`, `µs` or `ns`.
///
/// # Errors
///
/// A message for the author where the text is empty, negative, lacks a unit or is too large.
pub fn parse(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is not a duration: write it like 8h or 1h30m");
    let mut rest = text;
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(fault());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let nanos = nanoseconds(number, unit).ok_or_else(fault)?;
        total = total.checked_add(Duration::from_nanos(nanos)).ok_or_else(fault)?;
        rest = after;
    }
    Ok(total)
}

fn nanoseconds(number: &str, unit: &str) -> Option<u64> {
    let scale: u64 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut unit_nanos = scale;
    for digit in fraction.chars() {
        unit_nanos /= 10;
        nanos = nanos.checked_add(u64::from(digit.to_digit(10)?) * unit_nanos)?;
    }
    Some(nanos)
}

/// Writes a duration the way [`parse`] reads it, with the largest units first.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let nanos = duration.subsec_nanos();
    let mut text = String::new();
    for (unit, size) in [("h", 3600), ("m", 60)] {
        let count = if size == 3600 { seconds / 3600 } else { seconds % 3600 / 60 };
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    let rest = seconds % 60;
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push_str(&format!("{rest}.{}s", fraction.trim_end_matches('0')));
    } else if rest > 0 || text.is_empty() {
        text.push_str(&format!("{rest}s"));
    }
    text
}

/// Serde of an optional duration as text, null and absent being the same.
pub(crate) mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_str(&super::format(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        text.map(|text| super::parse(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("8h0m0s"), Ok(Duration::from_secs(28800)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("0"), Ok(Duration::ZERO));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "3w", "-1h", "5", "h", ".s", "1h30", "99999999999999h", "1h 30m"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn writing_and_reading_agree() {
        for text in ["8h", "1h30m", "1.5s", "0s", "2m1s"] {
            assert_eq!(parse(text).map(format), Ok(text.to_owned()));
        }
    }
}
