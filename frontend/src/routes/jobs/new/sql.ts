import { compare } from "../../../lib/amounts"
import { type Column, columnOf, type Facts } from "./columns"

export type Literal = string | number | boolean
export type Predicate = readonly unknown[]
export type Group =
  | { col: string; keys: "private" | "domain" | Literal[] }
  | { bin: string; edges: string[] }
export type Measure = {
  fn: string
  col?: string
  lo?: string
  hi?: string
  grid?: string
  q?: string[]
  bins?: number | string
  edges?: string[]
  k?: number | string
  weight?: string
}
/** What a query asks, without the privacy that it is asked for. */
export type Asked = {
  where?: Predicate[]
  group_by?: Group[]
  measures: Measure[]
  having?: [string, string, string][]
  order_by?: { by: string; desc?: boolean }[]
  limit?: number
  joins?: unknown[]
}

// what the service's reader takes for something else than a name
const reserved = new Set(
  (
    "all alter and any as between case connect_by_root create cross cube current_catalog " +
    "current_date current_time current_timestamp current_user describe distinct drop else except " +
    "false fetch for force from glob grant having if ilike inner insert install intersect into " +
    "join lateral like limit localtime localtimestamp lock map not notnull null offset on only or " +
    "outer partitioned_by positional qualify regexp returning revoke rlike rollback rollup select " +
    "session_user summarize tablesample then true uncache union using values when where window " +
    "with xor order group by"
  ).split(" "),
)
const isPlainName = /^[A-Za-z_][A-Za-z0-9_]*$/
const isNumeral = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/

const name = (text: string) =>
  isPlainName.test(text) && !reserved.has(text.toLowerCase())
    ? text
    : `"${text.replaceAll('"', '""')}"`
