//! Privileges and the kinds of objects that have them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::object::ObjectKind;

/// A privilege on an object. Ordered by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Privilege {
    /// `CREATE` in a schema.
    Create,
    /// `DELETE` from a table.
    Delete,
    /// `EXECUTE` a function or procedure.
    Execute,
    /// `INSERT` into a table.
    Insert,
    /// `MAINTAIN` a table; PostgreSQL 17 and later.
    Maintain,
    /// `REFERENCES` to a table.
    References,
    /// `SELECT` from a table or sequence.
    Select,
    /// `TRIGGER` on a table.
    Trigger,
    /// `TRUNCATE` a table.
    Truncate,
    /// `UPDATE` a table or sequence.
    Update,
    /// `USAGE` of a schema or sequence.
    Usage,
}

impl Privilege {
    /// Every privilege, in order.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Delete,
        Self::Execute,
        Self::Insert,
        Self::Maintain,
        Self::References,
        Self::Select,
        Self::Trigger,
        Self::Truncate,
        Self::Update,
        Self::Usage,
    ];

    /// Reads what an author wrote: white space around it and case do not matter. `None` where no kind of
    /// object has such a privilege.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|privilege| privilege.as_str().eq_ignore_ascii_case(text))
    }

    /// The name as the database spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Execute => "EXECUTE",
            Self::Insert => "INSERT",
            Self::Maintain => "MAINTAIN",
            Self::References => "REFERENCES",
            Self::Select => "SELECT",
            Self::Trigger => "TRIGGER",
            Self::Truncate => "TRUNCATE",
            Self::Update => "UPDATE",
            Self::Usage => "USAGE",
        }
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

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivilegeSet(u16);

impl PrivilegeSet {
    /// No privilege.
    pub const EMPTY: Self = Self(0);
    /// Every privilege.
    pub const ALL: Self = Self((1 << Privilege::ALL.len()) - 1);

    /// The privileges that objects of a kind have. `MAINTAIN` counts among those of tables: servers older than
    /// PostgreSQL 17, which lack it, are not known here.
    pub fn of_kind(kind: ObjectKind) -> Self {
        use Privilege::{
            Create, Delete, Execute, Insert, Maintain, References, Select, Trigger, Truncate, Update, Usage,
        };
        let privileges: &[Privilege] = match kind {
            ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::ForeignTable => {
                &[Select, Insert, Update, Delete, Truncate, References, Trigger, Maintain]
            }
            ObjectKind::Sequence => &[Usage, Select, Update],
            ObjectKind::Function | ObjectKind::Procedure => &[Execute],
            ObjectKind::Schema => &[Usage, Create],
            ObjectKind::Collection => &[],
        };
        privileges.iter().copied().collect()
    }

    /// Whether the privilege is in the set.
    pub fn contains(self, privilege: Privilege) -> bool {
        self.0 & (1 << privilege as u16) != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many privileges it holds.
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
        Privilege::ALL.into_iter().filter(move |privilege| self.contains(*privilege))
    }
}

impl FromIterator<Privilege> for PrivilegeSet {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        Self(privileges.into_iter().fold(0, |bits, privilege| bits | 1 << privilege as u16))
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
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
        let all = ObjectKind::ALL
            .into_iter()
            .map(PrivilegeSet::of_kind)
            .fold(PrivilegeSet::EMPTY, PrivilegeSet::union);
        assert_eq!(all, PrivilegeSet::ALL);
    }
}
