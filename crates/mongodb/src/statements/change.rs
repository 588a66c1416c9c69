//! The commands that change users: each is one command, complete in itself, confirmed by a majority.

use std::collections::BTreeSet;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use rolecall_engine::AccountName;
use rolecall_engine::dialect::mongodb::{EXTERNAL, RoleName, user_name};

use crate::statements::role;
use crate::statements::user::nowhere;
use crate::transport::request::Request;

/// Makes commands for one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// How long a change waits to be confirmed. It is not undone when that fails.
    pub(crate) confirmed_within: Duration,
}

impl Change {
    /// A new user that may log in at once.
    pub(crate) fn create(
        self,
        account: &AccountName,
        roles: &BTreeSet<RoleName>,
        custom_data: Document,
    ) -> Request {
        let command = usable("createUser", account, roles, Some(custom_data));
        self.request(format!("creating the user {:?}", account.as_str()), EXTERNAL, command)
    }

    /// A new user that may not log in.
    pub(crate) fn create_locked(self, account: &AccountName, custom_data: Document) -> Request {
        let command = locked("createUser", account, Some(custom_data));
        self.request(format!("keeping the user {:?}", account.as_str()), EXTERNAL, command)
    }

    /// An existing user becomes ours, gets exactly these roles, and may log in.
    pub(crate) fn enable(
        self,
        account: &AccountName,
        roles: &BTreeSet<RoleName>,
        custom_data: Document,
    ) -> Request {
        let command = usable("updateUser", account, roles, Some(custom_data));
        self.request(format!("enabling {:?}", account.as_str()), EXTERNAL, command)
    }

    /// A user gets exactly these roles, and may log in.
    pub(crate) fn adjust(self, account: &AccountName, roles: &BTreeSet<RoleName>) -> Request {
        let command = usable("updateUser", account, roles, None);
        self.request(format!("changing the roles of {:?}", account.as_str()), EXTERNAL, command)
    }

    /// A user gets its record back.
    pub(crate) fn record(self, account: &AccountName, custom_data: Document) -> Request {
        let command = doc! { "updateUser": user_name(account), "customData": custom_data };
        self.request(format!("recording the owner of {:?}", account.as_str()), EXTERNAL, command)
    }

    /// A user loses everything: its open connections lose all rights on each member as it hears of this.
    pub(crate) fn lock(self, account: &AccountName) -> Request {
        let command = locked("updateUser", account, None);
        self.request(format!("disabling {:?}", account.as_str()), EXTERNAL, command)
    }

    /// As [`Change::lock`], confirmed by so many members instead of a majority.
    pub(crate) fn lock_confirmed_by(
        self,
        account: &AccountName,
        members: usize,
        within: Duration,
    ) -> Request {
        let mut request = self.lock(account);
        let members = i64::try_from(members).unwrap_or(i64::MAX);
        request.command.insert("writeConcern", concern(members.into(), within));
        request
    }

    pub(crate) fn drop_user(self, account: &AccountName) -> Request {
        let command = doc! { "dropUser": user_name(account) };
        self.request(format!("dropping {:?}", account.as_str()), EXTERNAL, command)
    }

    /// A role without privileges, in the logical database that it belongs to.
    pub(crate) fn create_role(self, role: &RoleName) -> Request {
        let command = doc! { "createRole": &role.role, "privileges": [], "roles": [] };
        self.request(format!("creating the role {:?}", role.to_string()), &role.database, command)
    }

    /// Any command that changes something.
    pub(crate) fn request(self, what: String, database: &str, mut command: Document) -> Request {
        command.insert("writeConcern", concern("majority".into(), self.confirmed_within));
        Request::new(what, database, command)
    }
}

/// The journal, so that a change survives a crash of a member right after.
fn concern(w: Bson, within: Duration) -> Document {
    doc! { "w": w, "j": true, "wtimeout": i64::try_from(within.as_millis()).unwrap_or(i64::MAX) }
}

/// A command after which a user has exactly these roles and may log in.
fn usable(
    command: &str,
    account: &AccountName,
    roles: &BTreeSet<RoleName>,
    custom_data: Option<Document>,
) -> Document {
    user(command, account, list(roles), custom_data, Bson::Array(Vec::new()))
}

/// A command after which a user has no role and may not log in.
fn locked(command: &str, account: &AccountName, custom_data: Option<Document>) -> Document {
    user(command, account, Vec::new(), custom_data, nowhere())
}

fn user(
    command: &str,
    account: &AccountName,
    roles: Vec<Document>,
    custom_data: Option<Document>,
    restrictions: Bson,
) -> Document {
    let mut document = doc! { command: user_name(account), "roles": roles };
    if let Some(custom_data) = custom_data {
        document.insert("customData", custom_data);
    }
    document.insert("authenticationRestrictions", restrictions);
    document
}

fn list(roles: &BTreeSet<RoleName>) -> Vec<Document> {
    roles.iter().map(role::document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statements::user::custom_data;
    use rolecall_engine::Owner;

    #[test]
    fn each_change_is_one_command_that_says_everything() {
        let change = Change { confirmed_within: Duration::from_secs(5) };
        let account = AccountName::new("a,b").unwrap();
        let owner = Owner {
            uid: "uid".into(),
            admin: "shop/orders".into(),
            cluster: "blue".into(),
            ..Owner::default()
        };
        let data = custom_data(&owner, None);
        let roles: BTreeSet<RoleName> =
            ["readWrite@shop", "read@hr"].iter().map(|role| RoleName::parse(role).unwrap()).collect();
        let commands: Vec<String> = [
            change.create(&account, &roles, data.clone()),
            change.create_locked(&account, data.clone()),
            change.enable(&account, &roles, data.clone()),
            change.record(&account, data),
            change.adjust(&account, &roles),
            change.lock(&account),
            change.lock_confirmed_by(&account, 3, Duration::from_secs(2)),
            change.drop_user(&account),
            change.create_role(&RoleName::parse("reader@shop").unwrap()),
        ]
        .iter()
        .map(|request| format!("{} ({}):\n  {}", request.what, request.database, request.command))
        .collect();
        insta::assert_snapshot!(commands.join("\n"));
    }
}
