//! Whose an account is, going by the record that it carries.

use crate::Owner;
use crate::sets::SetRecord;

/// What the record of a cluster without a name begins with: what follows distinguishes it from other clusters without
/// one.
pub const UNNAMED_CLUSTER: &str = "unnamed:";

/// Whose something is, as one DatabaseAdmin sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It carries the record of this very DatabaseAdmin.
    Ours,
    /// It carries that of one with the same name, in the same namespace of the same cluster, which this one replaced:
    /// it was created again from the same manifests. Nobody else will end it.
    Predecessors,
    /// It carries that of one with the same name and namespace, and it is not known whether it was in this cluster.
    Unclear,
    /// It carries the record of another DatabaseAdmin.
    Others,
}

impl Claim {
    /// May we end it without being asked?
    pub fn is_ours_to_end(self) -> bool {
        matches!(self, Self::Ours | Self::Predecessors)
    }
}

impl Owner {
    /// Whose is the account or set that carries this record?
    pub fn claim(&self, record: &Self) -> Claim {
        if self.uid == record.uid {
            return Claim::Ours;
        }
        if self.admin.is_empty() || self.admin != record.admin {
            return Claim::Others;
        }
        match (Cluster::of(&self.cluster), Cluster::of(&record.cluster)) {
            // Clusters without a name, as older operators recorded them, are not distinguished by it.
            (Cluster::Unknown, _) | (_, Cluster::Unknown) => Claim::Unclear,
            (ours, theirs) if ours == theirs => Claim::Predecessors,
            (Cluster::Named(_), Cluster::Named(_)) => Claim::Others,
            _ => Claim::Unclear,
        }
    }

    /// Is the DatabaseAdmin of this record one of the same cluster, for certain?
    pub fn is_of_same_cluster(&self, record: &Self) -> bool {
        !self.cluster.is_empty() && self.cluster == record.cluster
    }
}

impl SetRecord {
    /// The owner of the set, in the form of an account's record.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: self.uid.clone(),
            admin: self.admin.clone(),
            cluster: self.cluster.clone(),
            ..Owner::default()
        }
    }
}

#[derive(PartialEq, Eq)]
enum Cluster<'a> {
    Named(&'a str),
    Unnamed(&'a str),
    Unknown,
}

impl<'a> Cluster<'a> {
    fn of(text: &'a str) -> Self {
        match text.strip_prefix(UNNAMED_CLUSTER) {
            Some(identity) => Self::Unnamed(identity),
            None if text.is_empty() => Self::Unknown,
            None => Self::Named(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str, admin: &str, cluster: &str) -> Owner {
        Owner { uid: uid.into(), admin: admin.into(), cluster: cluster.into(), ..Owner::default() }
    }

    #[test]
    fn one_of_the_same_cluster_namespace_and_name_was_replaced_by_this_one() {
        let claim = |ours: &str, record: &str| {
            owner("new", "shop/orders", ours).claim(&owner("old", "shop/orders", record))
        };
        for same in ["prod", "unnamed:1"] {
            assert_eq!(claim(same, same), Claim::Predecessors, "{same}");
        }
        assert_eq!(claim("prod", "staging"), Claim::Others);
        let unclear = [("", ""), ("prod", ""), ("unnamed:1", ""), ("unnamed:1", "unnamed:2")];
        for (one, another) in unclear.into_iter().chain([("prod", "unnamed:1")]) {
            assert_eq!(claim(one, another), Claim::Unclear, "{one} {another}");
            assert_eq!(claim(another, one), Claim::Unclear, "{another} {one}");
        }
    }

    #[test]
    fn the_uid_alone_makes_it_ours_and_another_name_somebody_elses() {
        let ours = owner("u", "shop/orders", "prod");
        assert_eq!(ours.claim(&owner("u", "shop/renamed", "other")), Claim::Ours);
        assert_eq!(ours.claim(&owner("v", "shop/other", "prod")), Claim::Others);
        assert_eq!(ours.claim(&owner("v", "hr/orders", "prod")), Claim::Others);
        // A record that somebody wrote by hand may name nobody.
        assert_eq!(owner("u", "", "").claim(&owner("v", "", "")), Claim::Others);
    }
}
