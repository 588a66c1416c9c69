//! The ownership record of an account.

use serde::{Deserialize, Serialize};

/// Which `DatabaseAdmin` created or took over an account: the record kept beside the marker (PostgreSQL: the role's
/// comment, which everybody can read; MongoDB: `customData`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// `metadata.uid` of the DatabaseAdmin. [`Owner::claim`] decides whose an account is.
    pub uid: String,
    /// `namespace/name` of the DatabaseAdmin.
    #[serde(default)]
    pub admin: String,
    /// The cluster's name; where it has none, [`UNNAMED_CLUSTER`](crate::UNNAMED_CLUSTER) and what distinguishes it
    /// from others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Which of the account's passwords the server has: it is written in one transaction with the password, so that a
    /// server that lost the one (a standby that lagged was promoted) lost the other. It grows with each new password; 0:
    /// none was set.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub password_generation: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
