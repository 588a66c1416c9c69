//! Reading one account, and what is needed to decide about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rolecall_engine::account::DatabaseFacts;
use rolecall_engine::{AccountName, Dialect, Error, Observed, Query};

use super::roles::Roles;
use super::sessions::{self, Session};
use super::sight::{SERVER_USER, Sight};
use super::users::Users;
use crate::Redshift;
use crate::quote::is_possible;
use crate::statements::{Statement, query};
use crate::transport::rows::{Row, text};
use crate::transport::server::{TargetDatabase, Transaction};

/// A login that was under way when an account was closed shows as a session only when it is through. So sessions are
/// read once more after this time before there are none.
pub(crate) const LOGIN_TIME: Duration = Duration::from_millis(150);

/// What the server shows of some users and all roles.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) users: Users,
    pub(crate) roles: Roles,
    pub(crate) sessions: Vec<Session>,
    pub(crate) databases: Vec<String>,
}

impl Seen {
    /// `names`: of the users. The admin user and the server's own one are read in any case, to see what can be seen.
    pub(crate) fn statements(names: Option<&[&str]>) -> Vec<Statement> {
        vec![
            query::users(names),
            query::user_info(names),
            query::user_grants(names),
            query::roles(),
            query::role_grants(),
            query::system_privileges(),
            query::databases(),
            query::catalog_databases(),
            query::sessions(),
        ]
    }

    /// From the answers to them.
    pub(crate) fn read(answers: &[Vec<Row>]) -> Self {
        let rows = |number: usize| answers.get(number).map(Vec::as_slice).unwrap_or_default();
        Self {
            users: Users::read(rows(0), rows(1), rows(2)),
            roles: Roles::read(rows(3), rows(4), rows(5)),
            databases: databases(rows(6), rows(7)),
            sessions: sessions::read(rows(8)),
        }
    }

    /// What the admin user sees of others.
    pub(crate) fn sight(&self, admin: &str) -> Sight {
        Sight::of(&self.users, Some(&self.sessions), admin)
    }
}

/// What a transaction shows of one account, and of the roles that there are.
pub(crate) async fn read_in(
    transaction: &mut Transaction<'_>,
    account: &AccountName,
) -> Result<(Users, Roles), Error> {
    let names = [account.as_str()];
    let names = Some(names.as_slice());
    let statements =
        [query::users(names), query::user_info(names), query::user_grants(names), query::roles()];
    let answers = transaction.read(&statements).await?;
    let rows = |number: usize| answers.get(number).map(Vec::as_slice).unwrap_or_default();
    Ok((Users::read(rows(0), rows(1), rows(2)), Roles::read(rows(3), &[], &[])))
}

/// The logical databases that are the cluster's own, from the answers to [`query::databases`] and `catalog_databases`.
///
/// The first shows those that the admin user may use, and which are of a datashare; the second shows all.
pub(crate) fn databases(known: &[Row], catalog: &[Row]) -> Vec<String> {
    let is_local = |row: &&Row| text(row, 1).eq_ignore_ascii_case("local");
    let foreign: BTreeSet<&str> = known.iter().filter(|row| !is_local(row)).map(|row| text(row, 0)).collect();
    let local = known.iter().filter(is_local).chain(catalog).map(|row| text(row, 0));
    let own = local.filter(|name| !foreign.contains(name) && !is_internal(name));
    own.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

/// Logical databases that each cluster has for itself, and nobody connects to.
fn is_internal(database: &str) -> bool {
    matches!(database, "template0" | "template1" | "padb_harvest" | "awsdatacatalog")
        || database.starts_with("sys:")
}

/// The first columns.
pub(crate) fn names(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| text(row, 0).to_owned()).collect()
}

impl Redshift {
    pub(crate) async fn read_account(&self, query: &Query) -> Result<Observed, Error> {
        let run_in = self.server.target_database(query.session_database.as_deref());
        let admin = self.server.config().admin_user.as_str();
        let account = &query.account;
        let what = format!("reading the account {:?}", account.as_str());
        let names = [account.as_str(), admin, SERVER_USER];
        let answers = self.server.read(&run_in, &Seen::statements(Some(&names))).await?;
        let mut seen = Seen::read(&answers);
        let sight = seen.sight(admin);
        if !sight.is_clear() {
            return Err(sight.error(what, admin));
        }
        let is_dropped = !seen.users.users.contains_key(account.as_str());
        let is_quiet = query.to_end
            && (is_dropped || seen.users.is_open(account) == Some(false))
            && sessions::count(&seen.sessions, account) == 0;
        if is_quiet {
            seen.sessions = self.sessions_later(&run_in).await?;
        }
        let rights = seen.roles.rights(&seen.users, admin);
        let found = seen.users.account(account, &query.owner_uid, seen.roles.names(), &seen.sessions);
        let is_there = |name: &&String| is_possible(name) && seen.databases.contains(name);
        let facts = DatabaseFacts { allows_connections: true, connect: true };
        Ok(Observed {
            still_running: if matches!(found, Ok(None)) && query.to_end {
                sessions::count(&seen.sessions, account)
            } else {
                0
            },
            account: found.map_err(|_| sight.error(what, admin))?,
            user_fault: seen.roles.exists(account.as_str()).then(|| {
                "a role has that name, and on Redshift no user can have the name of a role".to_owned()
            }),
            roles: seen.roles.facts(&query.roles, &rights),
            sets: seen.roles.set_facts(&query.sets, &rights),
            // There is no right to connect: who can log in can log in to each database.
            databases: query
                .databases
                .iter()
                .filter(is_there)
                .map(|name| (name.clone(), facts.clone()))
                .collect::<BTreeMap<_, _>>(),
            admin_user: admin.to_owned(),
            dialect: Dialect::Redshift,
        })
    }

    /// The sessions of the cluster, after the time that a login takes.
    pub(crate) async fn sessions_later(&self, run_in: &TargetDatabase) -> Result<Vec<Session>, Error> {
        tokio::time::sleep(LOGIN_TIME).await;
        self.sessions(run_in).await
    }

    /// The sessions of the cluster. That there is none of an account follows from them: so it is an error where the admin
    /// user does not see those of others.
    pub(crate) async fn sessions(&self, run_in: &TargetDatabase) -> Result<Vec<Session>, Error> {
        let admin = self.server.config().admin_user.as_str();
        let names = [admin, SERVER_USER];
        let names = Some(names.as_slice());
        let statements = [query::users(names), query::user_info(names), query::sessions()];
        let answers = self.server.read(run_in, &statements).await?;
        let rows = |number: usize| answers.get(number).map(Vec::as_slice).unwrap_or_default();
        let sessions = sessions::read(rows(2));
        let sight = Sight::of(&Users::read(rows(0), rows(1), &[]), Some(&sessions), admin);
        if sight.sessions { Ok(sessions) } else { Err(sight.error("reading the sessions", admin)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    #[test]
    fn logical_databases_are_those_of_either_list_but_the_servers_own_and_shared_ones() {
        let known = [row(["dev", "local"]), row(["share", "shared"])];
        let catalog = ["dev", "app", "share", "template0", "template1", "padb_harvest", "sys:internal"];
        let catalog = catalog.map(|name| row([name]));
        assert_eq!(databases(&known, &catalog), ["app", "dev"]);
        assert_eq!(databases(&[], &catalog[..2]), ["app", "dev"]);
        assert_eq!(databases(&known, &[]), ["dev"]);
        assert_eq!(databases(&[], &catalog[3..]), [""; 0]);
    }
}
