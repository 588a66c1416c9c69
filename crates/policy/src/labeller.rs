//! Finding out which mappings match an object, for many objects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::bits::Bits;
use crate::label_template::LabelTemplate;
use crate::mapping::Mapping;
use crate::object::{DbObject, ObjectKind};
use crate::pattern_index::{PatternIndex, Star};
use crate::shape::{Class, NOT_IMPORTED, Shape, ShapeLabel};

/// What is worked out once and used for many objects.
pub(crate) struct Labeller<'a> {
    mappings: &'a [&'a Mapping],
    /// Per mapping: its labels, by the places of their keys.
    labels: Vec<Vec<(u32, &'a Arc<LabelTemplate>)>>,
    keys: Vec<Arc<str>>,
    /// Per kind: the mappings that a name fits.
    names: HashMap<ObjectKind, PatternIndex>,
    /// Per logical database and schema: the mappings whose scope they are in.
    scopes: HashMap<(&'a str, &'a str), Bits>,
    /// Per set of mappings: its shape, or [`NOT_IMPORTED`].
    shape_of: HashMap<Bits, u32>,
    class_of: HashMap<(u32, ObjectKind, &'a str, &'a str), u32>,
    hits: Bits,
    shapes: Vec<Shape>,
    classes: Vec<Class>,
}

impl<'a> Labeller<'a> {
    /// Prepares mappings, given in the order in which they apply.
    pub(crate) fn new(mappings: &'a [&'a Mapping]) -> Self {
        let keys: BTreeSet<&Arc<str>> =
            mappings.iter().flat_map(|mapping| &mapping.labels).map(|(key, _)| key).collect();
        let keys: Vec<Arc<str>> = keys.into_iter().cloned().collect();
        let place = |key: &Arc<str>| keys.binary_search(key).unwrap_or_default() as u32;
        let labels = mappings
            .iter()
            .map(|mapping| mapping.labels.iter().map(|(key, template)| (place(key), template)).collect())
            .collect();
        Self {
            mappings,
            labels,
            keys,
            names: HashMap::new(),
            scopes: HashMap::new(),
            shape_of: HashMap::new(),
            class_of: HashMap::new(),
            hits: Bits::empty(mappings.len()),
            shapes: Vec::new(),
            classes: Vec::new(),
        }
    }

    /// The keys, shapes and classes that came up.
    pub(crate) fn finish(self) -> (Vec<Arc<str>>, Vec<Shape>, Vec<Class>) {
        (self.keys, self.shapes, self.classes)
    }

    /// The class of an object, or [`NOT_IMPORTED`].
    pub(crate) fn class(&mut self, object: &'a DbObject) -> u32 {
        if object.is_system() {
            return NOT_IMPORTED;
        }
        let mappings = self.mappings;
        let names = self.names.entry(object.kind).or_insert_with(|| {
            let of_mapping = |(i, mapping): (usize, &&'a Mapping)| {
                mapping.names(object.kind).iter().map(move |pattern| (i, pattern))
            };
            PatternIndex::new(Star::OneLine, mappings.len(), mappings.iter().enumerate().flat_map(of_mapping))
        });
        names.find(&object.name, &mut self.hits);
        if self.hits.is_empty() {
            return NOT_IMPORTED;
        }
        let scope = self.scopes.entry((&object.database, &object.schema)).or_insert_with(|| {
            let mut scope = Bits::empty(mappings.len());
            for (i, mapping) in mappings.iter().enumerate() {
                if mapping.databases.admits(&object.database) && mapping.schemas.admits(&object.schema) {
                    scope.insert(i);
                }
            }
            scope
        });
        self.hits.intersect_with(scope);
        let shape = self.shape();
        if shape == NOT_IMPORTED {
            return NOT_IMPORTED;
        }
        *self.class_of.entry((shape, object.kind, &object.database, &object.schema)).or_insert_with(|| {
            self.classes.push(Class::new(shape, object));
            (self.classes.len() - 1) as u32
        })
    }

    /// The shape of the mappings that match the current object.
    fn shape(&mut self) -> u32 {
        if let Some(shape) = self.shape_of.get(&self.hits) {
            return *shape;
        }
        let shape = match self.build_shape() {
            Some(shape) => {
                self.shapes.push(shape);
                (self.shapes.len() - 1) as u32
            }
            None => NOT_IMPORTED,
        };
        self.shape_of.insert(self.hits.clone(), shape);
        shape
    }

    /// What the mappings give together; `None` where that is nothing to import: no mapping, or one whose labels
    /// is unknown.
    fn build_shape(&self) -> Option<Shape> {
        let mappings: Vec<u32> = self.hits.iter().map(|mapping| mapping as u32).collect();
        if mappings.is_empty() || mappings.iter().any(|mapping| self.mappings[*mapping as usize].faulty) {
            return None;
        }
        let mut labels: Vec<Option<ShapeLabel>> = self.keys.iter().map(|_| None).collect();
        for mapping in &mappings {
            for (key, template) in &self.labels[*mapping as usize] {
                let (template, given_by) = (Arc::clone(template), Some(*mapping));
                labels[*key as usize] = Some(ShapeLabel { key: *key, template, given_by });
            }
        }
        Some(Shape { labels: labels.into_iter().flatten().collect(), mappings })
    }
}
