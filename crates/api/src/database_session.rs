//! `DatabaseSession`: time-boxed access.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ApprovalProgress, CreateDbUserMode, GoDuration, ReceivedDecision, SecretRef, SessionRequest, rules,
    schema,
};

/// Who gets access to what, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "rolecall.dev",
    version = "v1alpha1",
    kind = "DatabaseSession",
    plural = "databasesessions",
    shortname = "dbs",
    category = "rolecall",
    namespaced,
    status = "DatabaseSessionStatus",
    derive = "PartialEq",
    doc = "A DatabaseSession is a user's access to a logical database: creating it starts the access, \
           deleting it or its ttl ends it. With a ttl it is timed: once ended it never comes back. Without, it \
           is standing: desired state that is restored whenever policy allows.",
    printcolumn(name = "USER", type_ = "string", json_path = ".spec.user"),
    printcolumn(name = "DATABASE", type_ = "string", json_path = ".spec.database"),
    printcolumn(name = "DBNAME", type_ = "string", json_path = ".spec.databaseName"),
    printcolumn(name = "PHASE", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "EXPIRES", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    selectable = ".spec.user",
    selectable = ".spec.database",
    selectable = ".status.phase"
)]
#[x_kube(validation = rules::SAME_FIELDS)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSessionSpec {
    /// The DatabaseUser, by name, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub user: String,

    /// The DatabaseAdmin, by name, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub database: String,

    /// The logical database on that server, for example `horizon`. Required for `postgres` and `redshift`
    /// (`DatabaseNameRequired` if it is missing); for `mongodb` only object permissions need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::database_name")]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub database_name: Option<String>,

    /// The subset of the allowed database roles to grant. Absent or empty: all of them. A role that policy
    /// does not allow keeps the session from starting (`AccessDenied`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::texts")]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub db_roles: Vec<String>,

    /// How long the session lasts from its start, as a duration such as `1h`. Only this field may change,
    /// but it may not be added or removed. A ttl longer than the `maxSessionTtl` of the user's roles
    /// keeps the session from starting (`TtlTooLong`); one that becomes longer while the session is live is cut
    /// to it. Absent: until the object is deleted, or `maxSessionTtl` if a role sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::positive_duration")]
    pub ttl: Option<GoDuration>,

    /// Why the access is needed, for the reader and the audit log. Example: `INC-1234`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub reason: Option<String>,

    /// Who asked for the session, as the API server calls them: it says so itself where it has
    /// MutatingAdmissionPolicies, and refuses another name than that of whoever sends the request. Who asked for a
    /// session may end it; for the sessions of others it takes the verb `manage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub requested_by: Option<String>,

    /// A PEM certificate request, base64 encoded on one line (`base64 -w0 request.pem`). The certificate
    /// appears in `status.certificate`; the key stays with its owner and no Secret is created. Only if the
    /// DatabaseAdmin's `userCredentials` is `x509`. Only the public key is taken from the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    #[x_kube(
        validation = rules::SAME_VALUE,
        validation = rules::BASE64,
        validation = rules::PEM_REQUEST
    )]
    pub certificate_request: Option<String>,

    /// How long a timed session may wait for its start, as a duration such as `1m` (used when absent):
    /// Rejected with the last reason if it is not Active by then. `0s`: it must start at the first attempt. Has
    /// no effect on sessions without an end, which wait forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::non_negative_duration")]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub start_deadline: Option<GoDuration>,

    /// How long the object stays after it ended or was rejected, as a duration such as `1h` (default). `0s`:
    /// it is deleted at once.
    #[serde(default = "one_hour")]
    #[schemars(schema_with = "schema::non_negative_duration")]
    #[x_kube(validation = rules::SAME_VALUE)]
    pub retain_after_end: GoDuration,
}

