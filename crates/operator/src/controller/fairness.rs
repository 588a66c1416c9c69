//! The waiting keys of one priority: the groups take turns, and each has a limit.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::QueueKey;

#[derive(Debug)]
pub(super) struct FairQueue<K: QueueKey> {
    limit: usize,
    groups: HashMap<K::Group, Group<K>>,
    /// The groups of which one can be taken now, each once.
    order: VecDeque<K::Group>,
}

#[derive(Debug)]
struct Group<K> {
    /// By the number that each was added with.
    waiting: BTreeMap<u64, K>,
    in_work: usize,
    is_in_order: bool,
}

impl<K: QueueKey> FairQueue<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), groups: HashMap::new(), order: VecDeque::new() }
    }

    /// Can nothing be taken now?
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Adds a key with a number that is higher than all before.
    pub(super) fn add(&mut self, key: K, number: u64) {
        let name = key.group();
        let new = || Group { waiting: BTreeMap::new(), in_work: 0, is_in_order: false };
        self.groups.entry(name.clone()).or_insert_with(new).waiting.insert(number, key);
        self.update(name);
    }

    /// Takes a key out that waits.
    pub(super) fn remove(&mut self, key: &K, number: u64) {
        let name = key.group();
        if let Some(group) = self.groups.get_mut(&name) {
            group.waiting.remove(&number);
            self.update(name);
        }
    }

    /// Takes the next one. It counts as in work until it is [`FairQueue::finished`].
    pub(super) fn take(&mut self) -> Option<K> {
        let name = self.order.pop_front()?;
        let group = self.groups.get_mut(&name)?;
        group.is_in_order = false;
        let (_, key) = group.waiting.pop_first()?;
        group.in_work += 1;
        self.update(name);
        Some(key)
    }

    pub(super) fn finished(&mut self, key: &K) {
        let name = key.group();
        if let Some(group) = self.groups.get_mut(&name) {
            group.in_work = group.in_work.saturating_sub(1);
            self.update(name);
        }
    }

    /// Puts a group where it belongs after a change.
    fn update(&mut self, name: K::Group) {
        let Some(group) = self.groups.get_mut(&name) else { return };
        let may_go = !group.waiting.is_empty() && group.in_work < self.limit;
        let is_idle = group.waiting.is_empty() && group.in_work == 0;
        if may_go != std::mem::replace(&mut group.is_in_order, may_go) {
            if may_go {
                self.order.push_back(name.clone());
            } else {
                self.order.retain(|other| *other != name);
            }
        }
        if is_idle {
            self.groups.remove(&name);
        }
    }
}
