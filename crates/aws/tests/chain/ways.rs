//! Where credentials come from, and in which order.

use crate::bench::{Bench, ROLE, SECRET, SESSION, keys, set};
use crate::metadata::Metadata;

#[tokio::test]
async fn keys_of_the_environment() {
    let bench = Bench::start().await;
    assert_eq!(bench.signed(&keys()).await, ("AKIDSET".to_owned(), vec![]));
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn irsa() {
    let bench = Bench::start().await;
    bench.front.trust_web_identity("of-the-pod", ROLE);
    let (key, calls) = bench.signed(&bench.irsa("of-the-pod")).await;
    assert!(key.starts_with("ASIA"), "{key}");
    assert_eq!(calls, ["AssumeRoleWithWebIdentity"], "one for the whole process");
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn eks_pod_identity() {
    let bench = Bench::start().await;
    let url = bench.front.trust_pod("of-the-pod");
    let (key, calls) = bench.signed(&bench.pod_identity(url, "of-the-pod")).await;
    assert!(key.starts_with("ASIA"), "{key}");
    assert_eq!(calls, ["container"], "one for the whole process");
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn a_profile_with_keys() {
    let bench = Bench::start().await;
    let text = format!(
        "[default]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = other\n\n\
         [work]\naws_access_key_id = AKIDSET\naws_secret_access_key = {SECRET}\naws_session_token = {SESSION}\n"
    );
    let file = bench.file("credentials", &text);
    let chosen = set([("AWS_PROFILE", "work"), ("AWS_SHARED_CREDENTIALS_FILE", &file)]);
    assert_eq!(bench.signed(&chosen).await, ("AKIDSET".to_owned(), vec![]));
    assert_eq!(bench.metadata.connections(), 0);
}

#[tokio::test]
async fn a_profile_with_a_role() {
    let bench = Bench::start().await;
    bench.front.trust_web_identity("of-the-pod", ROLE);
    let token = bench.file("token", "of-the-pod");
    let text = format!("[profile work]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\n");
    let file = bench.file("config", &text);
    let (_, calls) = bench.signed(&set([("AWS_PROFILE", "work"), ("AWS_CONFIG_FILE", &file)])).await;
    assert_eq!(calls, ["AssumeRoleWithWebIdentity"]);
}

/// As for every other program that speaks with AWS.
#[tokio::test]
async fn one_address_for_all_services() {
    let bench = Bench::start().await;
    bench.front.trust_web_identity("of-the-pod", ROLE);
    let mut variables = bench.irsa("of-the-pod");
    let url = bench.front.url();
    variables.extend(set([
        ("AWS_ENDPOINT_URL_REDSHIFT", ""),
        ("AWS_ENDPOINT_URL_STS", ""),
        ("AWS_ENDPOINT_URL", &url),
    ]));
    assert_eq!(bench.signed(&variables).await.1, ["AssumeRoleWithWebIdentity"]);
}

/// Static keys beat IRSA, and IRSA beats Pod Identity: nobody is asked for what is not used.
#[tokio::test]
async fn the_first_one_is_taken() {
    let bench = Bench::start().await;
    bench.front.trust_web_identity("web", ROLE);
    let url = bench.front.trust_pod("pod");
    let pod = [bench.irsa("web"), bench.pod_identity(url.clone(), "pod")].concat();
    assert_eq!(bench.signed(&[pod, keys()].concat()).await, ("AKIDSET".to_owned(), vec![]));

    let bench = Bench::start().await;
    bench.front.trust_web_identity("web", ROLE);
    let pod = [bench.irsa("web"), bench.pod_identity(bench.front.trust_pod("pod"), "pod")].concat();
    assert_eq!(bench.signed(&pod).await.1, ["AssumeRoleWithWebIdentity"]);
}

#[tokio::test]
async fn the_node_is_asked_only_when_that_is_asked_for() {
    let bench = Bench::start().await;
    bench.front.add_keys(Metadata::keys(), None);
    for off in ["", "true", "no"] {
        let answer = bench.run(crate::bench::CLUSTER, &set([("AWS_EC2_METADATA_DISABLED", off)])).await;
        let error = answer.error();
        for named in ["getting AWS credentials", "IRSA", "EKS Pod Identity", "AWS_PROFILE"] {
            assert!(error.contains(named), "{named}: {error}");
        }
        assert_eq!(bench.metadata.connections(), 0, "AWS_EC2_METADATA_DISABLED={off}");
    }
    assert_eq!(bench.front.calls(), []);

    let asked = set([("AWS_EC2_METADATA_DISABLED", "false")]);
    assert_eq!(bench.signed(&asked).await, ("ASIANODE".to_owned(), vec![]));
    assert!(bench.metadata.connections() > 0);
}
