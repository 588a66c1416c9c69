//! Asking the server what somebody may do, before and after granting.
//!
//! A grant of what one may not grant fails for all objects of the statement, or is left out with a warning that nobody
//! reads. So it is asked first. Afterwards it is asked what is in effect, however it came to be.

use std::collections::BTreeMap;

use rolecall_engine::Error;
use rolecall_engine::objects::ObjectClass;
use rolecall_policy::{Privilege, PrivilegeSet};

use super::{Id, Postgres, name_of, relation_of, table_of};
use crate::quote::{literal, numbers};
use crate::transport::message::Message;
use crate::transport::server::Place;

/// Objects of one class with the privileges that are asked about.
pub(super) type Questions = BTreeMap<(ObjectClass, PrivilegeSet), Vec<u32>>;

/// What somebody may do with an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The object, as SQL.
    pub(super) name: String,
    /// The schema, as SQL; empty for a schema.
    pub(super) schema: String,
    /// Privileges among those asked about that are lacking.
    pub(super) lacking: PrivilegeSet,
    /// The admin user may not use the schema, so that it cannot even name the object.
    pub(super) closed: bool,
}

/// Who is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who<'a> {
    /// The admin user, and whether it may grant. Objects of which all may be granted are left out.
    Admin,
    /// A set, and what it can do: as itself or as everybody. An object that is not there any more is left out.
    Set(&'a str),
}

impl Postgres {
    /// The answers by object.
    pub(super) async fn ask(
        &self,
        place: &Place,
        who: Who<'_>,
        questions: &Questions,
    ) -> Result<BTreeMap<Id, Answer>, Error> {
        let mut answers: BTreeMap<Id, Answer> = BTreeMap::new();
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
                let answer = answers.entry((table_of(*class), id)).or_insert_with(|| Answer {
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
    let table = table_of(class);
    let (relation, name, ids) = (relation_of(table), name_of(table), numbers(ids.iter().copied()));
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
    // has_sequence_privilege fails for what is no sequence; a number may have been given anew.
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
