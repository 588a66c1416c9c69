//! What happened: the fields of a line beside those of the chain.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a line is about. `docs/audit.md` says of each when it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A writer begins its chain.
    Start,
    /// A writer ends its chain in order.
    Stop,
    /// Nothing happened for a while.
    Checkpoint,
    /// Lines could not be written, and were given up.
    Lost,
    /// Approval is asked for.
    Requested,
    /// Somebody approved.
    Approved,
    /// Somebody denied.
    Denied,
    /// Too few people decided in time.
    ApprovalExpired,
    /// A session has no access yet.
    Waiting,
    /// Access is about to be given.
    Granting,
    /// Access is there.
    Active,
    /// Access goes on, with other roles or until another time.
    Changed,
    /// Access should be gone, and may still be there.
    Ending,
    /// Access is gone.
    Ended,
    /// Access is gone, and may come back.
    Withdrawn,
    /// There was no access, and will be none.
    Rejected,
    /// Access should be gone, and is no longer waited for.
    Abandoned,
    /// Access stays as it is on the server, because its DatabaseAdmin says so.
    Retained,
    /// An access came back after its end.
    Returned,
    /// A server may have lost changes.
    Failover,
    /// What a newer version wrote.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Event {
    /// Every event that is written.
    pub const ALL: [Self; 20] = [
        Self::Start,
        Self::Stop,
        Self::Checkpoint,
        Self::Lost,
        Self::Requested,
        Self::Approved,
        Self::Denied,
        Self::ApprovalExpired,
        Self::Waiting,
        Self::Granting,
        Self::Active,
        Self::Changed,
        Self::Ending,
        Self::Ended,
        Self::Withdrawn,
        Self::Rejected,
        Self::Abandoned,
        Self::Retained,
        Self::Returned,
        Self::Failover,
    ];

    /// As lines spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Checkpoint => "checkpoint",
            Self::Lost => "lost",
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::ApprovalExpired => "approvalExpired",
            Self::Waiting => "waiting",
            Self::Granting => "granting",
            Self::Active => "active",
            Self::Changed => "changed",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Withdrawn => "withdrawn",
            Self::Rejected => "rejected",
            Self::Abandoned => "abandoned",
            Self::Retained => "retained",
            Self::Returned => "returned",
            Self::Failover => "failover",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened. A field that does not apply is left out of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// What the line is about.
    pub event: Event,

    /// The namespace of the DatabaseSession, or of the DatabaseAdmin where no session is concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The DatabaseSession.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// Its uid: names come back, uids do not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The DatabaseUser.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The DatabaseAdmin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub database: String,
    /// The logical database.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub database_name: String,
    /// The user in the database.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,

    /// Why: one of the reasons of conditions.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The server was read back before the line was written, and showed it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proven: bool,
    /// Why the access is needed: `spec.reason` of the session.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Who asked for the session.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub requested_by: String,
    /// Who approved it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// Who approved or denied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// The hash over what was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_hash: String,
    /// The ProvisioningRoles that give the access.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The database roles that the user has or gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub db_roles: Vec<String>,
    /// The number of objects on which it has each privilege.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub permissions: BTreeMap<String, u64>,
    /// Of the end of an access: when it had begun, as the session's status says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,

    /// What was done about an access that came back.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub action: String,
    /// Why it came back, or what happened to the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,

    /// Of `start`: the operator's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Of `start`: the Pod, or the machine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub writer: String,
    /// Of `start`: how lines are hashed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub algorithm: String,
    /// Of `start`: the last line in the same file before it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub follows: String,
    /// Of `start`: the last line that the operator before this one published on the Lease.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub published: String,
    /// Of `lost`: how many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

impl Entry {
    /// Nothing but what it is about.
    pub fn new(event: Event) -> Self {
        Self { event, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_spelled_as_they_are_read() {
        for event in Event::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
            assert_ne!(event, Event::Unknown);
        }
        assert_eq!(serde_json::from_str::<Event>("\"tomorrow\"").unwrap(), Event::Unknown);
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let text = serde_json::to_string(&Entry::new(Event::Stop)).unwrap();
        assert_eq!(text, r#"{"event":"stop"}"#);
    }
}
