//! A websocket listener of a flow, called over the wire; TLS of our own connections.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use probity::net::{Encryption, Net, NetOptions, Tls, TlsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::server::{Server, Setup};

const FLOW: &str = r#"[
    {"id":"t","type":"tab","label":"t"},
    {"id":"s","type":"websocket-listener","path":"/ws/echo","wholemsg":"false"},
    {"id":"i","z":"t","type":"websocket in","server":"s","client":"","x":1,"y":1,"wires":[["o"]]},
    {"id":"o","z":"t","type":"websocket out","server":"s","client":"","x":1,"y":1,"wires":[]}
]"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flow_answers_websockets_on_the_servers_own_port() {
    let server = Server::start(Setup::default()).await;
    server.engine.set_catalogue(probity::nodes::catalogue());
    let (file, problems) = probity::flow::load(FLOW, "test.json");
    assert!(problems.is_empty(), "{problems:?}");
    let known = server.engine.catalogue();
    let plan = probity::flow::plan(&file, &|name| known.spec(name), &|_| None);
    assert_eq!(server.engine.deploy(plan).diagnostics, []);
    let (mut first, answer) = tokio_tungstenite::client_async(
        format!("ws://{}/ws/echo", server.address),
        tokio::net::TcpStream::connect(server.address).await.unwrap(),
    )
    .await
    .unwrap();
    assert_eq!(answer.status(), 101);
    first.send(Message::text("hello")).await.unwrap();
    assert_eq!(first.next().await.unwrap().unwrap(), Message::text("hello"));
    first.send(Message::binary(vec![0, 255])).await.unwrap();
    assert_eq!(first.next().await.unwrap().unwrap(), Message::binary(vec![0, 255]));
    // Another path is nobody's, as for any call.
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let refused = tokio_tungstenite::client_async(format!("ws://{}/ws/other", server.address), stream).await;
    assert!(refused.unwrap_err().to_string().contains("404"));
}

/// A TLS server that says one line and ends.
async fn server() -> u16 {
    use rustls::pki_types::pem::PemObject;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls");
    let certificate = rustls::pki_types::CertificateDer::from_pem_file(format!("{folder}/server.pem")).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(format!("{folder}/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                stream.write_all(b"hello").await.ok();
                stream.shutdown().await.ok();
            }
        }
    });
    port
}

#[tokio::test]
async fn who_answers_is_checked_unless_the_operator_says_otherwise() {
    let port = server().await;
    let ca = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/tls/ca.pem")).unwrap();
    let tls = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = TlsOptions { authorities: ca.clone(), ..TlsOptions::default() };
        change(&mut options);
        Tls::new(&options).unwrap()
    };
    let right = tls(&|_| {});
    let named = tls(&|options| options.server_name = Some("broker.example".into()));
    let wrong = tls(&|options| options.server_name = Some("other.example".into()));
    let unverified = tls(&|options| options.unverified = true);
    let net = Net::default();
    for (tls, expected) in [
        (&right, Ok(())),
        (&named, Ok(())),
        (&wrong, Err("ERR_TLS_CERT_ALTNAME_INVALID")),
        (&unverified, Err("EACCES")),
    ] {
        match (net.connect("127.0.0.1", port, Encryption::With(tls)).await, expected) {
            (Ok(mut stream), Ok(())) => {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                assert_eq!(text, "hello");
            }
            (Err(error), Err(code)) => assert_eq!(error.code, code, "{error}"),
            (got, _) => panic!("{:?}", got.err()),
        }
    }
    let trusting = NetOptions { unverified: vec!["127.0.0.1".into()], ..NetOptions::default() };
    let trusting = Net::new(trusting).unwrap();
    assert!(trusting.connect("127.0.0.1", port, Encryption::With(&unverified)).await.is_ok());
    let narrow = Net::new(NetOptions { allow: vec!["a.example".into()], ..NetOptions::default() }).unwrap();
    assert_eq!(narrow.connect("127.0.0.1", port, Encryption::With(&right)).await.err().unwrap().code, "EACCES");
}
