import { Group, Progress, Stack, Text, Title } from "@mantine/core"
import { useEffect, useState } from "react"
import type { Following } from "./following"
import { durationText, lineText, secondsLeft, sharePercent, spokenText } from "./progress"
import { type Job, unitsText } from "./words"

type Props = { job: Job; following: Following; unit: string | null }

/** How far a job is. What is read aloud changes by tenths, what is seen with every line. */
export function LiveProgress({ job, following, unit }: Props) {
  const { lines, isLive } = following
  const last = lines.at(-1)
  const started = { step: job.started_units, steps: job.max_units }
  const percent = sharePercent(last ?? started)
  return (
    <section aria-labelledby="progress">
      <Title order={2} id="progress" mb="xs">
        Progress
      </Title>
      <Stack gap="xs">
        {job.state === "queued" ? (
          <Text role="status">It waits for a worker. Nothing is spent yet.</Text>
        ) : (
          <>
            <Progress
              value={last === undefined ? 100 : percent}
              animated={last === undefined}
              striped={last === undefined}
              aria-label="How far the job is"
            />
            <Group justify="space-between" gap="xs">
              <Text size="sm">
                {last === undefined
                  ? `${unitsText(job.kind, job.started_units)} of ${job.max_units} started`
                  : lineText(last, unit)}
              </Text>
              <Left following={following} steps={last?.steps} />
            </Group>
          </>
        )}
        {job.cancel_requested && (
          <Text size="sm">A stop was asked for: it ends where its present chunk ends.</Text>
        )}
        <Text size="sm" c="dimmed">
          {isLive
            ? "News comes by itself."
            : "The line to the service is cut; the page looks again every few seconds."}
        </Text>
        <div className="unseen" role="status" aria-live="polite">
          {spokenText(lines, unit)}
        </div>
      </Stack>
    </section>
  )
}

/** How long it may still take; counted down between two lines. */
function Left({ following, steps }: { following: Following; steps: number | undefined }) {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  if (steps === undefined) return null
  const left = secondsLeft(following.marks, steps, Math.max(now, following.marks.at(-1)?.at ?? 0))
  return (
    <Text size="sm" c="dimmed">
      {left === null ? "How long is not known yet" : `about ${durationText(left)} left`}
    </Text>
  )
}
