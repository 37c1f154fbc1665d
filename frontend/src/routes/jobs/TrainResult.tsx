import { Alert, Button, List, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { jobDocumentQuery } from "../../api/jobs"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { shownDelta } from "../../lib/amounts"
import { cardSections } from "./card"
import { FactTable, type Line } from "./FactTable"
import { percentText } from "./progress"
import { type Job, verdictOf } from "./words"

type Audit = {
  verdict: string
  reason?: string
  canaries: number
  delta: string
  confidence: number
  claimed_epsilon?: number | null
  bound_epsilon?: number | null
  estimate_epsilon?: number | null
  not_covered: string[]
}

export type ReleasedModel = {
  steps: number
  steps_run: number
  cancelled: boolean
  noise_multiplier: string | null
  clip_norm_l2: string
  test_accuracy: number | null
  audit: Audit | null
  if_fixed_in_advance?: { epsilon: string; delta: string; method: string }
  artifacts: { name: string }[]
}

const cardName = "card.json"

type Props = { job: Job; result: ReleasedModel; unit: string | null }

/** A trained model: what shaped it, what its canaries say, and its card. */
export function TrainResult({ job, result, unit }: Props) {
  return (
    <Stack gap="lg">
      <FactTable caption="The released model" lines={figures(result, unit)} />
      <Verdict audit={result.audit} unit={unit} />
      {result.artifacts.some((each) => each.name === cardName) && <Card job={job} />}
    </Stack>
  )
}

function figures(result: ReleasedModel, unit: string | null): Line[] {
  const { steps, steps_run, test_accuracy, if_fixed_in_advance: fixed } = result
  const lines: Line[] = [
    {
      name: "Accuracy on the public set",
      value: test_accuracy === null ? "no set was named" : percentText(test_accuracy),
    },
    { name: "Steps that shaped it", value: `${steps_run} of ${steps}` },
    { name: "Noise multiplier", value: result.noise_multiplier ?? "not given" },
    { name: "Clipped to a norm of", value: result.clip_norm_l2 },
  ]
  if (fixed !== undefined)
    lines.push({
      name: "If fixed in advance (PLD)",
      value: `ε ${fixed.epsilon}, δ ${shownDelta(fixed.delta)} per ${unit ?? "unit"}: of this job alone, and no bound of a budget`,
    })
  return lines
}

function Verdict({ audit, unit }: { audit: Audit | null; unit: string | null }) {
  if (audit === null)
    return <Text size="sm">The run carried no canaries, so nothing of it was tested.</Text>
  const { name, color, about } = verdictOf(audit.verdict)
  const at = `δ ${shownDelta(audit.delta)} per ${unit ?? "unit"}`
  const epsilons: [string, number | null | undefined][] = [
    ["Claimed for the run", audit.claimed_epsilon],
    [`Shown by the canaries, at ${100 * audit.confidence}%: at least`, audit.bound_epsilon],
    ["Estimated", audit.estimate_epsilon],
  ]
  const lines = epsilons
    .filter(([, epsilon]) => typeof epsilon === "number")
    .map(([name, epsilon]) => ({ name, value: `ε ${epsilon}, ${at}` }))
  return (
    <Alert
      role="region"
      color={color}
      variant="outline"
      title={`Audit by ${audit.canaries} canaries: ${name}`}
      maw={720}
    >
      <Text size="sm">{about}</Text>
      {audit.reason !== undefined && <Text size="sm">Reason: {audit.reason}.</Text>}
      {lines.length > 0 && <FactTable caption="What the canaries say" lines={lines} />}
      <Text size="sm" mt="xs">
        Not covered by them:
      </Text>
      <List size="sm">
        {audit.not_covered.map((each) => (
          <List.Item key={each}>{each}</List.Item>
        ))}
      </List>
    </Alert>
  )
}

/** The card of the model, read once somebody asks for it. */
function Card({ job }: { job: Job }) {
  const [isOpen, setIsOpen] = useState(false)
  const card = useQuery({ ...jobDocumentQuery(job.id, cardName), enabled: isOpen })
  return (
    <section aria-label="Model card">
      <Button size="xs" variant="default" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
        {isOpen ? "Hide the model card" : "Show the model card"}
      </Button>
      {isOpen && card.error && <ProblemNotice error={card.error} retry={card.refetch} />}
      {isOpen && card.isPending && <LoadingState />}
      {isOpen &&
        card.data &&
        cardSections(card.data).map(({ title, lines, items }) => (
          <div key={title}>
            <Title order={3} mt="sm">
              {title}
            </Title>
            {lines.length > 0 && <FactTable caption={title} lines={lines} />}
            {items.length > 0 && (
              <List size="sm">
                {items.map((each) => (
                  <List.Item key={each} className="name">
                    {each}
                  </List.Item>
                ))}
              </List>
            )}
          </div>
        ))}
    </section>
  )
}
