// What a case does with an engine, step by step, and what of the answers is compared.

import { call, until } from './engines.mjs';

/** Nodes for a message that is sent behind all others: what has come by then is what a step brought. Each deploy has its own,
 * so that they also show that it has been started. */
function ends(engine) {
  engine.deploys += 1;
  const at = (name) => `end-${name}-${engine.deploys}`;
  return [
    { id: at('tab'), type: 'tab', label: 'end' },
    { id: at('in'), type: 'inject', z: at('tab'), props: [{ p: 'payload' }], payload: 'end', payloadType: 'str', repeat: '', crontab: '', once: false, x: 1, y: 1, wires: [[at('out')]] },
    { id: at('out'), type: 'debug', z: at('tab'), name: '', active: true, tosidebar: true, console: false, tostatus: false, complete: 'payload', targetType: 'msg', x: 1, y: 1, wires: [] },
  ];
}

/** Headers that are compared unless a step names others. */
const HEADERS = ['content-type', 'location', 'set-cookie', 'www-authenticate'];

const CONTAINERS = new Set(['tab', 'subflow', 'group']);

/** Nodes as a case writes them: on the tab "t", somewhere. */
function whole(engine, nodes) {
  const tabs = nodes.some((node) => node.id === 't') ? [] : [{ id: 't', type: 'tab', label: 'T', disabled: false, info: '', env: [] }];
  const all = nodes.map((node) => {
    const { config, ...rest } = node;
    if (config || CONTAINERS.has(node.type)) return node.type === 'group' ? { z: 't', x: 1, y: 1, w: 9, h: 9, ...rest } : rest;
    const debug = node.type === 'debug' ? { active: true, tosidebar: true, console: false, tostatus: false, complete: 'true', targetType: 'full' } : {};
    const inject = node.type === 'inject' ? { props: [{ p: 'payload' }], payload: '', payloadType: 'date', repeat: '', crontab: '', once: false } : {};
    const func = node.type === 'function' ? { outputs: 1, timeout: 0, noerr: 0, initialize: '', finalize: '', libs: [] } : {};
    return { z: 't', name: '', x: 100, y: 100, wires: [], ...debug, ...inject, ...func, ...rest };
  });
  return [...tabs, ...all, ...ends(engine)];
}

/** `$name` in texts stands for what an earlier step took. */
function filled(value, taken) {
  if (typeof value === 'string') return value.replace(/\$\{(\w+)\}/g, (all, name) => (name in taken ? taken[name] : all));
  if (Array.isArray(value)) return value.map((one) => filled(one, taken));
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one, taken)]));
  return value;
}

