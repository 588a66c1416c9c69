//! From a DatabaseAdmin and its Secrets to a server that can be worked on.
//!
//! What differs from protocol to protocol is in a module for each, and nowhere else in the operator.

mod mongodb;
mod postgres;
mod redshift;
mod secrets;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{AdminAwsIam, DatabaseAdmin, Endpoint, Protocol, reasons};
use rolecall_aws::Aws;
use rolecall_engine::{Engine, Inventory, Owner, Reason};
use rolecall_pki::credentials::Ca;
use rolecall_resolve::Blocked;

use super::proof::Proof;
use super::{Issuer, Server, teardown_secret};
use crate::api_writer::ApiWriter;
use crate::model::{Blocker, ObjectKey};
use crate::ports::Engines;
use crate::service_binding::Binding;
use crate::settings::Settings;
use secrets::Secrets;

/// What servers are made with.
#[derive(Clone, Copy, Debug)]
pub struct Connector<'a> {
    /// Reads Secrets.
    pub api: &'a ApiWriter,
    /// What was set at the start.
    pub settings: &'a Settings,
    /// Makes engines.
    pub engines: &'a dyn Engines,
    /// The AWS credentials.
    pub aws: &'a Arc<Aws>,
}

type MakeEngine = Box<dyn FnOnce(&dyn Engines) -> Result<Arc<dyn Engine>, rolecall_engine::Error> + Send>;

/// What a module for a protocol makes of a DatabaseAdmin. What it is made from has gone into the fingerprint.
struct Prepared {
    /// Makes the engine. It connects to nothing.
    engine: MakeEngine,
    /// How users reach the server.
    binding: Binding,
    /// Roles that the platform adds to every account.
    platform_roles: &'static [&'static str],
}

/// Why users cannot be provisioned with this DatabaseAdmin, whatever its server answers; `None` where they can.
pub fn unsupported(admin: &DatabaseAdmin) -> Option<String> {
    match admin.spec.protocol {
        Protocol::Postgres => postgres::unsupported(admin),
        Protocol::Redshift => redshift::unsupported(admin),
        Protocol::Mongodb => mongodb::unsupported(admin),
    }
}

/// Why no access may start with this DatabaseAdmin, though those that are there can be ended; `None` where they may.
/// Admission refuses such an object, and one that was stored before is not validated again.
pub fn no_starts(admin: &DatabaseAdmin) -> Option<&'static str> {
    match admin.spec.protocol {
        Protocol::Postgres => postgres::no_starts(admin),
        Protocol::Redshift | Protocol::Mongodb => None,
    }
}

/// Makes the server, or gives back `before` where nothing that it was made from has changed. Reads Secrets, connects
/// to nothing.
pub async fn read(
    by: Connector<'_>,
    admin: &DatabaseAdmin,
    before: Option<&Arc<Server>>,
    now: Timestamp,
) -> Result<Arc<Server>, Blocker> {
    read_with(by, admin, before, None, now).await
}

/// The server, reached with the kept values of the Secrets (see [`teardown_secret`]): usable for ending accesses only.
/// `None` where nothing is kept.
pub async fn read_kept(by: Connector<'_>, admin: &DatabaseAdmin, now: Timestamp) -> Option<Arc<Server>> {
    let used = admin.status.as_ref().and_then(|status| status.endpoint.clone())?;
    let found = teardown_secret::find(by.api, admin, &used).await;
    let proof = found
        .inspect_err(|error| tracing::warn!(%error, "what was kept for the teardown could not be read"))
        .ok()??;
    let server = read_with(by, &as_used(admin, used), None, Some(proof), now).await;
    server
        .inspect_err(|why| tracing::warn!(why = why.message, "what was kept for the teardown cannot be used"))
        .ok()
}

/// For a server that refuses the credentials in the Secrets: the same server, where it accepts the kept ones, with its
/// accounts.
pub async fn kept_that_works(
    by: Connector<'_>,
    admin: &DatabaseAdmin,
    refused: &rolecall_engine::Error,
    now: Timestamp,
) -> Option<(Arc<Server>, Inventory)> {
    // A server that does not answer at all would not answer other credentials either.
    if !matches!(refused.reason, Reason::LoginFailed | Reason::TlsFailed) {
        return None;
    }
    let kept = read_kept(by, admin, now).await?;
    let inventory = kept.engine.inventory().await.ok()?;
    Some((kept, inventory))
}

