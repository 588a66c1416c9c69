//! Who had which access, from the lines alone.
//!
//! An operator that ends between a line and what the line is about lets the next one write it again. What belongs to one
//! access therefore follows from the lines of one uid in their order: an access begins with the first `granting` or
//! `active` after the session had none, and ends with the first line that says that it is over. What says the same again
//! adds nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::chain::Head;
use crate::entry::{Entry, Event};
use crate::read::{Lines, Place, Read};

/// What became of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// It was about to be given; the lines do not say what became of that.
    Unclear,
    /// It is there.
    Active,
    /// It should be gone, and may still be there.
    Ending,
    /// The server showed it gone.
    Ended,
    /// It should be gone and may still be there; nobody waits for that.
    LeftOpen,
    /// It was asked for, and never given.
    Refused,
}

impl State {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unclear => "unclear",
            Self::Active => "active",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::LeftOpen => "leftOpen",
            Self::Refused => "refused",
        }
    }
}

/// One access.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Its name: the uid of the session, with a number where the session had several, one after the other.
    pub id: String,
    /// The namespace.
    pub namespace: String,
    /// The DatabaseSession; empty where none accounts for the access.
    pub session: String,
    /// Its uid.
    pub uid: String,
    /// The DatabaseUser.
    pub user: String,
    /// The DatabaseAdmin.
    pub database: String,
    /// The logical database.
    pub database_name: String,
    /// The user in the database.
    pub username: String,
    /// Every database role that it had meanwhile.
    pub db_roles: BTreeSet<String>,
    /// The privileges on objects, each with the largest number of objects.
    pub permissions: BTreeMap<String, u64>,
    /// The ProvisioningRoles that gave it.
    pub roles: BTreeSet<String>,
    /// Why it was needed.
    pub why: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Who approved it.
    pub approved_by: BTreeSet<String>,
    /// What became of it.
    pub state: State,
    /// When the server showed it, at the latest.
    pub started_at: Option<Timestamp>,
    /// When it was to end by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was over, at the latest.
    pub ended_at: Option<Timestamp>,
    /// Why it ended, or was refused.
    pub reason: String,
    /// The server was read back before `endedAt`, and showed it gone.
    pub proven: bool,
    /// When it came back after its end, each time with what was done and why.
    pub returned: Vec<Return>,
    /// The lines of the audit log that say so.
    pub evidence: Vec<String>,
}

/// An access came back after its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Return {
    /// When that was noticed.
    pub at: Timestamp,
    /// What was done.
    pub action: String,
    /// Why it came back.
    pub cause: String,
}

impl Access {
    /// Was it there, or may it have been?
    pub fn was_given(&self) -> bool {
        !matches!(self.state, State::Refused)
    }

    /// Was it there at some time in this range, or may it have been?
    pub fn overlaps(&self, from: Option<Timestamp>, until: Option<Timestamp>) -> bool {
        let begins = self.started_at.or(self.ended_at);
        let ended = self.ended_at.filter(|_| matches!(self.state, State::Ended | State::Refused));
        until.is_none_or(|until| begins.is_none_or(|begins| begins <= until))
            && from.is_none_or(|from| ended.is_none_or(|ended| ended >= from))
    }
}

/// What the lines say.
#[derive(Clone, Debug, Default)]
pub struct Accesses {
    /// The accesses, in the order in which they begin.
    pub accesses: Vec<Access>,
    /// When the first of the lines was written.
    pub from: Option<Timestamp>,
    /// When the last of the lines was written.
    pub until: Option<Timestamp>,
    /// How many lines could not be written and were given up.
    pub lost: u64,
}

