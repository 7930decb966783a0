//! Who may use the Admin API: recorded calls replayed, logins, permissions, origins, settings, and the files of an
//! existing installation.

mod commands;
mod installation;
mod logins;
mod origins;
mod recorded;

use probity::api::AuthOptions;

use crate::harness::server::{Server, Setup, tab};

/// A body of JSON; the client is built without this.
trait WithJson {
    fn json(self, body: &serde_json::Value) -> Self;
}

impl WithJson for reqwest::RequestBuilder {
    fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }
}

/// A user with a password, hashed as cheaply as bcrypt goes.
fn user(name: &str, password: &str) -> (String, String) {
    (name.to_owned(), bcrypt::hash(password, 4).unwrap())
}

async fn server(auth: AuthOptions) -> Server {
    let mut setup = Setup { flows: tab("e", "post", "/a", "echo"), ..Setup::default() };
    setup.options.auth = auth;
    Server::start(setup).await
}

/// Logs in as a program does; status and body.
async fn log_in(server: &Server, name: &str, password: &str) -> (u16, serde_json::Value) {
    let form = format!("client_id=node-red-admin&grant_type=password&scope=&username={name}&password={password}");
    let call =
        server.client.post(server.url("/auth/token")).header("content-type", "application/x-www-form-urlencoded");
    crate::harness::server::read(call.body(form).send().await.unwrap()).await
}

async fn token(server: &Server, name: &str, password: &str) -> String {
    let (status, body) = log_in(server, name, password).await;
    assert_eq!(status, 200, "{body}");
    body["access_token"].as_str().unwrap().to_owned()
}
