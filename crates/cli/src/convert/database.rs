//! Databases.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rolecall_api::{
    AdminAwsIam, AdminUser, AdminX509, Auth, CaSecretRef, DatabaseAdmin, DatabaseAdminSpec, Protocol,
    SecretKeyRef, SecretRef, Tls, TlsMode, UserAwsIam, UserCredentials, UserX509,
};
use serde_json::{Value, json};

use super::fields::Field;
use super::{Fields, Object, Reporter, Resource};

/// Where a host name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    SelfHosted,
    Rds,
    Redshift,
}

/// Converts a database.
///
/// # Errors
///
/// A field with an unexpected value.
pub(super) fn convert(
    mut resource: Resource<'_>,
    metadata: ObjectMeta,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<Vec<Object>> {
    let name = metadata.name.clone().unwrap_or_default();
    let labels = resource.take_labels();
    let mut fields = resource.spec;
    let uri = fields.text("uri")?.unwrap_or_else(|| {
        reporter.lost(
            "spec.uri",
            "it is missing; write the server's host:port in place of the one that leads nowhere",
        );
        format!("{name}.invalid:5432")
    });
    let service = service(host(&uri));
    let Some(protocol) = protocol(fields.text("protocol")?.as_deref(), service, &uri, reporter) else {
        return Ok(Vec::new());
    };
    let admin_user = admin_user(fields.take("admin_user"), reporter)?;
    if admin_user.name.is_none() && !labels.contains_key(rolecall_api::names::ADMIN_USER_LABEL) {
        reporter.note(
            "spec.admin_user",
            "it is missing; nothing is provisioned until spec.adminUser.name is written",
        );
    }
    let (mut tls, secret) = tls(&mut fields, &name, reporter)?;
    if protocol == Protocol::Mongodb && (tls.mode != TlsMode::VerifyFull || tls.server_name.is_some()) {
        reporter.lost(
            "spec.tls",
            "certificates of MongoDB servers are verified in full, by the names in uri; write those that they carry",
        );
        tls = Tls { mode: TlsMode::VerifyFull, server_name: None, ..tls };
    }
    let mut aws = fields.fields("aws")?;
    let region = aws.text("region")?;
    for key in ["assume_role_arn", "external_id"] {
        if let Some(field) = aws.take(key).filter(|field| !is_empty(field.value)) {
            reporter.lost(
                field.path,
                "the operator uses its own AWS credentials; give it a role that may connect",
            );
        }
    }
    if let Some(field) = fields.take("dynamic_labels") {
        reporter.lost(field.path, "labels are not computed by commands; write their values into labels");
    }
    for key in ["gcp", "azure", "ad", "mysql", "oracle", "mongo_atlas"] {
        if let Some(field) = fields.take(key).filter(|field| !is_empty(field.value)) {
            reporter.lost(field.path, "this kind of server is not supported");
        }
    }
    for field in fields.rest() {
        reporter.lost(field.path, "there is no such field in a DatabaseAdmin");
    }
    let (auth, user_credentials) = credentials(service, protocol, &name, region, reporter);
    let uri = if protocol == Protocol::Mongodb { mongodb_uri(&uri, reporter) } else { uri };
    let mut spec: DatabaseAdminSpec =
        serde_json::from_value(json!({"protocol": protocol, "uri": uri, "auth": auth}))
            .context("making a DatabaseAdmin")?;
    spec.labels = labels;
    spec.admin_user = admin_user;
    spec.tls = tls;
    spec.user_credentials = user_credentials;
    let mut objects: Vec<Object> =
        secret.into_iter().map(|secret| Object::Secret(Box::new(secret))).collect();
    objects.push(Object::Database(Box::new(DatabaseAdmin { metadata, spec, status: None })));
    Ok(objects)
}

/// The fields of a spec that need not be written, with their values.
pub(super) fn defaults() -> anyhow::Result<Value> {
    let required = json!({"protocol": "postgres", "uri": "", "auth": {}});
    let spec: DatabaseAdminSpec =
        serde_json::from_value(required.clone()).context("making a DatabaseAdmin")?;
    let mut value = serde_json::to_value(spec).context("writing a DatabaseAdmin")?;
    let fields = value.as_object_mut().ok_or_else(|| anyhow!("a DatabaseAdmin is no mapping"))?;
    fields.retain(|key, _| required.get(key).is_none());
    Ok(value)
}

fn protocol(
    written: Option<&str>,
    service: Service,
    uri: &str,
    reporter: &mut Reporter<'_>,
) -> Option<Protocol> {
    let host = host(uri);
    if let Some(why) = rolecall_aws::Host::of(host).and_then(|host| host.service.refusal()) {
        reporter.lost("spec.uri", format!("the host {why}; the database is left out"));
        return None;
    }
    match (written, service) {
        (None, _) => {
            reporter.lost("spec.protocol", "it is missing; postgres is assumed");
            Some(if service == Service::Redshift { Protocol::Redshift } else { Protocol::Postgres })
        }
        // Teleport distinguishes Redshift from PostgreSQL by the host name.
        (Some("postgres" | "redshift"), Service::Redshift) | (Some("redshift"), _) => {
            Some(Protocol::Redshift)
        }
        (Some("postgres"), _) => Some(Protocol::Postgres),
        (Some("mongodb"), _) => Some(Protocol::Mongodb),
        (Some(other), _) => {
            reporter.lost("spec.protocol", format!("{other} is not supported; the database is left out"));
            None
        }
    }
}

/// A URI of MongoDB without what the DatabaseAdmin says elsewhere, or does not know.
fn mongodb_uri(uri: &str, reporter: &mut Reporter<'_>) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("mongodb", uri));
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = hosts.rsplit_once('@').unwrap_or(("", hosts));
    if !credentials.is_empty() {
        reporter
            .lost("spec.uri", "the user name and password in it; the admin user logs in with a certificate");
    }
    if !path.is_empty() {
        reporter.lost("spec.uri", format!("the database {path} in it; sessions name theirs in databaseName"));
    }
    let mut replica_set = String::new();
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name.to_ascii_lowercase().as_str(), value) {
            ("replicaset", value) => replica_set = format!("/?replicaSet={value}"),
            ("tls" | "ssl", "true") | ("authmechanism", "MONGODB-X509") | ("authsource", _) => {}
            _ => reporter
                .lost("spec.uri", format!("the option {name} in it; no option but replicaSet is taken")),
        }
    }
    format!("{scheme}://{hosts}{replica_set}")
}

