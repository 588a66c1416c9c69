//! What is wrong between the operator and a database server, and how to mend it.
//!
//! | module | contents | I/O |
//! |---|---|---|
//! | `cluster_view` | what the operator says | no |
//! | `probe` | what anybody sees of the server | network |
//! | `tls_view` | what that means | no |
//! | `rights`, `surroundings` | what the admin user may do; clocks, event triggers, pg_hba.conf | no |
//! | `report`, `show`, `script` | the answer, as a table and as a script | no |

mod args;
mod cluster_view;
mod probe;
mod report;
mod rights;
mod script;
mod show;
mod surroundings;
mod tls_view;

use jiff::Timestamp;
use kube::ResourceExt;
use rolecall_api::{DatabaseAdmin, DatabaseSession, Protocol};
use rolecall_engine::{Error, Needs, Reason};
use rolecall_resolve::{AdminProof, admin_proof};

pub use args::DoctorArgs;
pub use report::{Area, Check, Diagnosis, Status, Verdict};
pub use show::text;

use crate::Exit;
use crate::admin_login::{AdminLogin, Obstacle, server_authorities};
use crate::args::Global;
use crate::connect::iam;
use crate::explain::API_VERSION;
use crate::input::{Cluster, Namespace, get, list, name_of};
use crate::output::{self, colour, render};
use crate::reach::Elsewhere;
use surroundings::Clocks;
use tls_view::{Authorities, Setting};

/// The command.
///
/// # Errors
///
/// No such DatabaseAdmin, an API server that does not answer.
pub async fn run(global: &Global, args: &DoctorArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let admin: DatabaseAdmin = get(&cluster, &name_of::<DatabaseAdmin>(&args.database)?).await?;
    probe::check(&admin, args.address.as_deref())?;
    let diagnosis = diagnose(&cluster, &admin, args).await;
    let colour = colour();
    let text = match args.fix_sql {
        true => script::script(&diagnosis),
        false => render(&diagnosis, global.output(), || text(&diagnosis, colour))?,
    };
    output::print(&text)?;
    Ok(diagnosis.verdict.exit())
}

async fn diagnose(cluster: &Cluster, admin: &DatabaseAdmin, args: &DoctorArgs) -> Diagnosis {
    let mut checks = cluster_view::checks(admin);
    let sessions: Vec<DatabaseSession> = match list(cluster.api()).await {
        Ok(sessions) => sessions,
        Err(error) => {
            let text = format!("what live sessions need and show is not known: {error:#}");
            checks.push(Check::new(Area::Cluster, Status::Note, text));
            Vec::new()
        }
    };
    let (way, noted) = way(cluster, admin, args.address.as_deref()).await;
    checks.extend(noted);
    // The port is open until the end.
    let local = way.as_ref().map(|way| way.address.to_string());
    let address = local.as_deref().or(args.address.as_deref());
    let authorities = authorities(cluster, admin, &sessions).await;
    match probe::places(admin, address) {
        Ok(places) => {
            if places.is_srv {
                checks.push(Check::new(
                    Area::Address,
                    Status::Note,
                    "the members are listed by SRV records: they are dialled at the login only",
                ));
            }
            let users = &admin.spec.user_credentials;
            let probes = probe::probe(&places).await;
            let setting = Setting {
                tls: &places.tls,
                authorities: &authorities,
                operator_reaches: cluster_view::reaches(admin),
                by_certificate: admin.spec.auth.x509.is_some() || users.x509.is_some(),
                now: Timestamp::now(),
            };
            checks.extend(probes.iter().flat_map(|probe| tls_view::checks(probe, setting)));
            let answers = places.is_srv || probes.iter().any(probe::Probe::answers);
            checks.extend(as_admin(cluster, admin, &sessions, address, answers).await);
        }
        Err(error) => checks.push(Check::failed(Area::Address, format!("{error:#}"))),
    }
    Diagnosis {
        api_version: API_VERSION,
        kind: "Diagnosis",
        namespace: cluster.namespace_name().to_owned(),
        database: admin.name_any(),
        protocol: admin.spec.protocol,
        uri: admin.spec.uri.clone(),
        admin_user: rolecall_resolve::admin_user(admin).name,
        verdict: Verdict::of(&checks),
        checks,
    }
}