async fn read_with(
    by: Connector<'_>,
    admin: &DatabaseAdmin,
    before: Option<&Arc<Server>>,
    kept: Option<Proof>,
    now: Timestamp,
) -> Result<Arc<Server>, Blocker> {
    if let Some(why) = unsupported(admin) {
        return Err(Blocker::stalled(reasons::UNSUPPORTED, why));
    }
    let user = rolecall_resolve::admin_user(admin);
    let name = user.name.clone().ok_or_else(|| Blocker::from(&Blocked::no_admin_user()))?;
    let is_kept = kept.is_some();
    let namespace = admin.namespace().unwrap_or_default();
    let mut secrets = Secrets::new(by.api, namespace, kept.unwrap_or_default());
    let max_connections = by.settings.max_connections_per_server;
    (admin.uid(), &name, &user.default_database, max_connections).hash(&mut secrets.hash);
    let prepared = match admin.spec.protocol {
        Protocol::Postgres => postgres::prepare(by, admin, max_connections, &mut secrets).await?,
        Protocol::Mongodb => mongodb::prepare(admin, max_connections, &mut secrets).await?,
        Protocol::Redshift => redshift::prepare(by, admin, max_connections, &mut secrets).await?,
    };
    prepared.binding.hash(&mut secrets.hash);
    // A teardown does not need the CA for users.
    let proof = std::mem::take(&mut secrets.proof);
    let issuer = match issuer(admin, &mut secrets, now).await {
        Err(blocker) if is_kept => Issuer::Missing(blocker),
        issuer => issuer?,
    };
    is_kept.hash(&mut secrets.hash);
    let fingerprint = secrets.hash.finish();
    if let Some(before) = before.filter(|before| before.fingerprint == fingerprint) {
        return Ok(Arc::clone(before));
    }
    let engine = (prepared.engine)(by.engines)
        .map_err(|error| Blocker::stalled(error.reason.as_str(), error.to_string()))?;
    Ok(Arc::new(Server {
        engine,
        owner: Owner {
            uid: admin.uid().unwrap_or_default(),
            admin: ObjectKey::of(admin).to_string(),
            cluster: by.settings.recorded_cluster.clone(),
            ..Owner::default()
        },
        endpoint: endpoint(admin, &name),
        binding: prepared.binding,
        issuer,
        proof,
        platform_roles: prepared.platform_roles,
        fingerprint,
    }))
}

/// The server that accounts are enabled on, where the DatabaseAdmin names another one by now: an operator that has
/// just started knows it from the status alone.
pub async fn read_used(
    by: Connector<'_>,
    admin: &DatabaseAdmin,
    now: Timestamp,
) -> Result<Option<Arc<Server>>, Blocker> {
    let named = rolecall_resolve::admin_user(admin).name.unwrap_or_default();
    let used = admin.status.as_ref().and_then(|status| status.endpoint.clone());
    let Some(used) = used.filter(|used| *used != endpoint(admin, &named)) else { return Ok(None) };
    read(by, &as_used(admin, used), None, now).await.map(Some)
}

/// The DatabaseAdmin with the address and admin user that are in use. What it says of the server for logins by IAM may be
/// of the new one: where the address in use says that itself, it is left out.
fn as_used(admin: &DatabaseAdmin, used: Endpoint) -> DatabaseAdmin {
    let mut before = admin.clone();
    if let Some(iam) = &mut before.spec.auth.aws_iam
        && used.uri != admin.spec.uri
        && rolecall_resolve::says_itself(admin.spec.protocol, &used.uri)
    {
        *iam = AdminAwsIam::default();
    }
    before.spec.uri = used.uri;
    before.spec.admin_user.name = Some(used.admin_user);
    before
}

