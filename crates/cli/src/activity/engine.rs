//! The server of a session, reached as its user.

use std::sync::Arc;

use anyhow::{anyhow, bail};
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, Protocol};
use rolecall_aws::{ClusterLogin, RdsLogin};
use rolecall_engine::Activity;
use rolecall_mongodb::{ClientCertificate, Mongodb};
use rolecall_postgres::{Auth, Postgres};
use rolecall_redshift::Redshift;
use rolecall_resolve::{
    Blocked, default_server_ca, mongodb_config, postgres_config, rds_target, redshift_config, redshift_target,
};

use super::Way;
use super::login::{Credentials, Proof};
use crate::admin_login::dials_by_name;
use crate::connect::iam;
use crate::input::Cluster;
use crate::reach::Elsewhere;

/// The server as this user, in the logical database of its session, and what it is dialled through: that is kept as
/// long as the server is used.
pub(super) async fn of_user(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    credentials: &Credentials,
    way: &Way,
) -> anyhow::Result<(Box<dyn Activity>, Option<Elsewhere>)> {
    match admin.spec.protocol {
        Protocol::Postgres => {
            let (engine, through) = postgres(cluster, admin, credentials, way).await?;
            Ok((Box::new(engine), through))
        }
        Protocol::Mongodb => Ok((Box::new(mongodb(admin, credentials, way)?), None)),
        Protocol::Redshift => {
            let (engine, through) = redshift(cluster, admin, credentials, way).await?;
            Ok((Box::new(engine), through))
        }
    }
}

async fn postgres(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    credentials: &Credentials,
    way: &Way,
) -> anyhow::Result<(Postgres, Option<Elsewhere>)> {
    let because = |blocked: Blocked| because(admin, &blocked);
    let Credentials { access, proof } = credentials;
    let aws = iam::ambient();
    let auth = match proof {
        Proof::Certificate(cert_pem, key_pem) => {
            Auth::X509 { cert_pem: cert_pem.clone(), key_pem: key_pem.clone() }
        }
        Proof::Password(password) => Auth::Password(password.clone()),
        Proof::AwsIam => {
            let target = rds_target(admin, &access.username, aws.region()).map_err(because)?;
            Auth::Login(Arc::new(RdsLogin::new(Arc::clone(&aws), target)))
        }
    };
    let authorities = match authorities(admin, credentials)? {
        Some(authorities) => Some(authorities),
        None => default_server_ca(admin, aws.region()).map_err(because)?.map(str::to_owned),
    };
    let mut config = postgres_config(admin, auth, authorities).map_err(because)?;
    config.admin_user.clone_from(&access.username);
    config.default_database.clone_from(&access.connection.database);
    config.read_only = true;
    config.max_connections = 1;
    let through = Elsewhere::find(cluster, &config.host, config.port, way.address.as_deref()).await?;
    if let Some(through) = &through {
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = (through.address.ip().to_string(), through.address.port());
    }
    Ok((Postgres::new(config)?, through))
}

fn mongodb(admin: &DatabaseAdmin, credentials: &Credentials, way: &Way) -> anyhow::Result<Mongodb> {
    dials_by_name(way.address.as_deref())?;
    let Proof::Certificate(cert_pem, key_pem) = &credentials.proof else {
        bail!("on MongoDB users log in with certificates; use userCredentials.x509");
    };
    let certificate = ClientCertificate { cert_pem: cert_pem.clone(), key_pem: key_pem.clone() };
    let mut config = mongodb_config(admin, certificate, authorities(admin, credentials)?)
        .map_err(|blocked| because(admin, &blocked))?;
    let username = &credentials.access.username;
    config.admin_user =
        rolecall_mongodb::account_name(username).map_or_else(|| username.clone(), |name| name.to_string());
    Ok(Mongodb::new(config)?)
}

async fn redshift(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    credentials: &Credentials,
    way: &Way,
) -> anyhow::Result<(Redshift, Option<Elsewhere>)> {
    let because = |blocked: Blocked| because(admin, &blocked);
    let Credentials { access, proof } = credentials;
    let aws = iam::ambient();
    let auth = match proof {
        Proof::Password(password) => rolecall_redshift::Auth::Password(password.clone()),
        Proof::AwsIam => {
            let target = redshift_target(admin, &access.username, aws.region()).map_err(because)?;
            rolecall_redshift::Auth::Lent(Arc::new(ClusterLogin::new(aws, target)))
        }
        Proof::Certificate(..) => bail!("Redshift takes no client certificates; use userCredentials.awsIam"),
    };
    let mut config = redshift_config(admin, auth, authorities(admin, credentials)?).map_err(because)?;
    config.admin_user.clone_from(&access.username);
    config.default_database.clone_from(&access.connection.database);
    config.read_only = true;
    config.max_connections = 1;
    let through = Elsewhere::find(cluster, &config.host, config.port, way.address.as_deref()).await?;
    if let Some(through) = &through {
        config.tls.server_name.get_or_insert_with(|| config.host.clone());
        (config.host, config.port) = (through.address.ip().to_string(), through.address.port());
    }
    Ok((Redshift::new(config)?, through))
}

/// The authorities of the server's certificate, as the session reports them.
fn authorities(admin: &DatabaseAdmin, credentials: &Credentials) -> anyhow::Result<Option<String>> {
    let Some(bundle) = &credentials.access.connection.ca_bundle else {
        // The system's authorities did not sign what authorities of one's own were named for.
        if admin.spec.tls.ca_secret_ref.is_some() {
            bail!("the session does not contain the CAs of the server's certificate");
        }
        return Ok(None);
    };
    let text = String::from_utf8(bundle.0.clone());
    Ok(Some(text.map_err(|_| anyhow!("the CAs in the session's status are no text"))?))
}

fn because(admin: &DatabaseAdmin, blocked: &Blocked) -> anyhow::Error {
    anyhow!("the DatabaseAdmin {:?}: {}", admin.name_any(), blocked.message)
}
