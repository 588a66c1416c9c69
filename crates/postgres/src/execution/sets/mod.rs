//! Permission sets: roles that hold objects for those who are members of them.
//!
//! | module | holds |
//! |---|---|
//! | `sync` | what is sent when, so that sets hold what they should |
//! | `change` | granting and revoking, many objects at once, past those that the server refuses |
//! | `ask` | what the admin user may grant, and what a set can do in effect |
//! | `outcome` | what is missing or too much, in words |
//! | `role` | the role itself: made, recorded, swept |
//! | `foreign_grants` | what is left of what no set should have |
//! | `retire` | listing sets, and dropping them |

mod ask;
mod change;
mod foreign_grants;
mod outcome;
mod retire;
mod role;
mod sync;

use rolecall_engine::objects::{Catalog, ObjectClass};

use crate::Postgres;
use crate::reads::objects::Table;

/// Objects by which the server knows them.
type Id = (Table, u32);

fn id_of(catalog: &Catalog, object: usize) -> Id {
    (Table::of(catalog.objects[object].kind), catalog.ids[object])
}

/// As in `GRANT SELECT ON TABLE`: relations of all kinds can be named so, sequences included, where all that is granted
/// on them is concerned.
fn class_of(table: Table) -> ObjectClass {
    match table {
        Table::Class => ObjectClass::Table,
        Table::Proc => ObjectClass::Routine,
        Table::Namespace => ObjectClass::Schema,
    }
}

fn table_of(class: ObjectClass) -> Table {
    match class {
        ObjectClass::Schema => Table::Namespace,
        ObjectClass::Routine => Table::Proc,
        ObjectClass::Table | ObjectClass::Sequence | ObjectClass::Collection => Table::Class,
    }
}

/// An expression: the object of the alias `o`, as SQL.
fn name_of(table: Table) -> &'static str {
    match table {
        Table::Class => "o.oid::pg_catalog.regclass::pg_catalog.text",
        // A procedure by its IN and OUT arguments: by the former alone it may be two.
        Table::Proc => {
            "CASE WHEN o.prokind = 'p' THEN pg_catalog.format('%s.%I(%s)', o.pronamespace::pg_catalog.regnamespace, \
             o.proname, pg_catalog.pg_get_function_identity_arguments(o.oid)) \
             ELSE o.oid::pg_catalog.regprocedure::pg_catalog.text END"
        }
        Table::Namespace => "pg_catalog.quote_ident(o.nspname)",
    }
}

fn relation_of(table: Table) -> &'static str {
    match table {
        Table::Class => "pg_catalog.pg_class",
        Table::Proc => "pg_catalog.pg_proc",
        Table::Namespace => "pg_catalog.pg_namespace",
    }
}
