//! Admission policies: what RBAC alone cannot say about Rolecall's objects, decided by the API server itself with the
//! rights that RBAC gives.
//!
//! | verb | on | gives |
//! |---|---|---|
//! | `connect` | `databaseusers`, `databaseadmins` | opening sessions for this user, and to this server |
//! | `bind` | `provisioningroles` | handing this role out: naming it in a DatabaseUser |
//! | `manage` | `databasesessions` | changing and ending sessions that others asked for |
//! | `operate` | every kind | writing what is the operator's: status, finalizers, the recorded name |

use crate::crds::crds;
use crate::names::{GROUP, USERNAME_ANNOTATION};

/// Requests that a policy is about.
#[derive(Clone, Copy, Debug)]
enum About {
    /// To these objects.
    Objects(&'static str),
    /// To objects of every kind, and their status.
    Everything,
}

/// A named expression that several others use.
type Variable = (&'static str, String);

/// What has to hold.
#[derive(Debug)]
struct Validation {
    why: &'static str,
    expression: String,
    /// An expression: the text that whoever is refused reads.
    message: String,
}

/// A ValidatingAdmissionPolicy.
#[derive(Debug)]
struct Policy {
    name: &'static str,
    about: About,
    operations: &'static str,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
}

/// Most checks of a right in one expression, and how many expressions with so many fit one policy: the API server gives
/// each check a cost of 350,000, an expression 1,000,000 and a policy 10,000,000.
const CHECKS: usize = 2;
const EXPRESSIONS: usize = 12;

/// Who ends what nobody asks for any more, and may be named differently in no cluster.
const CONTROLLERS: &str = "[\n  'system:kube-controller-manager',\n  \
     'system:serviceaccount:kube-system:generic-garbage-collector',\n  \
     'system:serviceaccount:kube-system:namespace-controller']";

/// The files with policies: path and YAML.
pub(crate) fn files() -> Vec<(String, String)> {
    let policies = [session_access(), session_owner(), operator_fields(), user_roles()];
    let bindings: Vec<String> = policies.iter().map(|policy| binding("Validating", policy.name)).collect();
    let mut files: Vec<(String, String)> =
        policies.iter().map(|policy| (path(policy.name), yaml(policy))).collect();
    files.push(("deploy/admission/bindings.yaml".to_owned(), bindings.join("---\n")));
    files.push(("deploy/mutating/session_requester.yaml".to_owned(), session_requester()));
    files.push(("deploy/mutating/bindings.yaml".to_owned(), binding("Mutating", REQUESTER)));
    files
}

/// Who may open a session for whom, and to what. A longer or shorter ttl is another session.
fn session_access() -> Policy {
    let may = |plural: &str, kind: &'static str, field: &str, why| Validation {
        why,
        expression: format!(
            "!variables.opens\n|| {}",
            check(plural, &format!("object.spec.{field}"), "connect")
        ),
        message: format!(
            "request.userInfo.username + ' may not open sessions {kind} ' + object.spec.{field} + {}",
            next_step("connect", plural, &format!("object.spec.{field}"))
        ),
    };
    Policy {
        name: "session-access",
        about: About::Objects("databasesessions"),
        operations: "[CREATE, UPDATE]",
        variables: vec![(
            "opens",
            "request.operation == 'CREATE'\n|| object.spec.?ttl.orValue('') != oldObject.spec.?ttl.orValue('')"
                .to_owned(),
        )],
        validations: vec![
            may("databaseusers", "for the DatabaseUser", "user", "Who may act for this user."),
            may("databaseadmins", "to the DatabaseAdmin", "database", "Who may reach this server."),
            Validation {
                why: "Who asked is who sent the request. That it does not change is a rule of the definition.",
                expression: "request.operation != 'CREATE'\n\
                             || object.spec.?requestedBy.orValue(request.userInfo.username) == request.userInfo.username"
                    .to_owned(),
                message: "'spec.requestedBy says who asks for the session, which is ' + request.userInfo.username + \
                          ', and not ' + object.spec.requestedBy + ': leave it out'"
                    .to_owned(),
            },
        ],
    }
}

/// People end and change what they asked for. A namespace that is going, and what goes with its owner, is not held up.
fn session_owner() -> Policy {
    let name = "oldObject.metadata.name";
    Policy {
        name: "session-owner",
        about: About::Objects("databasesessions"),
        operations: "[UPDATE, DELETE]",
        variables: vec![],
        validations: vec![Validation {
            why: "Who asked for it, who may manage others' sessions, and the cluster's own controllers.",
            expression: format!(
                "oldObject.spec.?requestedBy.orValue('') == request.userInfo.username\n\
                 || request.userInfo.username in {CONTROLLERS}\n\
                 || has(namespaceObject.metadata.deletionTimestamp)\n|| {}",
                check("databasesessions", name, "manage")
            ),
            message: format!(
                "request.userInfo.username + ' may not change or end the session ' + {name} + ', which ' + \
                 oldObject.spec.?requestedBy.orValue('somebody unknown') + ' asked for' + {}",
                next_step("manage", "databasesessions", name)
            ),
        }],
    }
}

/// What the operator writes is believed, and nobody else writes it.
fn operator_fields() -> Policy {
    let finalizers = |object: &str| {
        format!("{object}.metadata.?finalizers.orValue([]).filter(f, f.startsWith('{GROUP}/'))")
    };
    let recorded =
        |object: &str| format!("{object}.metadata.?annotations[?'{USERNAME_ANNOTATION}'].orValue('')");
    let message = |what: &str| {
        format!(
            "'{what} of ' + request.resource.resource + '/' + request.?name.orValue('') + ' is written by the operator alone, which has \
             the verb operate; check: kubectl auth can-i operate ' + request.resource.resource + '.{GROUP} -n ' + \
             request.namespace"
        )
    };
    Policy {
        name: "operator-fields",
        about: About::Everything,
        operations: "[CREATE, UPDATE]",
        variables: vec![(
            "operates",
            format!(
                "authorizer.group('{GROUP}').resource(request.resource.resource)\n  \
                 .namespace(request.namespace).check('operate').allowed()"
            ),
        )],
        validations: vec![
            Validation {
                why: "A finalizer that is taken off gives up an access that is still open.",
                expression: format!(
                    "request.operation == 'CREATE'\n|| {}\n  == {}\n|| variables.operates",
                    finalizers("object"),
                    finalizers("oldObject")
                ),
                message: message(&format!("a finalizer {GROUP}/...")),
            },
            Validation {
                why: "The name that was recorded is the one whose access is ended.",
                expression: format!(
                    "{}\n  == (request.operation == 'CREATE' ? '' : {})\n|| variables.operates",
                    recorded("object"),
                    recorded("oldObject")
                ),
                message: message(&format!("the annotation {USERNAME_ANNOTATION}")),
            },
            Validation {
                why: "Roles for `*` give rights to write the status, too.",
                expression: "request.?subResource.orValue('') != 'status'\n|| variables.operates".to_owned(),
                message: message("the status"),
            },
        ],
    }
}

/// Who may hand out which role. What a role gives follows the traits, so that other traits hand all of them out anew.
fn user_roles() -> Policy {
    let per_role = (0..EXPRESSIONS).map(|index| {
        let (from, to) = (index * CHECKS, (index + 1) * CHECKS);
        let slice = (from..to)
            .map(|at| {
                let checked = check("provisioningroles", &format!("variables.handed[{at}]"), "bind");
                format!("(size(variables.handed) <= {at}\n  || {checked})")
            })
            .collect::<Vec<_>>()
            .join("\n&& ");
        Validation {
            why: "As many rights in one expression as the API server looks up in one.",
            expression: format!("size(variables.handed) <= {from}\n|| variables.all\n|| ({slice})"),
            message: format!(
                "request.userInfo.username + ' may not hand out ' + (size(variables.handed) > {last} ? \
                 'one of the ProvisioningRoles ' + variables.handed[{from}] + ' and ' + variables.handed[{last}] : \
                 'the ProvisioningRole ' + variables.handed[{from}]) + ': that takes the verb bind on it; check: kubectl auth \
                 can-i bind provisioningroles.{GROUP}/' + variables.handed[{from}] + ' -n ' + request.namespace + '; who may give \
                 it adds to a Role there: {{apiGroups: [{GROUP}], resources: [provisioningroles], resourceNames: [' + \
                 variables.handed[{from}] + '], verbs: [bind]}}'",
                last = to - 1
            ),
        }
    });
    let most = EXPRESSIONS * CHECKS;
    let too_many = Validation {
        why: "Beyond that the right to hand out every role has to do.",
        expression: format!("size(variables.handed) <= {most}\n|| variables.all"),
        message: format!(
            "'more than {most} ProvisioningRoles are handed out at once: add them step by step, or have the verb bind on all \
             provisioningroles of ' + request.namespace"
        ),
    };
    Policy {
        name: "user-roles",
        about: About::Objects("databaseusers"),
        operations: "[CREATE, UPDATE]",
        variables: vec![
            (
                "handed",
                "request.operation == 'CREATE' || object.spec.?traits.orValue({}) != oldObject.spec.?traits.orValue({})\n\
                 ? object.spec.?roles.orValue([])\n\
                 : object.spec.?roles.orValue([]).filter(role, !(role in oldObject.spec.?roles.orValue([])))"
                    .to_owned(),
            ),
            (
                "all",
                format!(
                    "authorizer.group('{GROUP}').resource('provisioningroles').namespace(request.namespace)\n  \
                     .check('bind').allowed()"
                ),
            ),
        ],
        validations: per_role.chain([too_many]).collect(),
    }
}

const REQUESTER: &str = "session-requester";

/// Who asked for a session, from the request. A change of the object that leaves it out means no change of it.
fn session_requester() -> String {
    format!(
        "# Who asks for a session is recorded in it.\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata:\n  name: rolecall-{REQUESTER}\n\
         spec:\n  failurePolicy: Fail\n  reinvocationPolicy: Never\n  matchConstraints:\n    resourceRules:\n    \
         - apiGroups: [{GROUP}]\n      apiVersions: [\"*\"]\n      operations: [CREATE, UPDATE]\n      resources: [databasesessions]\n  \
         matchConditions:\n  - name: is-absent\n    expression: |-\n{}  mutations:\n  - patchType: JSONPatch\n    jsonPatch:\n      \
         expression: |-\n{}",
        block(
            6,
            "has(object.spec) && !has(object.spec.requestedBy)\n\
             && (request.operation == 'CREATE' || has(oldObject.spec.requestedBy))"
        ),
        block(
            8,
            "[JSONPatch{\n  op: 'add',\n  path: '/spec/requestedBy',\n  \
             value: request.operation == 'CREATE' ? request.userInfo.username : oldObject.spec.requestedBy\n}]"
        ),
    )
}

/// Whether the caller has a verb on the object of this name, which is an expression.
fn check(plural: &str, name: &str, verb: &str) -> String {
    format!(
        "authorizer.group('{GROUP}').resource('{plural}').namespace(request.namespace)\n  \
         .name({name}).check('{verb}').allowed()"
    )
}

/// What whoever lacks a verb can do, as the rest of a message.
fn next_step(verb: &str, plural: &str, name: &str) -> String {
    format!(
        "': that takes the verb {verb} on it; check: kubectl auth can-i {verb} {plural}.{GROUP}/' + {name} + ' -n ' + \
         request.namespace + '; who may give it: kubectl create role {verb}-' + {name} + ' --verb={verb} \
         --resource={plural}.{GROUP} --resource-name=' + {name} + ' -n ' + request.namespace + ', then kubectl create \
         rolebinding'"
    )
}

fn path(name: &str) -> String {
    format!("deploy/admission/{}.yaml", name.replace('-', "_"))
}

fn yaml(policy: &Policy) -> String {
    let Policy { name, about, operations, variables, validations } = policy;
    let resources = match about {
        About::Objects(plural) => (*plural).to_owned(),
        About::Everything => {
            let plurals = crds().into_iter().map(|crd| crd.spec.names.plural);
            plurals.flat_map(|plural| [format!("{plural}/status"), plural]).collect::<Vec<_>>().join(", ")
        }
    };
    let mut yaml = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata:\n  name: rolecall-{name}\n\
         spec:\n  failurePolicy: Fail\n  matchConstraints:\n    resourceRules:\n    - apiGroups: [{GROUP}]\n      \
         apiVersions: [\"*\"]\n      operations: {operations}\n      resources: [{resources}]\n"
    );
    if !variables.is_empty() {
        yaml.push_str("  variables:\n");
    }
    for (name, expression) in variables {
        yaml.push_str(&format!("  - name: {name}\n    expression: |-\n{}", block(6, expression)));
    }
    yaml.push_str("  validations:\n");
    for Validation { why, expression, message } in validations {
        yaml.push_str(&format!(
            "  # {why}\n  - reason: Forbidden\n    expression: |-\n{}    messageExpression: |-\n{}",
            block(6, expression),
            block(6, message)
        ));
    }
    yaml
}

/// A policy does nothing without.
fn binding(kind: &str, name: &str) -> String {
    let actions = if kind == "Validating" { "  validationActions: [Deny]\n" } else { "" };
    format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: {kind}AdmissionPolicyBinding\nmetadata:\n  name: rolecall-{name}\n\
         spec:\n  policyName: rolecall-{name}\n{actions}"
    )
}

