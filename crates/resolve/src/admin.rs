//! A DatabaseAdmin as policy and engines see it.

use rolecall_api::names::{ADMIN_DEFAULT_DATABASE_LABEL, ADMIN_USER_LABEL};
use rolecall_api::{DatabaseAdmin, Protocol, TlsMode};
use rolecall_pki::tls::{self, Tls};
use rolecall_policy::spec::Labels;
use rolecall_policy::{Database, Fault};

/// Who provisions, and where it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminUser {
    /// `spec.adminUser.name`, else the label `teleport.dev/db-admin`; `None` where neither is set.
    pub name: Option<String>,
    /// `spec.adminUser.defaultDatabase`, else the label `teleport.dev/db-admin-default-database`; `None`: the
    /// session's database.
    pub default_database: Option<String>,
}

/// The admin user of a DatabaseAdmin. The field wins over the label; labels count wherever they come from.
pub fn admin_user(admin: &DatabaseAdmin) -> AdminUser {
    let labels = labels(admin);
    let set = |text: &Option<String>, label: &str| {
        text.as_ref().or_else(|| labels.get(label)).filter(|text| !text.is_empty()).cloned()
    };
    AdminUser {
        name: set(&admin.spec.admin_user.name, ADMIN_USER_LABEL),
        default_database: set(&admin.spec.admin_user.default_database, ADMIN_DEFAULT_DATABASE_LABEL),
    }
}

/// The database as policy sees it: `spec.labels` merged over `metadata.labels`.
pub fn database(admin: &DatabaseAdmin) -> Database {
    Database {
        name: admin.metadata.name.clone().unwrap_or_default(),
        protocol: match admin.spec.protocol {
            Protocol::Postgres => rolecall_policy::Protocol::Postgres,
            Protocol::Redshift => rolecall_policy::Protocol::Redshift,
            Protocol::Mongodb => rolecall_policy::Protocol::Mongodb,
        },
        labels: labels(admin),
    }
}

/// Does `grantableDbRoles` let a database role be given? `Some(true)`: it names the very role. `Some(false)`: a
/// pattern matches it. `None`: it does not.
///
/// # Errors
///
/// A pattern that cannot be read, which lets nothing be given.
pub fn grantable(admin: &DatabaseAdmin, role: &str) -> Result<Option<bool>, Fault> {
    let patterns = &admin.spec.grantable_db_roles;
    if patterns.iter().any(|pattern| pattern == role) {
        return Ok(Some(true));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let compiled = rolecall_policy::Pattern::new(pattern).map_err(|error| Fault {
            path: format!("spec.grantableDbRoles[{index}]"),
            message: error.to_string(),
        })?;
        if compiled.matches(role) {
            return Ok(Some(false));
        }
    }
    Ok(None)
}

/// How the server is verified. `ca_pem`: the content of `spec.tls.caSecretRef`, if set.
pub(crate) fn tls(admin: &DatabaseAdmin, ca_pem: Option<String>) -> Tls {
    let spec = &admin.spec.tls;
    let mode = match spec.mode {
        TlsMode::VerifyFull => tls::TlsMode::VerifyFull,
        TlsMode::VerifyCa => tls::TlsMode::VerifyCa,
        TlsMode::Disable => tls::TlsMode::Disable,
    };
    Tls { mode, ca_pem, server_name: spec.server_name.clone() }
}

fn labels(admin: &DatabaseAdmin) -> Labels {
    let mut labels = admin.metadata.labels.clone().unwrap_or_default();
    labels.extend(admin.spec.labels.clone());
    labels
}
