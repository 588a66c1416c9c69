//! Accounts, by what several views say of them.

use std::collections::{BTreeMap, BTreeSet};

use rolecall_engine::account::Membership;
use rolecall_engine::dialect::redshift::record;
use rolecall_engine::{Account, AccountName, MARKER, Owner};

use super::sessions::{self, Session};
use crate::transport::rows::{Row, is_true, items, number, text};

/// How many connections a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// None: it is closed.
    Closed,
    /// So many.
    Some,
    /// As many as it likes.
    Unlimited,
}

/// What decides whether a user can log in, which not everybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) limit: Limit,
    pub(crate) is_superuser: bool,
    pub(crate) creates_databases: bool,
    /// It sees what others do.
    pub(crate) sees_others: bool,
    /// Its sessions end after a time of its own.
    pub(crate) has_timeout: bool,
}

/// A user as pg_user shows it to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) is_superuser: bool,
    /// Its password counts until some time.
    pub(crate) expires: bool,
    /// The names of its settings.
    pub(crate) settings: BTreeSet<String>,
}

/// What is known of users, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Users {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) info: BTreeMap<String, Info>,
    /// Their roles, each with whether they may hand it out.
    pub(crate) roles: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Users {
    /// From the answers to [`query::users`](crate::statements::query::users), `user_info` and `user_grants`.
    pub(crate) fn read(users: &[Row], info: &[Row], grants: &[Row]) -> Self {
        let mut roles: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        for row in grants {
            let of_user = roles.entry(text(row, 0).to_owned()).or_default();
            *of_user.entry(text(row, 1).to_owned()).or_default() |= is_true(row, 2);
        }
        Self {
            users: users.iter().map(|row| (text(row, 0).to_owned(), user(row))).collect(),
            info: info.iter().map(|row| (text(row, 0).to_owned(), self::info(row))).collect(),
            roles,
        }
    }

    /// Does the account carry the marker?
    pub(crate) fn is_managed(&self, account: &AccountName) -> bool {
        self.roles_of(account.as_str()).any(|role| role == MARKER)
    }

    /// Whose it is. Of several records one that is not `ours` counts: what others claim is left alone.
    pub(crate) fn owner_uid(&self, account: &AccountName, ours: &str) -> Option<String> {
        let mut uids: Vec<String> = self.roles_of(account.as_str()).filter_map(record::owner_uid).collect();
        let foreign = uids.iter().position(|uid| uid != ours).unwrap_or_default();
        (!uids.is_empty()).then(|| uids.swap_remove(foreign))
    }

    /// The names of a user's roles.
    pub(crate) fn roles_of(&self, user: &str) -> impl Iterator<Item = &str> {
        self.roles.get(user).into_iter().flat_map(|roles| roles.keys().map(String::as_str))
    }

    /// The roles of an account that policy is about: neither the marker nor records.
    pub(crate) fn memberships(&self, account: &AccountName) -> BTreeSet<String> {
        let roles = self.roles_of(account.as_str());
        roles.filter(|role| *role != MARKER && !record::is_record(role)).map(str::to_owned).collect()
    }

    /// Can the user log in? `None` where the admin user may not see that.
    pub(crate) fn is_open(&self, account: &AccountName) -> Option<bool> {
        let info = self.info.get(account.as_str())?;
        let user = self.users.get(account.as_str());
        // The limit is not kept for superusers.
        let is_superuser = info.is_superuser || user.is_some_and(|user| user.is_superuser);
        Some(info.limit != Limit::Closed || is_superuser)
    }

    /// The account as the planner sees it; `None` where there is no such user. `roles`: all roles of the server, which
    /// describe owners.
    ///
    /// `Err` where it exists and the admin user may not see whether it can be used.
    pub(crate) fn account<'a>(
        &self,
        account: &AccountName,
        ours: &str,
        roles: impl IntoIterator<Item = &'a String>,
        sessions: &[Session],
    ) -> Result<Option<Account>, Unseen> {
        let Some(user) = self.users.get(account.as_str()) else { return Ok(None) };
        let (Some(enabled), Some(info)) = (self.is_open(account), self.info.get(account.as_str())) else {
            return Err(Unseen);
        };
        let memberships = self.memberships(account).into_iter();
        Ok(Some(Account {
            managed: self.is_managed(account),
            owner: self.owner_uid(account, ours).map(|uid| record::owner(&uid, roles)),
            enabled,
            memberships: memberships
                .map(|role| Membership { role, grantor: String::new(), revocable: true })
                .collect(),
            leftovers: Vec::new(),
            settings: if user.settings.is_empty() { BTreeSet::new() } else { BTreeSet::from([None]) },
            limits: user.expires || info.is_powerful() || info.has_timeout || info.limit == Limit::Some,
            expires: user.expires,
            stored: Vec::new(),
            rights: false,
            unconfirmed: false,
            backends: sessions::count(sessions, account),
        }))
    }

    /// The record of an account's owner.
    pub(crate) fn owner<'a>(
        &self,
        account: &AccountName,
        roles: impl IntoIterator<Item = &'a String>,
    ) -> Option<Owner> {
        self.owner_uid(account, "").map(|uid| record::owner(&uid, roles))
    }
}

impl Info {
    /// It has an attribute that no account has.
    fn is_powerful(&self) -> bool {
        self.is_superuser || self.creates_databases || self.sees_others
    }
}

