//! Objects with the labels that import rules give them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::bits::Bits;
use crate::import_rule::ImportRules;
use crate::label_template::Attributes;
use crate::mapping::Mapping;
use crate::object::{Database, DbObject, ObjectKind};
use crate::one_line::OneLine;
use crate::pattern_index::{PatternIndex, Star};
use crate::shape::{Class, NOT_IMPORTED, Shape, ShapeLabel};
use crate::spec::Labels;

/// Objects and their labels, in the order in which the objects were given.
///
/// An object that no rule imports has no labels and never gets a permission. Labels are not stored per object:
/// all objects that the same mappings match share what the mappings say, and values are made when they are
/// looked at. An object costs four bytes here.
#[derive(Debug)]
pub struct LabelledObjects {
    objects: Arc<[DbObject]>,
    protocol: String,
    service_name: String,
    /// Class of each object, or [`NOT_IMPORTED`].
    class_of: Vec<u32>,
    classes: Vec<Class>,
    shapes: Vec<Shape>,
    mappings: Vec<MappingRef>,
}

/// Applies import rules to objects of one server: of all logical databases, and of any number of them.
///
/// The rules that select the database apply in order; in each, every mapping whose scope and match fit an object
/// gives it labels, a later value replacing an earlier one. An object that no mapping fits is not imported, nor
/// is one that a mapping with a faulty template fits, nor one in a system schema. Faulty rules are applied as far
/// as they go; whether they may be is what [`ImportRules::check`] says.
pub fn label_objects(rules: &ImportRules, database: &Database, objects: Arc<[DbObject]>) -> LabelledObjects {
    let applicable = rules.applicable(database);
    let mappings: Vec<&Mapping> = applicable.iter().flat_map(|rule| rule.mappings()).collect();
    let refs = applicable.iter().flat_map(|rule| {
        (0..rule.mappings().len()).map(|mapping| MappingRef { rule: rule.name().to_owned(), mapping })
    });
    let mut labelled = LabelledObjects {
        objects: Arc::clone(&objects),
        protocol: database.protocol.as_str().to_owned(),
        service_name: database.name.clone(),
        class_of: Vec::with_capacity(objects.len()),
        classes: Vec::new(),
        shapes: Vec::new(),
        mappings: refs.collect(),
    };
    let mut labeller = Labeller {
        mappings: &mappings,
        names: HashMap::new(),
        scopes: HashMap::new(),
        shapes: HashMap::new(),
        classes: HashMap::new(),
        hits: Bits::empty(mappings.len()),
    };
    for object in &*objects {
        let class = labeller.class_of(object, &mut labelled.shapes, &mut labelled.classes);
        labelled.class_of.push(class);
    }
    labelled
}

/// What is worked out once and used for many objects.
struct Labeller<'a> {
    mappings: &'a [&'a Mapping],
    /// Per kind: the mappings that a name fits.
    names: HashMap<ObjectKind, PatternIndex>,
    /// Per logical database and schema: the mappings whose scope they are in.
    scopes: HashMap<(&'a str, &'a str), Bits>,
    /// Per set of mappings: its shape, or [`NOT_IMPORTED`].
    shapes: HashMap<Bits, u32>,
    classes: HashMap<(u32, ObjectKind, &'a str, &'a str), u32>,
    hits: Bits,
}

