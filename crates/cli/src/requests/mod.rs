//! Sessions that wait for approval: which there are, approving and denying them.

mod decide;
mod show;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rolecall_api::names::GROUP;
use rolecall_api::{DatabaseSession, DatabaseSessionDecision, Verdict};

use crate::Exit;
use crate::args::{ApproveArgs, DenyArgs, Global, Read, RequestsArgs};
use crate::input::{Cluster, get, name_of, plain};
use crate::output::{self, Output, colour, render};
use crate::sessions::SessionList;
use decide::{Decider, already, decision, waiting};

/// The command `requests`.
///
/// # Errors
///
/// An API server that does not answer.
pub async fn list(global: &Global, args: &RequestsArgs) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let api = if args.all_namespaces { cluster.everywhere() } else { cluster.api() };
    let mut items: Vec<DatabaseSession> = crate::input::list(api).await?;
    items.retain(|session| waiting(session).is_ok());
    items.sort_by_cached_key(|session| {
        (session.namespace(), session.creation_timestamp(), session.name_any())
    });
    for session in &mut items {
        session.metadata.managed_fields = None;
    }
    let list = SessionList { api_version: "v1", kind: "List", items };
    let table = || show::table(&list.items, args.all_namespaces, Timestamp::now(), colour());
    output::print(&render(&list, global.output(), table)?)?;
    if list.items.is_empty() && global.output() == Output::Table {
        output::say("Nobody waits for approval.");
    }
    Ok(Exit::Done)
}

/// The command `approve`.
///
/// # Errors
///
/// A session that does not wait for approval, or that the caller may not approve; what the API server answers.
pub async fn approve(global: &Global, args: &ApproveArgs) -> anyhow::Result<Exit> {
    decided(global, &args.session, Verdict::Approve, args.reason.as_deref(), &args.read).await
}

/// The command `deny`.
///
/// # Errors
///
/// As [`approve`].
pub async fn deny(global: &Global, args: &DenyArgs) -> anyhow::Result<Exit> {
    decided(global, &args.session, Verdict::Deny, Some(&args.reason), &args.read).await
}

async fn decided(
    global: &Global,
    name: &str,
    verdict: Verdict,
    reason: Option<&str>,
    read: &Read,
) -> anyhow::Result<Exit> {
    let cluster = Cluster::connect(global).await?;
    let name = &name_of::<DatabaseSession>(name)?;
    let session: DatabaseSession = get(&cluster, name).await?;
    let (request, progress) = waiting(&session)?;
    let user = cluster.user_info().await?;
    let mut roles = Vec::new();
    for need in &progress.needs {
        if may_approve(&cluster, &need.role).await? {
            roles.push(need.role.clone());
        }
    }
    let UserInfo { username, groups, .. } = user;
    let decider = Decider { name: username.unwrap_or_default(), groups: groups.unwrap_or_default(), roles };
    let decision = decision(&session, &decider, verdict, reason)?;
    // To standard error: standard output has the decision.
    output::say(show::request(request, progress, Timestamp::now()).trim_end());
    if let Some(hash) = &read.hash {
        let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
        let asked = request.hash.strip_prefix("sha256:").unwrap_or_default();
        if hash.len() < 8 || !asked.starts_with(hash) {
            bail!(
                "the session {name} asks for something else than what was read: its hash is {}",
                request.hash
            );
        }
    } else if !read.yes && !confirmed(name, verdict)? {
        bail!("nothing was decided");
    }
    let api: Api<DatabaseSessionDecision> = cluster.api();
    let made = api.create(&PostParams::default(), &decision).await;
    if let Err(kube::Error::Api(status)) = &made
        && status.is_already_exists()
    {
        return Err(already(name));
    }
    let made = made.map_err(plain).with_context(|| format!("deciding about the session {name}"))?;
    let done = || {
        let done = if verdict == Verdict::Approve { "approved" } else { "denied" };
        format!("session {name} {done} on behalf of {}\n", made.spec.roles.join(", "))
    };
    output::print(&render(&made, global.output(), done)?)?;
    Ok(Exit::Done)
}

/// Asks whoever sits at the terminal.
fn confirmed(name: &str, verdict: Verdict) -> anyhow::Result<bool> {
    use std::io::{BufRead, IsTerminal};
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask at; say --hash with the hash of what was read, or --yes");
    }
    output::say(format_args!("{} {name}? [y/N]", verdict.as_str()));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Does the caller have the verb `approve` on a role?
async fn may_approve(cluster: &Cluster, role: &str) -> anyhow::Result<bool> {
    let attributes = ResourceAttributes {
        namespace: Some(cluster.namespace_name().to_owned()),
        verb: Some("approve".to_owned()),
        group: Some(GROUP.to_owned()),
        resource: Some("provisioningroles".to_owned()),
        name: Some(role.to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client().clone());
    let answer = api.create(&PostParams::default(), &review).await.map_err(plain);
    let answer = answer.with_context(|| format!("asking whether you may approve on behalf of {role}"))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
