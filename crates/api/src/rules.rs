//! The admission rules: the CEL expression, and what the author of a bad value reads.
//!
//! The API server puts the field's path before the message.

/// A rule: expression and message.
pub(crate) type Rule = (&'static str, &'static str);

/// A rule that reports another field than the one that it is written at.
pub(crate) fn at(field: &str, (rule, message): Rule) -> kube::core::Rule {
    kube::core::Rule::new(rule).message(message).field_path(field)
}

/// Whether a text contains no template, or one and no other braces, which is all that the syntax allows.
macro_rules! one_template {
    ($text:literal) => {
        concat!(
            "!(",
            $text,
            ".contains('{{') || ",
            $text,
            ".contains('}}')) || ",
            $text,
            r".matches('^[^{}]*[{]{2}[^{}]*[^{}\\s][^{}]*[}]{2}[^{}]*$')"
        )
    };
}

const ONE_TEMPLATE_MESSAGE: &str =
    "must contain at most one template {{...}} and no other braces, for example team-{{external.team}}";

/// For a text that may contain a trait template.
pub(crate) const ONE_TEMPLATE: Rule = (one_template!("self"), ONE_TEMPLATE_MESSAGE);

/// [`ONE_TEMPLATE`] for the keys of a map, which have no schema.
pub(crate) const KEYS_ONE_TEMPLATE: Rule =
    (concat!("self.all(key, ", one_template!("key"), ")"), ONE_TEMPLATE_MESSAGE);

/// For a text that may contain a template of an object.
pub(crate) const ONE_OBJECT_TEMPLATE: Rule = (
    r"self.matches('^[^{}]*([{]{2}\\s*obj[.](protocol|database(_service_name)?|object_kind|schema|name)\\s*[}]{2}[^{}]*)?$')",
    "must contain no braces except those of one template {{obj.VARIABLE}}, where VARIABLE is protocol, \
     database_service_name, object_kind, database, schema or name",
);

/// For a label selector.
pub(crate) const WILDCARD_KEY: Rule = (
    r"!('*' in self) || self['*'] == ['*']",
    r#"must be {"*": ["*"]} to select everything; to select by a label, write its key in place of the first *"#,
);

/// For the keys of labels.
pub(crate) const NO_BLANK_KEY: Rule = (r"self.all(key, key.matches('\\S'))", "must not have a blank key");

/// For a list of privileges.
pub(crate) const SOME_PRIVILEGE: Rule =
    ("size(self) > 0", "must name at least one privilege, for example SELECT; otherwise remove the entry");

/// For a privilege: one that some kind of object in some engine has. Blanks around it and case do not matter.
pub(crate) const KNOWN_PRIVILEGE: Rule = (
    "self.trim().upperAscii() in ['*', \
     'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN', \
     'USAGE', 'EXECUTE', 'CREATE', \
     'FIND', 'REMOVE', 'BYPASSDOCUMENTVALIDATION', 'CHANGESTREAM', 'COLLMOD', 'COLLSTATS', 'COMPACT', \
     'CONVERTTOCAPPED', 'CREATECOLLECTION', 'CREATEINDEX', 'DROPCOLLECTION', 'DROPINDEX', 'INDEXSTATS', \
     'KILLCURSORS', 'LISTINDEXES', 'PLANCACHEINDEXFILTER', 'PLANCACHEREAD', 'PLANCACHEWRITE', 'REINDEX', \
     'RENAMECOLLECTIONSAMEDB', 'STORAGEDETAILS', 'VALIDATE']",
    "must be one privilege: SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, MAINTAIN, USAGE, \
     EXECUTE or CREATE, or for MongoDB an action on collections such as find",
);

/// For a privilege that a role allows.
pub(crate) const NO_PRIVILEGE_WILDCARD: Rule =
    ("self.trim() != '*'", "must name a privilege; * is only for deny, where it takes away every privilege");

