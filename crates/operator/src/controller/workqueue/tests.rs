//! The guarantees of the queue.

use std::time::Duration;

use super::*;

/// Those of one hundred are a group.
impl QueueKey for u32 {
    type Group = u32;

    fn group(&self) -> u32 {
        self / 100
    }
}

async fn takes_nothing(queue: &Arc<Workqueue<u32>>, priority: Priority) -> bool {
    tokio::time::timeout(Duration::from_millis(1), queue.take(priority)).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_key_added_twice_comes_out_once() {
    let queue = Workqueue::new(8);
    queue.add(1, Priority::Normal);
    queue.add(1, Priority::Normal);
    let first = queue.take(Priority::Normal).await;
    assert_eq!(*first.key(), 1);
    drop(first);
    assert!(takes_nothing(&queue, Priority::Normal).await);
}

#[tokio::test(start_paused = true)]
async fn a_key_added_while_in_work_comes_out_again_afterwards() {
    let queue = Workqueue::new(8);
    queue.add(1, Priority::Normal);
    let first = queue.take(Priority::Normal).await;
    queue.add(1, Priority::Urgent);
    assert!(takes_nothing(&queue, Priority::Normal).await, "one worker at a time");
    drop(first);
    assert_eq!(*queue.take(Priority::Urgent).await.key(), 1, "and it kept its priority");
}

#[tokio::test(start_paused = true)]
async fn urgent_work_overtakes() {
    let queue = Workqueue::new(8);
    queue.add(1, Priority::Normal);
    queue.add(2, Priority::Normal);
    queue.add(3, Priority::Urgent);
    queue.add(2, Priority::Urgent);
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(*queue.take(Priority::Normal).await.key());
    }
    assert_eq!(order, [3, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn urgent_workers_take_nothing_else() {
    let queue = Workqueue::new(8);
    queue.add(1, Priority::Normal);
    assert!(takes_nothing(&queue, Priority::Urgent).await);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_timer_counts_and_fires_once() {
    let queue = Workqueue::new(8);
    let start = Instant::now();
    queue.add_at(1, Priority::Normal, start + Duration::from_secs(60));
    queue.add_at(1, Priority::Urgent, start + Duration::from_secs(10));
    queue.add_at(1, Priority::Normal, start + Duration::from_secs(90));
    let taken = queue.take(Priority::Urgent).await;
    assert_eq!(start.elapsed().as_secs(), 10);
    drop(taken);
    assert!(tokio::time::timeout(Duration::from_secs(200), queue.take(Priority::Normal)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn timers_follow_a_clock_that_is_put_forward() {
    let queue = Workqueue::new(8);
    let start = Instant::now();
    queue.add_at(1, Priority::Urgent, start + Duration::from_secs(3_600));
    queue.add_at(2, Priority::Normal, start + Duration::from_secs(7_200));
    queue.advance_timers(Duration::from_secs(3_590));
    assert_eq!(*queue.take(Priority::Urgent).await.key(), 1);
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.advance_timers(Duration::from_secs(86_400));
    assert_eq!(*queue.take(Priority::Normal).await.key(), 2, "a time that is past is now");
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.add_at(1, Priority::Urgent, start + Duration::from_secs(20));
    queue.clear_timer(&1);
    assert!(takes_nothing(&queue, Priority::Normal).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_waited_for_and_nothing_else() {
    let queue = Workqueue::new(8);
    for key in [1, 2, 3] {
        queue.add(key, Priority::Normal);
    }
    let (one, two) = (queue.take(Priority::Normal).await, queue.take(Priority::Normal).await);
    let is_odd = |key: &u32| key % 2 == 1;
    let mut finished = std::pin::pin!(queue.finished(is_odd));
    assert!(tokio::time::timeout(Duration::from_secs(9), &mut finished).await.is_err(), "1 is in work");
    let three = queue.take(Priority::Normal).await;
    queue.add(1, Priority::Normal);
    drop(one);
    let again = queue.take(Priority::Normal).await;
    assert_eq!(*again.key(), 1);
    let waited = tokio::time::timeout(Duration::from_secs(9), &mut finished).await;
    assert!(waited.is_ok(), "3 and the next run of 1 began later, and 2 was not waited for");
    drop((two, three, again));
    queue.finished(|_| true).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_work_releases_the_key() {
    let queue = Workqueue::new(8);
    queue.add(1, Priority::Normal);
    let worker = Arc::clone(&queue);
    let crashed = tokio::spawn(async move {
        let _taken = worker.take(Priority::Normal).await;
        panic!("on purpose");
    })
    .await;
    assert!(crashed.is_err());
    queue.add(1, Priority::Normal);
    assert_eq!(*queue.take(Priority::Normal).await.key(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_of_a_group_are_in_work_than_allowed_and_others_go_on() {
    let queue = Workqueue::new(2);
    for key in [1, 2, 3, 4, 100, 200] {
        queue.add(key, Priority::Normal);
    }
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(queue.take(Priority::Normal).await);
    }
    let keys: Vec<u32> = taken.iter().map(|taken| *taken.key()).collect();
    assert_eq!(keys, [1, 100, 200, 2], "they take turns");
    assert!(takes_nothing(&queue, Priority::Normal).await, "two of the first group are in work");
    queue.add(5, Priority::Urgent);
    assert_eq!(*queue.take(Priority::Urgent).await.key(), 5, "what is urgent has its own limit");
    taken.remove(0);
    assert_eq!(*queue.take(Priority::Normal).await.key(), 3);
}

#[tokio::test(start_paused = true)]
async fn many_urgent_ones_of_one_group_delay_no_other() {
    let queue = Workqueue::new(10_000);
    for key in 0..50 {
        queue.add(key, Priority::Urgent);
    }
    queue.add(100, Priority::Urgent);
    queue.add(200, Priority::Normal);
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(*queue.take(Priority::Normal).await.key());
    }
    assert_eq!(order, [0, 100, 1, 200, 2], "one in turn after three that are urgent");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_nobody_takes_from_is_noticed() {
    let queue = Workqueue::new(1);
    let hour = Duration::from_secs(3_600);
    tokio::time::advance(hour).await;
    assert_eq!(queue.stalled_for(), Duration::ZERO, "there is nothing to do");
    queue.add(1, Priority::Normal);
    queue.add(2, Priority::Normal);
    tokio::time::advance(hour).await;
    assert_eq!(queue.stalled_for(), hour);
    let _taken = queue.take(Priority::Normal).await;
    tokio::time::advance(hour).await;
    assert_eq!(queue.stalled_for(), Duration::ZERO, "what waits may not be taken yet");
    queue.add_at(100, Priority::Normal, Instant::now());
    tokio::time::advance(hour).await;
    assert_eq!(queue.stalled_for(), hour, "a timer that does not fire");
}

#[tokio::test(start_paused = true)]
async fn a_key_says_whether_something_changed_or_its_time_had_come() {
    let queue = Workqueue::new(5);
    queue.add_at(1, Priority::Normal, Instant::now() + Duration::from_secs(1));
    assert_eq!(queue.take(Priority::Normal).await.cause(), Cause::Timer);
    queue.add(1, Priority::Normal);
    assert_eq!(queue.take(Priority::Normal).await.cause(), Cause::Change);
    // The least of all: that a server announced something.
    queue.add_for(1, Priority::Urgent, Cause::Announced);
    queue.add_at(1, Priority::Normal, Instant::now());
    assert_eq!(queue.take(Priority::Normal).await.cause(), Cause::Timer);
    queue.add_for(1, Priority::Normal, Cause::Announced);
    let taken = queue.take(Priority::Normal).await;
    assert_eq!(taken.cause(), Cause::Announced);
    queue.add_for(1, Priority::Normal, Cause::Announced);
    drop(taken);
    let taken = queue.take(Priority::Normal).await;
    assert_eq!(taken.cause(), Cause::Announced, "again");
    queue.add_for(1, Priority::Normal, Cause::Announced);
    queue.add(1, Priority::Normal);
    drop(taken);
    assert_eq!(queue.take(Priority::Normal).await.cause(), Cause::Change, "again, and for more");
    // Both at once: that something changed says more.
    queue.add_at(1, Priority::Urgent, Instant::now());
    queue.add(1, Priority::Normal);
    queue.add_at(2, Priority::Normal, Instant::now());
    assert_eq!(queue.take(Priority::Normal).await.cause(), Cause::Change);
}

#[tokio::test(start_paused = true)]
async fn work_that_has_left_its_group_keeps_no_other_of_it_waiting_and_is_under_way_still() {
    let queue = Workqueue::new(1);
    queue.add(1, Priority::Urgent);
    queue.add(2, Priority::Urgent);
    let first = queue.take(Priority::Urgent).await;
    assert!(takes_nothing(&queue, Priority::Urgent).await, "the group is full");
    queue.leave_group(first.key());
    first.left_group().await;
    queue.leave_group(first.key());
    let second = queue.take(Priority::Urgent).await;
    assert_eq!(*second.key(), 2);
    queue.add(1, Priority::Urgent);
    queue.add(3, Priority::Urgent);
    assert!(takes_nothing(&queue, Priority::Urgent).await, "it left once, and is worked on by one at a time");
    drop(first);
    assert!(takes_nothing(&queue, Priority::Urgent).await, "the second still counts");
    drop(second);
    let both = [*queue.take(Priority::Urgent).await.key()];
    assert_eq!(both.len(), 1);
    assert!(!queue.is_empty(), "one of the two waits");
}
