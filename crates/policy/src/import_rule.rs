//! DbObjectImportRules, compiled.

use std::sync::Arc;

use crate::decision::Denial;
use crate::fault::Fault;
use crate::object::Database;
use crate::spec::ImportRuleSpec;

/// An import rule, ready to be applied.
#[derive(Debug)]
pub struct ImportRule {
    name: String,
    priority: i64,
    faults: Vec<Fault>,
}

impl ImportRule {
    /// Compiles a rule that must be valid.
    ///
    /// # Errors
    ///
    /// All faults of the rule.
    pub fn compile(name: &str, spec: &ImportRuleSpec) -> Result<Self, Vec<Fault>> {
        let rule = Self::read(name, spec);
        if rule.faults.is_empty() { Ok(rule) } else { Err(rule.faults) }
    }

    /// Reads a stored rule, valid or not: faulty patterns match nothing, objects that a faulty template would
    /// label are not imported, and [`ImportRule::faults`] says what is wrong.
    pub fn read(_name: &str, _spec: &ImportRuleSpec) -> Self {
        todo!()
    }

    /// The rule that holds where a namespace has none: every object, labelled with what it is.
    pub fn import_all_objects() -> Self {
        todo!()
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

    /// Whether the rule selects the database.
    pub fn applies_to(&self, _database: &Database) -> bool {
        todo!()
    }
}

/// The import rules of a namespace, in the order in which they apply: by priority, then by name.
#[derive(Clone, Debug, Default)]
pub struct ImportRules(Vec<Arc<ImportRule>>);

impl ImportRules {
    /// Rules as given, in any order. No rules import nothing.
    pub fn new(_rules: impl IntoIterator<Item = Arc<ImportRule>>) -> Self {
        todo!()
    }

    /// The rules of a namespace: where there is none the built-in [`ImportRule::import_all_objects`] holds.
    pub fn of_namespace(_rules: impl IntoIterator<Item = Arc<ImportRule>>) -> Self {
        todo!()
    }

    /// The rules that select the database, in order.
    pub fn applicable(&self, _database: &Database) -> Vec<&ImportRule> {
        todo!()
    }

    /// Whether some mapping may import objects of this logical database, so that it is worth reading.
    pub fn accepts_database_name(&self, _database: &Database, _database_name: &str) -> bool {
        todo!()
    }

    /// Whether every rule that may concern the database is valid.
    ///
    /// # Errors
    ///
    /// [`Reason::ImportRuleInvalid`](crate::Reason::ImportRuleInvalid), naming the rules: a label that such a
    /// rule should have added may be one that a deny needs, so there are no object permissions.
    pub fn check(&self, _database: &Database) -> Result<(), Denial> {
        todo!()
    }
}
