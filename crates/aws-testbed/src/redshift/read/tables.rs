//! The tables and views that there are.

use super::{Reader, Row, objects, privileges, sessions, users};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Int,
    BigInt,
    Oid,
    Text,
    Name,
    /// Padded to this width.
    Char(usize),
    Timestamp,
    Abstime,
    TextArray,
}

/// A table or a view.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Type)],
    pub(super) rows: fn(&Reader<'_>) -> Vec<Row>,
    pub(super) superusers_only: bool,
}

impl Table {
    /// Catalogs are on the leader, the rest comes from compute nodes.
    pub(super) fn is_of_leader(&self) -> bool {
        self.name.starts_with("pg_")
    }
}

const fn table(
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    rows: fn(&Reader<'_>) -> Vec<Row>,
) -> Table {
    Table { name, columns, rows, superusers_only: false }
}

const fn closed(
    name: &'static str,
    columns: &'static [(&'static str, Type)],
    rows: fn(&Reader<'_>) -> Vec<Row>,
) -> Table {
    Table { name, columns, rows, superusers_only: true }
}

pub(super) fn find(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

const TEXT: Type = Type::Text;
const INT: Type = Type::Int;
const BOOL: Type = Type::Bool;

static TABLES: &[Table] = &[
    table(
        "pg_user",
        &[
            ("usename", Type::Name),
            ("usesysid", INT),
            ("usecreatedb", BOOL),
            ("usesuper", BOOL),
            ("usecatupd", BOOL),
            ("passwd", TEXT),
            ("valuntil", Type::Abstime),
            ("useconfig", Type::TextArray),
        ],
        users::pg_user,
    ),
    closed(
        "pg_user_info",
        &[
            ("usename", Type::Name),
            ("usesysid", INT),
            ("usecreatedb", BOOL),
            ("usesuper", BOOL),
            ("usecatupd", BOOL),
            ("passwd", TEXT),
            ("valuntil", Type::Abstime),
            ("useconfig", Type::TextArray),
            ("useconnlimit", TEXT),
        ],
        users::pg_user_info,
    ),
    closed(
        "svl_user_info",
        &[
            ("usename", TEXT),
            ("usesysid", INT),
            ("usecreatedb", BOOL),
            ("usesuper", BOOL),
            ("usecatupd", BOOL),
            ("useconnlimit", TEXT),
            ("syslogaccess", TEXT),
            ("sessiontimeout", INT),
            ("external_id", TEXT),
        ],
        users::svl_user_info,
    ),
    table(
        "svv_user_info",
        &[
            ("user_name", TEXT),
            ("user_id", INT),
            ("createdb", BOOL),
            ("superuser", BOOL),
            ("catalog_update", BOOL),
            ("connection_limit", TEXT),
            ("syslog_access", TEXT),
            ("last_ddl_ts", Type::Timestamp),
            ("session_timeout", INT),
            ("external_user_id", TEXT),
        ],
        users::svv_user_info,
    ),
    table(
        "svv_user_grants",
        &[
            ("user_id", INT),
            ("user_name", TEXT),
            ("role_id", INT),
            ("role_name", TEXT),
            ("admin_option", BOOL),
        ],
        users::svv_user_grants,
    ),
    table(
        "svv_roles",
        &[("role_id", INT), ("role_name", TEXT), ("role_owner", TEXT), ("external_id", TEXT)],
        users::svv_roles,
    ),
    table(
        "svv_role_grants",
        &[("role_id", INT), ("role_name", TEXT), ("granted_role_id", INT), ("granted_role_name", TEXT)],
        users::svv_role_grants,
    ),
    table(
        "svv_system_privileges",
        &[("system_privilege", TEXT), ("identity_id", INT), ("identity_name", TEXT), ("identity_type", TEXT)],
        users::svv_system_privileges,
    ),
    table("pg_group", &[("groname", Type::Name), ("grosysid", INT), ("grolist", TEXT)], |_| Vec::new()),
    table(
        "stv_sessions",
        &[
            ("starttime", Type::Timestamp),
            ("process", INT),
            ("user_name", Type::Char(50)),
            ("db_name", Type::Char(50)),
            ("timeout_sec", INT),
        ],
        sessions::stv_sessions,
    ),
    table(
        "pg_stat_activity",
        &[
            ("datid", Type::Oid),
            ("datname", Type::Name),
            ("procpid", INT),
            ("usesysid", INT),
            ("usename", Type::Name),
            ("current_query", TEXT),
            ("query_start", Type::Timestamp),
        ],
        sessions::pg_stat_activity,
    ),
    table(
        "svv_transactions",
        &[("txn_owner", TEXT), ("txn_db", TEXT), ("xid", Type::BigInt), ("pid", INT)],
        |_| Vec::new(),
    ),
    table(
        "svv_redshift_databases",
        &[
            ("database_name", TEXT),
            ("database_owner", INT),
            ("database_type", TEXT),
            ("database_acl", TEXT),
            ("database_options", TEXT),
        ],
        objects::svv_redshift_databases,
    ),
    table(
        "svv_redshift_tables",
        &[
            ("database_name", TEXT),
            ("schema_name", TEXT),
            ("table_name", TEXT),
            ("table_type", TEXT),
            ("table_acl", TEXT),
            ("remarks", TEXT),
            ("table_owner", TEXT),
        ],
        objects::svv_redshift_tables,
    ),
    table(
        "svv_redshift_functions",
        &[
            ("database_name", TEXT),
            ("schema_name", TEXT),
            ("function_name", TEXT),
            ("function_type", TEXT),
            ("argument_type", TEXT),
            ("result_type", TEXT),
        ],
        objects::svv_redshift_functions,
    ),
    table(
        "svv_redshift_schemas",
        &[("database_name", TEXT), ("schema_name", TEXT), ("schema_owner", INT), ("schema_type", TEXT)],
        objects::svv_redshift_schemas,
    ),
    table(
        "svv_mv_info",
        &[
            ("database_name", Type::Char(128)),
            ("schema_name", Type::Char(128)),
            ("user_name", Type::Char(128)),
            ("name", Type::Char(128)),
            ("is_stale", Type::Char(1)),
            ("state", INT),
        ],
        objects::svv_mv_info,
    ),
    table(
        "pg_namespace",
        &[("oid", Type::Oid), ("nspname", Type::Name), ("nspowner", INT), ("nspacl", TEXT)],
        objects::pg_namespace,
    ),
    table(
        "pg_class",
        &[
            ("oid", Type::Oid),
            ("relname", Type::Name),
            ("relnamespace", Type::Oid),
            ("relowner", INT),
            ("relkind", Type::Char(1)),
        ],
        objects::pg_class,
    ),
    table(
        "pg_proc",
        &[("oid", Type::Oid), ("proname", Type::Name), ("pronamespace", Type::Oid), ("proowner", INT)],
        objects::pg_proc,
    ),
    table(
        "pg_database",
        &[("oid", Type::Oid), ("datname", Type::Name), ("datdba", INT), ("datallowconn", BOOL)],
        objects::pg_database,
    ),
    table(
        "svv_relation_privileges",
        &[
            ("namespace_name", TEXT),
            ("relation_name", TEXT),
            ("privilege_type", TEXT),
            ("identity_id", INT),
            ("identity_name", TEXT),
            ("identity_type", TEXT),
            ("admin_option", BOOL),
        ],
        privileges::relations,
    ),
    table(
        "svv_schema_privileges",
        &[
            ("namespace_name", TEXT),
            ("privilege_type", TEXT),
            ("identity_id", INT),
            ("identity_name", TEXT),
            ("identity_type", TEXT),
            ("admin_option", BOOL),
            ("privilege_scope", TEXT),
        ],
        privileges::schemas,
    ),
    table(
        "svv_function_privileges",
        &[
            ("namespace_name", TEXT),
            ("function_name", TEXT),
            ("argument_types", TEXT),
            ("privilege_type", TEXT),
            ("identity_id", INT),
            ("identity_name", TEXT),
            ("identity_type", TEXT),
            ("admin_option", BOOL),
        ],
        privileges::functions,
    ),
    table(
        "svv_database_privileges",
        &[
            ("database_name", TEXT),
            ("privilege_type", TEXT),
            ("identity_id", INT),
            ("identity_name", TEXT),
            ("identity_type", TEXT),
            ("admin_option", BOOL),
            ("privilege_scope", TEXT),
        ],
        privileges::databases,
    ),
    table(
        "svv_default_privileges",
        &[
            ("schema_name", TEXT),
            ("object_type", TEXT),
            ("owner_id", INT),
            ("owner_name", TEXT),
            ("owner_type", TEXT),
            ("privilege_type", TEXT),
            ("grantee_id", INT),
            ("grantee_name", TEXT),
            ("grantee_type", TEXT),
            ("admin_option", BOOL),
        ],
        privileges::defaults,
    ),
    closed(
        "svv_iam_privileges",
        &[
            ("iam_arn", TEXT),
            ("command_type", TEXT),
            ("identity_id", INT),
            ("identity_name", TEXT),
            ("identity_type", TEXT),
        ],
        privileges::assume_role,
    ),
];
