//! Kinds that check one part of a decision.

use rolecall_policy::spec::{
    ImportRuleSpec, Labels, RoleConditions, RoleOptions, RoleSpec, SelectorSpec, Traits,
};
use rolecall_policy::{
    Attributes, Conditions, Effect, Faults, ImportRule, LabelTemplate, Mode, ObjectKind, Pattern, Privilege,
    Role, Selector, Template,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::check::{Actual, known_kind, read};

pub(crate) fn mode_of_role(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        options: Option<RoleOptions>,
    }
    let input: Input = read(input)?;
    let mode = input.options.unwrap_or_default().mode();
    Ok(Actual::new().field("mode", mode).field("enabled", mode.is_enabled()))
}

pub(crate) fn mode_combination(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        modes: Vec<Mode>,
    }
    let input: Input = read(input)?;
    Ok(Actual::new().field("mode", Mode::strongest(input.modes)))
}

pub(crate) fn label_match(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        selector: SelectorSpec,
        labels: Labels,
    }
    let input: Input = read(input)?;
    let mut faults = Faults::new();
    let selector = Selector::read(&input.selector, "selector", &mut faults);
    if !faults.is_empty() {
        return Ok(Actual::invalid());
    }
    Ok(Actual::new().field("match", selector.matches(&input.labels)))
}

pub(crate) fn pattern_match(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        patterns: Vec<String>,
        value: String,
    }
    let input: Input = read(input)?;
    let patterns: Result<Vec<Pattern>, _> = input.patterns.iter().map(|text| Pattern::new(text)).collect();
    Ok(match patterns {
        Ok(patterns) => {
            Actual::new().field("match", patterns.iter().any(|pattern| pattern.matches(&input.value)))
        }
        Err(_) => Actual::invalid(),
    })
}

pub(crate) fn template_expansion(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        template: String,
        traits: Traits,
    }
    let input: Input = read(input)?;
    let Ok(template) = Template::parse(&input.template) else { return Ok(Actual::invalid()) };
    Ok(Actual::new().set("values", template.expand(&input.traits).map_err(|error| error.to_string())?))
}

pub(crate) fn role_trait_application(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        field: String,
        value: Value,
        traits: Traits,
    }
    let input: Input = read(input)?;
    let unknown = || format!("unknown field {}", input.field);
    let (side, field) = input.field.split_once('.').ok_or_else(unknown)?;
    let effect = match side {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        _ => return Err(unknown()),
    };
    // Only the first entry of a list of objects is addressed: `dbPermissions[0].match`.
    let (spec, pointer) = match field.split_once("[0].") {
        Some((list, field)) => (json!({list: [{field: input.value}]}), format!("/{list}/0/{field}")),
        None => (json!({field: input.value}), format!("/{field}")),
    };
    let spec: RoleConditions = read(spec)?;
    let conditions = Conditions::read("role", effect, &spec, &mut Faults::new());
    let expanded =
        serde_json::to_value(conditions.expanded(&input.traits)).map_err(|error| error.to_string())?;
    Ok(Actual::new().set("value", expanded.pointer(&pointer)))
}

pub(crate) fn label_template(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        template: String,
        object: Object,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Object {
        #[serde(default)]
        protocol: String,
        #[serde(default)]
        database_service_name: String,
        #[serde(default)]
        kind: String,
        #[serde(default)]
        database: String,
        #[serde(default)]
        schema: String,
        #[serde(default)]
        name: String,
    }
    let input: Input = read(input)?;
    let Ok(template) = LabelTemplate::parse(&input.template) else { return Ok(Actual::invalid()) };
    let object = &input.object;
    let attributes = Attributes {
        protocol: &object.protocol,
        database_service_name: &object.database_service_name,
        object_kind: &object.kind,
        database: &object.database,
        schema: &object.schema,
        name: &object.name,
    };
    Ok(Actual::new().field("value", template.value(&attributes)))
}

pub(crate) fn pg_permission_validation(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        permission: String,
        #[serde(deserialize_with = "known_kind")]
        kind: Option<ObjectKind>,
    }
    let input: Input = read(input)?;
    let privilege = Privilege::parse(&input.permission);
    let applies = input.kind.zip(privilege).is_some_and(|(kind, privilege)| privilege.applies_to(kind));
    Ok(Actual::new()
        .field("privilege", privilege)
        .field("known", privilege.is_some())
        .field("applies", applies))
}

pub(crate) fn remote_username(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Input {
        username: String,
        #[serde(default)]
        origin_cluster: String,
        local_cluster: String,
    }
    let input: Input = read(input)?;
    let username =
        rolecall_policy::remote_username(&input.username, &input.origin_cluster, &input.local_cluster);
    Ok(Actual::new().field("username", username))
}

pub(crate) fn validation(input: Value) -> Result<Actual, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        kind: String,
        spec: Value,
    }
    let input: Input = read(input)?;
    // A value that the schema has no room for is refused before it is compiled.
    let valid = match input.kind.as_str() {
        "ProvisioningRole" => serde_json::from_value::<RoleSpec>(input.spec)
            .is_ok_and(|spec| Role::compile("role", &spec).is_ok()),
        "DbObjectImportRule" => serde_json::from_value::<ImportRuleSpec>(input.spec)
            .is_ok_and(|spec| ImportRule::compile("rule", &spec).is_ok()),
        kind => return Err(format!("unknown kind {kind}")),
    };
    Ok(Actual::new().field("valid", valid).ignored("why"))
}
