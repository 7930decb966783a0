//! What of dispatch by NATS needs no NATS; the rest is in `tests/it/dispatch`.

use super::*;
use crate::store::{StoreOptions, open};

async fn without_nats() -> JetStream {
    let store = open("memory:", &StoreOptions::default()).await.unwrap();
    let options = JetStreamOptions {
        url: "nats://127.0.0.1:1".into(),
        user: String::new(),
        password: "secret".into(),
        credentials: None,
        authority: None,
        stream: "probity".into(),
        replicas: 1,
        ack_ms: 10_000,
        sweep_ms: 500,
    };
    JetStream::new(options, store, Clock::System, &crate::dispatch::Options::default())
}

fn held(epoch: i64) -> Held {
    Held { id: RunId::fresh(), epoch }
}

#[tokio::test]
async fn without_nats_workers_are_sent_to_the_database_and_it_says_so() {
    let dispatcher = without_nats().await;
    assert_eq!(dispatcher.next(10).await, Next::Any);
    assert_eq!(dispatcher.standing().fallback.as_deref(), Some("not connected yet"));
    assert_eq!(*dispatcher.shared.wanted.borrow(), 0, "nobody waits any more");
}

#[tokio::test]
async fn what_somebody_waits_for_is_taken_first_and_no_more_than_wanted() {
    let dispatcher = without_nats().await;
    let runs: Vec<Held> = (0..4).map(held).collect();
    {
        let mut buffers = dispatcher.shared.buffers();
        let now = Clock::System.now();
        buffers[class(Priority::Bulk)].push_back((runs[3], now));
        buffers[class(Priority::Normal)].extend([(runs[1], now), (runs[2], now)]);
        buffers[class(Priority::Interactive)].push_back((runs[0], now));
    }
    assert_eq!(dispatcher.shared.take(2), runs[..2]);
    assert_eq!(dispatcher.shared.take(10), runs[2..]);
    assert_eq!(dispatcher.shared.take(10), []);
}

#[tokio::test]
async fn what_cannot_be_told_is_counted_not_waited_for() {
    let dispatcher = without_nats().await;
    let ready = Ready { id: RunId::fresh(), epoch: 0, priority: Priority::Normal };
    dispatcher.tell(&vec![ready; WAITING_MAX + 3]);
    assert!(dispatcher.tallies().contains(&("unpublished", 3)));
}

#[test]
fn nothing_shown_of_the_options_is_secret() {
    let options = format!(
        "{:?}",
        JetStreamOptions {
            url: "nats://u:hidden@h".into(),
            user: "u".into(),
            password: "hidden".into(),
            credentials: None,
            authority: None,
            stream: "s".into(),
            replicas: 1,
            ack_ms: 1,
            sweep_ms: 1,
        }
    );
    assert!(!options.contains("hidden"), "{options}");
}
