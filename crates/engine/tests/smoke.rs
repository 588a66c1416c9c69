//! x
#![allow(unreachable_pub)]

mod common;

use common::*;
use rolecall_engine::{Engine, Needs};
use rolecall_testbed::PgVersion;

#[tokio::test]
async fn smoke() {
    for version in PgVersion::ALL {
        let bench = Bench::new(version).await;
        let reader = bench.role("reader").await;
        println!(
            "{:?}",
            bench
                .engine
                .probe(&Needs {
                    roles: [reader.clone()].into(),
                    databases: ["postgres".to_owned()].into(),
                    ..Needs::default()
                })
                .await
        );
        let user = unique("alice");
        let before = bench.engine.stats();
        let t = std::time::Instant::now();
        bench.reach(&enabled(&user, &[&reader])).await;
        println!("activate {:?}", t.elapsed());
        let after = bench.engine.stats();
        println!("{before:?} {after:?}");
        let client = bench.login(&user).await.unwrap();
        println!("{:#?}", bench.observe(&enabled(&user, &[&reader])).await);
        let t = std::time::Instant::now();
        bench.reach(&ended(&user, false)).await;
        println!("end {:?} {:?}", t.elapsed(), bench.engine.stats());
        assert!(client.simple_query("select 1").await.is_err());
        assert!(bench.login(&user).await.is_err());
        println!("{:?}", bench.engine.census().await);
        bench.reach(&enabled(&user, &[&reader])).await;
        let applied = bench.reach(&ended(&user, true)).await;
        assert!(applied.dropped);
    }
}
