// Transform and apply of npm ot-json1, for benchmarks/ot.py: reads the cases on stdin, prints microseconds of CPU.
const { type } = require('ot-json1')

const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'))

// From the benchmark's neutral edits to an ot-json1 operation.
function operation(edits) {
  return edits.map(([kind, path, value]) => {
    if (kind === 'replace') return [...path, { r: true, i: value }]
    if (kind === 'insert') return [...path, { i: value }]
    return [...path, { r: true }]
  }).reduce((all, one) => type.compose(all, one), null)
}

function measure(run, rounds) {
  const medians = []
  const end = Date.now() + 300
  while (Date.now() < end) run() // the JIT's time is not counted
  for (let round = 0; round < rounds; round++) {
    const started = process.cpuUsage()
    let calls = 0
    const until = process.hrtime.bigint() + 60_000_000n
    while (process.hrtime.bigint() < until) for (let i = 0; i < 500; i++, calls++) run()
    const used = process.cpuUsage(started)
    medians.push((used.user + used.system) / calls)
  }
  return medians.sort((a, b) => a - b)[medians.length >> 1]
}

const results = {}
for (const { name, document, earlier, later } of cases.pairs) {
  const one = operation(earlier)
  const other = operation(later)
  results[name] = {
    transform: measure(() => type.transformNoConflict(other, one, 'right'), cases.rounds),
    apply: measure(() => type.apply(document, one), cases.rounds),
    result: type.apply(type.apply(document, one), type.transformNoConflict(other, one, 'right')),
  }
}
console.log(JSON.stringify(results))
