//! A DatabaseAdmin as the engine for Redshift sees it, without the contents of its Secrets.

use rolecall_api::{DatabaseAdmin, reasons};
use rolecall_aws::{Cluster, ClusterTarget, Host, Service};
use rolecall_redshift::{Auth, Config, parse_address};

use crate::admin::tls;
use crate::{Blocked, admin_user, aws_region};

/// How to reach the cluster of a DatabaseAdmin with protocol redshift. `ca_pem`: the content of `spec.tls.caSecretRef`,
/// where it is set.
///
/// # Errors
///
/// A server on which users cannot be provisioned, an address that cannot be read, no admin user.
pub fn redshift_config(admin: &DatabaseAdmin, auth: Auth, ca_pem: Option<String>) -> Result<Config, Blocked> {
    if let Some(why) = redshift_fault(admin) {
        return Err(Blocked::new(reasons::UNSUPPORTED, why));
    }
    let (host, port) = parse_address(&admin.spec.uri)
        .map_err(|error| Blocked::new(reasons::DATABASE_UNREACHABLE, error.to_string()))?;
    let user = admin_user(admin);
    let name = user.name.ok_or_else(Blocked::no_admin_user)?;
    let mut config = Config::new(host, port, name, auth);
    config.default_database = user.default_database;
    config.tls = tls(admin, ca_pem);
    Ok(config)
}

/// Why users cannot be provisioned there, going by what is written; `None` where they can.
pub fn redshift_fault(admin: &DatabaseAdmin) -> Option<String> {
    if admin.spec.auth.x509.is_some() || admin.spec.user_credentials.x509.is_some() {
        return Some(
            "Redshift takes no client certificates; use awsIam or password in auth and userCredentials"
                .to_owned(),
        );
    }
    let (host, _) = parse_address(&admin.spec.uri).ok()?;
    match Host::of(&host)?.service {
        Service::Redshift => None,
        other => Some(match other.refusal() {
            Some(why) => format!("{host:?} {why}"),
            None => format!("{host:?} is RDS; set protocol: postgres in a new DatabaseAdmin"),
        }),
    }
}

/// Whose credentials are lent for a user of the cluster, and by which API. `user`: the database user. `ambient`: the
/// region that the environment of this process names.
///
/// # Errors
///
/// That the region or the cluster is not known.
pub fn redshift_target(
    admin: &DatabaseAdmin,
    user: &str,
    ambient: Option<&str>,
) -> Result<ClusterTarget, Blocked> {
    let blocked = |message: String| Blocked::new(reasons::LOGIN_FAILED, message);
    let (host, _) = parse_address(&admin.spec.uri).map_err(|error| blocked(error.to_string()))?;
    let written = admin.spec.auth.aws_iam.as_ref().and_then(|iam| iam.cluster_identifier.clone());
    let of_host = || Host::of(&host)?.redshift_cluster().map(str::to_owned);
    let cluster = written.or_else(of_host).ok_or_else(|| {
        blocked(format!(
            "{host:?} does not say which cluster it is; write its identifier in spec.auth.awsIam.clusterIdentifier"
        ))
    })?;
    let region = aws_region(admin, ambient).ok_or_else(|| {
        blocked(format!("the region of {host:?} is not known; write it in spec.auth.awsIam.region"))
    })?;
    Ok(ClusterTarget { cluster: Cluster::Identifier(cluster), user: user.to_owned(), region })
}

/// The same for the admin user.
///
/// # Errors
///
/// As [`redshift_target`]; no admin user.
pub fn redshift_admin_target(admin: &DatabaseAdmin, ambient: Option<&str>) -> Result<ClusterTarget, Blocked> {
    let name = admin_user(admin).name.ok_or_else(Blocked::no_admin_user)?;
    redshift_target(admin, &name, ambient)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OWN: &str = "analytics.abc123.eu-west-1.redshift.amazonaws.com";

    fn admin(uri: &str, auth: Value, users: Value) -> DatabaseAdmin {
        serde_json::from_value(json!({"metadata": {"name": "wh"}, "spec": {
            "protocol": "redshift", "uri": uri, "adminUser": {"name": "adm"}, "auth": auth, "userCredentials": users,
        }}))
        .unwrap()
    }

    fn with(uri: &str, iam: Value) -> DatabaseAdmin {
        admin(uri, json!({"awsIam": iam}), json!({}))
    }

    #[test]
    fn the_cluster_and_its_region_are_written_or_seen() {
        let seen = redshift_admin_target(&with(OWN, json!({})), Some("us-east-1")).unwrap();
        assert_eq!((seen.user.as_str(), seen.region.as_str()), ("adm", "eu-west-1"));
        assert_eq!(seen.cluster, Cluster::Identifier("analytics".to_owned()));
        let written = with("wh.shop.svc:5439", json!({"clusterIdentifier": "dwh", "region": "eu-west-2"}));
        let written = redshift_target(&written, "alice", None).unwrap();
        assert_eq!((written.user.as_str(), written.region.as_str()), ("alice", "eu-west-2"));
        assert_eq!(written.cluster, Cluster::Identifier("dwh".to_owned()));
        let unknown = redshift_target(&with("wh.shop.svc", json!({"region": "eu-west-2"})), "a", None);
        assert!(unknown.unwrap_err().message.contains("clusterIdentifier"));
        let unknown = redshift_target(&with("wh.shop.svc", json!({"clusterIdentifier": "dwh"})), "a", None);
        assert!(unknown.unwrap_err().message.contains("spec.auth.awsIam.region"));
        // The name of an endpoint in another VPC is not that of the cluster.
        let endpoint = "wh-endpoint-abc.def.eu-west-1.redshift.amazonaws.com";
        assert!(redshift_target(&with(endpoint, json!({})), "a", None).is_err());
    }

    #[test]
    fn what_is_no_cluster_is_refused_with_what_to_use() {
        let refused = |uri: &str| redshift_fault(&with(uri, json!({}))).unwrap_or_default();
        let serverless = refused("wg.123456789012.eu-west-1.redshift-serverless.amazonaws.com:5439");
        assert!(
            serverless.contains("shares one database user") && serverless.contains("provisioned"),
            "{serverless}"
        );
        assert!(refused("o.abc.eu-west-1.rds.amazonaws.com").contains("protocol: postgres"));
        assert_eq!(refused(OWN) + &refused("wh.shop.svc:5439"), "");
        let secret = json!({"x509": {"secretRef": {"name": "cert"}}});
        assert!(redshift_fault(&admin(OWN, secret, json!({}))).unwrap().contains("no client certificates"));
    }

    #[test]
    fn the_engine_gets_what_is_written() {
        let config = redshift_config(&with(OWN, json!({})), Auth::Password("x".into()), None).unwrap();
        assert_eq!((config.host.as_str(), config.port, config.admin_user.as_str()), (OWN, 5439, "adm"));
    }
}
