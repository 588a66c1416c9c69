//! Everything that is read: one view in each statement.
//!
//! Lists of the whole cluster (STV, SVV) are made on other nodes than the PG_ catalogues and many functions, and a
//! statement that mixes them fails: what belongs together is joined here.

use super::Statement;
use crate::quote::{literal, literals};

/// Users as everybody sees them: name, number, superuser, end of the password, settings. `names`: of these only.
pub(crate) fn users(names: Option<&[&str]>) -> Statement {
    let sql = "SELECT usename, usesysid, usesuper, valuntil, useconfig FROM pg_user";
    Statement::new("reading users", limited(sql, "usename", names))
}

/// What decides whether users can log in.
pub(crate) fn user_info(names: Option<&[&str]>) -> Statement {
    let sql = "SELECT user_name, createdb, superuser, connection_limit, syslog_access, session_timeout FROM svv_user_info";
    Statement::new("reading the states of users", limited(sql, "user_name", names))
}

/// Which users have which roles.
pub(crate) fn user_grants(names: Option<&[&str]>) -> Statement {
    let sql = "SELECT user_name, role_name, admin_option FROM svv_user_grants";
    Statement::new("reading memberships", limited(sql, "user_name", names))
}

/// The roles.
pub(crate) fn roles() -> Statement {
    Statement::new("reading roles", "SELECT role_name, role_owner FROM svv_roles")
}

/// Which roles have which roles.
pub(crate) fn role_grants() -> Statement {
    Statement::new("reading nested roles", "SELECT role_name, granted_role_name FROM svv_role_grants")
}

/// Which roles may do what to the system.
pub(crate) fn system_privileges() -> Statement {
    Statement::new(
        "reading system privileges",
        "SELECT system_privilege, identity_name FROM svv_system_privileges WHERE identity_type = 'role'",
    )
}

/// The sessions of the cluster.
pub(crate) fn sessions() -> Statement {
    Statement::new("reading sessions", "SELECT process, user_name, db_name FROM stv_sessions")
}

/// The cluster's clock, in UTC.
pub(crate) fn clock() -> Statement {
    Statement::new("reading the clock", "SELECT getdate()")
}

/// The process of the connection itself.
pub(crate) fn own_process() -> Statement {
    Statement::new("reading the number of the process", "SELECT pg_backend_pid()")
}

/// The sessions that the user sees: its own, in any case.
pub(crate) fn own_sessions() -> Statement {
    Statement::new(
        "reading the user's sessions",
        "SELECT process, starttime, user_name, db_name FROM stv_sessions",
    )
}

/// The queries that run and that the user sees: its own, in any case.
pub(crate) fn recent_queries() -> Statement {
    Statement::new(
        "reading what the user runs",
        "SELECT pid, starttime, user_name, query FROM stv_recents WHERE status = 'Running'",
    )
}

/// The logical databases that the admin user may use, each with whether it is the cluster's own (`local`).
pub(crate) fn databases() -> Statement {
    Statement::new(
        "reading the logical databases",
        "SELECT database_name, database_type FROM svv_redshift_databases",
    )
}

/// All logical databases that anybody can connect to.
pub(crate) fn catalog_databases() -> Statement {
    Statement::new(
        "reading the catalogue of logical databases",
        "SELECT datname FROM pg_database WHERE datallowconn",
    )
}

/// The tables and views of a logical database, which the connection must be in.
pub(crate) fn tables(database: &str) -> Statement {
    Statement::new(
        format!("reading the tables of {database:?}"),
        format!(
            "SELECT schema_name, table_name, table_type FROM svv_redshift_tables WHERE database_name = {}",
            literal(database)
        ),
    )
}

/// Its materialized views.
pub(crate) fn materialized_views(database: &str) -> Statement {
    Statement::new(
        format!("reading the materialized views of {database:?}"),
        format!("SELECT schema_name, name FROM svv_mv_info WHERE database_name = {}", literal(database)),
    )
}

