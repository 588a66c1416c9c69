//! PostgreSQL.

use std::hash::Hash;
use std::sync::Arc;

use rolecall_api::{DatabaseAdmin, Platform, TlsMode, reasons};
use rolecall_engine::postgres::{self, Auth, Config, Postgres, Tls};
use rolecall_resolve::AdminUser;

use super::secrets::Secrets;
use super::{Prepared, server_ca};
use crate::account::lifecycle::Obstacle;
use crate::binding::{self, Binding};

/// See [`super::unsupported`].
pub(super) fn unsupported(admin: &DatabaseAdmin) -> Option<String> {
    platform(admin).err()
}

/// Reads what the admin user proves itself with. `name` is the admin user's.
pub(super) async fn prepare(
    admin: &DatabaseAdmin,
    user: &AdminUser,
    name: &str,
    max_connections: usize,
    secrets: &mut Secrets<'_>,
) -> Result<Prepared, Obstacle> {
    let unsupported = |what: String| Obstacle::stalled(reasons::UNSUPPORTED, what);
    let platform = platform(admin).map_err(unsupported)?;
    let (host, port) = postgres::parse_address(&admin.spec.uri)
        .map_err(|error| Obstacle::stalled(reasons::DATABASE_UNREACHABLE, error.to_string()))?;
    let auth = &admin.spec.auth;
    let auth = if let Some(x509) = &auth.x509 {
        let (cert_pem, key_pem) = secrets.key_pair(&x509.secret_ref.name, "spec.auth.x509.secretRef").await?;
        Auth::X509 { cert_pem, key_pem }
    } else if let Some(password) = &auth.password {
        let at = "spec.auth.password.secretRef";
        Auth::Password(secrets.text(&password.secret_ref.name, &password.secret_ref.key, at).await?.into())
    } else {
        let what = "spec.auth names no way for the admin user to prove itself; use x509 or password";
        return Err(unsupported(what.to_owned()));
    };
    let tls = &admin.spec.tls;
    let mut config = Config::new(&host, port, name, auth);
    config.default_database = user.default_database.clone();
    config.platform = platform;
    config.max_connections = max_connections;
    config.tls = Tls {
        mode: match tls.mode {
            TlsMode::VerifyFull => postgres::TlsMode::VerifyFull,
            TlsMode::VerifyCa => postgres::TlsMode::VerifyCa,
            TlsMode::Disable => postgres::TlsMode::Disable,
        },
        ca_pem: server_ca(admin, secrets).await?,
        server_name: tls.server_name.clone(),
    };
    (platform, &tls.server_name, tls.mode).hash(&mut secrets.hash);
    let sslmode = match tls.mode {
        TlsMode::VerifyFull => "verify-full",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::Disable => "disable",
    };
    let binding = Binding {
        shape: &binding::POSTGRES,
        scheme: "postgresql".to_owned(),
        authority: config.address(),
        host,
        port,
        options: format!("sslmode={sslmode}"),
        server_ca: config.tls.ca_pem.clone(),
    };
    Ok(Prepared {
        engine: Box::new(|| Ok(Arc::new(Postgres::new(config)?))),
        binding,
        platform_roles: match platform {
            postgres::Platform::SelfHosted => &[],
            postgres::Platform::Rds => &[postgres::RDS_IAM],
        },
    })
}

/// The platform of the server: as written, else from the host name; or why users cannot be provisioned there, or why
/// the address cannot be read.
fn platform(admin: &DatabaseAdmin) -> Result<postgres::Platform, String> {
    let (host, _) = postgres::parse_address(&admin.spec.uri).map_err(|error| error.to_string())?;
    let told = postgres::Platform::of_host(&host).map_err(|refusal| refusal.message)?;
    match admin.spec.platform {
        None => Ok(told),
        Some(Platform::SelfHosted) => Ok(postgres::Platform::SelfHosted),
        Some(Platform::Rds) => Ok(postgres::Platform::Rds),
        Some(Platform::Redshift) => Err("platform Redshift needs protocol redshift".to_owned()),
    }
}
