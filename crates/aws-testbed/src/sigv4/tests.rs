//! The verifier against what botocore signed, and against the same after a change.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Expected, Keyring, Keys, Refused, Request, timestamp, verify_rds_token, verify_request};

const VECTORS: &str = include_str!("../../vectors/botocore.json");
const HOST: &str = "db.abc.eu-west-1.rds.amazonaws.com:5432";

#[derive(Deserialize)]
struct Vectors {
    tokens: Vec<Token>,
    requests: Vec<Signed>,
}

#[derive(Clone, Deserialize)]
struct Token {
    user: String,
    host: String,
    region: String,
    session_token: Option<String>,
    at: String,
    token: String,
}

#[derive(Clone, Deserialize)]
struct Signed {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
    service: String,
    region: String,
    session_token: Option<String>,
    at: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(VECTORS).unwrap()
}

fn keyring(session_token: Option<&str>) -> Keyring {
    Keyring::new([Keys::new("AKIDEXAMPLE", "SECRET", session_token)])
}

impl Token {
    fn verify(&self) -> Result<(), Refused> {
        self.verify_at(SignedDuration::from_mins(1))
    }

    fn verify_at(&self, age: SignedDuration) -> Result<(), Refused> {
        let now = timestamp(&self.at).unwrap() + age;
        let keyring = keyring(self.session_token.as_deref());
        verify_rds_token(&self.token, &self.user, &self.host, &self.region, &keyring, now)
    }

    /// The first vector with a part of its text replaced.
    fn with(from: &str, to: &str) -> Self {
        let mut token = alice();
        assert!(token.token.contains(from), "{from}");
        token.token = token.token.replace(from, to);
        token
    }
}

impl Signed {
    fn verify_with(&self, keyring: &Keyring, now: Timestamp) -> Result<String, Refused> {
        let headers: Vec<_> = self.headers.clone().into_iter().collect();
        let request = Request {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            body: self.body.as_bytes(),
        };
        let host =
            vectors().requests.iter().find(|one| one.name == self.name).unwrap().headers["host"].clone();
        let expected = Expected { service: &self.service, region: &self.region, host: &host, now };
        verify_request(&request, keyring, &expected)
    }

    fn verify(&self) -> Result<String, Refused> {
        self.verify_with(&keyring(self.session_token.as_deref()), timestamp(&self.at).unwrap())
    }
}

fn alice() -> Token {
    vectors().tokens.into_iter().next().unwrap()
}

fn call() -> Signed {
    vectors().requests.into_iter().next().unwrap()
}

fn another(what: &'static str, found: &str, expected: &str) -> Result<(), Refused> {
    Err(super::other(what, found, expected))
}

#[test]
fn tokens_of_botocore_are_accepted_whatever_the_name() {
    let tokens = vectors().tokens;
    assert!(tokens.len() >= 12);
    for token in tokens {
        assert_eq!(token.verify(), Ok(()), "{}", token.user);
    }
}

#[test]
fn the_vectors_are_those_of_the_documents() {
    let begins = [
        ("alice", "197ff8cf6047"),
        ("alice@example.com", "acecb3e22545"),
        ("a+b@x.com", "f225e4e53730"),
        ("a&b", "5d455e2cd943"),
    ];
    let tokens = vectors().tokens;
    for (user, signature) in begins {
        let token = tokens.iter().find(|token| token.user == user).unwrap();
        assert!(token.token.contains(&format!("X-Amz-Signature={signature}")), "{user}");
    }
}

#[test]
fn a_token_is_for_one_user() {
    let token = Token { user: "bob".to_owned(), ..alice() };
    assert_eq!(token.verify(), another("user", "alice", "bob"));
    let changed = Token { user: "bob".to_owned(), ..Token::with("DBUser=alice", "DBUser=bob") };
    assert!(matches!(changed.verify(), Err(Refused::Signature { .. })));
}

#[test]
fn a_token_is_for_one_host_and_port() {
    let elsewhere = Token { host: HOST.replace("5432", "5433"), ..alice() };
    assert_eq!(elsewhere.verify(), another("host", HOST, &HOST.replace("5432", "5433")));
    let changed = Token { host: HOST.replace("5432", "5433"), ..Token::with(":5432/", ":5433/") };
    assert!(matches!(changed.verify(), Err(Refused::Signature { .. })));
}

#[test]
fn a_token_is_for_one_region_and_service() {
    let token = Token { region: "us-east-1".to_owned(), ..alice() };
    assert_eq!(token.verify(), another("region", "eu-west-1", "us-east-1"));
    assert_eq!(Token::with("%2Frds-db%2F", "%2Frds%2F").verify(), another("service", "rds", "rds-db"));
}

#[test]
fn a_token_lives_fifteen_minutes() {
    assert_eq!(alice().verify_at(SignedDuration::from_secs(900)), Ok(()));
    assert!(matches!(alice().verify_at(SignedDuration::from_secs(901)), Err(Refused::Expired(_))));
    assert_eq!(alice().verify_at(SignedDuration::from_secs(-300)), Ok(()));
    assert!(matches!(alice().verify_at(SignedDuration::from_secs(-301)), Err(Refused::NotYetValid(_))));
    // The life itself is signed.
    let longer = Token::with("X-Amz-Expires=900", "X-Amz-Expires=90000");
    assert!(matches!(longer.verify(), Err(Refused::Signature { .. })));
    assert_eq!(Token::with("X-Amz-Expires=900", "X-Amz-Expires=0").verify(), Err(Refused::TooLong(0)));
}

