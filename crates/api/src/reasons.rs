//! Reasons of conditions and events: one table, from which the documentation is generated.

/// A reason, what it means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The constant that stands in conditions and events.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($constant:ident = $name:literal: $meaning:literal, $remedy:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: &str = $name;
        )*

        /// Every reason there is, in the order of the documentation.
        pub const ALL: &[Reason] =
            &[$(Reason { name: $name, meaning: $meaning, remedy: $remedy }),*];
    };
}

reasons! {
    PENDING = "Pending":
        "The operator has not looked at the object yet.",
        "Wait. Where it lasts, check that the operator runs and watches this namespace.";
    SUCCEEDED = "Succeeded":
        "All is as the object says.",
        "Nothing.";
    ACTIVE = "Active":
        "The user has access.",
        "Nothing.";
    STARTING = "Starting":
        "The account is being prepared.",
        "Wait.";
    ENDING = "Ending":
        "Access is being taken away.",
        "Wait. Where it lasts, the message says what the database answers.";

    USER_NOT_FOUND = "UserNotFound":
        "The DatabaseUser that the session names does not exist in its namespace.",
        "Create the DatabaseUser, or name another one in a new session.";
    DATABASE_NOT_FOUND = "DatabaseNotFound":
        "The DatabaseAdmin that the session names does not exist in its namespace.",
        "Create the DatabaseAdmin, or name another one in a new session.";
    ROLE_NOT_FOUND = "RoleNotFound":
        "A ProvisioningRole that the user names does not exist: what it denies is unknown, so nothing is allowed.",
        "Create the ProvisioningRole, or take it out of the DatabaseUser's `roles`.";
    ROLE_INVALID = "RoleInvalid":
        "A ProvisioningRole of the user is not valid: what it denies is unknown, so nothing is allowed.",
        "Mend what the role's condition Valid names.";
    ACCESS_DENIED = "AccessDenied":
        "The user's roles do not allow this access.",
        "`kubectl rolecall explain --user U --database D` shows which role, label or name decided.";
    PROVISIONING_DISABLED = "ProvisioningDisabled":
        "The user's roles allow the access, but none of those that match provisions users.",
        "Set `options.createDbUserMode: Keep` in a role that matches the database.";
    USER_CONFLICT = "UserConflict":
        "The database has a user of this name that is not managed, or that lost what says whose it is; it is not touched.",
        "Run the statement in the message. Else rename or drop that user, or give the DatabaseUser another `username`.";
    ROLES_CHANGED = "RolesChanged":
        "Live sessions of this account hold other database roles.",
        "End those sessions first, or ask for the same `dbRoles`.";
    DB_ROLE_NOT_FOUND = "DbRoleNotFound":
        "The database lacks a role that policy gives.",
        "Create the role in the database, or set `missingDbRoles: Create` in the DatabaseAdmin.";
    DB_ROLE_NOT_GRANTABLE = "DbRoleNotGrantable":
        "Policy gives a database role that this server does not let anybody have.",
        "Add the role to the DatabaseAdmin's `grantableDbRoles`, or take it out of the ProvisioningRole.";
    DB_ROLE_INVALID = "DbRoleInvalid":
        "A database role is not written as the server needs it (MongoDB: `role@database`).",
        "Mend the entry in the ProvisioningRole's `dbRoles`.";
    ACCOUNT_IN_USE = "AccountInUse":
        "The account has connections or a login that belong to no session of this DatabaseAdmin.",
        "Wait until whoever uses the account has finished; where its DatabaseAdmin is gone, run the statement in the message.";
    LEFTOVER_MEMBERSHIP = "LeftoverMembership":
        "The account holds a membership, an attribute or a prepared transaction that the admin user cannot remove.",
        "Run the statement in the message as the role that it names.";
    USER_SUSPENDED = "UserSuspended":
        "The DatabaseUser is suspended.",
        "Set `suspend: false` in the DatabaseUser.";
    DATABASE_SUSPENDED = "DatabaseSuspended":
        "The DatabaseAdmin is suspended: nothing on the server is touched, endings wait too.",
        "Set `suspend: false` in the DatabaseAdmin.";
    USERNAME_TAKEN = "UsernameTaken":
        "An older DatabaseUser of the namespace has the same database user name.",
        "Delete one of the two, or create this one anew with another `username`.";
    SECRET_CONFLICT = "SecretConflict":
        "A Secret of the session's name exists that this session does not control; it is never written.",
        "Delete or rename that Secret, or give the session another name.";
    API_REFUSED = "ApiRefused":
        "The API server did not take a write that the session needs, that of its Secret for example.",
        "The message carries its answer: raise the quota, or mend the admission policy or the operator's rights that are in the way.";
    DATABASE_NAME_REQUIRED = "DatabaseNameRequired":
        "A session on postgres or redshift needs a logical database; on mongodb object permissions do.",
        "Create the session anew with `databaseName`.";
    TTL_TOO_LONG = "TtlTooLong":
        "The session asks for a longer `ttl` than the `maxSessionTtl` of the user's roles.",
        "Create the session anew with a shorter `ttl`.";
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded":
        "The session's `startDeadline` had passed before the operator had looked at it, or before its server had answered.",
        "Check that the operator runs and that the server answers in time; create the session anew.";
    DATABASE_NAME_NOT_FOUND = "DatabaseNameNotFound":
        "The server has no logical database of that name, or it takes no connections.",
        "Create the session anew with another `databaseName`, or create the logical database.";
    INVALID_USERNAME = "InvalidUsername":
        "The database user name is impossible: over 63 bytes, reserved by the server, the admin user or the marker.",
        "Create the DatabaseUser anew with another `username`.";
    CREDENTIALS_MISMATCH = "CredentialsMismatch":
        "The session brings a certificate request, but the DatabaseAdmin does not issue certificates.",
        "Set `userCredentials.x509` in the DatabaseAdmin, or create the session without `certificateRequest`.";
    CERTIFICATE_REQUEST_INVALID = "CertificateRequestInvalid":
        "The certificate request cannot be read, its signature is wrong, or its key is too weak.",
        "Create the session anew with a request made by `openssl req -new`, base64 encoded on one line.";
    IMPORT_RULE_INVALID = "ImportRuleInvalid":
        "A DbObjectImportRule that may be for this database is not valid: object permissions are withheld.",
        "Mend what the rule's condition Valid names.";

    DELETED = "Deleted":
        "The session ended because the object was deleted.",
        "Nothing.";
    EXPIRED = "Expired":
        "The session ended because its ttl ran out.",
        "Create a new session.";
    ACCESS_REVOKED = "AccessRevoked":
        "The session ended because policy does not allow it any more.",
        "`kubectl rolecall explain --user U --database D` shows what decided.";
    DATABASE_REMOVED = "DatabaseRemoved":
        "The session ended because the DatabaseAdmin was deleted.",
        "Create the DatabaseAdmin again, then a new session.";
    ACCOUNT_KEPT = "AccountKept":
        "An account that should have been dropped is disabled instead, because something depends on it.",
        "The message says what: hand it to somebody else or drop it, then drop the user.";
    ORPHAN_ENDED = "OrphanEnded":
        "An account of this DatabaseAdmin could be used though no session accounts for it, and was ended: the server lost the end (failover, restore), the DatabaseAdmin was made anew, or somebody let it log in or removed the session by force.",
        "Look for an event AccessReturned: after a failover, see what an asynchronous standby means in the README. Nothing else is to be done.";
    ORPHANED = "Orphaned":
        "Accounts can be used though no session accounts for them, and are only reported: `orphans: Report`, or nothing tells whose they are.",
        "Run the statement that the message names for each, or set `orphans: Disable`; where another DatabaseAdmin works with the account, nothing.";
    ACCESS_RETURNED = "AccessReturned":
        "An access that had ended came back: the server lost the end (failover to a standby that lagged, restore), or somebody let the account log in again.",
        "The message says whether it was ended again. Look in the server's logs for what was done meanwhile, and see what an asynchronous standby means in the README.";
    FAILOVER = "Failover":
        "Another server was promoted, or this one was set back: changes that it had confirmed may be lost. Every account was looked at.",
        "Nothing. Accesses that came back are told of as AccessReturned.";
    PASSWORD_RESTORED = "PasswordRestored":
        "The server had lost the password of a live session, or may have: it was stored again, or another one is in the session's Secret.",
        "Nothing, unless the message says that another password is in the Secret: then read it again.";
    ABANDONED = "Abandoned":
        "The DatabaseAdmin was deleted and its server did not answer until the teardown deadline.",
        "Disable the accounts that the event names on the server by hand.";

    DATABASE_UNREACHABLE = "DatabaseUnreachable":
        "The server cannot be reached, or does not let the admin user in.",
        "The message carries the server's answer: check `uri`, `tls`, `auth` and the network between.";
    CONNECTIONS_BUSY = "ConnectionsBusy":
        "Every connection that the operator may have to the server was in use for so long that waiting was given up.",
        "Find out on the server what its connections wait for, or raise `--max-connections-per-server`. It is tried again.";
    RECONCILE_TIMED_OUT = "ReconcileTimedOut":
        "The operator gave up on the object because what it needs took too long.",
        "Wait: it is tried again. Where it lasts, the operator's log and the DatabaseAdmin tell what is slow.";
    INTERNAL_ERROR = "InternalError":
        "The operator failed on the object: a bug.",
        "It is tried again. Where it lasts, report what the operator's log says.";
    TLS_FAILED = "TlsFailed":
        "The server's certificate is not trusted, or the two ends found no common TLS.",
        "Check `tls.caSecretRef`, `tls.serverName` and the server's certificate.";
    LOGIN_FAILED = "LoginFailed":
        "The server refuses the admin user's login.",
        "Check the Secret under `auth`, the admin user's name, and the server's rules (`pg_hba.conf`; on MongoDB the user in `$external`).";
    CLIENT_CA_NOT_TRUSTED = "ClientCaNotTrusted":
        "The server does not take client certificates of the CA under `userCredentials.x509`: nobody could log in, so no session starts.",
        "The message says which CA, and how the server comes to trust it (`ssl_ca_file`; on MongoDB `net.tls.CAFile`). A CA that was renewed with a new key is a new one.";
    SERVER_REFUSED = "ServerRefused":
        "The server, or a rule of an extension (credcheck, passwordcheck), refused a statement, or still runs a command of an account whose access ends.",
        "The message carries the server's code and answer, the rule where it can be told, and what to do.";
    WAITING_FOR_STANDBY = "WaitingForStandby":
        "The login is off and its connections are ended on the server, but no synchronous standby has confirmed it: a failover to one that lacks it would let the user in again.",
        "Bring the standby back, or take it out of `synchronous_standby_names` and reload. The session ends by itself then.";
    NOT_VERIFIED = "NotVerified":
        "What the server shows after a change is not what was asked for.",
        "Wait: it is tried again. Where it lasts, the message says what differs.";
    SECRET_NOT_FOUND = "SecretNotFound":
        "A Secret that the DatabaseAdmin names, or a key in it, is missing.",
        "Create the Secret with the key that the message names.";
    SECRET_INVALID = "SecretInvalid":
        "A Secret that the DatabaseAdmin names holds something that cannot be used, for example no PEM.",
        "Put into the key that the message names what it must hold.";
    LIVE_ACCOUNTS = "LiveAccounts":
        "`uri` or `adminUser.name` changed while accounts are enabled on another server.",
        "End the sessions, or change the field back.";
    TEARING_DOWN = "TearingDown":
        "The DatabaseAdmin is being deleted and its accounts are torn down.",
        "Wait until the teardown deadline; then the sessions end as Abandoned.";
    UNSUPPORTED = "Unsupported":
        "This server, protocol or option is not supported.",
        "The message says what is not; use a supported one.";
    INVALID = "Invalid":
        "A template, a pattern or an expression of the object cannot be read.",
        "Mend what the message names.";

    MISSING_ADMIN_USER = "MissingAdminUser":
        "No admin user is named.",
        "Set `adminUser.name` or the label `teleport.dev/db-admin` on the DatabaseAdmin.";
    MISSING_CREATE_ROLE = "MissingCreateRole":
        "The admin user may not create users.",
        "Run the statement in the message (`ALTER ROLE ... CREATEROLE`).";
    MISSING_ADMIN_OPTION = "MissingAdminOption":
        "The admin user may not grant a database role (PostgreSQL 16 and later).",
        "Run the statements in the message (`GRANT ... TO ... WITH ADMIN OPTION`).";
    MISSING_CONNECT = "MissingConnect":
        "The user could not connect to the logical database.",
        "Run the statement in the message (`GRANT CONNECT ON DATABASE ...`).";
    MISSING_OBJECT_PRIVILEGES = "MissingObjectPrivileges":
        "The admin user may not grant privileges on objects that policy gives.",
        "Run the statements in the message, or take the permissions out of the ProvisioningRole.";
    MISSING_RDS_IAM = "MissingRdsIam":
        "The server lacks the role `rds_iam`, or the admin user may not grant it.",
        "Turn on IAM database authentication, and run the statement in the message.";
    READ_ONLY_ENDPOINT = "ReadOnlyEndpoint":
        "The server is read-only: a replica, or the reader endpoint of an Aurora cluster.",
        "Use the writer's address in `uri`.";
    POOLER_IN_BETWEEN = "PoolerInBetween":
        "A connection pooler stands between the operator and the server: sessions of the admin user are not what it made them, so that nothing is started.",
        "Let `uri` name the server itself, past the pooler (README, poolers).";
    MISSING_MONGO_PRIVILEGES = "MissingMongoPrivileges":
        "The admin user lacks privileges on MongoDB.",
        "Run the command in the message.";
    ACCESS_LIST_NEARLY_FULL = "AccessListNearlyFull":
        "A warning: objects hold so many grants to single users that the server will soon refuse any more.",
        "Grant to roles instead of users, and revoke the grants to users that are not needed.";
    PUBLIC_CONNECT = "PublicConnect":
        "A warning: PUBLIC may connect to logical databases outside what policy names, so users can too.",
        "Run the statements in the message (`REVOKE CONNECT ON DATABASE ... FROM PUBLIC`).";
}
