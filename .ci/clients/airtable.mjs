// Drives the simulated Airtable with airtable.js, a client that knows nothing of this project.
//
//     NODE_PATH=…/node_modules node airtable.mjs STATE.json     {"airtable": {"url": …, "token": …, "base": …}}
//
// Needs the npm package `airtable` (checked with 0.12.2). The base must exist; the script makes a table of its own in
// it. Settings of the simulator go through its /simulator paths, which are no part of the real API. Ends with a
// non-zero status on the first mismatch.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const Airtable = createRequire(import.meta.url)('airtable');
const state = JSON.parse(readFileSync(process.argv[2], 'utf8')).airtable;
let checks = 0;

function check(found, expected, what) {
  checks += 1;
  assert.deepEqual(found, expected, what);
}

async function post(path, body, token) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(`${state.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, `${path}: ${answer.status}`);
  return answer.json();
}

const settings = (wanted) => post('/simulator/settings', wanted);

async function refused(status, error, call, text = '') {
  checks += 1;
  try {
    await call();
  } catch (refusal) {
    assert.equal(refusal.statusCode, status, `${refusal}`);
    assert.equal(refusal.error, error, `${refusal}`);
    assert.ok(`${refusal.message}`.includes(text), `${refusal}`);
    return;
  }
  assert.fail(`expected ${status} ${error}, but the call succeeded`);
}

const client = (token) =>
  new Airtable({ apiKey: token, endpointUrl: state.url, noRetryIfRateLimited: true }).base(state.base);

const before = await settings({ perSecond: null, monthlyCalls: null, recordCap: null });
const made = await post(
  `/v0/meta/bases/${state.base}/tables`,
  {
    name: `Träns/actions ${process.hrtime.bigint()}`,
    fields: [
      { name: 'txid', type: 'singleLineText' },
      { name: 'amount', type: 'currency', options: { precision: 2, symbol: '€' } },
      { name: 'date', type: 'date', options: { dateFormat: { name: 'iso' } } },
      { name: 'kind', type: 'singleSelect', options: { choices: [{ name: 'fee' }] } },
    ],
  },
  state.token,
);
const base = client(state.token);
const table = base(made.name);

const rows = Array.from({ length: 10 }, (_, n) => ({ fields: { txid: `t${n}`, amount: n / 4, date: '2026-01-05' } }));
const created = await table.create(rows);
check(created.map((row) => row.get('txid')), rows.map((row) => row.fields.txid), 'created in order');
const single = await table.create({ txid: 'single', kind: 'new' }, { typecast: true });
check(single.fields, { txid: 'single', kind: 'new' }, 'one record, a new choice by typecast');
check((await table.find(single.id)).fields, single.fields, 'found by its id');
check((await table.update(single.id, { amount: -12.34, kind: null })).fields, { txid: 'single', amount: -12.34 },
  'update merges, null empties');
check((await table.replace(single.id, { amount: 1 })).fields, { amount: 1 }, 'replace empties the rest');
check((await table.destroy(single.id)).id, single.id, 'destroyed');

let pages = [];
await table.select({ pageSize: 4 }).eachPage((records, next) => {
  pages.push(records.length);
  next();
});
check(pages, [4, 4, 2], 'pages');
const chosen = await table
  .select({ filterByFormula: "OR({txid}='t3', {txid}='t4')", fields: ['txid'], sort: [{ field: 'amount', direction: 'desc' }] })
  .all();
check(chosen.map((row) => row.fields), [{ txid: 't4' }, { txid: 't3' }], 'filter, fields and sort');
const long = `OR({txid}='t5', ${Array.from({ length: 200 }, () => `{txid}='${'x'.repeat(100)}'`).join(', ')})`;
check((await table.select({ filterByFormula: long }).all()).map((row) => row.get('txid')), ['t5'],
  'a list too long for an address');

const upserted = await table.update(
  [{ fields: { txid: 'fresh', amount: 5 } }, { fields: { txid: 't0', amount: 6 } }],
  { performUpsert: { fieldsToMergeOn: ['txid'] } },
);
check(upserted.map((row) => row.get('amount')), [5, 6], 'upsert');
check(upserted[1].id, created[0].id, 'upsert updates');
check((await table.replace([{ id: created[1].id, fields: { txid: 't1' } }]))[0].fields, { txid: 't1' }, 'replace many');
check((await table.destroy([created[8].id, created[9].id])).length, 2, 'destroy many');

await refused(422, 'UNKNOWN_FIELD_NAME', () => table.create({ vendor: 'x' }), 'Unknown field name: "vendor"');
await refused(422, 'INVALID_VALUE_FOR_COLUMN', () => table.create({ amount: '1' }), 'cannot accept the provided value');
await refused(422, 'INVALID_MULTIPLE_CHOICE_OPTIONS', () => table.create({ kind: 'other' }), 'new select option');
await refused(422, 'INVALID_RECORDS', () => table.create([...rows, rows[0]]), 'A maximum of 10 records');
await refused(422, 'INVALID_FILTER_BY_FORMULA', () => table.select({ filterByFormula: 'OR(' }).all());
// The client words these three itself; what counts is that it recognises them.
await refused(404, 'NOT_FOUND', () => table.find(created[9].id));
await refused(403, 'NOT_AUTHORIZED', () => base('No such table').select().all());
await refused(401, 'AUTHENTICATION_REQUIRED', () => client('patWrong.simulated')(made.id).select().all());
await settings({ monthlyCalls: 0 });
await refused(429, 'TOO_MANY_REQUESTS', () => table.find(created[0].id));
await settings({ monthlyCalls: null, perSecond: 0 });
await refused(429, 'TOO_MANY_REQUESTS', () => table.find(created[0].id));
await settings(before);
console.log(`airtable.js: ${checks} checks passed`);
