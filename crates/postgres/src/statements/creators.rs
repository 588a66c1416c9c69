//! The roles through which the admin user creates accounts, from 16 on.
//!
//! From 16 on CREATE ROLE makes its creator a member of the role, with ADMIN OPTION, and nobody but a superuser can undo that. After
//! each change of a membership the server reads anew what a role is a member of before that role may change another one: who
//! has created 10,000 roles waits 30 ms for that, several times in each message. So accounts are created by roles of ours
//! that hold about a hundred each, and changed through them:
//!
//! - the *group* may grant what the admin user may grant (ADMIN OPTION, given by the admin user), and has nothing else;
//! - a *holder* creates accounts, which it then may change, and inherits from the group;
//! - a *creator* inherits from one holder and from the group. The admin user can become it, and has nothing of it before that.
//!
//! The creator is in between because SET ROLE reads all that the admin user could become: it can become no holder but the *open*
//! one, in which accounts are created. So it reads one short list for each creator, and that of one holder.
//!
//! Without creators the admin user, which administers the holders, can still close, change and drop every account itself. That is
//! what happens where one of them is refused something; it only takes longer.

use rolecall_engine::AccountName;

use crate::quote::{block, identifier, literal, names};
use crate::transport::message::{Message, Needs};

/// What their names begin with. They are not those of permission sets.
pub(crate) const PREFIX: &str = "rolecall-creator:";

/// What the name of a holder ends with, after that of its creator.
pub(crate) const HOLDER: &str = ":accounts";

/// What stands in their comments: nobody else would know what they are for.
const COMMENT: &str = "Rolecall creates database users through this role; it may go when it has none";

/// A creator and its holder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) creator: String,
    pub(crate) holder: String,
}

impl Pair {
    /// The names of a group's pair of this number.
    pub(crate) fn new(group: &str, number: u64) -> Self {
        let creator = format!("{group}:{number}");
        Self { holder: format!("{creator}{HOLDER}"), creator }
    }

    /// Its number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.creator.rsplit(':').next()?.parse().ok()
    }
}

/// Lets a message about an account run as its creator; as the admin user where it has none.
pub(crate) fn act_for(message: Message, account: &AccountName) -> Message {
    message.act(acting_for(account), execute_act_for(account))
}

/// As [`act_for`], for what is added after this.
pub(crate) fn act_for_from_here(message: &mut Message, account: &AccountName) {
    message.act_from_here(acting_for(account), execute_act_for(account));
}

fn execute_act_for(account: &AccountName) -> String {
    format!("EXECUTE rolecall_act_for ({})", literal(account.as_str()))
}

/// Lets a message that creates an account run as this holder.
pub(crate) fn act_as(message: Message, holder: &str) -> Message {
    message.act(format!("becoming {}", identifier(holder)), becoming(holder))
}

/// This as the admin user, within a message about an account that runs as its creator.
pub(crate) fn as_admin_user(inner: Message, account: &AccountName) -> Message {
    let mut message = Message::new();
    message.push(AS_ADMIN_USER, BECOME_ADMIN_USER);
    message.append(inner);
    act_for_from_here(&mut message, account);
    message
}

/// This as the creator of an account, within a message that runs as the admin user.
pub(crate) fn as_creator(inner: Message, account: &AccountName) -> Message {
    let mut message = act_for(inner, account);
    message.push(AS_ADMIN_USER, BECOME_ADMIN_USER);
    message
}

/// The statement that becomes the admin user again, and what it attempts.
pub(crate) const BECOME_ADMIN_USER: &str = "SET LOCAL ROLE NONE";
pub(crate) const AS_ADMIN_USER: &str = "becoming the admin user again";

/// The statement that becomes this holder, up to the end of the transaction.
pub(crate) fn becoming(holder: &str) -> String {
    format!("SELECT pg_catalog.set_config('role', {}, true)", literal(holder))
}

fn acting_for(account: &AccountName) -> String {
    format!("becoming the creator of {}", identifier(account.as_str()))
}

/// What [`act_for`] executes, prepared on a new connection.
pub(crate) fn prepare() -> String {
    format!("PREPARE rolecall_act_for (pg_catalog.name) AS\nSELECT {}", as_creator_of("$1"))
}

