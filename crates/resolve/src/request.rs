//! What exactly a session asks for, as those who approve it read it, and the hash that they approve.

use std::time::Duration;

use rolecall_api::{
    DatabaseAdmin, DatabaseSession, GoDuration, RequestedPermission, RequestedPermissions, RequestedRule,
    RequestedServer, RequestedUser, RequestingSession, SessionRequest,
};
use rolecall_policy::{CanonicalEntry, Mode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Grant, database};

/// What a request is made from.
#[derive(Clone, Copy, Debug)]
pub struct Asks<'a> {
    /// The session.
    pub session: &'a DatabaseSession,
    /// The database user name.
    pub username: &'a str,
    /// The server.
    pub admin: &'a DatabaseAdmin,
    /// What policy gives.
    pub grant: &'a Grant,
    /// The DbObjectImportRules in force for the server.
    pub import_rules: &'a [RequestedRule],
}

/// What a session asks for, with its hash.
pub fn session_request(asks: Asks<'_>) -> SessionRequest {
    let Asks { session, username, admin, grant, import_rules } = asks;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (meta, spec, server) = (&session.metadata, &session.spec, &admin.spec);
    let permissions = grant.has_permissions().then(|| RequestedPermissions {
        allow: entries(&grant.permissions.allow),
        deny: entries(&grant.permissions.deny),
        import_rules: import_rules.to_vec(),
    });
    let mut request = SessionRequest {
        session: RequestingSession {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
        },
        requested_by: text(&spec.requested_by),
        reason: spec.reason.clone(),
        user: RequestedUser { name: spec.user.clone(), username: username.to_owned() },
        server: RequestedServer {
            name: spec.database.clone(),
            uid: text(&admin.metadata.uid),
            protocol: as_text(&database(admin).protocol),
            uri: server.uri.clone(),
            server_name: server.tls.server_name.clone(),
            database_name: spec.database_name.clone(),
        },
        mode: match grant.mode {
            Mode::Disabled => "Disabled",
            Mode::Keep => "Keep",
            Mode::BestEffortDrop => "BestEffortDrop",
        }
        .to_owned(),
        reassign_to: grant.reassign_to.clone(),
        db_roles: grant.db_roles.keys().cloned().collect(),
        permissions,
        duration: duration(session, grant).map(GoDuration::from),
        hash: String::new(),
    };
    request.hash = request_hash(&request);
    request
}

/// How long a session may last: what it asks for, within what policy allows.
fn duration(session: &DatabaseSession, grant: &Grant) -> Option<Duration> {
    let asked = session.spec.ttl.map(GoDuration::get);
    asked.into_iter().chain(grant.max_session_ttl).min()
}

fn entries(entries: &[CanonicalEntry]) -> Vec<RequestedPermission> {
    let entry = |entry: &CanonicalEntry| {
        let privileges = serde_json::to_value(entry).unwrap_or_default();
        RequestedPermission {
            matching: entry.matching.clone(),
            privileges: serde_json::from_value(privileges["privileges"].clone()).unwrap_or_default(),
        }
    };
    entries.iter().map(entry).collect()
}

