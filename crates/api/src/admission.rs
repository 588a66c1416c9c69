//! Admission policies: what RBAC alone cannot say about Rolecall's objects, decided by the API server itself with the
//! rights that RBAC gives.
//!
//! | verb | on | gives |
//! |---|---|---|
//! | `connect` | `databaseusers`, `databaseadmins` | opening sessions for this user, and to this server |
//! | `bind` | `provisioningroles` | handing this role out: naming it in a DatabaseUser |
//! | `approve` | `provisioningroles` | deciding, on behalf of this role, about sessions that others ask for |
//! | `manage` | `databasesessions` | changing and ending sessions that others asked for |
//! | `operate` | every kind | writing what is the operator's: status, finalizers, the recorded name |

use crate::crds::crds;
use crate::names::{ACCOUNT_FINALIZER, GROUP, USERNAME_ANNOTATION};
use crate::schema::MAX_DECIDED;

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
    let policies = policies();
    let bindings: Vec<String> = policies.iter().map(|policy| binding("Validating", policy.name)).collect();
    let mut files: Vec<(String, String)> =
        policies.iter().map(|policy| (path(policy.name), yaml(policy))).collect();
    files.push(("deploy/admission/bindings.yaml".to_owned(), bindings.join("---\n")));
    files.push(("deploy/mutating/session_requester.yaml".to_owned(), session_requester()));
    files.push(("deploy/mutating/decision_maker.yaml".to_owned(), decision_by()));
    let mutating = [REQUESTER, DECISION_MAKER].map(|name| binding("Mutating", name));
    files.push(("deploy/mutating/bindings.yaml".to_owned(), mutating.join("---\n")));
    files.push(("deploy/finalizer/session_finalizer.yaml".to_owned(), session_finalizer()));
    files.push(("deploy/finalizer/bindings.yaml".to_owned(), binding("Mutating", FINALIZER)));
    files
}

fn policies() -> [Policy; 6] {
    [session_access(), session_owner(), operator_fields(), user_roles(), decision_maker(), decision_owner()]
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
    let per_role = each_role("handed", "bind", EXPRESSIONS, "hand out");
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
            ("all", on_all_roles("bind")),
        ],
        validations: per_role.chain([too_many]).collect(),
    }
}

/// Who decides: the person who sends the request, whom the roles let decide, and who is not the one who asks.
fn decision_maker() -> Policy {
    let session = "object.spec.sessionRef";
    let names_owner = format!(
        "size(object.metadata.?ownerReferences.orValue([])) == 1\n\
         && object.metadata.ownerReferences.all(owner,\n  owner.kind == 'DatabaseSession' && owner.apiVersion.startsWith('{GROUP}/')\n  \
         && owner.name == {session}.name && owner.uid == {session}.uid\n  \
         && !owner.?controller.orValue(false) && !owner.?blockOwnerDeletion.orValue(false))"
    );
    let mut validations = vec![
        Validation {
            why: "Who decides is who sent the request. That it does not change is a rule of the definition.",
            expression: "object.spec.decidedBy == request.userInfo.username".to_owned(),
            message: "'spec.decidedBy says who decides, which is ' + request.userInfo.username + ', and not ' + \
                      object.spec.decidedBy"
                .to_owned(),
        },
        Validation {
            why: "Four eyes. The operator compares the name with that in the session.",
            expression: "object.spec.requestedBy != request.userInfo.username".to_owned(),
            message: "request.userInfo.username + ' asks for the session ' + object.spec.sessionRef.name + ': somebody else has \
                      to decide about it'"
                .to_owned(),
        },
        Validation {
            why: "Nobody says to be in a group that they are not in.",
            expression: "object.spec.?groups.orValue([]).all(group, group in request.userInfo.?groups.orValue([]))"
                .to_owned(),
            message: "request.userInfo.username + ' is not in every group of spec.groups'".to_owned(),
        },
        Validation {
            why: "It goes with its session, and holds it up at no time.",
            expression: names_owner,
            message: "'metadata.ownerReferences has to be the session alone, that of spec.sessionRef, without controller and \
                      blockOwnerDeletion: kubectl rolecall approve writes it so'"
                .to_owned(),
        },
    ];
    validations.extend(each_role("decided", "approve", MAX_DECIDED / CHECKS, "decide on behalf of"));
    Policy {
        name: "decision-maker",
        about: About::Objects("databasesessiondecisions"),
        operations: "[CREATE]",
        variables: vec![("decided", "object.spec.roles".to_owned()), ("all", on_all_roles("approve"))],
        validations,
    }
}

/// A decision is taken back by whoever made it: nobody removes the word of somebody else.
fn decision_owner() -> Policy {
    Policy {
        name: "decision-owner",
        about: About::Objects("databasesessiondecisions"),
        operations: "[DELETE]",
        variables: vec![],
        validations: vec![Validation {
            why: "Who made it, the cluster's own controllers, and who may write the operator's word, too.",
            expression: format!(
                "oldObject.spec.decidedBy == request.userInfo.username\n\
                 || request.userInfo.username in {CONTROLLERS}\n\
                 || has(namespaceObject.metadata.deletionTimestamp)\n|| {}",
                check("databasesessiondecisions", "oldObject.metadata.name", "operate")
            ),
            message: "request.userInfo.username + ' may not delete the decision ' + oldObject.metadata.name + ', which is that of ' + \
                      oldObject.spec.decidedBy + '; it goes with its session'"
                .to_owned(),
        }],
    }
}

