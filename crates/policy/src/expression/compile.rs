//! From syntax to a checked expression.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};

use super::node::{Each, Function, Macro, Node, Operator};
use super::types::Type;
use crate::pattern::{RegexSize, compile_regex};

/// How deep operators and calls may nest: it bounds the stack that evaluation needs.
const MAX_DEPTH: usize = 64;

/// Checks a parsed expression that must be a truth value.
pub(super) fn compile(syntax: &IdedExpr) -> Result<Node, Vec<String>> {
    let mut compiler = Compiler { faults: Vec::new(), variables: Vec::new(), depth: 0 };
    let (root, result) = compiler.expression(syntax);
    if !result.can_be(&Type::Bool) {
        compiler.fault(format!("the expression is a {result}, not a bool: compare it with something"));
    }
    if compiler.faults.is_empty() { Ok(root) } else { Err(compiler.faults) }
}

struct Compiler {
    faults: Vec<String>,
    /// Variables of the enclosing macros, outermost first.
    variables: Vec<(String, Type)>,
    depth: usize,
}

type Typed = (Node, Type);

/// Replaces what cannot be checked; other faults are still found.
const UNKNOWN: Typed = (Node::Null, Type::Any);

impl Compiler {
    fn fault(&mut self, message: String) -> Typed {
        if !self.faults.contains(&message) {
            self.faults.push(message);
        }
        UNKNOWN
    }

    fn expression(&mut self, syntax: &IdedExpr) -> Typed {
        if self.depth == MAX_DEPTH {
            return self.fault(format!("the expression nests deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let typed = match &syntax.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) if !select.test => {
                let key = (Node::Text(select.field.as_str().into()), Type::String);
                let operand = self.expression(&select.operand);
                self.index(operand, key)
            }
            Expr::List(list) => {
                let items: Vec<Typed> = list.elements.iter().map(|item| self.expression(item)).collect();
                let (items, types): (Vec<_>, Vec<_>) = items.into_iter().unzip();
                (
                    Node::List(items),
                    Type::List(Box::new(types.into_iter().reduce(Type::join).unwrap_or(Type::Any))),
                )
            }
            Expr::Map(map) => self.map(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Call(call) => self.call(call),
            Expr::Struct(_) | Expr::Select(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                self.fault("messages have no use here: there are labels and traits".to_owned())
            }
        };
        self.depth -= 1;
        typed
    }

    fn literal(&mut self, literal: &LiteralValue) -> Typed {
        match literal {
            LiteralValue::Null => (Node::Null, Type::Null),
            LiteralValue::Boolean(value) => (Node::Bool(*value.inner()), Type::Bool),
            LiteralValue::Int(value) => (Node::Int(*value.inner()), Type::Int),
            LiteralValue::Double(value) => (Node::Double(*value.inner()), Type::Double),
            LiteralValue::String(value) => (Node::Text(value.inner().into()), Type::String),
            LiteralValue::UInt(_) => {
                self.fault("unsigned numbers have no use here: write 1 for 1u".to_owned())
            }
            LiteralValue::Bytes(_) => self.fault("bytes have no use here: write \"a\" for b\"a\"".to_owned()),
        }
    }

    fn variable(&mut self, name: &str) -> Typed {
        if let Some(slot) = self.variables.iter().rposition(|(variable, _)| variable == name) {
            return (Node::Variable(slot), self.variables[slot].1.clone());
        }
        match name {
            "labels" => (Node::Labels, Type::Map(Box::new(Type::String))),
            "traits" => (Node::Traits, Type::Map(Box::new(Type::List(Box::new(Type::String))))),
            _ => self.fault(format!("unknown variable {name}: there are labels and traits")),
        }
    }

    fn map<'a>(&mut self, entries: impl Iterator<Item = &'a EntryExpr>) -> Typed {
        let mut nodes = Vec::new();
        let mut result: Option<Type> = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry else {
                return self.fault("messages have no use here: there are labels and traits".to_owned());
            };
            let (key, key_type) = self.expression(&entry.key);
            if !key_type.can_be(&Type::String) {
                self.fault(format!("the key of a map is a {key_type}: keys are strings"));
            }
            let (value, value_type) = self.expression(&entry.value);
            result = Some(match result {
                Some(joined) => joined.join(value_type),
                None => value_type,
            });
            nodes.push((key, value));
        }
        (Node::Map(nodes), Type::Map(Box::new(result.unwrap_or(Type::Any))))
    }

    fn index(&mut self, (container, container_type): Typed, (key, key_type): Typed) -> Typed {
        let (key_fits, item) = match &container_type {
            Type::Map(value) => (key_type.can_be(&Type::String), (**value).clone()),
            Type::List(item) => (key_type.is_number(), (**item).clone()),
            Type::Any => (true, Type::Any),
            _ => (false, Type::Any),
        };
        if !key_fits {
            return self.fault(format!("a {container_type} has nothing at a {key_type}"));
        }
        (Node::Index(Box::new(container), Box::new(key)), item)
    }

