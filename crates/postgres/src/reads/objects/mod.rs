//! The objects of a logical database: one statement, one row for each object.
//!
//! | module | holds |
//! |---|---|
//! | `query` | the statement |
//! | `rows` | what its rows mean |

mod query;
mod rows;

use std::collections::HashMap;

use rolecall_policy::ObjectKind;

pub(crate) use query::{Only, held, is_foreign_grant};
pub(crate) use rows::{Index, numbers, state_of};

use crate::Postgres;
use crate::quote::is_possible;
use crate::transport::message::Message;
use crate::transport::server::Place;
use rolecall_engine::Error;
use rolecall_engine::objects::{Catalog, CatalogQuery};

impl Postgres {
    pub(crate) async fn catalog(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        let place = Place::Exactly(query.database.clone());
        let sets = query.sets.iter().map(String::as_str).filter(|set| is_possible(set));
        let dialect = self.server.dialect(&place).await?;
        let statement =
            format!("{}\nUNION ALL\n{}", query::objects(), held(sets, dialect, &Only::Everything));
        let what = format!("reading the objects of the database {:?}", query.database);
        let reply = self.server.run(&place, &Message::one(what, statement)).await?;
        Ok(rows::catalog(&query.database, dialect, reply.rows()))
    }
}

/// The catalogue in which an object's row stands. Numbers are unique within each, not over all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Class,
    Proc,
    Namespace,
}

impl Table {
    pub(crate) fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Function | ObjectKind::Procedure => Self::Proc,
            ObjectKind::Schema => Self::Namespace,
            _ => Self::Class,
        }
    }
}

/// The number in the catalogue for each of the server's own.
pub(crate) fn index(catalog: &Catalog) -> Index {
    let objects = catalog.objects.iter().zip(&catalog.ids).enumerate();
    objects.map(|(i, (object, id))| ((Table::of(object.kind), *id), i)).collect::<HashMap<_, _>>()
}
