//! What depends on a user in the logical database that a connection is in: DROP USER looks nowhere else, and leaves
//! objects of nobody and rights of a number behind in all others.

use rolecall_engine::Error;

use crate::Redshift;
use crate::quote::qualified;
use crate::statements::object::{Grantee, Target, revoke_all};
use crate::statements::query::Identity;
use crate::statements::{Statement, query};
use crate::transport::rows::{Row, text};
use crate::transport::server::TargetDatabase;

/// What depends on a user in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependents {
    /// Tables and schemas that it owns.
    pub(crate) owned: Vec<Target>,
    /// What else it owns, and rights that are not revoked one by one: for people.
    pub(crate) fixed: Vec<String>,
    /// Objects that it has rights on.
    pub(crate) rights: Vec<Target>,
}

impl Dependents {
    /// What is read for it.
    fn statements(user: &str, user_id: i64) -> Vec<Statement> {
        let identity = Identity::User(user);
        let mut statements = query::owned(user_id).to_vec();
        statements.extend([
            query::relation_privileges(identity),
            query::schema_privileges(identity),
            query::function_privileges(identity),
            query::database_privileges(identity),
            query::default_privileges(user),
        ]);
        statements
    }

    /// From the answers.
    fn read(answers: &[Vec<Row>], database: &str, user: &str) -> Self {
        let rows = |number: usize| answers.get(number).into_iter().flatten();
        let mut fixed = Vec::new();
        let mut owned: Vec<Target> = rows(1).map(|row| Target::Schema(text(row, 0).to_owned())).collect();
        for row in rows(0) {
            let (name, schema) = (text(row, 0), text(row, 2));
            if text(row, 1).trim() == TABLE && !name.starts_with(OF_MATERIALIZED_VIEW) {
                owned.push(Target::Table { schema: schema.to_owned(), name: name.to_owned() });
            } else {
                fixed.push(format!("it owns the view {} in {database:?}", qualified(schema, name)));
            }
        }
        for (number, kind) in [(2, "the function"), (3, "the database")] {
            fixed
                .extend(rows(number).map(|row| format!("it owns {kind} {:?} in {database:?}", text(row, 0))));
        }
        fixed.extend(rows(8).map(|row| {
            let what = match text(row, 2) == user {
                true => "it gives rights on what it creates",
                false => "it gets rights on what is created",
            };
            let (kind, schema) = (text(row, 1), text(row, 0));
            format!("{what} in {database:?} (default privileges on {kind} in the schema {schema:?})")
        }));
        let mut rights: Vec<Target> = rows(4)
            .map(|row| Target::Table { schema: text(row, 0).to_owned(), name: text(row, 1).to_owned() })
            .chain(rows(5).map(|row| Target::Schema(text(row, 0).to_owned())))
            .chain(rows(6).map(|row| Target::Function {
                schema: text(row, 0).to_owned(),
                name: text(row, 1).to_owned(),
                arguments: text(row, 2).to_owned(),
            }))
            .chain(rows(7).map(|row| Target::Database(text(row, 0).to_owned())))
            .collect();
        rights.sort();
        rights.dedup();
        Self { owned, fixed, rights }
    }

    /// Is there nothing?
    pub(crate) fn is_empty(&self) -> bool {
        self.owned.is_empty() && self.fixed.is_empty() && self.rights.is_empty()
    }

    /// Does something depend on the user that cannot be taken away? `gives`: what it owns is given to another user, which
    /// views and functions are not: they work with the rights of their owner.
    pub(crate) fn keeps(&self, gives: bool) -> bool {
        !self.fixed.is_empty() || (!gives && !self.owned.is_empty())
    }

    /// What it owns that is given to another user, in words: `2 objects in the database "dev" (TABLE "app"."a", ...)`.
    pub(crate) fn described(&self, database: &str) -> String {
        let names: Vec<String> = self.owned.iter().take(NAMED).map(Target::sql).collect();
        let more = match self.owned.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let objects = if self.owned.len() == 1 { "object" } else { "objects" };
        format!("{} {objects} in the database {database:?} ({}{more})", self.owned.len(), names.join(", "))
    }

    /// What takes the rights away.
    pub(crate) fn revokes(&self, user: &str) -> Vec<Statement> {
        self.rights.iter().map(|target| revoke_all(target, Grantee::User(user))).collect()
    }

    /// For people: the first of it.
    pub(crate) fn named(&self, database: &str) -> String {
        let owned = self.owned.iter().map(|target| format!("it owns {} in {database:?}", target.sql()));
        let rights =
            self.rights.iter().map(|target| format!("it has rights on {} in {database:?}", target.sql()));
        let all: Vec<String> = self.fixed.iter().cloned().chain(owned).chain(rights).collect();
        let more = all.len().saturating_sub(NAMED);
        let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        if more == 0 { named } else { format!("{named}; and {more} more") }
    }
}

/// How many of them a message names.
const NAMED: usize = 5;
/// The kind of tables in pg_class.
const TABLE: &str = "r";
/// What the name of a table begins with in which a materialized view keeps its rows.
const OF_MATERIALIZED_VIEW: &str = "mv_tbl__";

impl Redshift {
    /// What depends on a user in this database.
    pub(crate) async fn dependents(
        &self,
        database: &str,
        user: &str,
        user_id: i64,
    ) -> Result<Dependents, Error> {
        let run_in = TargetDatabase::Exactly(database.to_owned());
        let answers = self.server.read(&run_in, &Dependents::statements(user, user_id)).await?;
        Ok(Dependents::read(&answers, database, user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    #[test]
    fn what_is_owned_stays_and_rights_are_revoked() {
        let none = Vec::new;
        let answers = vec![
            vec![row(["orders", "r", "app"]), row(["v", "v", "app"]), row(["mv_tbl__m__0", "r", "app"])],
            vec![row(["mine"])],
            none(),
            none(),
            vec![row(["s", "t", "SELECT"]), row(["s", "t", "INSERT"])],
            vec![row(["s", "USAGE"])],
            vec![row(["s", "f", "integer", "EXECUTE"])],
            none(),
            vec![row(["s", "RELATION", "dba"]), row(["", "FUNCTION", "al"])],
        ];
        let found = Dependents::read(&answers, "shop", "al");
        let owned: Vec<String> = found.owned.iter().map(Target::sql).collect();
        assert_eq!(owned, [r#"SCHEMA "mine""#, r#"TABLE "app"."orders""#]);
        assert_eq!(
            found.described("shop"),
            r#"2 objects in the database "shop" (SCHEMA "mine", TABLE "app"."orders")"#
        );
        assert_eq!(found.fixed.len(), 4);
        assert!(
            found.fixed[2].starts_with("it gets rights") && found.fixed[3].starts_with("it gives rights")
        );
        let revokes: Vec<String> = found.revokes("al").into_iter().map(|statement| statement.sql).collect();
        assert_eq!(
            revokes,
            [
                r#"REVOKE ALL ON SCHEMA "s" FROM "al""#,
                r#"REVOKE ALL ON TABLE "s"."t" FROM "al""#,
                r#"REVOKE EXECUTE ON FUNCTION "s"."f"(integer) FROM "al""#
            ]
        );
        assert!(
            found.named("shop").starts_with(r#"it owns the view "app"."v" in "shop""#),
            "{}",
            found.named("shop")
        );
        let tables = Dependents { owned: found.owned, ..Dependents::default() };
        assert!(tables.keeps(false) && !tables.keeps(true) && found.fixed.len() == 4);
        assert!(Dependents::read(&[], "shop", "al").is_empty());
    }
}
