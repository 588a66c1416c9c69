//! From a DatabaseAdmin and its Secrets to a server that can be worked on.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Platform, Protocol, TlsMode, reasons};
use rolecall_engine::Owner;
use rolecall_engine::credentials::Ca;
use rolecall_engine::postgres::{self, Auth, Config, Postgres, Tls};
use secrecy::SecretString;

use super::endpoint;
use crate::Shared;
use crate::account::lifecycle::Obstacle;
use crate::servers::{Issuer, Server};
use crate::world::ObjectKey;

/// The platform of a PostgreSQL server: as written, else from the host name.
///
/// # Errors
///
/// Why users cannot be provisioned there, or why the address cannot be read.
pub fn postgres_platform(admin: &DatabaseAdmin) -> Result<postgres::Platform, String> {
    let (host, _) = postgres::parse_address(&admin.spec.uri).map_err(|error| error.to_string())?;
    let told = postgres::Platform::of_host(&host).map_err(|refusal| refusal.message)?;
    match admin.spec.platform {
        None => Ok(told),
        Some(Platform::SelfHosted) => Ok(postgres::Platform::SelfHosted),
        Some(Platform::Rds) => Ok(postgres::Platform::Rds),
        Some(Platform::Redshift) => Err("platform Redshift needs protocol redshift".to_owned()),
    }
}

/// Makes the server, or gives back `before` where nothing that it was made from has changed. Reads Secrets, connects
/// to nothing.
pub(super) async fn read(
    shared: &Shared,
    admin: &DatabaseAdmin,
    before: Option<&Arc<Server>>,
    now: Timestamp,
) -> Result<Arc<Server>, Obstacle> {
    let unsupported = |what: String| Err(Obstacle::stalled(reasons::UNSUPPORTED, what));
    match admin.spec.protocol {
        Protocol::Postgres => {}
        Protocol::Redshift => return unsupported("protocol redshift is not supported yet".to_owned()),
        Protocol::Mongodb => return unsupported("protocol mongodb is not supported yet".to_owned()),
    }
    let auth = &admin.spec.auth;
    if auth.aws_iam.is_some() || admin.spec.user_credentials.aws_iam.is_some() {
        return unsupported("awsIam is not supported yet; use x509 or password".to_owned());
    }
    let platform = match postgres_platform(admin) {
        Ok(platform) => platform,
        Err(why) => return unsupported(why),
    };
    let (host, port) = postgres::parse_address(&admin.spec.uri)
        .map_err(|error| Obstacle::stalled(reasons::DATABASE_UNREACHABLE, error.to_string()))?;
    let user = rolecall_resolve::admin_user(admin);
    let Some(name) = user.name else {
        return Err(Obstacle::stalled(
            reasons::MISSING_ADMIN_USER,
            "no admin user is named; set spec.adminUser.name or the label teleport.dev/db-admin",
        ));
    };
    let mut secrets =
        Secrets { shared, namespace: admin.namespace().unwrap_or_default(), hash: DefaultHasher::new() };
    admin.uid().hash(&mut secrets.hash);
    (&host, port, &name, &user.default_database, platform).hash(&mut secrets.hash);
    let auth = if let Some(x509) = &auth.x509 {
        let (cert_pem, key_pem) = secrets.key_pair(&x509.secret_ref.name, "spec.auth.x509.secretRef").await?;
        Auth::X509 { cert_pem, key_pem }
    } else if let Some(password) = &auth.password {
        let at = "spec.auth.password.secretRef";
        Auth::Password(secrets.text(&password.secret_ref.name, &password.secret_ref.key, at).await?.into())
    } else {
        return unsupported(
            "spec.auth names no way for the admin user to prove itself; use x509 or password".to_owned(),
        );
    };
    let tls = &admin.spec.tls;
    let mut config = Config::new(&host, port, &name, auth);
    config.default_database = user.default_database;
    config.platform = platform;
    config.max_connections = shared.settings.max_connections_per_server;
    config.tls = Tls {
        mode: match tls.mode {
            TlsMode::VerifyFull => postgres::TlsMode::VerifyFull,
            TlsMode::VerifyCa => postgres::TlsMode::VerifyCa,
            TlsMode::Disable => postgres::TlsMode::Disable,
        },
        ca_pem: match &tls.ca_secret_ref {
            Some(reference) => {
                Some(secrets.text(&reference.name, &reference.key, "spec.tls.caSecretRef").await?)
            }
            None => None,
        },
        server_name: tls.server_name.clone(),
    };
    (&tls.server_name, &config.tls.ca_pem, config.max_connections).hash(&mut secrets.hash);
    std::mem::discriminant(&tls.mode).hash(&mut secrets.hash);
    let issuer = issuer(admin, &mut secrets, now).await?;
    let fingerprint = secrets.hash.finish();
    if let Some(before) = before.filter(|before| before.fingerprint == fingerprint) {
        return Ok(Arc::clone(before));
    }
    let server_ca = config.tls.ca_pem.clone();
    let engine = Postgres::new(config)
        .map_err(|error| Obstacle::stalled(reasons::SECRET_INVALID, error.to_string()))?;
    Ok(Arc::new(Server {
        engine: Arc::new(engine),
        owner: Owner {
            uid: admin.uid().unwrap_or_default(),
            admin: ObjectKey::of(admin).to_string(),
            cluster: shared.settings.cluster_name.clone(),
        },
        endpoint: endpoint(admin, &name),
        host,
        port,
        server_ca,
        sslmode: match tls.mode {
            TlsMode::VerifyFull => "verify-full",
            TlsMode::VerifyCa => "verify-ca",
            TlsMode::Disable => "disable",
        },
        issuer,
        platform_roles: match platform {
            postgres::Platform::SelfHosted => &[],
            postgres::Platform::Rds => &[postgres::RDS_IAM],
        },
        fingerprint,
    }))
}

