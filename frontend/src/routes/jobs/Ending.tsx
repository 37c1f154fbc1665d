import { Alert, Text } from "@mantine/core"
import { endOf, type Job, spentText } from "./words"

/** Why there is no result, or not all of one, and what it came to. */
export function Ending({ job }: { job: Job }) {
  const isFailed = job.failure_code !== null
  const { title, why, next } = isFailed
    ? endOf(job.failure_code ?? "")
    : { title: "It was stopped", why: `${job.requested_by_name} asked for a stop.`, next: null }
  return (
    <Alert
      role="region"
      color={isFailed ? "red" : "gray"}
      variant="outline"
      title={title}
      maw={720}
    >
      <Text size="sm" className="name">
        {why}
      </Text>
      <Text size="sm">{spentText(job)}</Text>
      {next !== null && <Text size="sm">{next}</Text>}
    </Alert>
  )
}
