//! MongoDB.

use std::hash::Hash;

use rolecall_api::{DatabaseAdmin, reasons};
use rolecall_engine::Reason;
use rolecall_mongodb::{Address, ClientCertificate, Config};

use super::secrets::Secrets;
use super::{Prepared, server_ca};
use crate::model::Blocker;
use crate::service_binding::{self, Binding};

/// See [`super::unsupported`].
pub(super) fn unsupported(admin: &DatabaseAdmin) -> Option<String> {
    if admin.spec.auth.password.is_some() || admin.spec.auth.aws_iam.is_some() {
        return Some(
            "with protocol mongodb the admin user logs in with a certificate; use auth.x509".to_owned(),
        );
    }
    let users = &admin.spec.user_credentials;
    if users.password.is_some() || users.aws_iam.is_some() {
        return Some(
            "with protocol mongodb users log in with certificates; use userCredentials.x509".to_owned(),
        );
    }
    let error = Address::parse(&admin.spec.uri).err()?;
    (error.reason == Reason::Unsupported).then(|| error.to_string())
}

/// Reads what the admin user proves itself with.
pub(super) async fn prepare(
    admin: &DatabaseAdmin,
    max_connections: usize,
    secrets: &mut Secrets<'_>,
) -> Result<Prepared, Blocker> {
    let Some(x509) = &admin.spec.auth.x509 else {
        let what = "spec.auth names no way for the admin user to log in; use x509";
        return Err(Blocker::stalled(reasons::UNSUPPORTED, what));
    };
    let (cert_pem, key_pem) = secrets.key_pair(&x509.secret_ref.name, "spec.auth.x509.secretRef").await?;
    let certificate = ClientCertificate { cert_pem, key_pem };
    let server_ca = server_ca(admin, secrets).await?;
    let mut config = rolecall_resolve::mongodb_config(admin, certificate, server_ca)
        .map_err(|blocked| Blocker::from(&blocked))?;
    config.max_connections = max_connections;
    (&admin.spec.tls.server_name, admin.spec.tls.mode).hash(&mut secrets.hash);
    Ok(Prepared {
        binding: binding(&config),
        engine: Box::new(|engines| engines.mongodb(config)),
        platform_roles: &[],
    })
}

/// How users reach the server: by the same hosts and options as the admin user.
fn binding(config: &Config) -> Binding {
    let address = config.address.to_string();
    let (scheme, authority) = address.split_once("://").unwrap_or(("mongodb", &address));
    let uri = config.address.uri();
    let options = uri.split_once('?').map_or("", |(_, options)| options);
    let (host, port) = config.address.hosts().first().cloned().unwrap_or_default();
    Binding {
        shape: &service_binding::MONGODB,
        scheme: scheme.to_owned(),
        authority: authority.to_owned(),
        host,
        port,
        options: options.to_owned(),
        ssl_mode: None,
        server_ca: config.tls.ca_pem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use rolecall_engine::AccountName;

    use super::*;

    fn data(
        uri: &str,
        name: &str,
        database: Option<&str>,
    ) -> std::collections::BTreeMap<&'static str, String> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let certificate = ClientCertificate { cert_pem: String::new(), key_pem: String::new().into() };
        let config = Config::new(Address::parse(uri).unwrap(), "admin", certificate);
        let data = binding(&config).data(&AccountName::new(name).unwrap(), database, None);
        data.into_iter().map(|(key, value)| (key, text(value))).collect()
    }

    #[test]
    fn users_get_a_uri_that_clients_take_as_it_is() {
        let data = data("m0.shop.svc:27017,m1.shop.svc:27018", "al,ice@é", Some("shop"));
        assert_eq!(
            data["uri"],
            "mongodb://m0.shop.svc:27017,m1.shop.svc:27018/shop\
             ?tls=true&authMechanism=MONGODB-X509&authSource=%24external"
        );
        assert_eq!((data["host"].as_str(), data["port"].as_str()), ("m0.shop.svc", "27017"));
        assert_eq!((data["type"].as_str(), data["username"].as_str()), ("mongodb", r"CN=al\,ice@\C3\A9"));
    }

    #[test]
    fn the_replica_set_and_srv_records_are_given_to_users_too() {
        let set = data("mongodb://[::1]:1/?replicaSet=rs0", "alice", None);
        assert_eq!(
            set["uri"],
            "mongodb://[::1]:1/?tls=true&authMechanism=MONGODB-X509&authSource=%24external&replicaSet=rs0"
        );
        assert!(!set.contains_key("database"));
        let srv = data("mongodb+srv://mongo.shop.example", "alice", None);
        assert!(srv["uri"].starts_with("mongodb+srv://mongo.shop.example/?tls=true"), "{}", srv["uri"]);
    }
}
