//! Redshift.

use std::hash::Hash;
use std::sync::Arc;

use rolecall_api::{DatabaseAdmin, TlsMode};
use rolecall_aws::ClusterLogin;
use rolecall_redshift::Auth;
use rolecall_resolve::AdminProof;

use super::secrets::Secrets;
use super::{Connector, Prepared, server_ca};
use crate::model::Blocker;
use crate::service_binding::{self, Binding};

/// See [`super::unsupported`].
pub(super) fn unsupported(admin: &DatabaseAdmin) -> Option<String> {
    rolecall_resolve::redshift_fault(admin)
}

/// Reads what the admin user proves itself with.
pub(super) async fn prepare(
    by: Connector<'_>,
    admin: &DatabaseAdmin,
    max_connections: usize,
    secrets: &mut Secrets<'_>,
) -> Result<Prepared, Blocker> {
    let proof = rolecall_resolve::admin_proof(admin).map_err(|blocked| Blocker::from(&blocked))?;
    let auth = match proof {
        AdminProof::Password { secret, key } => {
            Auth::Password(secrets.text(secret, key, proof.field()).await?.into())
        }
        AdminProof::AwsIam => {
            let target = rolecall_resolve::redshift_admin_target(admin, by.aws.region())
                .map_err(|blocked| Blocker::from(&blocked))?;
            target.hash(&mut secrets.hash);
            Auth::Lent(Arc::new(ClusterLogin::new(Arc::clone(by.aws), target)))
        }
        // Reported as unsupported before.
        AdminProof::X509 { .. } => {
            let why = "Redshift takes no client certificates; use auth.awsIam or auth.password";
            return Err(Blocker::stalled(rolecall_api::reasons::UNSUPPORTED, why));
        }
    };
    let server_ca = server_ca(admin, secrets).await?;
    let mut config = rolecall_resolve::redshift_config(admin, auth, server_ca.clone())
        .map_err(|blocked| Blocker::from(&blocked))?;
    config.max_connections = max_connections;
    let tls = &admin.spec.tls;
    (&config.tls.server_name, tls.mode).hash(&mut secrets.hash);
    let sslmode = match tls.mode {
        TlsMode::VerifyFull => "verify-full",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::Disable => "disable",
    };
    let binding = Binding {
        shape: &service_binding::REDSHIFT,
        scheme: "postgresql".to_owned(),
        authority: config.address(),
        host: config.host.clone(),
        port: config.port,
        options: format!("sslmode={sslmode}"),
        ssl_mode: Some(sslmode),
        server_ca,
    };
    Ok(Prepared { engine: Box::new(|engines| engines.redshift(config)), binding, platform_roles: &[] })
}
