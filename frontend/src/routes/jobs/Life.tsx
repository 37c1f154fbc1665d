import { List, Text, Title } from "@mantine/core"
import type { ReactNode } from "react"
import { Time } from "../../components/Time"
import { type Job, stateName, unitsText } from "./words"

type Station = { name: string; about: ReactNode; state: "past" | "now" | "ahead" }

/** Where a job is on its way: asked, waiting, running, ended. */
export function Life({ job }: { job: Job }) {
  return (
    <section aria-labelledby="life">
      <Title order={2} id="life" mb="xs">
        Its way
      </Title>
      <List type="ordered" size="sm" spacing="xs">
        {stationsOf(job).map(({ name, about, state }) => (
          <List.Item
            key={name}
            aria-current={state === "now" ? "step" : undefined}
            c={state === "ahead" ? "dimmed" : undefined}
          >
            <Text span size="sm" fw={state === "now" ? 600 : 500}>
              {name}
            </Text>
            {state === "now" && job.finished_at === null && <span> (now)</span>}
            <Text component="div" size="sm" c="dimmed">
              {about}
            </Text>
          </List.Item>
        ))}
      </List>
    </section>
  )
}

function stationsOf(job: Job): Station[] {
  const { state, finished_at, started_units, max_units } = job
  const isOver = finished_at !== null
  const hasRun = started_units > 0
  const ran = `${unitsText(job.kind, started_units)} of ${max_units} started`
  return [
    { name: "Asked for", about: <Time at={job.created_at} />, state: "past" },
    {
      name: "Admitted",
      about: "Its worst case is held in every budget on its way.",
      state: "past",
    },
    {
      name: "Waiting for a worker",
      about: null,
      state: state === "queued" ? "now" : "past",
    },
    {
      name: isOver && !hasRun ? "Never started" : "Running",
      about: hasRun ? ran : isOver ? "No row was read for it." : null,
      state: state === "running" ? "now" : isOver ? "past" : "ahead",
    },
    {
      name: isOver ? `Ended: ${stateName(state)}` : "Ended",
      about: isOver ? <Time at={finished_at} /> : "What was started is charged, the rest is freed.",
      state: isOver ? "now" : "ahead",
    },
  ]
}
