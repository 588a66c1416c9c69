//! `allow` and `deny` of a role, compiled.

use std::sync::Arc;

use crate::effect::Effect;
use crate::expression::Expression;
use crate::fault::Faults;
use crate::limits;
use crate::permission::PermissionEntry;
use crate::spec::{RoleConditions, Traits};
use crate::template_field::{SelectorTemplate, TemplateList};

/// One side of a role, with its templates, patterns and expressions compiled.
#[derive(Debug)]
pub struct Conditions {
    pub(crate) labels: SelectorTemplate,
    pub(crate) expression: Option<Expression>,
    pub(crate) names: TemplateList,
    pub(crate) users: TemplateList,
    pub(crate) roles: TemplateList,
    pub(crate) permissions: Vec<Arc<PermissionEntry>>,
}

impl Conditions {
    /// Compiles one side of the role `role`. What is wrong goes into `faults`; what is left are the conditions
    /// without their faulty parts, which decide nothing: a role with faults is not valid.
    pub fn read(role: &str, effect: Effect, spec: &RoleConditions, faults: &mut Faults) -> Self {
        let side = effect.as_str();
        let list = |field: &str, entries: &[String], faults: &mut Faults| {
            TemplateList::read(entries, &format!("{side}.{field}"), faults)
        };
        let labels = SelectorTemplate::read(&spec.db_labels, &format!("{side}.dbLabels"), faults);
        let expression = spec.db_labels_expression.as_ref().and_then(|source| {
            Expression::compile(source)
                .map_err(|messages| {
                    for message in messages {
                        faults.add(format_args!("{side}.dbLabelsExpression"), message);
                    }
                })
                .ok()
        });
        let names = list("dbNames", &spec.db_names, faults);
        let users = list("dbUsers", &spec.db_users, faults);
        let roles = list("dbRoles", &spec.db_roles, faults);
        for (i, entry) in spec.db_roles.iter().enumerate() {
            if effect == Effect::Allow && entry == "*" {
                faults.add(
                    format_args!("allow.dbRoles[{i}]"),
                    "* means every database role only in deny.dbRoles: name the roles",
                );
            }
        }
        let count = limits::entries(spec.db_permissions.len(), &format!("{side}.dbPermissions"), faults);
        let permissions = spec.db_permissions.iter().take(count).enumerate();
        let permissions = permissions
            .map(|(i, entry)| Arc::new(PermissionEntry::read(role, effect, i, entry, faults)))
            .collect();
        Self { labels, expression, names, users, roles, permissions }
    }

    /// The conditions as they are for a user with these traits: templates expanded, each value once. A list
    /// entry without a value is left out; the key or value of a label without one is `""`.
    pub fn expanded(&self, traits: &Traits) -> RoleConditions {
        RoleConditions {
            db_labels: self.labels.expand(traits).unwrap_or_default(),
            db_labels_expression: self.expression.as_ref().map(|expression| expression.as_str().to_owned()),
            db_names: self.names.values(traits),
            db_users: self.users.values(traits),
            db_roles: self.roles.values(traits),
            db_permissions: self.permissions.iter().map(|entry| entry.spec.clone()).collect(),
        }
    }

    /// Whether databases are selected at all, by labels or by an expression.
    pub(crate) fn has_selector(&self) -> bool {
        !self.labels.is_empty() || self.expression.is_some()
    }
}
