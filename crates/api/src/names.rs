//! Names that manifests, tests and clients rely on.

/// The API group of all kinds.
pub const GROUP: &str = "rolecall.dev";

/// The API version of all kinds.
pub const VERSION: &str = "v1alpha1";

/// Finalizer of a [`DatabaseSession`](crate::DatabaseSession): kept until the database shows the access gone.
pub const ACCOUNT_FINALIZER: &str = "rolecall.dev/account";

/// Finalizer of a [`DatabaseAdmin`](crate::DatabaseAdmin): kept until its accounts are torn down.
pub const TEARDOWN_FINALIZER: &str = "rolecall.dev/teardown";

/// Annotation of a session and its Secret: the database user name that the access runs under.
pub const USERNAME_ANNOTATION: &str = "rolecall.dev/username";

/// Annotation of the Secret of a session with a password: the number of that password, which grows with each change.
/// The account's ownership record has it too.
pub const PASSWORD_GENERATION_ANNOTATION: &str = "rolecall.dev/password-generation";

/// Label of a DatabaseAdmin that names the admin user where `spec.adminUser.name` does not.
pub const ADMIN_USER_LABEL: &str = "teleport.dev/db-admin";

/// Label of a DatabaseAdmin that names the admin user's database where `spec.adminUser.defaultDatabase` does
/// not.
pub const ADMIN_DEFAULT_DATABASE_LABEL: &str = "teleport.dev/db-admin-default-database";

/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "rolecall-operator";