/// An expression that becomes the creator of an account (an expression, too), up to the end of the transaction: from the
/// account to who holds it, to who inherits from that, to whether the admin user can become it. One in the other, so that
/// each is looked up by its index, whatever the server knows of the size of the catalogue.
pub(crate) fn as_creator_of(account: &str) -> String {
    format!(
        "pg_catalog.set_config('role', COALESCE((
  SELECT pg_catalog.min((
    SELECT pg_catalog.min((
      SELECT pg_catalog.min(k.rolname::pg_catalog.text) FROM pg_catalog.pg_auth_members s
      JOIN pg_catalog.pg_roles k ON k.oid = s.roleid
      WHERE s.roleid = i.member AND s.set_option AND pg_catalog.starts_with(k.rolname::pg_catalog.text, {prefix})
        AND s.member = (SELECT me.oid FROM pg_catalog.pg_roles me WHERE me.rolname = SESSION_USER)))
    FROM pg_catalog.pg_auth_members i WHERE i.roleid = a.member AND i.inherit_option))
  FROM pg_catalog.pg_auth_members a
  WHERE a.roleid = (SELECT u.oid FROM pg_catalog.pg_roles u WHERE u.rolname = {account}) AND a.admin_option), 'none'), true)",
        prefix = literal(PREFIX)
    )
}

/// An expression: is the role of the alias `grantor` one whose rights the admin user (`me`, its number) has as a creator?
pub(crate) fn acts_for(me: &str, grantor: &str) -> String {
    let is_ours = is_named(&format!("{grantor}.rolname"));
    format!("{is_ours} AND {}", is_inherited_by_a_creator(me, &format!("{grantor}.oid")))
}

/// An expression: is this the name of a role of these?
fn is_named(name: &str) -> String {
    format!("pg_catalog.starts_with({name}::pg_catalog.text, {})", literal(PREFIX))
}

/// An expression, `NULL` for no: has a role that the admin user (`me`, its number) can become the rights of this one (its number)?
/// Stops at the first one.
fn is_inherited_by_a_creator(me: &str, role: &str) -> String {
    format!(
        "(SELECT true FROM pg_catalog.pg_auth_members i WHERE i.roleid = {role} AND i.inherit_option
      AND (SELECT pg_catalog.bool_or(s.set_option) FROM pg_catalog.pg_auth_members s
        WHERE s.roleid = i.member AND s.member = {me}) LIMIT 1)"
    )
}

/// An expression: can the admin user become a creator?
pub(crate) fn any(me: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_auth_members s JOIN pg_catalog.pg_roles k ON k.oid = s.roleid
  WHERE s.member = {me} AND s.set_option AND pg_catalog.starts_with(k.rolname::pg_catalog.text, {}))",
        literal(PREFIX)
    )
}

/// An expression: has the admin user (`me`, its number) lost the way to an account (its number) that one of its holders holds? It can
/// restore it, as it made these roles. From the account on, as the admin user has many roles.
pub(crate) fn lost(me: &str, account: &str) -> String {
    format!(
        "COALESCE(NOT {direct} AND (SELECT pg_catalog.bool_or(
      (SELECT {is_ours} FROM pg_catalog.pg_roles h WHERE h.oid = a.member)
      AND (SELECT pg_catalog.bool_or(o.admin_option) FROM pg_catalog.pg_auth_members o
        WHERE o.roleid = a.member AND o.member = {me})
      AND {reached} IS NULL)
    FROM pg_catalog.pg_auth_members a WHERE a.roleid = {account} AND a.admin_option), false)",
        direct = direct(me, account),
        is_ours = is_named("h.rolname"),
        reached = is_inherited_by_a_creator(me, "a.member"),
    )
}

/// Restores the way to an account, see [`lost`].
pub(crate) fn regain(account: &AccountName) -> Message {
    let body = format!(
        "DECLARE
  holder pg_catalog.text;
  creator pg_catalog.text;
BEGIN
  FOR holder IN
    SELECT h.rolname FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles h ON h.oid = a.member
    WHERE a.roleid = (SELECT u.oid FROM pg_catalog.pg_roles u WHERE u.rolname = {}) AND a.admin_option
      AND pg_catalog.starts_with(h.rolname::pg_catalog.text, {}) AND h.rolname::pg_catalog.text LIKE '%{HOLDER}'
  LOOP
    creator := pg_catalog.left(holder, -pg_catalog.length('{HOLDER}'));
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles k WHERE k.rolname = creator) THEN
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN CREATEROLE', creator);
    END IF;
    EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER WITH INHERIT FALSE, SET TRUE', creator);
    EXECUTE pg_catalog.format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT TRUE, SET FALSE', holder, creator);
    EXECUTE pg_catalog.format('GRANT %I TO %I, %I WITH INHERIT TRUE, SET FALSE',
      pg_catalog.regexp_replace(creator, ':[^:]*$', ''), creator, holder);
  END LOOP;
END",
        literal(account.as_str()),
        literal(PREFIX)
    );
    Message::one(format!("restoring the way to {}", identifier(account.as_str())), block(&body))
}

/// As many roles as this are counted of those that the admin user holds itself.
pub(crate) const MOST_COUNTED: usize = 100;