    fn call(&mut self, call: &CallExpr) -> Typed {
        let name = call.func_name.as_str();
        match (&call.target, call.args.as_slice()) {
            (None, [a, b]) if name == operators::LOGICAL_AND => self.logical(Node::And, "&&", a, b),
            (None, [a, b]) if name == operators::LOGICAL_OR => self.logical(Node::Or, "||", a, b),
            (None, [a]) if name == operators::LOGICAL_NOT => {
                let (a, a_type) = self.expression(a);
                self.require(a_type.can_be(&Type::Bool), "!", &[&a_type]);
                (Node::Not(Box::new(a)), Type::Bool)
            }
            (None, [a]) if name == operators::NEGATE => {
                let (a, a_type) = self.expression(a);
                self.require(a_type.is_number(), "-", &[&a_type]);
                (Node::Negate(Box::new(a)), a_type)
            }
            (None, [condition, yes, no]) if name == operators::CONDITIONAL => {
                let (condition, condition_type) = self.expression(condition);
                self.require(condition_type.can_be(&Type::Bool), "?:", &[&condition_type]);
                let (yes, yes_type) = self.expression(yes);
                let (no, no_type) = self.expression(no);
                (Node::Conditional(Box::new(condition), Box::new(yes), Box::new(no)), yes_type.join(no_type))
            }
            (None, [container, key]) if name == operators::INDEX => {
                let container = self.expression(container);
                let key = self.expression(key);
                self.index(container, key)
            }
            (None, [a, b]) if binary_operator(name).is_some() => match binary_operator(name) {
                Some((operator, sign)) => self.binary(operator, sign, a, b),
                None => UNKNOWN,
            },
            (None, [IdedExpr { expr: Expr::Select(select), .. }]) if name == operators::HAS => {
                let (map, map_type) = self.expression(&select.operand);
                self.require(map_type.can_be(&Type::Map(Box::new(Type::Any))), "has", &[&map_type]);
                (Node::Has(Box::new(map), select.field.as_str().into()), Type::Bool)
            }
            (None, _) if name == operators::HAS => {
                self.fault("has needs a field, such as labels.env".to_owned())
            }
            (target, arguments) => {
                if let (Some(target), Some(kind)) = (target, macro_named(name)) {
                    return self.each(kind, name, target, arguments);
                }
                self.function(name, target.as_deref(), arguments)
            }
        }
    }

    /// Records a fault if operands never fit.
    fn require(&mut self, fits: bool, operator: &str, types: &[&Type]) {
        if !fits {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            self.fault(format!("{operator} does not work on {}", types.join(" and ")));
        }
    }

    fn logical(
        &mut self,
        node: fn(Box<Node>, Box<Node>) -> Node,
        sign: &str,
        a: &IdedExpr,
        b: &IdedExpr,
    ) -> Typed {
        let (a, a_type) = self.expression(a);
        let (b, b_type) = self.expression(b);
        self.require(a_type.can_be(&Type::Bool) && b_type.can_be(&Type::Bool), sign, &[&a_type, &b_type]);
        (node(Box::new(a), Box::new(b)), Type::Bool)
    }

    fn binary(&mut self, operator: Operator, sign: &str, a: &IdedExpr, b: &IdedExpr) -> Typed {
        let (a, a_type) = self.expression(a);
        let (b, b_type) = self.expression(b);
        let same = a_type.can_be(&b_type);
        let any_list = Type::List(Box::new(Type::Any));
        let (fits, result) = match operator {
            Operator::Equal | Operator::NotEqual => {
                let null = a_type == Type::Null || b_type == Type::Null;
                (same || null || (a_type.is_number() && b_type.is_number()), Type::Bool)
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                let ordered = a_type.is_number() || matches!(a_type, Type::Bool | Type::String);
                ((same && ordered) || (a_type.is_number() && b_type.is_number()), Type::Bool)
            }
            Operator::In => {
                let fits = match &b_type {
                    Type::List(item) => a_type.can_be(item) || (a_type.is_number() && item.is_number()),
                    Type::Map(_) => a_type.can_be(&Type::String),
                    Type::Any => true,
                    _ => false,
                };
                (fits, Type::Bool)
            }
            Operator::Add => {
                let addable = a_type.is_number() || a_type.can_be(&Type::String) || a_type.can_be(&any_list);
                (same && addable, a_type.clone().join(b_type.clone()))
            }
            Operator::Remainder => (a_type.can_be(&Type::Int) && b_type.can_be(&Type::Int), Type::Int),
            Operator::Subtract | Operator::Multiply | Operator::Divide => {
                (same && a_type.is_number() && b_type.is_number(), a_type.clone().join(b_type.clone()))
            }
        };
        self.require(fits, sign, &[&a_type, &b_type]);
        (Node::Binary(operator, Box::new(a), Box::new(b)), result)
    }