/// That the caller has a verb on each role of the list in this variable, which has as many entries at most as so many
/// expressions look up.
fn each_role(
    variable: &'static str,
    verb: &'static str,
    expressions: usize,
    what: &'static str,
) -> impl Iterator<Item = Validation> {
    (0..expressions).map(move |index| {
        let (from, to) = (index * CHECKS, (index + 1) * CHECKS);
        let slice = (from..to)
            .map(|at| {
                let checked = check("provisioningroles", &format!("variables.{variable}[{at}]"), verb);
                format!("(size(variables.{variable}) <= {at}\n  || {checked})")
            })
            .collect::<Vec<_>>()
            .join("\n&& ");
        Validation {
            why: "As many rights in one expression as the API server looks up in one.",
            expression: format!("size(variables.{variable}) <= {from}\n|| variables.all\n|| ({slice})"),
            message: format!(
                "request.userInfo.username + ' may not {what} ' + (size(variables.{variable}) > {last} ? \
                 'one of the ProvisioningRoles ' + variables.{variable}[{from}] + ' and ' + variables.{variable}[{last}] : \
                 'the ProvisioningRole ' + variables.{variable}[{from}]) + ': that takes the verb {verb} on it; check: kubectl auth \
                 can-i {verb} provisioningroles.{GROUP}/' + variables.{variable}[{from}] + ' -n ' + request.namespace + '; who may give \
                 it adds to a Role there: {{apiGroups: [{GROUP}], resources: [provisioningroles], resourceNames: [' + \
                 variables.{variable}[{from}] + '], verbs: [{verb}]}}'",
                last = to - 1
            ),
        }
    })
}

/// That the caller has a verb on every role of the namespace.
fn on_all_roles(verb: &str) -> String {
    format!(
        "authorizer.group('{GROUP}').resource('provisioningroles').namespace(request.namespace)\n  \
         .check('{verb}').allowed()"
    )
}

const DECISION_MAKER: &str = "decision-maker";

/// Who decides, from the request, where the request does not say it.
fn decision_by() -> String {
    mutating(Mutating {
        comment: "Who decides is recorded in the decision.",
        name: DECISION_MAKER,
        operations: "CREATE",
        resource: "databasesessiondecisions",
        condition: "has(object.spec) && !has(object.spec.decidedBy)",
        patch: "[JSONPatch{op: 'add', path: '/spec/decidedBy', value: request.userInfo.username}]",
    })
}

const REQUESTER: &str = "session-requester";

/// Who asked for a session, from the request. A change of the object that leaves it out means no change of it.
fn session_requester() -> String {
    mutating(Mutating {
        comment: "Who asks for a session is recorded in it.",
        name: REQUESTER,
        operations: "CREATE, UPDATE",
        resource: "databasesessions",
        condition: "has(object.spec) && !has(object.spec.requestedBy)\n\
                    && (request.operation == 'CREATE' || has(oldObject.spec.requestedBy))",
        patch: "[JSONPatch{\n  op: 'add',\n  path: '/spec/requestedBy',\n  \
                value: request.operation == 'CREATE' ? request.userInfo.username : oldObject.spec.requestedBy\n}]",
    })
}

const FINALIZER: &str = "session-finalizer";

/// The operator's finalizer, from the beginning: where it is there the operator does not write a session before it is Active.
/// On its own: without an operator that takes the finalizer off, sessions stay.
fn session_finalizer() -> String {
    mutating(Mutating {
        comment: "A session stays until the operator lets it go.",
        name: FINALIZER,
        operations: "CREATE",
        resource: "databasesessions",
        condition: &format!("!object.metadata.?finalizers.orValue([]).exists(f, f == '{ACCOUNT_FINALIZER}')"),
        patch: &format!(
            "has(object.metadata.finalizers)\n\
             ? [JSONPatch{{op: 'add', path: '/metadata/finalizers/-', value: '{ACCOUNT_FINALIZER}'}}]\n\
             : [JSONPatch{{op: 'add', path: '/metadata/finalizers', value: ['{ACCOUNT_FINALIZER}']}}]"
        ),
    })
}

/// A policy that fills in what a request leaves out.
struct Mutating<'a> {
    comment: &'a str,
    name: &'a str,
    operations: &'a str,
    resource: &'a str,
    /// CEL: it is left out.
    condition: &'a str,
    /// CEL: the JSON patch that fills it in.
    patch: &'a str,
}

fn mutating(policy: Mutating<'_>) -> String {
    let Mutating { comment, name, operations, resource, condition, patch } = policy;
    format!(
        "# {comment}\n\
         apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata:\n  name: rolecall-{name}\n\
         spec:\n  failurePolicy: Fail\n  reinvocationPolicy: Never\n  matchConstraints:\n    resourceRules:\n    \
         - apiGroups: [{GROUP}]\n      apiVersions: [\"*\"]\n      operations: [{operations}]\n      resources: [{resource}]\n  \
         matchConditions:\n  - name: is-absent\n    expression: |-\n{}  mutations:\n  - patchType: JSONPatch\n    jsonPatch:\n      \
         expression: |-\n{}",
        block(6, condition),
        block(8, patch),
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
            let resources = crds().into_iter().flat_map(|crd| {
                let subresources =
                    crd.spec.versions.first().and_then(|version| version.subresources.as_ref());
                let status = subresources.and_then(|subresources| subresources.status.as_ref());
                let plural = crd.spec.names.plural.clone();
                status.map(|_| format!("{plural}/status")).into_iter().chain([crd.spec.names.plural])
            });
            resources.collect::<Vec<_>>().join(", ")
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
        assert_eq!(policies.len(), 9);
        for (path, text) in policies {
            let policy: Value = serde_saphyr::from_str(text).unwrap();
            let name = policy["metadata"]["name"].as_str().unwrap();
            assert!(bound.contains(&format!("policyName: {name}\n")), "{path}");
            assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{path}");
        }
    }

    #[test]
    fn no_expression_looks_up_more_rights_than_the_api_server_does() {
        for policy in policies() {
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
