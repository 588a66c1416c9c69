//! GetClusterCredentials.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::FrontState;
use super::reply::{Fields, Refusal};
use crate::redshift::is_reserved_word;

const LONGEST_NAME: usize = 64;

/// Credentials for a database user, who need not be there. They work for that user until they end.
///
/// # Errors
/// For everything that would create users or put them into groups, and for names and durations out of bounds.
pub(super) fn credentials(
    state: &FrontState,
    key: &str,
    parameters: &BTreeMap<String, String>,
) -> Result<Fields, Refusal> {
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    if parameter("Version") != Some("2012-12-01") {
        return Err(Refusal::new(400, "InvalidAction", "the version is 2012-12-01"));
    }
    let user = parameter("DbUser").ok_or_else(|| missing("DbUser"))?;
    check_name(user)?;
    let life = match parameter("DurationSeconds") {
        None => 900,
        Some(text) => text.parse().map_err(|_| Refusal::invalid("DurationSeconds is not a number"))?,
    };
    if !(900..=3600).contains(&life) {
        return Err(Refusal::invalid(format!("DurationSeconds is {life} and must be 900 to 3600")));
    }
    let identifier = match (parameter("ClusterIdentifier"), parameter("CustomDomainName")) {
        (Some(identifier), _) => Some(identifier),
        (None, Some(domain)) => state.domains.get(domain).map(String::as_str),
        (None, None) => return Err(missing("ClusterIdentifier")),
    };
    let cluster = identifier.and_then(|identifier| state.clusters.get(identifier));
    let Some(cluster) = cluster else {
        let shown = identifier.unwrap_or("of this domain");
        return Err(Refusal::new(404, "ClusterNotFound", format!("Cluster {shown} not found.")));
    };
    let denied = |what: &str| {
        Err(Refusal::new(403, "AccessDenied", format!("not authorized to perform: redshift:{what}")))
    };
    if parameter("AutoCreate").is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
        return denied("CreateClusterUser");
    }
    // An empty list of groups is sent as an empty text.
    if parameters.iter().any(|(name, value)| name.starts_with("DbGroups") && !value.is_empty()) {
        return denied("JoinGroup");
    }
    if state.permitted.get(key).is_some_and(|users| !users.iter().any(|permitted| permitted == user)) {
        return denied("GetClusterCredentials");
    }
    let login = format!("IAM:{user}");
    let (password, expires) = cluster.issue_password(&login, SignedDuration::from_secs(life));
    Ok(vec![
        ("DbUser", login),
        ("DbPassword", password),
        ("Expiration", expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    ])
}

/// Letters, digits and a few signs, a letter first, no reserved word.
fn check_name(user: &str) -> Result<(), Refusal> {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.@-".contains(&byte);
    let fits = user.len() <= LONGEST_NAME
        && user.starts_with(|first: char| first.is_ascii_alphabetic())
        && user.bytes().all(is_inside)
        && user != "PUBLIC"
        && !is_reserved_word(&user.to_lowercase());
    if fits { Ok(()) } else { Err(Refusal::invalid(format!("{user:?} cannot be a DbUser"))) }
}

fn missing(name: &str) -> Refusal {
    Refusal::new(400, "MissingParameter", format!("The request must contain the parameter {name}"))
}
