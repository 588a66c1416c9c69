//! A role as it is for one user.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::conditions::Conditions;
use crate::effect::Effect;
use crate::expression::Expression;
use crate::origin::Origin;
use crate::role::Role;
use crate::selector::{BadPattern, Selector};
use crate::spec::{Labels, Traits};
use crate::template_field::TemplateList;

/// A role with its templates expanded for one user.
#[derive(Debug)]
pub(crate) struct BoundRole {
    pub(crate) role: Arc<Role>,
    pub(crate) allow: Bound,
    pub(crate) deny: Bound,
}

/// One side of it.
#[derive(Debug)]
pub(crate) struct Bound {
    labels: Arc<Selector>,
    pub(crate) names: Vec<Item>,
    pub(crate) roles: Vec<Item>,
}

/// A value of a list and the entry that it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) value: String,
    pub(crate) entry: usize,
}

/// What the selectors of a role say about one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matched {
    /// The selectors of allow select it: the role gives what it gives.
    pub(crate) allow: bool,
    /// A selector of deny selects it: nobody with the role gets in.
    pub(crate) deny: bool,
    /// The deny lists are in force: nothing restricts them to other databases.
    pub(crate) deny_lists: bool,
}

impl BoundRole {
    pub(crate) fn new(role: &Arc<Role>, traits: &Traits) -> Self {
        Self {
            role: Arc::clone(role),
            allow: Bound::new(role.allow(), Effect::Allow, traits),
            deny: Bound::new(role.deny(), Effect::Deny, traits),
        }
    }

    pub(crate) fn matched(&self, labels: &Labels, traits: &Traits) -> Matched {
        let allow = self.role.allow();
        // Where both are written both must match; neither matches nothing.
        let allowed = allow.has_selector()
            && (allow.labels.is_empty() || self.allow.labels.matches(labels))
            && allow
                .expression
                .as_ref()
                .is_none_or(|expression| expression.evaluate(labels, traits) == Ok(true));
        let deny = self.role.deny();
        // Either is enough. An expression that fails may have been about to deny.
        let denied = (!deny.labels.is_empty() && self.deny.labels.matches(labels))
            || deny
                .expression
                .as_ref()
                .is_some_and(|expression| expression.evaluate(labels, traits) != Ok(false));
        Matched { allow: allowed, deny: denied, deny_lists: denied || !deny.has_selector() }
    }

    /// A place in the role, and what is written there.
    pub(crate) fn origin(&self, path: String, text: impl Into<String>) -> Origin {
        Origin { role: self.role.name().to_owned(), path, text: text.into() }
    }

    /// The origin of an entry in `dbRoles` or `dbNames`.
    pub(crate) fn entry_origin(&self, effect: Effect, field: ListField, entry: usize) -> Origin {
        let conditions = match effect {
            Effect::Allow => self.role.allow(),
            Effect::Deny => self.role.deny(),
        };
        let (name, list) = field.of(conditions);
        self.origin(format!("{}.{name}[{entry}]", effect.as_str()), list.text(entry))
    }

    /// Why deny selects a database, each selector that does.
    pub(crate) fn deny_origins(&self, labels: &Labels, traits: &Traits) -> Vec<Origin> {
        let deny = self.role.deny();
        let mut origins = Vec::new();
        if !deny.labels.is_empty()
            && let Some(matches) = self.deny.labels.explain(labels)
        {
            let matches: Vec<String> = matches.iter().map(ToString::to_string).collect();
            let text = if matches.is_empty() { "every database".to_owned() } else { matches.join(", ") };
            origins.push(self.origin("deny.dbLabels".to_owned(), text));
        }
        if let Some(expression) = &deny.expression {
            let text = match expression.evaluate(labels, traits) {
                Ok(false) => None,
                Ok(true) => Some(expression.as_str().to_owned()),
                Err(failure) => Some(format!("{} ({failure})", expression.as_str())),
            };
            origins.extend(text.map(|text| self.origin("deny.dbLabelsExpression".to_owned(), text)));
        }
        origins
    }

    /// Why allow selects a database, in one line.
    pub(crate) fn allow_text(&self, labels: &Labels) -> String {
        let mut parts: Vec<String> = match self.allow.labels.explain(labels) {
            Some(matches) if matches.is_empty() => vec!["every database".to_owned()],
            Some(matches) => matches.iter().map(ToString::to_string).collect(),
            None => Vec::new(),
        };
        parts.extend(self.role.allow().expression.as_ref().map(|expression| expression.as_str().to_owned()));
        parts.join(", ")
    }

    /// Adds the label keys that its selectors use; false if it may use any.
    pub(crate) fn add_label_keys(&self, keys: &mut BTreeSet<String>) -> bool {
        for bound in [&self.allow, &self.deny] {
            keys.extend(bound.labels.keys().iter().map(|key| key.key.to_string()));
        }
        let expressions = [&self.role.allow().expression, &self.role.deny().expression];
        expressions.into_iter().flatten().all(|expression: &Expression| match expression.label_keys() {
            Some(read) => {
                keys.extend(read.into_iter().map(str::to_owned));
                true
            }
            None => false,
        })
    }
}

/// The lists whose entries show in a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ListField {
    Names,
    Roles,
}

impl ListField {
    fn of(self, conditions: &Conditions) -> (&'static str, &TemplateList) {
        match self {
            Self::Names => ("dbNames", &conditions.names),
            Self::Roles => ("dbRoles", &conditions.roles),
        }
    }
}

impl Bound {
    fn new(conditions: &Conditions, effect: Effect, traits: &Traits) -> Self {
        let bad = match effect {
            Effect::Allow => BadPattern::MatchesNothing,
            Effect::Deny => BadPattern::MatchesEverything,
        };
        Self {
            labels: conditions.labels.bind(traits, bad),
            names: items(&conditions.names, effect, traits),
            roles: items(&conditions.roles, effect, traits),
        }
    }
}

fn items(list: &TemplateList, effect: Effect, traits: &Traits) -> Vec<Item> {
    let values = list.expand(traits).flat_map(|(entry, values)| {
        // A value that has grown too large gives nothing, and denies everything.
        let values = values.unwrap_or_else(|_| match effect {
            Effect::Allow => Vec::new(),
            Effect::Deny => vec!["*".to_owned()],
        });
        values.into_iter().map(move |value| Item { value, entry })
    });
    values.collect()
}