/// An expression: how many roles the admin user (of the alias `me`) holds itself, up to [`MOST_COUNTED`]. Those of a
/// superuser do not count.
pub(crate) fn held_by_admin_user() -> String {
    format!(
        "CASE WHEN me.rolsuper THEN 0 ELSE (SELECT pg_catalog.count(*) FROM (
  SELECT FROM pg_catalog.pg_auth_members a WHERE a.member = me.oid AND a.admin_option LIMIT {MOST_COUNTED}) a) END"
    )
}

/// An expression: does the admin user hold this role (its number) itself?
pub(crate) fn direct(me: &str, role: &str) -> String {
    format!(
        "COALESCE((SELECT pg_catalog.bool_or(a.admin_option) FROM pg_catalog.pg_auth_members a
    WHERE a.roleid = {role} AND a.member = {me}), false)"
    )
}

/// Makes a pair, its holder open, and before that the group where it is missing.
pub(crate) fn make(group: &str, new_group: bool, pair: &Pair) -> Message {
    let (group, creator, holder) = (identifier(group), identifier(&pair.creator), identifier(&pair.holder));
    let what = format!("making the creator role {creator}");
    let comment = literal(COMMENT);
    let mut message = Message::new();
    let mut push = |sql: String| message.push_needing(Needs::CreateRole, &what, sql);
    if new_group {
        // CREATEROLE is of no use to it, and keeps policies from handing it out without naming it.
        push(format!("CREATE ROLE {group} NOLOGIN CREATEROLE"));
        push(format!("COMMENT ON ROLE {group} IS {comment}"));
    }
    for role in [&creator, &holder] {
        push(format!("CREATE ROLE {role} NOLOGIN CREATEROLE"));
    }
    push(format!("GRANT {creator} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE"));
    push(format!("GRANT {holder} TO {creator} WITH ADMIN TRUE, INHERIT TRUE, SET FALSE"));
    push(format!("GRANT {group} TO {creator}, {holder} WITH INHERIT TRUE, SET FALSE"));
    for role in [&creator, &holder] {
        push(format!("COMMENT ON ROLE {role} IS {comment}"));
    }
    // By the creator, which can take it back without the admin user.
    push(format!("SET LOCAL ROLE {creator}"));
    push(format!("GRANT {holder} TO {creator} WITH INHERIT TRUE, SET TRUE"));
    message
}

/// Closes a holder that is full.
pub(crate) fn close(pair: &Pair) -> Message {
    let (creator, holder) = (identifier(&pair.creator), identifier(&pair.holder));
    let what = format!("closing {holder}");
    let mut message = Message::new();
    message.push(&what, format!("SET LOCAL ROLE {creator}"));
    message.push(&what, format!("REVOKE {holder} FROM {creator} GRANTED BY {creator}"));
    message
}

/// Drops a pair that holds nothing.
pub(crate) fn drop_pair(pair: &Pair) -> Message {
    let (creator, holder) = (identifier(&pair.creator), identifier(&pair.holder));
    let mut message = Message::new();
    message.push(format!("dropping the creator role {creator}"), format!("DROP ROLE {holder}, {creator}"));
    message
}

/// Lets the group grant these roles, and answers which of them it may grant then. It gets those that the admin user itself
/// may grant. What it may grant as a member of others only would stay with the group after it has left them.
pub(crate) fn equip<'a>(group: &str, roles: impl IntoIterator<Item = &'a str>) -> Message {
    let (name, roles) = (literal(group), names(roles));
    let body = format!(
        "DECLARE
  one pg_catalog.record;
BEGIN
  FOR one IN
    SELECT r.rolname FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_auth_members a ON a.roleid = r.oid AND a.admin_option
    WHERE r.rolname = ANY ({roles}) AND a.member = (SELECT me.oid FROM pg_catalog.pg_roles me WHERE me.rolname = CURRENT_USER)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members h JOIN pg_catalog.pg_roles g ON g.oid = h.member
        WHERE h.roleid = r.oid AND h.admin_option AND g.rolname = {name})
    GROUP BY r.rolname ORDER BY r.rolname
  LOOP
    EXECUTE pg_catalog.format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', one.rolname, {name});
  END LOOP;
END"
    );
    let what = format!("letting {} grant roles", identifier(group));
    let mut message = Message::new();
    message.push(&what, block(&body));
    message.ask(
        what,
        format!(
            "SELECT r.rolname FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_auth_members a ON a.roleid = r.oid AND a.admin_option
WHERE r.rolname = ANY ({roles}) AND a.member = (SELECT g.oid FROM pg_catalog.pg_roles g WHERE g.rolname = {name})"
        ),
    );
    message
}
