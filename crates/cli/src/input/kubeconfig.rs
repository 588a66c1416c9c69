//! Where the API server is and who asks it, found as kubectl finds them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::namespace::listed;
use crate::args::Global;

/// How long a connection to the API server may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the API server, and as whom.
pub(super) async fn config(global: &Global) -> anyhow::Result<Config> {
    let mut config = match kubeconfig(global)? {
        Some((kubeconfig, origin)) => {
            check_names(global, &kubeconfig, &origin)?;
            let options = KubeConfigOptions {
                context: global.context.clone(),
                cluster: global.cluster.clone(),
                user: None,
            };
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .with_context(|| format!("reading the kubeconfig {origin}"))?
        }
        None => Config::incluster().context(
            "finding the API server: there is no kubeconfig (--kubeconfig, $KUBECONFIG, ~/.kube/config), and this is no \
             Pod; -f decides offline from manifests",
        )?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    if let Some(user) = &global.impersonate {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_uid = global.impersonate_uid.clone();
        config.auth_info.impersonate_groups =
            Some(global.impersonate_groups.clone()).filter(|groups| !groups.is_empty());
    }
    Ok(config)
}

/// The contexts of the kubeconfig; none where it cannot be read.
pub fn contexts(global: &Global) -> Vec<String> {
    let found = kubeconfig(global).ok().flatten();
    found.into_iter().flat_map(|(found, _)| found.contexts).map(|context| context.name).collect()
}

/// The kubeconfig with what to call it; `None`: there is none.
fn kubeconfig(global: &Global) -> anyhow::Result<Option<(Kubeconfig, String)>> {
    if let Some(path) = &global.kubeconfig {
        // As a list may name what is not there, kubectl says nothing of the kind for $KUBECONFIG.
        if !path.try_exists().unwrap_or(true) {
            bail!("there is no kubeconfig {}; name another one with --kubeconfig", path.display());
        }
        let read = Kubeconfig::read_from(path);
        let read = read.with_context(|| format!("reading the kubeconfig {}", path.display()))?;
        return Ok(Some((read, path.display().to_string())));
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let mut paths: Vec<PathBuf> =
        std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if paths.is_empty() {
        paths.extend(std::env::home_dir().map(|home| home.join(".kube/config")));
    }
    merge(&paths)
}

/// Several files as one. Missing ones are left out, as kubectl does: lists name files that come and go.
fn merge(paths: &[PathBuf]) -> anyhow::Result<Option<(Kubeconfig, String)>> {
    let is_there = |path: &Path| path.try_exists().unwrap_or(true);
    let mut merged: Option<(Kubeconfig, String)> = None;
    for path in paths.iter().filter(|path| is_there(path)) {
        let reading = || format!("reading the kubeconfig {}", path.display());
        let read = Kubeconfig::read_from(path).with_context(reading)?;
        merged = Some(match merged {
            None => (read, path.display().to_string()),
            Some((before, origin)) => {
                (before.merge(read).with_context(reading)?, format!("{origin}, {}", path.display()))
            }
        });
    }
    // An empty one counts as none, and kubectl then uses the Pod's.
    Ok(merged.filter(|(kubeconfig, _)| !kubeconfig.clusters.is_empty() || !kubeconfig.contexts.is_empty()))
}

/// A name that the kubeconfig does not have is reported with those that it has.
fn check_names(global: &Global, kubeconfig: &Kubeconfig, origin: &str) -> anyhow::Result<()> {
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let clusters: Vec<String> = kubeconfig.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let current = kubeconfig.current_context.as_ref().filter(|name| !name.is_empty());
    match global.context.as_ref().or(current) {
        Some(name) if !contexts.contains(name) => {
            bail!(
                "there is no context {name:?} in the kubeconfig {origin}; {} (kubectl config get-contexts)",
                listed(name, contexts)
            )
        }
        None => bail!(
            "the kubeconfig {origin} has no current-context; name one with --context: {}",
            listed("", contexts)
        ),
        Some(_) => {}
    }
    match &global.cluster {
        Some(name) if !clusters.contains(name) => {
            bail!("there is no cluster {name:?} in the kubeconfig {origin}; {}", listed(name, clusters))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], \
                       clusters: [{name: a, cluster: {server: 'https://a.example'}}], users: []}";

    #[test]
    fn files_of_a_list_that_are_missing_are_left_out() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("one"), ONE).expect("it is written");
        std::fs::write(path("two"), ONE.replace("a,", "b,").replace(": a", ": b")).expect("it is written");
        let (read, origin) = merge(&[path("missing"), path("one"), path("gone"), path("two")])
            .expect("it is read")
            .expect("there is one");
        let names: Vec<_> = read.contexts.iter().map(|context| context.name.as_str()).collect();
        assert_eq!((names.as_slice(), read.current_context.as_deref()), (&["a", "b"][..], Some("a")));
        assert!(!origin.contains("missing") && !origin.contains("gone"), "{origin}");
        assert!(merge(&[path("missing")]).expect("it is no error").is_none());
        std::fs::write(path("one"), "contexts: 1").expect("it is written");
        let error = merge(&[path("one")]).map(drop).expect_err("refused");
        assert!(error.to_string().ends_with("/one"), "{error}");
    }

    #[test]
    fn a_missing_name_is_reported_with_the_existing_ones() {
        let kubeconfig = Kubeconfig::from_yaml(ONE).expect("it is one");
        let error = |global: Global, kubeconfig: &Kubeconfig| {
            check_names(&global, kubeconfig, "k").map_err(|error| error.to_string())
        };
        let context = Some("x".to_owned());
        assert_eq!(
            error(Global { context, ..Global::default() }, &kubeconfig),
            Err("there is no context \"x\" in the kubeconfig k; there are a (kubectl config get-contexts)"
                .to_owned())
        );
        let cluster = Some("x".to_owned());
        assert_eq!(
            error(Global { cluster, ..Global::default() }, &kubeconfig),
            Err("there is no cluster \"x\" in the kubeconfig k; there are a".to_owned())
        );
        assert_eq!(error(Global::default(), &kubeconfig), Ok(()));
        let none = Kubeconfig { current_context: None, ..kubeconfig };
        assert_eq!(
            error(Global::default(), &none),
            Err("the kubeconfig k has no current-context; name one with --context: there are a".to_owned())
        );
    }
}
