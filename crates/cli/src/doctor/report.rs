//! What was found, and what follows from it.

use rolecall_api::Protocol;
use rolecall_engine::Finding;
use serde::Serialize;

use crate::Exit;

/// What `doctor` answers. Its JSON is stable like that of `explain`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// `cli.rolecall.dev/v1`.
    pub api_version: &'static str,
    /// `Diagnosis`.
    pub kind: &'static str,
    /// The namespace.
    pub namespace: String,
    /// Name of the DatabaseAdmin.
    pub database: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Its address.
    pub uri: String,
    /// The admin user; `None` where none is named.
    pub admin_user: Option<String>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What was looked at, in its order.
    pub checks: Vec<Check>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything was looked at, and nothing is wrong.
    Healthy,
    /// Something is wrong.
    Broken,
    /// Nothing is wrong as far as it could be looked at.
    Incomplete,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What it is about.
    pub area: Area,
    /// How it is.
    pub status: Status,
    /// The reason, as conditions spell it; `None` where there is none.
    pub reason: Option<String>,
    /// One sentence, with what to do.
    pub message: String,
    /// The statements that mend it, in their order.
    pub fix: Vec<String>,
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Area {
    /// What the operator says.
    Cluster,
    /// The address, and whether it answers from here.
    Address,
    /// TLS, and the certificates.
    Tls,
    /// The admin user's login.
    Login,
    /// What stands between here and the server.
    Pooler,
    /// What the admin user may do.
    Rights,
    /// The clocks.
    Clock,
    /// Event triggers.
    EventTriggers,
    /// `pg_hba.conf`.
    Hba,
}

impl Area {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Address => "address",
            Self::Tls => "TLS",
            Self::Login => "login",
            Self::Pooler => "pooler",
            Self::Rights => "rights",
            Self::Clock => "clock",
            Self::EventTriggers => "triggers",
            Self::Hba => "pg_hba",
        }
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// It works, and may not for long, or is more open than it need be.
    Warning,
    /// Wrong.
    Failed,
    /// It could not be looked at.
    Unknown,
}

impl Status {
    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
        }
    }
}

impl Check {
    /// A check without reason and statements.
    pub(super) fn new(area: Area, status: Status, message: impl Into<String>) -> Self {
        Self { area, status, reason: None, message: message.into(), fix: Vec::new() }
    }

    pub(super) fn ok(area: Area, message: impl Into<String>) -> Self {
        Self::new(area, Status::Ok, message)
    }

    pub(super) fn failed(area: Area, message: impl Into<String>) -> Self {
        Self::new(area, Status::Failed, message)
    }

    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    pub(super) fn fixed_by(self, fix: Vec<String>) -> Self {
        Self { fix, ..self }
    }

    /// What an engine found.
    pub(super) fn found(area: Area, status: Status, finding: &Finding) -> Self {
        Self {
            area,
            status,
            reason: Some(finding.reason.as_str().to_owned()),
            message: finding.message.clone(),
            fix: finding.fix.clone(),
        }
    }
}

impl Verdict {
    /// What a list of checks comes to.
    pub(super) fn of(checks: &[Check]) -> Self {
        let has = |status| checks.iter().any(|check| check.status == status);
        match () {
            () if has(Status::Failed) => Self::Broken,
            () if has(Status::Unknown) => Self::Incomplete,
            () => Self::Healthy,
        }
    }

    /// What the command ends with.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Healthy => Exit::Done,
            Self::Broken => Exit::Refused,
            Self::Incomplete => Exit::Other(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_a_warning_is_no_fault() {
        let checks = |statuses: &[Status]| -> Vec<Check> {
            statuses.iter().map(|status| Check::new(Area::Rights, *status, "x")).collect()
        };
        for (statuses, verdict, exit) in [
            (&[][..], Verdict::Healthy, Exit::Done),
            (&[Status::Ok, Status::Note, Status::Warning], Verdict::Healthy, Exit::Done),
            (&[Status::Ok, Status::Unknown], Verdict::Incomplete, Exit::Other(3)),
            (&[Status::Unknown, Status::Failed, Status::Ok], Verdict::Broken, Exit::Refused),
        ] {
            assert_eq!(Verdict::of(&checks(statuses)), verdict, "{statuses:?}");
            assert_eq!(verdict.exit(), exit);
        }
    }
}
