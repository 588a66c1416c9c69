//! From what was read to what is wrong with it: a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use crate::server::{DATABASE, ROLE, Server};

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody can log in for whom no live session accounts.
    LeakedLogin,
    /// An account has a role without a live session.
    LeakedRole,
    /// A connection outlives the last session of its account.
    LeakedConnection,
    /// The Secret of a session that is over is still there.
    LeakedSecret,
    /// A live session cannot log in.
    LostAccess,
    /// The account of a live session has other roles than policy gives.
    WrongRoles,
    /// An account that belongs to Teleport is not as Teleport left it.
    TouchedOther,
    /// A session without an end is over, though nobody ended it.
    LostSession,
    /// A session does not get on: it neither starts nor ends.
    Stuck,
    /// The API server or a catalogue could not be read.
    Unreadable,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind of wrong.
    pub class: Class,
    /// The account, session or Secret.
    pub subject: String,
    /// What was seen.
    pub seen: String,
}

/// A session, as its object says.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its DatabaseAdmin.
    pub server: Option<Server>,
    /// Its database user.
    pub username: String,
    /// Its phase.
    pub phase: String,
    /// The reason of its condition Ready.
    pub reason: String,
    /// Why it ended.
    pub end_reason: String,
    /// It is being deleted.
    pub deleting: bool,
    /// It ends by itself.
    pub timed: bool,
    /// Policy may have ended it.
    pub revocable: bool,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// An account, as a catalogue shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// It can log in.
    pub login: bool,
    /// Its roles, beside the one that marks it as managed and those of permission sets.
    pub roles: BTreeSet<String>,
    /// Its permission sets.
    pub sets: BTreeSet<String>,
    /// It may read what policy lets it read.
    pub reads: bool,
    /// Its open connections.
    pub connections: usize,
}

/// A login that was tried.
#[derive(Clone, Debug)]
pub struct Login {
    /// The session whose credentials they are.
    pub session: String,
    /// The server and the account.
    pub account: (Server, String),
    /// It should work, as the session is live.
    pub should: bool,
    /// What the server said, where it did not work.
    pub refused: Option<String>,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// When.
    pub now: Timestamp,
    /// All sessions.
    pub sessions: Vec<Session>,
    /// The Secrets of sessions, by name, with the uid of the session.
    pub secrets: BTreeMap<String, String>,
    /// All accounts that are managed, or can log in.
    pub accounts: BTreeMap<(Server, String), Account>,
    /// Teleport's accounts: can they log in and which roles have they, as it left them and as a catalogue shows them?
    pub others: Vec<Other>,
    /// Logins that were tried.
    pub logins: Vec<Login>,
}

/// An account that belongs to Teleport.
#[derive(Clone, Debug)]
pub struct Other {
    /// The server and the account.
    pub account: (Server, String),
    /// Whether it could log in, and its roles.
    pub left: (bool, BTreeSet<String>),
    /// What a catalogue shows; nothing where there is no such account.
    pub seen: Option<Account>,
}

impl Session {
    /// Does it give access now?
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.phase == "Active" && !self.deleting && self.expires_at.is_none_or(|at| at > now)
    }

    fn account(&self) -> Option<(Server, String)> {
        Some((self.server?, self.username.clone()))
    }
}

impl Violation {
    pub(super) fn new(class: Class, subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { class, subject: subject.into(), seen: seen.into() }
    }

    pub(super) fn key(&self) -> (Class, String) {
        (self.class, self.subject.clone())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.class, self.subject, self.seen)
    }
}

/// What is wrong.
pub fn judge(facts: &Facts) -> Vec<Violation> {
    let live: Vec<&Session> = facts.sessions.iter().filter(|session| session.is_live(facts.now)).collect();
    let explained: BTreeSet<(Server, String)> = live.iter().filter_map(|session| session.account()).collect();
    let mut found = Vec::new();
    found.extend(unsettled(facts));
    for (key, account) in &facts.accounts {
        if !explained.contains(key) {
            found.extend(leaks(key, account));
        }
    }
    for key in &explained {
        found.extend(lacks(key, facts.accounts.get(key)));
    }
    for session in &live {
        if !facts.secrets.contains_key(&session.name) {
            found.push(Violation::new(Class::LostAccess, &session.name, "it is live and has no Secret"));
        }
    }
    for (name, uid) in &facts.secrets {
        if !live.iter().any(|session| session.uid == *uid) {
            found.push(Violation::new(Class::LeakedSecret, name, "its session is not live"));
        }
    }
    found.extend(facts.others.iter().filter_map(touched));
    found.extend(facts.logins.iter().filter_map(login));
    found
}

