//! What a DatabaseAdmin says about a server of AWS.

use rolecall_api::{DatabaseAdmin, Protocol, TlsMode, reasons};
use rolecall_aws::{Host, Target, rds_roots};
use rolecall_postgres::Platform;

use crate::platform::{Names, postgres_platform};
use crate::{Blocked, admin_user};

/// The region of a server: as written, else from its host names, else `ambient`, which the environment of this process
/// names. Never guessed.
pub fn aws_region(admin: &DatabaseAdmin, ambient: Option<&str>) -> Option<String> {
    let written = admin.spec.auth.aws_iam.as_ref().and_then(|iam| iam.region.clone());
    let of_host = || {
        let names = Names::of(admin).ok()?;
        [names.own.0, names.dialled.0].iter().find_map(|host| Host::of(host)?.region)
    };
    written.or_else(of_host).or_else(|| ambient.map(str::to_owned))
}

/// Does an address say by itself all that `spec.auth.awsIam` says beside it: the server's own name, its region, and on
/// Redshift the cluster?
pub fn says_itself(protocol: Protocol, uri: &str) -> bool {
    let address = match protocol {
        Protocol::Postgres => rolecall_postgres::parse_address(uri).ok(),
        Protocol::Redshift => rolecall_redshift::parse_address(uri).ok(),
        Protocol::Mongodb => None,
    };
    let host = address.and_then(|(host, _)| Host::of(&host)).filter(|host| host.region.is_some());
    host.is_some_and(|host| match protocol {
        Protocol::Redshift => host.redshift_cluster().is_some(),
        _ => host.service.is_rds(),
    })
}

/// What the tokens of a user of RDS are signed for. `user`: the database user.
///
/// # Errors
///
/// That the region or the server's own name is not known.
pub fn rds_target(admin: &DatabaseAdmin, user: &str, ambient: Option<&str>) -> Result<Target, Blocked> {
    let blocked = |message: String| Blocked::new(reasons::LOGIN_FAILED, message);
    let names = Names::of(admin).map_err(blocked)?;
    let (host, port) = names.own;
    let is_named = admin.spec.auth.aws_iam.as_ref().is_some_and(|iam| iam.endpoint.is_some());
    if !is_named && Host::of(&host).is_none() {
        return Err(blocked(format!(
            "tokens are signed for the server's own name, and {host:?} is none of RDS; write that name in spec.auth.awsIam.endpoint"
        )));
    }
    let region = aws_region(admin, ambient).ok_or_else(|| {
        blocked(format!("the region of {host:?} is not known; write it in spec.auth.awsIam.region"))
    })?;
    Ok(Target { host, port, user: user.to_owned(), region })
}

/// What the tokens of the admin user are signed for.
///
/// # Errors
///
/// As [`rds_target`]; no admin user; a server that is not RDS.
pub fn rds_admin_target(admin: &DatabaseAdmin, ambient: Option<&str>) -> Result<Target, Blocked> {
    let platform = postgres_platform(admin).map_err(|why| Blocked::new(reasons::UNSUPPORTED, why))?;
    if platform != Platform::Rds {
        return Err(Blocked::new(
            reasons::LOGIN_FAILED,
            "auth.awsIam is for RDS, which the host name does not show; set spec.platform: RDS, and the server's own name in spec.auth.awsIam.endpoint",
        ));
    }
    let name = admin_user(admin).name.ok_or_else(Blocked::no_admin_user)?;
    rds_target(admin, &name, ambient)
}

