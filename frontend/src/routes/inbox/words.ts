import type { Schemas } from "../../api/client"

export type Notice = Schemas["NotificationRead"]

const text = (value: unknown): string =>
  value === undefined || value === null ? "" : String(value)

/** A line of the inbox in a sentence. */
export function sentence({ kind, facts }: Notice): string {
  switch (kind) {
    case "threshold":
      return `A budget has passed ${text(facts.percent)}% of its limit of ε ${text(facts.limit)}`
    case "approval":
      return `A change waits for a second person: ${text(facts.action)}`
    case "refusals":
      return `One person was refused ${text(facts.refusals)} times within ten minutes`
    case "frozen":
      return `The service has frozen a budget: ${text(facts.cause)}`
    case "audit":
      return "The canaries of a run do not look like its claim"
    case "broken-chain":
      return "A ledger does not agree with its replay"
    case "behind-witness":
      return "The database is behind its witness"
    case "break-glass":
      return `Emergency: an officer has frozen ${text(facts.budgets)} budgets. Reason: ${text(facts.reason)}`
    case "delegation":
      return `A delegation of decisions was ${text(facts.state)}`
    default:
      return kind.replaceAll("-", " ")
  }
}

/** Where the thing is that a line tells of; null where it has no page. */
export function place({ kind, subject, facts }: Notice): { href: string; name: string } | null {
  if (kind === "approval") return { href: `/approvals/${subject}`, name: "Read the change" }
  if (kind === "break-glass") return { href: "/approvals", name: "See what is frozen" }
  if (kind === "audit" && typeof facts.job_id === "string")
    return { href: `/jobs/${facts.job_id}`, name: "Open the run" }
  if (kind === "broken-chain" || kind === "behind-witness")
    return { href: `/ledger?budget=${subject}`, name: "Open the ledger" }
  if (typeof facts.budget_id === "string")
    return { href: `/risk?budget=${facts.budget_id}`, name: "Open the budget" }
  return null
}
