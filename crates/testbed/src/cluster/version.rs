//! The Kubernetes versions under test.

use std::{env, fmt};

/// A version of Kubernetes whose API server the testbed can start.
///
/// The controller manager and kubectl are those of the newest version always: what differs, and what is under test, is
/// the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubernetesVersion {
    /// The oldest that is supported. An API server estimates what a rule of a definition costs, and an older one
    /// estimates more: what it refuses a newer one lets through.
    V1_31,
    /// Kubernetes 1.36.
    V1_36,
    /// The newest.
    V1_37,
}

impl KubernetesVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_31, Self::V1_36, Self::V1_37];
    /// The oldest that is supported.
    pub const OLDEST: Self = Self::V1_31;
    /// The newest.
    pub const NEWEST: Self = Self::V1_37;
    /// The variable that names the version of clusters whose tests ask for none.
    pub const VARIABLE: &str = "ROLECALL_KUBERNETES";

    /// The version of clusters whose tests ask for none: the newest, unless the environment names another one.
    pub(crate) fn chosen() -> Result<Self, String> {
        let Ok(text) = env::var(Self::VARIABLE) else { return Ok(Self::NEWEST) };
        Self::parse(&text).ok_or_else(|| {
            let all = Self::ALL.map(|version| version.to_string()).join(", ");
            format!("{}={text}: no such version; there are {all}", Self::VARIABLE)
        })
    }

    /// The minor version's number.
    pub fn minor(self) -> u16 {
        match self {
            Self::V1_31 => 31,
            Self::V1_36 => 36,
            Self::V1_37 => 37,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.to_string() == text)
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        for version in KubernetesVersion::ALL {
            assert_eq!(KubernetesVersion::parse(&version.to_string()), Some(version));
        }
        assert_eq!(KubernetesVersion::parse("1.3"), None);
    }
}