impl<'a> Labeller<'a> {
    fn class_of(&mut self, object: &'a DbObject, shapes: &mut Vec<Shape>, classes: &mut Vec<Class>) -> u32 {
        if object.is_system() {
            return NOT_IMPORTED;
        }
        let mappings = self.mappings;
        let names = self.names.entry(object.kind).or_insert_with(|| {
            let patterns = mappings.iter().enumerate();
            let patterns = patterns
                .flat_map(|(i, mapping)| mapping.names(object.kind).iter().map(move |pattern| (i, pattern)));
            PatternIndex::new(Star::OneLine, mappings.len(), patterns)
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
        let shape = match self.shapes.get(&self.hits) {
            Some(shape) => *shape,
            None => {
                let shape = Shape::of_mappings(mappings, &self.hits).map_or(NOT_IMPORTED, |shape| {
                    shapes.push(shape);
                    (shapes.len() - 1) as u32
                });
                self.shapes.insert(self.hits.clone(), shape);
                shape
            }
        };
        if shape == NOT_IMPORTED {
            return NOT_IMPORTED;
        }
        *self.classes.entry((shape, object.kind, &object.database, &object.schema)).or_insert_with(|| {
            classes.push(Class::new(shape, object));
            (classes.len() - 1) as u32
        })
    }
}

impl LabelledObjects {
    /// Objects whose labels are known already. All of them count as imported.
    pub fn from_labels(labelled: impl IntoIterator<Item = (DbObject, Labels)>) -> Self {
        let mut objects = Vec::new();
        let mut class_of = Vec::new();
        let mut classes = Vec::new();
        let mut shapes: Vec<Shape> = Vec::new();
        let mut known: HashMap<Labels, u32> = HashMap::new();
        for (object, labels) in labelled {
            let shape = *known.entry(labels).or_insert_with_key(|labels| {
                shapes.push(Shape::of_labels(labels));
                (shapes.len() - 1) as u32
            });
            class_of.push(classes.len() as u32);
            classes.push(Class::new(shape, &object));
            objects.push(object);
        }
        Self {
            objects: objects.into(),
            protocol: String::new(),
            service_name: String::new(),
            class_of,
            classes,
            shapes,
            mappings: Vec::new(),
        }
    }

    /// The objects, imported or not.
    pub fn objects(&self) -> &Arc<[DbObject]> {
        &self.objects
    }

    /// The labels of the object at `index`; `None` where it is not imported, or where there is no such object.
    pub fn labels(&self, index: usize) -> Option<Labels> {
        let (attributes, shape) = self.parts(index)?;
        Some(
            shape
                .labels
                .iter()
                .map(|label| (label.key.to_string(), label.template.value(&attributes)))
                .collect(),
        )
    }

    /// How many objects are imported.
    pub fn imported(&self) -> usize {
        self.class_of.iter().filter(|class| **class != NOT_IMPORTED).count()
    }

    /// How many objects each rule labels, by the rule's name. Rules that label none are left out.
    pub fn imported_per_rule(&self) -> BTreeMap<&str, usize> {
        let mut objects = vec![0_usize; self.shapes.len()];
        for class in self.class_of.iter().filter_map(|class| self.classes.get(*class as usize)) {
            objects[class.shape as usize] += 1;
        }
        let mut counts = BTreeMap::new();
        for (shape, objects) in self.shapes.iter().zip(objects) {
            let mut rules: Vec<&str> =
                shape.mappings.iter().map(|mapping| self.mappings[*mapping as usize].rule.as_str()).collect();
            rules.dedup();
            for rule in rules {
                *counts.entry(rule).or_default() += objects;
            }
        }
        counts
    }

    /// Where the labels of the object at `index` come from; empty where it is not imported.
    pub fn explain(&self, index: usize) -> Vec<LabelOrigin> {
        let Some((attributes, shape)) = self.parts(index) else { return Vec::new() };
        let reference = |mapping: &u32| self.mappings.get(*mapping as usize).cloned();
        let origin = |label: &ShapeLabel| LabelOrigin {
            key: label.key.to_string(),
            value: label.template.value(&attributes),
            given_by: label.given_by.as_ref().and_then(reference),
            overwritten: label.overwritten.iter().filter_map(reference).collect(),
        };
        shape.labels.iter().map(origin).collect()
    }

    /// The mappings that import the object at `index`, in the order in which they apply; none where it is not
    /// imported.
    pub fn imported_by(&self, index: usize) -> Vec<&MappingRef> {
        let mappings = self.parts(index).map_or(&[][..], |(_, shape)| &shape.mappings);
        mappings.iter().map(|mapping| &self.mappings[*mapping as usize]).collect()
    }

    fn parts(&self, index: usize) -> Option<(Attributes<'_>, &Shape)> {
        let class = self.classes.get(*self.class_of.get(index)? as usize)?;
        Some((self.attributes(class, &self.objects.get(index)?.name), self.shape(class)))
    }

    pub(crate) fn attributes<'a>(&'a self, class: &'a Class, name: &'a str) -> Attributes<'a> {
        Attributes {
            protocol: &self.protocol,
            database_service_name: &self.service_name,
            object_kind: class.kind.as_str(),
            database: &class.database,
            schema: &class.schema,
            name,
        }
    }

    pub(crate) fn shape(&self, class: &Class) -> &Shape {
        &self.shapes[class.shape as usize]
    }

    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Each object with the number of its class, [`NOT_IMPORTED`] where it has none.
    pub(crate) fn objects_with_class(&self) -> impl Iterator<Item = (&DbObject, u32)> {
        self.objects.iter().zip(self.class_of.iter().copied())
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
    /// Mappings that gave the same key before and were overwritten.
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
        write!(f, "{}={}", OneLine(&self.key), OneLine(&self.value))?;
        if let Some(mapping) = &self.given_by {
            write!(f, " from {mapping}")?;
        }
        Ok(())
    }
}
