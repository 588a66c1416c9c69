//! What an admin user proves itself with.

use std::collections::BTreeMap;
use std::fmt;

/// What an admin user proves itself with, and by what it knows the server: values of Secrets, by `<Secret>..<key>`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proof(pub(super) BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}