/// What is dialled in place of the server's own address, and what to say of that. Where no way is found, it shows when the
/// server is dialled.
async fn way(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    asked: Option<&str>,
) -> (Option<Elsewhere>, Option<Check>) {
    let note = |text: String| Some(Check::new(Area::Address, Status::Note, text));
    let Ok(places) = probe::places(admin, None) else { return (None, None) };
    // MongoDB's driver dials the names of all members for itself.
    let (Some((host, port)), false) = (places.hosts.first(), admin.spec.protocol == Protocol::Mongodb) else {
        return (None, None);
    };
    match Elsewhere::find(cluster, host, *port, asked).await {
        Ok(Some(way)) if asked.is_none() => {
            let text = format!(
                "{host} does not resolve here, and is reached by a port-forward through the API server, at {}",
                way.address
            );
            (Some(way), note(text))
        }
        Ok(way) => (way, None),
        Err(error) => (None, note(format!("no way to {host} was found from here: {error:#}"))),
    }
}

/// What the server's certificate is checked against: by its Secret, else as a session reports it, which takes no right
/// to read Secrets.
async fn authorities(cluster: &Cluster, admin: &DatabaseAdmin, sessions: &[DatabaseSession]) -> Authorities {
    match server_authorities(cluster, admin).await {
        Ok(authorities) => Authorities::Known(authorities),
        Err(Obstacle::Unusable(error)) => Authorities::Unknown(format!("{error:#}")),
        Err(Obstacle::Unreadable { secret, field, .. }) => {
            let name = admin.name_any();
            let of_admin = sessions.iter().filter(|session| session.spec.database == name);
            let bundle = of_admin
                .filter_map(|session| session.status.as_ref()?.connection.as_ref()?.ca_bundle.as_ref())
                .find_map(|bundle| String::from_utf8(bundle.0.clone()).ok());
            match bundle {
                Some(bundle) => Authorities::Known(Some(bundle)),
                None => Authorities::Unknown(format!(
                    "you may not read the Secret {secret:?} ({field}), and no session shows its CAs"
                )),
            }
        }
    }
}

/// What is seen by logging in as the admin user, and why it is not.
async fn as_admin(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    sessions: &[DatabaseSession],
    address: Option<&str>,
    answers: bool,
) -> Vec<Check> {
    let api_server = cluster.clock().await.ok().flatten().map(|at| (at, Timestamp::now()));
    let only_cluster = || surroundings::clocks(Clocks { server: None, cluster: api_server });
    if !answers {
        let mut checks = vec![Check::new(
            Area::Login,
            Status::Unknown,
            "the login, the rights and what else takes a login could not be looked at: the server does not answer from here",
        )];
        checks.extend(only_cluster());
        return checks;
    }
    let login = match AdminLogin::new(cluster, admin, address).await {
        Ok(login) => login,
        Err(Obstacle::Unreadable { secret, field, error }) => {
            let mut checks = vec![Check::new(
                Area::Login,
                Status::Unknown,
                format!(
                    "the login, the rights and what else takes a login could not be looked at: they take the Secret {secret:?} ({field}), and you could not read it ({error:#})"
                ),
            )];
            checks.extend(only_cluster());
            return checks;
        }
        Err(Obstacle::Unusable(error)) => {
            let mut checks = vec![Check::failed(Area::Login, format!("{error:#}"))];
            checks.extend(only_cluster());
            return checks;
        }
    };
    let by_iam = admin_proof(admin).is_ok_and(|proof| proof == AdminProof::AwsIam);
    if by_iam && let Err(error) = iam::ambient().credentials().await {
        let mut checks = vec![Check::new(
            Area::Login,
            Status::Unknown,
            format!(
                "the login, the rights and what else takes a login could not be looked at: they take AWS credentials of yours ({error})"
            ),
        )];
        checks.extend(only_cluster());
        return checks;
    }
    let (needs, mut checks) = needs(cluster, admin, sessions).await;
    let user = rolecall_resolve::admin_user(admin).name.unwrap_or_default();
    match login.engine().preflight(&needs).await {
        Err(error) => {
            checks.push(login_failed(&error, by_iam, cluster_view::reaches(admin)));
            checks.extend(only_cluster());
        }
        Ok(preflight) => {
            checks.push(Check::ok(
                Area::Login,
                format!("{user:?} logs in; the server has version {}", preflight.version),
            ));
            let pooler = preflight.findings.iter().find(|found| found.reason == Reason::PoolerInBetween);
            checks.push(match pooler {
                Some(finding) => Check::found(Area::Pooler, Status::Failed, finding),
                None => Check::ok(Area::Pooler, "no pooler or proxy was noticed between here and the server"),
            });
            checks.extend(rights::checks(&preflight, &needs, admin.spec.protocol, &user));
            let before = Timestamp::now();
            match login.examine().examine(&needs.databases).await {
                Ok(found) => {
                    let after = Timestamp::now();
                    let server = found.clock.and_then(|at| Timestamp::from_microsecond(at).ok());
                    let server = server.map(|at| (at, before, after));
                    checks.extend(surroundings::clocks(Clocks { server, cluster: api_server }));
                    checks.extend(surroundings::checks(&found, admin));
                }
                Err(error) => {
                    checks.push(Check::new(Area::EventTriggers, Status::Unknown, error.to_string()));
                    checks.extend(only_cluster());
                }
            }
        }
    }
    login.engine().close().await;
    checks
}