async fn issuer(admin: &DatabaseAdmin, secrets: &mut Secrets<'_>, now: Timestamp) -> Result<Issuer, Blocker> {
    let credentials = &admin.spec.user_credentials;
    if credentials.password.is_some() {
        "password".hash(&mut secrets.hash);
        return Ok(Issuer::Password);
    }
    if credentials.aws_iam.is_some() {
        "awsIam".hash(&mut secrets.hash);
        return Ok(Issuer::AwsIam);
    }
    let Some(x509) = &credentials.x509 else { return Ok(Issuer::None) };
    let at = "spec.userCredentials.x509.caSecretRef";
    let (cert, key) = secrets.authority(&x509.ca_secret_ref, at).await?;
    x509.ttl.hash(&mut secrets.hash);
    let ca = Ca::from_pem(&cert, &key, now)
        .map_err(|error| Blocker::stalled(reasons::SECRET_INVALID, format!("{at}: {error}")))?;
    Ok(Issuer::X509 { ca: Box::new(ca), ttl: x509.ttl.get() })
}

/// The CAs that the server's certificate is checked against, as PEM; `None`: those of the system. Users get them, too:
/// whatever else is in the Secret (the CA's key, for example) stays there.
async fn server_ca(admin: &DatabaseAdmin, secrets: &mut Secrets<'_>) -> Result<Option<String>, Blocker> {
    let Some(reference) = &admin.spec.tls.ca_secret_ref else { return Ok(None) };
    let at = "spec.tls.caSecretRef";
    let text = secrets.text(&reference.name, &reference.key, at).await?;
    let authorities = rolecall_pki::tls::authorities(&text);
    authorities.map(Some).map_err(|error| Blocker::stalled(error.reason.as_str(), format!("{at}: {error}")))
}

fn endpoint(admin: &DatabaseAdmin, admin_user: &str) -> Endpoint {
    Endpoint { uri: admin.spec.uri.clone(), admin_user: admin_user.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admin(protocol: &str, uri: &str, iam: Value) -> DatabaseAdmin {
        serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "protocol": protocol, "uri": uri, "platform": null, "adminUser": {"name": "adm"},
                "auth": {"awsIam": iam},
            },
        }))
        .unwrap()
    }

    fn used(admin: &DatabaseAdmin, uri: &str) -> DatabaseAdmin {
        as_used(admin, Endpoint { uri: uri.to_owned(), admin_user: "adm".to_owned() })
    }

    #[test]
    fn tokens_for_the_server_in_use_are_signed_for_its_own_name() {
        let (old, new) =
            ("old.abc.eu-west-1.rds.amazonaws.com:5432", "new.def.eu-west-2.rds.amazonaws.com:5432");
        let moved = admin("postgres", "db.shop.svc:5432", json!({"endpoint": new, "region": "eu-west-2"}));
        let target = rolecall_resolve::rds_admin_target(&used(&moved, old), None).unwrap();
        assert_eq!(format!("{}:{}", target.host, target.port), old);
        assert_eq!(target.region, "eu-west-1");
        // Another admin user alone, or an address that does not say it: what is written is all there is.
        for uri in ["db.shop.svc:5432", "db.elsewhere.svc:5432"] {
            let target = rolecall_resolve::rds_target(&used(&moved, uri), "adm", None).unwrap();
            assert_eq!(format!("{}:{}", target.host, target.port), new, "{uri}");
        }
    }

    #[test]
    fn the_cluster_in_use_lends_its_own_logins() {
        let old = "old.abc.eu-west-1.redshift.amazonaws.com:5439";
        let moved = admin("redshift", "wh:5439", json!({"clusterIdentifier": "new", "region": "eu-west-2"}));
        let target = rolecall_resolve::redshift_admin_target(&used(&moved, old), None).unwrap();
        assert_eq!(target.cluster, rolecall_aws::Cluster::Identifier("old".to_owned()));
        assert_eq!(target.region, "eu-west-1");
        // The name of an endpoint in another VPC does not say the cluster.
        let endpoint = "wh-endpoint-abc.def.eu-west-1.redshift.amazonaws.com:5439";
        let target = rolecall_resolve::redshift_admin_target(&used(&moved, endpoint), None).unwrap();
        assert_eq!(target.cluster, rolecall_aws::Cluster::Identifier("new".to_owned()));
    }
}
