//! `DatabaseAdmin`: one database server and the admin user that provisions on it.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{self, at};
use crate::{CaSecretRef, DatabaseAdminStatus, GoDuration, SecretKeyRef, SecretRef, schema};

/// A database server and how to provision users on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "DatabaseAdmin",
    plural = "databaseadmins",
    shortname = "dba",
    category = "rolecall",
    namespaced,
    status = "DatabaseAdminStatus",
    derive = "PartialEq",
    doc = "A DatabaseAdmin is a database server and the admin user that Rolecall provisions database users \
           with. Sessions name it in spec.database.",
    printcolumn(name = "PROTOCOL", type_ = "string", json_path = ".spec.protocol"),
    printcolumn(name = "URI", type_ = "string", json_path = ".spec.uri"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "USERS", type_ = "integer", json_path = ".status.accounts.enabled"),
    printcolumn(name = "VERSION", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = at(".uri", rules::URI_NO_SCHEME),
    validation = at(".uri", rules::URI_HOST_AND_PORT),
    validation = at(".uri", rules::URI_IPV6),
    validation = at(".uri", rules::URI_MONGODB),
    validation = at(".uri", rules::URI_NO_CREDENTIALS),
    validation = at(".platform", rules::PLATFORM_RDS),
    validation = at(".platform", rules::PLATFORM_REDSHIFT),
    validation = at(".tls", rules::TLS_FOR_ADMIN),
    validation = at(".tls", rules::TLS_FOR_USERS),
    validation = at(".tls", rules::MONGODB_TLS),
    validation = at(".auth", rules::MONGODB_ADMIN),
    validation = at(".userCredentials", rules::MONGODB_USERS),
    validation = at(".userCredentials", rules::IAM_USERS),
    validation = at(".auth", rules::IAM_FIELDS),
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseAdminSpec {
    /// Protocol of the server: `postgres`, `redshift` or `mongodb`. Immutable.
    ///
    /// `redshift` means provisioned clusters, not Serverless.
    #[x_kube(validation = rules::SAME_PROTOCOL)]
    pub protocol: Protocol,

    /// Where the server runs: `SelfHosted`, `RDS` (Aurora included) or `Redshift`. Absent: derived from the
    /// host name in `uri`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<Platform>")]
    pub platform: Option<Platform>,

    /// Address of the server: `host:port` without a scheme, for example `orders-db.shop.svc:5432` or
    /// `[fd00::5]:5432`. For `mongodb` also a URI without user name, password and path, and with no option but
    /// `replicaSet`: `mongodb://m0.shop.svc:27017,m1.shop.svc:27017/?replicaSet=rs0` or
    /// `mongodb+srv://mongo.shop.example`.
    #[schemars(length(min = 1, max = 1024))]
    pub uri: String,

    /// Labels that ProvisioningRoles and DbObjectImportRules select by, merged over `metadata.labels` and
    /// not subject to Kubernetes' limits on label values. Example: `{team: "Payments & Orders"}`.
    #[serde(default, skip_serializing_if = "schema::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,

    /// The database user that Rolecall connects as.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub admin_user: AdminUser,

    /// How the connection to the server is protected. Absent: TLS with the system's roots, host name checked.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    pub tls: Tls,

    /// How the admin user authenticates: exactly one of `x509`, `password` and `awsIam`.
    #[x_kube(validation = rules::EXACTLY_ONE)]
    pub auth: Auth,

    /// How the provisioned users authenticate: at most one of `x509`, `password` and `awsIam`. Absent:
    /// Rolecall issues no credentials; the users have their own, for example a client certificate.
    #[serde(default, skip_serializing_if = "schema::is_default")]
    #[x_kube(validation = rules::AT_MOST_ONE)]
    pub user_credentials: UserCredentials,

    /// What happens to a session that needs a database role that the server lacks. `Reject` (default): the
    /// session does not start, naming the role (`DbRoleNotFound`). `Create`: the role is created without
    /// login and privileges, unless its name is one of the server's own (`pg_`, `rds_`, `sys:`).
    #[serde(default)]
    pub missing_db_roles: MissingDbRoles,

    /// Patterns of the database roles that may be granted on this server, whatever ProvisioningRoles say: `*`
    /// matches any run of characters, `^...$` is a regular expression. Default: `["*"]`.
    ///
    /// Never granted, whatever the patterns: the admin user, the marker role, permission sets, managed accounts.
    /// Roles with LOGIN, SUPERUSER, CREATEROLE, REPLICATION or BYPASSRLS and the roles pg_* and rds_* are
    /// granted only if they are named literally.
    #[serde(default = "any")]
    #[schemars(schema_with = "schema::texts")]
    pub grantable_db_roles: Vec<String>,

    /// Users that Rolecall created here and that have no live session, but can be used. `Disable` (default):
    /// they are disabled. `Report`: they are only counted and named, in the condition `OrphanedAccounts`, an
    /// event and their DatabaseUsers. The check runs at each resync.
    #[serde(default)]
    pub orphans: Orphans,

    /// How often the server's objects are read again while sessions use object permissions, as a duration
    /// such as `5m` (default).
    #[serde(default = "five_minutes")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub object_sync: GoDuration,

    /// `true`: touch nothing on this server, for example during a blue/green deployment. Sessions wait with
    /// `DatabaseSuspended`; ending access waits too, so access stays as it is until this is `false` again
    /// (default).
    #[serde(default)]
    pub suspend: bool,

    /// What deleting this object does to the accounts on the server. `Revoke` (default): every account is
    /// torn down first. `Retain`: the database stays as it is.
    #[serde(default)]
    pub deletion: Deletion,
}

/// The protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// PostgreSQL and compatible servers.
    Postgres,
    /// Amazon Redshift.
    Redshift,
    /// MongoDB.
    Mongodb,
}

