//! Object permissions: the permission sets of each logical database.

use crate::Shared;
use crate::runtime::{Done, Failed};
use crate::world::ObjectsKey;

/// Looks at the objects of one logical database.
///
/// # Errors
///
/// What the API server refused.
pub async fn reconcile(_shared: &Shared, _key: &ObjectsKey) -> Result<Done, Failed> {
    Ok(Done::nothing())
}