/// The admin user may not see what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unseen;

fn user(row: &Row) -> User {
    let settings = items(text(row, 4)).into_iter();
    User {
        id: number(row, 1),
        is_superuser: is_true(row, 2),
        expires: !matches!(text(row, 3), "" | "infinity"),
        settings: settings
            .map(|setting| setting.split_once('=').map_or(setting.clone(), |(name, _)| name.to_owned()))
            .collect(),
    }
}

fn info(row: &Row) -> Info {
    Info {
        creates_databases: is_true(row, 1),
        is_superuser: is_true(row, 2),
        limit: match text(row, 3).trim_start() {
            "0" => Limit::Closed,
            // Whatever is no number is no limit.
            other if other.parse::<u64>().is_ok() => Limit::Some,
            _ => Limit::Unlimited,
        },
        sees_others: text(row, 4).eq_ignore_ascii_case("unrestricted"),
        has_timeout: number(row, 5) != 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::transport::rows::tests::row;

    pub(crate) fn account() -> AccountName {
        AccountName::new("alice").unwrap()
    }

    fn users(user: [&str; 5], info: [&str; 6], roles: &[&str]) -> Users {
        let grants: Vec<Row> = roles.iter().map(|role| row(["alice", role, "f"])).collect();
        Users::read(&[row(user)], &[row(info)], &grants)
    }

    const PLAIN: [&str; 5] = ["alice", "105", "f", "", ""];
    const OPEN: [&str; 6] = ["alice", "f", "f", "UNLIMITED", "RESTRICTED", "0"];
    const CLOSED: [&str; 6] = ["alice", "f", "f", "0", "RESTRICTED", "0"];

    fn seen(users: &Users) -> Account {
        users.account(&account(), "us", &BTreeSet::new(), &[]).unwrap().unwrap()
    }

    #[test]
    fn an_account_is_put_together_from_what_the_views_say() {
        let owner =
            Owner { uid: "us".into(), admin: "shop/dwh".into(), cluster: "blue".into(), ..Owner::default() };
        let roles = record::text_roles(&owner);
        let found = users(PLAIN, OPEN, &[MARKER, "reader", &record::owner_role("us"), "rolecall_0123"]);
        let sessions = sessions::read(&[row(["7", "IAM:alice"]), row(["8", "bob"])]);
        let found = found.account(&account(), "us", &roles, &sessions).unwrap().unwrap();
        assert!(found.managed && found.enabled && !found.limits && found.settings.is_empty());
        assert_eq!((found.owner, found.backends), (Some(owner), 1));
        let names: Vec<&str> = found.memberships.iter().map(|m| m.role.as_str()).collect();
        assert_eq!(names, ["reader", "rolecall_0123"]);
    }

    #[test]
    fn the_connection_limit_is_the_switch_but_for_superusers() {
        assert!(!seen(&users(PLAIN, CLOSED, &[])).enabled);
        assert!(seen(&users(PLAIN, ["alice", "f", "f", "5", "RESTRICTED", "0"], &[])).enabled);
        assert!(seen(&users(PLAIN, ["alice", "f", "t", "0", "RESTRICTED", "0"], &[])).enabled);
        assert!(seen(&users(["alice", "105", "t", "", ""], CLOSED, &[])).enabled);
    }

    #[test]
    fn what_somebody_stored_for_it_is_seen() {
        assert!(!seen(&users(PLAIN, CLOSED, &[])).limits);
        for info in [
            ["alice", "t", "f", "0", "RESTRICTED", "0"],
            ["alice", "f", "f", "0", "UNRESTRICTED", "0"],
            ["alice", "f", "f", "0", "RESTRICTED", "3600"],
            ["alice", "f", "f", "7", "RESTRICTED", "0"],
        ] {
            assert!(seen(&users(PLAIN, info, &[])).limits, "{info:?}");
        }
        let expiring = seen(&users(["alice", "105", "f", "2030-01-01 00:00:00+00", ""], CLOSED, &[]));
        assert!(expiring.limits && expiring.expires);
        let set = users(["alice", "105", "f", "infinity", "{search_path=app,query_group=x}"], CLOSED, &[]);
        assert_eq!(seen(&set).settings, BTreeSet::from([None]));
        assert_eq!(set.users["alice"].settings, ["query_group", "search_path"].map(str::to_owned).into());
        assert!(!seen(&set).expires);
    }

    #[test]
    fn nobody_is_reported_closed_whose_state_is_hidden() {
        let hidden = Users::read(&[row(PLAIN)], &[], &[]);
        assert_eq!(hidden.account(&account(), "us", &BTreeSet::new(), &[]), Err(Unseen));
        let gone = Users::read(&[], &[], &[]);
        assert_eq!(gone.account(&account(), "us", &BTreeSet::new(), &[]), Ok(None));
    }

    #[test]
    fn of_two_records_the_one_of_somebody_else_counts() {
        let both = [record::owner_role("us"), record::owner_role("them")];
        let found = users(PLAIN, OPEN, &[&both[0], &both[1]]);
        assert_eq!(found.owner_uid(&account(), "us"), Some("them".to_owned()));
        assert_eq!(found.owner_uid(&account(), "them"), Some("us".to_owned()));
    }
}
