#!/usr/bin/env python3
"""Durable runs end to end: the real program on a private Postgres (fsync on), under wrk.

tests/bench/durable.py [--binary FILE] [--seconds 10] [--queued 100000]; `tests/bench/run durable` runs it, too.

  triggers   POST …?async=1 from 64 connections: answered after the commit, and run meanwhile
  drained    so many queued runs of a paused flow, then resumed: leased, executed and acknowledged
  restart    the program killed with -9 in the midst of them: how long until it answers health again
  recovery   one of two replicas killed with -9 while its runs wait for an answer: until the other one has begun the last
  fast       what history costs a fast call, against none at all; rows not yet written when it is killed

CPU time is the measure, of the program and of Postgres (with WAL and vacuum); times depend on who else uses the machine.
The unit costs of docs/sizing.md are these.
"""

import argparse, contextlib, http.client, http.server, importlib.machinery, importlib.util, json, os, pathlib, re, shutil, signal, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
PORT = 18840
BODY = ('{"control":"AC-2(1)","result":"pass","owner":"team-platform","severity":5,'
        '"evidence":{"count":12,"source":"github"},"tags":["iam","access","sso"]}')
QUIET = {"PROBITY_SCHEDULE_FIRST_WINDOWS_MAX": "0", "PROBITY_SCHEDULE_PROVISIONAL_MS": "0", "PROBITY_LOG_LEVEL": "warn,probity=info"}


