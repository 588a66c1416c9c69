//! Whether the audit log is whole.

mod read;
mod show;

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use rolecall_ledger::verify::Options;
use rolecall_ledger::{Head, Verification};
use serde::Serialize;

pub(crate) use read::{keys, read};
pub(crate) use show::seconds;
pub use show::table;

use crate::Exit;
use crate::args::{AuditArgs, AuditCommand, Global, VerifyArgs};
use crate::explain::API_VERSION;
use crate::input::{Cluster, plain};
use crate::output::{self, colour, render};

/// The Lease of the operator, and the annotation that names the last line.
const LEASE: &str = "rolecall-operator";
const ANNOTATION: &str = "rolecall.dev/audit-head";

/// What `audit verify` answers. Its JSON is stable like that of `explain`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// [`API_VERSION`].
    pub api_version: &'static str,
    /// `AuditVerification`.
    pub kind: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub found: Verification,
}

/// The command.
///
/// # Errors
///
/// A file that cannot be read, a cluster that does not answer, a key that is missing.
pub async fn run(global: &Global, args: &AuditArgs) -> anyhow::Result<Exit> {
    let AuditCommand::Verify(args) = &args.command;
    verify(global, args).await
}

async fn verify(global: &Global, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut heads =
        args.head.iter().map(|head| head.parse::<Head>()).collect::<Result<Vec<_>, _>>().context("--head")?;
    // Before the files: what is written meanwhile comes after it.
    if let Some(namespace) = &args.lease {
        heads.push(published(global, namespace).await?);
    }
    let options = Options { keys: keys(&args.key_file)?, heads, complete: args.complete };
    let found = check(&read(&args.files)?, &options)?;
    let answer = Answer { api_version: API_VERSION, kind: "AuditVerification", found };
    let colour = colour();
    output::print(&render(&answer, global.output(), || table(&answer.found, colour))?)?;
    Ok(if answer.found.ok { Exit::Done } else { Exit::Refused })
}

/// Checks lines.
///
/// # Errors
///
/// A chain that is sealed, where its key is not there.
pub(crate) fn check(lines: &rolecall_ledger::Lines, options: &Options) -> anyhow::Result<Verification> {
    rolecall_ledger::verify(lines, options).map_err(|chain| {
        anyhow::anyhow!(
            "chain {chain} is sealed with a key, without which it cannot be checked: name it with --key-file"
        )
    })
}

/// The last line that the operator published.
async fn published(global: &Global, namespace: &str) -> anyhow::Result<Head> {
    let cluster = Cluster::connect(global).await?;
    let leases: Api<Lease> = Api::namespaced(cluster.client().clone(), namespace);
    let lease = leases.get_opt(LEASE).await.map_err(plain);
    let lease = lease.with_context(|| format!("reading the Lease {namespace}/{LEASE}"))?;
    let Some(lease) = lease else {
        bail!("there is no Lease {namespace}/{LEASE}: name the namespace that the operator runs in")
    };
    let head = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION));
    let head = head.with_context(|| {
        format!("the Lease {namespace}/{LEASE} names no line of the audit log: no operator that writes one has led yet")
    })?;
    head.parse().with_context(|| format!("the annotation {ANNOTATION} of the Lease {namespace}/{LEASE}"))
}