/// A login that did not come about. What is refused to this machine, or to whose AWS credentials are used here, may be
/// let in where the operator is.
fn login_failed(error: &Error, by_iam: bool, operator_reaches: Option<bool>) -> Check {
    /// No rule lets this client in.
    const NO_RULE: &str = "28000";
    let of_here = error.reason == Reason::LoginFailed && (by_iam || error.code == NO_RULE);
    let check = match operator_reaches {
        Some(true) if of_here => Check::new(
            Area::Login,
            Status::Unknown,
            format!(
                "{error}; the operator says that it logs in: the server may have other rules for where you are, or this is new"
            ),
        ),
        _ => Check::failed(Area::Login, error.to_string()),
    };
    check.because(error.reason.as_str())
}

/// What the admin user needs; what of it could not be found out. What users are called in databases does not matter for
/// it, so that the cluster's name is not asked for.
async fn needs(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    sessions: &[DatabaseSession],
) -> (Needs, Vec<Check>) {
    match cluster.namespace().await {
        Ok(namespace) => (rights::needs(&namespace, sessions, admin), Vec::new()),
        Err(error) => {
            let check = Check::new(
                Area::Rights,
                Status::Unknown,
                format!("which roles and logical databases are needed could not be found out: {error:#}"),
            );
            (rights::needs(&Namespace::default(), sessions, admin), vec![check])
        }
    }
}

#[cfg(test)]
mod tests {
    use rolecall_engine::Class;

    use super::*;

    #[test]
    fn a_login_that_is_refused_here_is_a_fault_unless_the_operator_logs_in() {
        let error = |reason, code: &str| Error {
            class: Class::Unreachable,
            reason,
            attempted: "connecting".to_owned(),
            code: code.to_owned(),
            detail: "no".to_owned(),
            remedy: String::new(),
        };
        let status =
            |reason, code, by_iam, reaches| login_failed(&error(reason, code), by_iam, reaches).status;
        assert_eq!(status(Reason::LoginFailed, "28000", false, Some(true)), Status::Unknown);
        assert_eq!(status(Reason::LoginFailed, "28000", false, Some(false)), Status::Failed);
        assert_eq!(status(Reason::LoginFailed, "28000", false, None), Status::Failed);
        assert_eq!(
            status(Reason::LoginFailed, "28P01", false, Some(true)),
            Status::Failed,
            "a wrong password"
        );
        assert_eq!(
            status(Reason::LoginFailed, "", true, Some(true)),
            Status::Unknown,
            "other AWS credentials"
        );
        assert_eq!(status(Reason::TlsFailed, "", false, Some(true)), Status::Failed);
    }
}
