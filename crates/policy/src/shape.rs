//! What objects have in common that the same mappings match.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bits::Bits;
use crate::label_template::LabelTemplate;
use crate::mapping::Mapping;
use crate::object::{DbObject, ObjectKind};
use crate::spec::Labels;

/// Stands for no class and no shape.
pub(crate) const NOT_IMPORTED: u32 = u32::MAX;

/// The labels that a set of mappings gives, before values are filled in. Sorted by key.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) labels: Vec<ShapeLabel>,
    /// The mappings, in the order in which they apply.
    pub(crate) mappings: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct ShapeLabel {
    pub(crate) key: Arc<str>,
    pub(crate) template: Arc<LabelTemplate>,
    pub(crate) given_by: Option<u32>,
    pub(crate) overwritten: Vec<u32>,
}

impl Shape {
    /// What the mappings give together; `None` where that is nothing to import: no mapping, or one whose labels
    /// cannot be told.
    pub(crate) fn of_mappings(mappings: &[&Mapping], chosen: &Bits) -> Option<Self> {
        let numbers: Vec<u32> = chosen.iter().map(|mapping| mapping as u32).collect();
        if numbers.is_empty() || numbers.iter().any(|mapping| mappings[*mapping as usize].spoilt) {
            return None;
        }
        let mut labels: BTreeMap<&Arc<str>, ShapeLabel> = BTreeMap::new();
        for number in &numbers {
            for (key, template) in &mappings[*number as usize].labels {
                let label = labels.entry(key).or_insert_with(|| ShapeLabel {
                    key: Arc::clone(key),
                    template: Arc::clone(template),
                    given_by: None,
                    overwritten: Vec::new(),
                });
                label.template = Arc::clone(template);
                label.overwritten.extend(label.given_by.replace(*number));
            }
        }
        Some(Self { labels: labels.into_values().collect(), mappings: numbers })
    }

    /// Labels that are known.
    pub(crate) fn of_labels(labels: &Labels) -> Self {
        let label = |(key, value): (&String, &String)| ShapeLabel {
            key: key.as_str().into(),
            template: Arc::new(LabelTemplate::literal(value)),
            given_by: None,
            overwritten: Vec::new(),
        };
        Self { labels: labels.iter().map(label).collect(), mappings: Vec::new() }
    }

    /// The value of a label, before it is filled in.
    pub(crate) fn template(&self, key: &str) -> Option<&LabelTemplate> {
        let at = self.labels.binary_search_by(|label| (*label.key).cmp(key)).ok()?;
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
