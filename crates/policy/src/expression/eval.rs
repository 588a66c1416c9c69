//! Evaluation, within a budget of steps.

use std::rc::Rc;

use super::node::{Each, Function, Macro, Node, Operator};
use super::value::Value;
use crate::spec::{Labels, Traits};

/// Steps that one evaluation may take: some milliseconds. One step is an operator, a call, an item that a macro
/// goes through, or some dozens of bytes that are read or written.
const BUDGET: usize = 100_000;

/// Why an expression has no truth value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An operator or function got values that it does not work on.
    #[error("{0} got a value that it does not work on")]
    Type(&'static str),
    /// A list has no item at an index, or a map that is written out has no such key.
    #[error("there is nothing at the index")]
    Missing,
    /// A number is too large, or divided by zero.
    #[error("{0} has no result")]
    Arithmetic(&'static str),
    /// A text is not a number or truth value.
    #[error("{0} cannot read {1:?}")]
    Conversion(&'static str, String),
    /// The budget is used up.
    #[error("the expression takes more than {BUDGET} steps")]
    TooExpensive,
}

pub(super) fn evaluate(root: &Node, labels: &Labels, traits: &Traits) -> Result<bool, Failure> {
    let mut evaluation = Evaluation { labels, traits, variables: Vec::new(), left: BUDGET };
    match evaluation.value(root)? {
        Value::Bool(value) => Ok(value),
        _ => Err(Failure::Type("the condition")),
    }
}

struct Evaluation<'a> {
    labels: &'a Labels,
    traits: &'a Traits,
    variables: Vec<Value<'a>>,
    left: usize,
}

type Outcome<'a> = Result<Value<'a>, Failure>;

impl<'a> Evaluation<'a> {
    fn charge(&mut self, steps: usize) -> Result<(), Failure> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Failure::TooExpensive)
            }
        }
    }

    /// Charges for going through a value.
    fn charge_for(&mut self, value: &Value<'a>) -> Result<(), Failure> {
        self.charge(value.cost(self.left))
    }

    fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.charge(1)?;
        Ok(match node {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Double(value) => Value::Double(*value),
            Node::Text(text) => Value::Text(text),
            Node::Labels => Value::Labels(self.labels),
            Node::Traits => Value::Traits(self.traits),
            Node::Variable(slot) => self.variables.get(*slot).cloned().ok_or(Failure::Type("a variable"))?,
            Node::List(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)
            }
            Node::Map(entries) => self.map(entries)?,
            Node::Not(a) => Value::Bool(!self.truth(a, "!")?),
            Node::Negate(a) => match self.value(a)? {
                Value::Int(a) => Value::Int(a.checked_neg().ok_or(Failure::Arithmetic("-"))?),
                Value::Double(a) => Value::Double(-a),
                _ => return Err(Failure::Type("-")),
            },
            Node::And(a, b) => self.either(a, b, false, "&&")?,
            Node::Or(a, b) => self.either(a, b, true, "||")?,
            Node::Conditional(condition, yes, no) => {
                let chosen = if self.truth(condition, "?:")? { yes } else { no };
                self.value(chosen)?
            }
            Node::Binary(operator, a, b) => {
                let a = self.value(a)?;
                let b = self.value(b)?;
                self.binary(*operator, a, b)?
            }
            Node::Index(container, key) => {
                let container = self.value(container)?;
                let key = self.value(key)?;
                index(&container, &key)?
            }
            Node::Has(map, key) => Value::Bool(self.value(map)?.has_key(key).ok_or(Failure::Type("has"))?),
            Node::Call(function, arguments) => {
                let first = arguments.first().map_or(Ok(Value::Null), |argument| self.value(argument))?;
                let second = arguments.get(1).map_or(Ok(Value::Null), |argument| self.value(argument))?;
                self.charge_for(&first)?;
                self.charge_for(&second)?;
                call(*function, first, &second)?
            }
            Node::Matches(text, regex) => {
                let text = self.value(text)?;
                let text = text.text().ok_or(Failure::Type("matches"))?;
                self.charge(text.len())?;
                Value::Bool(regex.is_match(text))
            }
            Node::Each(kind, each) => self.each(*kind, each)?,
        })
    }

    fn truth(&mut self, node: &'a Node, operator: &'static str) -> Result<bool, Failure> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Failure::Type(operator)),
        }
    }

    /// `&&` and `||`: whichever side decides makes up for a failure of the other.
    fn either(&mut self, a: &'a Node, b: &'a Node, decisive: bool, operator: &'static str) -> Outcome<'a> {
        let a = self.truth(a, operator);
        if a == Ok(decisive) {
            return Ok(Value::Bool(decisive));
        }
        let b = self.truth(b, operator)?;
        if b == decisive { Ok(Value::Bool(b)) } else { a.map(Value::Bool) }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        let mut map = std::collections::BTreeMap::new();
        for (key, value) in entries {
            let key = self.value(key)?;
            let key = key.text().ok_or(Failure::Type("the key of a map"))?.to_owned();
            self.charge(key.len() / 32)?;
            let value = self.value(value)?;
            if map.insert(key, value).is_some() {
                return Err(Failure::Type("a map with a key that it has already"));
            }
        }
        Ok(Value::Map(Rc::new(map)))
    }

    fn binary(&mut self, operator: Operator, a: Value<'a>, b: Value<'a>) -> Outcome<'a> {
        let compared = |sign| a.compare(&b).ok_or(Failure::Type(sign));
        Ok(Value::Bool(match operator {
            Operator::Equal | Operator::NotEqual => {
                self.charge(a.cost(self.left).min(b.cost(self.left)))?;
                a.equals(&b) == (operator == Operator::Equal)
            }
            Operator::Less => compared("<")?.is_lt(),
            Operator::LessOrEqual => compared("<=")?.is_le(),
            Operator::Greater => compared(">")?.is_gt(),
            Operator::GreaterOrEqual => compared(">=")?.is_ge(),
            Operator::In => return self.contains(&a, &b),
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Remainder => {
                return self.arithmetic(operator, &a, &b);
            }
        }))
    }

    fn contains(&mut self, item: &Value<'a>, container: &Value<'a>) -> Outcome<'a> {
        if container.is_list() {
            self.charge_for(container)?;
            return Ok(Value::Bool(container.items().into_iter().flatten().any(|other| other.equals(item))));
        }
        let key = item.text().ok_or(Failure::Type("in"))?;
        Ok(Value::Bool(container.has_key(key).ok_or(Failure::Type("in"))?))
    }

    fn arithmetic(&mut self, operator: Operator, a: &Value<'a>, b: &Value<'a>) -> Outcome<'a> {
        match (a, b) {
            (Value::Int(a), Value::Int(b)) => {
                let (sign, result) = match operator {
                    Operator::Add => ("+", a.checked_add(*b)),
                    Operator::Subtract => ("-", a.checked_sub(*b)),
                    Operator::Multiply => ("*", a.checked_mul(*b)),
                    Operator::Divide => ("/", a.checked_div(*b)),
                    _ => ("%", a.checked_rem(*b)),
                };
                result.map(Value::Int).ok_or(Failure::Arithmetic(sign))
            }
            (Value::Double(a), Value::Double(b)) => Ok(Value::Double(match operator {
                Operator::Add => a + b,
                Operator::Subtract => a - b,
                Operator::Multiply => a * b,
                Operator::Divide => a / b,
                _ => return Err(Failure::Type("%")),
            })),
            _ if operator == Operator::Add => {
                self.charge_for(a)?;
                self.charge_for(b)?;
                if let (Some(a), Some(b)) = (a.text(), b.text()) {
                    return Ok(Value::Built([a, b].concat().into()));
                }
                if a.is_list() && b.is_list() {
                    let items = [a.items(), b.items()].into_iter().flatten().flatten();
                    return Ok(Value::List(items.collect()));
                }
                Err(Failure::Type("+"))
            }
            _ => Err(Failure::Type("arithmetic")),
        }
    }

    fn each(&mut self, kind: Macro, each: &'a Each) -> Outcome<'a> {
        let range = self.value(&each.range)?;
        let items = range.items().ok_or(Failure::Type("a macro"))?;
        // A failure is made up for by an item that decides.
        let mut failure = None;
        let mut found = 0_usize;
        let mut collected = Vec::new();
        for item in items {
            self.variables.push(item.clone());
            let outcome = self.item(kind, each);
            self.variables.pop();
            match (kind, outcome) {
                (_, Err(Failure::TooExpensive)) => return Err(Failure::TooExpensive),
                (Macro::All, Ok(Some(Value::Bool(false)))) => return Ok(Value::Bool(false)),
                (Macro::Exists, Ok(Some(Value::Bool(true)))) => return Ok(Value::Bool(true)),
                (Macro::All | Macro::Exists, Err(error)) => failure = failure.or(Some(error)),
                (_, Err(error)) => return Err(error),
                (Macro::ExistsOne, Ok(Some(Value::Bool(true)))) => found += 1,
                (Macro::Filter, Ok(Some(Value::Bool(true)))) => collected.push(item),
                (Macro::Map, Ok(Some(value))) => collected.push(value),
                _ => {}
            }
        }
        match (failure, kind) {
            (Some(failure), _) => Err(failure),
            (None, Macro::All) => Ok(Value::Bool(true)),
            (None, Macro::Exists) => Ok(Value::Bool(false)),
            (None, Macro::ExistsOne) => Ok(Value::Bool(found == 1)),
            (None, Macro::Filter | Macro::Map) => Ok(Value::List(collected.into())),
        }
    }

    /// What a macro makes of one item; `None` where the filter of `map` leaves it out.
    fn item(&mut self, kind: Macro, each: &'a Each) -> Result<Option<Value<'a>>, Failure> {
        self.charge(1)?;
        if let Some(filter) = &each.filter
            && !self.truth(filter, "map")?
        {
            return Ok(None);
        }
        match kind {
            Macro::Map => self.value(&each.body).map(Some),
            _ => self.truth(&each.body, "a macro").map(|truth| Some(Value::Bool(truth))),
        }
    }
}

fn index<'a>(container: &Value<'a>, key: &Value<'a>) -> Outcome<'a> {
    if container.is_list() {
        let position = match key {
            Value::Int(position) => usize::try_from(*position).ok(),
            Value::Double(position) if position.fract() == 0.0 && *position >= 0.0 => {
                Some(*position as usize)
            }
            Value::Double(_) => None,
            _ => return Err(Failure::Type("[]")),
        };
        return position.and_then(|position| container.item(position)).ok_or(Failure::Missing);
    }
    let (Some(_), Some(key)) = (container.has_key(""), key.text()) else {
        return Err(Failure::Type("[]"));
    };
    container.at(key).ok_or(Failure::Missing)
}

fn call<'a>(function: Function, first: Value<'a>, second: &Value<'a>) -> Outcome<'a> {
    let texts = |name, test: fn(&str, &str) -> bool| match (first.text(), second.text()) {
        (Some(first), Some(second)) => Ok(Value::Bool(test(first, second))),
        _ => Err(Failure::Type(name)),
    };
    match function {
        Function::Size => {
            let size = first.text().map(|text| text.chars().count()).or_else(|| first.count());
            let size = size.ok_or(Failure::Type("size"))?;
            i64::try_from(size).map(Value::Int).map_err(|_| Failure::Arithmetic("size"))
        }
        Function::Contains => texts("contains", |text, part| text.contains(part)),
        Function::StartsWith => texts("startsWith", |text, part| text.starts_with(part)),
        Function::EndsWith => texts("endsWith", |text, part| text.ends_with(part)),
        Function::String => Ok(match first {
            Value::Int(value) => Value::Built(value.to_string().into()),
            Value::Double(value) => Value::Built(value.to_string().into()),
            Value::Bool(value) => Value::Built(value.to_string().into()),
            text @ (Value::Text(_) | Value::Built(_)) => text,
            _ => return Err(Failure::Type("string")),
        }),
        Function::Int => match &first {
            Value::Int(value) => Ok(Value::Int(*value)),
            // Strictly between the doubles next to the ends: they themselves do not fit.
            Value::Double(value) if value.abs() < 9_223_372_036_854_775_807.0 => {
                Ok(Value::Int(*value as i64))
            }
            Value::Double(_) => Err(Failure::Arithmetic("int")),
            _ => convert("int", &first, Value::Int),
        },
        Function::Double => match &first {
            Value::Int(value) => Ok(Value::Double(*value as f64)),
            Value::Double(value) => Ok(Value::Double(*value)),
            _ => convert("double", &first, Value::Double),
        },
        Function::Bool => match first.text() {
            Some("1" | "t" | "true" | "TRUE" | "True") => Ok(Value::Bool(true)),
            Some("0" | "f" | "false" | "FALSE" | "False") => Ok(Value::Bool(false)),
            Some(text) => Err(Failure::Conversion("bool", shorten(text))),
            None => match first {
                Value::Bool(value) => Ok(Value::Bool(value)),
                _ => Err(Failure::Type("bool")),
            },
        },
        Function::Dyn => Ok(first),
    }
}

fn convert<'a, T: std::str::FromStr>(
    name: &'static str,
    value: &Value<'a>,
    make: fn(T) -> Value<'a>,
) -> Outcome<'a> {
    let text = value.text().ok_or(Failure::Type(name))?;
    text.parse().map(make).map_err(|_| Failure::Conversion(name, shorten(text)))
}

/// Messages do not repeat long values.
fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
