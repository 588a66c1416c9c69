//! The server of a DatabaseAdmin, reached as its admin user.
//!
//! The caller reads the Secrets with their own rights in the cluster. Transactions are read-only, and nothing that this
//! is used for writes.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_aws::{ClusterLogin, RdsLogin};
use rolecall_engine::{Engine, Examine};
use rolecall_mongodb::{ClientCertificate, Mongodb};
use rolecall_postgres::{Auth, Postgres};
use rolecall_redshift::Redshift;
use rolecall_resolve::{
    AdminProof, Blocked, admin_proof, default_server_ca, mongodb_config, postgres_config, rds_admin_target,
    redshift_admin_target, redshift_config,
};

use crate::connect::iam;
use crate::input::{Cluster, plain};
use crate::reach::Elsewhere;

/// A server, as its admin user.
#[derive(Debug)]
pub(crate) struct AdminLogin {
    server: Server,
    /// What it is dialled through.
    _way: Option<Elsewhere>,
}

#[derive(Debug)]
enum Server {
    Postgres(Box<Postgres>),
    Mongodb(Box<Mongodb>),
    Redshift(Box<Redshift>),
}

/// Why there is no way in.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// The caller may not read a Secret.
    Unreadable {
        /// Its name.
        secret: String,
        /// The field that names it.
        field: &'static str,
        /// What the API server said.
        error: anyhow::Error,
    },
    /// Something in the DatabaseAdmin or its Secrets cannot be used.
    Unusable(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::Unusable(error.into())
    }
}

impl AdminLogin {
    /// Makes it; nothing is sent to the server yet. `address`: where to connect instead of the server's own address.
    ///
    /// # Errors
    ///
    /// A Secret that cannot be read, and anything that cannot be used.
    pub(crate) async fn new(
        cluster: &Cluster,
        admin: &DatabaseAdmin,
        address: Option<&str>,
    ) -> Result<Self, Obstacle> {
        let (server, way) = match admin.spec.protocol {
            Protocol::Postgres => {
                let (engine, way) = postgres(cluster, admin, address).await?;
                (Server::Postgres(Box::new(engine)), way)
            }
            Protocol::Mongodb => (Server::Mongodb(Box::new(mongodb(cluster, admin, address).await?)), None),
            Protocol::Redshift => {
                let (engine, way) = redshift(cluster, admin, address).await?;
                (Server::Redshift(Box::new(engine)), way)
            }
        };
        Ok(Self { server, _way: way })
    }

    /// As the operator uses it.
    pub(crate) fn engine(&self) -> &dyn Engine {
        match &self.server {
            Server::Postgres(engine) => &**engine,
            Server::Mongodb(engine) => &**engine,
            Server::Redshift(engine) => &**engine,
        }
    }

    /// As a person examines it.
    pub(crate) fn examine(&self) -> &dyn Examine {
        match &self.server {
            Server::Postgres(engine) => &**engine,
            Server::Mongodb(engine) => &**engine,
            Server::Redshift(engine) => &**engine,
        }
    }
}

/// MongoDB's driver dials the names of all members for itself, and checks the name that it dials.
///
/// # Errors
///
/// That another address cannot be used.
pub(crate) fn dials_by_name(address: Option<&str>) -> anyhow::Result<()> {
    if address.is_some() {
        bail!(
            "--address does not work with MongoDB here, whose driver checks the name that it dials; let the server's own \
             name lead to that address, for example in /etc/hosts"
        );
    }
    Ok(())
}

/// The CAs that the server's certificate is checked against, as PEM: those of spec.tls.caSecretRef, else those of RDS,
/// else `None`, which means those of the system.
///
/// # Errors
///
/// A Secret that cannot be read or used; RDS in a region whose CAs are not known.
pub(crate) async fn server_authorities(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
) -> Result<Option<String>, Obstacle> {
    match server_ca(cluster, admin).await? {
        Some(authorities) => Ok(Some(authorities)),
        None if admin.spec.protocol == Protocol::Postgres => {
            let region = iam::ambient().region().map(str::to_owned);
            let built_in = default_server_ca(admin, region.as_deref());
            Ok(built_in.map_err(|blocked| because(admin, &blocked))?.map(str::to_owned))
        }
        None => Ok(None),
    }
}

