//! Effective privileges: what the admin user may grant, and what a permission set can do.
//!
//! Granting something that one may not grant fails for all objects of the statement, or is skipped with a warning. So
//! this is read before granting; afterwards the effective privileges are read, whatever grant they come from.

use std::collections::BTreeMap;

use rolecall_engine::Error;
use rolecall_engine::objects::ObjectClass;
use rolecall_policy::{Privilege, PrivilegeSet};

use crate::Postgres;
use crate::quote::{literal, numbers};
use crate::reads::objects::{ObjectId, Table};
use crate::transport::message::Message;
use crate::transport::server::Place;

/// Objects of one class with the privileges that are asked about.
pub(crate) type Questions = BTreeMap<(ObjectClass, PrivilegeSet), Vec<u32>>;

/// What somebody may do with an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The object, as SQL.
    pub(crate) name: String,
    /// The schema, as SQL; empty for a schema.
    pub(crate) schema: String,
    /// Privileges among those asked about that are lacking.
    pub(crate) lacking: PrivilegeSet,
    /// The admin user may not use the schema, so that it cannot even name the object.
    pub(crate) closed: bool,
}

/// Who is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    /// The admin user, and whether it may grant. Objects of which all may be granted are left out.
    Admin,
    /// A set, and what it can do: as itself or as everybody. An object that is not there any more is left out.
    Set(&'a str),
}

impl Postgres {
    /// Reads the privileges in question, by object.
    pub(crate) async fn read_privileges(
        &self,
        place: &Place,
        who: Who<'_>,
        questions: &Questions,
    ) -> Result<BTreeMap<ObjectId, Answer>, Error> {
        let mut answers: BTreeMap<ObjectId, Answer> = BTreeMap::new();
        if questions.is_empty() {
            return Ok(answers);
        }
        let statements: Vec<String> = questions
            .iter()
            .map(|((class, privileges), ids)| statement(who, *class, *privileges, ids))
            .collect();
        let what = match who {
            Who::Admin => "asking what the admin user may grant".to_owned(),
            Who::Set(set) => format!("reading back what {set:?} can do"),
        };
        let mut message = Message::new();
        for statement in statements {
            message.ask(&what, statement);
        }
        let reply = self.server.run(place, &message).await?;
        for ((class, _), rows) in questions.keys().zip(&reply.answers) {
            for row in rows {
                let Some(id) = row.get(0).and_then(|id| id.parse().ok()) else { continue };
                let text = |column| row.get(column).unwrap_or_default().to_owned();
                let lacking: PrivilegeSet = text(3).split(',').filter_map(Privilege::parse).collect();
                let closed = row.get(4) == Some("t");
                // An object may be asked about more than once, each time about other privileges.
                let answer = answers.entry((Table::of_class(*class), id)).or_insert_with(|| Answer {
                    name: text(1),
                    schema: text(2),
                    ..Answer::default()
                });
                answer.lacking = answer.lacking.union(lacking);
                answer.closed |= closed;
            }
        }
        Ok(answers)
    }
}

/// What may be done with an object follows from its owner and its access list, which thousands of objects have in common:
/// one of each such group is asked about. Answers are by object.
fn statement(who: Who<'_>, class: ObjectClass, privileges: PrivilegeSet, ids: &[u32]) -> String {
    let table = Table::of_class(class);
    let (relation, name, ids) = (table.relation(), table.object_name(), numbers(ids.iter().copied()));
    let (grantee, option, all) = match who {
        Who::Admin => (String::new(), " WITH GRANT OPTION", " WHERE g.lacking <> '' OR g.closed"),
        Who::Set(set) => (format!("{}::pg_catalog.name, ", literal(set)), "", ""),
    };
    let function = match class {
        ObjectClass::Schema => "has_schema_privilege",
        ObjectClass::Sequence => "has_sequence_privilege",
        ObjectClass::Routine => "has_function_privilege",
        ObjectClass::Table | ObjectClass::Collection => "has_table_privilege",
    };
    let lacking: Vec<String> = privileges
        .iter()
        .map(|one| {
            format!("CASE WHEN NOT pg_catalog.{function}({grantee}l.one, '{one}{option}') THEN '{one}' END")
        })
        .collect();
    let lacking = lacking.join(", ");
    // has_sequence_privilege fails for what is no sequence; a number may have been reused.
    let (schema, alike, among) = match class {
        ObjectClass::Schema => ("NULL::pg_catalog.oid", "o.nspowner, o.nspacl", ""),
        ObjectClass::Routine => ("o.pronamespace", "o.pronamespace, o.proowner, o.proacl", ""),
        ObjectClass::Sequence => {
            ("o.relnamespace", "o.relnamespace, o.relowner, o.relacl", " AND o.relkind = 'S'")
        }
        ObjectClass::Table | ObjectClass::Collection => {
            ("o.relnamespace", "o.relnamespace, o.relkind, o.relowner, o.relacl", "")
        }
    };
    format!(
        "SELECT o.oid, {name}, COALESCE(pg_catalog.quote_ident(n.nspname), ''), g.lacking, g.closed
FROM (SELECT l.ids, l.schema, pg_catalog.concat_ws(',', {lacking}) AS lacking,
    COALESCE(NOT pg_catalog.has_schema_privilege(l.schema, 'USAGE'), false) AS closed
  FROM (SELECT {schema} AS schema, pg_catalog.min(o.oid) AS one, pg_catalog.array_agg(o.oid) AS ids
    FROM {relation} o WHERE o.oid = ANY ({ids}){among} GROUP BY {alike} OFFSET 0) l OFFSET 0) g
CROSS JOIN LATERAL pg_catalog.unnest(g.ids) i (oid) JOIN {relation} o ON o.oid = i.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = g.schema{all}"
    )
}
