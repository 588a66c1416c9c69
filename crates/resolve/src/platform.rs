//! Which kind of server a DatabaseAdmin with protocol postgres names, by its host names.

use rolecall_api::DatabaseAdmin;
use rolecall_aws::{Host, Service};
use rolecall_postgres::{Platform, parse_address};

/// The names that a PostgreSQL server is reached by and that it has itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Host and port of `spec.uri`.
    pub(crate) dialled: (String, u16),
    /// Host and port of `spec.auth.awsIam.endpoint`, else as dialled.
    pub(crate) own: (String, u16),
}

impl Names {
    /// # Errors
    ///
    /// Why an address cannot be read.
    pub(crate) fn of(admin: &DatabaseAdmin) -> Result<Self, String> {
        let dialled = parse_address(&admin.spec.uri).map_err(|error| error.to_string())?;
        let endpoint = admin.spec.auth.aws_iam.as_ref().and_then(|iam| iam.endpoint.as_deref());
        let own = match endpoint.map(|endpoint| endpoint.split_once(':').unwrap_or((endpoint, ""))) {
            None => dialled.clone(),
            Some((host, "")) => (host.to_owned(), dialled.1),
            Some((host, port)) => {
                let port = port.parse().map_err(|_| {
                    format!("spec.auth.awsIam.endpoint: {port:?} is no port; write host or host:port")
                })?;
                (host.to_owned(), port)
            }
        };
        Ok(Self { dialled, own })
    }

    /// What each of the two hosts leads to, where it is one of AWS.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, Service)> {
        let service = |host: &'_ str| Host::of(host).map(|of| of.service);
        [&self.own.0, &self.dialled.0]
            .into_iter()
            .filter_map(move |host| service(host).map(|service| (host.as_str(), service)))
    }
}

/// The host by which a DatabaseAdmin names one side of a blue/green deployment of RDS, which changes its name at the
/// switchover.
pub fn blue_green_host(admin: &DatabaseAdmin) -> Option<String> {
    let Names { own, dialled } = Names::of(admin).ok()?;
    [own.0, dialled.0].into_iter().find(|host| Host::of(host).is_some_and(|host| host.is_blue_green()))
}

/// The platform of a PostgreSQL server: as written, else from the host name.
///
/// # Errors
///
/// Why users cannot be provisioned there, or why the address cannot be read.
pub fn postgres_platform(admin: &DatabaseAdmin) -> Result<Platform, String> {
    let names = Names::of(admin)?;
    let mut derived = Platform::SelfHosted;
    for (host, service) in names.services() {
        if let Some(why) = service.refusal() {
            return Err(format!("{host:?} {why}"));
        }
        if service == Service::Redshift {
            return Err(format!("{host:?} is Amazon Redshift; set protocol: redshift"));
        }
        derived = Platform::Rds;
    }
    match admin.spec.platform {
        None => Ok(derived),
        Some(rolecall_api::Platform::SelfHosted) => Ok(Platform::SelfHosted),
        Some(rolecall_api::Platform::Rds) => Ok(Platform::Rds),
        Some(rolecall_api::Platform::Redshift) => Err("platform Redshift needs protocol redshift".to_owned()),
    }
}
