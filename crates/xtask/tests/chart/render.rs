//! Rendering the chart.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use rolecall_testbed::components::charts;
use rolecall_testbed::environment;
use rolecall_xtask::root;
use serde_json::{Value, json};

/// The namespace of the release in these tests.
pub(crate) const NAMESPACE: &str = "rolecall-system";

/// The chart's directory.
pub(crate) fn chart() -> PathBuf {
    root().join("charts/rolecall")
}

/// What the chart makes of some values.
#[derive(Debug, PartialEq)]
pub(crate) struct Rendered(Vec<Value>);

/// Renders the release `rolecall` with Helm 4 and with Helm 3, which have to agree.
pub(crate) fn render(values: &Value) -> Rendered {
    render_for("1.37.0", values)
}

/// As [`render`], for this version of Kubernetes.
pub(crate) fn render_for(version: &str, values: &Value) -> Rendered {
    let [four, three] = template(version, values).map(|output| {
        assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
        Rendered(documents(&String::from_utf8_lossy(&output.stdout)))
    });
    assert_eq!(four, three, "Helm 4 and Helm 3 differ");
    four
}

/// Why neither Helm renders the chart with these values.
pub(crate) fn refusal(values: &Value) -> String {
    let [four, three] = template("1.37.0", values).map(|output| {
        assert!(!output.status.success(), "{values} is accepted");
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    format!("{four}{three}")
}

fn template(version: &str, values: &Value) -> [Output; 2] {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("values.json");
    fs::write(&file, values.to_string()).expect("a file");
    let programs = [charts::helm_4(), charts::helm_3()];
    programs.map(|program| {
        Command::new(program.expect("helm"))
            .args(["template", "rolecall"])
            .arg(chart())
            .args(["--namespace", NAMESPACE, "--kube-version", version, "--values"])
            .arg(&file)
            .env_clear()
            .envs(environment(dir.path()))
            .output()
            .expect("helm runs")
    })
}

/// The documents of a stream, in the order of their kinds and names: those of the Helms differ.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let mut documents: Vec<Value> = text
        .split("\n---\n")
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"))
        })
        .filter(|document: &Value| !document.is_null())
        .collect();
    documents.sort_by_key(|document| ["kind", "/namespace", "/name"].map(|field| text_of(document, field)));
    documents
}

fn text_of(document: &Value, field: &str) -> String {
    let value = match field.strip_prefix('/') {
        Some(field) => &document["metadata"][field],
        None => &document[field],
    };
    value.as_str().unwrap_or_default().to_owned()
}

impl Rendered {
    /// All of them.
    pub(crate) fn all(&self) -> &[Value] {
        &self.0
    }

    /// The objects of this kind.
    pub(crate) fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The names of the objects of this kind, with their namespaces.
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        let name = |object: &&Value| match object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("{namespace}/{}", text_of(object, "/name")),
            None => text_of(object, "/name"),
        };
        self.of(kind).iter().map(name).collect()
    }

    /// The only object of this kind.
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let found = self.of(kind);
        assert_eq!(found.len(), 1, "{kind}: {:?}", self.names(kind));
        found[0]
    }

    /// The Pod template of the operator.
    pub(crate) fn pod(&self) -> &Value {
        &self.only("Deployment")["spec"]["template"]
    }

    /// The operator's container.
    pub(crate) fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }
}

/// Equality by which 0 and 0.0 are one number.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn nothing_is_random() {
    assert_eq!(render(&json!({})), render(&json!({})));
}