/// Where a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Platform {
    /// Run by yourself.
    SelfHosted,
    /// Amazon RDS and Aurora.
    #[serde(rename = "RDS")]
    Rds,
    /// Amazon Redshift.
    Redshift,
}

/// The database user that Rolecall connects as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminUser {
    /// Name of the admin user; on MongoDB without the leading `CN=`. Absent: the label `teleport.dev/db-admin`;
    /// if that is missing too, nothing is provisioned (`MissingAdminUser`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::database_name")]
    pub name: Option<String>,

    /// Logical database that the admin user connects to. Absent: the label
    /// `teleport.dev/db-admin-default-database`, else the session's database, else `postgres`
    /// (Redshift: `dev`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::database_name")]
    pub default_database: Option<String>,
}

/// How the connection to a server is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// What is checked. `VerifyFull` (default): the certificate chain and the host name. `VerifyCa`: the
    /// chain only; refused with `mongodb`. `Disable`: no TLS at all; refused with `x509` and `awsIam`.
    #[serde(default)]
    pub mode: TlsMode,

    /// Certificate authorities to verify the server's certificate with, in PEM. Absent: the system's
    /// roots; on RDS those of its region, which are built in for most regions. Example:
    /// `{name: orders-ca, key: ca.crt}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// Name that the server's certificate must carry. Absent: the host in `uri`. Not with `mongodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}

/// What TLS checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Chain and host name.
    #[default]
    VerifyFull,
    /// Chain only.
    VerifyCa,
    /// No TLS.
    Disable,
}

/// How the admin user authenticates: exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// A client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509: Option<AdminX509>,

    /// A password. Not with `mongodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<AdminPassword>,

    /// A token made from the operator's ambient AWS credentials (IRSA, Pod Identity). Write `awsIam: {}` where the host
    /// name says the region. Not with `mongodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_iam: Option<AdminAwsIam>,
}

/// A client certificate for the admin user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminX509 {
    /// A Secret of type `kubernetes.io/tls` with the certificate (`tls.crt`) and its key (`tls.key`). Read
    /// again when it changes.
    pub secret_ref: SecretRef,
}

/// A password for the admin user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminPassword {
    /// The Secret and key that hold the password. Example: `{name: orders-admin, key: password}`.
    pub secret_ref: SecretKeyRef,
}

/// Ambient AWS credentials for the admin user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminAwsIam {
    /// AWS region of the server, for example `eu-west-1`. Absent: from the host name in `endpoint` or `uri`, else the
    /// `AWS_REGION` of the operator; never guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z]{2}(-[a-z]+)+-[0-9]+$"))]
    pub region: Option<String>,

    /// On RDS: the server's own name, which tokens are signed for, where `uri` is another one (a CNAME, a tunnel). With
    /// `:port` where the server's own port is another one, too. Its certificate must carry this name unless
    /// `tls.serverName` says otherwise. Example: `orders.abc123.eu-west-1.rds.amazonaws.com`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[0-9A-Za-z.-]+(:[1-9][0-9]{0,4})?$"))]
    pub endpoint: Option<String>,

    /// On Redshift: the identifier of the cluster, where the host name in `uri` does not say it (a CNAME, an endpoint
    /// that Redshift manages in another VPC).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][0-9a-z-]*$"))]
    pub cluster_identifier: Option<String>,
}

/// How the provisioned users authenticate: at most one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserCredentials {
    /// A client certificate per session, whose common name is the database user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x509: Option<UserX509>,

    /// A random password per account; the server gets a SCRAM verifier of it (Redshift: an md5 hash). Write
    /// `password: {}`. Not with `mongodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<UserPassword>,

    /// The user brings an AWS IAM token; on RDS the account gets `rds_iam`, which no other account does. Write
    /// `awsIam: {}`. Needs `auth.awsIam`. Not with `mongodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_iam: Option<UserAwsIam>,
}

/// Client certificates for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserX509 {
    /// A Secret with the certificate authority that signs the users' certificates, for example of type
    /// `kubernetes.io/tls` (`tls.crt`, `tls.key`); the server must trust it for client certificates, which is
    /// checked at each resync. When the Secret changes, live sessions get new certificates.
    pub ca_secret_ref: CaSecretRef,

    /// Longest lifetime of a certificate, as a duration such as `1h` (default). It never outlives its
    /// session, and is renewed after two thirds of its lifetime while the session is live.
    #[serde(default = "one_hour")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub ttl: GoDuration,
}

/// Passwords for users: nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct UserPassword {}

/// AWS IAM tokens for users: nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct UserAwsIam {}

/// What happens to a session that needs a database role that the server lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MissingDbRoles {
    /// The session does not start.
    #[default]
    Reject,
    /// The role is created, without login and privileges.
    Create,
}

/// What happens to users that can be used without a live session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Orphans {
    /// They are disabled.
    #[default]
    Disable,
    /// They are only counted and named.
    Report,
}

/// What deleting a DatabaseAdmin does to the accounts on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Deletion {
    /// Every account is torn down first.
    #[default]
    Revoke,
    /// The database stays as it is.
    Retain,
}

fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

fn five_minutes() -> GoDuration {
    GoDuration::from_secs(300)
}

fn one_hour() -> GoDuration {
    GoDuration::from_secs(3_600)
}
