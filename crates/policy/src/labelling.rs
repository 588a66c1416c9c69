//! Objects with the labels that import rules give them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::import_rule::{ImportRule, ImportRules};
use crate::label_template::{Attributes, LabelTemplate};
use crate::labeller::Labeller;
use crate::mapping::Mapping;
use crate::object::{Database, DbObject};
use crate::one_line::OneLine;
use crate::shape::{Class, NOT_IMPORTED, Shape, ShapeLabel};
use crate::spec::Labels;

/// Objects and their labels, in the order in which the objects were given.
///
/// An object that no rule imports has no labels and never gets a permission. Labels are not stored per object:
/// all objects that the same mappings match share what the mappings say, and values are computed when they are
/// read. An object costs four bytes here.
#[derive(Debug)]
pub struct LabelledObjects {
    objects: Arc<[DbObject]>,
    protocol: String,
    service_name: String,
    /// Class of each object, or [`NOT_IMPORTED`].
    class_of: Vec<u32>,
    classes: Vec<Class>,
    shapes: Vec<Shape>,
    /// The label keys in use, sorted.
    keys: Vec<Arc<str>>,
    /// The rules that select the database, in order.
    rules: Vec<Arc<ImportRule>>,
    /// Their mappings, each as rule and place in it.
    mappings: Vec<(usize, usize)>,
}

/// Applies import rules to objects of one server: of all logical databases, and of any number of them.
///
/// The rules that select the database apply in order; in each, every mapping whose scope and match fit an object
/// gives it labels, a later value replacing an earlier one. An object that no mapping fits is not imported, nor
/// is one that a mapping with a faulty template fits, nor one in a system schema. Faulty rules are applied as far
/// as they go; whether they may be is what [`ImportRules::check`] says.
pub fn label_objects(rules: &ImportRules, database: &Database, objects: Arc<[DbObject]>) -> LabelledObjects {
    let rules: Vec<Arc<ImportRule>> = rules.selecting(database).cloned().collect();
    let mappings: Vec<&Mapping> = rules.iter().flat_map(|rule| rule.mappings()).collect();
    let mut labeller = Labeller::new(&mappings);
    let class_of = objects.iter().map(|object| labeller.class(object)).collect();
    let (keys, shapes, classes) = labeller.finish();
    let places = rules.iter().enumerate();
    let places =
        places.flat_map(|(i, rule)| (0..rule.mappings().len()).map(move |mapping| (i, mapping))).collect();
    LabelledObjects {
        class_of,
        classes,
        shapes,
        keys,
        mappings: places,
        rules,
        protocol: database.protocol.as_str().to_owned(),
        service_name: database.name.clone(),
        objects,
    }
}

impl LabelledObjects {
    /// Objects whose labels are known already. All of them count as imported.
    pub fn from_labels(labelled: impl IntoIterator<Item = (DbObject, Labels)>) -> Self {
        let labelled: Vec<(DbObject, Labels)> = labelled.into_iter().collect();
        let keys: BTreeSet<&str> =
            labelled.iter().flat_map(|(_, labels)| labels.keys()).map(String::as_str).collect();
        let keys: Vec<Arc<str>> = keys.into_iter().map(Arc::from).collect();
        let label = |(key, value): (&String, &String)| ShapeLabel {
            key: keys.binary_search_by(|known| (**known).cmp(key)).unwrap_or_default() as u32,
            template: Arc::new(LabelTemplate::literal(value)),
            given_by: None,
        };
        let mut shapes: Vec<Shape> = Vec::new();
        let mut known: HashMap<&Labels, u32> = HashMap::new();
        let mut classes = Vec::new();
        for (object, labels) in &labelled {
            let shape = *known.entry(labels).or_insert_with(|| {
                shapes.push(Shape { labels: labels.iter().map(label).collect(), mappings: Vec::new() });
                (shapes.len() - 1) as u32
            });
            classes.push(Class::new(shape, object));
        }
        Self {
            class_of: (0..classes.len() as u32).collect(),
            classes,
            shapes,
            keys,
            rules: Vec::new(),
            mappings: Vec::new(),
            protocol: String::new(),
            service_name: String::new(),
            objects: labelled.into_iter().map(|(object, _)| object).collect(),
        }
    }

    /// The objects, imported or not.
    pub fn objects(&self) -> &Arc<[DbObject]> {
        &self.objects
    }

    /// The labels of the object at `index`; `None` where it is not imported, or where there is no such object.
    pub fn labels(&self, index: usize) -> Option<Labels> {
        let (attributes, shape) = self.parts(index)?;
        let label = |label: &ShapeLabel| (self.key(label).to_owned(), label.template.value(&attributes));
        Some(shape.labels.iter().map(label).collect())
    }

    /// A number that objects share which the same mappings import and which are of one kind and lie in one schema of one
    /// logical database; `None` where the object at `index` is not imported.
    pub fn group(&self, index: usize) -> Option<u32> {
        self.class_of.get(index).copied().filter(|class| *class != NOT_IMPORTED)
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
            let rules: BTreeSet<usize> =
                shape.mappings.iter().map(|mapping| self.mappings[*mapping as usize].0).collect();
            for rule in rules {
                *counts.entry(self.rules[rule].name()).or_default() += objects;
            }
        }
        counts
    }

    /// Where the labels of the object at `index` come from; empty where it is not imported.
    pub fn explain(&self, index: usize) -> Vec<LabelOrigin> {
        let Some((attributes, shape)) = self.parts(index) else { return Vec::new() };
        let origin = |label: &ShapeLabel| {
            let earlier = shape.mappings.iter().take_while(|mapping| Some(**mapping) != label.given_by);
            let overwritten = earlier.filter(|mapping| self.gives(**mapping, self.key(label)));
            LabelOrigin {
                key: self.key(label).to_owned(),
                value: label.template.value(&attributes),
                given_by: label.given_by.map(|mapping| self.mapping(mapping)),
                overwritten: overwritten.map(|mapping| self.mapping(*mapping)).collect(),
            }
        };
        shape.labels.iter().map(origin).collect()
    }

    /// The mappings that import the object at `index`, in the order in which they apply; none where it is not
    /// imported.
    pub fn imported_by(&self, index: usize) -> Vec<MappingRef> {
        let mappings = self.parts(index).map_or(&[][..], |(_, shape)| &shape.mappings);
        mappings.iter().map(|mapping| self.mapping(*mapping)).collect()
    }

    fn parts(&self, index: usize) -> Option<(Attributes<'_>, &Shape)> {
        let class = self.classes.get(*self.class_of.get(index)? as usize)?;
        Some((self.attributes(class, &self.objects.get(index)?.name), self.shape(class)))
    }

    fn key(&self, label: &ShapeLabel) -> &str {
        &self.keys[label.key as usize]
    }

    fn mapping(&self, mapping: u32) -> MappingRef {
        let (rule, mapping) = self.mappings[mapping as usize];
        MappingRef { rule: self.rules[rule].name().to_owned(), mapping }
    }

    fn gives(&self, mapping: u32, key: &str) -> bool {
        let (rule, mapping) = self.mappings[mapping as usize];
        self.rules[rule].mappings()[mapping].labels.iter().any(|(given, _)| **given == *key)
    }

    /// The place of a label key among those in use.
    pub(crate) fn key_place(&self, key: &str) -> Option<u32> {
        self.keys.binary_search_by(|known| (**known).cmp(key)).ok().map(|place| place as u32)
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