/// The CAs that a server's certificate is checked against where `spec.tls.caSecretRef` is absent, as PEM: on RDS those of
/// its region. `None`: those of the system.
///
/// # Errors
///
/// RDS in a region whose CAs are not built in.
pub fn default_server_ca(
    admin: &DatabaseAdmin,
    ambient: Option<&str>,
) -> Result<Option<&'static str>, Blocked> {
    let of_rds = Names::of(admin).is_ok_and(|names| names.services().any(|(_, service)| service.is_rds()));
    let of_rds = of_rds || postgres_platform(admin).is_ok_and(|platform| platform == Platform::Rds);
    if admin.spec.tls.mode == TlsMode::Disable || !of_rds {
        return Ok(None);
    }
    let region = aws_region(admin, ambient);
    if let Some(roots) = region.as_deref().and_then(rds_roots) {
        return Ok(Some(roots));
    }
    let region = match region {
        Some(region) => format!("the region {region}"),
        None => "its region, which is not known,".to_owned(),
    };
    Err(Blocked::new(
        reasons::TLS_FAILED,
        format!(
            "the CAs of RDS for {region} are not built in; put the region's certificate bundle of RDS into a Secret and name it in spec.tls.caSecretRef"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OWN: &str = "orders.abc123.eu-west-1.rds.amazonaws.com";

    fn admin(spec: serde_json::Value) -> DatabaseAdmin {
        let mut merged =
            json!({"protocol": "postgres", "adminUser": {"name": "adm"}, "auth": {"awsIam": {}}});
        merged.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "orders"}, "spec": merged})).unwrap()
    }

    fn with(uri: &str, iam: serde_json::Value) -> DatabaseAdmin {
        admin(json!({"uri": uri, "platform": "RDS", "auth": {"awsIam": iam}}))
    }

    #[test]
    fn the_region_is_written_or_seen_or_ambient_and_never_guessed() {
        let host = format!("{OWN}:5432");
        let region = |admin: &DatabaseAdmin, ambient| aws_region(admin, ambient);
        assert_eq!(region(&with(&host, json!({})), None).as_deref(), Some("eu-west-1"));
        assert_eq!(region(&with(&host, json!({})), Some("us-east-1")).as_deref(), Some("eu-west-1"));
        let written = with(&host, json!({"region": "eu-west-2"}));
        assert_eq!(region(&written, None).as_deref(), Some("eu-west-2"));
        let elsewhere = with("db.shop.svc:5432", json!({"endpoint": OWN}));
        assert_eq!(region(&elsewhere, None).as_deref(), Some("eu-west-1"));
        let nothing = with("db.shop.svc:5432", json!({"endpoint": "orders.example.org"}));
        assert_eq!(region(&nothing, Some("eu-west-3")).as_deref(), Some("eu-west-3"));
        assert_eq!(region(&nothing, None), None);
        let refused = rds_admin_target(&nothing, None).unwrap_err();
        assert!(refused.message.contains("spec.auth.awsIam.region"), "{}", refused.message);
    }

    #[test]
    fn tokens_are_signed_for_the_servers_own_name() {
        let target = |admin: &DatabaseAdmin| rds_admin_target(admin, None);
        let plain = target(&with(&format!("{OWN}:6543"), json!({}))).unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.user.as_str()), (OWN, 6543, "adm"));
        let alias = target(&with("db.shop.svc:15432", json!({"endpoint": OWN}))).unwrap();
        assert_eq!((alias.host.as_str(), alias.port), (OWN, 15432));
        let tunnel = target(&with("localhost:15432", json!({"endpoint": format!("{OWN}:5432")}))).unwrap();
        assert_eq!((tunnel.host.as_str(), tunnel.port), (OWN, 5432));
        let unknown = target(&with("db.shop.svc:5432", json!({"region": "eu-west-1"}))).unwrap_err();
        assert!(unknown.message.contains("spec.auth.awsIam.endpoint"), "{}", unknown.message);
        let self_hosted = admin(json!({"uri": "db.shop.svc:5432"}));
        assert!(target(&self_hosted).unwrap_err().message.contains("spec.platform: RDS"));
    }

    #[test]
    fn rds_has_its_own_authorities() {
        let of = |admin: &DatabaseAdmin| default_server_ca(admin, None);
        let password = json!({"password": {"secretRef": {"name": "a", "key": "b"}}});
        let by_host = admin(json!({"uri": format!("{OWN}:5432"), "auth": password}));
        assert!(of(&by_host).unwrap().is_some_and(|pem| pem.contains("BEGIN CERTIFICATE")));
        let china = admin(json!({"uri": "o.abc.rds.cn-north-1.amazonaws.com.cn:5432", "auth": password}));
        let refused = of(&china).unwrap_err();
        assert_eq!(refused.reason, reasons::TLS_FAILED);
        assert!(refused.message.contains("cn-north-1") && refused.message.contains("caSecretRef"));
        let no_tls =
            admin(json!({"uri": format!("{OWN}:5432"), "auth": password, "tls": {"mode": "Disable"}}));
        assert_eq!(of(&no_tls).unwrap(), None);
        let self_hosted = admin(json!({"uri": "db.shop.svc:5432", "auth": password}));
        assert_eq!(of(&self_hosted).unwrap(), None);
    }
}
