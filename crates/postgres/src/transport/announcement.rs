//! What a connection hears on the channel that it listens to: which objects have changed.
//!
//! Whoever may connect may notify the channel, with any text. So a text that is not exactly what the triggers write means
//! no more than that something has changed, and however much is notified, no more is kept than the numbers of a few
//! hundred objects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rolecall_engine::objects::ObjectClass;
use rolecall_engine::{ChangedObjects, ObjectRef};
use tokio::sync::mpsc;

/// The most objects that one text names; the triggers name fewer.
const MOST_NAMED: usize = 100;

/// What a text says: `c16385,p16390,n2200`, the catalogue (`pg_class`, `pg_proc`, `pg_namespace`) and the number of each
/// object. Anything else, nothing included, stands for all objects.
pub fn parse(text: &str) -> ChangedObjects {
    let named: Option<BTreeSet<ObjectRef>> =
        text.split(',').take(MOST_NAMED + 1).map(object).collect::<Option<_>>();
    match named {
        Some(named) if text.split(',').nth(MOST_NAMED).is_none() => ChangedObjects::These(named),
        _ => ChangedObjects::All,
    }
}

fn object(text: &str) -> Option<ObjectRef> {
    let (catalog, number) = text.split_at_checked(1)?;
    let class = match catalog {
        "c" => ObjectClass::Table,
        "p" => ObjectClass::Routine,
        "n" => ObjectClass::Schema,
        _ => return None,
    };
    // As the server writes numbers: no sign, and no zero before others.
    let plain = number.bytes().all(|digit| digit.is_ascii_digit()) && !number.starts_with('0');
    Some(ObjectRef { class, id: number.parse().ok().filter(|_| plain)? })
}

/// Where a connection puts what it hears.
#[derive(Debug)]
pub(crate) struct Ear {
    heard: Arc<Mutex<ChangedObjects>>,
    wake: mpsc::Sender<()>,
}

/// What was heard, put together until somebody asks for it.
#[derive(Debug)]
pub(crate) struct Announcements {
    heard: Arc<Mutex<ChangedObjects>>,
    woken: mpsc::Receiver<()>,
}

/// For one connection.
pub(crate) fn announcements() -> (Ear, Announcements) {
    let heard = Arc::<Mutex<ChangedObjects>>::default();
    let (wake, woken) = mpsc::channel(1);
    (Ear { heard: Arc::clone(&heard), wake }, Announcements { heard, woken })
}

impl Ear {
    /// Somebody notified the channel.
    pub(crate) fn hear(&self, text: &str) {
        locked(&self.heard).add(parse(text));
        // Where somebody was woken already, it takes all there is.
        let _ = self.wake.try_send(());
    }
}

impl Announcements {
    /// Waits until something was heard; `None` when the connection has ended. Nothing is lost where this is dropped.
    pub(crate) async fn next(&mut self) -> Option<ChangedObjects> {
        loop {
            self.woken.recv().await?;
            let heard = std::mem::take(&mut *locked(&self.heard));
            if !heard.is_nothing() {
                return Some(heard);
            }
        }
    }
}

// A poisoned lock means that a thread panicked while it added to a set; what it holds is whole.
fn locked(heard: &Mutex<ChangedObjects>) -> MutexGuard<'_, ChangedObjects> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn these(objects: &[(ObjectClass, u32)]) -> ChangedObjects {
        ChangedObjects::These(
            objects.iter().map(|(class, id)| ObjectRef { class: *class, id: *id }).collect(),
        )
    }

    #[test]
    fn numbers_are_read_with_their_catalogue() {
        let named =
            [(ObjectClass::Table, 16_385), (ObjectClass::Schema, 2_200), (ObjectClass::Routine, u32::MAX)];
        assert_eq!(parse("c16385,n2200,p4294967295"), these(&named));
        assert_eq!(parse("c1,c1"), these(&[(ObjectClass::Table, 1)]));
    }

    #[test]
    fn whatever_the_triggers_do_not_write_stands_for_everything() {
        let many = vec!["c1"; MOST_NAMED + 1].join(",");
        for text in [
            "",
            ",",
            "c",
            "c1,",
            ",c1",
            "c1,,c2",
            "x1",
            "C1",
            "c0",
            "c01",
            "c+1",
            "c-1",
            "c 1",
            " c1",
            "c1 ",
            "c1;c2",
            "c4294967296",
            "c1e3",
            "c0x1",
            "1",
            "ä1",
            "c١",
            "c1\0",
            &many,
        ] {
            assert_eq!(parse(text), ChangedObjects::All, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_names_objects_is_what_is_written(text in "[cpnx,0-9 ]{0,24}|.{0,40}") {
            match parse(&text) {
                ChangedObjects::All => {}
                ChangedObjects::These(named) => {
                    prop_assert!(!named.is_empty() && named.len() <= MOST_NAMED);
                    let letter = |class| match class {
                        ObjectClass::Table => 'c',
                        ObjectClass::Routine => 'p',
                        _ => 'n',
                    };
                    let of = |object: &ObjectRef| format!("{}{}", letter(object.class), object.id);
                    let written: BTreeSet<String> = text.split(',').map(str::to_owned).collect();
                    prop_assert_eq!(written, named.iter().map(of).collect::<BTreeSet<String>>());
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_heard_meanwhile_is_put_together_and_however_much_it_is_kept_small() {
        let (ear, mut announcements) = announcements();
        ear.hear("c1");
        ear.hear("p2");
        let both = these(&[(ObjectClass::Table, 1), (ObjectClass::Routine, 2)]);
        assert_eq!(announcements.next().await, Some(both));
        for number in 1..10_000 {
            ear.hear(&format!("c{number}"));
        }
        assert_eq!(announcements.next().await, Some(ChangedObjects::All));
        ear.hear("c3");
        drop(ear);
        assert_eq!(announcements.next().await, Some(these(&[(ObjectClass::Table, 3)])));
        assert_eq!(announcements.next().await, None);
    }
}
