//! What `plan` answers. Its JSON is stable like that of `explain`; `docs/plan-json.md` describes it.

use std::collections::BTreeMap;

use rolecall_policy::{ObjectKind, Privilege, Protocol};
use serde::Serialize;

use crate::explain::{BlockedView, NamesView};

/// What would change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// [`crate::explain::API_VERSION`].
    pub api_version: &'static str,
    /// `Plan`.
    pub kind: &'static str,
    /// The namespace; `null` where manifests name none.
    pub namespace: Option<String>,
    /// Whether somebody's access grows.
    pub grows: bool,
    /// The objects that differ.
    pub changes: Vec<ObjectChange>,
    /// The accesses that differ, by user and database.
    pub accesses: Vec<AccessChange>,
    /// What else a reader should know.
    pub notices: Vec<String>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Change {
    /// It is new.
    Created,
    /// It is different.
    Changed,
    /// It is gone.
    Deleted,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
    /// The fields that differ; empty unless it is changed.
    pub fields: Vec<String>,
}

/// What a user gains and loses on a database.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessChange {
    /// The DatabaseUser.
    pub user: String,
    /// Its name in databases.
    pub username: String,
    /// The DatabaseAdmin.
    pub database: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether a session could start before.
    pub allowed_before: bool,
    /// Whether one could start afterwards.
    pub allowed_after: bool,
    /// Why not, afterwards.
    pub blocked: Vec<BlockedView>,
    /// Whether it grows in any way.
    pub grows: bool,
    /// What is gained.
    pub gained: Difference,
    /// What is lost.
    pub lost: Difference,
    /// How the user is provisioned and how long its sessions may last, where that differs.
    pub options: Vec<OptionChange>,
    /// The objects on which privileges are gained or lost; `null` where no objects were named.
    pub objects: Option<Vec<ObjectDifference>>,
    /// The live sessions that notice it.
    pub sessions: Vec<SessionChange>,
    /// What the operator runs.
    pub statements: Statements,
}

/// One direction of a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Logical databases to connect to; `null`: none.
    pub database_names: Option<NamesView>,
    /// Database roles, each with what gives it.
    pub db_roles: BTreeMap<String, Vec<String>>,
    /// Object permissions: `SELECT where dept: hr`.
    pub permissions: Vec<String>,
}

impl Difference {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An option of a role whose effect differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OptionChange {
    /// `createDbUserMode`, `maxSessionTtl` or `ownedObjects`.
    pub option: &'static str,
    /// Its value before.
    pub before: String,
    /// Its value afterwards.
    pub after: String,
}

/// An object on which privileges differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectDifference {
    /// What it is.
    pub kind: ObjectKind,
    /// The logical database that it is in.
    pub database: String,
    /// The schema that it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Privileges that are gained.
    pub gained: Vec<Privilege>,
    /// Privileges that are lost.
    pub lost: Vec<Privilege>,
}

/// What becomes of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SessionEffect {
    /// It ends.
    Ends,
    /// It goes on with other rights.
    Changes,
    /// It has waited, and starts.
    Starts,
    /// It goes on, and ends earlier than before.
    ExpiresEarlier,
}

/// A live session that notices the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionChange {
    /// Its name.
    pub name: String,
    /// Its logical database.
    pub database_name: Option<String>,
    /// What becomes of it.
    pub effect: SessionEffect,
    /// Why it ends, or when it expires.
    pub why: Option<BlockedView>,
    /// It ends, and has no ttl: then it waits, and starts again when policy lets it.
    pub waits: bool,
}

/// When statements run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum When {
    /// At once: a session is live.
    Now,
    /// As between a session before and one afterwards that ask for everything.
    #[default]
    NextSession,
}

/// What the operator runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statements {
    /// When.
    pub when: When,
    /// The steps, for people.
    pub steps: Vec<String>,
    /// The statements; of MongoDB, commands as mongosh runs them.
    pub statements: Vec<String>,
}
