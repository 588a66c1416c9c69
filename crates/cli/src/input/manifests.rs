//! Manifests of our kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::bail;
use kube::{Resource, ResourceExt};
use rolecall_api::names::{GROUP, VERSION};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Namespace;
use super::yaml::{self, Document};

/// The objects in these files, and what a reader should know about the reading.
///
/// Objects of other kinds are left out. Those without a namespace belong to the requested one; those of other
/// namespaces are left out.
///
/// # Errors
///
/// A file that cannot be read, an object that does not fit its kind, one that occurs twice, several namespaces
/// if none is requested.
pub fn read(paths: &[PathBuf], namespace: Option<&str>) -> anyhow::Result<(Namespace, Vec<String>)> {
    collect(yaml::documents(paths)?, namespace)
}

/// The objects in these documents; see [`read`].
///
/// # Errors
///
/// As [`read`].
pub fn collect(
    documents: Vec<Document>,
    namespace: Option<&str>,
) -> anyhow::Result<(Namespace, Vec<String>)> {
    let mut found = Found { namespace: namespace.map(str::to_owned), ..Found::default() };
    for document in documents {
        found.take(document)?;
    }
    found.finish()
}

#[derive(Default)]
struct Found {
    namespace: Option<String>,
    objects: Namespace,
    /// Kind, namespace and name, with the place.
    seen: BTreeMap<(String, Option<String>, String), String>,
    other_kinds: BTreeMap<String, usize>,
    other_namespaces: usize,
}

impl Found {
    fn take(&mut self, mut document: Document) -> anyhow::Result<()> {
        if document.value.is_null() {
            return Ok(());
        }
        let text = |key: &str| document.value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind.is_empty() {
            bail!(
                "{}: no kind is written; a manifest has apiVersion, kind, metadata and spec",
                document.place
            );
        }
        if api_version == "v1" && kind == "List" {
            if let Some(Value::Array(items)) = document.value.get_mut("items").map(Value::take) {
                for value in items {
                    self.take(Document { place: document.place.clone(), value })?;
                }
            }
            return Ok(());
        }
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        if group != GROUP {
            if group.is_empty() && matches!(kind.as_str(), "db" | "role" | "user" | "db_object_import_rule") {
                bail!(
                    "{}: kind {kind} is Teleport's; convert it first: kubectl rolecall convert -f {}",
                    document.place,
                    document.place.file
                );
            }
            *self.other_kinds.entry(kind).or_default() += 1;
            return Ok(());
        }
        if api_version != format!("{GROUP}/{VERSION}") {
            bail!("{}: apiVersion {api_version} is not known; write {GROUP}/{VERSION}", document.place);
        }
        match kind.as_str() {
            "DatabaseAdmin" => push(&mut self.objects.admins, &mut self.seen, &document),
            "ProvisioningRole" => push(&mut self.objects.roles, &mut self.seen, &document),
            "DatabaseUser" => push(&mut self.objects.users, &mut self.seen, &document),
            "DbObjectImportRule" => push(&mut self.objects.rules, &mut self.seen, &document),
            "DatabaseSession" => {
                *self.other_kinds.entry(kind).or_default() += 1;
                Ok(())
            }
            _ => bail!(
                "{}: there is no kind {kind} in {api_version}; there are DatabaseAdmin, ProvisioningRole, DatabaseUser, \
                 DbObjectImportRule and DatabaseSession",
                document.place
            ),
        }
    }

    fn finish(mut self) -> anyhow::Result<(Namespace, Vec<String>)> {
        let named: BTreeSet<&str> =
            self.seen.keys().filter_map(|(_, namespace, _)| namespace.as_deref()).collect();
        let name = match (&self.namespace, named.iter().collect::<Vec<_>>().as_slice()) {
            (Some(name), _) => Some(name.clone()),
            (None, []) => None,
            (None, [only]) => Some((**only).to_owned()),
            (None, several) => bail!(
                "the files contain objects of the namespaces {}; say which one with -n",
                several.iter().map(|name| **name).collect::<Vec<_>>().join(", ")
            ),
        };
        let objects = &mut self.objects;
        self.other_namespaces += keep(&mut objects.admins, name.as_deref());
        self.other_namespaces += keep(&mut objects.roles, name.as_deref());
        self.other_namespaces += keep(&mut objects.users, name.as_deref());
        self.other_namespaces += keep(&mut objects.rules, name.as_deref());
        objects.name = name;
        let mut notes = Vec::new();
        if !self.other_kinds.is_empty() {
            let kinds: Vec<_> =
                self.other_kinds.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
            notes.push(format!("objects of other kinds are left out: {}", kinds.join(", ")));
        }
        if self.other_namespaces > 0 {
            notes.push(format!("{} objects of other namespaces are left out", self.other_namespaces));
        }
        Ok((self.objects.without_deleted(), notes))
    }
}

