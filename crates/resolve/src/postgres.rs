//! A DatabaseAdmin as the engine for PostgreSQL sees it, without the contents of its Secrets.

use rolecall_api::{DatabaseAdmin, reasons};
use rolecall_aws::Service;
pub use rolecall_postgres::parse_address as parse_postgres_address;
use rolecall_postgres::{Auth, Config, parse_address};

use crate::admin::tls;
use crate::platform::{Names, postgres_platform};
use crate::{Blocked, admin_user};

/// How to reach the server of a DatabaseAdmin with protocol postgres. `ca_pem`: the content of `spec.tls.caSecretRef`,
/// where it is set, else what [`crate::default_server_ca`] says.
///
/// # Errors
///
/// A server on which users cannot be provisioned, an address that cannot be read, no admin user.
pub fn postgres_config(admin: &DatabaseAdmin, auth: Auth, ca_pem: Option<String>) -> Result<Config, Blocked> {
    let platform = postgres_platform(admin).map_err(|why| Blocked::new(reasons::UNSUPPORTED, why))?;
    let (host, port) = parse_address(&admin.spec.uri)
        .map_err(|error| Blocked::new(reasons::DATABASE_UNREACHABLE, error.to_string()))?;
    let names = Names::of(admin).map_err(|why| Blocked::new(reasons::DATABASE_UNREACHABLE, why))?;
    let reader = names.services().find(|(_, service)| *service == Service::RdsReader);
    if let Some((host, _)) = reader {
        return Err(Blocked::new(
            reasons::READ_ONLY_ENDPOINT,
            format!(
                "{host:?} leads to the readers of a cluster; write the cluster endpoint (without -ro) in spec.uri"
            ),
        ));
    }
    let leads_to_writer = names.services().any(|(_, service)| service == Service::RdsWriter);
    let user = admin_user(admin);
    let name = user.name.ok_or_else(Blocked::no_admin_user)?;
    let mut config = Config::new(host, port, name, auth);
    config.default_database = user.default_database;
    config.platform = platform;
    config.leads_to_writer = leads_to_writer;
    config.tls = tls(admin, ca_pem);
    // The server's certificate carries its own name.
    if names.own != names.dialled {
        config.tls.server_name.get_or_insert(names.own.0);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rolecall_postgres::Platform;
    use serde_json::json;

    use super::*;

    fn admin(uri: &str, platform: Option<&str>) -> DatabaseAdmin {
        serde_json::from_value(json!({"metadata": {"name": "orders"}, "spec": {
            "protocol": "postgres", "uri": uri, "platform": platform, "adminUser": {"name": "adm"}, "auth": {},
        }}))
        .unwrap()
    }

    fn config(uri: &str) -> Result<Config, Blocked> {
        postgres_config(&admin(uri, None), Auth::Password("x".into()), None)
    }

    #[test]
    fn the_platform_is_as_written_or_follows_from_the_host_name() {
        let of = |uri: &str, written| postgres_platform(&admin(uri, written));
        let rds = "orders.abc123.eu-west-1.rds.amazonaws.com:5432";
        assert_eq!(of("orders-db.shop.svc:5432", None), Ok(Platform::SelfHosted));
        assert_eq!(of("orders-db.shop.svc:5432", Some("RDS")), Ok(Platform::Rds));
        assert_eq!(of(rds, None), Ok(Platform::Rds));
        assert_eq!(of(rds, Some("SelfHosted")), Ok(Platform::SelfHosted));
    }

    #[test]
    fn what_is_no_such_server_is_refused_with_what_to_use() {
        for (host, use_) in [
            ("orders.proxy-abc123.eu-west-1.rds.amazonaws.com", "the endpoint of the instance or cluster"),
            ("orders.shardgrp-abc123.eu-west-1.rds.amazonaws.com", "not sharded"),
            ("foo0bar1.dsql.us-east-1.on.aws", "use RDS or Aurora"),
            ("wh.abc123.eu-west-1.redshift.amazonaws.com", "protocol: redshift"),
            ("docs.cluster-abc123.eu-west-1.docdb.amazonaws.com", "use MongoDB"),
        ] {
            let refused = config(&format!("{host}:5432")).unwrap_err();
            assert_eq!(refused.reason, reasons::UNSUPPORTED, "{host}");
            assert!(refused.message.contains(use_), "{}", refused.message);
        }
    }

    #[test]
    fn a_reader_is_refused_before_it_is_connected_to_and_a_writer_is_known_as_such() {
        let refused = config("orders.cluster-ro-abc123.eu-west-1.rds.amazonaws.com:5432").unwrap_err();
        assert_eq!(refused.reason, reasons::READ_ONLY_ENDPOINT);
        let writes = |host: &str| config(&format!("{host}:5432")).unwrap().leads_to_writer;
        assert!(writes("orders.cluster-abc123.eu-west-1.rds.amazonaws.com"));
        assert!(!writes("orders.abc123.eu-west-1.rds.amazonaws.com"));
        assert!(!writes("any.cluster-custom-abc123.eu-west-1.rds.amazonaws.com"));
    }

    #[test]
    fn the_certificate_carries_the_servers_own_name() {
        let own = "orders.abc123.eu-west-1.rds.amazonaws.com";
        let mut admin = admin("localhost:15432", Some("RDS"));
        admin.spec.auth =
            serde_json::from_value(json!({"awsIam": {"endpoint": format!("{own}:5432")}})).unwrap();
        let name = |admin: &DatabaseAdmin| {
            let config = postgres_config(admin, Auth::Password("x".into()), None).unwrap();
            (config.host, config.port, config.tls.server_name)
        };
        assert_eq!(name(&admin), ("localhost".to_owned(), 15432, Some(own.to_owned())));
        admin.spec.tls.server_name = Some("another".to_owned());
        assert_eq!(name(&admin).2.as_deref(), Some("another"));
    }
}
