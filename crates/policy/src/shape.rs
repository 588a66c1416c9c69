//! What objects have in common that the same mappings match.

use std::sync::Arc;

use crate::label_template::LabelTemplate;
use crate::object::{DbObject, ObjectKind};

/// The number of no class and no shape.
pub(crate) const NOT_IMPORTED: u32 = u32::MAX;

/// The labels that a set of mappings gives, before values are filled in.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Ascending by key.
    pub(crate) labels: Vec<ShapeLabel>,
    /// The mappings, in the order in which they apply.
    pub(crate) mappings: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct ShapeLabel {
    /// The key's place among all keys in use.
    pub(crate) key: u32,
    pub(crate) template: Arc<LabelTemplate>,
    /// The mapping that gives it; `None` where it was given with the object.
    pub(crate) given_by: Option<u32>,
}

impl Shape {
    /// The value of a label, before it is filled in.
    pub(crate) fn template(&self, key: u32) -> Option<&LabelTemplate> {
        let at = self.labels.binary_search_by_key(&key, |label| label.key).ok()?;
        Some(&self.labels[at].template)
    }
}

/// Objects that differ in nothing but their names: one shape, kind, logical database and schema.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) shape: u32,
    pub(crate) kind: ObjectKind,
    pub(crate) database: Arc<str>,
    pub(crate) schema: Arc<str>,
}

impl Class {
    pub(crate) fn new(shape: u32, object: &DbObject) -> Self {
        Self {
            shape,
            kind: object.kind,
            database: Arc::clone(&object.database),
            schema: Arc::clone(&object.schema),
        }
    }
}
