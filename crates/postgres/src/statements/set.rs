//! Statements about permission sets: what records them, and privileges on objects.

use rolecall_engine::objects::ObjectClass;
use rolecall_engine::sets::SetRecord;

use crate::quote::{identifier, literal};

/// A statement around the names of its objects.
pub(crate) struct AroundNames {
    pub(crate) before: String,
    pub(crate) after: String,
}

impl AroundNames {
    /// The statement on objects that are called so.
    pub(crate) fn on(&self, names: &str) -> String {
        format!("{}{names}{}", self.before, self.after)
    }
}

/// Grants privileges on objects of a class. `privileges`: `SELECT, UPDATE`.
pub(crate) fn grant(privileges: &str, class: ObjectClass, set: &str) -> AroundNames {
    AroundNames {
        before: format!("GRANT {privileges} ON {class} "),
        after: format!(" TO {}", identifier(set)),
    }
}

/// Revokes them, with what the set passed on. `option_only`: only the right to pass them on.
pub(crate) fn revoke(privileges: &str, class: ObjectClass, set: &str, option_only: bool) -> AroundNames {
    AroundNames {
        before: format!("REVOKE {}{privileges} ON {class} ", option(option_only)),
        after: format!(" FROM {} CASCADE", identifier(set)),
    }
}

/// What a statement begins with that takes away no more than the right to pass privileges on.
pub(crate) fn option(only: bool) -> &'static str {
    if only { "GRANT OPTION FOR " } else { "" }
}

/// Lets a set connect to a logical database.
pub(crate) fn connect(database: &str, set: &str) -> String {
    format!("GRANT CONNECT ON DATABASE {} TO {}", identifier(database), identifier(set))
}

/// Writes the record of a set.
pub(crate) fn record(set: &str, record: &SetRecord) -> String {
    // A struct of strings always has a JSON form.
    let json = serde_json::to_string(record).unwrap_or_default();
    format!("COMMENT ON ROLE {} IS {}", identifier(set), literal(json))
}
