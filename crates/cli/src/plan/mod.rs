//! What applying manifests would change: who gains and loses what, which sessions end, what the operator runs.
//!
//! Everything is decided by a pure function over two states of a namespace ([`compare`]).

mod changed;
mod compare;
mod kustomize;
mod markdown;
mod names;
mod objects;
mod overlay;
mod question;
mod sessions;
mod sets;
mod show;
mod statements;
mod summary;
mod view;

pub use compare::compare;
pub use markdown::markdown;
pub use question::{KnownObjects, Question};
pub use show::table;
pub use view::*;

use rolecall_api::DatabaseSession;

use crate::Exit;
use crate::args::{Global, PlanArgs};
use crate::input::{
    Cluster, Namespace, collect_manifests, documents, kustomizations, parse_documents, read_manifests,
};
use crate::output::{self, Output, colour, render};

/// The command.
///
/// # Errors
///
/// Input that cannot be read, an API server that does not answer.
pub async fn run(global: &Global, args: &PlanArgs) -> anyhow::Result<Exit> {
    let mut manifests = manifests(global, args).await?;
    let objects = args.objects.iter().map(|text| objects::read(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut before, sessions) = match args.against.is_empty() {
        false => (against(global, args)?, Vec::new()),
        true => of_cluster(global, &manifests).await?,
    };
    before.cluster_name.clone_from(&args.cluster.cluster_name);
    manifests.cluster_name.clone_from(&args.cluster.cluster_name);
    let after = match args.against.is_empty() {
        false => manifests,
        true => overlay::applied(&before, &manifests, args.prune),
    };
    let now = jiff::Timestamp::now();
    let question = Question { before: &before, after: &after, sessions: &sessions, objects: &objects, now };
    let plan = compare(question);
    let text = match global.output() {
        Output::Markdown => markdown(&plan),
        output => render(&plan, output, || table(&plan, colour()))?,
    };
    output::print(&text)?;
    Ok(if plan.grows { Exit::Refused } else { Exit::Done })
}

/// The manifests that would be applied.
async fn manifests(global: &Global, args: &PlanArgs) -> anyhow::Result<Namespace> {
    let documents = match &args.kustomize {
        Some(directory) => {
            let place = format!("the kustomization {}", directory.display());
            parse_documents(&kustomize::build(directory).await?, &place)?
        }
        None => {
            note(kustomizations(&args.files));
            documents(&args.files)?
        }
    };
    let (namespace, notes) = collect_manifests(documents, global.namespace.as_deref())?;
    note(notes);
    Ok(namespace)
}

fn against(global: &Global, args: &PlanArgs) -> anyhow::Result<Namespace> {
    let (namespace, _) = read_manifests(&args.against, global.namespace.as_deref())?;
    Ok(namespace)
}

/// The namespace of the manifests as it is in the cluster, and its sessions.
async fn of_cluster(
    global: &Global,
    manifests: &Namespace,
) -> anyhow::Result<(Namespace, Vec<DatabaseSession>)> {
    let mut global = global.clone();
    global.namespace = global.namespace.or_else(|| manifests.name.clone());
    let cluster = Cluster::connect(&global).await?;
    let (namespace, sessions) =
        futures::try_join!(cluster.namespace(), crate::input::list::<DatabaseSession>(cluster.api()))?;
    Ok((namespace, sessions))
}

fn note(notes: Vec<String>) {
    for note in notes {
        output::say(format_args!("note: {note}"));
    }
}
