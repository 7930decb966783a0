"""A fake of what setup.sh and verify.sh ask over HTTP: status-backend's sign-in, Grafana's service accounts, health answers.
Prints its port, then serves until its standard input ends. What it holds is in $FAKE: users, grafana.json; what was asked,
without secrets, in $FAKE/asked.
"""
import base64
import http.server
import json
import os
import pathlib
import sys
import threading

fake = pathlib.Path(os.environ["FAKE"])


def held(name, default):
    path = fake / name
    return json.loads(path.read_text()) if path.exists() else default


class Services(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, code, body=None):
        text = json.dumps(body if body is not None else {}).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self):
        length = int(self.headers.get("content-length") or 0)
        return json.loads(self.rfile.read(length) or b"{}")

    def note(self):
        with (fake / "asked").open("a") as log:
            log.write(f"{self.command} {self.path}\n")

    def grafana(self, path):
        state = held("grafana.json", {"accounts": [], "tokens": {}})
        environment = held("backend.json", {})
        login = f"{environment.get('USER_STATUS')}:{environment.get('PASS_STATUS')}"
        sent = self.headers.get("authorization", "")
        basic = sent == "Basic " + base64.b64encode(login.encode()).decode()
        bearer = sent.removeprefix("Bearer ") in state["tokens"].values()
        if not (basic or bearer):
            return self.answer(401, {"message": "Unauthorized"})
        if path.startswith("/api/folders"):
            return self.answer(200, [])
        if path.startswith("/api/serviceaccounts/search"):
            return self.answer(200, {"totalCount": len(state["accounts"]), "serviceAccounts": state["accounts"], "page": 1})
        if path == "/api/serviceaccounts":
            account = {"id": 40 + len(state["accounts"]), **self.body(), "orgId": 1, "isDisabled": False}
            state["accounts"].append(account)
            (fake / "grafana.json").write_text(json.dumps(state))
            return self.answer(201, account)
        if path.endswith("/tokens"):
            name = self.body()["name"]
            key = "glsa_" + os.urandom(16).hex()
            state["tokens"][name] = key
            (fake / "grafana.json").write_text(json.dumps(state))
            return self.answer(200, {"id": 7, "name": name, "key": key})
        return self.answer(404)

    def do_GET(self):
        self.note()
        if self.path.startswith("/grafana/api/health"):
            return self.answer(200)
        if self.path.startswith("/grafana"):
            return self.grafana(self.path.removeprefix("/grafana"))
        if self.path == "/node-red/flows":
            return self.answer(401)
        return self.answer(200)

    def do_POST(self):
        self.note()
        if self.path.startswith("/grafana"):
            return self.grafana(self.path.removeprefix("/grafana"))
        if self.path == "/backend/users/signIn":
            sent = self.body()
            known = held("users", {})
            if sent["username"] not in known:
                return self.answer(404, {"message": "User not found"})
            right = known[sent["username"]] == sent["password"]
            return self.answer(200 if right else 401, {"accessToken": "x"} if right else {"message": "Invalid password"})
        return self.answer(404)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Services)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
