//! What needs no server.

use std::collections::BTreeSet;

use rolecall_aws::{Host, Service};
use rolecall_mongodb::Address;
use rolecall_postgres::{parse_address, sqlstate};
use serde::Deserialize;

use super::{Done, Outcome, SessionOutcome, platform, same};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PreparationInput {
    platform: String,
    db_roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreparationExpect {
    memberships: BTreeSet<String>,
}

pub(super) fn role_preparation(input: PreparationInput, expect: PreparationExpect) -> Outcome {
    let mut roles: BTreeSet<String> = input.db_roles.into_iter().collect();
    // The cases are about users with IAM tokens. Redshift adds none.
    if input.platform != "Redshift" {
        roles.extend(platform(&input.platform)?.roles(true).iter().map(|role| (*role).to_owned()));
    }
    same("memberships", &roles, &expect.memberships)?;
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryInput {
    sqlstate: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryExpect {
    retry: bool,
}

pub(super) fn retry(input: RetryInput, expect: RetryExpect) -> Outcome {
    same("retry", &sqlstate::is_retried(&input.sqlstate), &expect.retry)?;
    Ok(Done::Checked)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SupportInput {
    protocol: String,
    uri: String,
    #[serde(rename = "mode")]
    _mode: Option<String>,
    sqlstate: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SupportExpect {
    supported: bool,
    platform: Option<String>,
    reason: Option<String>,
    session: Option<SessionOutcome>,
    capable: Option<Capable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capable {
    #[serde(rename = "status")]
    _status: String,
    reason: String,
}

pub(super) fn support(input: SupportInput, expect: SupportExpect) -> Outcome {
    if input.protocol == "mongodb" {
        let reason = Address::parse(&input.uri).err().map(|error| error.reason.to_string());
        same("supported", &reason.is_none(), &expect.supported)?;
        same("reason", &reason, &expect.reason)?;
        return Ok(Done::Checked);
    }
    let (host, _) = parse_address(&input.uri).map_err(|error| error.to_string())?;
    let service = Host::of(&host).map(|host| host.service);
    let refusal = service.and_then(Service::refusal);
    same("supported", &refusal.is_none(), &expect.supported)?;
    if refusal.is_none() {
        let found = match service {
            Some(Service::Redshift) => "Redshift",
            Some(service) if service.is_rds() => "RDS",
            _ => "SelfHosted",
        };
        same("platform", &found, &expect.platform.as_deref().unwrap_or(found))?;
    } else {
        same("reason", &Some("Unsupported"), &expect.reason.as_deref())?;
        let session = expect.session.as_ref().and_then(|session| session.reason.clone());
        same("session's reason", &session, &expect.reason)?;
    }
    if let (Some(code), Some(capable)) = (&input.sqlstate, &expect.capable) {
        same("capable", &sqlstate::meaning(code).1.to_string(), &capable.reason)?;
    }
    Ok(Done::Checked)
}
