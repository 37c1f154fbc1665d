import { Group, Table, Text } from "@mantine/core"
import { Figure } from "../../components/Figure"
import { guesses, guessText } from "./figures"

const columns = 20
const size_px = 15

type Kind = "blind" | "more" | "wrong"

/** A hundred guesses about one person, each a figure; filled, ringed or empty, not colour alone. */
export function GuessArray({ best, title }: { best: string; title: string }) {
  const { blind, more, wrong } = guesses(best)
  const kinds: Kind[] = [
    ...Array<Kind>(blind).fill("blind"),
    ...Array<Kind>(more).fill("more"),
    ...Array<Kind>(wrong).fill("wrong"),
  ]
  const rows = kinds.length / columns
  return (
    <Figure
      title={title}
      about={`A stranger who guesses can be right ${guessText(best)}.`}
      chart={
        <>
          <svg
            role="img"
            aria-label={`Of 100 guesses ${blind} are right by chance alone, up to ${more} more because of what was released, and ${wrong} are wrong.`}
            viewBox={`0 0 ${columns * size_px} ${rows * size_px}`}
            style={{ width: "100%", maxWidth: 420, display: "block" }}
          >
            {kinds.map((kind, at) => (
              <Person
                key={at}
                kind={kind}
                x={(at % columns) * size_px}
                y={Math.floor(at / columns) * size_px}
              />
            ))}
          </svg>
          <Group gap="md" mt="xs">
            <Key kind="blind" words={`${blind} right by chance`} />
            <Key kind="more" words={`up to ${more} more by what was released`} />
            <Key kind="wrong" words={`${wrong} wrong`} />
          </Group>
        </>
      }
      table={
        <Table withTableBorder tabularNums maw={420}>
          <caption className="unseen">Of 100 guesses</caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Guesses</Table.Th>
              <Table.Th scope="col">Of 100</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            <Line name="Right by chance alone" count={`${blind}`} />
            <Line name="Right because of what was released" count={`up to ${more}`} />
            <Line name="Wrong" count={`${wrong}`} />
          </Table.Tbody>
        </Table>
      }
    />
  )
}

function Line({ name, count }: { name: string; count: string }) {
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={400}>
        {name}
      </Table.Th>
      <Table.Td>{count}</Table.Td>
    </Table.Tr>
  )
}

function Key({ kind, words }: { kind: Kind; words: string }) {
  return (
    <Group gap={4} wrap="nowrap">
      <svg
        viewBox={`0 0 ${size_px} ${size_px}`}
        width={size_px}
        height={size_px}
        aria-hidden="true"
      >
        <Person kind={kind} x={0} y={0} />
      </svg>
      <Text size="sm">{words}</Text>
    </Group>
  )
}

function Person({ kind, x, y }: { kind: Kind; x: number; y: number }) {
  const look = {
    blind: { fill: "var(--used)", stroke: "var(--used)" },
    more: { fill: "var(--held)", stroke: "var(--mantine-color-text)" },
    wrong: { fill: "none", stroke: "var(--mantine-color-dimmed)" },
  }[kind]
  return (
    <g transform={`translate(${x} ${y})`} strokeWidth={kind === "more" ? 1.4 : 0.9} {...look}>
      <circle cx={7.5} cy={4.2} r={2.4} />
      <path d="M3.4 13.4 V11 A4.1 3.6 0 0 1 11.6 11 V13.4 Z" />
    </g>
  )
}
