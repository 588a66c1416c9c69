//! PostgreSQL.

use std::hash::Hash;
use std::sync::Arc;

use rolecall_api::{DatabaseAdmin, TlsMode};
use rolecall_aws::RdsLogin;
use rolecall_postgres::{Auth, Platform};
use rolecall_resolve::AdminProof;

use super::secrets::Secrets;
use super::{Connector, Prepared, server_ca};
use crate::model::Blocker;
use crate::service_binding::{self, Binding};

/// See [`super::unsupported`].
pub(super) fn unsupported(admin: &DatabaseAdmin) -> Option<String> {
    rolecall_resolve::postgres_platform(admin).err()
}

/// See [`super::no_starts`].
pub(super) fn no_starts(admin: &DatabaseAdmin) -> Option<&'static str> {
    let spec = &admin.spec;
    (spec.user_credentials.aws_iam.is_some() && spec.auth.aws_iam.is_none()).then_some(
        "userCredentials must not contain awsIam unless auth contains it, too: on RDS the first user with rds_iam would lock out an admin user with a password; use auth.awsIam, or userCredentials.password",
    )
}

/// The roles that the platform adds to every account. None that would lock out the admin user.
fn platform_roles(platform: Platform, admin: &DatabaseAdmin) -> &'static [&'static str] {
    platform.roles(admin.spec.user_credentials.aws_iam.is_some() && no_starts(admin).is_none())
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
        AdminProof::X509 { secret } => {
            let (cert_pem, key_pem) = secrets.key_pair(secret, proof.field()).await?;
            Auth::X509 { cert_pem, key_pem }
        }
        AdminProof::Password { secret, key } => {
            Auth::Password(secrets.text(secret, key, proof.field()).await?.into())
        }
        AdminProof::AwsIam => {
            let target = rolecall_resolve::rds_admin_target(admin, by.aws.region())
                .map_err(|blocked| Blocker::from(&blocked))?;
            target.hash(&mut secrets.hash);
            Auth::Login(Arc::new(RdsLogin::new(Arc::clone(by.aws), target)))
        }
    };
    let server_ca = match server_ca(admin, secrets).await? {
        Some(pem) => Some(pem),
        None => rolecall_resolve::default_server_ca(admin, by.aws.region())
            .map_err(|blocked| Blocker::from(&blocked))?
            .map(str::to_owned),
    };
    let mut config = rolecall_resolve::postgres_config(admin, auth, server_ca.clone())
        .map_err(|blocked| Blocker::from(&blocked))?;
    config.max_connections = max_connections;
    let (platform, tls) = (config.platform, &admin.spec.tls);
    (platform, &config.tls.server_name, tls.mode).hash(&mut secrets.hash);
    let sslmode = match tls.mode {
        TlsMode::VerifyFull => "verify-full",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::Disable => "disable",
    };
    let binding = Binding {
        shape: &service_binding::POSTGRES,
        scheme: "postgresql".to_owned(),
        authority: config.address(),
        host: config.host.clone(),
        port: config.port,
        options: format!("sslmode={sslmode}"),
        ssl_mode: Some(sslmode),
        server_ca,
    };
    Ok(Prepared {
        engine: Box::new(|engines| engines.postgres(config)),
        binding,
        platform_roles: platform_roles(platform, admin),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_admin_user_with_a_password_is_not_locked_out_by_users_with_tokens() {
        let password = json!({"password": {"secretRef": {"name": "a", "key": "b"}}});
        for (auth, users, starts, roles) in [
            (json!({"awsIam": {}}), json!({"awsIam": {}}), true, &["rds_iam"][..]),
            (json!({"awsIam": {}}), json!({"password": {}}), true, &[]),
            (password.clone(), json!({"password": {}}), true, &[]),
            (password, json!({"awsIam": {}}), false, &[]),
        ] {
            let admin: DatabaseAdmin = serde_json::from_value(json!({
                "metadata": {"name": "orders"},
                "spec": {"protocol": "postgres", "uri": "db:5432", "auth": auth, "userCredentials": users},
            }))
            .unwrap();
            assert_eq!(no_starts(&admin).is_none(), starts, "{admin:?}");
            assert_eq!(platform_roles(Platform::Rds, &admin), roles, "{admin:?}");
        }
    }
}
