//! Real processes, which end at once or when they are told.

use std::time::Duration;

use super::super::rig::{Rig, msg, node};
use crate::runtime::Limits;

fn rig(config: &str) -> Rig {
    let nodes = vec![node("e", "exec", config, &[])];
    Rig::with(nodes, Limits::default(), |services| services.nodes_allowed = vec!["exec".into()])
}

async fn out(config: &str, message: &str) -> Vec<(usize, String)> {
    let rig = rig(config);
    rig.inject(0, msg(message)).await;
    rig.out().into_iter().map(|(_, port, msg)| (port, msg.to_value().to_json())).collect()
}

#[tokio::test]
async fn output_and_code_come_at_the_end() {
    assert_eq!(
        out(r#"{"command":"echo","addpay":"payload","append":"c"}"#, r#"{"payload":"a b"}"#).await,
        [(0, r#"{"payload":"a b c\n","rc":{"code":0}}"#.into()), (2, r#"{"payload":{"code":0}}"#.into())]
    );
    assert_eq!(
        out(r#"{"command":"echo x >&2; exit 3","addpay":""}"#, "{}").await,
        [
            (0, r#"{"payload":"","rc":{"code":3,"message":"Command failed: echo x >&2; exit 3\nx\n"}}"#.into()),
            (1, r#"{"payload":"x\n","rc":{"code":3,"message":"Command failed: echo x >&2; exit 3\nx\n"}}"#.into()),
            (2, r#"{"payload":{"code":3,"message":"Command failed: echo x >&2; exit 3\nx\n"}}"#.into()),
        ]
    );
    assert_eq!(out(r#"{"command":"true","oldrc":"true"}"#, "{}").await, [(0, r#"{"payload":""}"#.into())]);
}

#[tokio::test]
async fn output_comes_as_it_is_written() {
    let config = r#"{"command":"printf","addpay":false,"append":"a","useSpawn":"true"}"#;
    assert_eq!(
        out(config, r#"{"x":1}"#).await,
        [(0, r#"{"x":1,"payload":"a"}"#.into()), (2, r#"{"x":1,"payload":{"code":0}}"#.into()),]
    );
    let missing = out(r#"{"command":"no-such-command-of-a-test","addpay":false,"useSpawn":"true"}"#, "{}").await;
    assert_eq!(missing, [(2, r#"{"payload":{"code":-2}}"#.into())]);
}

#[tokio::test]
async fn a_process_is_ended_by_a_message_or_by_time() {
    for (timer, how) in [("", "kill"), ("5", "time")] {
        let rig = rig(&format!(r#"{{"command":"sleep 100","addpay":"","useSpawn":"true","timer":"{timer}"}}"#));
        let run = tokio::spawn(rig.open(0, msg("{}"), crate::model::run::Trigger::Inject { node: "t".into() }));
        rig.settle().await;
        match how {
            "kill" => drop(rig.inject(0, msg(r#"{"kill":"SIGKILL"}"#)).await),
            _ => rig.advance(Duration::from_secs(5)).await,
        }
        tokio::time::timeout(Duration::from_secs(20), run).await.unwrap().unwrap();
        let payload = rig.out().pop().unwrap().2.payload().to_json();
        let signal = if how == "kill" { "SIGKILL" } else { "SIGTERM" };
        assert_eq!(payload, format!(r#"{{"code":null,"signal":"{signal}"}}"#));
    }
}

#[tokio::test]
async fn without_leave_it_runs_nothing_and_says_how_to_allow_it() {
    for node_type in ["exec", "tcp out", "tcp request", "udp out"] {
        let rig = Rig::new(vec![node("e", node_type, r#"{"command":"true"}"#, &[])]);
        assert_eq!(rig.problems(), []);
        let ended = rig.inject(0, msg(r#"{"payload":"x"}"#)).await;
        let said = &ended.error.as_ref().unwrap().message;
        assert!(said.contains(&format!("nodes.allow = [\"{node_type}\"]")), "{said}");
    }
}
