//! Reasons of conditions and events: one table, from which the documentation is generated.

/// A reason, what it means, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The constant that is used in conditions and events.
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
        "The operator has not processed the object yet.",
        "Wait. If it lasts, check that the operator runs and watches this namespace.";
    SUCCEEDED = "Succeeded":
        "Everything is as the object says.",
        "Nothing.";
    ACTIVE = "Active":
        "The user has access.",
        "Nothing.";
    STARTING = "Starting":
        "The account is being prepared.",
        "Wait.";
    ENDING = "Ending":
        "Access is being taken away.",
        "Wait. If it lasts, the message says what the database answers.";

    USER_NOT_FOUND = "UserNotFound":
        "The session's DatabaseUser does not exist in its namespace.",
        "Create the DatabaseUser, or create a session for another one.";
    DATABASE_NOT_FOUND = "DatabaseNotFound":
        "The session's DatabaseAdmin does not exist in its namespace.",
        "Create the DatabaseAdmin, or create a session for another one.";
    ROLE_NOT_FOUND = "RoleNotFound":
        "A ProvisioningRole of the user does not exist: what it would deny is unknown, so nothing is allowed.",
        "Create the ProvisioningRole, or remove it from the DatabaseUser's `roles`.";
    ROLE_INVALID = "RoleInvalid":
        "A ProvisioningRole of the user is not valid: what it denies is unknown, so nothing is allowed.",
        "Fix what the role's condition Valid reports.";
    ACCESS_DENIED = "AccessDenied":
        "The user's roles do not allow this access.",
        "`kubectl rolecall explain --user U --database D` shows which role, label or name decided.";
    PROVISIONING_DISABLED = "ProvisioningDisabled":
        "The user's roles allow the access, but none of those that match provisions users.",
        "Set `options.createDbUserMode: Keep` in a role that matches the database.";
    USER_CONFLICT = "UserConflict":
        "The database has a user of this name that is not managed, or that lost the record of its owner; it is not touched.",
        "Run the statement in the message. Otherwise rename or drop that user, or create the DatabaseUser with another `username`.";
    ROLES_CHANGED = "RolesChanged":
        "Live sessions of this account have other database roles.",
        "End those sessions first, or ask for the same `dbRoles`.";
    DB_ROLE_NOT_FOUND = "DbRoleNotFound":
        "The database lacks a role that policy grants.",
        "Create the role in the database, or set `missingDbRoles: Create` in the DatabaseAdmin.";
    DB_ROLE_NOT_GRANTABLE = "DbRoleNotGrantable":
        "Policy grants a database role that may not be granted on this server.",
        "Add the role to the DatabaseAdmin's `grantableDbRoles`, or remove it from the ProvisioningRole.";
    DB_ROLE_INVALID = "DbRoleInvalid":
        "A database role is not written as the server needs it (MongoDB: `role@database`).",
        "Fix the entry in the ProvisioningRole's `dbRoles`.";
    ACCOUNT_IN_USE = "AccountInUse":
        "The account has connections or a login that belong to no session of this DatabaseAdmin.",
        "Wait until nobody uses the account; if its DatabaseAdmin is gone, run the statement in the message.";
    LEFTOVER_MEMBERSHIP = "LeftoverMembership":
        "The account has a membership, an attribute or a prepared transaction that the admin user cannot remove.",
        "Run the statement in the message as the role that it names.";
    USER_SUSPENDED = "UserSuspended":
        "The DatabaseUser is suspended.",
        "Set `suspend: false` in the DatabaseUser.";
    DATABASE_SUSPENDED = "DatabaseSuspended":
        "The DatabaseAdmin is suspended: nothing on the server is touched, and ending access waits too.",
        "Set `suspend: false` in the DatabaseAdmin.";
    UNINSTALLED = "Uninstalled":
        "The operator is being uninstalled, or was: every access ended, and no session starts.",
        "Install it again: standing sessions start by themselves. If it was not meant to go, roll the release back.";
    USERNAME_TAKEN = "UsernameTaken":
        "An older DatabaseUser of the namespace has the same database user name.",
        "Delete one of the two, or recreate this one with another `username`.";
    SECRET_CONFLICT = "SecretConflict":
        "A Secret of the session's name exists that this session does not control; it is never overwritten.",
        "Delete or rename that Secret, or give the session another name.";
    API_REFUSED = "ApiRefused":
        "The API server refused a write that the session needs, for example of its Secret.",
        "The message contains its answer: raise the quota, or fix the admission policy or the operator's rights.";
    DATABASE_NAME_REQUIRED = "DatabaseNameRequired":
        "A session on postgres or redshift needs a logical database; on mongodb object permissions do.",
        "Recreate the session with `databaseName`.";
    TTL_TOO_LONG = "TtlTooLong":
        "The session asks for a longer `ttl` than the `maxSessionTtl` of the user's roles.",
        "Recreate the session with a shorter `ttl`.";
    START_DEADLINE_EXCEEDED = "StartDeadlineExceeded":
        "The session's `startDeadline` passed before the operator processed it, or before its server answered.",
        "Check that the operator runs and that the server answers in time; recreate the session.";
    DATABASE_NAME_NOT_FOUND = "DatabaseNameNotFound":
        "The server has no logical database of that name, or it accepts no connections.",
        "Recreate the session with another `databaseName`, or create the logical database.";
    INVALID_USERNAME = "InvalidUsername":
        "The database user name cannot be used: over 63 bytes, reserved by the server, the admin user or the marker; on Redshift also over 45 bytes, with other characters than letters, digits and `_ + . @ -`, a reserved word, or the name of a role.",
        "Recreate the DatabaseUser with another `username`.";
    CREDENTIALS_MISMATCH = "CredentialsMismatch":
        "The session has a certificate request, but the DatabaseAdmin does not issue certificates.",
        "Set `userCredentials.x509` in the DatabaseAdmin, or create the session without `certificateRequest`.";
    CERTIFICATE_REQUEST_INVALID = "CertificateRequestInvalid":
        "The certificate request cannot be read, its signature is wrong, or its key is too weak.",
        "Recreate the session with a request made by `openssl req -new`, base64 encoded on one line.";
    IMPORT_RULE_INVALID = "ImportRuleInvalid":
        "A DbObjectImportRule that may apply to this database is not valid: object permissions are withheld.",
        "Fix what the rule's condition Valid reports.";

    AWAITING_APPROVAL = "AwaitingApproval":
        "The session waits until other people have approved exactly what it asks for (`status.request`).",
        "Somebody else with the verb `approve` on the role runs `kubectl rolecall approve NAME`, or `deny`. The message says how many are needed, and until when.";
    APPROVED = "Approved":
        "Enough people have approved what the session asks for.",
        "Nothing.";
    APPROVAL_DENIED = "ApprovalDenied":
        "Somebody who may decide has denied the session. That is final.",
        "The message says who, and why. Create another session if it is still needed.";
    APPROVAL_EXPIRED = "ApprovalExpired":
        "Nobody decided about the session in time, or too few did. That is final.",
        "Create another session, and tell those who may approve it.";
    APPROVALS_NOT_ENFORCED = "ApprovalsNotEnforced":
        "A role asks for approval, and the operator was not told that the admission policies are in force: anybody could write a decision in the name of others.",
        "Install the chart with `admission.enabled` and with `Deny` among `admission.validationActions`; without the chart, apply `deploy/admission` and start the operator with `--admission-enforced`.";
    REQUESTER_UNKNOWN = "RequesterUnknown":
        "A role asks for approval, and the session does not say who asks for it, so that nobody could be kept from approving their own.",
        "Recreate the session with `spec.requestedBy`, or with `kubectl rolecall connect`. An API server from Kubernetes 1.36 on writes it itself.";
    QUOTA_EXCEEDED = "QuotaExceeded":
        "The DatabaseUser has as many sessions that are not over as `options.maxSessions` of one of its roles allows.",
        "End a session that is not needed any more (`kubectl rolecall sessions --user U`, `kubectl rolecall end NAME`), then create this one again.";

    DELETED = "Deleted":
        "The session ended because the object was deleted.",
        "Nothing.";
    EXPIRED = "Expired":
        "The session ended because its ttl ran out.",
        "Create a new session.";
    ACCESS_REVOKED = "AccessRevoked":
        "The session ended because policy no longer allows it.",
        "`kubectl rolecall explain --user U --database D` shows what decided.";
    DATABASE_REMOVED = "DatabaseRemoved":
        "The session ended because the DatabaseAdmin was deleted.",
        "Create the DatabaseAdmin again, then a new session.";
    ACCOUNT_KEPT = "AccountKept":
        "An account that should have been dropped is disabled instead, because something depends on it.",
        "The message says what: reassign or drop it, then drop the user.";
    OBJECTS_REASSIGNED = "ObjectsReassigned":
        "What an account owned was given to the role in `options.ownedObjects`, and the account was to be dropped.",
        "Nothing; the message says what it was, and where.";
    ORPHAN_ENDED = "OrphanEnded":
        "An account of this DatabaseAdmin could be used although it has no session, and its access was ended: the server lost the end (failover, restore), the DatabaseAdmin was recreated, or somebody enabled the login or removed the session by force.",
        "Check for an event AccessReturned: after a failover, the README explains what an asynchronous standby means. Nothing else needs to be done.";
    ORPHANED = "Orphaned":
        "Accounts can be used although they have no session, and are only reported: because of `orphans: Report`, or because their owner is unknown.",
        "Run the statement in the message for each, or set `orphans: Disable`; if another DatabaseAdmin uses the account, do nothing.";
    ACCESS_RETURNED = "AccessReturned":
        "An access that had ended came back: the server lost the end (failover to a standby that lagged, restore), or somebody let the account log in again.",
        "The message says whether it was ended again. Check the server's logs for what was done meanwhile; the README explains what an asynchronous standby means.";
    FAILOVER = "Failover":
        "Another server was promoted, or this one was reset: changes that it had confirmed may be lost. Every account was checked.",
        "Nothing. Access that came back is reported as AccessReturned.";
    BLUE_GREEN_HOST = "BlueGreenHost":
        "The host in `uri` or `auth.awsIam.endpoint` is one side of a blue/green deployment of RDS, which gets another name at the switchover.",
        "Write the name that stays, without `-green-...` or `-old...`.";
    PASSWORD_RESTORED = "PasswordRestored":
        "The server lost the password of a live session, or may have: it was stored again, or a new one is in the session's Secret.",
        "Nothing, unless the message says that a new password is in the Secret: then read it again.";
    ACCOUNT_CHANGED = "AccountChanged":
        "Somebody changed the account of a live session on its server: a role, its login, an attribute, a setting, a limit, its record, rights of its own. The message says what it was, and whether it was taken back.",
        "Find out who did it in the server's logs. What the message says could not be taken back has to be removed by whoever may.";
    ABANDONED = "Abandoned":
        "The DatabaseAdmin was deleted and its server did not answer until the teardown deadline.",
        "Disable the accounts named in the event on the server by hand.";

    DATABASE_UNREACHABLE = "DatabaseUnreachable":
        "The server cannot be reached, or does not let the admin user in.",
        "The message contains the server's answer: check `uri`, `tls`, `auth` and the network in between.";
    CONNECTIONS_BUSY = "ConnectionsBusy":
        "Every connection that the operator may have to the server was in use for so long that it gave up waiting.",
        "Find out on the server what its connections wait for, or raise `--max-connections-per-server`. The operator retries.";
    RECONCILE_TIMED_OUT = "ReconcileTimedOut":
        "The operator gave up on the object because what it needs took too long.",
        "Wait: the operator retries. If it lasts, the operator's log and the DatabaseAdmin show what is slow.";
    INTERNAL_ERROR = "InternalError":
        "The operator failed on the object: a bug.",
        "The operator retries. If it lasts, report what the operator's log says.";
    TLS_FAILED = "TlsFailed":
        "The server's certificate is not trusted, or the two sides have no TLS version or cipher in common.",
        "Check `tls.caSecretRef`, `tls.serverName` and the server's certificate.";
    LOGIN_FAILED = "LoginFailed":
        "The server refuses the admin user's login.",
        "Check the Secret under `auth`, the admin user's name, and the server's rules (`pg_hba.conf`; on MongoDB the user in `$external`).";
    CLIENT_CA_NOT_TRUSTED = "ClientCaNotTrusted":
        "The server does not accept client certificates of the CA under `userCredentials.x509`: nobody could log in, so no session starts.",
        "The message says which CA, and how to make the server trust it (`ssl_ca_file`; on MongoDB `net.tls.CAFile`). A CA that was renewed with a new key is a new CA.";
    SERVER_REFUSED = "ServerRefused":
        "The server, or a rule of an extension (credcheck, passwordcheck), refused a statement, or still runs a command of an account whose access is ending.",
        "The message contains the server's code and answer, the rule if it can be identified, and what to do.";
    WAITING_FOR_STANDBY = "WaitingForStandby":
        "The login is disabled and its connections are terminated, but no synchronous standby has confirmed it: a failover to one that lacks the change would let the user in again.",
        "Bring the standby back, or remove it from `synchronous_standby_names` and reload. Then the session ends by itself.";
    AUDIT_LOG_UNAVAILABLE = "AuditLogUnavailable":
        "The operator cannot write its audit log: no access is given without its line. Accesses end all the same.",
        "Make room on the volume of the audit log, or see why what reads it does not; the message says what the system answers.";
    NOT_VERIFIED = "NotVerified":
        "After a change, the server does not show the desired state.",
        "Wait: the operator retries. If it lasts, the message says what differs.";
    SECRET_NOT_FOUND = "SecretNotFound":
        "A Secret of the DatabaseAdmin, or a key in it, is missing.",
        "Create the Secret with the key named in the message.";
    SECRET_INVALID = "SecretInvalid":
        "A Secret of the DatabaseAdmin contains something unusable, for example no PEM.",
        "Correct the key named in the message.";
    LIVE_ACCOUNTS = "LiveAccounts":
        "`uri` or `adminUser.name` changed while accounts are still enabled on the previous server.",
        "End the sessions, or change the field back.";
    TEARING_DOWN = "TearingDown":
        "The DatabaseAdmin is being deleted and its accounts are torn down.",
        "Wait until the teardown deadline; then the sessions end as Abandoned.";
    UNSUPPORTED = "Unsupported":
        "This server, protocol or option is not supported.",
        "The message says which one; use a supported one.";
    INVALID = "Invalid":
        "A template, a pattern or an expression of the object cannot be read.",
        "Fix what the message reports.";

    MISSING_ADMIN_USER = "MissingAdminUser":
        "The DatabaseAdmin names no admin user.",
        "Set `adminUser.name` or the label `teleport.dev/db-admin` on the DatabaseAdmin.";
    MISSING_CREATE_ROLE = "MissingCreateRole":
        "The admin user may not create users, or on RDS not set passwords.",
        "Run the statement in the message (`ALTER ROLE ... CREATEROLE`, `GRANT rds_password`).";
    MISSING_ADMIN_OPTION = "MissingAdminOption":
        "The admin user may not grant a database role (PostgreSQL 16 and later).",
        "Run the statements in the message (`GRANT ... TO ... WITH ADMIN OPTION`).";
    MISSING_CONNECT = "MissingConnect":
        "The user could not connect to the logical database.",
        "Run the statement in the message (`GRANT CONNECT ON DATABASE ...`).";
    MISSING_OBJECT_PRIVILEGES = "MissingObjectPrivileges":
        "The admin user may not grant the privileges on objects that policy grants.",
        "Run the statements in the message, or remove the permissions from the ProvisioningRole.";
    CANNOT_REASSIGN = "CannotReassign":
        "The role in `options.ownedObjects` does not exist, must not get what users own, or the admin user is no member of it. Sessions start and end nevertheless; a user that owns something is disabled, not dropped.",
        "Run the statement in the message (`GRANT ... TO ...`), or name another role.";
    MISSING_RDS_IAM = "MissingRdsIam":
        "The server lacks the role `rds_iam`, or the admin user may not grant it.",
        "Turn on IAM database authentication, and run the statement in the message.";
    MISSING_SYSTEM_ACCESS = "MissingSystemAccess":
        "The admin user does not see other users or their sessions (Redshift), so that no end of an access could be proven.",
        "Run the statement in the message (`ALTER USER ... SYSLOG ACCESS UNRESTRICTED`, else CREATEUSER).";
    READ_ONLY_ENDPOINT = "ReadOnlyEndpoint":
        "The server is read-only: a replica, or the reader endpoint of an Aurora cluster.",
        "Use the writer's address in `uri`.";
    POOLER_IN_BETWEEN = "PoolerInBetween":
        "There is a connection pooler between the operator and the server: the admin user's sessions lose their settings, so nothing is started.",
        "Set `uri` to the server itself, not the pooler (README, poolers).";
    MISSING_MONGO_PRIVILEGES = "MissingMongoPrivileges":
        "The admin user lacks privileges on MongoDB.",
        "Run the command in the message.";
    ACCESS_LIST_NEARLY_FULL = "AccessListNearlyFull":
        "A warning: objects have so many grants to single users that the server will soon refuse any more.",
        "Grant to roles instead of users, and revoke the grants to users that are not needed.";
    PUBLIC_CONNECT = "PublicConnect":
        "A warning: PUBLIC may connect to logical databases that policy does not name, so users can too.",
        "Run the statements in the message (`REVOKE CONNECT ON DATABASE ... FROM PUBLIC`).";
}
