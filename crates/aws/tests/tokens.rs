//! Tokens for RDS are those of botocore: `tokens.json` was written by botocore 1.44.8, at 2025-11-30T00:00:00Z with the key
//! `AKIDEXAMPLE` and the secret `SECRET`.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rolecall_aws::Credentials;
use rolecall_aws::rds_token::{Target, token};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    user: String,
    session: Option<String>,
    host: String,
    port: u16,
    region: String,
    token: String,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("tokens.json")).unwrap()
}

/// What stands before the query, and its parameters.
fn parts(token: &str) -> (&str, BTreeMap<&str, &str>) {
    let (front, query) = token.split_once('?').unwrap();
    (front, query.split('&').map(|pair| pair.split_once('=').unwrap()).collect())
}

fn signed(case: &Case) -> String {
    let credentials = Credentials::new("AKIDEXAMPLE", "SECRET", case.session.clone(), None, "test");
    let target = Target {
        host: case.host.clone(),
        port: case.port,
        user: case.user.clone(),
        region: case.region.clone(),
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_460_800);
    let token = token(&target, &credentials, at).unwrap();
    secrecy::ExposeSecret::expose_secret(&token).to_owned()
}

#[test]
fn they_are_those_of_botocore_whatever_the_name() {
    let cases = cases();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let ours = signed(&case);
        assert_eq!(parts(&ours), parts(&case.token), "{}", case.user);
    }
}

/// Written down elsewhere, too: the beginnings of signatures.
#[test]
fn known_signatures() {
    for (user, begins) in [
        ("alice", "197ff8cf6047"),
        ("alice@example.com", "acecb3e22545"),
        ("a+b@x.com", "f225e4e53730"),
        ("a&b", "5d455e2cd943"),
    ] {
        let case = cases().into_iter().find(|case| case.user == user).unwrap();
        let ours = signed(&case);
        assert!(parts(&ours).1["X-Amz-Signature"].starts_with(begins), "{user}");
    }
}
