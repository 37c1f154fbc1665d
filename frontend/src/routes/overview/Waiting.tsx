import { List, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link } from "wouter"
import { approvalsQuery } from "../../api/approvals"
import { jobsQuery } from "../../api/jobs"
import { verificationQuery } from "../../api/ledger"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"

/** Changes that wait for a second person, the ones that expire first on top. */
export function Pending() {
  const pending = useQuery(approvalsQuery({ state: "pending", limit: 100 }))
  if (pending.error) return <ProblemNotice error={pending.error} retry={pending.refetch} />
  if (pending.data === undefined) return <LoadingState lines={2} />
  const items = [...pending.data.items].sort((one, other) =>
    one.expires_at.localeCompare(other.expires_at),
  )
  if (items.length === 0) return <EmptyState title="Nothing waits for a decision." />
  return (
    <List listStyleType="none" spacing="xs">
      {items.map((each) => (
        <List.Item key={each.id}>
          <Link href={`/approvals/${each.id}`} className="text-link">
            {each.action.replaceAll("_", " ")} {each.budget_name ?? each.dataset_name ?? ""}
          </Link>
          <Text size="sm" c="dimmed">
            {each.requested_by_name ? `asked by ${each.requested_by_name}, ` : ""}expires{" "}
            <Time at={each.expires_at} isDistance />
          </Text>
        </List.Item>
      ))}
    </List>
  )
}

/** Runs that ended without a result or whose audit refuted their claim. */
export function FailedJobs() {
  const failed = useQuery(jobsQuery({ state: "failed", limit: 10 }))
  const settled = useQuery(jobsQuery({ state: "settled", kind: "train", limit: 50 }))
  const error = failed.error ?? settled.error
  if (error) return <ProblemNotice error={error} retry={failed.refetch} />
  if (failed.data === undefined || settled.data === undefined) return <LoadingState lines={2} />
  const refuted = settled.data.items.filter((job) => job.audit_verdict === "refuted")
  const items = [...refuted, ...failed.data.items]
  if (items.length === 0) return <EmptyState title="No failed run and no refuted audit." />
  return (
    <List listStyleType="none" spacing="xs">
      {items.map((job) => (
        <List.Item key={job.id}>
          <Link href={`/jobs/${job.id}`} className="text-link">
            {job.purpose}
          </Link>
          <Text size="sm" c="dimmed">
            {job.audit_verdict === "refuted"
              ? "audit refuted the claim"
              : `failed: ${job.failure_code}`}
            , <Time at={job.finished_at ?? job.created_at} isDistance />
          </Text>
        </List.Item>
      ))}
    </List>
  )
}

/** Whether the chain of entries was recomputed and found whole. */
export function Chain() {
  const verification = useQuery(verificationQuery())
  if (verification.error)
    return <ProblemNotice error={verification.error} retry={verification.refetch} />
  if (verification.data === undefined) return <LoadingState lines={1} />
  const { verified, entries, budgets, faults } = verification.data
  if (verified)
    return (
      <Text>
        Recomputed just now: {entries} entries in {budgets} {budgets === 1 ? "budget" : "budgets"},
        every balance and every link as they should be.
      </Text>
    )
  return (
    <Text fw={600} role="alert">
      The chain does not hold: {faults.length} {faults.length === 1 ? "fault" : "faults"}. Stop
      granting, and ask an auditor.
    </Text>
  )
}
