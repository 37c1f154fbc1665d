import { Button, Grid, Group, Slider, Stack, Table, Text, Title } from "@mantine/core"
import { useId } from "@mantine/hooks"
import { lazy, useState } from "react"
import type { Schemas } from "../../api/client"
import { Figure } from "../../components/Figure"
import { shown, shownDelta } from "../../lib/amounts"
import { guessText, percent, points } from "./figures"
import { GuessArray } from "./Guesses"

const TradeOffChart = lazy(() => import("./TradeOffChart"))

const marks: Record<string, string> = {
  consumed: "as it stands now",
  limit: "if the whole limit is spent",
  plan: "the whole plan",
}

/** The figures of one epsilon, and a slider through others; all of them come from the service. */
export function WhatIf({ risk }: { risk: Schemas["RiskRead"] }) {
  const standing = risk.steps.findIndex((step) => step.marks.some((mark) => mark !== "limit"))
  const [at, setAt] = useState(Math.max(0, standing))
  const label = useId()
  const step = risk.steps[at]
  if (step === undefined) return null
  const figures = step.risk
  const meaning = step.marks.map((mark) => marks[mark]).join(", ") || "a step to compare with"
  const words = `ε ${shown(figures.epsilon, "spent")}, ${meaning}`
  return (
    <Stack gap="lg">
      <div>
        <Title order={2} id={label}>
          What if ε were larger or smaller?
        </Title>
        <Text size="sm" c="dimmed" mb="sm">
          Move it by mouse or by the arrow keys. A larger ε lets more be learnt about one person.
        </Text>
        <Slider
          min={0}
          max={risk.steps.length - 1}
          step={1}
          value={at}
          onChange={setAt}
          label={(value) => shown(risk.steps[value]?.risk.epsilon ?? "0", "spent")}
          marks={risk.steps.flatMap((each, value) => (each.marks.length > 0 ? [{ value }] : []))}
          thumbProps={{ "aria-labelledby": label, "aria-valuetext": words }}
          mb="md"
          mx="md"
        />
        <Group justify="space-between">
          <Text role="status" fw={600}>
            {words}
          </Text>
          <Group gap="xs">
            {risk.steps.map((each, value) =>
              each.marks.length === 0 ? null : (
                <Button
                  key={each.risk.epsilon}
                  size="compact-sm"
                  variant="default"
                  onClick={() => setAt(value)}
                >
                  To ε {shown(each.risk.epsilon, "spent")}: {each.marks.join(", ")}
                </Button>
              ),
            )}
          </Group>
        </Group>
        <Text size="sm" c="dimmed">
          At δ {shownDelta(risk.delta)}, per {risk.unit}; relation {risk.relation}; holds for{" "}
          {risk.holds_for}.
        </Text>
      </div>
      <Grid gap="xl">
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <GuessArray best={figures.best_guess_per_100} title="100 guesses about one person" />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <Figure
            title="What a test can catch"
            about="A test that says who was in the data: upwards whom it catches, to the right its false alarms."
            chart={<TradeOffChart data={points(step.trade_off)} />}
            table={<TradeOffTable corners={step.trade_off} />}
          />
        </Grid.Col>
      </Grid>
      <Meaning figures={figures} />
    </Stack>
  )
}

function TradeOffTable({ corners }: { corners: Schemas["AttackRead"][] }) {
  return (
    <Table withTableBorder tabularNums maw={420}>
      <caption className="unseen">The corners of the bound, straight between them</caption>
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">False alarms</Table.Th>
          <Table.Th scope="col">Caught at most</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {corners.map((each) => (
          <Table.Tr key={`${each.false_alarm_percent} ${each.caught_percent}`}>
            <Table.Td>{percent(each.false_alarm_percent)}</Table.Td>
            <Table.Td>{percent(each.caught_percent)}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  )
}

function Meaning({ figures }: { figures: Schemas["RiskFigures"] }) {
  const but = /[1-9]/.test(figures.except_with_probability)
    ? `, but for an event of probability ${shownDelta(figures.except_with_probability)}`
    : ""
  const lines: [string, string][] = [
    ["Odds about one person change at most by", `a factor of ${figures.odds_factor}${but}`],
    ["A guess about a coin toss is right", guessText(figures.best_guess_per_100)],
    ...figures.belief.map(({ before_percent, after_percent }): [string, string] => [
      `A belief of ${before_percent}% becomes at most`,
      `${percent(after_percent)}${but}`,
    ]),
    ...figures.attack.map(({ false_alarm_percent, caught_percent }): [string, string] => [
      `A test with ${false_alarm_percent}% false alarms catches at most`,
      percent(caught_percent),
    ]),
    ...figures.rebuilding.map(({ choices, rebuilt_percent }): [string, string] => [
      `One secret out of ${choices} is found at most`,
      rebuilt_percent === "nearly always" ? rebuilt_percent : `${rebuilt_percent}% of the time`,
    ]),
    ...figures.linked_units.map(({ units, best_guess_per_100 }): [string, string] => [
      `A guess about ${units} who belong together is right`,
      guessText(best_guess_per_100),
    ]),
  ]
  return (
    <Table withTableBorder verticalSpacing={6} tabularNums maw={760}>
      <caption className="unseen">What this ε means</caption>
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">What it bounds</Table.Th>
          <Table.Th scope="col">At most</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {lines.map(([name, value]) => (
          <Table.Tr key={name}>
            <Table.Th scope="row" fw={400}>
              {name}
            </Table.Th>
            <Table.Td className="name">{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  )
}