fn as_text(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The hash of a request, over everything in it but the hash.
pub fn request_hash(request: &SessionRequest) -> String {
    hash_of(&SessionRequest { hash: String::new(), ..request.clone() })
}

/// `sha256:` and the SHA-256 of a value in its canonical form, a field `hash` that is empty left out.
pub fn hash_of(value: &impl serde::Serialize) -> String {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Value::Object(fields) = &mut value
        && fields.get("hash").is_some_and(|hash| hash == "")
    {
        fields.remove("hash");
    }
    let digest = Sha256::digest(canonical_json(&value).as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A value in the canonical form of RFC 8785 (JCS): no blanks, keys sorted by their UTF-16 code units.
///
/// It is our own because the libraries for it make `serde_json` read every number of the program more slowly. What is written
/// here has no fractions, and whole numbers and texts are written by `serde_json` as the RFC wants them.
pub fn canonical_json(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let fields = fields
                .into_iter()
                .map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical_json(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(canonical_json).collect::<Vec<_>>().join(","))
        }
        value => value.to_string(),
    }
}

/// In what a request goes beyond another one, which was approved, database roles and duration left aside: of those a session
/// can have less than policy gives. `None`: in nothing.
pub fn exceeds(now: &SessionRequest, approved: &SessionRequest) -> Option<&'static str> {
    if now.session != approved.session || now.user != approved.user {
        return Some("the user");
    }
    if now.server != approved.server {
        return Some("the server");
    }
    if now.mode != approved.mode {
        return Some("what becomes of the account at the end");
    }
    if now.reassign_to.is_some() && now.reassign_to != approved.reassign_to {
        return Some("who gets what the account owns");
    }
    let none = RequestedPermissions::default();
    let (gives, given) =
        (now.permissions.as_ref().unwrap_or(&none), approved.permissions.as_ref().unwrap_or(&none));
    if gives.allow.is_empty() {
        return None;
    }
    let more = gives.allow.iter().any(|entry| !given.allow.contains(entry))
        || given.deny.iter().any(|entry| !gives.deny.contains(entry));
    if more {
        return Some("the object permissions");
    }
    (gives.import_rules != given.import_rules)
        .then_some("the DbObjectImportRules, which say what the object permissions are for")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(label: &str, privileges: &[&str]) -> RequestedPermission {
        RequestedPermission {
            matching: [("dept".to_owned(), vec![label.to_owned()])].into(),
            privileges: privileges.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn request() -> SessionRequest {
        SessionRequest {
            session: RequestingSession {
                namespace: "shop".into(),
                name: "alice-orders".into(),
                uid: "0b8f3b62-6c7e-4d0e-9d3a-6a1d0f8f2a11".into(),
            },
            requested_by: "alice@example.com".into(),
            reason: Some("INC-1234: Größe".into()),
            user: RequestedUser { name: "alice".into(), username: "alice@example.com".into() },
            server: RequestedServer {
                name: "orders".into(),
                uid: "5f2c0d5e-52a0-4f3e-8e0c-1c8f5f0b7d90".into(),
                protocol: "postgres".into(),
                uri: "orders-db.shop.svc:5432".into(),
                server_name: None,
                database_name: Some("horizon".into()),
            },
            mode: "BestEffortDrop".into(),
            reassign_to: Some("horizon_owner".into()),
            db_roles: vec!["reader".into()],
            permissions: Some(RequestedPermissions {
                allow: vec![entry("hr", &["SELECT"])],
                deny: vec![entry("payroll", &["*"])],
                import_rules: Vec::new(),
            }),
            duration: Some(GoDuration::from_secs(3_600)),
            hash: String::new(),
        }
    }

    /// docs/approvals.md shows it.
    #[test]
    fn the_hash_is_that_of_the_documented_form() {
        let canonical = concat!(
            r#"{"dbRoles":["reader"],"duration":"1h","mode":"BestEffortDrop","#,
            r#""permissions":{"allow":[{"match":{"dept":["hr"]},"privileges":["SELECT"]}],"#,
            r#""deny":[{"match":{"dept":["payroll"]},"privileges":["*"]}],"importRules":[]},"#,
            r#""reason":"INC-1234: Größe","reassignTo":"horizon_owner","requestedBy":"alice@example.com","#,
            r#""server":{"databaseName":"horizon","name":"orders","protocol":"postgres","#,
            r#""uid":"5f2c0d5e-52a0-4f3e-8e0c-1c8f5f0b7d90","uri":"orders-db.shop.svc:5432"},"#,
            r#""session":{"name":"alice-orders","namespace":"shop","uid":"0b8f3b62-6c7e-4d0e-9d3a-6a1d0f8f2a11"},"#,
            r#""user":{"name":"alice","username":"alice@example.com"}}"#
        );
        let mut value = serde_json::to_value(request()).unwrap();
        value.as_object_mut().unwrap().remove("hash");
        assert_eq!(canonical_json(&value), canonical);
        let hash = request_hash(&request());
        assert_eq!(hash, VECTOR);
        let docs = include_str!("../../../docs/approvals.md");
        assert!(docs.contains(canonical) && docs.contains(VECTOR), "docs/approvals.md shows another one");
        // What is stored has its hash.
        assert_eq!(request_hash(&SessionRequest { hash, ..request() }), VECTOR);
    }

    const VECTOR: &str = "sha256:e750bfc9b83987fd8f79d2ce11b0819b266223fe8d5cd1121875a37b304b621e";

    #[test]
    fn the_canonical_form_is_that_of_rfc_8785() {
        let value = json!({"\u{20ac}": "\u{1f}\n\"\\/\u{7f}é", "\r": [1, true, null], "\u{1f600}": {}, "\u{fb33}": "z", "1": ""});
        let canonical = "{\"\\r\":[1,true,null],\"1\":\"\",\"\u{20ac}\":\"\\u001f\\n\\\"\\\\/\u{7f}é\",\"\u{1f600}\":{},\"\u{fb33}\":\"z\"}";
        assert_eq!(canonical_json(&value), canonical);
    }

    #[test]
    fn whatever_changes_the_access_changes_the_hash() {
        type Change = fn(&mut SessionRequest);
        let changes: [Change; 13] = [
            |request| request.session.uid.push('x'),
            |request| request.requested_by.push('x'),
            |request| request.reason = None,
            |request| request.user.username.push('x'),
            |request| request.server.uid.push('x'),
            |request| request.server.uri.push('x'),
            |request| request.server.database_name = None,
            |request| request.mode.push('x'),
            |request| request.reassign_to = None,
            |request| request.db_roles.push("writer".into()),
            |request| request.duration = None,
            |request| request.permissions.as_mut().unwrap().deny.clear(),
            |request| {
                let rule = RequestedRule { name: "r".into(), hash: "sha256:0".into() };
                request.permissions.as_mut().unwrap().import_rules.push(rule);
            },
        ];
        let mut hashes = std::collections::BTreeSet::from([request_hash(&request())]);
        for change in changes {
            let mut changed = request();
            change(&mut changed);
            assert!(hashes.insert(request_hash(&changed)), "{changed:?}");
        }
    }

    #[test]
    fn less_than_was_approved_is_within_it_and_more_is_not() {
        let approved = request();
        let with = |change: fn(&mut SessionRequest)| {
            let mut now = request();
            change(&mut now);
            exceeds(&now, &approved)
        };
        assert_eq!(with(|_| ()), None);
        assert_eq!(with(|now| now.permissions = None), None, "nothing is less");
        let more_denied: fn(&mut SessionRequest) =
            |now| now.permissions.as_mut().unwrap().deny.push(entry("board", &["*"]));
        assert_eq!(with(more_denied), None);
        assert_eq!(
            with(|now| now.permissions.as_mut().unwrap().deny.clear()),
            Some("the object permissions")
        );
        assert_eq!(
            with(|now| now.permissions.as_mut().unwrap().allow.push(entry("board", &["SELECT"]))),
            Some("the object permissions")
        );
        assert_eq!(with(|now| now.server.uri.push('x')), Some("the server"));
        assert_eq!(with(|now| now.user.username.push('x')), Some("the user"));
        for mode in ["Keep", "Disabled"] {
            let mut now = request();
            now.mode = mode.to_owned();
            let what = exceeds(&now, &approved);
            assert_eq!(what, Some("what becomes of the account at the end"), "{mode}");
            assert!(exceeds(&approved, &now).is_some(), "nor the other way round");
        }
        assert_eq!(with(|now| now.reassign_to = None), None, "nobody else gets it");
        assert_eq!(
            with(|now| now.reassign_to = Some("mallory".into())),
            Some("who gets what the account owns")
        );
        let rules = with(|now| {
            let rule = RequestedRule { name: "r".into(), hash: "sha256:0".into() };
            now.permissions.as_mut().unwrap().import_rules.push(rule);
        });
        assert!(rules.is_some_and(|what| what.contains("DbObjectImportRules")));
    }
}
