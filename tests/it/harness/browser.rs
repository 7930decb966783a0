//! A real Chromium for tests, by plain WebDriver calls: Debian's `chromium-driver`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::server::{client, text};

/// A browser session, by plain WebDriver calls.
pub struct Browser {
    session: String,
    client: reqwest::Client,
    profile: PathBuf,
    _driver: Driver,
}

/// Ends the driver (and with it the browser) however the test ends.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Browser {
    /// A phone: pages of ours fit it.
    pub async fn phone(dark: bool) -> Browser {
        // The window cannot be as narrow as a phone; the device can.
        let device = json!({ "deviceMetrics": { "width": 390, "height": 844, "pixelRatio": 2.0, "touch": false } });
        let dark = dark.then_some("--blink-settings=preferredColorScheme=0");
        Browser::start("390,844", dark, Some(device)).await
    }

    /// A desk's screen, for the editor.
    pub async fn desk() -> Browser {
        Browser::start("1500,900", None, None).await
    }

    async fn start(size: &str, argument: Option<&str>, device: Option<Value>) -> Browser {
        let (driver, port) = driver();
        let profile = std::env::temp_dir().join(format!("probity-browser-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&profile).unwrap();
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ]
        .map(String::from)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push(format!("--window-size={size}"));
        arguments.extend(argument.map(String::from));
        let downloads = profile.join("downloads");
        let prefs = json!({ "download.default_directory": downloads, "download.prompt_for_download": false });
        let mut options = json!({ "args": arguments, "prefs": prefs });
        if let Some(device) = device {
            options["mobileEmulation"] = device;
        }
        let wanted =
            json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": options } } });
        let client = client();
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = call(&client, &base, Some(wanted)).await;
        let session = format!("{base}/{}", answer["sessionId"].as_str().unwrap());
        Browser { session, client, profile, _driver: driver }
    }

    pub async fn post(&self, command: &str, body: Value) -> Value {
        call(&self.client, &format!("{}/{command}", self.session), Some(body)).await
    }

    pub async fn open(&self, address: &str) {
        self.post("url", json!({ "url": address })).await;
    }

    /// Clicks the first element that fits a CSS selector.
    pub async fn click(&self, selector: &str) {
        let element = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_string();
        self.post(&format!("element/{id}/click"), json!({})).await;
    }

    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until a JavaScript expression is true, and gives its value; half a minute at most.
    pub async fn until(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[0], end = Date.now() + 25000; (function look() {{ let value; \
             try {{ value = {expression}; }} catch (error) {{ value = false; }} \
             if (value || Date.now() > end) done(value); else setTimeout(look, 30); }})()"
        );
        let value = self.post("execute/async", json!({ "script": script, "args": [] })).await;
        let holds = !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0) && value != json!("");
        if !holds {
            self.picture("waited-in-vain").await;
            let page = self.run("return document.body.innerText").await;
            let page: String = page.as_str().unwrap_or_default().chars().take(3000).collect();
            panic!("never true: {expression}\nthe page says:\n{page}");
        }
        value
    }

    /// Moves the mouse to where an element is, as soon as nothing lies over it (a shade, a notice) and it has stopped
    /// moving (a dialog slides in), and presses it there so many times.
    async fn press_times(&self, element: &str, times: usize) {
        self.run("window.lastPlace = null").await;
        self.until(&reachable(element)).await;
        let (x, y) = self.middle(element).await;
        let mut actions = vec![json!({ "type": "pointerMove", "duration": 0, "x": x, "y": y })];
        for _ in 0..times {
            actions.push(json!({ "type": "pointerDown", "button": 0 }));
            actions.push(json!({ "type": "pointerUp", "button": 0 }));
        }
        self.mouse(json!(actions)).await;
    }

    /// Presses the mouse on the element that a JavaScript expression gives.
    pub async fn press(&self, element: &str) {
        self.press_times(element, 1).await;
    }

    /// Presses the mouse twice, fast.
    pub async fn press_twice(&self, element: &str) {
        self.press_times(element, 2).await;
    }

    /// Presses the mouse twice until an expression holds: where what is pressed may move meanwhile.
    pub async fn press_twice_until(&self, element: &str, expression: &str) {
        for _ in 0..10 {
            self.press_twice(element).await;
            if self.run(&format!("return !!({expression})")).await == json!(true) {
                return;
            }
        }
        self.until(expression).await;
    }

    /// Presses the mouse at a place of the window.
    pub async fn press_at(&self, (x, y): (i64, i64)) {
        let actions = json!([
            { "type": "pointerMove", "duration": 0, "x": x, "y": y },
            { "type": "pointerDown", "button": 0 },
            { "type": "pointerUp", "button": 0 },
        ]);
        self.mouse(actions).await;
    }

    async fn mouse(&self, actions: Value) {
        let pointer =
            json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": actions });
        self.post("actions", json!({ "actions": [pointer] })).await;
    }

    /// Types a text on the keyboard.
    pub async fn types(&self, text: &str) {
        let key = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        self.keys(text.chars().flat_map(|c| [key("keyDown", c), key("keyUp", c)]).collect()).await;
    }

    /// Presses a key while Control is held.
    pub async fn control(&self, key: char) {
        let of = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let control = '\u{e009}';
        self.keys(vec![of("keyDown", control), of("keyDown", key), of("keyUp", key), of("keyUp", control)]).await;
    }

    async fn keys(&self, actions: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("actions", json!({ "actions": [keyboard] })).await;
    }

    /// Drags from one place of the window to another.
    pub async fn drag(&self, from: (i64, i64), to: (i64, i64)) {
        let to_place = |(x, y): (i64, i64), ms: u64| json!({ "type": "pointerMove", "duration": ms, "x": x, "y": y });
        let half = ((from.0 + to.0) / 2, (from.1 + to.1) / 2);
        let actions = json!([
            to_place(from, 0),
            { "type": "pointerDown", "button": 0 },
            to_place((from.0 + 8, from.1 + 8), 40),
            to_place(half, 80),
            to_place((to.0 - 2, to.1 - 2), 80),
            to_place(to, 40),
            { "type": "pointerUp", "button": 0 },
        ]);
        self.mouse(actions).await;
    }

    /// The middle of the element that a JavaScript expression gives.
    pub async fn middle(&self, element: &str) -> (i64, i64) {
        let script = format!(
            "const box = ({element}).getBoundingClientRect(); \
             return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)]"
        );
        let place = self.run(&script).await;
        (place[0].as_i64().unwrap(), place[1].as_i64().unwrap())
    }

    /// Keeps a picture of the page for people to look at, and holds it to the width of a phone.
    pub async fn look(&self, name: &str) {
        let width = self.run("return document.documentElement.scrollWidth").await;
        assert!(width.as_f64().unwrap() <= 390.0, "{name} is {width} pixels wide");
        self.picture(name).await;
    }

    /// Keeps a picture of the page for people to look at.
    pub async fn picture(&self, name: &str) {
        let picture = call(&self.client, &format!("{}/screenshot", self.session), None).await;
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// Waits for a file that the page lets its user save: its name and what it holds.
    pub async fn saved(&self) -> (String, String) {
        let downloads = self.profile.join("downloads");
        let whole = |path: &Path| path.extension().is_some_and(|ending| ending != "crdownload" && ending != "tmp");
        for _ in 0..20_000 {
            let there =
                std::fs::read_dir(&downloads).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
            let hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if let Some(path) = there.filter(|path| !hidden(path)).find(|path| whole(path)) {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                return (name, std::fs::read_to_string(&path).unwrap());
            }
            // The page is asked something, so that this waits no longer than the browser lives.
            self.until("true").await;
        }
        panic!("nothing was saved in {}", downloads.display());
    }

    pub async fn title(&self) -> String {
        self.run("return document.querySelector('h1').innerText").await.as_str().unwrap().to_string()
    }

    pub async fn end(self) {
        self.client.delete(&self.session).send().await.unwrap();
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

/// Chromedriver and its port. It takes a free port of one protocol and gives up when another process has it of the other.
fn driver() -> (Driver, String) {
    for _ in 0..5 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is installed (Debian: chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let driver = Driver(driver);
        let port = lines
            .find_map(|l| Some(l.split_once("started successfully on port ")?.1.trim_end_matches('.').to_string()));
        if let Some(port) = port {
            // Read on: a full pipe would stop the driver.
            std::thread::spawn(move || lines.for_each(drop));
            return (driver, port);
        }
    }
    panic!("chromedriver does not start");
}

/// Whether an element is there, and a press on its middle would reach it.
fn reachable(element: &str) -> String {
    format!(
        "(element => {{ if (!element) return false; const box = element.getBoundingClientRect(); \
         const at = box.x + ' ' + box.y; if (window.lastPlace !== at) {{ window.lastPlace = at; window.looksThere = 0; }} \
         window.looksThere += 1; \
         const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2); \
         return window.looksThere > 4 && box.width > 0 && top && (element.contains(top) || top.contains(element)) }})({element})"
    )
}

async fn call(client: &reqwest::Client, address: &str, body: Option<Value>) -> Value {
    let request = match &body {
        Some(body) => client.post(address).body(text(body)),
        None => client.get(address),
    };
    let answer = request.send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["value"].get("error").is_none(), "{address}: {answer}");
    answer["value"].clone()
}
