//! What the admin user may do, right by right. Pure.

use std::collections::BTreeSet;

use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, MissingDbRoles, Protocol, SessionPhase};
use rolecall_engine::dialect::sql::identifier;
use rolecall_engine::{Finding, MARKER, Needs, Preflight, Reason};
use rolecall_resolve::grantable;

use super::report::{Area, Check, Status};
use crate::explain::NamesView;
use crate::input::Namespace;

/// What is needed of the admin user: by sessions that are live or waiting, and by whatever policy allows.
pub(super) fn needs(namespace: &Namespace, sessions: &[DatabaseSession], admin: &DatabaseAdmin) -> Needs {
    let name = admin.name_any();
    let mut needs = Needs {
        create_missing_roles: admin.spec.missing_db_roles == MissingDbRoles::Create,
        ..Needs::default()
    };
    for user in &namespace.users {
        let Ok(listing) = crate::ls::list(namespace, &user.name_any()) else { continue };
        for reached in listing.items.into_iter().filter(|reached| reached.database == name) {
            needs.roles.extend(
                reached.db_roles.into_iter().filter(|role| matches!(grantable(admin, role), Ok(Some(_)))),
            );
            if admin.spec.protocol != Protocol::Mongodb {
                needs.new_owners.extend(reached.reassign_to);
            }
            if let NamesView::Only(names) = reached.database_names {
                needs.databases.extend(names);
            }
        }
    }
    let live = sessions.iter().filter(|session| {
        let phase = session.status.as_ref().and_then(|status| status.phase).unwrap_or_default();
        session.spec.database == name && !matches!(phase, SessionPhase::Ended | SessionPhase::Rejected)
    });
    needs.databases.extend(live.filter_map(|session| session.spec.database_name.clone()));
    if admin.spec.protocol == Protocol::Postgres && admin.spec.user_credentials.aws_iam.is_some() {
        needs.roles.insert(rolecall_postgres::RDS_IAM.to_owned());
    }
    needs
}

/// Each right: that it is there, or what gives it.
pub(super) fn checks(
    preflight: &Preflight,
    needs: &Needs,
    protocol: Protocol,
    admin_user: &str,
) -> Vec<Check> {
    let mut checks: Vec<Check> = preflight
        .findings
        .iter()
        .filter(|finding| finding.reason != Reason::PoolerInBetween)
        .map(|finding| {
            let status = match finding.reason {
                Reason::PublicConnect | Reason::CannotReassign => Status::Warning,
                _ => Status::Failed,
            };
            Check::found(Area::Rights, status, finding)
        })
        .collect();
    checks.extend(absent(preflight, needs, protocol, admin_user));
    let lacks = |reasons: &[Reason], object: &str| {
        preflight.findings.iter().any(|finding: &Finding| {
            reasons.contains(&finding.reason) && (object.is_empty() || finding.object == object)
        })
    };
    let mut has = |is_missing: bool, text: String| {
        if !is_missing {
            checks.push(Check::ok(Area::Rights, text));
        }
    };
    if protocol == Protocol::Mongodb {
        has(
            lacks(&[Reason::MissingMongoPrivileges], ""),
            "the admin user may manage users, and see what they run".to_owned(),
        );
    } else {
        has(lacks(&[Reason::MissingCreateRole], ""), "the admin user may create users".to_owned());
    }
    if protocol == Protocol::Redshift {
        has(
            lacks(&[Reason::MissingSystemAccess], ""),
            "the admin user sees other users and their sessions".to_owned(),
        );
    }
    let marker = (protocol == Protocol::Postgres).then_some(MARKER);
    let grants = [Reason::MissingAdminOption, Reason::MissingRdsIam, Reason::MissingMongoPrivileges];
    let roles = needs.roles.iter().map(String::as_str).chain(marker);
    for role in roles.filter(|role| !preflight.absent_roles.contains(*role)) {
        has(lacks(&grants, role), format!("the admin user may grant the role {role:?}"));
    }
    for role in &needs.new_owners {
        has(
            lacks(&[Reason::CannotReassign], role),
            format!("{role:?} may get what users made in their sessions"),
        );
    }
    if protocol == Protocol::Postgres {
        let there: BTreeSet<&String> = needs.databases.difference(&preflight.absent_databases).collect();
        for database in there {
            has(
                lacks(&[Reason::MissingConnect], database),
                format!("the admin user may connect to the logical database {database:?}"),
            );
        }
    }
    checks
}

/// What policy or a session names and the server does not have.
fn absent(preflight: &Preflight, needs: &Needs, protocol: Protocol, admin_user: &str) -> Vec<Check> {
    let admin = identifier(admin_user);
    let mut checks = Vec::new();
    for role in &preflight.absent_roles {
        // Without it every login by IAM fails, which has been found already.
        if role == rolecall_postgres::RDS_IAM {
            continue;
        }
        let name = identifier(role);
        let fix = match protocol {
            Protocol::Redshift => vec![format!("CREATE ROLE {name}")],
            _ => vec![
                format!("CREATE ROLE {name} NOLOGIN"),
                format!("GRANT {name} TO {admin} WITH ADMIN OPTION"),
            ],
        };
        checks.push(if needs.create_missing_roles {
            Check::new(
                Area::Rights,
                Status::Note,
                format!("the role {role:?} does not exist: it is created when it is first needed"),
            )
        } else {
            let message = format!(
                "policy gives the role {role:?}, which does not exist: run {}, or set missingDbRoles: Create on the DatabaseAdmin",
                fix.join("; ")
            );
            Check::failed(Area::Rights, message).because(Reason::DbRoleNotFound.as_str()).fixed_by(fix)
        });
    }
    for database in &preflight.absent_databases {
        checks.push(
            Check::new(
                Area::Rights,
                Status::Warning,
                format!("policy or a session names the logical database {database:?}, which does not exist"),
            )
            .because(Reason::DatabaseNameNotFound.as_str()),
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_right_is_listed_and_what_lacks_comes_first_with_its_statement() {
        let needs = Needs {
            roles: named(&["reader", "writer", "gone"]),
            databases: named(&["app", "nowhere"]),
            new_owners: named(&["graveyard", "dba"]),
            create_missing_roles: false,
        };
        let preflight = Preflight {
            findings: vec![
                Finding::fixed_by(
                    Reason::MissingAdminOption,
                    "writer",
                    "the admin user may not grant the role \"writer\"",
                    vec!["GRANT \"writer\" TO \"adm\" WITH ADMIN OPTION".to_owned()],
                ),
                Finding::new(Reason::CannotReassign, "dba", "the role \"dba\" has the attribute SUPERUSER"),
                Finding::fixed_by(Reason::PublicConnect, "app2", "open", vec!["REVOKE".to_owned()]),
            ],
            absent_roles: named(&["gone"]),
            absent_databases: named(&["nowhere"]),
            ..Preflight::default()
        };
        let shown: Vec<String> = checks(&preflight, &needs, Protocol::Postgres, "adm")
            .iter()
            .map(|check| format!("{}: {}", check.status.as_str(), check.message))
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn roles_that_are_made_when_needed_are_no_fault() {
        let needs = Needs { roles: named(&["gone"]), create_missing_roles: true, ..Needs::default() };
        let preflight = Preflight { absent_roles: named(&["gone"]), ..Preflight::default() };
        let checks = checks(&preflight, &needs, Protocol::Postgres, "adm");
        assert!(checks.iter().all(|check| check.status != Status::Failed), "{checks:?}");
    }
}
