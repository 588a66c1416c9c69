//! How a simulator is set up where the server's behaviour is not known, or differs from cluster to cluster.

/// What nobody has written down. The strict answer to each is `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknowns {
    /// ACCESS SYSTEM TABLE shows all rows of svv_user_info, not only one's own.
    pub user_info_with_system_access: bool,
    /// ACCESS SYSTEM TABLE shows all rows of svv_relation_privileges.
    pub relation_privileges_with_system_access: bool,
    /// The role `sys:superuser` may end other people's sessions.
    pub terminate_with_system_superuser: bool,
}

/// How the server asks for the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// In clear text (code 3).
    Cleartext,
    /// As MD5 (code 5).
    #[default]
    Md5,
    /// As its own digest (code 13).
    Digest,
}
