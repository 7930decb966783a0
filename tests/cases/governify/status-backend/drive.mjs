// Calls status-backend's own `calculatePoints` twice: argv[2] is its checkout, REGISTRY_URL the Registry.
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';
register('./hooks.mjs', import.meta.url);
const log = console.log;
console.log = () => {};
const source = pathToFileURL(`${process.argv[2]}/src/controllers/catalog.controller.js`).href;
const { calculatePoints } = await import(source);
for (let i = 0; i < 2; i++) {
  const res = { status(code) { this.code = code; return this; }, json(body) { this.body = body; } };
  const query = { from: '2024-03-01T00:00:00.000Z', to: '2024-03-31T23:59:59.999Z' };
  await calculatePoints({ params: { tpaId: 'tpa-1' }, query, cookies: { accessToken: 'a.b.c' } }, res);
  log(JSON.stringify({ code: res.code, message: res.body.message }));
}
