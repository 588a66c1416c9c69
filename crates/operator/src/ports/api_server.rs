//! The API server, for writing, and for reading what no watch covers.

use std::fmt::{self, Debug};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::Event;
use serde_json::Value;

/// The API server, for writing, and for reading single objects. Objects are passed as JSON: the caller knows their
/// types.
pub trait ApiServer: Debug + Send + Sync {
    /// Reads an object.
    ///
    /// # Errors
    ///
    /// What the API server answered (404 where there is none), or that it did not.
    fn get<'a>(&'a self, at: &'a Address) -> BoxFuture<'a, kube::Result<String>>;

    /// Writes an object, and returns it as it is afterwards. After an error it may have been written nevertheless.
    ///
    /// # Errors
    ///
    /// What the API server answered, or that it did not.
    fn write<'a>(&'a self, at: &'a Address, write: Write) -> BoxFuture<'a, kube::Result<String>>;

    /// Publishes an event.
    ///
    /// # Errors
    ///
    /// What the API server answered, or that it did not.
    fn publish<'a>(&'a self, event: &'a Published) -> BoxFuture<'a, kube::Result<()>>;
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The collection that it is in: `/apis/rolecall.dev/v1alpha1/namespaces/shop/databaseusers`.
    pub collection: String,
    /// Its name.
    pub name: String,
}

impl Address {
    /// Where an object of this kind, namespace and name is.
    pub fn of<K: Resource<DynamicType = ()>>(namespace: &str, name: impl Into<String>) -> Self {
        Self { collection: K::url_path(&(), Some(namespace)), name: name.into() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.name)
    }
}

/// A write to one object.
#[derive(Clone)]
pub enum Write {
    /// Creates it.
    Create(Value),
    /// Replaces it; its resource version must be the one that was read.
    Replace(Value),
    /// Makes its status this one: server-side apply, by force. Where a uid or a resource version is given, the object
    /// must have it.
    ApplyStatus(Value),
    /// Merges this into it. Where a uid or a resource version is given, the object must have it.
    Merge(Value),
    /// Deletes it, where it has this uid.
    Delete {
        /// The uid; `None`: whatever it is.
        uid: Option<String>,
    },
}

impl Debug for Write {
    /// What is written may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create(_) => "Create",
            Self::Replace(_) => "Replace",
            Self::ApplyStatus(_) => "ApplyStatus",
            Self::Merge(_) => "Merge",
            Self::Delete { .. } => "Delete",
        })
    }
}

/// An event about an object.
pub struct Published {
    /// The event.
    pub event: Event,
    /// The object.
    pub about: ObjectReference,
}

impl Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.event.reason)
    }
}