#[test]
fn a_token_needs_the_secret_and_the_session_token_of_its_key() {
    let token = alice();
    let now = timestamp(&token.at).unwrap();
    let verify =
        |keys: Keys| verify_rds_token(&token.token, "alice", HOST, "eu-west-1", &Keyring::new([keys]), now);
    let session = Some("SESSION/+=");
    assert_eq!(verify(Keys::new("AKIDEXAMPLE", "SECRET", session)), Ok(()));
    let wrong = verify(Keys::new("AKIDEXAMPLE", "WRONG", session));
    assert!(matches!(wrong, Err(Refused::Signature { .. })));
    assert_eq!(
        verify(Keys::new("AKIDOTHER", "SECRET", session)),
        Err(Refused::UnknownKey("AKIDEXAMPLE".into()))
    );
    assert_eq!(verify(Keys::new("AKIDEXAMPLE", "SECRET", Some("old"))), Err(Refused::SessionToken));
    assert_eq!(verify(Keys::new("AKIDEXAMPLE", "SECRET", None)), Err(Refused::SessionToken));
    let without = "&X-Amz-Security-Token=SESSION%2F%2B%3D";
    assert_eq!(Token::with(without, "").verify(), Err(Refused::SessionToken));
}

#[test]
fn a_token_with_an_unescaped_name_is_refused() {
    for name in ["a+b", "a b", "a%b", "ü"] {
        let token = Token::with("DBUser=alice", &format!("DBUser={name}"));
        assert_eq!(token.verify(), Err(Refused::NotEncoded(name.to_owned())));
    }
    // What follows an unescaped `&` is a parameter of its own, so that another user was signed.
    let token = Token { user: "a&b".to_owned(), ..Token::with("DBUser=alice", "DBUser=a&b") };
    assert!(matches!(token.verify(), Err(Refused::Signature { .. })));
}

#[test]
fn a_token_names_everything_once() {
    let twice = Token::with("DBUser=alice", "DBUser=alice&DBUser=alice");
    assert!(matches!(twice.verify(), Err(Refused::Signature { .. })));
    let dates = Token::with("X-Amz-Expires=900", "X-Amz-Expires=900&X-Amz-Expires=900");
    assert_eq!(dates.verify(), Err(Refused::Repeated("X-Amz-Expires".to_owned())));
    let missing = Token::with("X-Amz-Expires=900&", "");
    assert_eq!(missing.verify(), Err(Refused::Missing("X-Amz-Expires")));
    let algorithm = Token::with("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1");
    assert_eq!(algorithm.verify(), Err(Refused::Algorithm("AWS4-HMAC-SHA1".to_owned())));
    let action = Token::with("Action=connect", "Action=drop");
    assert!(matches!(action.verify(), Err(Refused::Signature { .. })));
}

#[test]
fn requests_of_botocore_are_accepted() {
    for request in vectors().requests {
        assert_eq!(request.verify(), Ok("AKIDEXAMPLE".to_owned()), "{}", request.name);
    }
}

#[test]
fn a_request_that_was_changed_is_refused() {
    let changes: [fn(&mut Signed); 5] = [
        |request| request.body = request.body.replace("AutoCreate=false", "AutoCreate=true"),
        |request| request.method = "PUT".to_owned(),
        |request| request.path = "/other".to_owned(),
        |request| request.query = "a=b".to_owned(),
        |request| drop(request.headers.insert("content-type".to_owned(), "text/plain".to_owned())),
    ];
    for change in changes {
        let mut request = call();
        change(&mut request);
        assert!(matches!(request.verify(), Err(Refused::Signature { .. })));
    }
}

#[test]
fn a_request_is_for_one_host_region_and_service() {
    let mut request = call();
    request.headers.insert("host".to_owned(), "redshift.eu-west-1.amazonaws.com:443".to_owned());
    let found = request.verify().unwrap_err();
    assert!(matches!(found, Refused::SignedForAnother { what: "host", .. }));
    let request = Signed { region: "us-east-1".to_owned(), ..call() };
    assert!(matches!(request.verify(), Err(Refused::SignedForAnother { what: "region", .. })));
    let request = Signed { service: "sts".to_owned(), ..call() };
    assert!(matches!(request.verify(), Err(Refused::SignedForAnother { what: "service", .. })));
}

#[test]
fn the_clocks_of_a_request_may_be_five_minutes_apart() {
    let request = call();
    let keyring = keyring(Some("SESSION/+="));
    let verify = |seconds| {
        request.verify_with(&keyring, timestamp(&request.at).unwrap() + SignedDuration::from_secs(seconds))
    };
    assert!(verify(300).is_ok() && verify(-300).is_ok());
    assert!(matches!(verify(301), Err(Refused::Expired(_))));
    assert!(matches!(verify(-301), Err(Refused::NotYetValid(_))));
    // The scope of the key names the day once more.
    let mut request = call();
    request.headers.insert("x-amz-date".to_owned(), "20251129T235959Z".to_owned());
    assert!(matches!(request.verify(), Err(Refused::SignedForAnother { what: "date", .. })));
}

#[test]
fn amazon_headers_must_be_signed() {
    let mut request = call();
    request.headers.insert("x-amz-target".to_owned(), "anything".to_owned());
    assert_eq!(request.verify(), Err(Refused::NotSigned("x-amz-target".to_owned())));
    let mut request = call();
    request.headers.remove("x-amz-security-token");
    assert_eq!(request.verify(), Err(Refused::SessionToken));
    let mut request = call();
    request.headers.remove("authorization");
    assert_eq!(request.verify(), Err(Refused::Missing("authorization")));
}
