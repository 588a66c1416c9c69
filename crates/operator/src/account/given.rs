//! What decisions about sessions are based on besides the cache.

use super::issued::IssuedStore;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The credentials of sessions.
    pub issued: &'a IssuedStore,
    /// The admission policies are in force, so that decisions are by whom they say.
    pub admission_enforced: bool,
}
