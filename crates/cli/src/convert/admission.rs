//! Whether the cluster would take an object: the bounds and rules of its definition, as the API server checks them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use cel::{Context, Env, Program, Value as CelValue};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// What keeps an object out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The field, such as `spec.allow.dbNames`.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) why: String,
}

/// The definitions of our kinds.
pub(super) struct Definitions {
    /// By kind.
    schemas: HashMap<String, JSONSchemaProps>,
    rules: Rules,
}

impl Definitions {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut schemas = HashMap::new();
        for crd in rolecall_api::crds() {
            let kind = crd.spec.names.kind;
            let schema = crd.spec.versions.into_iter().find_map(|version| version.schema?.open_api_v3_schema);
            schemas.insert(kind.clone(), schema.with_context(|| format!("the kind {kind} has no schema"))?);
        }
        Ok(Self { schemas, rules: Rules::new()? })
    }

    /// What the API server would refuse. Objects of other kinds are not checked.
    pub(super) fn refusals(&mut self, object: &Value) -> Vec<Refusal> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(schema) = self.schemas.get(kind) else { return Vec::new() };
        let mut walk = Walk { rules: &mut self.rules, refusals: Vec::new() };
        walk.value(schema, object, "");
        walk.refusals
    }
}

struct Walk<'a> {
    rules: &'a mut Rules,
    refusals: Vec<Refusal>,
}

impl Walk<'_> {
    fn value(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str) {
        let before = self.refusals.len();
        match value {
            Value::String(text) => {
                let length = text.chars().count();
                self.bounds(path, "characters", length, schema.min_length, schema.max_length);
                if schema.enum_.as_ref().is_some_and(|values| values.iter().all(|known| known.0 != *value)) {
                    self.refuse(path, format!("{text:?} is none of its values"));
                }
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                if schema.minimum.is_some_and(|least| number < least) {
                    self.refuse(path, format!("{number} is too small"));
                }
                if schema.maximum.is_some_and(|most| number > most) {
                    self.refuse(path, format!("{number} is too large"));
                }
            }
            Value::Array(items) => {
                self.bounds(path, "entries", items.len(), schema.min_items, schema.max_items);
                if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
                    for (index, value) in items.iter().enumerate() {
                        self.value(item, value, &format!("{path}[{index}]"));
                    }
                }
            }
            Value::Object(fields) => {
                self.bounds(path, "keys", fields.len(), schema.min_properties, schema.max_properties);
                for name in schema.required.iter().flatten() {
                    if !fields.contains_key(name) {
                        self.refuse(path, format!("{name} is missing"));
                    }
                }
                for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    let of_key = schema.properties.as_ref().and_then(|known| known.get(name));
                    match (of_key, &schema.additional_properties) {
                        (Some(schema), _) => {
                            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                            self.value(schema, value, &path);
                        }
                        (None, Some(JSONSchemaPropsOrBool::Schema(schema))) => {
                            self.value(schema, value, &format!("{path}[{name:?}]"));
                        }
                        (None, _) => {}
                    }
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        // The API server evaluates no rule of what is out of bounds.
        if self.refusals.len() > before {
            return;
        }
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            if self.rules.evaluate(&rule.rule, value).is_ok_and(|holds| !holds) {
                let message =
                    rule.message.clone().unwrap_or_else(|| format!("breaks the rule {}", rule.rule));
                let below = rule.field_path.as_deref().unwrap_or_default();
                self.refuse(format!("{path}{below}").trim_start_matches('.'), message);
            }
        }
    }

    fn bounds(&mut self, path: &str, what: &str, count: usize, least: Option<i64>, most: Option<i64>) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if let Some(most) = most.filter(|most| count > *most) {
            self.refuse(path, format!("it has {count} {what}, and at most {most} are taken"));
        }
        if let Some(least) = least.filter(|least| count < *least) {
            self.refuse(path, format!("it has {count} {what}, and at least {least} are needed"));
        }
    }

    fn refuse(&mut self, field: &str, why: String) {
        self.refusals.push(Refusal { field: field.to_owned(), why });
    }
}

/// The rules, each compiled once.
struct Rules {
    env: Arc<Env>,
    compiled: HashMap<String, Option<Program>>,
}

