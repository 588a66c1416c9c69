//! Accounts as the superuser sees them.

use std::collections::BTreeSet;

use mongodb::bson::Document;

use crate::accounts::MARKER;

/// An account as the server shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MongoAccount {
    /// It carries the marker.
    pub managed: bool,
    /// Its roles, as `role@database`.
    pub roles: BTreeSet<String>,
    /// It may log in from nowhere.
    pub locked: bool,
    /// Its custom data.
    pub custom_data: Document,
}

impl MongoAccount {
    pub(super) fn of(user: &Document) -> Self {
        let text = |role: &Document, key: &str| role.get_str(key).unwrap_or_default().to_owned();
        let documents = |key: &str| user.get_array(key).cloned().unwrap_or_default();
        let custom_data = user.get_document("customData").cloned().unwrap_or_default();
        Self {
            managed: custom_data.get_bool(MARKER).unwrap_or(false),
            roles: documents("roles")
                .iter()
                .filter_map(|role| role.as_document())
                .map(|role| format!("{}@{}", text(role, "role"), text(role, "db")))
                .collect(),
            locked: !documents("authenticationRestrictions").is_empty(),
            custom_data,
        }
    }

    /// It can log in and has exactly these roles.
    pub fn is_enabled_with(&self, roles: &[&str]) -> bool {
        self.managed && !self.locked && self.roles.iter().map(String::as_str).eq(roles.iter().copied())
    }

    /// Nothing is left of its access.
    pub fn is_disabled(&self) -> bool {
        self.managed && self.locked && self.roles.is_empty()
    }
}
