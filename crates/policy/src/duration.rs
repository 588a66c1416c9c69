//! Durations in text: `8h`, `1h30m`, `1.5s`.

use std::time::Duration;

use jiff::fmt::friendly::{FractionalUnit, Spacing, SpanPrinter};

const PRINTER: SpanPrinter =
    SpanPrinter::new().spacing(Spacing::None).fractional(Some(FractionalUnit::Second));

/// Writes a duration as Go and Kubernetes read it: whole hours, whole minutes, and seconds with a fraction.
#[must_use]
pub fn format(duration: Duration) -> String {
    PRINTER.unsigned_duration_to_string(&duration)
}

/// Writes a duration as text, for `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*value))
}

/// Serde of a duration in text.
pub(crate) mod text {
    use std::time::Duration;

    use serde::{Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(value, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::optional::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("a duration is missing"))
    }
}

/// Serde of an optional duration in text; null and absent are the same.
pub(crate) mod optional {
    use std::time::Duration;

    use jiff::fmt::friendly::SpanParser;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let read = |text: String| {
            SpanParser::new().parse_unsigned_duration(&text).map_err(|error| {
                de::Error::custom(format!("{text:?} is not a duration, for example 8h or 1h30m: {error}"))
            })
        };
        Option::<String>::deserialize(deserializer)?.map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::RoleOptions;

    #[test]
    fn durations_are_written_in_the_largest_units_and_read_again() {
        for (nanos, text) in [
            (0, "0s"),
            (300_000_000, "0.3s"),
            (1_500_000_000, "1.5s"),
            (121_000_000_000, "2m1s"),
            (5_400_000_000_000, "1h30m"),
            (8 * 3_600_000_000_000, "8h"),
            (400 * 24 * 3_600_000_000_000, "9600h"),
        ] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(format(duration), text);
            let read: RoleOptions = serde_json::from_value(json!({"maxSessionTtl": text})).unwrap();
            assert_eq!(read.max_session_ttl, Some(duration), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "3w", "-1h", "5", "h", "1h30", "99999999999999999999h"] {
            let read = serde_json::from_value::<RoleOptions>(json!({"maxSessionTtl": text}));
            assert!(read.is_err(), "{text:?}");
        }
    }
}
