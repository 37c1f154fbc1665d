import type { Me, Role } from "../api/session"

type Place = { path: string; name: string; roles: Role[] }

const readers: Role[] = ["ml_engineer", "compliance_officer", "auditor"]
const oversight: Role[] = ["compliance_officer", "auditor"]

const places: Place[] = [
  { path: "/", name: "Overview", roles: [...readers, "admin"] },
  { path: "/datasets", name: "Datasets", roles: readers },
  { path: "/ledger", name: "Ledger", roles: readers },
  { path: "/jobs", name: "Jobs", roles: readers },
  { path: "/approvals", name: "Approvals", roles: readers },
  { path: "/risk", name: "Risk", roles: oversight },
  { path: "/reports", name: "Reports", roles: oversight },
  { path: "/admin", name: "Admin", roles: ["admin", ...oversight] },
]

/** What somebody finds in the navigation; the service decides what he may do there. */
export const placesOf = (me: Me): Place[] =>
  places.filter((place) => place.roles.some((role) => me.roles.includes(role)))

/** Where an entry of a budget's chain is shown. */
export const entryPlace = (budget_id: string, seq: number): string =>
  `/ledger?budget=${budget_id}&seq=${seq}`
