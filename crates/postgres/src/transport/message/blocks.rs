//! Statements in a row, sent as one: a `DO` block.

use super::{Message, Needs, Statement};
use crate::quote::{block, literal};

impl Message {
    /// Lets statements in a row be sent as one, a block, where none of them asks anything or contains a secret: see
    /// [`Message::packed`].
    pub(crate) fn pack(mut self) -> Self {
        self.packs = true;
        self
    }

    /// The same with fewer statements: blocks instead of statements in a row. `None` where there is nothing to pack.
    ///
    /// A block does the same in the same transaction, each statement with a snapshot of its own. But it says less of what failed,
    /// and needs PL/pgSQL in the database that it runs in. So one that fails is sent again as the statements that it is made of.
    pub(crate) fn packed(&self) -> Option<Self> {
        if !self.packs {
            return None;
        }
        let mut message =
            Self { statements: Vec::new(), packs: false, otherwise: <_>::default(), ..self.clone() };
        let may_pack = |statement: &Statement| !statement.asks && !statement.secret;
        for row in self.statements.chunk_by(|one, next| may_pack(one) && may_pack(next)) {
            match row {
                [one] => message.statements.push(one.clone()),
                parts => message.statements.push(Statement::block(parts)),
            }
        }
        (message.len() < self.len()).then_some(message)
    }

    /// What the statement at `index` attempted that failed, and what that means; `by_check`: by the SQLSTATE with which checks
    /// fail. (Of a block it is known only where it can be of nothing but its checks.)
    pub(crate) fn failed(&self, index: usize, by_check: bool) -> (&str, Needs) {
        let Some(statement) = self.statements.get(index) else {
            return (self.attempted(index), Needs::Nothing);
        };
        let check = statement.check().filter(|_| by_check).unwrap_or(statement);
        (&check.what, check.needs.clone())
    }
}

impl Statement {
    /// Statements as one. It attempts what the first one does, as far as anybody can tell.
    fn block(parts: &[Self]) -> Self {
        let mut body = "BEGIN\n".to_owned();
        for part in parts {
            body.push_str(&format!("  EXECUTE {};\n", literal(&part.sql)));
        }
        body.push_str("END");
        Self {
            sql: block(&body),
            what: parts.first().map(|part| part.what.clone()).unwrap_or_default(),
            needs: Needs::Nothing,
            asks: false,
            acts: false,
            secret: false,
            as_admin_user: None,
            parts: parts.to_vec(),
        }
    }

    /// The check of a block, where all that it checks have one meaning.
    fn check(&self) -> Option<&Self> {
        let mut checks = self.parts.iter().filter(|part| matches!(part.needs, Needs::Truth(_)));
        let first = checks.next()?;
        checks.all(|check| check.needs == first.needs).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: Needs = Needs::Truth("RC001");

    fn message() -> Message {
        let mut message = Message::new();
        message.push("locking", "LOCK 'a'");
        message.push_needing(CHANGED, "checking", "CHECK");
        message.push("setting", "SET");
        message
    }

    #[test]
    fn what_stands_in_a_row_is_one_block() {
        let packed = message().pack().packed().unwrap();
        let block = "DO $rolecall$\nBEGIN\n  EXECUTE 'LOCK ''a''';\n  EXECUTE 'CHECK';\n  EXECUTE 'SET';\nEND\n$rolecall$";
        assert_eq!(packed.texts().collect::<Vec<_>>(), [block]);
        assert_eq!((packed.len(), packed.attempted(0)), (1, "locking"));
        assert!(
            packed.packed().is_none() && message().packed().is_none(),
            "only where it is allowed, and once"
        );
    }

    #[test]
    fn what_asks_and_what_is_secret_stays_a_statement_of_its_own() {
        let mut message = message();
        message.ask("reading", "SELECT 1");
        message.push_secret(Needs::Verifier, "enabling", "ALTER ROLE x PASSWORD 'secret'");
        message.push("one", "ONE");
        message.push("two", "TWO");
        let packed = message.pack().packed().unwrap();
        assert_eq!(packed.len(), 4);
        assert!(packed.asks(1) && packed.attempted(1) == "reading" && packed.attempted(3) == "one");
        for text in packed.texts() {
            assert!(!(text.starts_with("DO") && text.contains("secret")), "{text}");
        }
        let mut lone = Message::new();
        lone.push("one", "ONE");
        assert!(lone.pack().packed().is_none());
    }

    #[test]
    fn of_a_block_that_failed_it_is_known_whether_it_was_a_check() {
        let packed = message().pack().packed().unwrap();
        assert_eq!(packed.failed(0, true), ("checking", CHANGED));
        assert_eq!(packed.failed(0, false), ("locking", Needs::Nothing));
        let mut message = message();
        message.push_needing(Needs::Truth("RC002"), "checking more", "CHECK");
        assert_eq!(message.failed(3, true), ("checking more", Needs::Truth("RC002")));
        let packed = message.pack().packed().unwrap();
        assert_eq!(packed.failed(0, true), ("locking", Needs::Nothing), "it may be either");
    }

    #[test]
    fn what_runs_as_another_role_does_so_in_a_block() {
        let packed = message().act("becoming", "BECOME").pack().packed().unwrap();
        let texts: Vec<&str> = packed.texts().collect();
        assert!(texts.len() == 1 && texts[0].contains("EXECUTE 'BECOME';\n  EXECUTE 'LOCK"), "{texts:?}");
    }
}
