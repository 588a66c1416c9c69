//! Roles as documents: `{role: ..., db: ...}`.

use mongodb::bson::{Document, doc};
use rolecall_engine::dialect::mongodb::RoleName;

/// The role of a document; `None` where it names none.
pub(crate) fn read(document: &Document) -> Option<RoleName> {
    let text = |key: &str| document.get_str(key).ok().map(str::to_owned);
    Some(RoleName { role: text("role")?, database: text("db")? })
}

/// The document of a role.
pub(crate) fn document(name: &RoleName) -> Document {
    doc! { "role": &name.role, "db": &name.database }
}