/// For a database role that a role allows.
pub(crate) const NO_ROLE_WILDCARD: Rule =
    ("self != '*'", "must name a database role; * is only for deny, where it takes away every role");

/// For what becomes of what a user owns.
pub(crate) const ROLE_OF_REASSIGN: Rule =
    ("(self.policy == 'ReassignTo') == has(self.role)", "must be set with policy: ReassignTo, and only then");

/// For the options of a role.
pub(crate) const REASSIGN_BEFORE_A_DROP: Rule = (
    "!has(self.ownedObjects) || self.ownedObjects.policy != 'ReassignTo' || \
     (has(self.createDbUserMode) && self.createDbUserMode == 'BestEffortDrop')",
    "must be Keep, or createDbUserMode must be BestEffortDrop: a user that is not dropped keeps what it owns",
);

/// For the name of something in a database.
pub(crate) const SHORT_NAME: Rule = (
    "size(bytes(self)) <= 63",
    "must not be longer than 63 bytes, the limit of database servers; characters beyond ASCII take several",
);

/// For the name of something in a database.
pub(crate) const NO_CONTROL_CHARACTERS: Rule =
    (r"!self.matches('\\p{Cc}')", "must not contain control characters");

/// What comes before the comparison of a duration: `duration()` fails on what Go cannot read, without a good
/// answer.
macro_rules! duration {
    ($comparison:literal) => {
        concat!(r"self.matches('^([0-9]+([.][0-9]+)?(h|m|s|ms|us|ns))+$') && duration(self) ", $comparison)
    };
}

/// For a duration.
pub(crate) const POSITIVE: Rule = (
    duration!("> duration('0s')"),
    "must be a duration longer than 0s, for example 1h30m; its units are h, m, s, ms, us and ns",
);

/// For a duration.
pub(crate) const NOT_NEGATIVE: Rule = (
    duration!(">= duration('0s')"),
    "must be a duration, 0s or longer, for example 5m; its units are h, m, s, ms, us and ns",
);

/// DbObjectImportRule: `mappings`.
pub(crate) const SOME_MAPPING: Rule = (
    "size(self.databaseLabels) == 0 || (has(self.mappings) && size(self.mappings) > 0)",
    "must contain at least one mapping; to import nothing, write databaseLabels: {}",
);

/// DatabaseAdmin: reported first if there is a URI in place of host and port.
pub(crate) const URI_NO_SCHEME: Rule = (
    "self.protocol == 'mongodb' || !self.uri.contains('://')",
    "must be host:port without a scheme, for example orders-db.shop.svc:5432",
);

/// DatabaseAdmin.
pub(crate) const URI_HOST_AND_PORT: Rule = (
    "self.uri.contains('://') \
     || self.uri.matches('^([0-9A-Za-z._-]+|\\\\[[0-9A-Fa-f:]+\\\\]):\
     ([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$')",
    "must be host:port with a port from 1 to 65535, for example orders-db.shop.svc:5432; \
     put an IPv6 address in brackets: [fd00::5]:5432",
);

/// DatabaseAdmin.
pub(crate) const URI_IPV6: Rule = (
    "!self.uri.matches('^\\\\[.*\\\\]:') || isIP(self.uri.substring(1, self.uri.lastIndexOf(']')))",
    "must have an IPv6 address in its brackets, for example [fd00::5]:5432",
);

/// DatabaseAdmin: for a MongoDB URI without credentials, which [`URI_NO_CREDENTIALS`] looks for.
pub(crate) const URI_MONGODB: Rule = (
    "self.protocol != 'mongodb' || !self.uri.contains('://') || self.uri.contains('@') \
     || self.uri.matches('\
     ^mongodb([+]srv://[^/?,:\\\\s]+|://[^/?,\\\\s]+(,[^/?,\\\\s]+)*)/?([?]replicaSet=[^&=?/\\\\s]+)?$')",
    "must be host:port, mongodb://host:port,host:port or mongodb+srv://host, with no path and no option but \
     replicaSet, for example mongodb://m0.shop.svc:27017,m1.shop.svc:27017/?replicaSet=rs0; what else there is to \
     say stands in tls and auth",
);

