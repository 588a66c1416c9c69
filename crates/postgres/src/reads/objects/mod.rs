//! The objects of a logical database: one statement, one row for each object.
//!
//! | module | contains |
//! |---|---|
//! | `query` | the statement |
//! | `rows` | what its rows mean |

mod query;
mod rows;

use std::collections::HashMap;

use rolecall_policy::ObjectKind;

pub(crate) use query::{Only, grants, is_foreign_grant};
pub(crate) use rows::{Index, numbers, state_of};

use crate::Postgres;
use crate::quote::is_possible;
use crate::transport::message::Message;
use crate::transport::server::Place;
use rolecall_engine::Error;
use rolecall_engine::objects::{Catalog, CatalogQuery, Elsewhere, ObjectClass};

impl Postgres {
    pub(crate) async fn catalog(&self, query: &CatalogQuery, only: &Only<'_>) -> Result<Catalog, Error> {
        let place = Place::Exactly(query.database.clone());
        let sets = query.sets.iter().map(String::as_str).filter(|set| is_possible(set));
        let dialect = self.server.dialect(&place).await?;
        let statement = format!("{}\nUNION ALL\n{}", query::objects(only), grants(sets, dialect, only));
        let what = format!("reading the objects of the database {:?}", query.database);
        let reply = self.server.run(&place, &Message::one(what, statement)).await?;
        let mut catalog = rows::catalog(&query.database, dialect, reply.rows());
        catalog.elsewhere = matches!(only, Only::Around(_)).then(Elsewhere::default);
        Ok(catalog)
    }
}

/// The catalogue that an object's row is in. Numbers are unique within each, not over all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Class,
    Proc,
    Namespace,
}

/// How the server identifies an object.
pub(crate) type ObjectId = (Table, u32);

impl Table {
    pub(crate) fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Function | ObjectKind::Procedure => Self::Proc,
            ObjectKind::Schema => Self::Namespace,
            _ => Self::Class,
        }
    }

    pub(crate) fn of_class(class: ObjectClass) -> Self {
        match class {
            ObjectClass::Schema => Self::Namespace,
            ObjectClass::Routine => Self::Proc,
            ObjectClass::Table | ObjectClass::Sequence | ObjectClass::Collection => Self::Class,
        }
    }

    /// As in `GRANT SELECT ON TABLE`: relations of all kinds can be named so, sequences included, as far as what is
    /// granted on them is concerned.
    pub(crate) fn class(self) -> ObjectClass {
        match self {
            Self::Class => ObjectClass::Table,
            Self::Proc => ObjectClass::Routine,
            Self::Namespace => ObjectClass::Schema,
        }
    }

    /// An expression: the object of the alias `o`, as SQL.
    pub(crate) fn object_name(self) -> &'static str {
        match self {
            Self::Class => "o.oid::pg_catalog.regclass::pg_catalog.text",
            // A procedure by its IN and OUT arguments: by the former alone it may be two.
            Self::Proc => {
                "CASE WHEN o.prokind = 'p' THEN pg_catalog.format('%s.%I(%s)', o.pronamespace::pg_catalog.regnamespace, \
                 o.proname, pg_catalog.pg_get_function_identity_arguments(o.oid)) \
                 ELSE o.oid::pg_catalog.regprocedure::pg_catalog.text END"
            }
            Self::Namespace => "pg_catalog.quote_ident(o.nspname)",
        }
    }

    pub(crate) fn relation(self) -> &'static str {
        match self {
            Self::Class => "pg_catalog.pg_class",
            Self::Proc => "pg_catalog.pg_proc",
            Self::Namespace => "pg_catalog.pg_namespace",
        }
    }
}

/// The server's identification of an object of the catalogue.
pub(crate) fn object_id(catalog: &Catalog, object: usize) -> ObjectId {
    (Table::of(catalog.objects[object].kind), catalog.ids[object])
}

/// The number in the catalogue for each of the server's own.
pub(crate) fn index(catalog: &Catalog) -> Index {
    let objects = catalog.objects.iter().zip(&catalog.ids).enumerate();
    objects.map(|(i, (object, id))| ((Table::of(object.kind), *id), i)).collect::<HashMap<_, _>>()
}