/// State of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSessionStatus {
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Pending`: not started; the reason of Ready says what blocks it. `Active`: the user has access.
    /// `Ending`: access is being taken away. `Ended`: the database showed the access gone. `Rejected`: it
    /// never started and never will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<SessionPhase>", extend("default" = "Pending"))]
    pub phase: Option<SessionPhase>,

    /// `Ready`; `PermissionsComplete` (False: some object permissions could not be granted, each named);
    /// `Reconciling` and `Stalled` while they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Name of the database user that this access runs under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,

    /// Database roles that the user has through this session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub db_roles: Vec<String>,

    /// What happens to the account when its last session ends: `Keep` or `BestEffortDrop`, according to the
    /// latest policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<CreateDbUserMode>")]
    pub mode: Option<CreateDbUserMode>,

    /// The role that gets what the account owns before it is dropped, according to the latest policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign_to: Option<String>,

    /// Objects per privilege that the user has through object permissions, for example `{SELECT: 12, UPDATE: 1}`.
    #[serde(default, skip_serializing_if = "schema::is_empty")]
    pub permissions: BTreeMap<String, u64>,

    /// When the session became Active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When the session will end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// When access was first due to end. Only while the phase is `Ending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending_since: Option<Time>,

    /// When the session ended or was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,

    /// Why the session ended. `Deleted`: the object was deleted. `Expired`: its ttl ran out. `AccessRevoked`:
    /// policy no longer allows it. `UserSuspended`: the DatabaseUser was suspended. `DatabaseRemoved`:
    /// the DatabaseAdmin was deleted. `Uninstalled`: the operator was uninstalled. `Abandoned`: the server did
    /// not answer until the teardown deadline; the account may still be enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::of::<EndReason>")]
    pub end_reason: Option<EndReason>,

    /// The Secret with the credentials, named after the session. Its keys follow the Service Binding
    /// specification: `type`, `provider`, `host`, `port`, `database`, `username`, `uri`, and `tls.crt`,
    /// `tls.key`, `tls.pk8` (the key in DER, as Java reads it), `certificates` and `private-key` (the same
    /// certificate and key), or `password`, which `uri` holds as well; `ca.crt`, which the server's certificate
    /// is checked against, where the DatabaseAdmin names one. On PostgreSQL and Redshift also `sslmode` and `sslrootcert`; on
    /// MongoDB `tls.pem`, which holds certificate and key, and `database` only where the session names one. `uri`
    /// can be used as it is, with these files. It is deleted when access ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,

    /// The same Secret where the Service Binding specification looks for it: a session is a Provisioned Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<SecretRef>,

    /// The answer to `spec.certificateRequest`: the certificate with its chain, in PEM, base64 encoded. It is
    /// replaced before it runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "byte"))]
    pub certificate: Option<ByteString>,

    /// Where to connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,

    /// What exactly is asked for, where that takes an approval; from the start on what was approved, which the session never
    /// has more than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<SessionRequest>,

    /// How far the request has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalProgress>,

    /// The decisions about the request that count, in the order in which they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ReceivedDecision>,
}

/// Where to connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Host of the server.
    pub host: String,

    /// Port of the server.
    pub port: u16,

    /// The logical database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,

    /// The authorities that the server's certificate is checked against: certificates in PEM, base64 encoded.
    /// Absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "byte"))]
    pub ca_bundle: Option<ByteString>,
}

/// State of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SessionPhase {
    /// Not started.
    #[default]
    Pending,
    /// The user has access.
    Active,
    /// Access is being taken away.
    Ending,
    /// The database showed the access gone.
    Ended,
    /// It never started and never will.
    Rejected,
    /// A phase that a newer version wrote.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl SessionPhase {
    /// As the status spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Ending => "Ending",
            Self::Ended => "Ended",
            Self::Rejected => "Rejected",
            Self::Unknown => "Unknown",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EndReason {
    /// The object was deleted.
    Deleted,
    /// Its ttl ran out.
    Expired,
    /// Policy does not allow it any more.
    AccessRevoked,
    /// The DatabaseUser was suspended.
    UserSuspended,
    /// The DatabaseAdmin was deleted.
    DatabaseRemoved,
    /// The operator was uninstalled.
    Uninstalled,
    /// The server did not answer until the teardown deadline.
    Abandoned,
    /// A reason that a newer version wrote.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

fn one_hour() -> GoDuration {
    GoDuration::from_secs(3_600)
}