/// DatabaseAdmin.
pub(crate) const URI_NO_CREDENTIALS: Rule = (
    "self.protocol != 'mongodb' || !self.uri.contains('://') || !self.uri.contains('@')",
    "must not contain a user name or password: put the user into adminUser.name and its credentials into auth",
);

/// DatabaseAdmin.
pub(crate) const PLATFORM_RDS: Rule = (
    "!has(self.platform) || self.platform != 'RDS' || self.protocol == 'postgres'",
    "must not be RDS with this protocol; if left out it is derived from the host name",
);

/// DatabaseAdmin.
pub(crate) const PLATFORM_REDSHIFT: Rule = (
    "!has(self.platform) || (self.platform == 'Redshift') == (self.protocol == 'redshift')",
    "must be Redshift with protocol redshift and only then; if left out it is derived from the host name",
);

/// DatabaseAdmin.
pub(crate) const TLS_FOR_ADMIN: Rule = (
    "!has(self.tls) || self.tls.mode != 'Disable' || !(has(self.auth.x509) || has(self.auth.awsIam))",
    "must not have mode Disable with auth.x509 or auth.awsIam, which need TLS; use VerifyFull, or auth.password",
);

/// DatabaseAdmin.
pub(crate) const TLS_FOR_USERS: Rule = (
    "!has(self.tls) || self.tls.mode != 'Disable' || !has(self.userCredentials) \
     || !(has(self.userCredentials.x509) || has(self.userCredentials.awsIam))",
    "must not have mode Disable with userCredentials.x509 or userCredentials.awsIam, which need TLS; \
     use VerifyFull, or userCredentials.password",
);

/// DatabaseAdmin: a driver of MongoDB checks the name that it dials.
pub(crate) const MONGODB_TLS: Rule = (
    "self.protocol != 'mongodb' || !has(self.tls) \
     || (self.tls.mode != 'VerifyCa' && !has(self.tls.serverName))",
    "must have mode VerifyFull and no serverName with protocol mongodb; put the names in the servers' certificates \
     into uri",
);

/// DatabaseAdmin.
pub(crate) const MONGODB_USERS: Rule = (
    "self.protocol != 'mongodb' || !has(self.userCredentials) \
     || !(has(self.userCredentials.password) || has(self.userCredentials.awsIam))",
    "must not contain password or awsIam with protocol mongodb, whose users log in with client certificates; use x509, \
     or leave it out if users have certificates of their own",
);

/// DatabaseAdmin.
pub(crate) const MONGODB_ADMIN: Rule = (
    "self.protocol != 'mongodb' || !(has(self.auth.password) || has(self.auth.awsIam))",
    "must not contain password or awsIam with protocol mongodb, where the admin user logs in with a client certificate; \
     use x509",
);

/// DatabaseAdmin: from PostgreSQL 16 on the admin user becomes a member of `rds_iam` through each user that it creates, and
/// RDS refuses the passwords of all members.
pub(crate) const IAM_USERS: Rule = (
    "self.protocol == 'mongodb' || !has(self.userCredentials) || !has(self.userCredentials.awsIam) \
     || has(self.auth.awsIam)",
    "must not contain awsIam unless auth contains it, too: on RDS the first user with rds_iam would lock out an admin user \
     with a password, on Redshift auth.awsIam says for users, too, what the host name does not (the cluster, the region); \
     use auth.awsIam, or userCredentials.password",
);

/// DatabaseAdmin.
pub(crate) const IAM_FIELDS: Rule = (
    "!has(self.auth.awsIam) || ((self.protocol == 'redshift' || !has(self.auth.awsIam.clusterIdentifier)) \
     && (self.protocol != 'redshift' || !has(self.auth.awsIam.endpoint)))",
    "must contain awsIam.clusterIdentifier with protocol redshift only, and awsIam.endpoint with protocol postgres only",
);

