//! Whether a DatabaseUser can have its name in databases.

use rolecall_api::{DatabaseAdmin, DatabaseUser, Protocol, reasons};
use rolecall_engine::{AccountName, Dialect};

use crate::{Blocked, admin_user, database_username};

/// Who owns a database user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The user asked about.
    Own,
    /// An older user.
    Taken(Blocked),
    /// Several users have the name, and the objects do not show which one is the oldest, as in manifests.
    Unclear(String),
}

/// Why this name cannot be a user's on the server: it is its admin user's, or none that such a server takes.
/// [`AccountName`] checks what applies to every server.
pub fn username_fault(username: &str, admin: &DatabaseAdmin) -> Option<Blocked> {
    let fault = if admin_user(admin).name.as_deref() == Some(username) {
        "is the admin user of the DatabaseAdmin".to_owned()
    } else {
        let dialect = match admin.spec.protocol {
            Protocol::Postgres => Dialect::PostgreSql,
            Protocol::Redshift => Dialect::Redshift,
            Protocol::Mongodb => Dialect::MongoDb,
        };
        let why = dialect.user_fault(&AccountName::new(username).ok()?)?;
        format!("cannot be a database user: {why}")
    };
    let message = format!("{username:?} {fault}; set another spec.username in the DatabaseUser");
    Some(Blocked::permanent(reasons::INVALID_USERNAME, message))
}

/// Of several users of a namespace with one database user name the oldest owns it.
pub fn username_holder(user: &DatabaseUser, users: &[DatabaseUser], this_cluster: &str) -> Claim {
    let username = database_username(user, this_cluster);
    let age =
        |user: &DatabaseUser| Some((user.metadata.creation_timestamp.clone()?, user.metadata.uid.clone()?));
    let name = |user: &DatabaseUser| user.metadata.name.clone().unwrap_or_default();
    let mut others = users
        .iter()
        .filter(|other| name(other) != name(user) && database_username(other, this_cluster) == username)
        .peekable();
    if others.peek().is_none() {
        return Claim::Own;
    }
    let Some(own) = age(user) else {
        let others: Vec<String> = others.map(name).collect();
        return Claim::Unclear(format!(
            "the DatabaseUsers {} and {} have the same database user name {username:?}; the oldest in the cluster owns it",
            name(user),
            others.join(", ")
        ));
    };
    let older = others.filter_map(|other| age(other).map(|age| (age, other))).filter(|(age, _)| *age < own);
    match older.min_by(|(a, _), (b, _)| a.cmp(b)) {
        None => Claim::Own,
        Some((_, holder)) => Claim::Taken(username_taken(&username, &name(holder))),
    }
}

/// An older DatabaseUser owns the name.
pub fn username_taken(username: &str, holder: &str) -> Blocked {
    Blocked::new(
        reasons::USERNAME_TAKEN,
        format!(
            "the older DatabaseUser {holder:?} has the database user name {username:?} too; recreate this one with \
             another spec.username"
        ),
    )
}
