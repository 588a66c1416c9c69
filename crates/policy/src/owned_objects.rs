//! What becomes of what a user owns when it is dropped.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `options.ownedObjects` of a role, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", deny_unknown_fields)]
pub enum OwnedObjects {
    /// The user keeps them, and is kept for them.
    Keep {},
    /// They go to this role, and the user is dropped.
    ReassignTo {
        /// The role of the server.
        role: String,
    },
}

/// What several roles of a user say together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedObjectsDecision {
    /// Who gets them; `None`: the user keeps them.
    pub reassign_to: Option<String>,
    /// What the roles say that say something.
    pub said_by: Vec<OwnedObjectsOption>,
}

/// What one role says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnedObjectsOption {
    /// The role's name.
    pub role: String,
    /// Its option.
    pub owned_objects: OwnedObjects,
}

impl OwnedObjectsDecision {
    /// What contributing roles say together: they go to another role where all that say something name the same one.
    /// Who keeps them loses nothing, so that `Keep` wins, and so does disagreement.
    pub fn combine(said_by: Vec<OwnedObjectsOption>) -> Self {
        let wanted: BTreeSet<Option<&str>> =
            said_by.iter().map(|said| said.owned_objects.reassign_to()).collect();
        let reassign_to = match wanted.len() {
            1 => wanted.first().copied().flatten().map(str::to_owned),
            _ => None,
        };
        Self { reassign_to, said_by }
    }

    /// Does no role say anything?
    pub fn is_silent(&self) -> bool {
        self.said_by.is_empty()
    }
}

impl OwnedObjects {
    /// Who gets them.
    pub fn reassign_to(&self) -> Option<&str> {
        match self {
            Self::Keep {} => None,
            Self::ReassignTo { role } => Some(role),
        }
    }
}

impl fmt::Display for OwnedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep {} => f.write_str("Keep"),
            Self::ReassignTo { role } => write!(f, "ReassignTo {role}"),
        }
    }
}

impl fmt::Display for OwnedObjectsDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reassign_to {
            Some(role) => write!(f, "ReassignTo {role}")?,
            None => f.write_str("Keep")?,
        }
        let said: Vec<String> =
            self.said_by.iter().map(|said| format!("{} {}", said.role, said.owned_objects)).collect();
        write!(f, " ({})", said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(said: &[Option<&str>]) -> OwnedObjectsDecision {
        let options = said.iter().enumerate().map(|(number, role)| OwnedObjectsOption {
            role: format!("r{number}"),
            owned_objects: match role {
                Some(role) => OwnedObjects::ReassignTo { role: (*role).to_owned() },
                None => OwnedObjects::Keep {},
            },
        });
        OwnedObjectsDecision::combine(options.collect())
    }

    #[test]
    fn objects_go_to_another_role_only_where_all_that_say_something_agree() {
        assert_eq!(decided(&[]).reassign_to, None);
        assert_eq!(decided(&[Some("a")]).reassign_to.as_deref(), Some("a"));
        assert_eq!(decided(&[Some("a"), Some("a")]).reassign_to.as_deref(), Some("a"));
        for said in [[Some("a"), Some("b")], [Some("a"), None], [None, None]] {
            assert_eq!(decided(&said).reassign_to, None, "{said:?}");
        }
        assert_eq!(decided(&[Some("a"), None]).to_string(), "Keep (r0 ReassignTo a, r1 Keep)");
        assert!(decided(&[]).is_silent());
    }

    #[test]
    fn it_is_written_as_in_the_custom_resource() {
        let read = |text: &str| serde_json::from_str::<OwnedObjects>(text);
        assert_eq!(read(r#"{"policy": "Keep"}"#).unwrap(), OwnedObjects::Keep {});
        let to = read(r#"{"policy": "ReassignTo", "role": "graveyard"}"#).unwrap();
        assert_eq!(to.reassign_to(), Some("graveyard"));
        for text in [r#"{"policy": "ReassignTo"}"#, r#"{"policy": "Keep", "role": "x"}"#, r#"{"role": "x"}"#]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
