//! Records, kept in names of roles: Redshift has no comments on users and roles.
//!
//! | role | what it says | who has it |
//! |---|---|---|
//! | `rolecall_owner_<uid>` | whose something is | accounts, and the roles of permission sets |
//! | `rolecall_record_<hash of the uid>_<n>_<text>` | cluster, namespace and name of that DatabaseAdmin, in parts | nobody |
//! | `rolecall_database_<name>` | the logical database of a permission set | the roles of permission sets |
//!
//! None of them gives any right. Names have lower-case letters, digits, `_` and `-` only; every other byte is written as
//! `_` and two hexadecimal digits. Roles belong to the whole cluster, and an account and its record change in one
//! transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::OWN_PREFIX;
use super::name::MAX_ROLE_BYTES;
use crate::Owner;

const OWNER: &str = "rolecall_owner_";
const TEXT: &str = "rolecall_record_";
const DATABASE: &str = "rolecall_database_";
/// Between the cluster and the name in a record. What is written out never has two of them in a row.
const SEPARATOR: &str = "__";

/// Is it the role of a permission set, by its name?
pub fn is_set(role: &str) -> bool {
    role.starts_with(OWN_PREFIX) && !is_record(role)
}

/// Is it one of the roles that records are kept in, by its name?
pub fn is_record(role: &str) -> bool {
    [OWNER, TEXT, DATABASE].iter().any(|prefix| role.starts_with(prefix))
}

/// The role that says whose an account or set is.
pub fn owner_role(uid: &str) -> String {
    fitting(OWNER, uid)
}

/// Whose is what has this role? `None`: it is no such role. What cannot be read is nobody's uid, and so somebody else's.
pub fn owner_uid(role: &str) -> Option<String> {
    let written = role.strip_prefix(OWNER)?;
    Some(read(written).unwrap_or_else(|| written.to_owned()))
}

/// The role that says in which logical database a permission set is.
pub fn database_role(database: &str) -> String {
    fitting(DATABASE, database)
}

/// Which of these databases a role means; one that is not among them by what its name says.
pub fn database_of<'a>(role: &str, databases: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let text = role.strip_prefix(DATABASE)?;
    let known = databases.into_iter().find(|database| database_role(database) == role);
    known.cloned().or_else(|| read(text))
}

/// The roles that describe an owner for people, and for whoever replaces it.
pub fn text_roles(owner: &Owner) -> BTreeSet<String> {
    let text = format!("{}{SEPARATOR}{}", written(&owner.cluster), written(&owner.admin));
    let prefix = text_prefix(&owner.uid);
    let room = MAX_ROLE_BYTES - prefix.len() - 4;
    // Written out it is ASCII.
    let parts = text.as_bytes().chunks(room).enumerate();
    parts.map(|(n, part)| format!("{prefix}{n:03}_{}", String::from_utf8_lossy(part))).collect()
}

/// The roles among these that describe the owner of this uid, whatever they say.
pub fn text_roles_of<'a>(uid: &str, roles: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    let prefix = text_prefix(uid);
    roles.into_iter().filter(|role| role.starts_with(&prefix)).cloned().collect()
}

/// The record of the owner of this uid, as the roles of the server describe it. Without a description, or with several,
/// only the uid is known.
pub fn owner<'a>(uid: &str, roles: impl IntoIterator<Item = &'a String>) -> Owner {
    let prefix = text_prefix(uid);
    let mut parts: BTreeMap<usize, &str> = BTreeMap::new();
    let mut is_clear = true;
    for role in roles {
        let part = role.strip_prefix(&prefix).and_then(|rest| rest.split_once('_'));
        if let Some((number, text)) = part.and_then(|(number, text)| Some((number.parse().ok()?, text))) {
            is_clear &= parts.insert(number, text).is_none();
        }
    }
    is_clear &= parts.keys().copied().eq(0..parts.len());
    let text: String = parts.into_values().collect();
    let described = text.split_once(SEPARATOR).filter(|_| is_clear);
    let (cluster, admin) =
        described.and_then(|(cluster, admin)| Some((read(cluster)?, read(admin)?))).unwrap_or_default();
    Owner { uid: uid.to_owned(), admin, cluster, ..Owner::default() }
}

