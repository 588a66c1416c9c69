//! Users of `$external` as the server has them.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::{Array, Bson, Document, doc};
use rolecall_engine::account::{Account, Membership, Owner};
use rolecall_engine::dialect::mongodb::{EXTERNAL, NOWHERE, RECORD, RoleName, account_name, user_name};
use rolecall_engine::{AccountName, MARKER};

use crate::statements::role;
use crate::transport::request::Request;

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    pub(crate) account: AccountName,
    pub(crate) custom_data: Document,
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) access: LoginAccess,
}

/// From where a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginAccess {
    /// From anywhere.
    Open,
    /// From nowhere, as we (and Teleport) lock users out.
    Locked,
    /// Somebody restricted it in another way.
    Restricted,
}

/// The first version of the protocol (MongoDB 5.2) that returns customData only where it is asked for. Older servers
/// always return it, and refuse the option.
const ASKS_FOR_CUSTOM_DATA: i32 = 15;

/// Reads these users, those that exist. A query by names is the only one that returns restrictions.
pub(crate) fn users_info(
    what: impl Into<String>,
    accounts: &BTreeSet<AccountName>,
    protocol: i32,
) -> Request {
    let users: Vec<Document> =
        accounts.iter().map(|account| doc! { "user": user_name(account), "db": EXTERNAL }).collect();
    let command = doc! { "usersInfo": users, "showAuthenticationRestrictions": true };
    Request::new(what, EXTERNAL, with_custom_data(command, protocol))
}

/// Lists the managed users. It does not return from where they may log in.
pub(crate) fn managed_users(protocol: i32) -> Request {
    let filter = doc! { format!("customData.{MARKER}"): true };
    let command = doc! { "usersInfo": 1, "filter": filter };
    Request::new("listing the managed users", EXTERNAL, with_custom_data(command, protocol))
}

fn with_custom_data(mut command: Document, protocol: i32) -> Document {
    if protocol >= ASKS_FOR_CUSTOM_DATA {
        command.insert("showCustomData", true);
    }
    command
}

/// The users of an answer, by account. Users that no account can be are left out.
pub(crate) fn users(answer: &Document) -> BTreeMap<AccountName, User> {
    documents(answer, "users").filter_map(User::read).map(|user| (user.account.clone(), user)).collect()
}

/// customData with the marker and our record, whatever else is in it.
pub(crate) fn custom_data(owner: &Owner, before: Option<&User>) -> Document {
    let mut data = before.map(|user| user.custom_data.clone()).unwrap_or_default();
    data.insert(MARKER, true);
    let Owner { uid, admin, cluster, .. } = owner;
    data.insert(RECORD, doc! { "uid": uid, "admin": admin, "cluster": cluster });
    data
}

/// The restriction that locks a user out.
pub(crate) fn nowhere() -> Bson {
    Bson::Array(vec![Bson::Document(doc! { "clientSource": [NOWHERE] })])
}

impl User {
    fn read(user: &Document) -> Option<Self> {
        let name = user.get_str("user").ok().filter(|_| user.get_str("db").is_ok_and(|is| is == EXTERNAL))?;
        let roles = documents(user, "roles").filter_map(role::read).collect();
        Some(Self {
            account: account_name(name)?,
            custom_data: user.get_document("customData").cloned().unwrap_or_default(),
            roles,
            access: user.get_array("authenticationRestrictions").map_or(LoginAccess::Open, login_access),
        })
    }

    pub(crate) fn is_managed(&self) -> bool {
        self.custom_data.get_bool(MARKER).unwrap_or(false)
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        let record = self.custom_data.get_document(RECORD).ok()?;
        let text = |key: &str| record.get_str(key).unwrap_or_default().to_owned();
        let uid = record.get_str("uid").ok()?.to_owned();
        Some(Owner { uid, admin: text("admin"), cluster: text("cluster"), ..Owner::default() })
    }

    pub(crate) fn is_of(&self, uid: &str) -> bool {
        self.owner().is_some_and(|owner| owner.uid == uid)
    }

    /// The user as decisions see it.
    pub(crate) fn account(&self, backends: u32) -> Account {
        Account {
            managed: self.is_managed(),
            owner: self.owner(),
            enabled: self.access != LoginAccess::Locked,
            memberships: self
                .roles
                .iter()
                .map(|role| Membership {
                    role: role.to_string(),
                    grantor: String::new(),
                    // A user's list of roles is replaced as a whole.
                    revocable: true,
                })
                .collect(),
            leftovers: Vec::new(),
            settings: BTreeSet::new(),
            limits: self.access == LoginAccess::Restricted,
            expires: false,
            stored: Vec::from_iter(
                (self.access == LoginAccess::Restricted).then(|| "authenticationRestrictions".to_owned()),
            ),
            rights: false,
            unconfirmed: false,
            backends,
        }
    }
}

