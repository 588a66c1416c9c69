//! Permission sets as accounts see them.

use std::collections::{BTreeMap, BTreeSet};

use super::Mongodb;
use crate::Error;
use crate::account::SetFacts;

impl Mongodb {
    /// The sets that are asked for, those that exist.
    pub(super) async fn set_facts(
        &self,
        sets: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, SetFacts>, Error> {
        let _ = sets;
        Ok(BTreeMap::new())
    }
}