fn push<K: DeserializeOwned + Resource<DynamicType = ()>>(
    objects: &mut Vec<K>,
    seen: &mut BTreeMap<(String, Option<String>, String), String>,
    document: &Document,
) -> anyhow::Result<()> {
    let object: K = yaml::typed(document)?;
    let kind = K::kind(&()).into_owned();
    let Some(name) = object.meta().name.clone().filter(|name| !name.is_empty()) else {
        bail!("{}: metadata.name: every {kind} needs a name", document.place);
    };
    let key = (kind, object.namespace(), name);
    if let Some(first) = seen.get(&key) {
        bail!("{}: {} {:?} is already in {first}", document.place, key.0, key.2);
    }
    seen.insert(key, document.place.to_string());
    objects.push(object);
    Ok(())
}

/// Keeps what is in the namespace or in none; returns how many were not.
fn keep<K: ResourceExt>(objects: &mut Vec<K>, namespace: Option<&str>) -> usize {
    let before = objects.len();
    objects.retain(|object| object.namespace().is_none_or(|own| Some(own.as_str()) == namespace));
    before - objects.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, namespace: Option<&str>) -> Result<(Namespace, Vec<String>), String> {
        yaml::parse(text, "f.yaml")
            .and_then(|documents| collect(documents, namespace))
            .map_err(|e| e.to_string())
    }

    fn refused(text: &str) -> String {
        parse(text, None).map(|_| ()).expect_err("refused")
    }

    const ROLE: &str = "apiVersion: rolecall.dev/v1alpha1\nkind: ProvisioningRole\n";

    #[test]
    fn lists_and_other_kinds_are_taken_as_they_come() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: rolecall.dev/v1alpha1, kind: DatabaseUser, \
                    metadata: {name: a, namespace: shop}}\n- {apiVersion: apps/v1, kind: Deployment}\n";
        // A user without spec is one without roles, but the spec must be there.
        assert_eq!(refused(text), "f.yaml, document 1: missing field `spec`");
        let (namespace, notes) =
            parse(&text.replace("namespace: shop}", "namespace: shop}, spec: {}"), None).expect("reads");
        assert_eq!((namespace.users.len(), namespace.name.as_deref()), (1, Some("shop")));
        assert_eq!(notes, ["objects of other kinds are left out: Deployment (1)"]);
    }

    #[test]
    fn faults_name_document_and_field() {
        for (text, expected) in [
            (
                "just text",
                "f.yaml, document 1: no kind is written; a manifest has apiVersion, kind, metadata and spec",
            ),
            (
                "kind: role",
                "f.yaml, document 1: kind role is Teleport's; convert it first: kubectl rolecall convert -f f.yaml",
            ),
            (
                "apiVersion: rolecall.dev/v1\nkind: ProvisioningRole",
                "f.yaml, document 1: apiVersion rolecall.dev/v1 is not known; write rolecall.dev/v1alpha1",
            ),
            (&format!("{ROLE}spec: {{}}"), "f.yaml, document 1: missing field `metadata`"),
            (
                &format!("{ROLE}metadata: {{name: r}}\nspec: {{allow: {{dbRoles: [reader, off]}}}}"),
                "f.yaml, document 1: spec.allow.dbRoles[1]: invalid type: boolean `false`, expected a string (YAML reads \
                 unquoted on, off, yes, no and numbers as such: quote it)",
            ),
            (
                &format!("{ROLE}metadata: {{name: r}}\nspec: {{allow: {{dbRole: [reader]}}}}"),
                "f.yaml, document 1: there is no field spec.allow.dbRole",
            ),
            (
                &format!(
                    "{ROLE}metadata: {{name: r}}\nspec: {{}}\n---\n{ROLE}metadata: {{name: r}}\nspec: {{}}"
                ),
                "f.yaml, document 2 (line 6): ProvisioningRole \"r\" is already in f.yaml, document 1",
            ),
        ] {
            let message = refused(text);
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn one_namespace_at_a_time() {
        let role = |name: &str, namespace: &str| {
            format!("---\n{ROLE}metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{}}\n")
        };
        let text = role("a", "red")
            + &role("a", "blue")
            + &format!("---\n{ROLE}metadata: {{name: b}}\nspec: {{}}\n");
        assert_eq!(
            refused(&text),
            "the files contain objects of the namespaces blue, red; say which one with -n"
        );
        let (namespace, notes) = parse(&text, Some("red")).expect("reads");
        assert_eq!(namespace.roles.len(), 2);
        assert_eq!(notes, ["1 objects of other namespaces are left out"]);
    }
}
