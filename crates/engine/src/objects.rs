//! The objects of one logical database, and what permission sets may do with them: one moment of the server.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use rolecall_policy::{DbObject, ObjectKind, PrivilegeSet};

use crate::sets::SetRecord;

/// What to read of a logical database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogQuery {
    /// The logical database.
    pub database: String,
    /// The permission sets whose grants are read. Those of others are not: memory grows with the objects and with
    /// these sets, not with all that anybody was ever granted.
    pub sets: BTreeSet<String>,
}

/// An object, as the server identifies it, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Where it is listed: schemas, routines, or everything that is a table or like one. A sequence is there, too.
    pub class: ObjectClass,
    /// Its number, unique within that list: [`Catalog::ids`].
    pub id: u32,
}

/// Some of the objects of a logical database, and the schemas that these lie in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SomeObjects {
    /// The objects.
    pub objects: BTreeSet<ObjectRef>,
    /// Schemas beside those that the objects lie in, by name.
    pub schemas: BTreeSet<Arc<str>>,
}

/// What a catalogue of some objects does not show of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// By permission set: the schemas, among the objects of the catalogue, in which it should have something on an object
    /// that is not among them.
    pub used_schemas: BTreeMap<String, HashSet<usize>>,
}

/// The objects of one logical database. System schemas, and what is temporary, are not among them.
///
/// Objects are numbered: `objects[i]` is the object that `LabelledObjects`, `ObjectPermissions`, [`ObjectGrant`] and
/// [`SetPlan`](crate::sets::SetPlan) call `i`. Several may be equal (a function that is overloaded); their ids differ.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The logical database.
    pub database: String,
    /// The objects, by kind, schema and name.
    pub objects: Arc<[DbObject]>,
    /// The server's own number of each object (PostgreSQL: its oid), which distinguishes it from another one that gets
    /// its name later. (MongoDB has none that matters: privileges are on names, whatever has them. The numbers only
    /// count.)
    pub ids: Vec<u32>,
    /// The schemas, among the objects, that everybody may use.
    pub open_schemas: HashSet<usize>,
    /// Everybody may connect to the database.
    pub open: bool,
    /// Privileges that this server does not know (PostgreSQL before 17: `MAINTAIN`). Nobody can have them.
    pub unknown: PrivilegeSet,
    /// Objects whose access list is long, with its number of entries: see [`CROWDED`].
    pub crowded: BTreeMap<usize, u32>,
    /// The server announces changes of the objects by itself: [`Engine::watch_objects`](crate::Engine::watch_objects)
    /// reports them.
    pub announced: bool,
    /// Only some objects were read ([`Engine::read_some_objects`](crate::Engine::read_some_objects)), and this is known of
    /// the others.
    pub elsewhere: Option<Elsewhere>,
    /// What is known of the sets asked for; one that does not exist is absent.
    pub sets: BTreeMap<String, SetState>,
}

/// More entries than this in an access list are reported. PostgreSQL keeps the list in one row, which is full at
/// 1,800 to 2,400 entries: then nobody can be granted anything on the object any more (SQLSTATE 54000).
pub const CROWDED: u32 = 1_500;

/// A permission set as the server has it.
#[derive(Clone, Debug, Default)]
pub struct SetState {
    /// Its record, when it can be read.
    pub record: Option<SetRecord>,
    /// It can connect to the database: by itself, or as everybody.
    pub connects: bool,
    /// Its grants on the objects, by object and grantor.
    pub grants: Vec<ObjectGrant>,
    /// It has something that no set has: rights on columns, on types, on the database beyond CONNECT; a membership,
    /// an attribute such as LOGIN.
    pub foreign_grants: bool,
}

/// What one grantor gave a set on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectGrant {
    /// The object's number in the catalogue.
    pub object: usize,
    /// Who granted it, and alone can revoke it.
    pub grantor: Arc<str>,
    /// What it may do.
    pub privileges: PrivilegeSet,
    /// What of that it may pass on; a set should never.
    pub grantable: PrivilegeSet,
}

/// How objects are named in a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectClass {
    /// Schemas. First, as what lies in them cannot be used without.
    Schema,
    /// Tables, views, and what else is read like a table.
    Table,
    /// Sequences.
    Sequence,
    /// Functions and procedures.
    Routine,
    /// Collections of MongoDB.
    Collection,
}

impl ObjectRef {
    /// The object that a catalogue numbers so; `None` where there is none.
    pub fn of(catalog: &Catalog, object: usize) -> Option<Self> {
        let class = match ObjectClass::of(catalog.objects.get(object)?.kind) {
            ObjectClass::Sequence => ObjectClass::Table,
            class => class,
        };
        Some(Self { class, id: *catalog.ids.get(object)? })
    }
}

impl ObjectClass {
    /// The class of a kind.
    pub fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Table
            | ObjectKind::View
            | ObjectKind::MaterializedView
            | ObjectKind::ForeignTable => Self::Table,
            ObjectKind::Sequence => Self::Sequence,
            ObjectKind::Function | ObjectKind::Procedure => Self::Routine,
            ObjectKind::Schema => Self::Schema,
            ObjectKind::Collection => Self::Collection,
        }
    }

    /// As in `GRANT SELECT ON TABLE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "SCHEMA",
            Self::Table => "TABLE",
            Self::Sequence => "SEQUENCE",
            Self::Routine => "ROUTINE",
            Self::Collection => "COLLECTION",
        }
    }
}

impl fmt::Display for ObjectClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