impl Accesses {
    /// Follows the lines.
    pub fn of(lines: &Lines) -> Self {
        let mut all = Self::default();
        let mut sessions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        // By session: the request that was approved last, and by whom.
        let mut answers: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
        for Dated { at, entry, name } in in_order(lines) {
            all.from.get_or_insert(at);
            all.until = Some(at);
            match entry.event {
                Event::Lost => all.lost += entry.lines.unwrap_or_default(),
                Event::Approved => {
                    let (hash, approved) = answers.entry(entry.uid).or_default();
                    if *hash != entry.request_hash {
                        (*hash, *approved) = (entry.request_hash, BTreeSet::new());
                    }
                    approved.extend(entry.approved_by);
                    approved.extend(Some(entry.by).filter(|by| !by.is_empty()));
                }
                Event::Returned => all.comes_back(&entry, at, &name),
                _ => {
                    let Some(key) = key(&entry) else { continue };
                    let (_, approved) = answers.get(&entry.uid).cloned().unwrap_or_default();
                    let own = sessions.entry(key.clone()).or_default();
                    let newest = own.last().copied();
                    let number = own.len() + 1;
                    if let Some(added) = all.follow(&key, number, newest, &entry, at, &name) {
                        own.push(added);
                    }
                    let open = own.last().and_then(|newest| all.accesses.get_mut(*newest));
                    if let Some(access) = open.filter(|access| is_open(access)) {
                        access.approved_by.extend(approved);
                    }
                }
            }
        }
        // What was tried and came to nothing is no access.
        all.accesses.retain(|access| access.state != State::Refused || access.ended_at.is_some());
        all
    }

    /// What a line says of a session's newest access. The place of the access, where the line begins one.
    fn follow(
        &mut self,
        key: &str,
        number: usize,
        newest: Option<usize>,
        entry: &Entry,
        at: Timestamp,
        name: &str,
    ) -> Option<usize> {
        use Event::{
            Abandoned, Active, ApprovalExpired, Changed, Denied, Ended, Ending, Granting, Rejected, Retained,
            Withdrawn,
        };
        let begins = matches!(entry.event, Granting | Active | Changed | Ending);
        let is_end = matches!(entry.event, Ended | Withdrawn | Abandoned | Retained);
        let refuses = matches!(entry.event, Rejected | Denied | ApprovalExpired);
        if !(begins || is_end || refuses) {
            return None;
        }
        let open = newest.filter(|newest| self.accesses.get(*newest).is_some_and(is_open));
        let (place, added) = match open {
            Some(open) => (open, false),
            // The end of one that is over already, or of what never was. One that began before these lines says since when.
            None if is_end && newest.is_some() => return None,
            None if (is_end || entry.event == Ending)
                && entry.started_at.is_none()
                && !entry.uid.is_empty() =>
            {
                return None;
            }
            None if refuses && newest.is_some() => return None,
            None => {
                let id = if number == 1 { key.to_owned() } else { format!("{key}#{number}") };
                self.accesses.push(begun(id, entry));
                (self.accesses.len() - 1, true)
            }
        };
        let access = self.accesses.get_mut(place)?;
        access.evidence.push(name.to_owned());
        complete(access, entry);
        match entry.event {
            Granting => {}
            Active | Changed => {
                access.state = State::Active;
                access.started_at.get_or_insert(at);
            }
            Ending => access.state = State::Ending,
            Ended | Withdrawn if access.state == State::Unclear && access.started_at.is_none() && !added => {
                // The start was tried and undone: nobody was told of it.
                access.state = State::Refused;
            }
            Ended | Withdrawn => over(access, State::Ended, entry, at),
            Abandoned | Retained => over(access, State::LeftOpen, entry, at),
            _ => over(access, State::Refused, entry, at),
        }
        added.then_some(place)
    }

    fn comes_back(&mut self, entry: &Entry, at: Timestamp, name: &str) {
        let newest = self.accesses.iter_mut().rev().find(|access| {
            access.namespace == entry.namespace
                && access.database == entry.database
                && access.username == entry.username
                && access.was_given()
        });
        if let Some(access) = newest {
            access.returned.push(Return { at, action: entry.action.clone(), cause: entry.cause.clone() });
            access.evidence.push(name.to_owned());
        }
    }
}