/// What is wrong with sessions, by what their objects say.
pub(super) fn unsettled(facts: &Facts) -> Vec<Violation> {
    facts.sessions.iter().filter_map(|session| progress(session, facts.now)).collect()
}

/// The roles that policy gives on a server; permission sets come beside them.
fn roles_on(server: Server) -> BTreeSet<String> {
    let role = if server == Server::Events { format!("{ROLE}@{DATABASE}") } else { ROLE.to_owned() };
    BTreeSet::from([role])
}

/// A session is live, or over for a reason, or something is wrong.
fn progress(session: &Session, now: Timestamp) -> Option<Violation> {
    let stuck = |seen: String| Some(Violation::new(Class::Stuck, &session.name, seen));
    let what = format!("{} ({})", session.phase, session.reason);
    if session.deleting {
        return stuck(format!("it was deleted and is still there, {what}"));
    }
    match session.phase.as_str() {
        "Active" if session.is_live(now) && session.reason == "Active" => None,
        "Active" => stuck(format!("{what}, expires {:?}", session.expires_at)),
        "Rejected" if session.timed => None,
        "Ended" if session.timed && session.end_reason == "Expired" => None,
        // Somebody deleted its DatabaseAdmin.
        "Ended" if session.end_reason == "DatabaseRemoved" => None,
        "Ended" if session.revocable && session.end_reason == "AccessRevoked" => None,
        "Ended" | "Rejected" => {
            let seen = format!("{what}, {:?}", session.end_reason);
            Some(Violation::new(Class::LostSession, &session.name, seen))
        }
        _ => stuck(what),
    }
}

fn leaks(key: &(Server, String), account: &Account) -> Vec<Violation> {
    let subject = format!("{} on {}", key.1, key.0.name());
    let new = |class, seen: &str| Violation::new(class, &subject, seen);
    let mut found = Vec::new();
    if account.login {
        found.push(new(Class::LeakedLogin, "it can log in"));
    }
    if account.connections > 0 {
        found.push(new(Class::LeakedConnection, "it is connected"));
    }
    if let Some(role) = account.roles.iter().chain(&account.sets).next() {
        found.push(new(Class::LeakedRole, &format!("it has the role {role}")));
    }
    found
}

fn lacks(key: &(Server, String), account: Option<&Account>) -> Option<Violation> {
    let subject = format!("{} on {}", key.1, key.0.name());
    let Some(account) = account.filter(|account| account.login) else {
        return Some(Violation::new(Class::LostAccess, subject, "it cannot log in"));
    };
    let sets = usize::from(key.0 != Server::Events);
    if account.roles != roles_on(key.0) || account.sets.len() != sets || !account.reads {
        return Some(Violation::new(Class::WrongRoles, subject, format!("{account:?}")));
    }
    None
}

fn touched(other: &Other) -> Option<Violation> {
    let (login, roles) = &other.left;
    let is_so = other
        .seen
        .as_ref()
        .is_some_and(|seen| seen.login == *login && seen.roles == *roles && seen.sets.is_empty());
    let subject = format!("{} on {}", other.account.1, other.account.0.name());
    let seen = || format!("left with login {login} and {roles:?}, found {:?}", other.seen);
    (!is_so).then(|| Violation::new(Class::TouchedOther, subject, seen()))
}