/// Its functions and procedures.
pub(crate) fn functions(database: &str) -> Statement {
    Statement::new(
        format!("reading the functions of {database:?}"),
        format!(
            "SELECT schema_name, function_name, function_type, argument_type FROM svv_redshift_functions WHERE database_name = {}",
            literal(database)
        ),
    )
}

/// Its schemas.
pub(crate) fn schemas(database: &str) -> Statement {
    Statement::new(format!("reading the schemas of {database:?}"), "SELECT nspname FROM pg_namespace")
}

/// Who has which privileges on the tables and views of the database that the connection is in.
pub(crate) fn relation_privileges(of: Identity<'_>) -> Statement {
    let sql =
        "SELECT namespace_name, relation_name, privilege_type, identity_name FROM svv_relation_privileges";
    Statement::new("reading privileges on tables", of.limit(sql))
}

/// The same on schemas.
pub(crate) fn schema_privileges(of: Identity<'_>) -> Statement {
    let sql = "SELECT namespace_name, privilege_type, identity_name FROM svv_schema_privileges";
    Statement::new("reading privileges on schemas", of.limit(sql))
}

/// The same on functions and procedures.
pub(crate) fn function_privileges(of: Identity<'_>) -> Statement {
    let sql = "SELECT namespace_name, function_name, argument_types, privilege_type, identity_name FROM svv_function_privileges";
    Statement::new("reading privileges on functions", of.limit(sql))
}

/// The same on logical databases.
pub(crate) fn database_privileges(of: Identity<'_>) -> Statement {
    let sql = "SELECT database_name, privilege_type, identity_name FROM svv_database_privileges";
    Statement::new("reading privileges on databases", of.limit(sql))
}

/// Privileges that somebody gets on what is created later, or gives on what it creates itself.
pub(crate) fn default_privileges(user: &str) -> Statement {
    let user = literal(user);
    Statement::new(
        "reading default privileges",
        format!(
            "SELECT schema_name, object_type, owner_name FROM svv_default_privileges WHERE (grantee_type = 'user' AND grantee_name = {user}) OR (owner_type = 'user' AND owner_name = {user})"
        ),
    )
}

/// What a user owns in the database that the connection is in: one statement for each catalogue. Tables with their kind
/// and their schema.
pub(crate) fn owned(user_id: i64) -> [Statement; 4] {
    let owned = |what: &str, name: &str, catalogue: &str, owner: &str| {
        Statement::new(
            format!("reading which {what} the user owns"),
            format!("SELECT {name} FROM {catalogue} WHERE {owner} = {user_id}"),
        )
    };
    let tables = format!(
        "SELECT c.relname, c.relkind, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relowner = {user_id}"
    );
    [
        Statement::new("reading which tables the user owns", tables),
        owned("schemas", "nspname", "pg_namespace", "nspowner"),
        owned("functions", "proname", "pg_proc", "proowner"),
        owned("databases", "datname", "pg_database", "datdba"),
    ]
}

/// Whose privileges are read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Identity<'a> {
    /// Those of these roles.
    Roles(&'a [&'a str]),
    /// Those of a user.
    User(&'a str),
    /// Those of everybody.
    Public,
}

impl Identity<'_> {
    fn limit(self, sql: &str) -> String {
        match self {
            Self::Roles(roles) => {
                format!("{sql} WHERE identity_type = 'role' AND identity_name IN ({})", literals(roles))
            }
            Self::User(user) => {
                format!("{sql} WHERE identity_type = 'user' AND identity_name = {}", literal(user))
            }
            Self::Public => format!("{sql} WHERE identity_type = 'public'"),
        }
    }
}

fn limited(sql: &str, column: &str, names: Option<&[&str]>) -> String {
    match names {
        None => sql.to_owned(),
        Some(names) => format!("{sql} WHERE {column} IN ({})", literals(names)),
    }
}
