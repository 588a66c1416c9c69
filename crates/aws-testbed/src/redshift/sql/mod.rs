//! The statements that the simulator knows. Everything else is 42601, as `SET ROLE` is on the server.

mod access;
mod lexer;
mod parser;
mod query;
#[cfg(test)]
mod tests;
mod user;

pub(crate) use parser::parse;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Begin,
    Commit,
    Rollback,
    Set {
        name: String,
        value: Vec<String>,
    },
    Show(String),
    Lock {
        schema: Option<String>,
        table: String,
    },
    CreateUser {
        name: String,
        options: Vec<UserOption>,
    },
    AlterUser {
        name: String,
        options: Vec<UserOption>,
    },
    DropUser {
        names: Vec<String>,
        if_exists: bool,
    },
    CreateRole {
        name: String,
    },
    AlterRoleOwner {
        name: String,
        owner: String,
    },
    DropRole {
        name: String,
        force: bool,
    },
    GrantRole {
        roles: Vec<String>,
        to: Vec<Grantee>,
        admin_option: bool,
    },
    RevokeRole {
        roles: Vec<String>,
        from: Vec<Grantee>,
        admin_option_only: bool,
    },
    GrantSystem {
        privileges: Vec<String>,
        to: Vec<Grantee>,
    },
    RevokeSystem {
        privileges: Vec<String>,
        from: Vec<Grantee>,
    },
    Grant {
        privileges: Privileges,
        on: Target,
        to: Vec<Grantee>,
        grant_option: bool,
    },
    Revoke {
        privileges: Privileges,
        on: Target,
        from: Vec<Grantee>,
        grant_option_only: bool,
    },
    /// ALTER TABLE or ALTER SCHEMA ... OWNER TO.
    SetOwner {
        of: Target,
        owner: String,
    },
    Select(Select),
}

impl Statement {
    /// Under what it is counted: the command, and for reads what they read.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Begin => "begin".to_owned(),
            Self::Commit => "commit".to_owned(),
            Self::Rollback => "rollback".to_owned(),
            Self::Set { .. } => "set".to_owned(),
            Self::Show(_) => "show".to_owned(),
            Self::Lock { .. } => "lock table".to_owned(),
            Self::CreateUser { .. } => "create user".to_owned(),
            Self::AlterUser { .. } => "alter user".to_owned(),
            Self::DropUser { .. } => "drop user".to_owned(),
            Self::CreateRole { .. } => "create role".to_owned(),
            Self::AlterRoleOwner { .. } => "alter role".to_owned(),
            Self::DropRole { .. } => "drop role".to_owned(),
            Self::GrantRole { .. } => "grant role".to_owned(),
            Self::RevokeRole { .. } => "revoke role".to_owned(),
            Self::GrantSystem { .. } | Self::Grant { .. } => "grant".to_owned(),
            Self::RevokeSystem { .. } | Self::Revoke { .. } => "revoke".to_owned(),
            Self::SetOwner { of: Target::Schemas(_), .. } => "alter schema".to_owned(),
            Self::SetOwner { .. } => "alter table".to_owned(),
            Self::Select(select) => match select.from.first() {
                Some(from) => format!("select {}", from.name),
                None => "select".to_owned(),
            },
        }
    }

    /// What the server says when it is done.
    pub(crate) fn tag(&self, rows: usize) -> String {
        match self {
            Self::Begin => "BEGIN".to_owned(),
            Self::Commit => "COMMIT".to_owned(),
            Self::Rollback => "ROLLBACK".to_owned(),
            Self::Select(_) => format!("SELECT {rows}"),
            Self::GrantRole { .. } | Self::GrantSystem { .. } | Self::Grant { .. } => "GRANT".to_owned(),
            Self::RevokeRole { .. } | Self::RevokeSystem { .. } | Self::Revoke { .. } => "REVOKE".to_owned(),
            other => other.kind().to_uppercase(),
        }
    }
}

/// An option of CREATE USER or ALTER USER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserOption {
    Password(Option<String>),
    ValidUntil(String),
    CreateDb(bool),
    /// The superuser attribute.
    CreateUser(bool),
    /// Whether SYSLOG ACCESS is UNRESTRICTED.
    Syslog(bool),
    /// None is UNLIMITED.
    ConnectionLimit(Option<u32>),
    /// None is RESET.
    SessionTimeout(Option<u32>),
    ExternalId(String),
    /// A parameter's value, or its RESET.
    Config(String, Option<String>),
    /// LOGIN or NOLOGIN.
    Login(bool),
}

/// Who gets or loses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grantee {
    User(String),
    Role(String),
    Public,
}

/// What is granted on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Privileges {
    All,
    Some(Vec<String>),
}

/// A name with its schema.
pub(crate) type Qualified = (Option<String>, String);

/// On what it is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Tables(Vec<Qualified>),
    AllTables(Vec<String>),
    Schemas(Vec<String>),
    /// All tables of the schemas, now and later.
    TablesForSchemas(Vec<String>),
    /// Functions or procedures with the types of their arguments.
    Functions {
        procedures: bool,
        names: Vec<(Qualified, Vec<String>)>,
    },
    Databases(Vec<String>),
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Select {
    /// None is `*`.
    pub(crate) columns: Option<Vec<(Expression, Option<String>)>>,
    pub(crate) from: Vec<From>,
    pub(crate) filter: Option<Expression>,
    /// And whether it descends.
    pub(crate) order: Vec<(Expression, bool)>,
    pub(crate) limit: Option<usize>,
}

/// A table of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct From {
    pub(crate) name: String,
    pub(crate) alias: String,
}

/// A value or a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Column(Option<String>, String),
    Text(String),
    Number(i64),
    Bool(bool),
    Null,
    Call(String, Vec<Expression>),
    /// `count(*)`.
    CountAll,
    Compare(Box<Expression>, Comparison, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    IsNull(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
