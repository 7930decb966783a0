// Records what Node-RED's `$moment` answers in JSONata, with the real Moment of an installed Node-RED:
//
//   node tests/cases/moment/record.mjs target/node-red/node_modules
//
// writes cases.json.gz beside this file: for each zone of the machine, expressions with what they gave. The clock stands.

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';

const NOW = 1772366645067; // 2026-03-01T12:04:05.067Z
const MSG = { payload: '2026-03-01T10:00:00Z', n: 3, topic: '2025-11-30T23:30:15.250+02:00', o: { year: 2020, month: 1, day: 29, hour: '7' }, l: [2024, 1, 31, 5] };
const ZONES = ['UTC', 'Europe/Madrid', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe'];

const texts = [
  '2026-03-01', '2026-03-01T10:20', '2026-03-01 10:20:30', '2026-03-01T10:20:30.5', '2026-03-01T10:20:30,123456+01:00', '2026-03-29T02:30:00', '2026-10-25T02:30:00',
  '2026-03-08T02:30:00', '2026-11-01T01:30:00', '20260301', '20260301T102030Z', '2026-W10', '2026-W10-3', '2026W103', '2026-060', '2026060', '2026', '2026-03', '202603',
  '2026-02-29', '2024-02-29', '2026-13-01', '2026-03-01T24:00:00', '2026-03-01T24:00:01', '2026-03-01T10:20:30+0530', '2026-03-01T10:20:30-08', '2026-03-01T10:20Z',
  '+012026-03-01', '-000044-03-15', '0099-01-01', 'Sun, 01 Mar 2026 10:20:30 GMT', 'Sun, 01 Mar 2026 10:20:30 +0100', 'Mon, 01 Mar 2026 10:20:30 GMT', '1 Mar 26 10:20 EST',
  'March 1, 2026', 'Mar 1, 2026 10:20', '1 March 2026', '2026/03/01', '03/01/2026', '3/1/26', '2026-3-1', '2026-3-1 4:05', 'Sun Mar 01 2026 10:20:30 GMT+0100 (CET)', '2026-03-01 10:20 PM',
  'March 7', '12/25/1995 13:30', 'yesterday', '', 'garbage 12', '/Date(1198908717056-0700)/', '2026-03-01T10:20:30 Z', '10:20', '2026-03-01T', 'Tue Mar 01 2026', '5', '1772366645067', '2026-06-31', '2026-03-01T10:60',
];
const formats = [
  '', 'YYYY-MM-DD', 'YYYY-MM-DD HH:mm:ss.SSS Z', 'dddd, MMMM Do YYYY, h:mm:ss a', 'ddd D MMM YY hh:mm A', 'L LT', 'LL', 'LLL', 'LLLL', 'l ll lll llll', 'LTS', 'Q Qo', 'DDD DDDo DDDD', 'd do dd e E',
  'w wo ww W Wo WW', 'gg gggg ggggg GG GGGG GGGGG', 'k kk', 'Hmm Hmmss hmm hmmss', 'x X', 'S SS SSS SSSS SSSSSSSSS', 'z zz Z ZZ', '[today] [[x] D', 'N NN NNN NNNN NNNNN y yy yyy yyyy yo', 'Y YYYYY YYYYYY', 'Mo M', '\\\\D \\\\[D', 'YYYY-MM-DD[T]HH:mm:ss[Z]', 'g G n u', 'YYYYMMDDHHmmss', 'w|d',
];
const units = ['year', 'quarter', 'month', 'week', 'isoWeek', 'day', 'date', 'hour', 'minute', 'second', 'ms', 'y', 'Q', 'M', 'w', 'W', 'd', 'D', 'h', 'm', 's', 'Days', 'nonsense'];
const instants = ['2026-03-01T10:00:00Z', '2024-02-29T23:59:59.999Z', '2026-03-29T00:30:00Z', '2026-03-29T01:30:00Z', '2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2025-12-31T23:30:00Z', '2027-01-03T08:00:00Z', '2026-08-31T12:34:56.789Z', '1969-12-31T23:59:59.500Z', '0001-01-01T00:00:00Z', '1900-01-01T00:00:00Z'];
const q = (text) => JSON.stringify(text);

const expressions = [
  ...texts.flatMap((text) => [`$moment(${q(text)}).format()`, `$moment(${q(text)}).toISOString()`]),
  ...texts.slice(0, 30).map((text) => `$moment(${q(text)}).parseZone().format()`),
  ...instants.slice(0, 9).flatMap((at) => formats.map((format) => `$moment(${q(at)}).format(${q(format).replaceAll('\\\\\\\\', '\\\\')})`)),
  ...instants.slice(9).flatMap((at) => formats.slice(0, 5).concat('N y GGGG').map((format) => `$moment(${q(at)}).utc().format(${q(format)})`)),
  ...instants.slice(0, 9).flatMap((at) => units.flatMap((unit) => [`$moment(${q(at)}).startOf(${q(unit)}).format("x Z")`, `$moment(${q(at)}).endOf(${q(unit)}).format("x Z")`, `$moment(${q(at)}).tz("Europe/Madrid").startOf(${q(unit)}).format("x Z")`])),
  ...instants.slice(0, 9).flatMap((at) => units.flatMap((unit) => [1, -1, 13, 1.5, -40].map((n) => `$moment(${q(at)}).add(${n}, ${q(unit)}).format("x Z")`))),
  ...instants.slice(0, 6).flatMap((at) => ['day', 'hour', 'month'].flatMap((unit) => [1, -1, 24].map((n) => `$moment(${q(at)}).tz("America/New_York").subtract(${n}, ${q(unit)}).format()`))),
  ...units.flatMap((unit) => ['topic', 'payload'].flatMap((other) => [`$moment("2026-08-31T12:34:56.789Z").diff($$.${other}, ${q(unit)})`, `$moment($$.${other}).diff("2026-03-29T12:00:00Z", ${q(unit)}, true)`])),
  ...units.flatMap((unit) => [`$moment(payload).isSame("2026-03-01T10:00:30Z", ${q(unit)})`, `$moment(payload).isBefore("2026-03-02T00:00:00Z", ${q(unit)})`, `$moment(payload).isAfter("2026-02-28T23:00:00Z", ${q(unit)})`]),
  ...['()', '[]', '[)', '(]', ''].map((borders) => `$moment(payload).isBetween("2026-03-01T10:00:00Z", "2026-03-02", "hour", ${q(borders)})`),
  ...[['31/12/2020', 'DD/MM/YYYY'], ['12-25-1995', 'MM-DD-YYYY'], ['2010 1 2', 'YYYY M D'], ['1:30 pm', 'h:mm a'], ['1:30 PM 3 Feb 2021', 'h:mm A D MMM YYYY'], ['Monday 5', 'dddd H'], ['February', 'MMMM'], ['3rd March 2022', 'Do MMMM YYYY'],
    ['1318781876', 'X'], ['1318781876406', 'x'], ['1318781876.721', 'X'], ['2013-02-08 09:30:26.123+07:00', 'YYYY-MM-DD HH:mm:ss.SSSZ'], ['24/12/2019 09:15:00', 'DD MM YYYY hh:mm:ss'], ['13:00', 'hh:mm'], ['0:00', 'kk:mm'], ['24:00', 'kk:mm'], ['123', 'hmm'], ['2313', 'Hmm'], ['130546', 'Hmmss'],
    ['2021-W05-3', 'GGGG-[W]WW-E'], ['5 2021', 'w gggg'], ['2021 300', 'YYYY DDD'], ['2021 366', 'YYYY DDDD'], ['3 2021', 'Q YYYY'], ['05', 'YY'], ['69', 'YY'], ['it is 2020-02-03 indeed', 'YYYY-MM-DD'], ['2020-02-30', 'YYYY-MM-DD'], ['2020/02/03', 'YYYY-MM-DD'], ['nothing', 'YYYY'], ['20200203', 'YYYYMMDD'], ['Feb 3', 'MMM D'], ['Foo 3', 'MMM D'],
    ['03.02.2020 07:05', 'DD.MM.YYYY HH:mm'], ['7', 'HH'], ['25', 'HH'], ['59', 'mm'], ['T12', '[T]HH'], ['1/2/3', 'D/M/YY'], ['99 BC', 'y N'], ['Wed 3 Feb 2021', 'ddd D MMM YYYY'], ['Tue 3 Feb 2021', 'ddd D MMM YYYY'], ['LT', 'LT'], ['03/04/2020', 'L'], ['March 4, 2020 5:06 PM', 'LLL'], ['0.5', 'S'], ['12.345678', 's.SSSSSS']]
    .flatMap(([text, format]) => [`$moment(${q(text)}, ${q(format)}).format("YYYY-MM-DDTHH:mm:ss.SSSZ")`, `$moment(${q(text)}, ${q(format)}, true).isValid()`]),
  `$moment("05/06/2020", ["YYYY-MM-DD", "DD/MM/YYYY", "MM/DD/YYYY"]).format()`, `$moment("2020-06-05", ["DD/MM/YYYY", "YYYY-MM-DD"], true).format()`, `$moment("x", ["YYYY"]).isValid()`, `$moment("2020", []).isValid()`,
  ...['year', 'month', 'date', 'day', 'hour', 'minute', 'second', 'millisecond', 'quarter', 'week', 'isoWeek', 'weekday', 'isoWeekday', 'dayOfYear', 'weekYear', 'isoWeekYear', 'days', 'months', 'hours', 'weeks'].flatMap((part) => [
    `$moment(topic).${part}()`, ...[0, 1, 2, 7, 31, -1, 60].map((n) => `$moment("2024-02-29T23:59:59.999Z").${part}(${n}).format("x")`), `$moment("2026-10-25T00:30:00Z").tz("Europe/Madrid").${part}(3).format()`, `$moment("no").${part}()`]),
  `$moment(payload).month("July").format()`, `$moment(payload).day("Wednesday").format()`, `$moment(payload).isoWeekday("Sunday").format()`, `$moment(payload).set("hour", 5).format()`, `$moment(payload).get("month")`,
  `$moment(payload).tz("Europe/Madrid").format()`, `$moment(payload).tz("asia/tokyo").format("LLLL z Z")`, `$moment(payload).tz("America/Sao_Paulo").format("z zz")`, `$moment(payload).tz("America/New_York", true).format()`, `$moment(payload).tz("Asia/Kolkata").tz()`, `$moment(payload).tz()`, `$moment(payload).tz("UTC").format()`,
  `$moment("2026-03-29T00:30:00Z").tz("Europe/Madrid").hour(2).format()`, `$moment("2026-03-28T01:30:00Z").tz("Europe/Madrid").add(1, "day").format()`, `$moment("2026-10-24T23:30:00Z").tz("Europe/Madrid").add(1, "hour").format()`, `$moment("2026-10-24T00:30:00Z").tz("Europe/Madrid").add(1, "day").add(1, "hour").format()`,
  `$moment(payload).utc().format()`, `$moment(payload).utc(true).format()`, `$moment(payload).utc().local().format()`, `$moment(payload).utc().local(true).format()`, `$moment(payload).utcOffset()`, `$moment(payload).utcOffset(120).format()`, `$moment(payload).utcOffset(2).format()`, `$moment(payload).utcOffset("-07:30").format()`, `$moment(payload).utcOffset(90, true).format()`, `$moment(payload).utcOffset("x").format()`,
  `$moment(payload).parseZone().format()`, `$moment(topic).parseZone().format()`, `$moment(topic).toISOString(true)`, `$moment(topic).utcOffset(60).toISOString(true)`, `$moment(topic).toString()`, `$moment(topic).inspect()`, `$moment(topic).utc().inspect()`, `$moment("x y").inspect()`, `$moment(topic).toJSON()`, `$moment("no").toJSON()`, `$moment(topic).valueOf()`, `$moment(topic).unix()`, `$moment(topic).toArray()`, `$moment(topic).toObject()`,
  `$moment(topic).isLeapYear()`, `$moment(topic).daysInMonth()`, `$moment(topic).weeksInYear()`, `$moment(topic).isoWeeksInYear()`, `$moment(topic).isDST()`, `$moment("2026-07-01").isDST()`, `$moment(topic).isLocal()`, `$moment(topic).utc().isUtc()`, `$moment(topic).utcOffset(5).isUTC()`, `$moment(topic).isUtcOffset()`, `$moment(topic).zoneAbbr()`, `$moment(topic).utc().zoneName()`, `$moment(topic).tz("Europe/London").zoneName()`, `$moment("2026-02-31").invalidAt()`, `$moment("2026-02-03").invalidAt()`,
  ...['2026-03-01T12:04:30Z', '2026-03-01T12:05:20Z', '2026-03-01T13:00:00Z', '2026-03-01T20:00:00Z', '2026-03-02T11:00:00Z', '2026-03-05T00:00:00Z', '2026-03-25T00:00:00Z', '2026-03-29T00:00:00Z', '2026-04-20T00:00:00Z', '2026-08-01T00:00:00Z', '2027-02-01T00:00:00Z', '2028-09-01T00:00:00Z', '2026-02-27T09:00:00Z', '2025-01-01T00:00:00Z', '2026-02-20T00:00:00Z'].flatMap((at) => [`$moment(${q(at)}).fromNow()`, `$moment(${q(at)}).toNow(true)`, `$moment(${q(at)}).from($$.payload)`, `$moment($$.topic).to(${q(at)}, true)`, `$moment(${q(at)}).calendar()`, `$moment(${q(at)}).calendar($$.topic)`]),
  `$moment(payload).calendar(null, {"sameDay": "[TODAY]"})`, `$moment(payload).calendar({"sameDay": "[X] HH"})`, `$moment("no").fromNow()`, `$moment("no").calendar()`, `$moment("no").format()`, `$moment("no").add(1, "d").format()`, `$moment("no").diff(payload)`, `$moment(payload).diff("no")`, `$moment("no").isBefore(payload)`, `$moment("no").unix()`,
  `$moment()`, `$moment().format()`, `$moment(payload)`, `[$moment(payload), $moment(topic)]`, `{"a": $moment(payload)}`, `$moment(payload) & ""`, `"at " & $moment(payload)`, `$string($moment(payload))`, `$string({"a": $moment(payload)})`, `$type($moment())`, `$moment(n)`, `$moment(null)`, `$moment(nothing).format()`, `$moment(true).isValid()`, `$moment(l).format()`, `$moment(o).format()`, `$moment([2020, 1, 2]).format()`, `$moment([2020, 12]).isValid()`, `$moment({}).format()`, `$moment({"y": 2021, "M": 0, "d": 5}).format()`,
  `($m := $moment(payload); $m.add(1, "d"); $m.format())`, `($m := $moment(payload); $c := $m.clone(); $c.add(1, "d"); $m.diff($c))`, `($m := $clone($moment(payload)); $m.format())`, `$moment($moment(payload).tz("Asia/Tokyo")).format()`, `[payload, topic].$moment($).unix()`, `[$moment(payload), $moment(topic)].format("DD")`, `$map([payload, topic], function($v) { $moment($v).year() })`, `payload.$moment($).format("YYYY")`, `$moment(payload).(year() & "-" & month())`, `$moment(payload).[year(), month()]`, `$moment(payload){"x": format()}`, `(payload ~> $moment()).format()`, `$moment(payload).add(n, "days").toISOString()`, `$moment(payload).add($$.n, "days").toISOString()`, `$moment(payload).format("x") ~> $number`,
  `$moment(payload).add("1:30").format()`, `$moment(payload).add("1.02:03:04.5").format("x")`, `$moment(payload).add("P1Y2M3DT4H5M6S").format()`, `$moment(payload).add("P1W").format()`, `$moment(payload).add("days", 3).format()`, `$moment(payload).add(5).format("x")`, `$moment(payload).add("5", "d").format()`, `$moment(payload).subtract(1, "month").endOf("month").format("YYYY-MM-DD")`, `$moment(payload).max(topic).format()`, `$moment(payload).min(topic).format()`,
  `$moment(payload).nothing()`, `$moment(payload).sort()`, `$moment(payload).toDate().getTime()`, `$moment(payload).toDate().getUTCHours()`, `$moment(payload).toDate().getDay()`, `$moment(payload).toDate().toISOString()`, `$moment(payload) < $moment(topic)`, `$moment.utc()`, `$moment.duration(5)`, `$exists($moment())`, `$boolean($moment())`, `$moment(payload).locale()`, `$moment(payload).locale("en").format("LL")`, `$moment(payload).hasAlignedHourOffset()`, `$moment(payload).weeksInWeekYear()`, `$moment(payload).isoWeeksInISOWeekYear()`, `$moment(payload).eraYear()`, `$moment(payload).eraName()`, `$moment(payload).zone()`,
];

const asked = process.argv[3];
const modules = resolve(process.argv[2] ?? 'target/node-red/node_modules');
const here = fileURLToPath(import.meta.url);
if (asked) {
  Date.now = () => NOW;
  console.warn = () => {};
  const { util } = createRequire(join(modules, 'x.js'))('@node-red/util');
  const node = { _flow: { getSetting() {} }, context: () => ({ flow: { get() {} }, global: { get() {} } }) };
  const cases = [];
  for (const expr of expressions) {
    const given = await new Promise((done) => {
      let prepared;
      try {
        prepared = util.prepareJSONataExpression(expr, node);
      } catch (error) {
        return done({ error: error.message ?? String(error) });
      }
      util.evaluateJSONataExpression(prepared, structuredClone(MSG), (error, result) => done(error ? { error: error.message ?? String(error) } : { result: Number.isNaN(result) ? 'NaN' : result === undefined ? 'undefined' : result }));
    });
    cases.push({ expr, ...given });
  }
  process.stdout.write(JSON.stringify(cases));
} else {
  const zones = {};
  for (const zone of ZONES) {
    const child = spawnSync(process.execPath, [here, modules, zone], { env: { ...process.env, TZ: zone }, maxBuffer: 1 << 28 });
    if (child.status !== 0) throw new Error(String(child.stderr));
    zones[zone] = JSON.parse(child.stdout);
  }
  const lines = Object.entries(zones).map(([zone, cases]) => `${JSON.stringify(zone)}: [\n${cases.map((one) => JSON.stringify(one)).join(',\n')}\n]`);
  writeFileSync(join(here, '../cases.json.gz'), gzipSync(`{\n"now": ${NOW},\n"msg": ${JSON.stringify(MSG)},\n"zones": {\n${lines.join(',\n')}\n}\n}\n`, { level: 9 }));
}
