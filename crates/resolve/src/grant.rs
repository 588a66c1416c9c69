//! What a session gets, or why it gets nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rolecall_api::{DatabaseAdmin, DatabaseUser, Protocol, ProvisioningRole, reasons};
use rolecall_policy::spec::{RoleConditions, RoleSpec, UserSpec};
use rolecall_policy::{
    CanonicalPermissions, Decision, Mode, PermissionEntries, RequiredApproval, Roles, SessionQuota, User,
    check_access, decide_access,
};

use rolecall_postgres::RDS_IAM;

use crate::{database, grantable, role_spec, user_spec};

/// What policy gives a session.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What becomes of the account at the end; never `Disabled`.
    pub mode: Mode,
    /// The database roles, each with whether `grantableDbRoles` names it literally.
    pub db_roles: BTreeMap<String, bool>,
    /// The longest that a session may live.
    pub max_session_ttl: Option<Duration>,
    /// Who gets what the account owns before it is dropped.
    pub reassign_to: Option<String>,
    /// The object permissions, in the form that permission sets are keyed by.
    pub permissions: CanonicalPermissions,
    /// The entries that they come from, to be computed with.
    pub entries: Arc<PermissionEntries>,
    /// The ProvisioningRoles that give all this, by name.
    pub roles: Vec<String>,
    /// The approvals that a session needs before it starts.
    pub approvals: Vec<RequiredApproval>,
    /// How many sessions the user may have at once.
    pub session_quotas: Vec<SessionQuota>,
}

impl Grant {
    /// Are there object permissions to give?
    pub fn has_permissions(&self) -> bool {
        !self.entries.is_empty()
    }
}

/// Equal grants give the same on the same terms, wherever it comes from.
impl PartialEq for Grant {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            mode,
            db_roles,
            max_session_ttl,
            reassign_to,
            permissions,
            entries: _,
            approvals,
            session_quotas,
            roles: _,
        } = self;
        *mode == other.mode
            && *db_roles == other.db_roles
            && *max_session_ttl == other.max_session_ttl
            && *reassign_to == other.reassign_to
            && *permissions == other.permissions
            && *approvals == other.approvals
            && *session_quotas == other.session_quotas
    }
}

/// Why a session gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// As conditions spell it.
    pub reason: &'static str,
    /// For people: what decided, and what to do.
    pub message: String,
    /// Nothing but a new object can change it.
    pub permanent: bool,
}

impl Blocked {
    /// Something that may change.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), permanent: false }
    }

    /// Something that can never change for this session.
    pub fn permanent(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), permanent: true }
    }

    /// The DatabaseAdmin says nowhere who its admin user is.
    pub fn no_admin_user() -> Self {
        Self::new(
            reasons::MISSING_ADMIN_USER,
            "no admin user is named; set spec.adminUser.name or the label teleport.dev/db-admin",
        )
    }
}

/// Decides what a user gets on a database.
///
/// `username` is the database user name, remote form included; `roles` contains at least the roles that the user names
/// and that exist; `requested` is the session's `dbRoles`.
///
/// # Errors
///
/// Why not, in this order: the user is suspended, its roles are unknown, no logical database is named where one is
/// needed, access, mode, request, `grantableDbRoles`.
pub fn decide(
    user: &DatabaseUser,
    username: &str,
    admin: &DatabaseAdmin,
    roles: &Roles,
    database_name: Option<&str>,
    requested: &[String],
) -> Result<Grant, Blocked> {
    if user.spec.suspend {
        return Err(Blocked::new(
            reasons::USER_SUSPENDED,
            format!("the DatabaseUser {:?} is suspended", user.metadata.name.as_deref().unwrap_or_default()),
        ));
    }
    let database = database(admin);
    if database.protocol.needs_database_name() && database_name.is_none() {
        return Err(Blocked::permanent(
            reasons::DATABASE_NAME_REQUIRED,
            format!(
                "spec.databaseName names the logical database on {:?}; recreate the session with it",
                database.name
            ),
        ));
    }
    let resolved = User::resolve(&user_spec(user, username), roles);
    let decision = decide_access(&resolved, &database, database_name, requested);
    if let Some(denial) = &decision.denial {
        return Err(Blocked::new(denial.reason.as_str(), denial.message.clone()));
    }
    let db_roles = grantable_roles(admin, &decision)?;
    let mut roles: Vec<String> =
        decision.provisioning.contributing.iter().map(|contribution| contribution.role.clone()).collect();
    roles.sort_unstable();
    roles.dedup();
    Ok(Grant {
        mode: decision.provisioning.mode,
        db_roles,
        max_session_ttl: decision.provisioning.max_session_ttl.as_ref().map(|limit| limit.ttl),
        reassign_to: decision.provisioning.owned_objects.reassign_to,
        permissions: decision.provisioning.permissions.canonical(),
        entries: Arc::new(decision.provisioning.permissions),
        roles,
        approvals: decision.provisioning.approvals,
        session_quotas: decision.provisioning.session_quotas,
    })
}

fn grantable_roles(admin: &DatabaseAdmin, decision: &Decision) -> Result<BTreeMap<String, bool>, Blocked> {
    let mut db_roles = BTreeMap::new();
    for role in &decision.provisioning.db_roles {
        if admin.spec.protocol == Protocol::Postgres && role.name == RDS_IAM {
            return Err(Blocked::new(
                reasons::DB_ROLE_NOT_GRANTABLE,
                format!(
                    "the database role {RDS_IAM:?} ({role}) comes with userCredentials.awsIam and locks out every other user; take it out of dbRoles"
                ),
            ));
        }
        let literal = grantable(admin, &role.name)
            .map_err(|fault| Blocked::new(reasons::DB_ROLE_NOT_GRANTABLE, fault.to_string()))?
            .ok_or_else(|| {
                Blocked::new(
                    reasons::DB_ROLE_NOT_GRANTABLE,
                    format!(
                        "the database role {:?} ({role}) is not among spec.grantableDbRoles of the DatabaseAdmin {:?}",
                        role.name,
                        admin.metadata.name.as_deref().unwrap_or_default()
                    ),
                )
            })?;
        db_roles.insert(role.name.clone(), literal);
    }
    Ok(db_roles)
}

/// The roles of a user that take part in sessions on a database: those whose allow selects it.
pub fn roles_taking_part(
    user: &DatabaseUser,
    username: &str,
    admin: &DatabaseAdmin,
    roles: &Roles,
) -> Vec<String> {
    let resolved = User::resolve(&user_spec(user, username), roles);
    resolved.roles_selecting(&database(admin)).into_iter().map(str::to_owned).collect()
}

/// How many of these databases a role's `allow` selects by label and expression. Templates have no user to take
/// traits from here, so that they select nothing. A role that is not valid selects none.
pub fn selected<'a>(role: &ProvisioningRole, admins: impl IntoIterator<Item = &'a DatabaseAdmin>) -> usize {
    const NAME: &str = "role";
    let labels_only = RoleSpec {
        allow: RoleConditions { db_names: vec!["*".to_owned()], ..role_spec(&role.spec).allow },
        ..RoleSpec::default()
    };
    let mut roles = Roles::new();
    roles.insert(NAME, &labels_only);
    let anybody = User::resolve(&UserSpec { roles: vec![NAME.to_owned()], ..UserSpec::default() }, &roles);
    admins.into_iter().filter(|admin| check_access(&anybody, &database(admin), Some("any")).is_ok()).count()
}