/** What is another in each run: ids, instants, ports, revisions. */
function plain(engine, value, key) {
  if (typeof value === 'string') {
    if (key === 'stack') return '<stack>';
    return value
      .replaceAll(`127.0.0.1:${engine.port}`, '<host>')
      .replaceAll(engine.folder, '<folder>')
      .replace(/\b[0-9a-f]{64}\b/g, '<revision>')
      .replace(/\b[0-9a-f]{28}\b/g, '<id>')
      .replace(/\b[0-9a-f]{16}\b/g, '<id>')
      .replace(/\b20[23]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<instant>')
      .replace(/\b1[789]\d{11}\b/g, '<ms>');
  }
  if (typeof value === 'number') return value > 1.7e12 && value < 2e12 ? '<ms>' : value;
  if (Array.isArray(value)) return value.map((one) => plain(engine, one));
  if (value && typeof value === 'object') {
    // What is undefined is as good as absent, and so is an empty name; `_event` is a trace that Node-RED's link nodes leave behind.
    const kept = Object.entries(value).filter(([name, one]) => name !== '_event' && !(name === 'name' && one === '') && !(one?.__enc__ && one.type === 'undefined'));
    return Object.fromEntries(kept.map(([name, one]) => [plain(engine, name), name === '_msgid' ? '<id>' : plain(engine, one, name)]));
  }
  return value;
}

/** Without the words of errors and warnings: that one is told, and by whom, is compared. */
function wordless(value) {
  if (Array.isArray(value)) return value.map(wordless);
  if (!value || typeof value !== 'object') return value;
  if (value.level !== undefined) return { id: value.id, level: value.level };
  const kept = Object.entries(value).map(([name, one]) => [name, name === 'error' && one?.source ? { source: one.source } : wordless(one)]);
  return Object.fromEntries(kept);
}

function json(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function shown(engine, answer, step) {
  const text = answer.body.toString('utf8');
  const headers = {};
  for (const name of step.headers_of ?? HEADERS) if (answer.headers[name] !== undefined) headers[name] = answer.headers[name];
  // Its logins send a text without saying what it is.
  if (answer.status === 401) delete headers['content-type'];
  // Pages of Express say the same in other words.
  const page = answer.status >= 400 && /^\s*<!DOCTYPE/i.test(text);
  const body = page ? '<page>' : step.bytes ? answer.body.toString('base64') : json(text) ?? text;
  return plain(engine, { status: answer.status, headers, ...(step.body_of === false ? {} : { body }) });
}

function multipart(fields) {
  const border = 'border-of-a-test';
  const pieces = fields.map((field) => {
    const file = field.filename === undefined ? '' : `; filename="${field.filename}"`;
    const type = field.type ? `\r\ncontent-type: ${field.type}` : '';
    return `--${border}\r\ncontent-disposition: form-data; name="${field.name}"${file}${type}\r\n\r\n${field.value}\r\n`;
  });
  return [`multipart/form-data; boundary=${border}`, pieces.join('') + `--${border}--\r\n`];
}

function request(engine, step) {
  const [method, path] = step.call.split(' ');
  const headers = { ...(step.headers ?? {}) };
  let body;
  if (step.json !== undefined) [headers['content-type'], body] = ['application/json', JSON.stringify(step.json)];
  else if (step.form !== undefined) [headers['content-type'], body] = ['application/x-www-form-urlencoded', new URLSearchParams(step.form).toString()];
  else if (step.multipart !== undefined) [headers['content-type'], body] = multipart(step.multipart);
  else if (step.base64 !== undefined) body = Buffer.from(step.base64, 'base64');
  else if (step.text !== undefined) body = step.text;
  if (step.headers?.['content-type']) headers['content-type'] = step.headers['content-type'];
  return [method, path, headers, body];
}

function admin(engine, headers) {
  return engine.token ? { authorization: 'Bearer ' + engine.token, ...headers } : headers;
}

function said(message) {
  const data = message.data;
  const { id, z, path, _alias, timestamp, ...rest } = data;
  const value = typeof data.msg === 'string' && !/^string|^number|^boolean/.test(data.format) ? json(data.msg) ?? data.msg : data.msg;
  return { id: _alias ?? id, ...rest, msg: value };
}

const isEnd = (message) => message.topic === 'debug' && String(message.data.id).startsWith('end-out-');
// What Node-RED's log says of a refused flow comes whenever it likes, of no node, and into whichever case is next.
const isLate = (message) => message.data.id === undefined && JSON.stringify(message.data).includes('duplicate id');
const isDebug = (message) => message.topic === 'debug' && !isEnd(message) && !isLate(message);

async function step(engine, step, taken) {
  if (step.deploy !== undefined) {
    const v2 = step.version !== 'v1';
    const flows = step.as_is ? step.deploy : whole(engine, step.deploy);
    const body = v2 ? { flows, ...(step.rev !== undefined ? { rev: step.rev } : {}), ...(step.credentials !== undefined ? { credentials: step.credentials } : {}) } : flows;
    const headers = { 'content-type': 'application/json', 'node-red-api-version': v2 ? 'v2' : 'v1', 'node-red-deployment-type': step.type ?? 'full' };
    const answer = await call(engine, 'POST', engine.root + '/flows', admin(engine, headers), JSON.stringify(body));
    if (v2 && answer.status === 200) taken.rev = JSON.parse(answer.body).rev;
    if (answer.status < 300 && !step.as_is) await end(engine);
    else engine.deploys -= step.as_is ? 0 : 1;
    return [answer, shown(engine, answer, step)];
  }
  if (step.call !== undefined) {
    const [method, path, headers, body] = request(engine, step);
    const ask = () => call(engine, method, path, step.admin ? admin(engine, headers) : headers, body);
    let answer = await ask();
    // Node-RED answers a deploy before it has taken effect.
    for (const began = Date.now(); step.until && answer.status !== step.until && Date.now() - began < 15_000; ) {
      await new Promise((done) => setTimeout(done, 10));
      answer = await ask();
    }
    return [answer, shown(engine, answer, step)];
  }
  if (step.inject !== undefined) {
    const body = step.props ? { __user_inject_props__: step.props } : {};
    const answer = await call(engine, 'POST', `${engine.root}/inject/${step.inject}`, admin(engine, { 'content-type': 'application/json' }), JSON.stringify(body));
    return [answer, { status: answer.status }];
  }
  if (step.debug !== undefined) {
    const messages = () => engine.heard.filter(isDebug);
    const came = await until(engine, () => messages().length >= step.debug);
    // A case that waits for more than Node-RED sends is wrong, and slow.
    if (!came && engine.kind === 'node-red') throw new Error(`only ${messages().length} of ${step.debug} messages came`);
    await end(engine);
    const shown = messages().map((message) => plain(engine, said(message)));
    engine.heard = [];
    if (step.any_order) shown.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return [null, shown];
  }
  if (step.statuses !== undefined) {
    const of = (message) => message.topic.startsWith('status/') && Object.keys(message.data).length > 0;
    await until(engine, () => engine.heard.filter(of).length >= step.statuses);
    return [null, engine.heard.filter(of).map((message) => plain(engine, message))];
  }
  throw new Error('no such step: ' + JSON.stringify(step));
}

/** Waits until a message that is sent now has come back; a deploy may still be starting its nodes. */
async function end(engine) {
  const before = engine.heard.filter(isEnd).length;
  const began = Date.now();
  const press = () => call(engine, 'POST', `${engine.root}/inject/end-in-${engine.deploys}`, admin(engine, { 'content-type': 'application/json' }), '{}');
  while ((await press()).status === 404) {
    if (Date.now() - began > 15_000) throw new Error('what was deployed does not start');
    await new Promise((done) => setTimeout(done, 10));
  }
  await until(engine, () => engine.heard.filter(isEnd).length > before);
}

/** Does the steps of a case; gives what came of each. With `words: false` messages of errors and warnings are not compared. */
export async function perform(engine, one) {
  const taken = {};
  const came = [];
  engine.heard = [];
  const steps = one.flow ? [{ deploy: one.flow, body_of: false, headers_of: [] }, ...one.steps] : one.steps;
  for (const raw of steps) {
    const now = filled(raw, taken);
    try {
      const [answer, worded] = await step(engine, now, taken);
      const compared = one.words === false ? wordless(worded) : worded;
      if (now.take) {
        const body = json(answer.body.toString('utf8'));
        for (const [name, path] of Object.entries(now.take)) taken[name] = path.split('.').reduce((at, key) => at?.[key], body);
      }
      if (now.deploy === undefined || !one.flow) came.push(compared);
      else if (answer.status >= 300) came.push({ ...compared, why: answer.body.toString('utf8').slice(0, 500) });
    } catch (error) {
      came.push({ failed: String(error.message ?? error) });
    }
  }
  return came;
}