/// One of the restrictions must be met to log in. The server nests them in lists.
fn login_access(restrictions: &Array) -> LoginAccess {
    let mut flat = Vec::new();
    flatten(restrictions, &mut flat);
    let is_lock = |restriction: &&Document| {
        let sources = restriction.get_array("clientSource");
        sources.is_ok_and(|sources| !sources.is_empty() && sources.iter().all(is_nowhere))
    };
    if flat.is_empty() {
        LoginAccess::Open
    } else if flat.iter().all(is_lock) {
        LoginAccess::Locked
    } else {
        LoginAccess::Restricted
    }
}

fn is_nowhere(source: &Bson) -> bool {
    matches!(source.as_str(), Some(NOWHERE | "0.0.0.0/32"))
}

fn flatten<'a>(restrictions: &'a Array, flat: &mut Vec<&'a Document>) {
    for restriction in restrictions {
        match restriction {
            Bson::Document(document) => flat.push(document),
            Bson::Array(inner) => flatten(inner, flat),
            _ => {}
        }
    }
}

/// The documents of a list.
pub(crate) fn documents<'a>(
    document: &'a Document,
    key: &str,
) -> impl Iterator<Item = &'a Document> + use<'a> {
    document.get_array(key).ok().into_iter().flatten().filter_map(Bson::as_document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user: Document) -> Option<User> {
        users(&doc! { "users": [user] }).into_values().next()
    }

    fn restricted(restrictions: Bson) -> LoginAccess {
        let user = doc! { "user": "CN=alice", "db": EXTERNAL, "authenticationRestrictions": restrictions };
        read(user).unwrap().access
    }

    #[test]
    fn locked_users_are_distinguished_from_restricted_ones() {
        assert_eq!(restricted(Bson::Array(vec![])), LoginAccess::Open);
        assert_eq!(restricted(nowhere()), LoginAccess::Locked);
        // As the server nests them.
        assert_eq!(restricted(Bson::Array(vec![nowhere()])), LoginAccess::Locked);
        let here = Bson::Document(doc! { "clientSource": ["10.0.0.0/8"] });
        assert_eq!(restricted(Bson::Array(vec![here.clone()])), LoginAccess::Restricted);
        // One of them is enough to come in.
        let both = vec![here, Bson::Document(doc! { "clientSource": ["0.0.0.0"] })];
        assert_eq!(restricted(Bson::Array(both)), LoginAccess::Restricted);
        let nothing = Bson::Document(doc! { "serverAddress": ["10.0.0.1"] });
        assert_eq!(restricted(Bson::Array(vec![nothing])), LoginAccess::Restricted);
    }

    #[test]
    fn only_the_marker_makes_a_user_managed_and_only_the_record_makes_it_ours() {
        let user =
            |data: Document| read(doc! { "user": "CN=alice", "db": EXTERNAL, "customData": data }).unwrap();
        let owner = Owner {
            uid: "u".into(),
            admin: "shop/orders".into(),
            cluster: String::new(),
            ..Owner::default()
        };
        let ours = user(custom_data(&owner, None));
        assert!(ours.is_managed() && ours.is_of("u") && !ours.is_of("v"));
        assert_eq!(ours.owner(), Some(owner));
        let theirs = user(doc! { MARKER: true, "rolecall": "no record" });
        assert!(theirs.is_managed() && theirs.owner().is_none());
        for data in [doc! {}, doc! { MARKER: false }, doc! { MARKER: 1 }, doc! { MARKER: "true" }] {
            assert!(!user(data.clone()).is_managed(), "{data}");
        }
    }

    #[test]
    fn what_else_is_in_custom_data_stays() {
        let before =
            read(doc! { "user": "CN=alice", "db": EXTERNAL, "customData": { "team": "blue", MARKER: true } });
        let owner =
            Owner { uid: "u".into(), admin: String::new(), cluster: String::new(), ..Owner::default() };
        assert_eq!(custom_data(&owner, before.as_ref()).get_str("team").unwrap(), "blue");
    }

    #[test]
    fn older_servers_are_not_asked_for_what_they_return_anyway() {
        let accounts = BTreeSet::from([AccountName::new("alice").unwrap()]);
        for (protocol, asked) in [(9, false), (13, false), (15, true), (17, true)] {
            for request in [users_info("reading", &accounts, protocol), managed_users(protocol)] {
                assert_eq!(request.command.contains_key("showCustomData"), asked, "{protocol}");
            }
        }
    }

    #[test]
    fn users_of_other_databases_are_no_accounts() {
        assert!(read(doc! { "user": "CN=alice", "db": "admin" }).is_none());
    }
}
