// Runs the cases of tests/cases/side-by-side against the real Node-RED and against Probity, and compares the answers.
//
//   node tests/side-by-side/run.mjs --probity target/debug/probity --node-red target/node-red
//        [--plugin-cache DIR] [--only TEXT] [--show] [--log] [--write]
//
// --only runs the cases whose names have that in them, --show prints what both answered, --log what both logged, --write
// writes table.md anew.
// Ends with 1 when something differs that differences.json does not name, or no longer does, or table.md is not up to date.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { start } from './engines.mjs';
import { perform } from './steps.mjs';

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), '../cases/side-by-side');

const { values: options } = parseArgs({
  options: {
    probity: { type: 'string' },
    'node-red': { type: 'string' },
    'plugin-cache': { type: 'string' },
    log: { type: 'boolean' },
    only: { type: 'string' },
    show: { type: 'boolean' },
    write: { type: 'boolean' },
  },
});

for (const name of ['probity', 'node-red', 'plugin-cache']) {
  if (options[name]) options[name] = resolve(options[name]);
}

function read(name) {
  return JSON.parse(readFileSync(join(FOLDER, name), 'utf8'));
}

const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json') && name !== 'differences.json').sort();
const parts = files.map((name) => ({ name: name.replace('.json', ''), ...read(name) }));
const known = new Map(Object.entries(read('differences.json')));

/** As JSON with sorted keys, so that equal things are equal texts. */
function canonical(value) {
  if (Array.isArray(value)) return '[' + value.map(canonical).join(',') + ']';
  if (value && typeof value === 'object') {
    return '{' + Object.keys(value).sort().map((key) => JSON.stringify(key) + ':' + canonical(value[key])).join(',') + '}';
  }
  return JSON.stringify(value) ?? 'undefined';
}

/** Which steps differ, as lines. */
function differing(theirs, ours) {
  const lines = [];
  for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
    const [a, b] = [canonical(theirs[i]), canonical(ours[i])];
    if (a !== b) lines.push(`    step ${i + 1}`, `      Node-RED ${a}`, `      Probity  ${b}`);
  }
  return lines;
}

const rows = [];
const surprises = [];
const settings = [...new Set(parts.map((part) => part.settings))];
// One engine of each kind for each settings.js; parts with the same settings go through them one after the other.
await Promise.all(settings.map(async (name) => {
  const source = readFileSync(join(FOLDER, 'settings', name + '.js'), 'utf8');
  const pair = await Promise.all([start('node-red', source, options), start('probity', source, options)]);
  try {
    for (const part of parts.filter((part) => part.settings === name)) {
      const row = { part: part.name, cases: 0, equal: 0, differ: [] };
      rows.push(row);
      for (const one of part.cases) {
        const title = part.name + ': ' + one.name;
        if (options.only && !title.includes(options.only)) continue;
        row.cases++;
        const [theirs, ours] = await Promise.all(pair.map((engine) => perform(engine, one)));
        if (options.show) console.log(title + '\n  Node-RED ' + JSON.stringify(theirs) + '\n  Probity  ' + JSON.stringify(ours));
        const lines = differing(theirs, ours);
        const reason = known.get(title);
        if (lines.length === 0 && reason) surprises.push(`  ${title}\n    is equal now: take it out of differences.json`);
        else if (lines.length === 0) row.equal++;
        else if (reason) row.differ.push([one.name, reason]);
        else surprises.push([`  ${title}`, ...lines].join('\n'));
      }
    }
  } finally {
    if (options.log) for (const engine of pair) console.log(engine.log());
    await Promise.all(pair.map((engine) => engine.stop()));
  }
}));

for (const title of known.keys()) {
  const known = parts.some((part) => part.cases.some((one) => title === part.name + ': ' + one.name));
  if (!known) surprises.push(`  ${title}\n    differences.json names a case that is not there`);
}

rows.sort((a, b) => (a.part < b.part ? -1 : 1));
const [cases, equal] = ['cases', 'equal'].map((key) => rows.reduce((sum, row) => sum + row[key], 0));
let table = `# Side by side with Node-RED\n\nWritten by \`tests/side-by-side/run.mjs --write\`; do not edit. ${equal} of ${cases} cases are answered
alike by Node-RED 5.0.7 and Probity.\n\n| part | cases | alike | differ |\n|---|---|---|---|\n`;
for (const row of rows) table += `| ${row.part} | ${row.cases} | ${row.equal} | ${row.differ.length} |\n`;
const differ = rows.flatMap((row) => row.differ.map(([name, why]) => `| ${row.part} | ${name} | ${why} |\n`));
if (differ.length) table += '\n## What differs, and why\n\n| part | case | why |\n|---|---|---|\n' + differ.join('');

if (options.write) writeFileSync(join(FOLDER, 'table.md'), table);
else if (!options.only && surprises.length === 0 && readFileSync(join(FOLDER, 'table.md'), 'utf8') !== table) {
  surprises.push('  table.md is not up to date: run with --write');
}
console.log(`${equal} of ${cases} cases are answered alike`);
if (surprises.length) {
  console.log(`${surprises.length} surprises:\n${surprises.join('\n')}`);
  process.exitCode = 1;
}
