//! What goes wrong on the way, and what is said about it.

use std::net::Ipv4Addr;

use rolecall_aws_testbed::sigv4::Keys;
use tokio::net::TcpListener;

use crate::bench::{Bench, CLUSTER, ROLE, SECRET, SESSION, keys, set};

/// What is set up and does not work is an error: nobody else's identity is taken instead.
#[tokio::test]
async fn a_refused_web_identity_is_not_replaced_by_another_identity() {
    let bench = Bench::start().await;
    let pod = bench.pod_identity(bench.front.trust_pod("pod"), "pod");
    for (token, role, code) in [
        ("secret-of-a-stranger", ROLE, "InvalidIdentityToken"),
        ("secret-of-the-pod", "arn:aws:iam::123456789012:role/other", "AccessDenied"),
    ] {
        bench.front.trust_web_identity("secret-of-the-pod", ROLE);
        let mut variables = [bench.irsa(token), pod.clone()].concat();
        variables.extend(set([("AWS_ROLE_ARN", role), ("AWS_EC2_METADATA_DISABLED", "false")]));
        let answer = bench.run(CLUSTER, &variables).await;
        let error = answer.error();
        assert!(error.contains("getting AWS credentials") && error.contains(code), "{error}");
        assert!(!error.contains(token), "{error}");
    }
    let calls = bench.front.calls();
    assert!(calls.iter().all(|call| call.action == "AssumeRoleWithWebIdentity"), "{calls:?}");
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn a_refused_pod_is_not_replaced_by_the_node() {
    let bench = Bench::start().await;
    let url = bench.front.trust_pod("of-the-pod");
    let mut variables = bench.pod_identity(url, "secret-of-a-stranger");
    variables.extend(set([("AWS_EC2_METADATA_DISABLED", "false")]));
    let answer = bench.run(CLUSTER, &variables).await;
    let error = answer.error();
    assert!(error.contains("403") && error.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{error}");
    assert!(!error.contains("secret-of-a-stranger"), "{error}");
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn a_token_that_is_not_there_is_named() {
    let bench = Bench::start().await;
    let mut variables = bench.irsa("of-the-pod");
    variables.extend(set([("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")]));
    let answer = bench.run(CLUSTER, &variables).await;
    assert!(answer.error().contains("AWS_WEB_IDENTITY_TOKEN_FILE=/nowhere/token"), "{answer:?}");
}

#[tokio::test]
async fn a_profile_that_is_not_there_is_named() {
    let bench = Bench::start().await;
    let file = bench.file("credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = B\n");
    let chosen = set([("AWS_PROFILE", "wrok"), ("AWS_SHARED_CREDENTIALS_FILE", &file)]);
    let answer = bench.run(CLUSTER, &chosen).await;
    assert!(answer.error().contains("wrok"), "{answer:?}");
    assert_eq!(bench.front.calls(), []);
}

#[tokio::test]
async fn half_a_key_is_named_and_not_shown() {
    let bench = Bench::start().await;
    let answer = bench.run(CLUSTER, &set([("AWS_ACCESS_KEY_ID", "AKIDHALF")])).await;
    let error = answer.error();
    assert!(error.contains("AWS_ACCESS_KEY_ID") && !error.contains("AKIDHALF"), "{error}");
}

/// A network policy that drops packets looks like this.
#[tokio::test]
async fn who_never_answers_is_waited_for_a_bounded_time() {
    let bench = Bench::start().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/v1/credentials", silent.local_addr().unwrap());
    // What nobody accepts is connected all the same, by the kernel.
    let answer = bench.run(CLUSTER, &bench.pod_identity(url, "of-the-pod")).await;
    assert!(answer.error().contains("getting AWS credentials"), "{answer:?}");
    assert!(answer.error().contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"), "{answer:?}");
    // What it allows itself is 15 s, for two who ask at the same time; the rest is for a slow machine.
    assert!(answer.seconds < 29, "{answer:?}");
}

#[tokio::test]
async fn a_refused_login_says_what_to_do() {
    let bench = Bench::start().await;
    let answer = bench.run("warehose", &keys()).await;
    let error = answer.error();
    assert!(error.contains("\"warehose\"") && error.contains("(AWS ClusterNotFound)"), "{error}");
    assert!(error.contains("auth.awsIam.clusterIdentifier"), "{error}");

    // Once is enough: who asks at the same time takes that answer.
    bench.front.throttle_next(1);
    let answer = bench.run(CLUSTER, &keys()).await;
    let error = answer.error();
    assert!(error.contains("Rate exceeded (AWS Throttling)") && error.contains("tried again"), "{error}");

    let bench = Bench::start().await;
    bench.front.add_keys(Keys::new("AKIDSET", SECRET, Some(SESSION)), Some(&["somebody-else"]));
    let answer = bench.run(CLUSTER, &keys()).await;
    let error = answer.error();
    assert!(error.contains("(AWS AccessDenied)"), "{error}");
    let arn = "arn:aws:redshift:eu-west-1:<account>";
    let allow = format!(
        "allow redshift:GetClusterCredentials on {arn}:dbuser:{CLUSTER}/rolecall-admin and {arn}:dbname:{CLUSTER}/*"
    );
    assert!(error.contains(&allow), "{error}");
}

/// Keys that were rotated away, and a session token that belongs to others.
#[tokio::test]
async fn keys_that_are_not_good_are_refused_by_name() {
    let bench = Bench::start().await;
    for (variable, value, code) in [
        ("AWS_ACCESS_KEY_ID", "AKIDGONE", "InvalidClientTokenId"),
        ("AWS_SESSION_TOKEN", "of-another-session", "InvalidClientTokenId"),
        ("AWS_SECRET_ACCESS_KEY", "hunter3", "SignatureDoesNotMatch"),
    ] {
        let answer = bench.run(CLUSTER, &[keys(), set([(variable, value)])].concat()).await;
        let error = answer.error();
        assert!(error.contains(&format!("(AWS {code})")), "{error}");
        assert!(!error.contains("hunter"), "{error}");
        assert!(!error.contains("of-another-session"), "{error}");
    }
}

/// The SDK refuses FIPS together with the address of a double, so that this is how it shows that STS is asked with it.
#[tokio::test]
async fn whoever_wants_fips_gets_nothing_from_another_endpoint_of_sts() {
    let bench = Bench::start().await;
    bench.front.trust_web_identity("of-the-pod", ROLE);
    let mut variables = bench.irsa("of-the-pod");
    variables.extend(set([("AWS_USE_FIPS_ENDPOINT", "true")]));
    let answer = bench.run(CLUSTER, &variables).await;
    assert!(answer.error().contains("FIPS"), "{answer:?}");
    assert!(bench.front.calls().is_empty(), "{:?}", bench.front.calls());
}
