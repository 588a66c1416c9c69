use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn labels() -> Labels {
    [("env", "prod"), ("team", "blue"), ("tier", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn traits() -> Traits {
    [("team", vec!["blue", "green"]), ("none", vec![])]
        .map(|(k, v)| (k.to_owned(), v.into_iter().map(str::to_owned).collect()))
        .into()
}

fn evaluate(source: &str) -> Result<bool, Failure> {
    Expression::compile(source)
        .unwrap_or_else(|faults| panic!("{source}: {faults:?}"))
        .evaluate(&labels(), &traits())
}

fn faults(source: &str) -> String {
    Expression::compile(source).expect_err(source).join("; ")
}

#[test]
fn missing_labels_and_traits_are_empty() {
    for source in [
        "labels[\"zone\"] == \"\"",
        "labels.zone == \"\"",
        "traits[\"x\"] == []",
        "size(traits.x) == 0",
        "!(\"zone\" in labels)",
        "!has(labels.zone)",
        "!(\"x\" in traits)",
        "!traits.x.exists(t, true)",
    ] {
        assert_eq!(evaluate(source), Ok(true), "{source}");
    }
}

#[test]
fn the_usual_expressions_are_true() {
    for source in [
        "\"team\" in labels && \"team\" in traits && traits[\"team\"].exists(t, t == labels[\"team\"])",
        "labels.team in traits.team",
        "!(\"region\" in labels) || labels[\"region\"] in [\"a\", \"b\"]",
        "traits.team.all(t, t.startsWith(\"b\") || t.endsWith(\"n\"))",
        "traits.team.exists_one(t, t.contains(\"lu\"))",
        "traits.team.filter(t, t != \"blue\") == [\"green\"]",
        "traits.team.map(t, \"x-\" + t)[1] == \"x-green\"",
        "traits.team.map(t, t != \"blue\", size(t)) == [5]",
        "traits.team + [\"red\"] == [\"blue\", \"green\", \"red\"]",
        "labels.env.matches(\"^p.o\")",
        "matches(labels.env, \"d$\")",
        "int(labels.tier) > 1 && double(labels.tier) < 2.5 && string(2) == labels.tier",
        "labels.env == \"prod\" ? true : false",
        "{\"prod\": [\"blue\"]}[labels.env] == [\"blue\"]",
        "labels.exists(k, k == \"env\" && labels[k] == \"prod\")",
        "size(labels) == 3 && \"é\".size() == 1",
        "-1 < 0 && 7 / 2 * 2 + 7 % 2 == 7 && 1 == 1.0",
        "[[1, 2], [3]].exists(x, x.exists(y, y == 3))",
        "has(labels.env) && labels != {\"env\": \"prod\"}",
        "dyn(labels.env) != 1",
        "bool(\"true\")",
    ] {
        assert_eq!(evaluate(source), Ok(true), "{source}");
    }
}

#[test]
fn failures_are_made_up_for_by_the_side_that_decides() {
    assert_eq!(evaluate("int(labels.env) > 1 || true"), Ok(true));
    assert_eq!(evaluate("int(labels.env) > 1 && false"), Ok(false));
    assert!(evaluate("int(labels.env) > 1 || false").is_err());
    assert_eq!(evaluate("[\"x\", \"1\"].exists(t, int(t) == 1)"), Ok(true));
    assert!(evaluate("[\"x\", \"1\"].exists(t, int(t) == 2)").is_err());
    assert_eq!(evaluate("[\"x\", \"1\"].all(t, int(t) == 2)"), Ok(false));
    for source in
        ["traits.team[2] == \"\"", "1 / 0 == 1", "{\"a\": true}[labels.env]", "[\"x\"].map(t, int(t)) == []"]
    {
        assert!(evaluate(source).is_err(), "{source}");
    }
}

#[test]
fn faults_name_what_is_wrong() {
    for (source, part) in [
        ("a bad expression", "parse"),
        ("labels[\"env\"] == ", "parse"),
        ("", "parse"),
        ("resource.labels == labels", "unknown variable resource"),
        ("contains_any(labels.env)", "unknown function contains_any"),
        ("labels[\"env\"]", "string, not a bool"),
        ("labels.env > 1", "> does not work on string and int"),
        ("labels.env && true", "&& does not work"),
        ("!labels.env", "! does not work"),
        ("traits.team == \"blue\"", "== does not work on list(string) and string"),
        ("labels.env.exists(t, true)", "exists does not work on string"),
        ("traits.team.exists(t)", "exists needs"),
        ("traits.team.exists(\"t\", true)", "name of a variable"),
        ("labels.env.matches(labels.team)", "written out"),
        ("labels.env.matches(\"(\")", "not a regular expression"),
        ("startsWith(labels.env, \"a\")", "is called as"),
        ("size() == 1", "number of arguments"),
        ("1u == 1u", "unsigned"),
        ("b\"a\" == b\"a\"", "bytes"),
        ("timestamp(\"x\") == 1", "unknown function timestamp"),
        ("a.b.C{x: 1} == 1", "messages"),
        ("has(labels)", "has needs a field"),
        ("t == 1 || [1].exists(t, t == 1)", "unknown variable t"),
    ] {
        let message = faults(source);
        assert!(message.contains(part), "{source}: {message}");
        assert!(!message.contains('\n'), "{source}: {message}");
    }
}

#[test]
fn every_fault_is_reported() {
    let message = faults("a == b || c(labels.env)");
    for part in ["variable a", "variable b", "function c"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn bombs_are_refused_when_they_are_read() {
    let bombs = [
        "(".repeat(1000) + &")".repeat(1000),
        "[".repeat(900) + &"]".repeat(900) + " == []",
        vec!["1"; 900].join("+") + " == 1",
        "labels".to_owned() + &".a".repeat(900) + " == \"\"",
        "labels".to_owned() + &"[0]".repeat(600) + " == \"\"",
        "true?".repeat(300),
        "][".repeat(1000),
        "labels.a.matches(\"((a{1000}){1000}){1000}\")".to_owned(),
        "true || ".repeat(100_000) + "true",
    ];
    for bomb in bombs {
        // A small stack, as threads of a server have.
        let start = Instant::now();
        let read =
            std::thread::Builder::new().stack_size(256 << 10).spawn(move || Expression::compile(&bomb).err());
        let faults = read.expect("thread").join().expect("no panic").expect("refused");
        assert!(!faults.is_empty());
        assert!(start.elapsed() < Duration::from_secs(10), "{faults:?}");
    }
}

#[test]
fn the_deepest_nesting_fits_the_parsers_stack() {
    let nested = |open: &str, close: &str, depth: usize| {
        let sum = vec!["1"; 40].join("+");
        format!("{}{sum}{} == 1", open.repeat(depth), close.repeat(depth))
    };
    let allowed = (1..40).take_while(|depth| Expression::compile(&nested("(", ")", *depth)).is_ok()).count();
    assert!((10..40).contains(&allowed), "{allowed}");
    for depth in 1..40 {
        let _ = Expression::compile(&nested("[", "]", depth));
        let _ = Expression::compile(&nested("size(\"\" + string(", "))", depth));
        let _ = Expression::compile(&nested("traits.a.exists(t, (", "))", depth));
    }
}

#[test]
fn bombs_end_at_the_budget() {
    let many: Vec<String> = (0..2000).map(|i| format!("value-{i}")).collect();
    let traits = Traits::from([("many".to_owned(), many), ("long".to_owned(), vec!["x".repeat(1 << 20)])]);
    for bomb in [
        "traits.many.all(a, traits.many.all(b, traits.many.all(c, a + b + c != \"\")))",
        "traits.many.map(a, traits.many.map(b, traits.many)).size() > 0",
        "traits.many.exists(a, a.matches(\"^(a|b|v)*x$\") || traits.many.exists(b, b in traits.many && b == \"\"))",
        "traits.long.map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)[0] == \"\"",
        "[1].map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a])\
         .map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a])\
         .map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a])\
         .map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a,[a,a]).map(a, a + a) == []",
        "traits.many.all(a, traits.long[0].contains(a) || true)",
        "[1,1,1,1,1,1,1,1,1,1].map(a, [1,1,1,1,1,1,1,1,1,1].map(b, [1,1,1,1,1,1,1,1,1,1].map(c, \
         [1,1,1,1,1,1,1,1,1,1].map(d, [1,1,1,1,1,1,1,1,1,1].map(e, [a,b,c,d,e]))))).size() == 1",
    ] {
        let expression = Expression::compile(bomb).expect(bomb);
        let start = Instant::now();
        assert_eq!(expression.evaluate(&labels(), &traits), Err(Failure::TooExpensive), "{bomb}");
        assert!(start.elapsed() < Duration::from_secs(1), "{bomb} took {:?}", start.elapsed());
    }
}

#[test]
fn knows_which_labels_matter() {
    let keys = |source: &str| Expression::compile(source).expect(source).label_keys().map(|k| k.join(","));
    assert_eq!(
        keys("labels.a == \"\" && labels[\"b\"] in traits.c && has(labels.d) || \"e\" in labels").as_deref(),
        Some("a,b,d,e")
    );
    assert_eq!(keys("labels.exists(k, k == \"\")"), None);
    assert_eq!(keys("traits.team.exists(t, labels[t] == \"\")"), None);
    assert_eq!(keys("size(labels) == 0"), None);
}

/// Truth values, numbers and strings in random combinations, typed by construction.
fn conditions() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("labels[\"env\"]".to_owned()),
        Just("labels.team".to_owned()),
        "[a-z]{0,3}".prop_map(|t| format!("\"{t}\"")),
        Just("(\"pro\" + \"d\")".to_owned()),
    ];
    let number = prop_oneof![
        (-3_i64..3).prop_map(|n| format!("({n})")),
        text.clone().prop_map(|t| format!("size({t})")),
        Just("int(labels[\"tier\"])".to_owned()),
        Just("int(labels[\"env\"])".to_owned()),
        (-3_i64..3, -1_i64..2).prop_map(|(a, b)| format!("({a} / {b})")),
    ];
    let leaf = prop_oneof![
        (text.clone(), text.clone(), 0..4_usize)
            .prop_map(|(a, b, i)| format!("{a} {} {b}", ["==", "!=", "<", ">="][i])),
        (number.clone(), number.clone(), 0..4_usize)
            .prop_map(|(a, b, i)| format!("{a} {} {b}", ["==", "!=", "<=", ">"][i])),
        (text.clone(), text.clone(), 0..3_usize)
            .prop_map(|(a, b, i)| format!("{a}.{}({b})", ["contains", "startsWith", "endsWith"][i])),
        text.clone().prop_map(|t| format!("{t} in traits[\"team\"]")),
        text.prop_map(|t| format!("{t} in labels")),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("(({a}) ? ({b}) : ({c}))")),
            (inner.clone(), 0..3_usize).prop_map(|(a, i)| format!(
                "traits[\"team\"].{}(t, t == \"blue\" || {a})",
                ["all", "exists", "exists_one"][i]
            )),
            inner.prop_map(|a| format!("traits[\"team\"].filter(t, {a}).size() == 1")),
        ]
    })
}

/// What the `cel` crate's own interpreter makes of it; `None` where it fails.
fn reference(source: &str) -> Option<bool> {
    let program = cel::Program::compile(source).expect(source);
    let mut context = cel::Context::default();
    context.add_variable("labels", labels()).expect("labels");
    context.add_variable("traits", traits()).expect("traits");
    match program.execute(&context) {
        Ok(cel::Value::Bool(value)) => Some(value),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_the_interpreter_of_the_cel_crate(source in conditions()) {
        prop_assert_eq!(evaluate(&source).ok(), reference(&source), "{}", source);
    }

    #[test]
    fn reading_never_panics(source in "[ -~é]{0,60}") {
        let _ = Expression::compile(&source);
    }

    #[test]
    fn reading_fragments_never_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "labels", "traits", ".a", "[\"a\"]", "[", "]", "(", ")", "{", "}", "\"a\"", "'", "1", "1.5", "-", "!", "==",
        "in", "&&", "||", "?", ":", ",", ".exists(", "t", "has(", "matches(", "r\"", "\\", "0x", "1e9999", "null",
        "99999999999999999999", "u",
    ]), 0..20)) {
        let _ = Expression::compile(&parts.concat());
    }
}
