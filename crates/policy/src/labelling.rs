//! Objects with the labels that import rules give them.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::import_rule::ImportRules;
use crate::object::{Database, DbObject};
use crate::spec::Labels;

/// Objects and their labels, in the order in which the objects were given.
///
/// An object that no rule imports has no labels and never gets a permission.
#[derive(Debug)]
pub struct LabelledObjects {
    objects: Arc<[DbObject]>,
}

/// Applies import rules to objects of one server: of all logical databases, and of any number of them.
pub fn label_objects(
    _rules: &ImportRules,
    _database: &Database,
    _objects: Arc<[DbObject]>,
) -> LabelledObjects {
    todo!()
}

impl LabelledObjects {
    /// Objects whose labels are known already. All of them count as imported.
    pub fn from_labels(_labelled: impl IntoIterator<Item = (DbObject, Labels)>) -> Self {
        todo!()
    }

    /// The objects, imported or not.
    pub fn objects(&self) -> &Arc<[DbObject]> {
        &self.objects
    }

    /// The labels of the object at `index`; `None` where it is not imported.
    pub fn labels(&self, _index: usize) -> Option<Labels> {
        todo!()
    }

    /// How many objects are imported.
    pub fn imported(&self) -> usize {
        todo!()
    }

    /// How many objects each rule labels, by the rule's name.
    pub fn imported_per_rule(&self) -> std::collections::BTreeMap<&str, usize> {
        todo!()
    }

    /// Where the labels of the object at `index` come from; empty where it is not imported.
    pub fn explain(&self, _index: usize) -> Vec<LabelOrigin> {
        todo!()
    }
}

/// A label of an object and the mapping that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelOrigin {
    /// The label's key.
    pub key: String,
    /// The label's value.
    pub value: String,
    /// Where the value comes from; `None` where it was given with the object.
    pub given_by: Option<MappingRef>,
    /// Mappings that gave the same key another time and were overwritten.
    pub overwritten: Vec<MappingRef>,
}

/// A mapping of an import rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MappingRef {
    /// The rule's name.
    pub rule: String,
    /// Which of its mappings, from 0.
    pub mapping: usize,
}

impl fmt::Display for MappingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} mappings[{}]", self.rule, self.mapping)
    }
}

impl fmt::Display for LabelOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)?;
        if let Some(mapping) = &self.given_by {
            write!(f, " from {mapping}")?;
        }
        Ok(())
    }
}
