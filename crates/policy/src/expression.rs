//! Label expressions: CEL over `labels` and `traits`.
//!
//! The `cel` crate reads the expressions. They are evaluated here, because three things are wanted that its
//! interpreter does not do: a cost limit, so that no expression can hang; labels and traits that are missing
//! read as empty; and regular expressions compiled once rather than in every evaluation.

mod compile;
mod eval;
mod node;
mod types;
mod value;

use std::fmt;

use crate::spec::{Labels, Traits};
use node::Node;

pub use eval::Failure;

/// Longest expression that is read.
const MAX_SOURCE: usize = 2048;

/// How deep parentheses, brackets and calls may nest. Every level costs an unoptimised parser some 200 KiB
/// of stack.
const MAX_NESTING: u16 = 24;

/// Stack for the parser; only what is used is ever backed by memory.
const PARSER_STACK: usize = 32 << 20;

/// A label expression, checked and ready to be evaluated.
///
/// The language is CEL over `labels`, a map of string to string, and `traits`, a map of string to list of string.
/// It has `null`, booleans, integers, doubles, strings, lists and maps with string keys; all operators; `has`,
/// `all`, `exists`, `exists_one`, `map` and `filter`; `size`, `contains`, `startsWith`, `endsWith`, `matches` (with
/// a pattern that is written out), and the conversions `string`, `int`, `double`, `bool` and `dyn`. Unsigned
/// numbers, bytes, times and messages have no use in labels and are refused.
///
/// Types are checked as far as they are known, so that `labels.tier > 1` is refused when it is read and not found
/// out when it is evaluated.
#[derive(Clone)]
pub struct Expression {
    source: Box<str>,
    root: Node,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    ///
    /// One message per fault: syntax, unknown variables and functions, wrong numbers of arguments, operands that
    /// never fit their operator, a result that is not a truth value, an expression that is too large.
    pub fn compile(source: &str) -> Result<Self, Vec<String>> {
        if source.len() > MAX_SOURCE {
            return Err(vec![format!("the expression is longer than {MAX_SOURCE} bytes")]);
        }
        let root = on_large_stack(|| parse(source).and_then(|syntax| compile::compile(&syntax)))?;
        Ok(Self { source: source.into(), root })
    }

    /// Whether the expression is true. Labels that are missing read as `""`, traits that are missing as `[]`.
    ///
    /// # Errors
    ///
    /// [`Failure`]: the expression has no truth value for this input, or needs too many steps for one.
    pub fn evaluate(&self, labels: &Labels, traits: &Traits) -> Result<bool, Failure> {
        eval::evaluate(&self.root, labels, traits)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The labels that can make a difference; `None`: possibly all.
    pub(crate) fn label_keys(&self) -> Option<Vec<&str>> {
        let mut keys = Vec::new();
        self.root.label_keys(&mut keys).then_some(keys)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

fn parse(source: &str) -> Result<cel::IdedExpr, Vec<String>> {
    // Without macros: `exists` and the like stay calls, as written.
    let environment = cel::Env::default().with_optional_support(false);
    let parser = environment.parser().max_recursion_depth(MAX_NESTING).error_recovery_limit(4);
    parser.parse(source).map_err(|errors| {
        // Later errors are mostly echoes of the first.
        let first = errors.errors.first().map(|error| {
            let message: String = error.msg.lines().next().unwrap_or_default().chars().take(200).collect();
            format!("the expression does not parse at {}:{}: {message}", error.pos.0, error.pos.1)
        });
        vec![first.unwrap_or_else(|| "the expression does not parse".to_owned())]
    })
}

/// Runs the generated parser where it can neither exhaust the caller's stack nor take the caller down.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Vec<String>> + Send) -> Result<T, Vec<String>> {
    let unreadable = || Err(vec!["the expression cannot be read".to_owned()]);
    std::thread::scope(|scope| {
        let builder =
            std::thread::Builder::new().name("label-expression".to_owned()).stack_size(PARSER_STACK);
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|_| unreadable()),
            Err(_) => unreadable(),
        }
    })
}

#[cfg(test)]
mod tests;