impl Rules {
    fn new() -> anyhow::Result<Self> {
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings).map_err(|error| anyhow!("preparing CEL: {error}"))?;
        Ok(Self { env: Arc::new(env), compiled: HashMap::new() })
    }

    /// Whether a rule holds for a value; an error if only the API server can tell.
    fn evaluate(&mut self, rule: &str, value: &Value) -> Result<bool, String> {
        // It is about a change, and this object is new.
        if rule.contains("oldSelf") {
            return Ok(true);
        }
        let env = Arc::clone(&self.env);
        let compiled = self.compiled.entry(rule.to_owned()).or_insert_with(|| env.compile(rule).ok());
        let program = compiled.as_ref().ok_or("it does not compile")?;
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable("self", value).map_err(|error| error.to_string())?;
        for (name, added) in [
            ("isIP", context.add_function("isIP", |text: Arc<String>| text.parse::<IpAddr>().is_ok())),
            // Durations are compared with each other only.
            ("duration", context.add_function("duration", |text: Arc<String>| nanoseconds(&text))),
        ] {
            added.map_err(|error| format!("{name}: {error}"))?;
        }
        match program.execute(&context) {
            Ok(CelValue::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("it gives {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn nanoseconds(text: &str) -> i64 {
    let duration = rolecall_api::duration::parse(text).unwrap_or_default();
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusals(object: &Value) -> Vec<String> {
        let mut definitions = Definitions::new().expect("they can be read");
        let refusals = definitions.refusals(object);
        refusals.iter().map(|refusal| format!("{}: {}", refusal.field, refusal.why)).collect()
    }

    fn role(allow: Value) -> Value {
        json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "ProvisioningRole", "metadata": {"name": "r"},
               "spec": {"allow": allow}})
    }

    #[test]
    fn bounds_and_rules_are_those_of_the_definition() {
        let many: Vec<String> = (0..300).map(|number| format!("db{number}")).collect();
        assert_eq!(
            refusals(&role(json!({"dbNames": many}))),
            ["spec.allow.dbNames: it has 300 entries, and at most 256 are taken"]
        );
        assert_eq!(
            refusals(&role(json!({"dbLabels": {"env": ["x".repeat(300)]}}))),
            ["spec.allow.dbLabels[\"env\"][0]: it has 300 characters, and at most 256 are taken"]
        );
        let messages = refusals(&role(json!({"dbNames": ["{{a}}{{b}}"], "dbRoles": ["*"]})));
        assert!(
            messages[0].starts_with("spec.allow.dbNames[0]: must contain at most one template"),
            "{messages:?}"
        );
        assert!(messages[1].starts_with("spec.allow.dbRoles[0]: must name a database role"), "{messages:?}");
        assert_eq!(
            refusals(&role(json!({"dbNames": ["a"], "dbLabels": {"*": ["*"]}}))),
            Vec::<String>::new()
        );

        let admin = |uri: &str| {
            json!({"apiVersion": "rolecall.dev/v1alpha1", "kind": "DatabaseAdmin", "metadata": {"name": "d"},
                   "spec": {"protocol": "postgres", "uri": uri, "auth": {"x509": {"secretRef": {"name": "a"}}}}})
        };
        assert_eq!(refusals(&admin("db:5432")), Vec::<String>::new());
        assert_eq!(refusals(&admin("[::1]:5432")), Vec::<String>::new());
        for uri in ["db", "postgres://db:5432", "db:0", "[x]:1"] {
            assert_ne!(refusals(&admin(uri)), Vec::<String>::new(), "{uri}");
        }
        let user =
            json!({"kind": "DatabaseUser", "metadata": {"name": "u"}, "spec": {"username": "é".repeat(40)}});
        let messages = refusals(&user);
        assert!(messages.len() == 1 && messages[0].contains("63 bytes"), "{messages:?}");
    }

    /// Every rule can be evaluated here for some value of the right type, so that none is skipped.
    #[test]
    fn no_rule_is_skipped() {
        fn of(schema: &JSONSchemaProps, rules: &mut Vec<(String, String)>) {
            let type_ = schema.type_.clone().unwrap_or_default();
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                rules.push((type_.clone(), rule.rule.clone()));
            }
            schema.properties.iter().flatten().for_each(|(_, schema)| of(schema, rules));
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                of(items, rules);
            }
            if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
                of(values, rules);
            }
        }
        let mut definitions = Definitions::new().expect("they can be read");
        let mut rules = Vec::new();
        definitions.schemas.values().for_each(|schema| of(schema, &mut rules));
        assert!(rules.len() > 40, "{}", rules.len());
        let spec = json!({"protocol": "postgres", "uri": "[::1]:1", "auth": {}, "userCredentials": {}, "platform": "RDS",
                          "tls": {"mode": "Disable"}, "policy": "Keep", "databaseLabels": {}, "mappings": [], "spec": {}, "x509": {},
                          "metadata": {"name": "n"}, "*": ["*"]});
        for (type_, rule) in rules {
            let value = match type_.as_str() {
                "string" => json!("1h{{obj.name}}"),
                "array" => json!([]),
                _ => spec.clone(),
            };
            let messages = definitions.rules.evaluate(&rule, &value);
            assert!(messages.is_ok(), "{rule}: {messages:?}");
        }
    }
}
