import { Badge } from "@mantine/core"
import { type Job, stateName, verdictOf } from "./words"

const colors: Record<string, string> = {
  queued: "gray.7",
  running: "ink",
  settled: "green.9",
  failed: "red.9",
}

type Props = { job: Pick<Job, "state" | "cancel_requested" | "audit_verdict"> }

/** The state in a word, and a refuted audit beside it; colours only repeat the words. */
export function JobBadge({ job }: Props) {
  const isStopping = job.state === "running" && job.cancel_requested
  return (
    <>
      <Badge color={colors[job.state] ?? "gray.7"}>
        {isStopping ? "stopping" : stateName(job.state)}
      </Badge>
      {job.audit_verdict === "refuted" && (
        <Badge color="red.9">
          {verdictOf(job.audit_verdict).name.toLowerCase()} by its canaries
        </Badge>
      )}
    </>
  )
}
