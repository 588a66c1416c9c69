//! Privileges and the kinds of objects that have them.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::object::ObjectKind;

/// A privilege on an object: of PostgreSQL and its kin, or an action on collections of MongoDB. Ordered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    /// The action `bypassDocumentValidation` on a collection.
    BypassDocumentValidation,
    /// The action `changeStream` on a collection.
    ChangeStream,
    /// The action `collMod` on a collection.
    CollMod,
    /// The action `collStats` on a collection.
    CollStats,
    /// The action `compact` on a collection.
    Compact,
    /// The action `convertToCapped` on a collection.
    ConvertToCapped,
    /// `CREATE` in a schema.
    Create,
    /// The action `createCollection` on a collection.
    CreateCollection,
    /// The action `createIndex` on a collection.
    CreateIndex,
    /// `DELETE` from a table.
    Delete,
    /// The action `dropCollection` on a collection.
    DropCollection,
    /// The action `dropIndex` on a collection.
    DropIndex,
    /// `EXECUTE` a function or procedure.
    Execute,
    /// The action `find` on a collection.
    Find,
    /// The action `indexStats` on a collection.
    IndexStats,
    /// `INSERT` into a table; the action `insert` on a collection.
    Insert,
    /// The action `killCursors` on a collection.
    KillCursors,
    /// The action `listIndexes` on a collection.
    ListIndexes,
    /// `MAINTAIN` a table; PostgreSQL 17 and later.
    Maintain,
    /// The action `planCacheIndexFilter` on a collection.
    PlanCacheIndexFilter,
    /// The action `planCacheRead` on a collection.
    PlanCacheRead,
    /// The action `planCacheWrite` on a collection.
    PlanCacheWrite,
    /// `REFERENCES` to a table.
    References,
    /// The action `reIndex` on a collection.
    ReIndex,
    /// The action `remove` on a collection.
    Remove,
    /// The action `renameCollectionSameDB` on a collection.
    RenameCollectionSameDb,
    /// `SELECT` from a table or sequence.
    Select,
    /// The action `storageDetails` on a collection.
    StorageDetails,
    /// `TRIGGER` on a table.
    Trigger,
    /// `TRUNCATE` a table.
    Truncate,
    /// `UPDATE` a table or sequence; the action `update` on a collection.
    Update,
    /// `USAGE` of a schema or sequence.
    Usage,
    /// The action `validate` on a collection.
    Validate,
}

/// Every privilege in order, with its name and with the action that it is in MongoDB.
const TABLE: [(Privilege, &str, Option<&str>); 33] = [
    (Privilege::BypassDocumentValidation, "BYPASSDOCUMENTVALIDATION", Some("bypassDocumentValidation")),
    (Privilege::ChangeStream, "CHANGESTREAM", Some("changeStream")),
    (Privilege::CollMod, "COLLMOD", Some("collMod")),
    (Privilege::CollStats, "COLLSTATS", Some("collStats")),
    (Privilege::Compact, "COMPACT", Some("compact")),
    (Privilege::ConvertToCapped, "CONVERTTOCAPPED", Some("convertToCapped")),
    (Privilege::Create, "CREATE", None),
    (Privilege::CreateCollection, "CREATECOLLECTION", Some("createCollection")),
    (Privilege::CreateIndex, "CREATEINDEX", Some("createIndex")),
    (Privilege::Delete, "DELETE", None),
    (Privilege::DropCollection, "DROPCOLLECTION", Some("dropCollection")),
    (Privilege::DropIndex, "DROPINDEX", Some("dropIndex")),
    (Privilege::Execute, "EXECUTE", None),
    (Privilege::Find, "FIND", Some("find")),
    (Privilege::IndexStats, "INDEXSTATS", Some("indexStats")),
    (Privilege::Insert, "INSERT", Some("insert")),
    (Privilege::KillCursors, "KILLCURSORS", Some("killCursors")),
    (Privilege::ListIndexes, "LISTINDEXES", Some("listIndexes")),
    (Privilege::Maintain, "MAINTAIN", None),
    (Privilege::PlanCacheIndexFilter, "PLANCACHEINDEXFILTER", Some("planCacheIndexFilter")),
    (Privilege::PlanCacheRead, "PLANCACHEREAD", Some("planCacheRead")),
    (Privilege::PlanCacheWrite, "PLANCACHEWRITE", Some("planCacheWrite")),
    (Privilege::References, "REFERENCES", None),
    (Privilege::ReIndex, "REINDEX", Some("reIndex")),
    (Privilege::Remove, "REMOVE", Some("remove")),
    (Privilege::RenameCollectionSameDb, "RENAMECOLLECTIONSAMEDB", Some("renameCollectionSameDB")),
    (Privilege::Select, "SELECT", None),
    (Privilege::StorageDetails, "STORAGEDETAILS", Some("storageDetails")),
    (Privilege::Trigger, "TRIGGER", None),
    (Privilege::Truncate, "TRUNCATE", None),
    (Privilege::Update, "UPDATE", Some("update")),
    (Privilege::Usage, "USAGE", None),
    (Privilege::Validate, "VALIDATE", Some("validate")),
];