fn is_open(access: &Access) -> bool {
    matches!(access.state, State::Unclear | State::Active | State::Ending)
}

/// What lines of one session have in common; of an account that no session accounts for, its server and name.
fn key(entry: &Entry) -> Option<String> {
    if !entry.uid.is_empty() {
        return Some(entry.uid.clone());
    }
    let account = !entry.username.is_empty() && !entry.database.is_empty();
    account.then(|| format!("{}/{}/{}", entry.namespace, entry.database, entry.username))
}

fn begun(id: String, entry: &Entry) -> Access {
    Access {
        id,
        namespace: entry.namespace.clone(),
        session: entry.session.clone(),
        uid: entry.uid.clone(),
        user: entry.user.clone(),
        database: entry.database.clone(),
        database_name: entry.database_name.clone(),
        username: String::new(),
        db_roles: BTreeSet::new(),
        permissions: BTreeMap::new(),
        roles: BTreeSet::new(),
        why: entry.why.clone(),
        requested_by: entry.requested_by.clone(),
        approved_by: BTreeSet::new(),
        state: State::Unclear,
        started_at: entry.started_at,
        expires_at: None,
        ended_at: None,
        reason: String::new(),
        proven: false,
        returned: Vec::new(),
        evidence: Vec::new(),
    }
}

/// Adds what a line knows.
fn complete(access: &mut Access, entry: &Entry) {
    if !entry.username.is_empty() {
        access.username.clone_from(&entry.username);
    }
    access.db_roles.extend(entry.db_roles.iter().cloned());
    access.roles.extend(entry.roles.iter().cloned());
    access.approved_by.extend(entry.approved_by.iter().cloned());
    for (privilege, objects) in &entry.permissions {
        let most = access.permissions.entry(privilege.clone()).or_default();
        *most = (*most).max(*objects);
    }
    if matches!(entry.event, Event::Active | Event::Changed) {
        access.expires_at = entry.expires_at;
    }
}

fn over(access: &mut Access, state: State, entry: &Entry, at: Timestamp) {
    access.state = state;
    access.ended_at = Some(at);
    access.reason.clone_from(&entry.reason);
    access.proven = entry.proven;
}

struct Dated {
    at: Timestamp,
    entry: Entry,
    name: String,
}

/// The lines of all chains in the order in which they were written: those of one chain by their numbers, which no clock
/// disturbs, and those of several by their times.
fn in_order(lines: &Lines) -> Vec<Dated> {
    let mut chains: BTreeMap<&str, BTreeMap<u64, &Read>> = BTreeMap::new();
    for read in &lines.found {
        let field = |name: &str| read.fields.get(name);
        let chain = field("chain").and_then(Value::as_str);
        if let (Some(chain), Some(seq)) = (chain, field("seq").and_then(Value::as_u64)) {
            chains.entry(chain).or_default().entry(seq).or_insert(read);
        }
    }
    let mut all = Vec::new();
    for (chain, lines) in chains {
        let mut latest = Timestamp::MIN;
        for (seq, read) in lines {
            let time = read.fields.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
            let Ok(entry) = serde_json::from_value::<Entry>(Value::Object(read.fields.clone())) else {
                continue;
            };
            latest = time.map_or(latest, |time: Timestamp| time.max(latest));
            all.push((latest, chain, seq, entry));
        }
    }
    all.sort_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    let dated = |(at, chain, seq, entry)| Dated { at, entry, name: format!("{chain}:{seq}") };
    all.into_iter().map(dated).collect()
}

