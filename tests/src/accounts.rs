//! What the database shows of an account, seen by the superuser, and logging in as a user.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rolecall_testbed::{Certificate, Postgres};
use tokio_postgres::Client;

use crate::TIMEOUT;
use crate::test_env::{ALICE, TestEnv};

/// The role that marks an account as managed.
pub const MARKER: &str = "teleport-auto-user";

/// An account as the catalogue shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// It may log in.
    pub login: bool,
    /// It carries the marker.
    pub managed: bool,
    /// Its memberships beside the marker.
    pub memberships: BTreeSet<String>,
    /// Open connections.
    pub backends: usize,
    /// A password is stored.
    pub password: bool,
    /// Its comment: the ownership record.
    pub comment: Option<String>,
    /// It has settings, anywhere.
    pub settings: bool,
}

impl Account {
    /// It can log in and is a member of exactly these roles.
    pub fn is_enabled_with(&self, roles: &[&str]) -> bool {
        self.login && self.managed && self.memberships.iter().map(String::as_str).eq(roles.iter().copied())
    }

    /// Nothing is left of its access: no login, membership, connection, password, setting.
    pub fn is_disabled(&self) -> bool {
        let bare = !self.login && self.memberships.is_empty() && self.backends == 0;
        bare && self.managed && !self.password && !self.settings
    }
}

impl TestEnv {
    /// The account of `alice`; `None` where there is no such user.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account(&self) -> Result<Option<Account>> {
        self.account_of(ALICE).await
    }

    /// The account of that database user name.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account_of(&self, username: &str) -> Result<Option<Account>> {
        account_on(&self.pg, username).await
    }

    /// Waits until the account of `alice` is as `wanted` says.
    ///
    /// # Errors
    /// When it does not become so within [`TIMEOUT`].
    pub async fn account_until(
        &self,
        what: &str,
        wanted: impl Fn(Option<&Account>) -> bool,
    ) -> Result<Option<Account>> {
        let client = self.pg.superuser("postgres").await?;
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let account = read(&client, ALICE).await?;
            if wanted(account.as_ref()) {
                return Ok(account);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the account did not become {what}: {account:?}\n-- log --\n{}", self.log());
            }
            // A catalogue cannot be watched.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Logs in on the session's logical database with the contents of its Secret.
    ///
    /// # Errors
    /// When there is no Secret or the server refuses.
    pub async fn login(&self, session: &str) -> Result<Client> {
        let secret = self.secret(session).await?;
        self.login_with(&secret).await
    }

    /// Logs in with the contents of a Secret.
    ///
    /// # Errors
    /// When the server refuses, or the Secret has neither a certificate nor a password.
    pub async fn login_with(&self, secret: &BTreeMap<String, String>) -> Result<Client> {
        login_on(&self.pg, secret).await
    }
}

/// Logs in on a server with the contents of a Secret, whichever server the Secret names.
///
/// # Errors
/// When the server refuses, or the Secret has neither a certificate nor a password.
pub async fn login_on(pg: &Postgres, secret: &BTreeMap<String, String>) -> Result<Client> {
    let value = |key: &str| secret.get(key).cloned().with_context(|| format!("the Secret has no {key}"));
    let (database, username) = (value("database")?, value("username")?);
    if let Some(password) = secret.get("password") {
        return Ok(pg.connect_with_password(&database, &username, password).await?);
    }
    let identity =
        Certificate { common_name: username, cert_pem: value("tls.crt")?, key_pem: value("tls.key")? };
    Ok(pg.connect(&database, &identity).await?)
}

/// The account of that database user name, on some server.
///
/// # Errors
/// When the server does not answer.
pub async fn account_on(pg: &Postgres, username: &str) -> Result<Option<Account>> {
    read(&pg.superuser("postgres").await?, username).await
}

async fn read(client: &Client, username: &str) -> Result<Option<Account>> {
    const QUERY: &str = "select rolcanlogin, rolpassword is not null, shobj_description(oid, 'pg_authid'),
        (select array_agg(parent.rolname::text) from pg_auth_members join pg_roles parent on parent.oid = roleid
         where member = pg_authid.oid),
        (select count(*) from pg_stat_activity where usesysid = pg_authid.oid),
        exists (select from pg_db_role_setting where setrole = pg_authid.oid)
        from pg_authid where rolname = $1";
    let Some(row) = client.query_opt(QUERY, &[&username]).await? else { return Ok(None) };
    let mut memberships: BTreeSet<String> =
        row.get::<_, Option<Vec<String>>>(3).unwrap_or_default().into_iter().collect();
    let managed = memberships.remove(MARKER);
    Ok(Some(Account {
        login: row.get(0),
        managed,
        memberships,
        backends: usize::try_from(row.get::<_, i64>(4)).unwrap_or(usize::MAX),
        password: row.get(1),
        comment: row.get(2),
        settings: row.get(5),
    }))
}
