//! A mapping of an import rule, compiled.

use std::sync::Arc;

use crate::fault::Faults;
use crate::label_template::LabelTemplate;
use crate::limits;
use crate::object::ObjectKind;
use crate::pattern::Pattern;
use crate::spec::{MappingSpec, MatchSpec};

/// Which objects, where, and the labels that they get.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Patterns of names, by kind in the order of [`ObjectKind::ALL`].
    names: Vec<Vec<Pattern>>,
    pub(crate) databases: Scope,
    pub(crate) schemas: Scope,
    pub(crate) labels: Vec<(Arc<str>, Arc<LabelTemplate>)>,
    /// A template is malformed, so the labels of matching objects are unknown.
    pub(crate) faulty: bool,
}

/// Names that a mapping is restricted to.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Something is written; patterns that cannot be compiled restrict as well.
    restricted: bool,
    patterns: Vec<Pattern>,
}

impl Scope {
    fn read(texts: &[String], path: &str, faults: &mut Faults) -> Self {
        Self { restricted: !texts.is_empty(), patterns: read_patterns(texts, path, faults) }
    }

    /// Whether the name is in the scope: nothing written admits every name.
    pub(crate) fn admits(&self, name: &str) -> bool {
        !self.restricted || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

impl Mapping {
    /// Compiles the mapping at `index`; what is wrong goes into `faults`.
    pub(crate) fn read(spec: &MappingSpec, index: usize, faults: &mut Faults) -> Self {
        let path = format!("mappings[{index}]");
        let names = ObjectKind::ALL.into_iter().map(|kind| {
            let (field, texts) = names_of(&spec.matching, kind);
            read_patterns(texts, &format!("{path}.match.{field}"), faults)
        });
        let names = names.collect();
        let databases =
            Scope::read(&spec.scope.database_names, &format!("{path}.scope.databaseNames"), faults);
        let schemas = Scope::read(&spec.scope.schema_names, &format!("{path}.scope.schemaNames"), faults);
        let mut labels = Vec::with_capacity(spec.add_labels.len());
        let mut faulty = false;
        let labels_path = format!("{path}.addLabels");
        let count = limits::entries(spec.add_labels.len(), &labels_path, faults);
        for (key, value) in spec.add_labels.iter().take(count) {
            let path = format!("{labels_path}[{key:?}]");
            if key.trim().is_empty() {
                faults.add(&path, "a label needs a key");
            }
            match LabelTemplate::parse(value) {
                Ok(template) => labels.push((key.as_str().into(), Arc::new(template))),
                Err(error) => {
                    faults.add(&path, error);
                    faulty = true;
                }
            }
        }
        Self { names, databases, schemas, labels, faulty }
    }

    /// The patterns of names for a kind of object.
    pub(crate) fn names(&self, kind: ObjectKind) -> &[Pattern] {
        self.names.get(kind as usize).map_or(&[], |patterns| patterns)
    }
}

fn read_patterns(texts: &[String], path: &str, faults: &mut Faults) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate().take(limits::entries(texts.len(), path, faults)) {
        patterns.extend(Pattern::read(text, format_args!("{path}[{i}]"), faults));
    }
    patterns
}

fn names_of(spec: &MatchSpec, kind: ObjectKind) -> (&'static str, &[String]) {
    match kind {
        ObjectKind::Table => ("tableNames", &spec.table_names),
        ObjectKind::View => ("viewNames", &spec.view_names),
        ObjectKind::MaterializedView => ("materializedViewNames", &spec.materialized_view_names),
        ObjectKind::ForeignTable => ("foreignTableNames", &spec.foreign_table_names),
        ObjectKind::Sequence => ("sequenceNames", &spec.sequence_names),
        ObjectKind::Function => ("functionNames", &spec.function_names),
        ObjectKind::Procedure => ("procedureNames", &spec.procedure_names),
        ObjectKind::Schema => ("schemaNames", &spec.schema_names),
        ObjectKind::Collection => ("collectionNames", &spec.collection_names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ScopeSpec;

    #[test]
    fn kinds_are_numbered_in_their_order() {
        for (i, kind) in ObjectKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
        }
    }

    #[test]
    fn a_scope_of_faulty_patterns_admits_nothing() {
        let spec = MappingSpec {
            scope: ScopeSpec { schema_names: vec!["^($".to_owned()], ..ScopeSpec::default() },
            add_labels: [(" ".to_owned(), "{{obj.nope}}".to_owned())].into(),
            ..MappingSpec::default()
        };
        let mut faults = Faults::new();
        let mapping = Mapping::read(&spec, 3, &mut faults);
        assert!(!mapping.schemas.admits("public") && mapping.databases.admits("app"));
        let paths: Vec<String> = faults.into_vec().into_iter().map(|fault| fault.path).collect();
        let label = "mappings[3].addLabels[\" \"]";
        assert_eq!(paths, ["mappings[3].scope.schemaNames[0]", label, label]);
    }
}
