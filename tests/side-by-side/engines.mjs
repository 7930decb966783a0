// An engine under way: Node-RED or Probity over a folder of its own with a settings.js, and an editor's websocket to it.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Milliseconds for what comes within a moment on a machine that is not busy. */
const PATIENCE = 60_000;

const command = {
  'node-red': (folder, options) => [
    process.execPath,
    [join(options['node-red'], 'node_modules/node-red/red.js'), '--userDir', folder, '--settings', join(folder, 'settings.js'), '--port', '0'],
  ],
  probity: (folder, options) => [
    options.probity,
    ['serve', '--listen', '127.0.0.1:0', '--database-url', 'memory:', '--data-dir', folder],
  ],
};

// What both log when they listen.
const LISTENS = { 'node-red': /now running at http:\/\/127\.0\.0\.1:(\d+)/, probity: /http:\/\/127\.0\.0\.1:(\d+)/ };

export async function start(kind, settings, options) {
  const folder = mkdtempSync(join(tmpdir(), 'probity-beside-'));
  writeFileSync(join(folder, 'settings.js'), settings);
  writeFileSync(join(folder, 'flows.json'), '[]');
  // Compiled components are kept.
  if (options['plugin-cache']) symlinkSync(options['plugin-cache'], join(folder, 'plugin-cache'));
  const [program, given] = command[kind](folder, options);
  // What the machine has set for itself is nobody's business here; both get the same.
  const env = { PATH: process.env.PATH, HOME: folder, TZ: 'UTC', SIDE: 'by side' };
  const child = spawn(program, given, { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  const port = await new Promise((found, failed) => {
    const look = (piece) => {
      log += piece;
      const seen = log.match(LISTENS[kind]);
      if (seen) found(Number(seen[1]));
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('exit', (code) => failed(new Error(`${kind} ended with ${code}:\n${log}`)));
    child.on('error', failed);
    setTimeout(() => failed(new Error(`${kind} does not listen:\n${log}`)), PATIENCE).unref();
  });
  const engine = { kind, port, folder, token: null, heard: [], waiting: [], deploys: 0, root: /httpAdminRoot: '([^']*)'/.exec(settings)?.[1] ?? '' };
  engine.stop = () => new Promise((done) => {
    engine.socket?.close();
    child.removeAllListeners('exit');
    child.on('exit', () => {
      rmSync(folder, { recursive: true, force: true });
      done();
    });
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), PATIENCE).unref();
  });
  engine.log = () => log;
  const user = /a test's login: (\S+) (.+)$/m.exec(settings);
  try {
    if (user) await logIn(engine, user[1], user[2]);
    await listen(engine);
  } catch (error) {
    await engine.stop();
    throw new Error(`${error.message}\n${log}`);
  }
  return engine;
}

/** One call over a connection of its own, headers as they are given. */
export function call(engine, method, path, headers = {}, body = undefined) {
  return new Promise((done, failed) => {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const all = bytes ? { 'content-length': bytes.length, ...headers } : headers;
    const request = http.request({ host: '127.0.0.1', port: engine.port, method, path, headers: all, agent: false, timeout: PATIENCE }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => done({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(pieces) }));
      answer.on('error', failed);
    });
    request.on('error', failed);
    request.on('timeout', () => request.destroy(new Error(`${method} ${path}: no answer`)));
    request.end(bytes);
  });
}

async function logIn(engine, username, password) {
  const form = new URLSearchParams({ client_id: 'node-red-editor', grant_type: 'password', scope: '', username, password });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await call(engine, 'POST', engine.root + '/auth/token', headers, form.toString());
  engine.token = JSON.parse(answer.body).access_token;
}

async function listen(engine) {
  const socket = new WebSocket(`ws://127.0.0.1:${engine.port}${engine.root}/comms`);
  engine.socket = socket;
  await new Promise((open, failed) => {
    socket.onopen = open;
    socket.onerror = () => failed(new Error(`${engine.kind}: no websocket`));
  });
  await new Promise((done) => {
    if (!engine.token) return done();
    socket.onmessage = (event) => JSON.parse(event.data).auth && done();
    socket.send(JSON.stringify({ auth: engine.token }));
  });
  socket.onmessage = (event) => {
    const packet = JSON.parse(event.data);
    if (Array.isArray(packet)) engine.heard.push(...packet.filter((message) => message.topic !== 'hb'));
    engine.waiting = engine.waiting.filter((look) => !look());
  };
  for (const topic of ['debug', 'status/#', 'notification/#']) socket.send(JSON.stringify({ subscribe: topic }));
}

/** Waits until what was heard fits; false when it never does. */
export function until(engine, fits) {
  return new Promise((done) => {
    const late = setTimeout(() => done(false), PATIENCE / 4);
    const look = () => {
      if (!fits()) return false;
      clearTimeout(late);
      done(true);
      return true;
    };
    if (!look()) engine.waiting.push(look);
  });
}