/// A text as the lines of a block in YAML.
fn block(indent: usize, text: &str) -> String {
    text.lines().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_policy_is_yaml_with_a_binding() {
        let files = files();
        let (bindings, policies): (Vec<_>, Vec<_>) =
            files.iter().partition(|(path, _)| path.ends_with("bindings.yaml"));
        let bound: String = bindings.into_iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(policies.len(), 5);
        for (path, text) in policies {
            let policy: Value = serde_saphyr::from_str(text).unwrap();
            let name = policy["metadata"]["name"].as_str().unwrap();
            assert!(bound.contains(&format!("policyName: {name}\n")), "{path}");
            assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{path}");
        }
    }

    #[test]
    fn no_expression_looks_up_more_rights_than_the_api_server_does() {
        for policy in [session_access(), session_owner(), operator_fields(), user_roles()] {
            let checks = |text: &str| text.matches(".check(").count();
            let of_variables: usize = policy.variables.iter().map(|(_, text)| checks(text)).sum();
            let all: usize = policy.validations.iter().map(|one| checks(&one.expression)).sum();
            assert!(
                policy.validations.iter().all(|one| checks(&one.expression) <= CHECKS),
                "{}",
                policy.name
            );
            assert!((all + of_variables) * 350_000 < 10_000_000, "{}", policy.name);
        }
    }
}