async fn postgres(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    address: Option<&str>,
) -> Result<(Postgres, Option<Elsewhere>), Obstacle> {
    let because = |blocked: Blocked| because(admin, &blocked);
    let aws = iam::ambient();
    let proof = admin_proof(admin).map_err(because)?;
    let auth = match proof {
        AdminProof::X509 { secret } => {
            let read = secret_of(cluster, secret, proof.field()).await?;
            let cert_pem = value(&read, "tls.crt", proof.field())?;
            Auth::X509 { cert_pem, key_pem: value(&read, "tls.key", proof.field())?.into() }
        }
        AdminProof::Password { secret, key } => {
            let read = secret_of(cluster, secret, proof.field()).await?;
            Auth::Password(value(&read, key, proof.field())?.into())
        }
        AdminProof::AwsIam => {
            let target = rds_admin_target(admin, aws.region()).map_err(because)?;
            Auth::Login(Arc::new(RdsLogin::new(Arc::clone(&aws), target)))
        }
    };
    let authorities = server_authorities(cluster, admin).await?;
    let mut config = postgres_config(admin, auth, authorities).map_err(because)?;
    config.read_only = true;
    config.max_connections = 1;
    let way = Elsewhere::find(cluster, &config.host, config.port, address).await?;
    if let Some(way) = &way {
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = (way.address.ip().to_string(), way.address.port());
    }
    Ok((Postgres::new(config)?, way))
}

async fn mongodb(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    address: Option<&str>,
) -> Result<Mongodb, Obstacle> {
    dials_by_name(address)?;
    let because = |blocked: Blocked| because(admin, &blocked);
    let proof = admin_proof(admin).map_err(because)?;
    let AdminProof::X509 { secret } = proof else {
        return Err(Obstacle::Unusable(anyhow!(
            "with protocol mongodb the admin user logs in with a certificate; use spec.auth.x509"
        )));
    };
    let read = secret_of(cluster, secret, proof.field()).await?;
    let certificate = ClientCertificate {
        cert_pem: value(&read, "tls.crt", proof.field())?,
        key_pem: value(&read, "tls.key", proof.field())?.into(),
    };
    let config = mongodb_config(admin, certificate, server_ca(cluster, admin).await?).map_err(because)?;
    Ok(Mongodb::new(config)?)
}

async fn redshift(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    address: Option<&str>,
) -> Result<(Redshift, Option<Elsewhere>), Obstacle> {
    let because = |blocked: Blocked| because(admin, &blocked);
    let aws = iam::ambient();
    let proof = admin_proof(admin).map_err(because)?;
    let auth = match proof {
        AdminProof::Password { secret, key } => {
            let read = secret_of(cluster, secret, proof.field()).await?;
            rolecall_redshift::Auth::Password(value(&read, key, proof.field())?.into())
        }
        AdminProof::AwsIam => {
            let target = redshift_admin_target(admin, aws.region()).map_err(because)?;
            rolecall_redshift::Auth::Lent(Arc::new(ClusterLogin::new(aws, target)))
        }
        AdminProof::X509 { .. } => {
            return Err(Obstacle::Unusable(anyhow!(
                "Redshift takes no client certificates; use spec.auth.awsIam"
            )));
        }
    };
    let mut config = redshift_config(admin, auth, server_ca(cluster, admin).await?).map_err(because)?;
    config.read_only = true;
    config.max_connections = 1;
    let way = Elsewhere::find(cluster, &config.host, config.port, address).await?;
    if let Some(way) = &way {
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = (way.address.ip().to_string(), way.address.port());
    }
    Ok((Redshift::new(config)?, way))
}

fn because(admin: &DatabaseAdmin, blocked: &Blocked) -> anyhow::Error {
    anyhow!("the DatabaseAdmin {:?}: {}", admin.name_any(), blocked.message)
}

async fn server_ca(cluster: &Cluster, admin: &DatabaseAdmin) -> Result<Option<String>, Obstacle> {
    let Some(reference) = &admin.spec.tls.ca_secret_ref else { return Ok(None) };
    let field = "spec.tls.caSecretRef";
    let read = secret_of(cluster, &reference.name, field).await?;
    Ok(Some(value(&read, &reference.key, field)?))
}

async fn secret_of(cluster: &Cluster, name: &str, field: &'static str) -> Result<Secret, Obstacle> {
    match cluster.api::<Secret>().get(name).await {
        Ok(secret) => Ok(secret),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Obstacle::Unusable(anyhow!(
            "there is no Secret {name:?}, which {field} names: create it, or correct the field"
        ))),
        Err(error) => Err(Obstacle::Unreadable { secret: name.to_owned(), field, error: plain(error) }),
    }
}

fn value(secret: &Secret, key: &str, field: &str) -> anyhow::Result<String> {
    let name = secret.name_any();
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value =
        value.ok_or_else(|| anyhow!("the Secret {name:?}, which {field} names, has no key {key:?}"))?;
    String::from_utf8(value.0.clone())
        .map_err(|_| anyhow!("the key {key:?} of the Secret {name:?}, which {field} names, is no text"))
}