def bench_module():
    """`tests/bench/run`, whose name has no ending."""
    loader = importlib.machinery.SourceFileLoader("probity_bench_run", str(HERE / "run"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def flows(outside):
    def node(node_id, tab, kind, to, **more):
        return {"id": node_id, "z": tab, "type": kind, "x": 1, "y": 1, "wires": [[to]] if to else [], **more}

    rules = [{"t": "set", "p": "payload.seen", "pt": "msg", "to": "true", "tot": "bool"}]
    return [
        {"id": "d", "type": "tab", "label": "durable", "durability": "durable"},
        node("in", "d", "http in", "set", url="/run", method="post"),
        node("set", "d", "change", "out", rules=rules),
        node("out", "d", "http response", None, statusCode="", headers={}),
        node("ask", "d", "http in", "call", url="/ask", method="post"),
        node("call", "d", "http request", "said", method="POST", ret="txt", url=outside),
        node("said", "d", "http response", None, statusCode="", headers={}),
        {"id": "f", "type": "tab", "label": "fast"},
        node("fin", "f", "http in", "fset", url="/fast", method="post"),
        node("fset", "f", "change", "fout", rules=rules),
        node("fout", "f", "http response", None, statusCode="", headers={}),
    ]


class Outside(http.server.ThreadingHTTPServer):
    """A service that keeps its callers waiting until it is opened, and notes who came when."""
    daemon_threads = True
    request_queue_size = 128  # the kernel drops what comes beyond Python's 5 at once, and the senders wait seconds to try again

    def __init__(self):
        self.came, self.open, self.lock = [], threading.Event(), threading.Lock()
        super().__init__(("127.0.0.1", 0), OutsideHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class OutsideHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            self.server.came.append((time.perf_counter(), self.headers.get("idempotency-key")))
        self.server.open.wait(60)
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Program:
    """A replica under way."""

    def __init__(self, bench, binary, url, folder, port=PORT, outside="http://127.0.0.1:9/", env=()):
        self.bench, self.port = bench, port
        home = pathlib.Path(folder) / f"home-{port}"
        home.mkdir(exist_ok=True)
        (home / "flows.json").write_text(json.dumps(flows(outside)))
        self.log = home / "server.log"
        command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(home), "--agreements", "",
                   "--flows", str(home / "flows.json")]
        environment = {**os.environ, **QUIET, "PROBITY_DATABASE_URL": url, "PROBITY_CREDENTIALS_SECRET": "bench", **dict(env)}
        began = time.perf_counter()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        while True:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/health/ready")[0] == 200:
                    break
            if self.process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit("the program did not start:\n" + self.log.read_text()[-3000:])
            time.sleep(0.002)
        self.ready_s = time.perf_counter() - began

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def kill_9(self):
        self.process.kill()
        self.process.wait()


def sql(url, statement):
    host = re.search(r"host=([^&]+)", url)[1]
    command = ["psql", "-h", host, "-U", "postgres", "-d", "postgres", "-qAtX", "-c", statement]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Spent:
    """CPU time of the program and of Postgres, and what Postgres wrote, since a moment."""

    def __init__(self, bench, program, postgres, url):
        self.bench, self.program, self.postgres, self.url = bench, program, postgres, url
        self.began, self.start = time.perf_counter(), self.now()

    def now(self):
        wal = int(sql(self.url, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))
        return self.bench.cpu_s(self.program.process.pid), self.bench.cpu_s(self.postgres), wal

    def per(self, count):
        engine, postgres, wal = (now - before for now, before in zip(self.now(), self.start))
        seconds = time.perf_counter() - self.began
        return {"runs": count, "seconds": seconds, "per_s": count / seconds, "engine_us": engine * 1e6 / count,
                "postgres_us": postgres * 1e6 / count, "wal_bytes": wal / count}


def queued(url):
    return int(sql(url, "SELECT count(*) FROM probity.queue"))


def until_empty(url, limit_s=300):
    """Asked in a way that costs Postgres next to nothing."""
    began = time.perf_counter()
    while sql(url, "SELECT EXISTS (SELECT FROM probity.queue)") == "t":
        if time.perf_counter() - began > limit_s:
            raise SystemExit(f"{queued(url)} runs have not ended")
        time.sleep(0.2)


def lua(folder, keyed=False):
    script = pathlib.Path(folder) / ("keyed.lua" if keyed else "plain.lua")
    text = f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '{BODY}'\n"
    if keyed:
        text += ("local thread = 0\nfunction setup(t) t:set('id', thread); thread = thread + 1 end\n"
                 "function init() math.randomseed(os.time()); n = 0; life = math.random(1e9) end\n"
                 "function request() n = n + 1; wrk.headers['Idempotency-Key'] = life .. '-' .. id .. '-' .. n; return wrk.format() end\n")
    script.write_text(text)
    return script


def triggers(bench, program, postgres, url, folder, seconds, keyed):
    """Accepted after the commit, run meanwhile; until the last one has ended."""
    bench.wrk(program, "/run?async=1", lua(folder, keyed), 2, 64)
    until_empty(url)
    spent = Spent(bench, program, postgres, url)
    row = bench.wrk(program, "/run?async=1", lua(folder, keyed), seconds, 64)
    until_empty(url)
    # wrk does not count what was under way at its end.
    return {**spent.per(row["requests"]), "accepted_per_s": row["per_s"], "p50_ms": row["p50_ms"], "p99_ms": row["p99_ms"]}


def drained(bench, binary, postgres, url, folder, wanted):
    """A long line of a paused flow, a kill in front of it, a restart, and the end of the line."""
    program = Program(bench, binary, url, folder)
    program.ask("POST", "/probity/v1/flows/d/pause")
    while (waiting := queued(url)) < wanted:
        bench.wrk(program, "/run?async=1", lua(folder), 3, 64)
    size = int(sql(url, "SELECT pg_total_relation_size('probity.queue')"))
    program.kill_9()
    program = Program(bench, binary, url, folder)
    restart = {"queued": waiting, "ready_s": program.ready_s, "bytes_queued": size / waiting}
    spent = Spent(bench, program, postgres, url)
    program.ask("POST", "/probity/v1/flows/d/resume")
    until_empty(url)
    row = spent.per(waiting)
    # One that had been leased a moment too long would have begun again.
    ended = int(sql(url, "SELECT count(*) FROM probity.run WHERE subject = 'd' AND state = 'done'"))
    sql(url, "VACUUM ANALYZE")
    kept = int(sql(url, "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'probity.run'::regclass"))
    bench.stop(program.process)
    return row, restart, {"rows": ended, "bytes": kept / max(ended, 1)}


def recovery(bench, binary, url, folder):
    """Seconds from the death of a replica to the begin of the last of its runs elsewhere, with the default lease."""
    outside = Outside()
    address = f"http://127.0.0.1:{outside.server_port}/"
    first = Program(bench, binary, url, folder, PORT, address)
    second = Program(bench, binary, url, folder, PORT + 1, address)
    runs = 50
    for n in range(runs):
        status, answer = first.ask("POST", "/ask?async=1", BODY, {"content-type": "application/json"})
        if status != 202:
            raise SystemExit(f"not accepted: {status} {answer}")
    while len(outside.came) < runs:
        time.sleep(0.01)
    keys = {key for _, key in outside.came}
    first.kill_9()
    died = time.perf_counter()
    while sum(1 for at, key in list(outside.came) if at > died and key in keys) < runs:
        if time.perf_counter() - died > 60:
            raise SystemExit("the other replica did not go on")
        time.sleep(0.01)
    last = max(at for at, _ in outside.came) - died
    outside.open.set()
    until_empty(url)
    bench.stop(second.process)
    again = [key for at, key in outside.came if at > died]
    outside.shutdown()
    return {"runs": runs, "seconds": last, "right": set(again) == keys and len(again) == runs}


def fast(bench, binary, url, folder, seconds):
    """CPU of a fast call without history, with the default and with all of it."""
    rows = {}
    for name, kept in (("off", 0), ("default", 50), ("all", 1_000_000)):
        program = Program(bench, binary, url, folder, PORT, env={"PROBITY_LIMITS_RUNS_KEPT_PER_S_MAX": str(kept)}.items())
        rows[name] = (kept, program)
        bench.stop(program.process)
    measured = {name: [] for name in rows}
    lost = None
    for rep in range(3):
        for name, (kept, _) in rows.items():
            program = Program(bench, binary, url, folder, PORT, env={"PROBITY_LIMITS_RUNS_KEPT_PER_S_MAX": str(kept)}.items())
            bench.wrk(program, "/fast", lua(folder), 2, 32)
            postgres = rows_of_fast(url)
            window = bench.Window(program.process)
            row = bench.wrk(program, "/fast", lua(folder), seconds, 32)
            row.update(window.end())
            if name == "all" and rep == 2:
                program.kill_9()
                lost = max(0, row["requests"] - (rows_of_fast(url) - postgres))
            else:
                bench.stop(program.process)
            measured[name].append(row["cpu_s"] * 1e6 / row["requests"])
    median = {name: sorted(values)[len(values) // 2] for name, values in measured.items()}
    return {"cpu_us": median, "added_us": median["default"] - median["off"], "added_all_us": median["all"] - median["off"],
            "not_written_at_kill": lost}


def rows_of_fast(url):
    return int(sql(url, "SELECT count(*) FROM probity.run WHERE subject = 'f'"))


def measure(bench, binary, seconds, queued):
    result = {}
    with bench.postgres() as (url, postgres), tempfile.TemporaryDirectory(prefix="probity-bench-") as folder:
        program = Program(bench, binary, url, folder)
        for name, keyed in (("triggers", False), ("triggers with keys", True)):
            row = result[name] = triggers(bench, program, postgres, url, folder, seconds, keyed)
            print(f"  {name:20} {row['accepted_per_s']:8.0f}/s accepted, p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms; {unit(row)}", flush=True)
        bench.stop(program.process)
        row, restart, history = drained(bench, binary, postgres, url, folder, queued)
        result.update(drained=row, restart=restart, history=history)
        print(f"  drained              {row['per_s']:8.0f}/s leased, executed and acknowledged ({row['runs']} runs); {unit(row)}")
        print(f"  restart              {restart['ready_s']:8.2f} s to /health/ready with {restart['queued']} queued runs "
              f"({restart['bytes_queued']:.0f} bytes each; {history['bytes']:.0f} bytes each in the history)", flush=True)
        result["recovery"] = row = recovery(bench, binary, url, folder)
        print(f"  recovery             {row['seconds']:8.2f} s after kill -9 the other replica had begun all {row['runs']} runs")
        result["fast"] = row = fast(bench, binary, url, folder, max(2, seconds // 2))
        print(f"  fast                 {row['cpu_us']['off']:8.1f} µs CPU a call without history, {row['added_us']:+.1f} µs by default, "
              f"{row['added_all_us']:+.1f} µs when all are kept; {row['not_written_at_kill']} rows not written at a kill")
    return result


def unit(row):
    return f"a run: {row['engine_us']:.0f} µs CPU, {row['postgres_us']:.0f} µs of Postgres, {row['wal_bytes']:.0f} bytes of WAL"


def bars(result):
    accepted, row = result["triggers"], result["drained"]
    return [
        ("durable: triggers accepted", f"{accepted['accepted_per_s']:.0f}/s at c=64", "≥ 5,000/s", accepted["accepted_per_s"] >= 5_000),
        ("durable: leased, run, settled", f"{row['per_s']:.0f}/s", "≥ 20,000/s", row["per_s"] >= 20_000),
        ("durable: restart", f"{result['restart']['ready_s']:.2f} s with {result['restart']['queued']} queued", "≤ 2 s", result["restart"]["ready_s"] <= 2),
        ("durable: recovery", f"{result['recovery']['seconds']:.2f} s after kill -9", "≤ lease (4 s) + 1 s", result["recovery"]["right"] and result["recovery"]["seconds"] <= 5),
        ("fast: history adds", f"{result['fast']['added_us']:+.1f} µs CPU", "≤ 5 µs", result["fast"]["added_us"] <= 5),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the program; without it: a release build")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--queued", type=int, default=100_000)
    options = parser.parse_args()
    bench = bench_module()
    binary = options.binary or bench.probity_binary()
    result = measure(bench, binary, options.seconds, options.queued)
    for name, shown, bar, kept in bars(result):
        print(f"  {'kept  ' if kept else 'MISSED'}  {name:30} {shown:40} bar: {bar}")
    print(json.dumps(result))
    return 0 if all(kept for *_, kept in bars(result)) else 1


if __name__ == "__main__":
    sys.exit(main())
