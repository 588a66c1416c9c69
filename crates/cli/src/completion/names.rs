//! Names of objects, for completion: from the cluster that the command line names.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use rolecall_api::{DatabaseAdmin, DatabaseSession, DatabaseUser};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::args::Global;
use crate::input::{Cluster, contexts};

/// How long the cluster is waited for: somebody waits at a prompt.
const PATIENCE: Duration = Duration::from_secs(2);

/// The command with names for the values that are names. `words`: the command line.
pub(super) fn completing(command: Command, words: &[OsString]) -> Command {
    let global = global(words);
    let with = global.clone();
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "context" => arg.add(completer(with.clone(), |global| Box::pin(async move { contexts(&global) }))),
        _ => arg,
    });
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let global = global.clone();
        command.mut_subcommand(name, move |subcommand| {
            subcommand.mut_args(|arg| match arg.get_id().as_str() {
                "database" => arg.add(objects::<DatabaseAdmin>(global.clone())),
                "user" => arg.add(objects::<DatabaseUser>(global.clone())),
                "sessions" | "session" => arg.add(objects::<DatabaseSession>(global.clone())),
                _ => arg,
            })
        })
    })
}

type Names = std::pin::Pin<Box<dyn Future<Output = Vec<String>> + Send>>;

fn objects<K>(global: Global) -> ArgValueCompleter
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    completer(global, |global| Box::pin(async move { list::<K>(&global).await.unwrap_or_default() }))
}

async fn list<K>(global: &Global) -> anyhow::Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let cluster = Cluster::connect(global).await?;
    Ok(crate::input::list::<K>(cluster.api()).await?.iter().map(ResourceExt::name_any).collect())
}

/// Completes with names. Whoever cannot have them completes nothing.
fn completer(global: Global, names: impl Fn(Global) -> Names + Send + Sync + 'static) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let current = current.to_string_lossy();
        let wanted = names(global.clone());
        // The engine that asks is not async; a worker of the runtime waits for it.
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { timeout(PATIENCE, wanted).await })
        });
        let mut found = found.unwrap_or_default();
        found.retain(|name| name.starts_with(&*current));
        found.sort();
        found.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// Which cluster and namespace the command line names, as far as it is written.
fn global(words: &[OsString]) -> Global {
    let value = |names: &[&str]| -> Option<String> {
        words.iter().enumerate().find_map(|(index, word)| {
            let word = word.to_string_lossy();
            match word.split_once('=') {
                Some((name, value)) if names.contains(&name) => Some(value.to_owned()),
                _ if names.contains(&&*word) => Some(words.get(index + 1)?.to_string_lossy().into_owned())
                    .filter(|value| !value.is_empty()),
                _ => None,
            }
        })
    };
    Global {
        namespace: value(&["-n", "--namespace"]),
        context: value(&["--context"]),
        cluster: value(&["--cluster"]),
        kubeconfig: value(&["--kubeconfig"]).map(Into::into),
        impersonate: value(&["--as"]),
        ..Global::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_which_cluster_is_asked() {
        let words = ["kubectl-rolecall", "connect", "-n", "shop", "--context=prod", "--as", "", "or"];
        let global = global(&words.map(OsString::from));
        assert_eq!(global.namespace.as_deref(), Some("shop"));
        assert_eq!(global.context.as_deref(), Some("prod"));
        assert_eq!(global.impersonate, None);
    }
}