/// A name, or a mapping with a name and a default database.
fn admin_user(field: Option<Field<'_>>, reporter: &mut Reporter<'_>) -> anyhow::Result<AdminUser> {
    let Some(field) = field else { return Ok(AdminUser::default()) };
    if let Value::String(name) = field.value {
        return Ok(AdminUser {
            name: Some(name.clone()).filter(|name| !name.is_empty()),
            default_database: None,
        });
    }
    let mut fields = field.fields()?;
    let read = AdminUser { name: fields.text("name")?, default_database: fields.text("default_database")? };
    for field in fields.rest() {
        reporter.lost(field.path, "there is no such field in spec.admin_user");
    }
    Ok(read)
}

fn tls(
    fields: &mut Fields<'_>,
    name: &str,
    reporter: &mut Reporter<'_>,
) -> anyhow::Result<(Tls, Option<Secret>)> {
    let mut tls = fields.fields("tls")?;
    let mode = match tls.take("mode") {
        None => TlsMode::VerifyFull,
        Some(field) => match field.value {
            Value::String(text) if text == "verify-full" || text.is_empty() => TlsMode::VerifyFull,
            Value::String(text) if text == "verify-ca" => TlsMode::VerifyCa,
            Value::Number(number) if number.as_u64() == Some(0) => TlsMode::VerifyFull,
            Value::Number(number) if number.as_u64() == Some(1) => TlsMode::VerifyCa,
            _ => {
                reporter.lost(field.path, "an unverified server is not trusted; VerifyFull is used instead");
                TlsMode::VerifyFull
            }
        },
    };
    let server_name = tls.text("server_name")?;
    let in_tls = tls.text("ca_cert")?;
    let beside = fields.text("ca_cert")?;
    for field in tls.take("ca_cert_file").into_iter().chain(fields.take("ca_cert_file")) {
        reporter.lost(
            field.path,
            "put that file into a Secret, under ca.crt, and name it in spec.tls.caSecretRef",
        );
    }
    if let Some(field) = tls.take("trust_system_cert_pool").filter(|field| field.value == &Value::Bool(true))
    {
        reporter
            .lost(field.path, "either the authorities in tls.caSecretRef or those of the system are trusted");
    }
    for field in tls.rest() {
        reporter.lost(field.path, "there is no such field in spec.tls");
    }
    let secret = in_tls.or(beside).map(|certificate| Secret {
        metadata: ObjectMeta { name: Some(format!("{name}-ca")), ..ObjectMeta::default() },
        string_data: Some(BTreeMap::from([("ca.crt".to_owned(), certificate)])),
        ..Secret::default()
    });
    let ca_secret_ref =
        secret.as_ref().map(|_| SecretKeyRef { name: format!("{name}-ca"), key: "ca.crt".to_owned() });
    Ok((Tls { mode, ca_secret_ref, server_name }, secret))
}

