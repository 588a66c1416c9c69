//! What should be, derived from the objects alone by simpler rules than the operator's.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser, ProvisioningRole, SessionPhase};
use serde_json::{Value, json};

use super::approvals;
use super::server::TABLE;
use super::store::Store;
use crate::model::session::phase;

/// What a role says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grants {
    Reader,
    Writer,
    Select,
    /// As Reader, for a minute and a half.
    Short,
    /// As Reader, where somebody else approves it.
    Approved,
    DenyAll,
    DenyWriter,
    DenySelect,
    Nothing,
    Invalid,
}

const ALL: [Grants; 10] = [
    Grants::Reader,
    Grants::Writer,
    Grants::Select,
    Grants::Short,
    Grants::Approved,
    Grants::DenyAll,
    Grants::DenyWriter,
    Grants::DenySelect,
    Grants::Nothing,
    Grants::Invalid,
];

/// What a session may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) roles: BTreeSet<&'static str>,
    /// SELECT on the table.
    pub(super) select: bool,
    /// At most, in seconds.
    pub(super) ttl: Option<i64>,
}

impl Grants {
    pub(super) fn spec(self) -> Value {
        let everywhere = json!({"*": ["*"]});
        let permission = json!([{"match": {"name": [TABLE]}, "permissions": ["SELECT"]}]);
        let allow = |mode: &str, role: &str| {
            json!({
                "options": {"createDbUserMode": mode},
                "allow": {"dbLabels": everywhere, "dbNames": ["*"], "dbRoles": [role]},
            })
        };
        match self {
            Self::Reader => allow("Keep", "reader"),
            Self::Writer => allow("BestEffortDrop", "writer"),
            Self::Select => {
                let mut spec = allow("Keep", "reader");
                spec["allow"]["dbPermissions"] = permission;
                spec
            }
            Self::Short => {
                let mut spec = allow("Keep", "reader");
                spec["options"]["maxSessionTtl"] = json!("90s");
                spec
            }
            Self::Approved => {
                let mut spec = allow("Keep", "reader");
                spec["options"]["approval"] = json!({"timeout": "120s"});
                spec
            }
            Self::DenyAll => json!({"deny": {"dbLabels": everywhere}}),
            Self::DenyWriter => json!({"deny": {"dbRoles": ["writer"]}}),
            Self::DenySelect => json!({"deny": {"dbPermissions": permission}}),
            Self::Nothing => json!({}),
            Self::Invalid => json!({"allow": {"dbLabelsExpression": "((("}}),
        }
    }

    pub(super) fn of(role: &ProvisioningRole) -> Self {
        let is = |grants: &&Self| {
            serde_json::from_value::<rolecall_api::ProvisioningRoleSpec>(grants.spec()).unwrap() == role.spec
        };
        *ALL.iter().find(is).unwrap()
    }
}

/// What policy gives a session; `None` where it may have no access.
pub(super) fn allowed(store: &Store, session: &DatabaseSession) -> Option<Allowed> {
    let user: DatabaseUser = store.get(&session.spec.user)?;
    if user.spec.suspend || is_taken(store, &user) {
        return None;
    }
    let mut grants = Vec::new();
    for role in &user.spec.roles {
        grants.push(Grants::of(&store.get::<ProvisioningRole>(role)?));
    }
    if grants.iter().any(|grants| matches!(grants, Grants::Invalid | Grants::DenyAll)) {
        return None;
    }
    let mut allowed = Allowed::default();
    let mut any = false;
    for grants in &grants {
        match grants {
            Grants::Reader | Grants::Approved => drop(allowed.roles.insert("reader")),
            Grants::Writer => drop(allowed.roles.insert("writer")),
            Grants::Select => {
                allowed.roles.insert("reader");
                allowed.select = true;
            }
            Grants::Short => {
                allowed.roles.insert("reader");
                allowed.ttl = Some(90);
            }
            _ => continue,
        }
        any = true;
    }
    if grants.contains(&Grants::DenyWriter) {
        allowed.roles.remove("writer");
    }
    if grants.contains(&Grants::DenySelect) {
        allowed.select = false;
    }
    any.then_some(allowed)
}

/// The oldest user of a name owns it.
fn is_taken(store: &Store, user: &DatabaseUser) -> bool {
    let age = |user: &DatabaseUser| {
        (user.metadata.creation_timestamp.clone().map(|at| at.0), user.metadata.uid.clone())
    };
    let mut others = store.all::<DatabaseUser>().into_iter();
    others.any(|other| other.spec.username == user.spec.username && age(&other) < age(user))
}

/// May a session have access now, whatever its status says?
pub(super) fn may_live(store: &Store, session: &DatabaseSession, now: Timestamp) -> Option<Allowed> {
    let admin: DatabaseAdmin = store.get(&session.spec.database)?;
    if session.metadata.deletion_timestamp.is_some() || admin.metadata.deletion_timestamp.is_some() {
        return None;
    }
    if matches!(phase(session), SessionPhase::Ended | SessionPhase::Rejected) {
        return None;
    }
    let allowed = approvals::within(store, session, allowed(store, session)?)?;
    let asked = session.spec.ttl.as_ref().and_then(|ttl| i64::try_from(ttl.get().as_secs()).ok());
    let ttl = [asked, allowed.ttl].into_iter().flatten().min();
    let started = session.status.as_ref().and_then(|status| status.started_at.as_ref()).map(|at| at.0);
    if let (Some(ttl), Some(started)) = (ttl, started)
        && started.as_second() + ttl < now.as_second()
    {
        return None;
    }
    Some(allowed)
}
