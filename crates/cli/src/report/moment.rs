//! A point in time as people write it.

use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A point in time, or how long ago one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long before now.
    Ago(SignedDuration),
    /// Then.
    At(Timestamp),
}

impl Moment {
    /// Which one it is.
    pub fn at(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now.checked_sub(*ago).unwrap_or(Timestamp::MIN),
            Self::At(at) => *at,
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = |unit: char, days: i64| {
            let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
            number.checked_mul(days)?.checked_mul(86_400).map(SignedDuration::from_secs)
        };
        if let Some(ago) = days('d', 1).or_else(|| days('w', 7)) {
            return Ok(Self::Ago(ago));
        }
        if let Ok(ago) = rolecall_api::duration::parse(text)
            && let Ok(ago) = SignedDuration::try_from(ago)
        {
            return Ok(Self::Ago(ago));
        }
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self::At(at));
        }
        let date = text.parse::<Date>().ok().filter(|_| text.len() == "2026-01-31".len());
        let day = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
        day.map(|day| Self::At(day.timestamp())).ok_or_else(|| {
            "it is neither a duration such as 90d, 2w or 12h, nor a date such as 2026-01-31 (UTC), nor a time such as 2026-01-31T12:00:00Z".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_length_of_time_a_date_or_a_time() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.at(now).to_string());
        assert_eq!(at("90d").unwrap(), "2026-09-01T12:00:00Z");
        assert_eq!(at("1w").unwrap(), "2026-11-23T12:00:00Z");
        assert_eq!(at("1h30m").unwrap(), "2026-11-30T10:30:00Z");
        assert_eq!(at("2026-01-31").unwrap(), "2026-01-31T00:00:00Z");
        assert_eq!(at("2026-01-31T01:00:00+02:00").unwrap(), "2026-01-30T23:00:00Z");
        for wrong in ["", "yesterday", "-1d", "90", "99999999999999999d", "2026-02-30"] {
            assert!(at(wrong).is_err(), "{wrong}: {:?}", at(wrong));
        }
    }
}
