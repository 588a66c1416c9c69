//! Where views get their facts from: manifests, files of objects, the API server.

mod cluster;
mod failure;
mod kubeconfig;
mod manifests;
mod namespace;
mod objects;
mod reference;
mod yaml;

pub use cluster::{Cluster, own_user};
pub(crate) use cluster::{elsewhere, get, list};
pub(crate) use failure::{Silent, plain, remedy};
pub use kubeconfig::contexts;
pub use manifests::{collect as collect_manifests, read as read_manifests};
pub use namespace::Namespace;
pub(crate) use namespace::listed;
pub use objects::{parse as parse_objects, read as read_objects};
pub use reference::{name_of, user_of};
pub use yaml::{Document, Location, documents, kustomizations, parse as parse_documents, read_text, typed};

use rolecall_api::DatabaseAdmin;

use crate::args::{Global, Source};

/// The objects of the requested namespace: from manifests if files are given, otherwise from the API server.
///
/// # Errors
///
/// A file that cannot be read, an object that is not what its kind says, an API server that does not answer.
pub async fn gather(global: &Global, source: &Source) -> anyhow::Result<Namespace> {
    let mut namespace = if source.files.is_empty() {
        Cluster::connect(global).await?.namespace().await?
    } else {
        let (namespace, notes) = read_manifests(&source.files, global.namespace.as_deref())?;
        for note in kustomizations(&source.files).into_iter().chain(notes) {
            crate::output::say(format_args!("note: {note}"));
        }
        namespace
    };
    namespace.cluster_name.clone_from(&source.cluster.cluster_name);
    Ok(namespace)
}

/// The DatabaseAdmin of that name.
///
/// # Errors
///
/// There is none; the message names the existing ones, and other namespaces that have it.
pub async fn find_admin<'a>(
    global: &Global,
    source: &Source,
    namespace: &'a Namespace,
    name: &str,
) -> anyhow::Result<&'a DatabaseAdmin> {
    let error = match namespace.admin(name) {
        Ok(admin) => return Ok(admin),
        Err(error) => error,
    };
    if !source.files.is_empty() {
        return Err(error);
    }
    let cluster = Cluster::connect(global).await?;
    Err(anyhow::anyhow!("{error}{}", elsewhere::<DatabaseAdmin>(&cluster, name).await))
}