/// DatabaseAdmin: `protocol`.
pub(crate) const SAME_PROTOCOL: Rule = ("self == oldSelf", "is immutable; create another DatabaseAdmin");

/// DatabaseAdmin: `auth`.
pub(crate) const EXACTLY_ONE: Rule = (
    "[has(self.x509), has(self.password), has(self.awsIam)].filter(is_set, is_set).size() == 1",
    "must contain exactly one of x509, password and awsIam",
);

/// DatabaseAdmin: `userCredentials`.
pub(crate) const AT_MOST_ONE: Rule = (
    "[has(self.x509), has(self.password), has(self.awsIam)].filter(is_set, is_set).size() <= 1",
    "must contain at most one of x509, password and awsIam",
);

/// DatabaseUser: a name that is absent is as unchangeable as one that is there.
pub(crate) const SAME_USERNAME: Rule = (
    "(has(self.username) ? self.username : '') == (has(oldSelf.username) ? oldSelf.username : '')",
    "is immutable; create another DatabaseUser",
);

/// DatabaseUser: absent and empty are the same.
pub(crate) const SAME_ORIGIN_CLUSTER: Rule = (
    "(has(self.originCluster) ? self.originCluster : '') \
     == (has(oldSelf.originCluster) ? oldSelf.originCluster : '')",
    "is immutable; create another DatabaseUser",
);

/// DatabaseUser: as its name in Kubernetes is its name in the databases where no other is given.
pub(crate) const USERNAME_OR_SHORT_NAME: Rule = (
    "has(self.spec.username) || size(self.metadata.name) <= 63",
    "must be set if metadata.name is longer than 63 bytes, the limit of database servers",
);

/// DatabaseSession: every field but `ttl`.
pub(crate) const SAME_VALUE: Rule = ("self == oldSelf", "is immutable; create another DatabaseSession");

/// DatabaseSession: a field's own rule cannot see the field come and go.
pub(crate) const SAME_FIELDS: Rule = (
    "has(self.databaseName) == has(oldSelf.databaseName) && has(self.dbRoles) == has(oldSelf.dbRoles) \
     && has(self.ttl) == has(oldSelf.ttl) && has(self.reason) == has(oldSelf.reason) \
     && has(self.certificateRequest) == has(oldSelf.certificateRequest) \
     && has(self.startDeadline) == has(oldSelf.startDeadline) \
     && has(self.requestedBy) == has(oldSelf.requestedBy)",
    "is immutable: no field may be added or removed, and only the value of ttl may change; \
     create another DatabaseSession",
);

/// ProvisioningRole: `approval.who`.
pub(crate) const SOMEBODY: Rule = (
    "(has(self.users) && size(self.users) > 0) || (has(self.groups) && size(self.groups) > 0)",
    "must name a user or a group; leave it out if everybody with the verb approve may",
);

/// DatabaseSessionDecision.
pub(crate) const SAME_DECISION: Rule =
    ("self == oldSelf", "is immutable; delete this DatabaseSessionDecision and create another one");

/// DatabaseSession: `certificateRequest`.
pub(crate) const BASE64: Rule = (
    "self.matches('^([0-9A-Za-z+/]{4})+([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$')",
    "must be base64 on one line: base64 -w0 request.pem",
);

/// DatabaseSession: the first 33 bytes of `-----BEGIN CERTIFICATE REQUEST-----`, and of its older form with
/// `NEW`.
pub(crate) const PEM_REQUEST: Rule = (
    "self.startsWith('LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0t') \
     || self.startsWith('LS0tLS1CRUdJTiBORVcgQ0VSVElGSUNBVEUgUkVRVUVT')",
    "must be a PEM certificate request before it is base64 encoded: openssl req -new",
);