/// The last line of the audit log in a text, such as the end of a file.
pub fn last_line(text: &str) -> Option<Head> {
    let mut lines = Lines::default();
    lines.add("", text);
    let Read { place: Place { .. }, fields } = lines.found.pop()?;
    let text = |field: &str| fields.get(field)?.as_str().map(str::to_owned);
    Some(Head { chain: text("chain")?, seq: fields.get("seq")?.as_u64()?, hash: text("hash")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Chain;

    /// Lines that one writer wrote, a second each, from `since` on.
    fn lines(id: &str, since: i64, entries: &[Entry]) -> String {
        let mut chain = Chain::new(id, None);
        let mut text = String::new();
        for (number, entry) in (0..).zip(entries) {
            let sealed = chain.seal(entry, Timestamp::from_second(since + number).unwrap()).unwrap();
            chain.accept(&sealed.head);
            text.push_str(&sealed.text);
            text.push('\n');
        }
        text
    }

    fn of(texts: &[&str]) -> Vec<Access> {
        let mut read = Lines::default();
        texts.iter().for_each(|text| read.add("f", text));
        Accesses::of(&read).accesses
    }

    fn entry(event: Event, uid: &str) -> Entry {
        Entry { uid: uid.into(), session: uid.into(), user: "alice".into(), ..Entry::new(event) }
    }

    fn ended(event: Event, uid: &str, reason: &str) -> Entry {
        Entry { reason: reason.into(), proven: true, ..entry(event, uid) }
    }

    #[test]
    fn an_access_is_counted_once_with_all_that_its_lines_say() {
        use Event::{Active, Approved, Changed, Ended, Ending, Granting, Waiting};
        let granted = |event, roles: &[&str]| Entry {
            roles: vec!["reader".into()],
            db_roles: roles.iter().map(|&role| role.to_owned()).collect(),
            username: "alice@example.com".into(),
            ..entry(event, "u1")
        };
        let text = lines(
            "a",
            100,
            &[
                Entry::new(Event::Start),
                entry(Waiting, "u1"),
                Entry { by: "bob".into(), ..entry(Approved, "u1") },
                granted(Granting, &["r"]),
                granted(Active, &["r"]),
                granted(Changed, &["r", "w"]),
                entry(Ending, "u1"),
                ended(Ended, "u1", "Expired"),
            ],
        );
        let all = of(&[&text, &text]);
        let [access] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((access.id.as_str(), access.state, access.proven), ("u1", State::Ended, true));
        assert_eq!(access.db_roles.iter().collect::<Vec<_>>(), ["r", "w"]);
        assert_eq!(access.approved_by.iter().collect::<Vec<_>>(), ["bob"]);
        assert_eq!(access.started_at.unwrap().as_second(), 104);
        assert_eq!(access.ended_at.unwrap().as_second(), 107);
        assert_eq!(access.reason, "Expired");
        assert_eq!(access.evidence, ["a:4", "a:5", "a:6", "a:7", "a:8"]);
    }

    #[test]
    fn an_access_was_approved_by_those_who_approved_what_it_was() {
        use Event::{Active, Approved, Granting, Requested, Waiting, Withdrawn};
        let approved =
            |by: &str, hash: &str| Entry { by: by.into(), request_hash: hash.into(), ..entry(Approved, "u") };
        let text = lines(
            "a",
            100,
            &[
                approved("bob", "1"),
                entry(Waiting, "u"),
                entry(Requested, "u"),
                approved("carol", "2"),
                approved("dan", "2"),
                entry(Granting, "u"),
                entry(Active, "u"),
                ended(Withdrawn, "u", "AccessDenied"),
                entry(Requested, "u"),
                approved("erin", "3"),
                entry(Waiting, "u"),
                entry(Granting, "u"),
            ],
        );
        let by: Vec<_> = of(&[&text]).into_iter().map(|access| Vec::from_iter(access.approved_by)).collect();
        assert_eq!(by, [vec!["carol", "dan"], vec!["erin"]]);
    }

    #[test]
    fn what_the_next_operator_writes_again_is_the_same_access() {
        use Event::{Active, Ended, Granting};
        let first = lines(
            "z",
            100,
            &[
                Entry::new(Event::Start),
                entry(Granting, "u"),
                entry(Active, "u"),
                Entry { started_at: Timestamp::from_second(9).ok(), ..ended(Ended, "v", "Deleted") },
            ],
        );
        let second = lines(
            "a",
            200,
            &[
                Entry::new(Event::Start),
                entry(Granting, "u"),
                entry(Active, "u"),
                ended(Ended, "u", "Deleted"),
                ended(Ended, "v", "Deleted"),
            ],
        );
        let third = lines("b", 300, &[Entry::new(Event::Start), ended(Ended, "u", "Deleted")]);
        let all = of(&[&third, &second, &first]);
        assert_eq!(all.iter().map(|access| &*access.id).collect::<Vec<_>>(), ["u", "v"]);
        assert_eq!(all[1].started_at.unwrap().as_second(), 9, "it began before these lines");
        assert_eq!(all[0].started_at.unwrap().as_second(), 102);
        assert_eq!(all[0].ended_at.unwrap().as_second(), 203);
    }

    #[test]
    fn a_standing_session_may_have_several_accesses() {
        use Event::{Active, Granting, Withdrawn};
        let text = lines(
            "a",
            100,
            &[
                entry(Granting, "u"),
                entry(Active, "u"),
                ended(Withdrawn, "u", "UserSuspended"),
                ended(Withdrawn, "u", "AccessDenied"),
                entry(Granting, "u"),
                entry(Active, "u"),
            ],
        );
        let all = of(&[&text]);
        let names: Vec<_> = all.iter().map(|access| (&*access.id, access.state)).collect();
        assert_eq!(names, [("u", State::Ended), ("u#2", State::Active)]);
        assert_eq!(all[0].reason, "UserSuspended");
    }

    #[test]
    fn what_came_to_nothing_is_no_access() {
        use Event::{Granting, Rejected, Waiting, Withdrawn};
        let text = lines(
            "a",
            100,
            &[
                entry(Granting, "undone"),
                entry(Withdrawn, "undone"),
                entry(Waiting, "waits"),
                ended(Rejected, "refused", "AccessDenied"),
                ended(Event::Ended, "deleted while it waited", "Deleted"),
                entry(Granting, "unclear"),
            ],
        );
        let names: Vec<_> = of(&[&text]).into_iter().map(|access| (access.id, access.state)).collect();
        assert_eq!(names, [("refused".to_owned(), State::Refused), ("unclear".to_owned(), State::Unclear)]);
    }

    #[test]
    fn an_access_that_came_back_says_so() {
        use Event::{Active, Ended};
        let account = |event| Entry {
            namespace: "shop".into(),
            database: "orders".into(),
            username: "alice".into(),
            ..entry(event, "u")
        };
        let returned = Entry {
            namespace: "shop".into(),
            database: "orders".into(),
            username: "alice".into(),
            action: "ended".into(),
            ..Entry::new(Event::Returned)
        };
        let text = lines("a", 100, &[account(Active), account(Ended), returned]);
        let all = of(&[&text]);
        assert_eq!((all.len(), all[0].returned.len()), (1, 1));
        assert_eq!(all[0].returned[0].action, "ended");
    }

    #[test]
    fn a_time_is_that_of_an_access_which_touches_it() {
        let at = |second| Timestamp::from_second(second).ok();
        let text = lines("a", 100, &[entry(Event::Active, "u"), ended(Event::Ended, "u", "Deleted")]);
        let access = of(&[&text]).remove(0);
        assert!(
            access.overlaps(at(50), at(200))
                && access.overlaps(at(101), None)
                && access.overlaps(None, at(100))
        );
        assert!(!access.overlaps(at(102), None) && !access.overlaps(None, at(99)));
    }

    #[test]
    fn the_last_line_of_a_file_is_found_though_the_first_is_cut() {
        let text = lines("a", 100, &[entry(Event::Active, "u"), entry(Event::Ended, "u")]);
        let head = last_line(&text[10..]).unwrap();
        assert_eq!((&*head.chain, head.seq), ("a", 2));
        assert_eq!(last_line("nothing"), None);
    }
}
