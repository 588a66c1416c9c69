//! A checked expression.

use std::sync::Arc;

use regex::Regex;

use super::types::Type;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Arc<str>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// The map of labels.
    Labels,
    /// The map of traits.
    Traits,
    /// The variable of the enclosing macro at this depth, counted from the outermost.
    Variable(usize),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// A map's value at a key, or a list's element at an index.
    Index(Box<Node>, Box<Node>),
    Has(Box<Node>, Arc<str>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Regex),
    Each(Macro, Box<Each>),
}

/// `range.macro(variable, body)`, and for `map` with three arguments a filter before it.
#[derive(Clone, Debug)]
pub(super) struct Each {
    pub(super) range: Node,
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    In,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Macro {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    String,
    Int,
    Double,
    Bool,
    Dyn,
}

impl Function {
    /// A function by name, with how many arguments it takes, the one before the dot included.
    pub(super) fn named(name: &str) -> Option<(Self, usize)> {
        Some(match name {
            "size" => (Self::Size, 1),
            "contains" => (Self::Contains, 2),
            "startsWith" => (Self::StartsWith, 2),
            "endsWith" => (Self::EndsWith, 2),
            "string" => (Self::String, 1),
            "int" => (Self::Int, 1),
            "double" => (Self::Double, 1),
            "bool" => (Self::Bool, 1),
            "dyn" => (Self::Dyn, 1),
            _ => return None,
        })
    }

    /// How it may be called: as `f(x)`, as `x.f()`.
    pub(super) fn styles(self) -> (bool, bool) {
        match self {
            Self::Size => (true, true),
            Self::Contains | Self::StartsWith | Self::EndsWith => (false, true),
            _ => (true, false),
        }
    }

    /// The type of its result where its arguments can have these types.
    pub(super) fn result(self, arguments: &[Type]) -> Option<Type> {
        let text = |i: usize| arguments.get(i).is_some_and(|t: &Type| t.can_be(&Type::String));
        let one_of = |types: &[Type]| {
            arguments.first().is_some_and(|argument| types.iter().any(|wanted| argument.can_be(wanted)))
        };
        let any = || Box::new(Type::Any);
        match self {
            Self::Size => one_of(&[Type::String, Type::List(any()), Type::Map(any())]).then_some(Type::Int),
            Self::Contains | Self::StartsWith | Self::EndsWith => (text(0) && text(1)).then_some(Type::Bool),
            Self::String => {
                one_of(&[Type::String, Type::Int, Type::Double, Type::Bool]).then_some(Type::String)
            }
            Self::Int => one_of(&[Type::String, Type::Int, Type::Double]).then_some(Type::Int),
            Self::Double => one_of(&[Type::String, Type::Int, Type::Double]).then_some(Type::Double),
            Self::Bool => one_of(&[Type::String, Type::Bool]).then_some(Type::Bool),
            Self::Dyn => Some(Type::Any),
        }
    }
}

impl Node {
    /// Collects the keys by which labels are read; false where they are read in another way too.
    pub(super) fn label_keys<'a>(&'a self, keys: &mut Vec<&'a str>) -> bool {
        match self {
            Self::Labels => false,
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Traits
            | Self::Variable(_) => true,
            Self::Index(map, key) => match (&**map, &**key) {
                (Self::Labels, Self::Text(key)) => {
                    keys.push(key);
                    true
                }
                (map, key) => map.label_keys(keys) && key.label_keys(keys),
            },
            Self::Has(map, key) => match &**map {
                Self::Labels => {
                    keys.push(key);
                    true
                }
                map => map.label_keys(keys),
            },
            Self::Binary(Operator::In, item, container) => match (&**item, &**container) {
                (Self::Text(key), Self::Labels) => {
                    keys.push(key);
                    true
                }
                (item, container) => item.label_keys(keys) && container.label_keys(keys),
            },
            Self::Not(a) | Self::Negate(a) | Self::Matches(a, _) => a.label_keys(keys),
            Self::And(a, b) | Self::Or(a, b) | Self::Binary(_, a, b) => {
                a.label_keys(keys) && b.label_keys(keys)
            }
            Self::Conditional(a, b, c) => a.label_keys(keys) && b.label_keys(keys) && c.label_keys(keys),
            Self::List(items) | Self::Call(_, items) => items.iter().all(|item| item.label_keys(keys)),
            Self::Map(entries) => entries.iter().all(|(k, v)| k.label_keys(keys) && v.label_keys(keys)),
            Self::Each(_, each) => {
                each.range.label_keys(keys)
                    && each.filter.as_ref().is_none_or(|filter| filter.label_keys(keys))
                    && each.body.label_keys(keys)
            }
        }
    }
}
