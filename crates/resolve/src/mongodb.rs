//! A DatabaseAdmin as the engine for MongoDB sees it, without the contents of its Secrets.

use rolecall_api::DatabaseAdmin;
pub use rolecall_mongodb::Address as MongodbAddress;
use rolecall_mongodb::{Address, ClientCertificate, Config};

use crate::admin::tls;
use crate::{Blocked, admin_user};

/// How to reach the server of a DatabaseAdmin with protocol mongodb. `ca_pem`: the content of `spec.tls.caSecretRef`,
/// where it is set.
///
/// # Errors
///
/// A server on which users cannot be provisioned, an address that cannot be read, no admin user.
pub fn mongodb_config(
    admin: &DatabaseAdmin,
    certificate: ClientCertificate,
    ca_pem: Option<String>,
) -> Result<Config, Blocked> {
    let address = Address::parse(&admin.spec.uri)
        .map_err(|error| Blocked::new(error.reason.as_str(), error.to_string()))?;
    let name = admin_user(admin).name.ok_or_else(Blocked::no_admin_user)?;
    let mut config = Config::new(address, name, certificate);
    config.tls = tls(admin, ca_pem);
    Ok(config)
}
