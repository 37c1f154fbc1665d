import type { Schemas } from "../../api/client"

type Dataset = Schemas["DatasetRead"]
type Facts = Readonly<Record<string, unknown>>

const units: Record<string, string> = {
  record: "one record",
  user: "one user, with all rows",
  user_period: "one user, in one block of time",
}
const relations: Record<string, string> = {
  add_remove: "with the unit or without it",
  replace_one: "with the unit or with another in its place",
  zero_out: "with the unit or with zeros in its place",
}
const trust: Record<string, string> = {
  central: "central: the service reads the rows and gives out noisy answers alone",
}
const caps: [string, string][] = [
  ["max_groups_per_user", "groups a user"],
  ["max_rows_per_user_group", "rows a user and group"],
  ["max_rows_per_user", "rows a user"],
]

/** Whose presence is hidden, as a line. */
export function unitLine(unit: Facts | null | undefined): string {
  if (!unit) return "none: the rows are public"
  const kind = String(unit.kind)
  const column = unit.column ? `, told apart by ${unit.column}` : ""
  const most = caps
    .filter(([name]) => unit[name] != null)
    .map(([name, of]) => `${unit[name]} ${of}`)
  return `${units[kind] ?? kind}${column}${most.length > 0 ? `; at most ${most.join(", ")}` : ""}`
}

/** The short name of the unit, to stand after an epsilon. */
export const unitName = (dataset: Dataset | undefined): string | null => {
  const kind = dataset?.unit_of_privacy?.kind
  return typeof kind === "string" ? kind.replaceAll("_", " ") : null
}

export const relationLine = (relation: string | null | undefined): string =>
  relation ? (relations[relation] ?? relation) : "none"

export const trustLine = (model: string | null | undefined): string =>
  model ? (trust[model] ?? model) : "not stated"

/** What is publicly known of a column's values. */
export function valuesLine(column: Facts): string {
  const { bounds, grid, domain, keys, shape } = column as {
    bounds?: { low: string; high: string } | null
    grid?: string | null
    domain?: unknown[] | null
    keys?: string | null
    shape?: number[] | null
  }
  const lines = [
    bounds ? `${bounds.low} to ${bounds.high}` : "",
    grid ? `in steps of ${grid}` : "",
    domain ? domainText(domain) : "",
    keys === "private" ? "private keys" : "",
    shape ? `shape ${shape.join(" × ")}` : "",
  ].filter((line) => line !== "")
  return lines.join("; ") || "nothing stated"
}

const domainShown = 6

function domainText(domain: unknown[]): string {
  const first = domain.slice(0, domainShown).map(String).join(", ")
  const rest = domain.length - domainShown
  return `one of ${first}${rest > 0 ? ` and ${rest} more` : ""}`
}

/** How the units are divided into blocks. */
export function blocksLine(blocks: Facts | null | undefined): string {
  if (!blocks || blocks.kind === "none") return "none: one budget for all rows"
  if (blocks.kind === "unit_hash") return `${blocks.count} by a hash of the user`
  return `by the ${blocks.period} of ${blocks.column}, from ${blocks.first_day} on (${blocks.time_zone})`
}

const kinds: Record<string, string> = {
  lifetime: "for the dataset's whole life; it never renews",
  window: "begins anew each period; the lifetime counts on",
  allocation: "a project's share",
  period: "one period of a window",
}

export const kindLine = (kind: string): string => kinds[kind] ?? kind

const marks: Record<string, string> = {
  raised: "raised",
  lowered: "lowered",
  frozen: "frozen",
  thawed: "thawed",
  closed: "closed",
  transferred: "moved between budgets",
  rate_limited: "rate limited",
  refreshed: "began anew",
  published: "a result was published",
  purged: "what was released was deleted",
}

export const markName = (kind: string): string => marks[kind] ?? kind.replaceAll("_", " ")
