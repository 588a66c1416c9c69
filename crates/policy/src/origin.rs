//! Where in a role something is written.

use std::fmt;

use serde::Serialize;

use crate::one_line::OneLine;

/// A place in a role that gave or took something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The role's name.
    pub role: String,
    /// The field in its spec, for example `allow.dbRoles[1]` or `deny.dbLabels`.
    pub path: String,
    /// What is written there.
    pub text: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "role {} {}", OneLine(&self.role), OneLine(&self.path))?;
        if !self.text.is_empty() {
            write!(f, " = {}", OneLine(&self.text))?;
        }
        Ok(())
    }
}
