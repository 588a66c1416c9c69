//! DbObjectImportRules, compiled.

use std::sync::{Arc, LazyLock};

use crate::decision::{Denial, Reason};
use crate::fault::{Fault, Faults};
use crate::limits;
use crate::mapping::Mapping;
use crate::object::Database;
use crate::one_line::Few;
use crate::selector::{Selector, check_wildcard_key};
use crate::spec::{ImportRuleSpec, MappingSpec, MatchSpec};

/// An import rule, ready to be applied.
#[derive(Debug)]
pub struct ImportRule {
    name: String,
    priority: i64,
    selector: Selector,
    /// It is unknown which databases the rule applies to.
    selector_faulty: bool,
    mappings: Vec<Mapping>,
    faults: Vec<Fault>,
}

impl ImportRule {
    /// Compiles a rule that must be valid.
    ///
    /// # Errors
    ///
    /// All faults of the rule, each with the path of its field: no `databaseLabels` (`{}` selects none, on
    /// purpose), no mappings where it selects some, a selector's key `*` with other values than `["*"]`, patterns that
    /// are no regular expressions, malformed templates and unknown variables, labels without a key.
    pub fn compile(name: &str, spec: &ImportRuleSpec) -> Result<Self, Vec<Fault>> {
        let rule = Self::read(name, spec);
        if rule.faults.is_empty() { Ok(rule) } else { Err(rule.faults) }
    }

    /// Reads a stored rule, valid or not: faulty patterns match nothing, objects that a faulty template would
    /// label are not imported, and [`ImportRule::faults`] says what is wrong.
    pub fn read(name: &str, spec: &ImportRuleSpec) -> Self {
        let mut faults = Faults::new();
        let selector = match &spec.database_labels {
            Some(labels) => {
                check_wildcard_key(labels, "databaseLabels", &mut faults);
                Selector::read(labels, "databaseLabels", &mut faults)
            }
            None => {
                faults.add("databaseLabels", "is missing: select databases by their labels; {} selects none");
                Selector::default()
            }
        };
        let selector_faulty = !faults.is_empty();
        let selects_none = spec.database_labels.as_ref().is_some_and(|labels| labels.is_empty());
        if spec.mappings.is_empty() && !selects_none {
            faults.add(
                "mappings",
                "is empty: say which objects to import, or databaseLabels: {} to import none",
            );
        }
        let count = limits::entries(spec.mappings.len(), "mappings", &mut faults);
        let mappings = spec.mappings.iter().take(count).enumerate();
        let mappings = mappings.map(|(i, mapping)| Mapping::read(mapping, i, &mut faults)).collect();
        let faults = faults.into_vec();
        Self { name: name.to_owned(), priority: spec.priority, selector, selector_faulty, mappings, faults }
    }

    /// The rule that applies if a namespace has none: every object, labelled with what it is.
    pub fn import_all_objects() -> Arc<Self> {
        static RULE: LazyLock<Arc<ImportRule>> =
            LazyLock::new(|| Arc::new(ImportRule::read("import_all_objects", &import_all_objects())));
        Arc::clone(&RULE)
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place among the rules: ascending.
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// What is wrong with it; empty: it is valid.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether the rule selects the database, as far as that is known.
    pub fn applies_to(&self, database: &Database) -> bool {
        self.selector.matches(&database.labels)
    }

    pub(crate) fn mappings(&self) -> &[Mapping] {
        &self.mappings
    }
}

fn import_all_objects() -> ImportRuleSpec {
    let all = || vec!["*".to_owned()];
    let label = |key: &str| (key.to_owned(), format!("{{{{obj.{key}}}}}"));
    let attributes = ["protocol", "database_service_name", "object_kind", "database", "schema", "name"];
    ImportRuleSpec {
        priority: 0,
        database_labels: Some([("*".to_owned(), all())].into()),
        mappings: vec![MappingSpec {
            matching: MatchSpec {
                table_names: all(),
                view_names: all(),
                materialized_view_names: all(),
                foreign_table_names: all(),
                sequence_names: all(),
                function_names: all(),
                procedure_names: all(),
                schema_names: all(),
                collection_names: all(),
            },
            add_labels: attributes.into_iter().map(label).collect(),
            ..MappingSpec::default()
        }],
    }
}

/// The import rules of a namespace, in the order in which they apply: by priority, then by name.
#[derive(Clone, Debug, Default)]
pub struct ImportRules(Vec<Arc<ImportRule>>);

impl ImportRules {
    /// Rules as given, in any order. No rules import nothing.
    pub fn new(rules: impl IntoIterator<Item = Arc<ImportRule>>) -> Self {
        let mut rules: Vec<_> = rules.into_iter().collect();
        rules.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        Self(rules)
    }

    /// The rules of a namespace: if there is none, the built-in [`ImportRule::import_all_objects`] applies.
    pub fn of_namespace(rules: impl IntoIterator<Item = Arc<ImportRule>>) -> Self {
        let rules = Self::new(rules);
        if rules.0.is_empty() { Self(vec![ImportRule::import_all_objects()]) } else { rules }
    }