    fn each(&mut self, kind: Macro, name: &str, range: &IdedExpr, arguments: &[IdedExpr]) -> Typed {
        let (variable, filter, body) = match (kind, arguments) {
            (_, [variable, body]) => (variable, None, body),
            (Macro::Map, [variable, filter, body]) => (variable, Some(filter), body),
            _ => {
                return self.fault(format!(
                    "{name} needs a variable and a condition, such as {name}(t, t == \"a\")"
                ));
            }
        };
        let Expr::Ident(variable) = &variable.expr else {
            return self.fault(format!("the first argument of {name} must be the name of a variable"));
        };
        let (range, range_type) = self.expression(range);
        let item = match range_type {
            Type::List(item) => *item,
            Type::Map(_) => Type::String,
            Type::Any => Type::Any,
            other => {
                self.require(false, name, &[&other]);
                Type::Any
            }
        };
        self.variables.push((variable.clone(), item.clone()));
        let filter = filter.map(|filter| self.expression(filter));
        let (body, body_type) = self.expression(body);
        self.variables.pop();
        let condition = match (&filter, kind) {
            (Some((_, filter_type)), _) => filter_type.clone(),
            (None, Macro::Map) => Type::Bool,
            (None, _) => body_type.clone(),
        };
        self.require(condition.can_be(&Type::Bool), name, &[&condition]);
        let result = match kind {
            Macro::All | Macro::Exists | Macro::ExistsOne => Type::Bool,
            Macro::Filter => Type::List(Box::new(item)),
            Macro::Map => Type::List(Box::new(body_type)),
        };
        (Node::Each(kind, Box::new(Each { range, filter: filter.map(|(node, _)| node), body })), result)
    }

    fn function(&mut self, name: &str, target: Option<&IdedExpr>, arguments: &[IdedExpr]) -> Typed {
        let arguments: Vec<&IdedExpr> = target.into_iter().chain(arguments).collect();
        if name == "matches" {
            return self.matches(&arguments);
        }
        let Some((function, count)) = Function::named(name) else {
            return self.fault(format!("unknown function {name}"));
        };
        let (global, member) = function.styles();
        if (target.is_some() && !member) || (target.is_none() && !global) {
            let style = if member { format!("text.{name}(…)") } else { format!("{name}(…)") };
            return self.fault(format!("{name} is called as {style}"));
        }
        if arguments.len() != count {
            return self.fault(format!("{name} has a wrong number of arguments"));
        }
        let (nodes, types): (Vec<_>, Vec<_>) =
            arguments.into_iter().map(|argument| self.expression(argument)).unzip();
        match function.result(&types) {
            Some(result) => (Node::Call(function, nodes), result),
            None => {
                self.require(false, name, &types.iter().collect::<Vec<_>>());
                UNKNOWN
            }
        }
    }

    fn matches(&mut self, arguments: &[&IdedExpr]) -> Typed {
        let [text, pattern] = arguments else {
            return self.fault("matches has a wrong number of arguments".to_owned());
        };
        let (text, text_type) = self.expression(text);
        self.require(text_type.can_be(&Type::String), "matches", &[&text_type]);
        let (Node::Text(pattern), _) = self.expression(pattern) else {
            return self
                .fault("the pattern of matches must be written out, so that it is compiled once".to_owned());
        };
        match compile_regex(&pattern, RegexSize::Medium) {
            Ok(regex) => (Node::Matches(Box::new(text), regex), Type::Bool),
            Err(why) => self.fault(format!("{pattern:?} is not a regular expression: {why}")),
        }
    }
}

fn binary_operator(name: &str) -> Option<(Operator, &'static str)> {
    Some(match name {
        operators::EQUALS => (Operator::Equal, "=="),
        operators::NOT_EQUALS => (Operator::NotEqual, "!="),
        operators::LESS => (Operator::Less, "<"),
        operators::LESS_EQUALS => (Operator::LessOrEqual, "<="),
        operators::GREATER => (Operator::Greater, ">"),
        operators::GREATER_EQUALS => (Operator::GreaterOrEqual, ">="),
        operators::ADD => (Operator::Add, "+"),
        operators::SUBSTRACT => (Operator::Subtract, "-"),
        operators::MULTIPLY => (Operator::Multiply, "*"),
        operators::DIVIDE => (Operator::Divide, "/"),
        operators::MODULO => (Operator::Remainder, "%"),
        operators::IN => (Operator::In, "in"),
        _ => return None,
    })
}

fn macro_named(name: &str) -> Option<Macro> {
    Some(match name {
        operators::ALL => Macro::All,
        operators::EXISTS => Macro::Exists,
        operators::EXISTS_ONE | "existsOne" => Macro::ExistsOne,
        operators::FILTER => Macro::Filter,
        operators::MAP => Macro::Map,
        _ => return None,
    })
}
