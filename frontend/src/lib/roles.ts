import type { Role } from "../api/session"

/** What roles are called on the page; `worker` is for the service's own programs. */
export const roleNames: Record<Role | "worker", string> = {
  ml_engineer: "Engineer",
  compliance_officer: "Officer",
  auditor: "Auditor",
  admin: "Administrator",
  worker: "Worker",
}

export const roleAbouts: Record<Role | "worker", string> = {
  ml_engineer: "sends queries and training runs in projects",
  compliance_officer: "registers datasets, sets budgets and decides",
  auditor: "reads everything, changes nothing",
  admin: "keeps people, keys, projects and connections; reads no budget",
  worker: "runs jobs for the service",
}

export const roleName = (role: string): string => roleNames[role as Role | "worker"] ?? role

// these go with no other role, so that nobody oversees himself
const alone: readonly string[] = ["admin", "auditor", "worker"]

/** Why these roles do not go together; null where they do. */
export function whyNotTogether(roles: readonly string[]): string | null {
  if (roles.length === 0) return "Choose at least one role."
  const single = roles.find((role) => alone.includes(role))
  if (single !== undefined && roles.length > 1)
    return `${roleName(single)} goes with no other role, so that nobody oversees themselves.`
  return null
}
