//! Whether users are provisioned, and what becomes of them when access ends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How users are provisioned; a later variant is stronger than an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// Users are not provisioned.
    #[default]
    Disabled,
    /// Users are made; when access ends they are disabled and stay.
    Keep,
    /// Users are made; when access ends they are dropped, or disabled where something depends on them.
    BestEffortDrop,
}

impl Mode {
    /// The mode of a user from those of the roles that contribute: the strongest; none: [`Mode::Disabled`].
    pub fn strongest(modes: impl IntoIterator<Item = Self>) -> Self {
        modes.into_iter().max().unwrap_or_default()
    }

    /// Whether users are provisioned at all.
    pub fn is_enabled(self) -> bool {
        self != Self::Disabled
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "Disabled",
            Self::Keep => "Keep",
            Self::BestEffortDrop => "BestEffortDrop",
        })
    }
}