fn text_prefix(uid: &str) -> String {
    format!("{TEXT}{}_", hash(uid))
}

/// The name, or its hash where it is too long.
fn fitting(prefix: &str, text: &str) -> String {
    let written = written(text);
    if prefix.len() + written.len() <= MAX_ROLE_BYTES {
        format!("{prefix}{written}")
    } else {
        // No written text begins so.
        format!("{prefix}{SEPARATOR}{}", hash(text))
    }
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).fold(String::new(), |mut hex, byte| {
        // Appending to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn written(text: &str) -> String {
    text.bytes().fold(String::new(), |mut written, byte| {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' => written.push(char::from(byte)),
            // Appending to a String cannot fail.
            other => drop(write!(written, "_{other:02x}")),
        }
        written
    })
}

fn read(written: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'_' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::redshift::name::role_fault;

    fn us() -> Owner {
        Owner {
            uid: "0b6e0c4e-9d6e-4c1a-8f0e-1a2b3c4d5e6f".into(),
            admin: "shop/analytics".into(),
            cluster: "unnamed:7c1f2b7e-3f0a-4a51-9d2c-5b6a7c8d9e0f".into(),
            ..Owner::default()
        }
    }

    #[test]
    fn a_record_is_a_few_readable_roles() {
        assert_eq!(owner_role(&us().uid), "rolecall_owner_0b6e0c4e-9d6e-4c1a-8f0e-1a2b3c4d5e6f");
        let texts: Vec<String> = text_roles(&us()).into_iter().collect();
        assert_eq!(
            texts,
            [
                "rolecall_record_dd178b5765cb08f6_000_unnamed_3a7c1f2b7e-3f0a-4a51-9d2c-5b6a7c8d9e0f__shop_2fanalytics"
            ]
        );
        assert_eq!(database_role("dev"), "rolecall_database_dev");
    }

    #[test]
    fn what_is_no_record_is_a_set_or_nothing_of_ours() {
        assert!(is_set("rolecall_0123") && !is_set("rolecall_owner_u") && !is_set("reader"));
        assert!(!is_set(&database_role("dev")) && text_roles(&us()).iter().all(|role| !is_set(role)));
        assert_eq!(owner_uid("reader"), None);
        assert_eq!(owner_uid("rolecall_owner_a_zz").as_deref(), Some("a_zz"), "somebody made it by hand");
    }

    #[test]
    fn a_record_without_its_description_names_the_uid_alone() {
        let mut roles = text_roles(&us());
        assert_eq!(owner(&us().uid, &roles), us());
        assert_eq!(owner(&us().uid, &BTreeSet::new()), Owner { uid: us().uid, ..Owner::default() });
        // Two descriptions: whichever is meant.
        roles.extend(text_roles(&Owner { admin: "shop/other".into(), ..us() }));
        assert_eq!(owner(&us().uid, &roles).admin, "");
        assert_eq!(text_roles_of(&us().uid, &roles).len(), 2);
    }

    #[test]
    fn a_database_of_any_name_is_recognized_among_those_that_exist() {
        let long = "ü".repeat(60);
        let all = [long.clone(), "dev".to_owned()];
        assert_eq!(database_of(&database_role(&long), &all), Some(long.clone()));
        assert_eq!(database_of(&database_role("gone"), &all), Some("gone".to_owned()));
        assert_eq!(database_of(&database_role(&long), &[]), None);
        assert_eq!(database_of("reader", &all), None);
    }

    proptest! {
        #[test]
        fn every_record_comes_back(uid in ".{0,40}", admin in ".{0,300}", cluster in ".{0,100}") {
            let record = Owner { uid: uid.clone(), admin, cluster, ..Owner::default() };
            let mut roles = text_roles(&record);
            for role in roles.iter().chain([&owner_role(&uid)]) {
                prop_assert_eq!(role_fault(role), None);
            }
            roles.extend(text_roles(&us()));
            prop_assert_eq!(owner(&uid, &roles), record);
            // One that is too long is hashed.
            if OWNER.len() + written(&uid).len() <= MAX_ROLE_BYTES {
                prop_assert_eq!(owner_uid(&owner_role(&uid)), Some(uid));
            }
        }
    }
}
