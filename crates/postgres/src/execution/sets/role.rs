//! The role of a set: made, recorded, and rid of what no set has.

use rolecall_engine::{Class, DesiredSet, Error, Reason};

use crate::Postgres;
use crate::quote::{block, identifier, literal};
use crate::reads::objects::is_foreign_grant;
use crate::statements::guard::record_of;
use crate::statements::rights;
use crate::statements::role::create_role;
use crate::statements::set;
use crate::transport::message::{Message, Needs};
use crate::transport::server::Place;
use crate::transport::sqlstate::NOT_OURS;
use crate::transport::version::Dialect;

impl Postgres {
    /// Makes the role of a set, or finds it, and writes its record. One that carries no record of ours is
    /// left alone. True where it is new, so that it has no grants yet.
    pub(super) async fn make_set(&self, place: &Place, desired: &DesiredSet) -> Result<bool, Error> {
        match self.server.run(place, &make(desired)).await {
            Err(error) if error.code == NOT_OURS => {
                let role = identifier(&desired.role);
                Err(Error {
                    class: Class::Refused,
                    reason: Reason::DbRoleNotGrantable,
                    detail: format!("a role {role} exists that does not carry our record"),
                    remedy: format!("run DROP ROLE {role}"),
                    ..error
                })
            }
            result => Ok(result?.rows().is_empty()),
        }
    }

    /// Takes away what no set has, as far as the admin user can.
    pub(super) async fn sweep(
        &self,
        place: &Place,
        dialect: Dialect,
        set: &str,
        database: &str,
    ) -> Result<(), Error> {
        tracing::warn!(set, database, "a permission set has what no set should have: removing it");
        self.server.run(place, &plain(set, dialect)).await?;
        let own = literal(database);
        let on_database = format!("d.datname <> {own} OR a.privilege_type <> 'CONNECT'");
        let foreign = is_foreign_grant(&format!(
            "(SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = {own})"
        ));
        self.server.run(place, &rights::revoke_from(set, dialect, &on_database, &foreign)).await?;
        for other in rights::databases(&self.dependencies_of(place, set).await?).into_iter().flatten() {
            if other == database {
                continue;
            }
            let message = rights::revoke_from(set, dialect, &on_database, "true");
            if let Err(error) = self.server.run(&Place::Exactly(other), &message).await {
                tracing::info!(set, %error, "rights of a permission set in another database remain");
            }
        }
        Ok(())
    }
}

fn make(desired: &DesiredSet) -> Message {
    let (role, text) = (identifier(&desired.role), literal(&desired.role));
    let mut message = Message::new();
    message.ask(
        format!("looking for the permission set {role}"),
        format!("SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {text}"),
    );
    let (what, sql) = create_role(&desired.role);
    message.push_needing(Needs::CreateRole, what, sql);
    // Written first, so that no other transaction changes it before this one ends.
    message.push_needing(
        Needs::AdminOption(role.clone()),
        format!("locking the permission set {role}"),
        format!("ALTER ROLE {role} NOLOGIN"),
    );
    message.push_needing(
        Needs::Truth(NOT_OURS),
        format!("checking whose permission set {role} is"),
        format!(
            "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_shdescription d
  ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass
  WHERE r.rolname = {text} AND COALESCE(d.description ~ {}, true)) THEN 1 ELSE 0 END",
            literal(record_of(&desired.record.uid))
        ),
    );
    message.push_needing(
        Needs::AdminOption(role.clone()),
        format!("writing the record of {role}"),
        set::record(&desired.role, &desired.record),
    );
    message
}

/// Takes attributes and memberships from a set, and the right to pass CONNECT on.
fn plain(set: &str, dialect: Dialect) -> Message {
    let body = format!(
        "DECLARE
  statement pg_catalog.text;
BEGIN
  FOR statement IN
{}
  LOOP
    BEGIN
      EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
      NULL;
    END;
  END LOOP;
END",
        making_plain(set, dialect)
    );
    Message::one(format!("taking attributes and memberships from {}", identifier(set)), block(&body))
}

/// A query: the statements that take attributes and memberships from a set, and the right to pass CONNECT on.
pub(super) fn making_plain(set: &str, dialect: Dialect) -> String {
    let text = literal(set);
    let (by_grantor, real) = if dialect.has_grantors() {
        ("|| ' GRANTED BY ' || pg_catalog.quote_ident(g.rolname)", "AND (m.inherit_option OR m.set_option)")
    } else {
        ("", "")
    };
    format!(
        "    SELECT 'ALTER ROLE ' || pg_catalog.quote_ident(r.rolname) || ' NO' || a.attribute
    FROM pg_catalog.pg_roles r CROSS JOIN LATERAL (VALUES
      (r.rolcanlogin, 'LOGIN'), (r.rolsuper, 'SUPERUSER'), (r.rolcreaterole, 'CREATEROLE'), (r.rolcreatedb, 'CREATEDB'),
      (r.rolreplication, 'REPLICATION'), (r.rolbypassrls, 'BYPASSRLS')) a (has, attribute)
    WHERE r.rolname = {text} AND a.has
    UNION ALL
    SELECT 'REVOKE ' || pg_catalog.quote_ident(o.rolname) || ' FROM ' || pg_catalog.quote_ident(r.rolname) {by_grantor} || ' CASCADE'
    FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member
    JOIN pg_catalog.pg_roles o ON o.oid = m.roleid JOIN pg_catalog.pg_roles g ON g.oid = m.grantor
    WHERE r.rolname = {text} {real}
    UNION ALL
    SELECT 'REVOKE GRANT OPTION FOR CONNECT ON DATABASE ' || pg_catalog.quote_ident(d.datname) || ' FROM '
      || pg_catalog.quote_ident(r.rolname) || ' CASCADE'
    FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
    JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
    WHERE r.rolname = {text} AND a.is_grantable AND a.privilege_type = 'CONNECT'"
    )
}
