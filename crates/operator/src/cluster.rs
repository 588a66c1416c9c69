//! Which cluster this is, as the records of accounts call it.
//!
//! A DatabaseAdmin that was created again from the same manifests takes over what its predecessor left, but only where
//! both were in the same cluster. A cluster without a name is identified by the CAs of its API server, which can be
//! read without any right.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use kube::Config;
use rolecall_engine::UNNAMED_CLUSTER;
use sha2::{Digest, Sha256};

/// How much of the hash is recorded, in bytes.
const BYTES: usize = 8;

/// What records call the cluster: its name, otherwise what identifies it; empty where nothing does.
pub fn recorded(name: &str, config: &Config) -> String {
    if !name.is_empty() {
        return name.to_owned();
    }
    // The order in a bundle says nothing.
    let cas: BTreeSet<&Vec<u8>> = config.root_cert.iter().flatten().collect();
    if cas.is_empty() {
        return String::new();
    }
    let mut hash = Sha256::new();
    for ca in cas {
        hash.update(Sha256::digest(ca));
    }
    let mut recorded = UNNAMED_CLUSTER.to_owned();
    for byte in hash.finalize().iter().take(BYTES) {
        // Appending to a String cannot fail.
        let _ = write!(recorded, "{byte:02x}");
    }
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cas: &[&[u8]]) -> Config {
        let mut config = Config::new("https://127.0.0.1:1".parse().unwrap());
        config.root_cert = (!cas.is_empty()).then(|| cas.iter().map(|ca| ca.to_vec()).collect());
        config
    }

    #[test]
    fn a_cluster_without_a_name_is_identified_by_its_cas() {
        let one = recorded("", &config(&[b"a", b"b"]));
        assert!(one.starts_with(UNNAMED_CLUSTER) && one.len() == UNNAMED_CLUSTER.len() + 2 * BYTES, "{one}");
        assert_eq!(one, recorded("", &config(&[b"b", b"a"])));
        assert_ne!(one, recorded("", &config(&[b"a"])));
        assert_eq!(recorded("", &config(&[])), "");
    }

    #[test]
    fn a_name_is_recorded_as_it_is() {
        assert_eq!(recorded("prod", &config(&[b"a"])), "prod");
    }
}