    /// Are these the very same rules, not only equal ones?
    pub fn are_the_same(&self, others: &Self) -> bool {
        self.0.len() == others.0.len()
            && self.0.iter().zip(&others.0).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The rules that select the database, in order.
    pub fn applicable(&self, database: &Database) -> Vec<&ImportRule> {
        self.selecting(database).map(|rule| &**rule).collect()
    }

    pub(crate) fn selecting(&self, database: &Database) -> impl Iterator<Item = &Arc<ImportRule>> {
        self.0.iter().filter(|rule| rule.applies_to(database))
    }

    /// Whether some mapping may import objects of this logical database, so that it is worth reading.
    pub fn accepts_database_name(&self, database: &Database, database_name: &str) -> bool {
        let mappings = self.applicable(database).into_iter().flat_map(ImportRule::mappings);
        mappings.into_iter().any(|mapping| mapping.databases.admits(database_name))
    }

    /// Whether every rule that may concern the database is valid.
    ///
    /// # Errors
    ///
    /// [`Reason::ImportRuleInvalid`], naming the rules: a label that such a rule should have added may be one
    /// that a deny needs, so there are no object permissions. A rule whose `databaseLabels` are at fault
    /// themselves may concern every database.
    pub fn check(&self, database: &Database) -> Result<(), Denial> {
        let concerns = |rule: &&Arc<ImportRule>| {
            !rule.faults.is_empty() && (rule.selector_faulty || rule.applies_to(database))
        };
        let invalid: Vec<String> = self
            .0
            .iter()
            .filter(concerns)
            .map(|rule| format!("import rule {} is not valid: {}", rule.name, Few(&rule.faults)))
            .collect();
        if invalid.is_empty() {
            return Ok(());
        }
        let message = format!("no object permissions on database {}: {}", database.name, Few(&invalid));
        Err(Denial::new(Reason::ImportRuleInvalid, &message, Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Protocol;
    use crate::spec::SelectorSpec;

    fn database(env: &str) -> Database {
        Database {
            name: "orders".to_owned(),
            protocol: Protocol::Postgres,
            labels: [("env".to_owned(), env.to_owned())].into(),
        }
    }

    fn rule(pattern: &str, table: &str) -> Arc<ImportRule> {
        let matching = MatchSpec { table_names: vec![table.to_owned()], ..MatchSpec::default() };
        let spec = ImportRuleSpec {
            database_labels: Some([("env".to_owned(), vec![pattern.to_owned()])].into()),
            mappings: vec![MappingSpec { matching, ..MappingSpec::default() }],
            ..ImportRuleSpec::default()
        };
        Arc::new(ImportRule::read("r", &spec))
    }

    #[test]
    fn a_rule_that_selects_no_database_needs_no_mapping() {
        let none = ImportRuleSpec { database_labels: Some(SelectorSpec::new()), ..ImportRuleSpec::default() };
        assert!(ImportRule::compile("r", &none).is_ok());
        let labels = [("env".to_owned(), vec!["prod".to_owned()])].into();
        let some = ImportRuleSpec { database_labels: Some(labels), ..ImportRuleSpec::default() };
        let faults = ImportRule::compile("r", &some).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["mappings"]);
    }

    #[test]
    fn an_invalid_rule_concerns_the_databases_that_it_selects() {
        let rules = ImportRules::new([rule("prod", "^($")]);
        let denial = rules.check(&database("prod")).expect_err("concerned");
        assert!(denial.message.contains("mappings[0].match.tableNames[0]"), "{denial}");
        assert!(rules.check(&database("dev")).is_ok());
    }

    #[test]
    fn an_invalid_rule_concerns_every_database_where_its_selector_is_at_fault() {
        assert!(ImportRules::new([rule("^($", "t")]).check(&database("dev")).is_err());
        assert!(
            ImportRules::new([Arc::new(ImportRule::read("r", &ImportRuleSpec::default()))])
                .check(&database("dev"))
                .is_err()
        );
    }

    #[test]
    fn rules_go_by_priority_then_by_name() {
        let named = |name: &str, priority| {
            let labels = Some([("*".to_owned(), vec!["*".to_owned()])].into());
            let spec = ImportRuleSpec { priority, database_labels: labels, ..ImportRuleSpec::default() };
            Arc::new(ImportRule::read(name, &spec))
        };
        let rules = ImportRules::new([named("c", 1), named("b", 1), named("a", 2), named("d", -1)]);
        let names: Vec<&str> = rules.applicable(&database("x")).iter().map(|rule| rule.name()).collect();
        assert_eq!(names, ["d", "b", "c", "a"]);
    }

    #[test]
    fn the_built_in_rule_is_valid_and_applies_where_there_is_none() {
        assert!(ImportRule::import_all_objects().faults().is_empty());
        let names = |rules: ImportRules| -> Vec<String> {
            rules.applicable(&database("x")).iter().map(|rule| rule.name().to_owned()).collect()
        };
        assert_eq!(names(ImportRules::of_namespace([])), ["import_all_objects"]);
        assert!(names(ImportRules::new([])).is_empty());
        assert!(names(ImportRules::of_namespace([rule("prod", "t")])).is_empty());
    }
}
