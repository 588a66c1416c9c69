//! Which part of a crate may use which other part of it.

use super::crates::{Crate, Use};

/// A module with all that lies inside it, but for what is a layer of its own.
struct Layer {
    package: &'static str,
    module: &'static str,
    /// Other layers of the package; those inside it may always be used.
    may_use: &'static [&'static str],
}

const fn layer(package: &'static str, module: &'static str, may_use: &'static [&'static str]) -> Layer {
    Layer { package, module, may_use }
}

/// docs/architecture.md says what each is for. What is in none of the layers of its package may be used by all of them.
const LAYERS: &[Layer] = &[
    // An engine: transport knows no accounts, statements are text, reads change nothing.
    layer(POSTGRES, "transport", &[]),
    layer(POSTGRES, "transport::message", &[]),
    layer(POSTGRES, "transport::sqlstate", &["transport"]),
    layer(POSTGRES, "transport::standby", POSTGRES_WORDS),
    layer(POSTGRES, "transport::version", &["transport"]),
    layer(POSTGRES, "statements", POSTGRES_WORDS),
    layer(POSTGRES, "reads", POSTGRES_READS),
    layer(POSTGRES, "execution", POSTGRES_EXECUTION),
    layer(MONGODB, "transport", &[]),
    layer(MONGODB, "transport::request", &[]),
    layer(MONGODB, "statements", &["transport::request"]),
    layer(MONGODB, "reads", &["transport", "transport::request", "statements"]),
    layer(MONGODB, "execution", &["transport", "transport::request", "statements", "reads"]),
    layer(REDSHIFT, "transport", &["transport::statement"]),
    layer(REDSHIFT, "transport::statement", &[]),
    layer(REDSHIFT, "statements", &["transport::statement"]),
    layer(REDSHIFT, "reads", &["transport", "transport::statement", "statements"]),
    layer(REDSHIFT, "execution", &["transport", "transport::statement", "statements", "reads"]),
    // The operator: what decides is above what it decides on.
    layer(OPERATOR, "model", &[]),
    layer(OPERATOR, "cache", &["model"]),
    layer(OPERATOR, "api_writer", &["model", "cache"]),
    layer(OPERATOR, "controller::workqueue", &["model", "controller::fairness"]),
    layer(OPERATOR, "controller::fairness", &["model"]),
    layer(OPERATOR, "servers", &["model", "api_writer"]),
    layer(OPERATOR, "sets", &["model", "cache", "api_writer", "controller::workqueue", "servers"]),
    layer(OPERATOR, "account", ACCOUNT),
    layer(OPERATOR, "account::approval", PURE),
    layer(OPERATOR, "account::quota", PURE),
    layer(OPERATOR, "account::decide", PURE),
    layer(OPERATOR, "account::desired", PURE),
    layer(OPERATOR, "account::permission_sets", PURE),
    layer(OPERATOR, "account::results", PURE),
    layer(OPERATOR, "account::status", PURE),
    layer(OPERATOR, "account::approval_status", PURE),
    layer(OPERATOR, "account::execute", EXECUTE),
    layer(OPERATOR, "account::write", WRITE),
    layer(OPERATOR, "database_admin", DATABASE_ADMIN),
    layer(OPERATOR, "controller", CONTROLLER),
];

const POSTGRES: &str = "rolecall-postgres";
const MONGODB: &str = "rolecall-mongodb";
const REDSHIFT: &str = "rolecall-redshift";
const OPERATOR: &str = "rolecall-operator";

const POSTGRES_WORDS: &[&str] =
    &["transport::message", "transport::sqlstate", "transport::standby", "transport::version"];
const POSTGRES_READS: &[&str] = &[
    "transport",
    "transport::message",
    "transport::sqlstate",
    "transport::standby",
    "transport::version",
    "statements",
];
const POSTGRES_EXECUTION: &[&str] = &[
    "transport",
    "transport::message",
    "transport::sqlstate",
    "transport::standby",
    "transport::version",
    "statements",
    "reads",
];
/// The steps that are pure know none that does I/O.
const PURE: &[&str] = &[
    "model",
    "cache",
    "servers",
    "sets",
    "account",
    "account::approval",
    "account::quota",
    "account::decide",
    "account::desired",
    "account::permission_sets",
    "account::results",
    "account::status",
];
const EXECUTE: &[&str] = &[
    "model",
    "cache",
    "api_writer",
    "servers",
    "sets",
    "account",
    "account::approval_status",
    "account::decide",
    "account::desired",
    "account::permission_sets",
];
const WRITE: &[&str] = &[
    "model",
    "cache",
    "api_writer",
    "servers",
    "sets",
    "account",
    "account::approval",
    "account::approval_status",
    "account::results",
    "account::status",
];
const ACCOUNT: &[&str] = &["model", "cache", "api_writer", "servers", "sets", "controller::workqueue"];
const DATABASE_ADMIN: &[&str] =
    &["model", "cache", "api_writer", "servers", "sets", "account", "controller::workqueue"];
const CONTROLLER: &[&str] = &["model", "cache", "api_writer", "servers", "sets", "account", "database_admin"];

/// What is wrong with the uses within a package.
pub(super) fn faults(package: &str, parsed: &Crate) -> Vec<String> {
    let layers: Vec<&Layer> = LAYERS.iter().filter(|layer| layer.package == package).collect();
    let missing =
        layers.iter().filter(|layer| !parsed.files().iter().any(|file| layer.has(parsed.names(*file))));
    let mut faults: Vec<String> = missing
        .map(|layer| {
            format!(
                "{package}: crates/xtask/src/imports/layers.rs names {}, which is not there",
                layer.module
            )
        })
        .collect();
    for ((from, to), Use { path, line }) in parsed.uses() {
        let of = |file| innermost(&layers, parsed.names(file));
        let (Some(layer), Some(used)) = (of(from), of(to)) else { continue };
        if layer.may_use(used) {
            continue;
        }
        let file = parsed.path(from);
        let file = file.strip_prefix(crate::root()).unwrap_or(file).display();
        faults.push(format!("{file}:{line} uses {path}: {} may not use {}", layer.module, used.module));
    }
    faults
}

/// The layer that a module belongs to.
fn innermost<'a>(layers: &[&'a Layer], module: &[String]) -> Option<&'a Layer> {
    layers.iter().copied().filter(|layer| layer.has(module)).max_by_key(|layer| layer.module.len())
}

impl Layer {
    /// Does a module lie in it, or in a layer inside it?
    fn has(&self, module: &[String]) -> bool {
        let mut names = module.iter();
        self.module.split("::").all(|name| names.next().is_some_and(|own| own == name))
    }

    fn may_use(&self, other: &Self) -> bool {
        let inside = other.module.strip_prefix(self.module);
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            || self.may_use.contains(&other.module)
    }
}
