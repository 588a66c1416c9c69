//! A DatabaseAdmin as the engine for PostgreSQL sees it, without the contents of its Secrets.

use rolecall_api::{DatabaseAdmin, reasons};
pub use rolecall_postgres::parse_address as parse_postgres_address;
use rolecall_postgres::{Auth, Config, Platform, parse_address};

use crate::admin::tls;
use crate::{Blocked, admin_user};

/// How to reach the server of a DatabaseAdmin with protocol postgres. `ca_pem`: the content of `spec.tls.caSecretRef`,
/// where it is set.
///
/// # Errors
///
/// A server on which users cannot be provisioned, an address that cannot be read, no admin user.
pub fn postgres_config(admin: &DatabaseAdmin, auth: Auth, ca_pem: Option<String>) -> Result<Config, Blocked> {
    let platform = postgres_platform(admin).map_err(|why| Blocked::new(reasons::UNSUPPORTED, why))?;
    let (host, port) = parse_address(&admin.spec.uri)
        .map_err(|error| Blocked::new(reasons::DATABASE_UNREACHABLE, error.to_string()))?;
    let user = admin_user(admin);
    let name = user.name.ok_or_else(Blocked::no_admin_user)?;
    let mut config = Config::new(host, port, name, auth);
    config.default_database = user.default_database;
    config.platform = platform;
    config.tls = tls(admin, ca_pem);
    Ok(config)
}

/// The platform of a PostgreSQL server: as written, else from the host name.
///
/// # Errors
///
/// Why users cannot be provisioned there, or why the address cannot be read.
pub fn postgres_platform(admin: &DatabaseAdmin) -> Result<Platform, String> {
    let (host, _) = parse_address(&admin.spec.uri).map_err(|error| error.to_string())?;
    let derived = Platform::of_host(&host).map_err(|refusal| refusal.message)?;
    match admin.spec.platform {
        None => Ok(derived),
        Some(rolecall_api::Platform::SelfHosted) => Ok(Platform::SelfHosted),
        Some(rolecall_api::Platform::Rds) => Ok(Platform::Rds),
        Some(rolecall_api::Platform::Redshift) => Err("platform Redshift needs protocol redshift".to_owned()),
    }
}