impl Privilege {
    /// Every privilege, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.into_iter().map(|(privilege, _, _)| privilege)
    }

    /// Reads what an author wrote: white space around it and case do not matter. `None` where no kind of
    /// object of any engine has such a privilege.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // Only ASCII letters have another case here: Unicode would make an S of a long s.
        TABLE
            .into_iter()
            .find(|(_, name, _)| name.eq_ignore_ascii_case(text))
            .map(|(privilege, _, _)| privilege)
    }

    /// The name in upper case.
    pub fn as_str(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The action on collections that it is in MongoDB, spelled as MongoDB does.
    pub fn mongodb_action(self) -> Option<&'static str> {
        TABLE[self as usize].2
    }

    /// Whether objects of this kind have the privilege.
    pub fn applies_to(self, kind: ObjectKind) -> bool {
        PrivilegeSet::of_kind(kind).contains(self)
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Privilege {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivilegeSet(u64);

impl PrivilegeSet {
    /// No privilege.
    pub const EMPTY: Self = Self(0);
    /// Every privilege.
    pub const ALL: Self = Self((1 << TABLE.len()) - 1);

    const TABLE: Self = Self::of(&[
        Privilege::Select,
        Privilege::Insert,
        Privilege::Update,
        Privilege::Delete,
        Privilege::Truncate,
        Privilege::References,
        Privilege::Trigger,
        Privilege::Maintain,
    ]);
    const SEQUENCE: Self = Self::of(&[Privilege::Usage, Privilege::Select, Privilege::Update]);
    const ROUTINE: Self = Self::of(&[Privilege::Execute]);
    const SCHEMA: Self = Self::of(&[Privilege::Usage, Privilege::Create]);
    const COLLECTION: Self = {
        let mut bits = 0;
        let mut i = 0;
        while i < TABLE.len() {
            if TABLE[i].2.is_some() {
                bits |= 1 << i;
            }
            i += 1;
        }
        Self(bits)
    };

    const fn of(privileges: &[Privilege]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < privileges.len() {
            bits |= 1 << privileges[i] as u64;
            i += 1;
        }
        Self(bits)
    }

    /// The privileges that objects of a kind have. `MAINTAIN` counts among those of tables: servers older than
    /// PostgreSQL 17, which lack it, are not known here.
    pub const fn of_kind(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::ForeignTable => Self::TABLE,
            ObjectKind::Sequence => Self::SEQUENCE,
            ObjectKind::Function | ObjectKind::Procedure => Self::ROUTINE,
            ObjectKind::Schema => Self::SCHEMA,
            ObjectKind::Collection => Self::COLLECTION,
        }
    }

    /// Whether the privilege is in the set.
    pub fn contains(self, privilege: Privilege) -> bool {
        self.0 & (1 << privilege as u64) != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many privileges it has.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Privileges in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Privileges in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Privileges of this set that the other lacks.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The privileges, in order.
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        Privilege::all().filter(move |privilege| self.contains(*privilege))
    }
}

impl FromIterator<Privilege> for PrivilegeSet {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        privileges.into_iter().fold(Self::EMPTY, |set, privilege| set.union(Self::of(&[privilege])))
    }
}

impl fmt::Display for PrivilegeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, privilege) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(privilege.as_str())?;
        }
        Ok(())
    }
}

impl Serialize for PrivilegeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_outside_ascii_are_no_other_spelling() {
        assert_eq!(Privilege::parse(" select "), Some(Privilege::Select));
        // A long s, which Unicode upper-cases to an S.
        assert_eq!(Privilege::parse("\u{17f}elect"), None);
    }

    #[test]
    fn every_privilege_is_one_of_some_kind() {
        let sets = ObjectKind::ALL.into_iter().map(PrivilegeSet::of_kind);
        assert_eq!(sets.fold(PrivilegeSet::EMPTY, PrivilegeSet::union), PrivilegeSet::ALL);
    }

    #[test]
    fn the_table_is_in_the_order_of_the_privileges_and_of_their_names() {
        assert!(TABLE.iter().enumerate().all(|(i, (privilege, _, _))| *privilege as usize == i));
        assert!(TABLE.is_sorted_by_key(|(_, name, _)| *name));
    }

    #[test]
    fn actions_of_mongodb_are_the_names_in_another_case() {
        for (privilege, name, action) in TABLE {
            assert_eq!(privilege.mongodb_action(), action);
            assert!(action.is_none_or(|action| action.eq_ignore_ascii_case(name)), "{name}");
        }
        assert_eq!(Privilege::parse("collMod"), Some(Privilege::CollMod));
        assert!(
            Privilege::Find.applies_to(ObjectKind::Collection)
                && !Privilege::Find.applies_to(ObjectKind::Table)
        );
        assert!(!Privilege::Select.applies_to(ObjectKind::Collection));
    }
}
