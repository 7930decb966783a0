//! The networks of the compose file, made with network namespaces: who is in `web_network` alone reaches no database, and
//! who is in `db_network` reaches nothing outside. A bridge stands for a network, as in Docker; listeners stand for the
//! databases.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};

/// `tests/all` sets it when the machine lets it: then a refusal is a failure.
const REQUIRED: &str = "PROBITY_TEST_REQUIRE_NETNS";

#[expect(clippy::disallowed_methods, reason = "tests have no config")]
fn required() -> bool {
    std::env::var_os(REQUIRED).is_some()
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Namespaces and bridges, gone with the test.
struct World {
    /// Begins the names of all it made: a few letters, since names of interfaces are short.
    prefix: String,
    made: Vec<String>,
    listeners: Vec<Child>,
}

impl Drop for World {
    fn drop(&mut self) {
        for listener in &mut self.listeners {
            listener.kill().ok();
            listener.wait().ok();
        }
        for name in &self.made {
            ip(&format!("netns del {name}"));
        }
    }
}

impl World {
    /// A namespace that is the machine: the networks' bridges are in it, so that nothing of the real machine changes.
    /// `None`: this user may not.
    fn new() -> Option<World> {
        let prefix = format!("pt{}", &uuid::Uuid::new_v4().simple().to_string()[..5]);
        let mut world = World { prefix, made: Vec::new(), listeners: Vec::new() };
        let machine = world.name("m");
        if !ip(&format!("netns add {machine}")) {
            assert!(!required(), "{REQUIRED} is set, and network namespaces are not allowed");
            eprintln!("SKIPPED: this user may make no network namespaces (root with CAP_NET_ADMIN and CAP_SYS_ADMIN)");
            return None;
        }
        world.made.push(machine.clone());
        assert!(ip(&format!("-n {machine} link set lo up")));
        Some(world)
    }

    fn name(&self, of: &str) -> String {
        format!("{}{of}", self.prefix)
    }

    /// A network: a bridge. One that is not internal has the machine's address in it, the way out.
    fn network(&self, number: usize, internal: bool) {
        let machine = self.name("m");
        assert!(ip(&format!("-n {machine} link add br{number} type bridge")));
        assert!(ip(&format!("-n {machine} link set br{number} up")));
        if !internal {
            assert!(ip(&format!("-n {machine} addr add 10.99.{number}.1/24 dev br{number}")));
        }
    }

    /// A service in these networks; its addresses end in `number`.
    fn service(&mut self, number: usize, networks: &[usize], way_out: Option<usize>) -> String {
        let (machine, own) = (self.name("m"), self.name(&format!("s{number}")));
        assert!(ip(&format!("netns add {own}")));
        self.made.push(own.clone());
        assert!(ip(&format!("-n {own} link set lo up")));
        for network in networks {
            let outer = format!("v{number}x{network}");
            assert!(ip(&format!("-n {machine} link add {outer} type veth peer name eth{network} netns {own}")));
            assert!(ip(&format!("-n {machine} link set {outer} master br{network}")));
            assert!(ip(&format!("-n {machine} link set {outer} up")));
            assert!(ip(&format!("-n {own} addr add 10.99.{network}.{number}/24 dev eth{network}")));
            assert!(ip(&format!("-n {own} link set eth{network} up")));
        }
        if let Some(network) = way_out {
            assert!(ip(&format!("-n {own} route add default via 10.99.{network}.1")));
        }
        own
    }

    /// Somebody listens on this port of a namespace.
    fn listen(&mut self, namespace: &str, port: u16) {
        const LISTEN: &str = "import socket,sys\ns=socket.create_server(('',int(sys.argv[1])))\nprint('on',flush=True)\n\
                              while True: s.accept()[0].close()";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "python3", "-c", LISTEN, &port.to_string()]).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().expect("python3 runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("it says that it listens");
        self.listeners.push(child);
        assert_eq!(line, "on\n");
    }
}

/// Whether a connection from a namespace comes about.
fn reaches(namespace: &str, address: &str, port: u16) -> bool {
    let ask = format!("import socket\nsocket.create_connection(('{address}',{port}),timeout=0.5)");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, "python3", "-c", &ask]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("ip runs").success()
}

#[test]
fn pages_reach_no_database_and_databases_reach_nothing_outside() {
    let Some(mut world) = World::new() else { return };
    let config = super::compose::resolved("prod ha", &["governify", "ha"]);
    let networks: Vec<&String> = config["networks"].as_object().expect("networks").keys().collect();
    for (number, name) in networks.iter().enumerate() {
        world.network(number, config["networks"][name.as_str()]["internal"] == true);
    }
    let services = super::compose::services(&config);
    let wanted =
        ["status-frontend", "reverse-proxy", "nodered", "status-backend", "postgres", "postgres-a", "mongo-registry"];
    let mut of: BTreeMap<&str, (String, BTreeSet<usize>, usize)> = BTreeMap::new();
    for (at, name) in wanted.into_iter().enumerate() {
        let number = at + 10;
        let own: BTreeSet<usize> = services[name]["networks"]
            .as_object()
            .expect("networks")
            .keys()
            .map(|network| networks.iter().position(|n| *n == network).expect("it is declared"))
            .collect();
        let open = |network: &usize| config["networks"][networks[*network].as_str()]["internal"] != true;
        let way_out = own.iter().copied().find(|network| open(network));
        let listed: Vec<usize> = own.iter().copied().collect();
        let namespace = world.service(number, &listed, way_out);
        of.insert(name, (namespace, own, number));
    }
    for (name, port) in [("postgres", 5432), ("postgres-a", 5432), ("mongo-registry", 27017), ("status-frontend", 80)] {
        let namespace = of[name].0.clone();
        world.listen(&namespace, port);
    }
    // The machine's own address, which only a network with a way out leads to.
    let machine = world.name("m");
    world.listen(&machine, 8000);
    let reached = |from: &str, to: &str, port: u16| {
        let (_, networks, number) = &of[to];
        networks.iter().any(|network| reaches(&of[from].0, &format!("10.99.{network}.{number}"), port))
    };
    for database in [("postgres", 5432), ("mongo-registry", 27017), ("postgres-a", 5432)] {
        assert!(!reached("status-frontend", database.0, database.1), "the frontend reaches {}", database.0);
        assert!(!reached("reverse-proxy", database.0, database.1), "the proxy reaches {}", database.0);
    }
    assert!(reached("nodered", "postgres", 5432), "Probity does not reach its database");
    assert!(reached("status-backend", "postgres", 5432), "status-backend does not reach its database");
    assert!(reached("reverse-proxy", "status-frontend", 80), "the proxy does not reach the pages");
    let outside =
        |from: &str| of[from].1.iter().any(|network| reaches(&of[from].0, &format!("10.99.{network}.1"), 8000));
    assert!(outside("nodered"), "flows have no way out");
    assert!(!outside("postgres") && !outside("mongo-registry"), "a database has a way out");
}
