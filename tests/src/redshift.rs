//! A simulator that stands for Amazon Redshift, and an operator that provisions on it.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};

use anyhow::{Context, Result};
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::{Admin, Kind, Object, Redshift};
use rolecall_aws_testbed::sigv4::Keys;
use rolecall_testbed::Authority;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::base_env::{self, BaseEnv, Manifests, Trust};
use crate::operator::FILTER;
use crate::process::Process;
use crate::test_env::{ADMIN_USER, ALICE};

/// The identifier of the cluster, where logins are by IAM.
pub const CLUSTER: &str = "analytics";
/// Its region.
pub const REGION: &str = "eu-west-1";
/// Who may ask for credentials there.
pub const KEYS: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG");

/// The logical database of sessions.
pub const DATABASE: &str = "app";

/// A [`BaseEnv`] with a simulated cluster of the test's own.
///
/// The cluster has the databases `dev`, `app` and `app2`, and the roles `reader` and `writer`.
#[derive(Debug)]
pub struct RedshiftEnv {
    // Declared first: the operator ends before its servers do.
    base: BaseEnv,
    /// The cluster behind the DatabaseAdmin `orders`.
    pub cluster: Redshift,
}

impl Deref for RedshiftEnv {
    type Target = BaseEnv;

    fn deref(&self) -> &BaseEnv {
        &self.base
    }
}

impl DerefMut for RedshiftEnv {
    fn deref_mut(&mut self) -> &mut BaseEnv {
        &mut self.base
    }
}

/// An account as the cluster shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedshiftAccount {
    /// It may log in.
    pub login: bool,
    /// Its roles.
    pub roles: BTreeSet<String>,
    /// The names of its open sessions.
    pub sessions: Vec<String>,
}

impl RedshiftEnv {
    /// All objects but sessions, and an operator, which logs in as such an admin user with a password.
    ///
    /// # Errors
    /// When a component does not start or an object is refused.
    pub async fn start(admin: Admin) -> Result<Self> {
        let mut env = Self::prepare(admin, json!({"password": {}}), &[]).await?;
        env.make_objects().await?;
        env.start_operator().await?;
        Ok(env)
    }

    /// The same without objects and operator.
    ///
    /// # Errors
    /// As [`RedshiftEnv::start`].
    pub async fn prepare(admin: Admin, users: Value, flags: &[&str]) -> Result<Self> {
        let namespace = base_env::namespace().await?;
        let cluster = Redshift::start().await?;
        let password = cluster.create_admin(ADMIN_USER, admin)?;
        for database in [DATABASE, "app2"] {
            cluster.create_database(database, false);
        }
        cluster.sql("dev", "CREATE ROLE reader; CREATE ROLE writer").await?;
        for table in ["orders", "payments"] {
            cluster.create_object(DATABASE, &Object::new(Kind::Table, "shop", table))?;
        }
        let manifests = Manifests {
            admin: json!({
                "protocol": "redshift",
                "uri": format!("{}:{}", cluster.host(), cluster.port()),
                "adminUser": {"name": ADMIN_USER, "defaultDatabase": "dev"},
                "tls": {"caSecretRef": {"name": "orders-ca", "key": "ca.crt"}},
                "auth": {"password": {"secretRef": {"name": "orders-admin", "key": "password"}}},
                "userCredentials": users,
            }),
            db_role: "reader".to_owned(),
            database: DATABASE.to_owned(),
            alice: ALICE.to_owned(),
        };
        // Nobody has a certificate here.
        let authority = Authority::new("unused")?;
        let unused = authority.client("unused")?;
        let trust = Trust { admin: &unused, users: &authority, server_ca: cluster.ca_pem() };
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let base = BaseEnv::new(namespace, manifests, trust, &flags, FILTER).await?;
        base.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-admin"},
            "stringData": {"password": password},
        }))
        .await?;
        Ok(Self { base, cluster })
    }

    /// Everybody logs in by IAM: the operator runs as a process of its own, with AWS credentials in its environment, and
    /// AWS is a front that lends passwords for the cluster.
    ///
    /// # Errors
    /// As [`RedshiftEnv::start`].
    pub async fn start_with_iam() -> Result<(Self, AwsFront, Process)> {
        let env = Self::prepare(Admin::Superuser, json!({"awsIam": {}}), &[]).await?;
        let front = AwsFront::start(REGION, Keys::new(KEYS.0, KEYS.1, None)).await?;
        front.add_cluster(CLUSTER, env.cluster.issuer());
        // Nobody has that password.
        env.cluster.sql("dev", &format!("ALTER USER \"{ADMIN_USER}\" PASSWORD 'Nobody0knows1it2'")).await?;
        let iam = json!({"region": REGION, "clusterIdentifier": CLUSTER});
        env.admin(json!({"spec": {"auth": {"password": null, "awsIam": iam}}})).await?;
        env.role("reader", json!({})).await?;
        env.user("alice", json!({"username": ALICE})).await?;
        let mut variables =
            vec![("AWS_ACCESS_KEY_ID", KEYS.0.to_owned()), ("AWS_SECRET_ACCESS_KEY", KEYS.1.to_owned())];
        variables.extend(front.environment());
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let process = env.process_with(&[], &variables).await?;
        Ok((env, front, process))
    }

    /// The account of `alice`; `None` where there is no such user.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn account(&self) -> Result<Option<RedshiftAccount>> {
        let texts = async |query: String| -> Result<Vec<String>> {
            let rows = self.cluster.sql("dev", &query).await?;
            Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
        };
        let limits =
            texts(format!("SELECT connection_limit FROM svv_user_info WHERE user_name = '{ALICE}'")).await?;
        let Some(limit) = limits.first() else { return Ok(None) };
        let roles =
            texts(format!("SELECT role_name FROM svv_user_grants WHERE user_name = '{ALICE}'")).await?;
        Ok(Some(RedshiftAccount {
            login: limit != "0",
            roles: roles.into_iter().filter(|role| !role.starts_with("rolecall_owner_")).collect(),
            sessions: self.cluster.logins(ALICE),
        }))
    }

    /// The account of `alice`, which has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub async fn known_account(&self) -> Result<RedshiftAccount> {
        self.account().await?.context("the account is gone")
    }

    /// Logs in on the session's logical database with the contents of its Secret.
    ///
    /// # Errors
    /// When there is no Secret or the cluster refuses.
    pub async fn login(&self, session: &str) -> Result<Client> {
        let secret = self.secret(session).await?;
        let value = |key: &str| secret.get(key).with_context(|| format!("the Secret has no {key}"));
        Ok(self.cluster.connect(value("username")?, value("password")?, value("database")?).await?)
    }
}
