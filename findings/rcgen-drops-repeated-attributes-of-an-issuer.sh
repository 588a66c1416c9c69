#!/usr/bin/env bash
# rcgen 0.14: an issuer's name that holds one attribute twice loses one of the two.
#
# Seen: a CA with the subject DC=com, DC=example, CN=Users CA (as directories make them), read by Issuer::from_ca_cert_pem:
# what it signs names the issuer DC=..., CN=Users CA with a single DC, so that the chain does not verify. The library keeps a
# name as a map from attribute to value.
# Follows for whoever signs with a CA that somebody else made: carry the subject's DER byte for byte.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p app/src
cat >app/Cargo.toml <<'T'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
rcgen = { version = "=0.14.10", default-features = false, features = ["ring", "pem", "x509-parser"] }
T
cat >app/src/main.rs <<'R'
use rcgen::{CertificateParams, Issuer, KeyPair};
fn main() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), key).unwrap();
    let leaf = CertificateParams::new(vec!["shopper".to_owned()]).unwrap();
    print!("{}", leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().pem());
}
R
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key 2>/dev/null
openssl req -x509 -key ca.key -subj '/DC=com/DC=example/CN=Users CA' -days 2 -out ca.crt
cargo run --quiet --manifest-path app/Cargo.toml >leaf.crt
subject=$(openssl x509 -in ca.crt -noout -subject -nameopt RFC2253)
issuer=$(openssl x509 -in leaf.crt -noout -issuer -nameopt RFC2253)
verified=$(openssl verify -CAfile ca.crt leaf.crt 2>&1 || true)
printf 'CA:   %s\nleaf: %s\n%s\n' "$subject" "$issuer" "$verified"
[ "$subject" = "subject=CN=Users CA,DC=example,DC=com" ] || exit 1
[ "$(grep -o 'DC=' <<<"$issuer" | wc -l)" = 1 ] && grep -q 'unable to get local issuer certificate' <<<"$verified"