const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`

/** A query as the SQL that the service reads into it; null where SQL has no words for it. */
export function sqlOf(asked: Asked, facts: Facts): string | null {
  if ((asked.joins?.length ?? 0) > 0) return null
  const groups = (asked.group_by ?? []).map((group) => groupSql(group, facts))
  const measures = asked.measures.map((measure) => measureSql(measure, facts))
  const released = new Map<string, string | null>()
  asked.measures.forEach((measure, place) => {
    released.set(releasedName(measure), measures[place] ?? null)
  })
  for (const [place, group] of (asked.group_by ?? []).entries())
    released.set("bin" in group ? group.bin : group.col, groups[place] ?? null)
  const where = (asked.where ?? []).map((predicate) => predicateSql(predicate, facts))
  const having = (asked.having ?? []).map(([measure, op, value]) =>
    joined([released.get(measure) ?? null], (shown) => `${shown} ${op} ${value}`),
  )
  const order = (asked.order_by ?? []).map(({ by, desc }) =>
    joined([released.get(by) ?? null], (shown) => `${shown}${desc ? " DESC" : ""}`),
  )
  const all = [...groups, ...measures, ...where, ...having, ...order]
  if (all.includes(null)) return null
  const lines = [`SELECT ${[...groups, ...measures].join(", ")}`, `FROM ${name(facts.name)}`]
  if (where.length > 0) lines.push(`WHERE ${where.join("\n  AND ")}`)
  if (groups.length > 0) lines.push(`GROUP BY ${groups.join(", ")}`)
  if (having.length > 0) lines.push(`HAVING ${having.join("\n  AND ")}`)
  if (order.length > 0) lines.push(`ORDER BY ${order.join(", ")}`)
  if (asked.limit !== undefined) lines.push(`LIMIT ${asked.limit}`)
  return lines.join("\n")
}

function joined(
  parts: (string | null)[],
  write: (...shown: string[]) => string | null,
): string | null {
  return parts.includes(null) ? null : write(...(parts as string[]))
}

function releasedName({ fn, col, q }: Measure): string {
  if (fn === "count_distinct" || col === undefined) return fn
  return q === undefined ? `${fn}(${col})` : `${fn}(${col}, ${q[0]})`
}

function groupSql(group: Group, facts: Facts): string | null {
  if ("bin" in group) return `BIN(${[name(group.bin), ...group.edges].join(", ")})`
  const column = columnOf(facts, group.col)
  const isPublic = column?.domain_source === "public"
  if (Array.isArray(group.keys)) {
    const domain = column?.domain ?? []
    const isWhole =
      isPublic &&
      group.keys.length === domain.length &&
      group.keys.every((key, place) => key === domain[place])
    return isWhole ? name(group.col) : null
  }
  return (group.keys === "domain") === isPublic ? name(group.col) : null
}

const plainFunctions: Record<string, string> = {
  sum: "SUM",
  mean: "AVG",
  variance: "VAR_POP",
  stdev: "STDDEV_POP",
}

function measureSql(measure: Measure, facts: Facts): string | null {
  const { fn, col, q, bins, edges, k, weight } = measure
  if ((weight !== undefined && compare(weight, "1") !== 0) || edges !== undefined) return null
  if (fn === "count") return col === undefined ? "COUNT(*)" : `COUNT(${name(col)})`
  if (fn === "count_distinct")
    return facts.unit.column === undefined ? null : `COUNT(DISTINCT ${name(facts.unit.column)})`
  if (col === undefined) return null
  if (fn === "top_k") return k === undefined ? null : `TOP_K(${name(col)}, ${k})`
  const column = columnOf(facts, col)
  const values = valuesSql(measure, column)
  const plain = plainFunctions[fn]
  if (plain !== undefined) return `${plain}(${values})`
  if (fn === "histogram") return bins === undefined ? null : `HISTOGRAM(${values}, ${bins})`
  if (fn !== "quantile" || q?.length !== 1) return null
  if (bins !== undefined && Number(bins) !== usualBins(measure, column)) return null
  return q[0] === "0.5" ? `MEDIAN(${values})` : `QUANTILE(${values}, ${q[0]})`
}

/** A column, clamped where the request bounds it otherwise than the public schema does. */
function valuesSql({ col, lo, hi, grid, fn }: Measure, column: Column | undefined): string {
  const shown = name(col ?? "")
  if (lo === undefined || hi === undefined) return shown
  const known = column?.bounds
  const hasGrid = fn in plainFunctions && grid !== undefined
  const usual = column?.grid ?? (column?.type === "int64" ? "1" : undefined)
  const isUsual =
    known !== undefined &&
    isSame(lo, known.low) &&
    isSame(hi, known.high) &&
    (!hasGrid || (usual !== undefined && isSame(grid, usual)))
  return isUsual ? shown : `CLAMP(${[shown, lo, hi, ...(hasGrid ? [grid] : [])].join(", ")})`
}

const isSame = (one: string, other: string) => {
  try {
    return compare(one, other) === 0
  } catch {
    return false
  }
}

const quantileBins = 1024

/** How many bins a quantile has where nothing is said, as the service counts them. */
function usualBins({ lo, hi }: Measure, column: Column | undefined): number {
  const [low, high] = [lo ?? column?.bounds?.low, hi ?? column?.bounds?.high]
  const width = column?.type === "int64" ? Math.trunc(Number(high) - Number(low)) : quantileBins
  return Math.max(2, Math.min(quantileBins, width))
}

function predicateSql(predicate: Predicate, facts: Facts): string | null {
  const [head, op, value] = predicate
  if (head === "not") {
    const of = predicate[1] as Predicate
    if (of[1] === "is_null") return `${name(String(of[0]))} IS NOT NULL`
    return joined([predicateSql(of, facts)], (inner) => `NOT (${inner})`)
  }
  if (head === "and" || head === "or") {
    const parts = (predicate.slice(1) as Predicate[]).map((part) => predicateSql(part, facts))
    return joined(parts, (...shown) => `(${shown.join(` ${head.toUpperCase()} `)})`)
  }
  const column = columnOf(facts, String(head))
  const shown = name(String(head))
  const literal = (each: unknown) => literalSql(each as Literal, column)
  if (op === "is_null") return `${shown} IS NULL`
  if (op === "in") return `${shown} IN (${(value as Literal[]).map(literal).join(", ")})`
  if (op === "between") {
    const [low, high] = value as [Literal, Literal]
    return `${shown} BETWEEN ${literal(low)} AND ${literal(high)}`
  }
  return `${shown} ${op} ${literal(value)}`
}

/** A literal in the type of its column; what does not fit stays a text, which is then refused. */
function literalSql(value: Literal, column: Column | undefined): string {
  const text = String(value)
  switch (column?.type) {
    case "bool":
      return text === "true" || text === "false" ? text.toUpperCase() : quoted(text)
    case "date":
      return `DATE ${quoted(text)}`
    case "timestamp":
      return `TIMESTAMP ${quoted(text)}`
    case "int64":
    case "float32":
    case "float64":
      return isNumeral.test(text) ? text : quoted(text)
    default:
      return quoted(text)
  }
}
