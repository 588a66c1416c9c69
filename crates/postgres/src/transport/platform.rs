//! What kind of server it is.

/// A kind of PostgreSQL server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Run by yourself, or by anybody whose PostgreSQL behaves like one.
    #[default]
    SelfHosted,
    /// Amazon RDS or Aurora.
    Rds,
}

/// The role that lets a user of RDS log in with an IAM token, and in no other way.
pub const RDS_IAM: &str = "rds_iam";
/// The role that may set passwords where `rds.restrict_password_commands` is on.
pub(crate) const RDS_PASSWORD: &str = "rds_password";

impl Platform {
    /// The database roles that every account has beside those that policy gives. `by_iam`: users log in with IAM tokens.
    pub fn roles(self, by_iam: bool) -> &'static [&'static str] {
        match (self, by_iam) {
            (Self::Rds, true) => &[RDS_IAM],
            (Self::Rds, false) | (Self::SelfHosted, _) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_of_rds_with_tokens_have_its_role() {
        assert_eq!(Platform::Rds.roles(true), [RDS_IAM]);
        assert!(Platform::Rds.roles(false).is_empty(), "a password would be refused");
        assert!(Platform::SelfHosted.roles(true).is_empty());
    }
}
