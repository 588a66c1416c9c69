//! The accounts of a server: counted, ended where they should be, named where that is not possible.

use std::collections::BTreeSet;

use rolecall_api::{DatabaseAdmin, Orphans};
use rolecall_engine::{AccountName, Inventory, Owner, Reason};

use super::observation::Observation;
use super::orphans::{Judge, Orphan};
use crate::Shared;
use crate::cache::Cache;
use crate::model::session::{may_have_access, recorded_username};
use crate::model::{AccountKey, ObjectKey};
use crate::servers::Server;
use crate::settings::Settings;

/// Judges the accounts of a server: they are counted, ended where they should be, named where that is not possible, and
/// triggered where somebody changed them.
pub(super) fn assess(
    shared: &Shared,
    key: &ObjectKey,
    admin: &DatabaseAdmin,
    server: &Server,
    inventory: &Inventory,
    observed: &mut Observation,
) {
    // Read after the server: what was enabled then had its session marked before.
    let explained = explained(shared, key);
    observed.drifted = shared.applied.drifted(key, inventory, &server.owner.uid);
    let identity =
        observed.preflight.as_ref().map(|preflight| preflight.identity.clone()).unwrap_or_default();
    let cache = shared.cache();
    let judge = Judge {
        admin: key,
        owner: &server.owner,
        dialect: server.engine.dialect(),
        explained: &explained,
        is_nobodys: &|record, account| {
            is_nobodys(&cache, &shared.settings, server, &identity, record, account)
        },
    };
    if let (Some(preflight), Some(finding)) =
        (&mut observed.preflight, judge.unmanageable(inventory, &server.endpoint.admin_user))
    {
        let at = preflight.findings.partition_point(|found| found.reason == Reason::MissingCreateRole);
        preflight.findings.insert(at, finding);
    }
    observed.counts = Some(judge.count(inventory));
    let reported = |account: &AccountKey| {
        shared.reports.get(account).map(|report| report.account).or_else(|| {
            let user = cache.user_named(&key.namespace, &account.username)?;
            crate::account::reports::in_status(&user, account)
        })
    };
    let (to_end, mut named): (Vec<Orphan>, Vec<Orphan>) = judge
        .orphans(inventory)
        .into_iter()
        .partition(|orphan| orphan.ours && admin.spec.orphans == Orphans::Disable);
    observed.orphans = to_end.iter().map(|orphan| orphan.key.clone()).collect();
    if admin.spec.orphans == Orphans::Disable {
        observed.orphans.extend(judge.undropped(inventory, reported));
    }
    // One that cannot be ended is named as well.
    named.extend(to_end.into_iter().filter_map(|mut orphan| {
        let why = shared.orphans.stuck(&orphan.key)?;
        orphan.message.push_str(&format!(" ({why})"));
        Some(orphan)
    }));
    let mut usable = shared.reports.usable_on(key);
    usable.extend(cache.reported_usable(key));
    observed.reports = judge.reports(&cache, inventory, &named, usable, reported);
    observed.named = Some(named);
}

/// Does the record of an account name a DatabaseAdmin of this cluster that no longer exists, or that works on another
/// server, so that this one is a copy? What is in namespaces that are not watched is not known.
fn is_nobodys(
    cache: &Cache,
    settings: &Settings,
    server: &Server,
    identity: &str,
    record: &Owner,
    account: &AccountName,
) -> bool {
    let Some((namespace, name)) = record.admin.split_once('/') else { return false };
    if !server.owner.is_of_same_cluster(record) || !settings.watches(namespace) {
        return false;
    }
    let key = ObjectKey { namespace: namespace.into(), name: name.into() };
    if cache.is_unreadable(&key) {
        return false;
    }
    let Some(admin) = cache.admin(&key).filter(|admin| admin.metadata.uid.as_ref() == Some(&record.uid))
    else {
        return true;
    };
    let status = admin.status.clone().unwrap_or_default();
    if status.server_identity.is_some_and(|known| !identity.is_empty() && known != identity) {
        return true;
    }
    // The same server, by another name perhaps, or an exact copy of it: then no session there accounts for the account.
    let elsewhere = status.endpoint.is_some_and(|used| used.uri != server.endpoint.uri);
    elsewhere && !explained_by(cache, &key).any(|username| username == account.as_str())
}

/// The accounts that some session accounts for.
fn explained(shared: &Shared, key: &ObjectKey) -> BTreeSet<String> {
    explained_by(&shared.cache(), key).map(str::to_owned).collect()
}

fn explained_by<'a>(cache: &'a Cache, key: &ObjectKey) -> impl Iterator<Item = &'a str> {
    let live = cache.sessions_of_admin(key).filter(|session| may_have_access(session));
    live.filter_map(|session| recorded_username(session))
}
