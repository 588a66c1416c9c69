//! CREATE USER, ALTER USER and DROP USER.

use super::{Actor, need};
use crate::redshift::catalog::{Catalog, Identity, OWNER, Password, RDSDB, User};
use crate::redshift::change::Change;
use crate::redshift::error::{SqlError, SqlResult};
use crate::redshift::names;
use crate::redshift::sql::UserOption;

pub(super) fn create(
    catalog: &Catalog,
    actor: Actor<'_>,
    name: &str,
    options: &[UserOption],
    id: u32,
) -> SqlResult<Vec<Change>> {
    need(catalog, actor, "CREATE USER", "create user")?;
    names::check_user(name)?;
    if catalog.user(name).is_some() {
        return Err(SqlError::new("42710", format!("user \"{name}\" already exists")));
    }
    if catalog.role(name).is_some() {
        return Err(SqlError::new("42710", format!("role \"{name}\" already exists")));
    }
    let user = with(catalog, actor, User::new(id, name), options)?;
    Ok(vec![Change::User(user)])
}

pub(super) fn alter(
    catalog: &Catalog,
    actor: Actor<'_>,
    name: &str,
    options: &[UserOption],
) -> SqlResult<Vec<Change>> {
    let user = catalog.user(name).ok_or_else(|| SqlError::unknown("user", name))?;
    let own = user.id == actor.user
        && options.iter().all(|option| matches!(option, UserOption::Password(_) | UserOption::Config(..)));
    if !own {
        need(catalog, actor, "ALTER USER", "alter user")?;
    }
    if user.superuser && !catalog.is_superuser(actor.user) && user.id != actor.user {
        return Err(SqlError::denied("must be superuser to alter superusers"));
    }
    Ok(vec![Change::User(with(catalog, actor, user.clone(), options)?)])
}

pub(super) fn drop(
    catalog: &Catalog,
    actor: Actor<'_>,
    names: &[String],
    if_exists: bool,
) -> SqlResult<Vec<Change>> {
    let mut changes = Vec::new();
    for name in names {
        need(catalog, actor, "DROP USER", "drop user")?;
        let Some(user) = catalog.user(name) else {
            if if_exists {
                continue;
            }
            return Err(SqlError::unknown("user", name));
        };
        let in_use = |why: &str| {
            Err(SqlError::new("55006", format!("user \"{name}\" cannot be dropped because the user {why}")))
        };
        if name == RDSDB || name == OWNER || user.id == actor.user {
            return in_use("is needed");
        }
        if user.superuser && !catalog.is_superuser(actor.user) {
            return Err(SqlError::denied("must be superuser to drop superusers"));
        }
        if catalog.databases.values().any(|database| database.owner == user.id) {
            return in_use("owns a database");
        }
        if catalog.roles.values().any(|role| role.owner == user.id) {
            return in_use("owns some role");
        }
        if catalog.assume_role.iter().any(|(who, _)| *who == user.id) {
            return in_use("has a privilege on some object");
        }
        // Nothing looks into the other databases.
        if let Some(why) = catalog.dependency(Identity::User(user.id), actor.database) {
            return in_use(why);
        }
        changes.push(Change::DropUser(user.id));
    }
    Ok(changes)
}

/// A user after these options.
fn with(catalog: &Catalog, actor: Actor<'_>, mut user: User, options: &[UserOption]) -> SqlResult<User> {
    let superuser_only = |what: &str| {
        if catalog.is_superuser(actor.user) {
            return Ok(());
        }
        Err(SqlError::denied(format!("must be superuser to {what}")))
    };
    for option in options {
        match option.clone() {
            UserOption::Password(password) => {
                user.password = password.map(|text| password_of(&text)).transpose()?;
            }
            UserOption::ValidUntil(until) => user.valid_until = Some(until),
            UserOption::CreateDb(createdb) => user.createdb = createdb,
            UserOption::CreateUser(superuser) => {
                if superuser {
                    superuser_only("create superusers")?;
                }
                user.superuser = superuser;
            }
            UserOption::Syslog(unrestricted) => {
                if unrestricted {
                    superuser_only("give unrestricted syslog access")?;
                }
                user.syslog_unrestricted = unrestricted;
            }
            UserOption::ConnectionLimit(limit) => user.connection_limit = limit,
            UserOption::SessionTimeout(Some(timeout)) if !(60..=1_728_000).contains(&timeout) => {
                return Err(SqlError::new("22023", "session timeout must be between 60 and 1728000 seconds"));
            }
            UserOption::SessionTimeout(timeout) => user.session_timeout = timeout,
            UserOption::ExternalId(id) => user.external_id = Some(id),
            UserOption::Config(name, Some(value)) => drop_old(user.config.insert(name, value)),
            UserOption::Config(name, None) => drop_old(user.config.remove(&name)),
            UserOption::Login(login) => user.login = login,
        }
    }
    if user.superuser && user.password.is_none() {
        return Err(SqlError::new("0A000", "cannot disable the password of a superuser"));
    }
    Ok(user)
}

fn drop_old(_: Option<String>) {}

/// What is stored of a password as a statement has it.
fn password_of(text: &str) -> SqlResult<Password> {
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digest) = text.strip_prefix("md5").filter(|digest| is_hex(digest, 32)) {
        return Ok(Password::Md5(digest.to_lowercase()));
    }
    if let Some(rest) = text.strip_prefix("sha256|") {
        return match rest.split_once('|') {
            Some((digest, salt)) if is_hex(digest, 64) => {
                Ok(Password::Sha256 { digest: digest.to_lowercase(), salt: salt.to_owned() })
            }
            Some(_) => Err(SqlError::new("22023", "invalid sha256 digest of a password")),
            None => plain(rest),
        };
    }
    plain(text)
}

/// 8 to 64 characters with upper case, lower case and a digit, without quotes, slashes, `@` and blanks.
fn plain(text: &str) -> SqlResult<Password> {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(&is);
    let fits = (8..=64).contains(&text.len())
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\/@".contains(&byte));
    if fits { Ok(Password::Plain(text.to_owned())) } else { Err(SqlError::new("22023", "invalid password")) }
}
