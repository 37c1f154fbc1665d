import "@mantine/charts/styles.css"
import { LineChart } from "@mantine/charts"
import type { Point } from "./figures"

const axis = { type: "number" as const, domain: [0, 100], unit: "%" }

/** The bound on attacks beside blind guessing; both are straight between their corners. */
export default function TradeOffChart({ data }: { data: Point[] }) {
  return (
    <div role="img" aria-label="How many units a test can catch at a share of false alarms">
      <LineChart
        h={260}
        data={data}
        dataKey="falseAlarms"
        curveType="linear"
        withLegend
        series={[
          { name: "caught", label: "with what was released, at most", color: "var(--used)" },
          {
            name: "blind",
            label: "by blind guessing",
            color: "var(--mantine-color-dimmed)",
            strokeDasharray: "5 5",
          },
        ]}
        xAxisProps={axis}
        yAxisProps={{ domain: [0, 100], unit: "%", width: 48 }}
        withTooltip={false}
        lineChartProps={{ accessibilityLayer: false }}
        lineProps={{ isAnimationActive: false }}
        xAxisLabel="False alarms"
      />
    </div>
  )
}
