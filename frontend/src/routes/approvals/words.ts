import type { Approval } from "../../api/decisions"

/** One field of a change: what it was and what it would be; null where there is nothing. */
export type Row = { field: string; from: string | null; to: string | null }

const actions: Record<string, string> = {
  open: "Open a budget",
  raise: "Raise a limit",
  lower: "Lower a limit",
  thaw: "Thaw a budget",
  opening: "Put earlier spend on record",
  recovery: "Put forgotten spend back",
  register: "Register rows of new people",
}

const states: Record<string, string> = {
  pending: "waiting",
  used: "approved",
  approved: "approved",
  rejected: "rejected",
  expired: "expired",
}

const fields: Record<string, string> = {
  epsilon: "ε",
  delta: "δ",
  name: "name",
  accountant: "accountant",
  delta_split: "share of δ for jobs",
  evidence_sha256: "evidence, SHA-256",
}

// what binds the change to its place, said elsewhere on the page
const binding = new Set(["action", "reason", "budget_id", "budget_version", "dataset_id", "price"])

export const actionName = (action: string): string => actions[action] ?? action.replaceAll("_", " ")

export const stateName = (state: string): string => states[state] ?? state

/** What a change is about, as its readers call it. */
export function subjectName(approval: Approval): string {
  const named = [approval.dataset_name, approval.budget_name].filter((each) => each !== null)
  return named.length > 0 ? named.join(" / ") : "withdrawn"
}

/** Every field of a change, old beside new; nothing of it is left out. */
export function changeRows(change: Record<string, unknown>): Row[] {
  const before = leaves(change.from, "")
  const after = leaves(change.to, "")
  const prefix = typeof change.to === "string" ? "state" : "limit"
  const paths = [...new Set([...before.keys(), ...after.keys()])]
  // a change comes with its keys in order, and a reader looks for epsilon first
  paths.sort((one, other) => Number(other === "epsilon") - Number(one === "epsilon"))
  const rows = paths.map((path) => ({
    field: path === "" ? prefix : `${prefix} ${fieldName(path)}`,
    from: before.get(path) ?? null,
    to: after.get(path) ?? null,
  }))
  for (const [name, value] of Object.entries(change)) {
    if (binding.has(name) || name === "from" || name === "to") continue
    for (const [path, to] of leaves(value, name))
      rows.push({ field: fieldName(path), from: null, to })
  }
  return rows
}

function fieldName(path: string): string {
  return path
    .split(".")
    .map((part) => fields[part] ?? part.replaceAll("_", " "))
    .join(" · ")
}

/** Values by their dotted path; lists of plain values stay in one line. */
function leaves(value: unknown, path: string): Map<string, string> {
  if (value === null || value === undefined) return new Map()
  if (Array.isArray(value)) {
    if (value.length === 0) return new Map()
    if (value.every((each) => typeof each !== "object" || each === null))
      return new Map([[path, value.map(String).join(", ")]])
    return new Map(value.flatMap((each, at) => [...leaves(each, join(path, String(at + 1)))]))
  }
  if (typeof value === "object")
    return new Map(
      Object.entries(value).flatMap(([key, each]) => [...leaves(each, join(path, key))]),
    )
  if (typeof value === "boolean") return new Map([[path, value ? "yes" : "no"]])
  return new Map([[path, String(value)]])
}

const join = (path: string, part: string): string => (path === "" ? part : `${path}.${part}`)

/** Why somebody cannot decide a change; null where he can. */
export function whyNot(
  approval: Approval,
  me: { id: string; roles: string[] },
  isStale: boolean,
): string | null {
  if (approval.state !== "pending") return null
  if (approval.requested_by === me.id)
    return "You asked for this change yourself. Nobody approves their own change: another compliance officer has to decide it."
  if (!me.roles.includes("compliance_officer"))
    return "A compliance officer decides this. You can read all of it."
  if (isStale)
    return "What this change is about has changed since it was asked for, so it can only be rejected. Whoever asked can ask anew."
  return null
}
