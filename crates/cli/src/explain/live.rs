//! The objects that a logical database has now, as the operator sees them.
//!
//! They are read as the DatabaseAdmin's admin user: only that one sees what the operator sees.

use anyhow::Context;
use kube::ResourceExt;
use rolecall_api::DatabaseAdmin;
use rolecall_engine::CatalogQuery;

use super::{Objects, ObjectsSource};
use crate::admin_login::{AdminLogin, Obstacle};
use crate::input::Cluster;

/// Reads the objects of a logical database. `address`: where to connect instead of the server's own address.
///
/// # Errors
///
/// A server of another kind, a Secret that cannot be read, what the server answered.
pub(super) async fn read(
    cluster: &Cluster,
    admin: &DatabaseAdmin,
    database: &str,
    address: Option<&str>,
) -> anyhow::Result<Objects> {
    let name = admin.name_any();
    let login = AdminLogin::new(cluster, admin, address).await.map_err(|obstacle| match obstacle {
        Obstacle::Unusable(error) => error,
        Obstacle::Unreadable { secret, field, error } => error.context(format!(
            "--live connects as the admin user, which takes the Secret {secret:?} ({field}), and you could not read it; \
             --objects FILE shows permissions without it"
        )),
    })?;
    let query = CatalogQuery { database: database.to_owned(), sets: Default::default() };
    let read = login.engine().read_objects(&query).await;
    login.engine().close().await;
    let catalog = read.with_context(|| format!("reading the objects of {database:?} on {name}"))?;
    Ok(Objects { list: catalog.objects.to_vec(), unknown: catalog.unknown, source: ObjectsSource::Server })
}
