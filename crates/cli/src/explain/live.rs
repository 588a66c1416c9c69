//! The objects that a logical database has now, as the operator sees them.
//!
//! The caller reads the Secrets with their own rights in the cluster and connects as the DatabaseAdmin's admin user:
//! only that one sees what the operator sees. Transactions are read-only.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_aws::{ClusterLogin, RdsLogin};
use rolecall_engine::{CatalogQuery, Engine};
use rolecall_mongodb::{ClientCertificate, Mongodb};
use rolecall_postgres::{Auth, Postgres, parse_address};
use rolecall_redshift::Redshift;
use rolecall_resolve::{
    AdminProof, Blocked, admin_proof, default_server_ca, mongodb_config, postgres_config, rds_admin_target,
    redshift_admin_target, redshift_config,
};

use super::{Objects, ObjectsSource};
use crate::connect::{iam, mongosh};
use crate::input::{Cluster, plain};

/// Reads the objects of a logical database. `address`: where to connect instead of the server's own address.
///
/// # Errors
///
/// A server of another kind, a Secret that cannot be read, what the server answered.
pub(super) async fn read(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    database: &str,
    address: Option<&str>,
) -> anyhow::Result<Objects> {
    let name = admin.name_any();
    let engine: Box<dyn Engine> = match admin.spec.protocol {
        Protocol::Postgres => Box::new(postgres(cluster, admin, address).await?),
        Protocol::Mongodb => Box::new(mongodb(cluster, admin, address).await?),
        Protocol::Redshift => Box::new(redshift(cluster, admin, address).await?),
    };
    let query = CatalogQuery { database: database.to_owned(), sets: Default::default() };
    let read = engine.read_objects(&query).await;
    engine.close().await;
    let catalog = read.with_context(|| format!("reading the objects of {database:?} on {name}"))?;
    Ok(Objects { list: catalog.objects.to_vec(), unknown: catalog.unknown, source: ObjectsSource::Server })
}

async fn postgres(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    address: Option<&str>,
) -> anyhow::Result<Postgres> {
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
    let authorities = match server_ca(cluster, admin).await? {
        Some(authorities) => Some(authorities),
        None => default_server_ca(admin, aws.region()).map_err(because)?.map(str::to_owned),
    };
    let mut config = postgres_config(admin, auth, authorities).map_err(because)?;
    config.read_only = true;
    config.max_connections = 1;
    if let Some(address) = address {
        let elsewhere = parse_address(address).context("reading --address; write HOST:PORT")?;
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = elsewhere;
    }
    Ok(Postgres::new(config)?)
}

/// Nothing that it is used for writes.
async fn mongodb(cluster: &Cluster, admin: &DatabaseAdmin, address: Option<&str>) -> anyhow::Result<Mongodb> {
    mongosh::check(address)?;
    let because = |blocked: Blocked| because(admin, &blocked);
    let proof = admin_proof(admin).map_err(because)?;
    let AdminProof::X509 { secret } = proof else {
        bail!("with protocol mongodb the admin user logs in with a certificate; use spec.auth.x509");
    };
    let read = secret_of(cluster, secret, proof.field()).await?;
    let certificate = ClientCertificate {
        cert_pem: value(&read, "tls.crt", proof.field())?,
        key_pem: value(&read, "tls.key", proof.field())?.into(),
    };
    let config = mongodb_config(admin, certificate, server_ca(cluster, admin).await?).map_err(because)?;
    Ok(Mongodb::new(config)?)
}

/// Nothing that it is used for writes.
async fn redshift(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    address: Option<&str>,
) -> anyhow::Result<Redshift> {
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
        AdminProof::X509 { .. } => bail!("Redshift takes no client certificates; use spec.auth.awsIam"),
    };
    let mut config = redshift_config(admin, auth, server_ca(cluster, admin).await?).map_err(because)?;
    config.max_connections = 1;
    if let Some(address) = address {
        let elsewhere =
            rolecall_redshift::parse_address(address).context("reading --address; write HOST:PORT")?;
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = elsewhere;
    }
    Ok(Redshift::new(config)?)
}

fn because(admin: &DatabaseAdmin, blocked: &Blocked) -> anyhow::Error {
    anyhow!("the DatabaseAdmin {:?}: {}", admin.name_any(), blocked.message)
}

async fn server_ca(cluster: &Cluster, admin: &DatabaseAdmin) -> anyhow::Result<Option<String>> {
    let Some(reference) = &admin.spec.tls.ca_secret_ref else { return Ok(None) };
    let field = "spec.tls.caSecretRef";
    let read = secret_of(cluster, &reference.name, field).await?;
    value(&read, &reference.key, field).map(Some)
}

async fn secret_of(cluster: &Cluster, name: &str, field: &str) -> anyhow::Result<Secret> {
    cluster.api::<Secret>().get(name).await.map_err(plain).with_context(|| {
        format!(
            "--live connects as the admin user, which takes the Secret {name:?} ({field}), and you could not read it; \
             --objects FILE shows permissions without it"
        )
    })
}

fn value(secret: &Secret, key: &str, field: &str) -> anyhow::Result<String> {
    let name = secret.name_any();
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let value =
        value.ok_or_else(|| anyhow!("the Secret {name:?}, which {field} names, has no key {key:?}"))?;
    String::from_utf8(value.0.clone())
        .map_err(|_| anyhow!("the key {key:?} of the Secret {name:?}, which {field} names, is no text"))
}