/// The server that accounts are enabled on, where the DatabaseAdmin names another one by now: an operator that has
/// just started knows it from the status alone.
pub(super) async fn read_used(shared: &Shared, admin: &DatabaseAdmin, now: Timestamp) -> Option<Arc<Server>> {
    let used = admin.status.as_ref()?.endpoint.clone()?;
    let named = rolecall_resolve::admin_user(admin).name.unwrap_or_default();
    if used == endpoint(admin, &named) {
        return None;
    }
    let mut before = admin.clone();
    before.spec.uri = used.uri;
    before.spec.admin_user.name = Some(used.admin_user);
    read(shared, &before, None, now).await.ok()
}

async fn issuer(
    admin: &DatabaseAdmin,
    secrets: &mut Secrets<'_>,
    now: Timestamp,
) -> Result<Issuer, Obstacle> {
    let credentials = &admin.spec.user_credentials;
    if credentials.password.is_some() {
        "password".hash(&mut secrets.hash);
        return Ok(Issuer::Password);
    }
    let Some(x509) = &credentials.x509 else { return Ok(Issuer::None) };
    let at = "spec.userCredentials.x509.caSecretRef";
    let (cert, key) = secrets.key_pair(&x509.ca_secret_ref.name, at).await?;
    x509.ttl.hash(&mut secrets.hash);
    let ca = Ca::from_pem(&cert, &key, now)
        .map_err(|error| Obstacle::stalled(reasons::SECRET_INVALID, format!("{at}: {error}")))?;
    Ok(Issuer::X509 { ca: Box::new(ca), ttl: x509.ttl.get() })
}

/// The Secrets of one namespace, read on demand; what was read goes into the fingerprint.
struct Secrets<'a> {
    shared: &'a Shared,
    namespace: String,
    hash: DefaultHasher,
}

impl Secrets<'_> {
    async fn text(&mut self, name: &str, key: &str, at: &str) -> Result<String, Obstacle> {
        let secret = self.secret(name, at).await?;
        self.value(&secret, name, key, at)
    }

    async fn key_pair(&mut self, name: &str, at: &str) -> Result<(String, SecretString), Obstacle> {
        let secret = self.secret(name, at).await?;
        let certificate = self.value(&secret, name, "tls.crt", at)?;
        Ok((certificate, self.value(&secret, name, "tls.key", at)?.into()))
    }

    async fn secret(&self, name: &str, at: &str) -> Result<Secret, Obstacle> {
        match self.shared.objects.secret(&self.namespace, name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Obstacle::stalled(
                reasons::SECRET_NOT_FOUND,
                format!("there is no Secret {name:?} in this namespace, which {at} names"),
            )),
            Err(error) => Err(Obstacle::passing(
                reasons::SECRET_NOT_FOUND,
                format!("the Secret {name:?}, which {at} names, could not be read: {error}"),
            )),
        }
    }

    fn value(&mut self, secret: &Secret, name: &str, key: &str, at: &str) -> Result<String, Obstacle> {
        let Some(value) = secret.data.as_ref().and_then(|data| data.get(key)) else {
            return Err(Obstacle::stalled(
                reasons::SECRET_NOT_FOUND,
                format!("the Secret {name:?}, which {at} names, has no key {key:?}"),
            ));
        };
        value.0.hash(&mut self.hash);
        String::from_utf8(value.0.clone()).map_err(|_| {
            Obstacle::stalled(
                reasons::SECRET_INVALID,
                format!("the key {key:?} of the Secret {name:?}, which {at} names, is no text"),
            )
        })
    }
}