/// Teleport proves itself by its own certificates, or by AWS; so does the result, from Secrets that are to be made.
fn credentials(
    service: Service,
    protocol: Protocol,
    name: &str,
    region: Option<String>,
    reporter: &mut Reporter<'_>,
) -> (Auth, UserCredentials) {
    if service != Service::SelfHosted || protocol == Protocol::Redshift {
        if service == Service::Rds {
            reporter.note(
                "",
                "give the operator an AWS role that may log in as the admin user (rds-db:connect), and run GRANT rds_iam \
                 to the admin user WITH ADMIN OPTION",
            );
        }
        if protocol == Protocol::Redshift {
            reporter.note(
                "",
                "give the operator an AWS role that may log in as the admin user (redshift:GetClusterCredentials), and make \
                 the admin user a superuser (CREATEUSER): without that no end of an access can be proven",
            );
        }
        if protocol == Protocol::Redshift && service == Service::SelfHosted {
            reporter.note(
                "spec.uri",
                "the host does not say the cluster and its region; write auth.awsIam.clusterIdentifier and region",
            );
        }
        return (
            Auth { aws_iam: Some(AdminAwsIam { region, ..AdminAwsIam::default() }), ..Auth::default() },
            UserCredentials { aws_iam: Some(UserAwsIam {}), ..UserCredentials::default() },
        );
    }
    let (admin, authority) = (format!("{name}-admin-cert"), format!("{name}-client-ca"));
    reporter.note(
        "",
        format!(
            "make two Secrets of type kubernetes.io/tls: {admin}, the admin user's certificate, and {authority}, the \
             authority that signs users' certificates; the server must trust both"
        ),
    );
    let x509 = AdminX509 { secret_ref: SecretRef { name: admin } };
    let users = UserX509 {
        ca_secret_ref: CaSecretRef { name: authority, ..CaSecretRef::default() },
        ttl: rolecall_api::GoDuration::from_secs(3_600),
    };
    (
        Auth { x509: Some(x509), ..Auth::default() },
        UserCredentials { x509: Some(users), ..UserCredentials::default() },
    )
}

fn service(host: &str) -> Service {
    match rolecall_aws::Host::of(host).map(|host| host.service) {
        Some(rolecall_aws::Service::Redshift | rolecall_aws::Service::RedshiftServerless) => {
            Service::Redshift
        }
        Some(service) if service.is_rds() => Service::Rds,
        _ => Service::SelfHosted,
    }
}

/// The host in `host:port` or in a URI; of several the last.
fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_empty),
        value => super::resource::is_off(value),
    }
}
