//! What a cluster is, and what its admin user lacks.

use rolecall_engine::{Error, Finding, History, Needs, Preflight, Reason};

use super::new_owner::new_owner_fault;
use super::observe::Seen;
use super::sight::SERVER_USER;
use crate::Redshift;
use crate::quote::identifier;
use crate::transport::server::TargetDatabase;

impl Redshift {
    pub(crate) async fn check_server(&self, needs: &Needs) -> Result<Preflight, Error> {
        let run_in = match &self.server.config().default_database {
            // Named by the author: that it is wrong must show.
            Some(database) => TargetDatabase::Exactly(database.clone()),
            None => self.server.target_database(needs.databases.first().map(String::as_str)),
        };
        let version = self.server.version(&run_in).await?;
        let admin = self.server.config().admin_user.as_str();
        let new_owners = needs.new_owners.iter().map(String::as_str);
        let names: Vec<&str> = [admin, SERVER_USER].into_iter().chain(new_owners).collect();
        let seen = Seen::read(&self.server.read(&run_in, &Seen::statements(Some(names.as_slice()))).await?);
        let findings = findings(&seen, needs, admin);
        let may_create = findings.iter().all(|finding| finding.reason != Reason::MissingCreateRole);
        if may_create && !self.server.config().read_only {
            self.ensure_marker(&run_in).await?;
        }
        Ok(Preflight {
            version,
            // Nothing that the admin user may read distinguishes a cluster from all others, except where it is.
            identity: self.server.config().address(),
            history: History::default(),
            findings,
            absent_roles: needs.roles.iter().filter(|role| !seen.roles.exists(role)).cloned().collect(),
            absent_databases: needs
                .databases
                .iter()
                .filter(|name| !seen.databases.contains(name))
                .cloned()
                .collect(),
        })
    }
}

/// What the admin user lacks, most important first.
fn findings(seen: &Seen, needs: &Needs, admin: &str) -> Vec<Finding> {
    let rights = seen.roles.rights(&seen.users, admin);
    let mut findings = Vec::new();
    let lacking = rights.lacking();
    if !lacking.is_empty() {
        findings.push(Finding::fixed_by(
            Reason::MissingCreateRole,
            admin,
            &format!("the admin user lacks {}", lacking.join(", ")),
            vec![format!("GRANT ROLE \"sys:superuser\" TO {}", identifier(admin))],
        ));
    }
    findings.extend(seen.sight(admin).finding(admin));
    let owners = needs.new_owners.iter();
    findings.extend(owners.filter_map(|user| new_owner_fault(&seen.users, user, "")));
    for role in needs.roles.iter().filter(|role| seen.roles.exists(role) && !rights.may_grant(role)) {
        findings.push(Finding::fixed_by(
            Reason::MissingAdminOption,
            role,
            &format!("the admin user may not grant the role {role:?}"),
            vec![format!("GRANT ROLE {} TO {} WITH ADMIN OPTION", identifier(role), identifier(admin))],
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::roles::Roles;
    use super::super::sessions;
    use super::super::users::Users;
    use super::*;
    use crate::transport::rows::tests::row;

    fn seen(roles: &[&str], sees_others: bool) -> Seen {
        let grants: Vec<_> = roles.iter().map(|role| row(["adm\"in", role, "f"])).collect();
        let own = row(["adm\"in", "f", "f", "UNLIMITED", "RESTRICTED", "0"]);
        let server = row([SERVER_USER, "f", "t", "UNLIMITED", "RESTRICTED", "0"]);
        let info = if sees_others { vec![own, server] } else { vec![own] };
        Seen {
            users: Users::read(&[row(["adm\"in", "100", "f", "", ""])], &info, &grants),
            roles: Roles::read(&[row(["reader", "dba"])], &[], &[]),
            sessions: sessions::read(&[row(["1", "rdsdb"])]),
            databases: vec!["dev".to_owned()],
        }
    }

    fn needs() -> Needs {
        Needs { roles: ["reader", "missing"].map(str::to_owned).into(), ..Needs::default() }
    }

    #[test]
    fn everything_that_is_missing_is_named_with_its_statement() {
        let found = findings(&seen(&[], false), &needs(), "adm\"in");
        let reasons: Vec<Reason> = found.iter().map(|finding| finding.reason).collect();
        assert_eq!(
            reasons,
            [Reason::MissingCreateRole, Reason::MissingSystemAccess, Reason::MissingAdminOption]
        );
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        insta::assert_snapshot!(messages.join("\n"));
    }

    #[test]
    fn an_admin_user_who_may_all_and_sees_all_lacks_nothing() {
        assert_eq!(findings(&seen(&["sys:superuser"], true), &needs(), "adm\"in"), []);
    }
}
