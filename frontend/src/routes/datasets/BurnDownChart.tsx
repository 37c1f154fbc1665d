import "@mantine/charts/styles.css"
import { LineChart } from "@mantine/charts"
import { local } from "../../lib/time"
import type { Moment } from "./burnDown"

type Props = {
  moments: Moment[]
  limit: number
  ifHeld: number | null
  marks: { at: number; name: string }[]
}

// a chart asks for the words of nothing too, where nothing is pointed at
const whenOf = (at: unknown) =>
  typeof at === "number" && Number.isFinite(at) ? local(new Date(at).toISOString()) : ""
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" })

/** What was left over time, in steps; what is held is a dashed line below. */
export default function BurnDownChart({ moments, limit, ifHeld, marks }: Props) {
  const [first, last] = [moments[0]?.at ?? 0, moments.at(-1)?.at ?? 1]
  const lines = marks
    .filter(({ at }) => at >= first && at <= last)
    .map(({ at, name }) => ({
      x: at,
      label: name,
      // towards the middle, where there is room for a word
      labelPosition: at > (first + last) / 2 ? ("insideBottomRight" as const) : undefined,
      color: "var(--mantine-color-dimmed)",
    }))
  const held =
    ifHeld === null ? [] : [{ y: ifHeld, label: "left if all held is spent", color: "var(--held)" }]
  return (
    <div role="img" aria-label="What was left of the budget over time">
      <LineChart
        h={260}
        data={moments}
        dataKey="at"
        curveType="stepAfter"
        series={[{ name: "left", label: "ε left", color: "var(--used)" }]}
        referenceLines={[...lines, ...held]}
        xAxisProps={{
          type: "number",
          domain: [first, last],
          tickFormatter: (at: number) => day.format(at),
        }}
        yAxisProps={{ domain: [0, limit], width: 56 }}
        tooltipProps={{ labelFormatter: whenOf }}
        lineChartProps={{ accessibilityLayer: false }}
        lineProps={{ isAnimationActive: false }}
        withDots={false}
      />
    </div>
  )
}
