import {
  CartesianGrid,
  ErrorBar,
  ReferenceLine,
  ResponsiveContainer,
  Scatter,
  ScatterChart,
  XAxis,
  YAxis,
} from "recharts"
import { extent, numberText, type Point } from "./result"

const row_px = 26
const text = { fill: "var(--mantine-color-text)", fontSize: 12 }
const line = "var(--mantine-color-dimmed)"

/** A dot for each value and a whisker as far as its noise may have moved it. */
export default function IntervalChart({ points, name }: { points: Point[]; name: string }) {
  return (
    <div role="img" aria-label={`${name}: ${points.length} values with their intervals`}>
      <ResponsiveContainer width="100%" height={70 + points.length * row_px}>
        <ScatterChart accessibilityLayer={false} margin={{ right: 24 }}>
          <CartesianGrid horizontal={false} stroke="var(--mantine-color-default-border)" />
          <XAxis
            type="number"
            dataKey="value"
            domain={extent(points)}
            tick={text}
            tickFormatter={numberText}
            stroke={line}
          />
          <YAxis
            type="category"
            dataKey="label"
            width={110}
            tick={text}
            interval={0}
            reversed
            stroke={line}
          />
          <ReferenceLine x={0} stroke={line} />
          <Scatter data={points} fill="var(--used)" isAnimationActive={false}>
            <ErrorBar
              dataKey={({ halfWidth }: Point) => halfWidth ?? 0}
              direction="x"
              width={4}
              stroke="var(--used)"
              strokeWidth={1.5}
              isAnimationActive={false}
            />
          </Scatter>
        </ScatterChart>
      </ResponsiveContainer>
    </div>
  )
}
