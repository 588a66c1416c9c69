//! The API calls of AWS, as far as they are there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::{SignedDuration, Timestamp};
use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::Redshift;
use rolecall_aws_testbed::sigv4::{Keys, Request, authorization};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REGION: &str = "eu-west-1";

fn operator() -> Keys {
    Keys::new("AKIDOPERATOR", "secret", Some("session/+="))
}

async fn start() -> (AwsFront, Redshift) {
    let redshift = Redshift::start().await.unwrap();
    let front = AwsFront::start(REGION, operator()).await.unwrap();
    front.add_cluster("shop", redshift.issuer());
    (front, redshift)
}

/// Sends a request and returns the status and the body.
async fn send(front: &AwsFront, text: String) -> (u16, String) {
    let address = front.url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A form, signed with these keys for this service.
async fn call(front: &AwsFront, keys: Option<&Keys>, service: &str, form: &str) -> (u16, String) {
    let host = front.url().trim_start_matches("http://").to_owned();
    let mut headers = vec![
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ("host".to_owned(), host),
        ("x-amz-date".to_owned(), Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()),
    ];
    let mut signed = vec!["content-type", "host", "x-amz-date"];
    if let Some(token) = keys.and_then(|keys| keys.session_token.clone()) {
        headers.push(("x-amz-security-token".to_owned(), token));
        signed.push("x-amz-security-token");
    }
    let request = Request { method: "POST", path: "/", query: "", headers: &headers, body: form.as_bytes() };
    let header = keys.map(|keys| authorization(&request, keys, service, REGION, &signed).unwrap());
    headers.extend(header.map(|header| ("authorization".to_owned(), header)));
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = form.len();
    send(
        front,
        format!("POST / HTTP/1.1\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n{form}"),
    )
    .await
}

fn form(more: &str) -> String {
    format!("Action=GetClusterCredentials&Version=2012-12-01{more}")
}

/// The text of an element.
fn element(body: &str, name: &str) -> String {
    let (_, rest) = body.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {body}"));
    let text = rest.split_once(&format!("</{name}>")).unwrap().0;
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The status and the code of a refusal.
async fn refused(front: &AwsFront, keys: &Keys, more: &str) -> (u16, String) {
    let (status, body) = call(front, Some(keys), "redshift", &form(more)).await;
    (status, element(&body, "Code"))
}

const ALICE: &str = "&DbUser=alice&ClusterIdentifier=shop";

#[tokio::test]
async fn credentials_let_the_user_in_until_they_end() {
    let (front, redshift) = start().await;
    redshift.create_user("alice").unwrap();
    let (status, body) = call(&front, Some(&operator()), "redshift", &form(ALICE)).await;
    assert_eq!(status, 200, "{body}");
    let (user, password) = (element(&body, "DbUser"), element(&body, "DbPassword"));
    assert_eq!(user, "IAM:alice");
    let expires: Timestamp = element(&body, "Expiration").parse().unwrap();
    let life = expires.duration_since(Timestamp::now());
    assert!(life > SignedDuration::from_secs(890) && life <= SignedDuration::from_secs(900), "{life}");
    redshift.connect(&user, &password, "dev").await.unwrap();
    redshift.advance(SignedDuration::from_secs(901));
    let error = redshift.connect(&user, &password, "dev").await.map(drop).unwrap_err();
    assert_eq!(error.sqlstate(), Some("28000"));
    let call = &front.calls()[0];
    assert_eq!(call.access_key_id.as_deref(), Some("AKIDOPERATOR"));
    assert_eq!((call.parameters["DbUser"].as_str(), &call.refused), ("alice", &None));
}

#[tokio::test]
async fn what_creates_users_or_joins_groups_is_refused() {
    let (front, _redshift) = start().await;
    let create = format!("{ALICE}&AutoCreate=true");
    assert_eq!(refused(&front, &operator(), &create).await, (403, "AccessDenied".to_owned()));
    let groups = format!("{ALICE}&DbGroups.member.1=admins");
    assert_eq!(refused(&front, &operator(), &groups).await, (403, "AccessDenied".to_owned()));
    let (status, _) =
        call(&front, Some(&operator()), "redshift", &form(&format!("{ALICE}&AutoCreate=false"))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn names_and_durations_have_bounds() {
    let (front, _redshift) = start().await;
    let long = "x".repeat(65);
    for user in ["1a", "a%3Ab", "a%2Fb", "PUBLIC", "tag", "user", "a%20b", "%C3%BC", &long] {
        let more = format!("&DbUser={user}&ClusterIdentifier=shop");
        assert_eq!(
            refused(&front, &operator(), &more).await,
            (400, "InvalidParameterValue".to_owned()),
            "{user}"
        );
    }
    for duration in ["899", "3601", "x"] {
        let more = format!("{ALICE}&DurationSeconds={duration}");
        assert_eq!(refused(&front, &operator(), &more).await, (400, "InvalidParameterValue".to_owned()));
    }
    let other = "&DbUser=alice&ClusterIdentifier=other";
    assert_eq!(refused(&front, &operator(), other).await, (404, "ClusterNotFound".to_owned()));
    assert_eq!(refused(&front, &operator(), "&DbUser=alice").await, (400, "MissingParameter".to_owned()));
    front.add_domain("shop.example.com", "shop");
    let domain = form("&DbUser=alice%2Btest%40example.com&CustomDomainName=shop.example.com");
    let (status, body) = call(&front, Some(&operator()), "redshift", &domain).await;
    assert_eq!((status, element(&body, "DbUser").as_str()), (200, "IAM:alice+test@example.com"));
}

#[tokio::test]
async fn signatures_are_verified() {
    let (front, _redshift) = start().await;
    let refused = async |keys: Option<&Keys>, service: &str| {
        let (status, body) = call(&front, keys, service, &form(ALICE)).await;
        (status, element(&body, "Code"))
    };
    let wrong = Keys { secret: "other".to_owned(), ..operator() };
    assert_eq!(refused(Some(&wrong), "redshift").await, (403, "SignatureDoesNotMatch".to_owned()));
    let unknown = Keys { access_key_id: "AKIDNOBODY".to_owned(), ..operator() };
    assert_eq!(refused(Some(&unknown), "redshift").await, (403, "InvalidClientTokenId".to_owned()));
    let without = Keys { session_token: None, ..operator() };
    assert_eq!(refused(Some(&without), "redshift").await, (403, "InvalidClientTokenId".to_owned()));
    assert_eq!(refused(Some(&operator()), "sts").await, (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(refused(None, "redshift").await, (403, "MissingAuthenticationToken".to_owned()));
    front.advance(SignedDuration::from_mins(6));
    assert_eq!(refused(Some(&operator()), "redshift").await, (400, "RequestExpired".to_owned()));
}

#[tokio::test]
async fn keys_may_be_for_some_users_only() {
    let (front, _redshift) = start().await;
    let alice = Keys::new("AKIDALICE", "secret", None);
    front.add_keys(alice.clone(), Some(&["alice"]));
    let bob = "&DbUser=bob&ClusterIdentifier=shop";
    assert_eq!(refused(&front, &alice, bob).await, (403, "AccessDenied".to_owned()));
    assert_eq!(call(&front, Some(&alice), "redshift", &form(ALICE)).await.0, 200);
    front.remove_keys("AKIDALICE");
    assert_eq!(refused(&front, &alice, ALICE).await, (403, "InvalidClientTokenId".to_owned()));
}

#[tokio::test]
async fn calls_are_throttled_on_demand() {
    let (front, _redshift) = start().await;
    front.throttle_next(1);
    front.fail_next("UnsupportedOperation", 1);
    assert_eq!(refused(&front, &operator(), ALICE).await, (400, "Throttling".to_owned()));
    assert_eq!(refused(&front, &operator(), ALICE).await, (400, "UnsupportedOperation".to_owned()));
    assert_eq!(call(&front, Some(&operator()), "redshift", &form(ALICE)).await.0, 200);
    let codes: Vec<_> = front.calls().into_iter().map(|call| call.refused).collect();
    assert_eq!(codes, [Some("Throttling".to_owned()), Some("UnsupportedOperation".to_owned()), None]);
}

#[tokio::test]
async fn a_web_identity_becomes_keys_that_end() {
    let (front, _redshift) = start().await;
    let role = "arn:aws:iam::123456789012:role/rolecall";
    front.trust_web_identity("token", role);
    let assume = |token: &str, role: &str| {
        format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={role}&RoleSessionName=r&WebIdentityToken={token}"
        )
    };
    let (status, body) = call(&front, None, "sts", &assume("other", role)).await;
    assert_eq!((status, element(&body, "Code").as_str()), (400, "InvalidIdentityToken"));
    let (status, body) = call(&front, None, "sts", &assume("token", "arn:aws:iam::1:role/other")).await;
    assert_eq!((status, element(&body, "Code").as_str()), (403, "AccessDenied"));
    let (status, body) = call(&front, None, "sts", &assume("token", role)).await;
    assert_eq!(status, 200, "{body}");
    let keys = Keys {
        access_key_id: element(&body, "AccessKeyId"),
        secret: element(&body, "SecretAccessKey"),
        session_token: Some(element(&body, "SessionToken")),
    };
    assert_eq!(call(&front, Some(&keys), "redshift", &form(ALICE)).await.0, 200);
}

#[tokio::test]
async fn the_container_endpoint_gives_keys_to_trusted_pods() {
    let (front, _redshift) = start().await;
    let url = front.trust_pod("pod-token");
    assert!(url.ends_with("/v1/credentials"));
    let get = |token: &str| {
        format!(
            "GET /v1/credentials HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\nconnection: close\r\n\r\n"
        )
    };
    assert_eq!(send(&front, get("other")).await.0, 403);
    let (status, body) = send(&front, get("pod-token")).await;
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let keys = Keys {
        access_key_id: text("AccessKeyId"),
        secret: text("SecretAccessKey"),
        session_token: Some(text("Token")),
    };
    assert_eq!(call(&front, Some(&keys), "redshift", &form(ALICE)).await.0, 200);
    front.advance(SignedDuration::from_secs(1));
}
