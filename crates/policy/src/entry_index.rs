//! Which permission entries select an object, for many objects.

use std::collections::{BTreeMap, HashMap};

use crate::bits::Bits;
use crate::label_template::Attribute;
use crate::labelling::LabelledObjects;
use crate::pattern::Pattern;
use crate::pattern_index::{PatternIndex, Star};
use crate::permission::PermissionEntries;
use crate::shape::Class;

/// Entries, numbered: those of allow first, then those of deny.
pub(crate) struct EntryIndex {
    entries: usize,
    /// The entries that can select anything at all.
    selectable: Bits,
    keys: Vec<KeyIndex>,
}

/// What entries say about one label key.
struct KeyIndex {
    /// The key's place among those of the objects, where they have it at all.
    place: Option<u32>,
    /// The entries that need the label.
    mentioned: Bits,
    patterns: PatternIndex,
}

/// What is the same for all objects of a class.
pub(crate) struct ClassIndex {
    /// The entries that may select, according to the class.
    selected: Bits,
    /// The keys whose values depend on the object's name and still matter.
    by_name: Vec<usize>,
}

/// Room that is used again and again.
pub(crate) struct Scratch {
    selected: Bits,
    hits: Bits,
    value: String,
    /// Per key, what was found for values that many classes share.
    found: Vec<HashMap<String, Bits>>,
}

impl Scratch {
    /// The entries that select the object that was asked about last.
    pub(crate) fn selected(&self) -> &Bits {
        &self.selected
    }
}

impl EntryIndex {
    pub(crate) fn new(entries: &PermissionEntries, labelled: &LabelledObjects) -> Self {
        let numbered = || entries.allow.iter().chain(&entries.deny).map(|entry| entry.selector()).enumerate();
        let count = entries.allow.len() + entries.deny.len();
        let mut selectable = Bits::empty(count);
        type Mentions<'a> = (Bits, Vec<(usize, &'a Pattern)>);
        let mut keys: BTreeMap<&str, Mentions<'_>> = BTreeMap::new();
        for (number, selector) in numbered() {
            if selector.is_everything() {
                selectable.insert(number);
                continue;
            }
            for key in selector.keys() {
                selectable.insert(number);
                let (mentioned, patterns) =
                    keys.entry(&key.key).or_insert_with(|| (Bits::empty(count), Vec::new()));
                mentioned.insert(number);
                patterns.extend(key.patterns.iter().map(|pattern| (number, pattern)));
            }
        }
        let keys = keys.into_iter().map(|(key, (mentioned, patterns))| KeyIndex {
            place: labelled.key_place(key),
            mentioned,
            patterns: PatternIndex::new(Star::Everything, count, patterns),
        });
        Self { entries: count, selectable, keys: keys.collect() }
    }

    pub(crate) fn scratch(&self) -> Scratch {
        Scratch {
            selected: Bits::empty(self.entries),
            hits: Bits::empty(self.entries),
            value: String::new(),
            found: self.keys.iter().map(|_| HashMap::new()).collect(),
        }
    }

    /// What can be said about a class without the names of its objects.
    pub(crate) fn class(
        &self,
        labelled: &LabelledObjects,
        class: &Class,
        scratch: &mut Scratch,
    ) -> ClassIndex {
        let shape = labelled.shape(class);
        let attributes = labelled.attributes(class, "");
        let mut selected = self.selectable.clone();
        let mut by_name = Vec::new();
        for (i, key) in self.keys.iter().enumerate() {
            match key.place.and_then(|place| shape.template(place)) {
                Some(template) if template.attribute() == Some(Attribute::Name) => by_name.push(i),
                Some(template) => {
                    template.write(&attributes, &mut scratch.value);
                    let found = match scratch.found[i].get(&scratch.value) {
                        Some(found) => found,
                        None => {
                            key.patterns.find(&scratch.value, &mut scratch.hits);
                            scratch.found[i].entry(scratch.value.clone()).or_insert(scratch.hits.clone())
                        }
                    };
                    selected.restrict(&key.mentioned, found);
                }
                None => {
                    scratch.hits.clear();
                    selected.restrict(&key.mentioned, &scratch.hits);
                }
            }
        }
        by_name.retain(|key| selected.intersects(&self.keys[*key].mentioned));
        ClassIndex { selected, by_name }
    }

    /// Finds the entries that select the object of that name in a class.
    pub(crate) fn select(
        &self,
        labelled: &LabelledObjects,
        class: &Class,
        index: &ClassIndex,
        name: &str,
        scratch: &mut Scratch,
    ) {
        scratch.selected.copy_from(&index.selected);
        for key in index.by_name.iter().map(|key| &self.keys[*key]) {
            if let Some(template) = key.place.and_then(|place| labelled.shape(class).template(place)) {
                template.write(&labelled.attributes(class, name), &mut scratch.value);
                key.patterns.find(&scratch.value, &mut scratch.hits);
                scratch.selected.restrict(&key.mentioned, &scratch.hits);
            }
        }
    }
}
