//! Names of database users that come from another cluster.

/// The database user of somebody who belongs to another cluster: `remote-<username>-<origin>`.
///
/// The name stays as it is where no origin is named or where it is this cluster. The parts are joined plainly,
/// so that names agree with those that Teleport gives on the same database.
pub fn remote_username(username: &str, origin_cluster: &str, this_cluster: &str) -> String {
    if origin_cluster.is_empty() || origin_cluster == this_cluster {
        username.to_owned()
    } else {
        format!("remote-{username}-{origin_cluster}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_cluster_changes_the_name() {
        assert_eq!(remote_username("alice", "", "here"), "alice");
        assert_eq!(remote_username("alice", "here", "here"), "alice");
        assert_eq!(remote_username("alice", "there", "here"), "remote-alice-there");
    }
}