fn login(login: &Login) -> Option<Violation> {
    let subject = format!("{} of {} on {}", login.session, login.account.1, login.account.0.name());
    match (&login.refused, login.should) {
        (Some(refused), true) => Some(Violation::new(Class::LostAccess, subject, refused)),
        (None, false) => {
            Some(Violation::new(Class::LeakedLogin, subject, "credentials of a session that is over work"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "alice@example.com";

    fn session(name: &str) -> Session {
        Session {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            server: Some(Server::Orders),
            username: ALICE.to_owned(),
            phase: "Active".to_owned(),
            reason: "Active".to_owned(),
            ..Session::default()
        }
    }

    fn account() -> Account {
        Account {
            login: true,
            roles: roles_on(Server::Orders),
            sets: BTreeSet::from(["rolecall:1".to_owned()]),
            reads: true,
            connections: 1,
        }
    }

    /// One live session, and everything that belongs to it.
    fn sound() -> Facts {
        Facts {
            now: Timestamp::UNIX_EPOCH,
            sessions: vec![session("one")],
            secrets: [("one".to_owned(), "uid-one".to_owned())].into(),
            accounts: [((Server::Orders, ALICE.to_owned()), account())].into(),
            others: vec![Other {
                account: (Server::Orders, "nina@teleport.example.com".to_owned()),
                left: (true, roles_on(Server::Orders)),
                seen: Some(Account { sets: BTreeSet::new(), ..account() }),
            }],
            logins: vec![Login {
                session: "one".to_owned(),
                account: (Server::Orders, ALICE.to_owned()),
                should: true,
                refused: None,
            }],
        }
    }

    fn classes(change: impl FnOnce(&mut Facts)) -> Vec<Class> {
        let mut facts = sound();
        change(&mut facts);
        judge(&facts).into_iter().map(|violation| violation.class).collect()
    }

    fn with_account(change: impl FnOnce(&mut Account)) -> Vec<Class> {
        classes(|facts| change(facts.accounts.values_mut().next().unwrap()))
    }

    #[test]
    fn nothing_is_wrong_where_all_is_well() {
        assert_eq!(classes(|_| {}), []);
    }

    #[test]
    fn an_account_is_open_only_while_a_session_lives() {
        let over = |facts: &mut Facts| {
            facts.sessions.clear();
            facts.secrets.clear();
            facts.logins.clear();
        };
        assert_eq!(classes(over), [Class::LeakedLogin, Class::LeakedConnection, Class::LeakedRole]);
        let closed = |facts: &mut Facts| {
            over(facts);
            facts.accounts.values_mut().for_each(|account| *account = Account::default());
        };
        assert_eq!(classes(closed), []);
        assert_eq!(
            classes(|facts| facts.sessions[0].expires_at = Some(facts.now)).first(),
            Some(&Class::Stuck)
        );
    }

    #[test]
    fn a_live_session_has_its_account() {
        assert_eq!(classes(|facts| facts.accounts.clear()), [Class::LostAccess]);
        assert_eq!(with_account(|account| account.login = false), [Class::LostAccess]);
        assert_eq!(with_account(|account| account.roles.clear()), [Class::WrongRoles]);
        assert_eq!(with_account(|account| account.reads = false), [Class::WrongRoles]);
        let extra = |account: &mut Account| {
            account.roles.insert("extra".to_owned());
        };
        assert_eq!(with_account(extra), [Class::WrongRoles]);
        assert_eq!(classes(|facts| facts.secrets.clear()), [Class::LostAccess]);
    }

    #[test]
    fn what_belongs_to_another_is_as_it_was_left() {
        let seen =
            |change: fn(&mut Account)| classes(|facts| facts.others[0].seen.iter_mut().for_each(change));
        assert_eq!(seen(|account| account.login = false), [Class::TouchedOther]);
        assert_eq!(seen(|account| account.roles.clear()), [Class::TouchedOther]);
        assert_eq!(seen(|account| account.sets.extend(["rolecall:1".to_owned()])), [Class::TouchedOther]);
        assert_eq!(seen(|account| account.connections = 0), []);
        assert_eq!(classes(|facts| facts.others[0].seen = None), [Class::TouchedOther]);
    }

    #[test]
    fn credentials_work_exactly_as_long_as_their_session() {
        let refused = |facts: &mut Facts| facts.logins[0].refused = Some("no".to_owned());
        assert_eq!(classes(refused), [Class::LostAccess]);
        assert_eq!(classes(|facts| facts.logins[0].should = false), [Class::LeakedLogin]);
        let left = |facts: &mut Facts| {
            facts.secrets.insert("two".to_owned(), "uid-two".to_owned());
        };
        assert_eq!(classes(left), [Class::LeakedSecret]);
    }

    #[test]
    fn a_session_gets_on() {
        let phase = |phase: &str, change: fn(&mut Session)| {
            let mut session = Session { phase: phase.to_owned(), ..session("two") };
            change(&mut session);
            progress(&session, Timestamp::UNIX_EPOCH).map(|violation| violation.class)
        };
        assert_eq!(phase("Pending", |_| {}), Some(Class::Stuck));
        assert_eq!(phase("Ending", |_| {}), Some(Class::Stuck));
        assert_eq!(phase("Ended", |session| session.deleting = true), Some(Class::Stuck));
        assert_eq!(phase("Ended", |_| {}), Some(Class::LostSession));
        assert_eq!(phase("Rejected", |_| {}), Some(Class::LostSession));
        assert_eq!(phase("Rejected", |session| session.timed = true), None);
        assert_eq!(phase("Ended", |session| session.end_reason = "DatabaseRemoved".to_owned()), None);
        let revoked = |session: &mut Session| session.end_reason = "AccessRevoked".to_owned();
        assert_eq!(phase("Ended", revoked), Some(Class::LostSession));
        let expected = |session: &mut Session| {
            session.end_reason = "AccessRevoked".to_owned();
            session.revocable = true;
        };
        assert_eq!(phase("Ended", expected), None);
    }
}
