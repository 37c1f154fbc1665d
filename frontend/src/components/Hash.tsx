import { Button, Code, CopyButton, Group } from "@mantine/core"

const shownLetters = 10

/** The beginning of a hash, with the whole of it to copy. */
export function Hash({ of, what = "hash" }: { of: string; what?: string }) {
  return (
    <Group gap={4} wrap="nowrap" display="inline-flex">
      <Code title={of}>{of.slice(0, shownLetters)}</Code>
      <CopyButton value={of}>
        {({ copied, copy }) => (
          <Button size="compact-xs" variant="subtle" onClick={copy} aria-label={`Copy the ${what}`}>
            {copied ? "copied" : "copy"}
          </Button>
        )}
      </CopyButton>
    </Group>
  )
}
