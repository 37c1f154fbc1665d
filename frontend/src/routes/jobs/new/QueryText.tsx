import { Alert, Button, SimpleGrid, Stack, Textarea } from "@mantine/core"
import { Choice, Entry, optionsFrom, useField } from "../../../components/fields"
import { unitWord } from "./columns"
import { textOf } from "./draft"
import type { QueryProps } from "./QueryFields"

const noises = {
  auto: "whichever is less",
  discrete_laplace: "discrete Laplace",
  discrete_gaussian: "discrete Gaussian",
}

/** How much the query may cost, and the caps that bound what one user does to it. */
export function PrivacyFields({ draft, change, facts }: QueryProps) {
  const { max_groups_per_user, max_rows_per_user_group, kind } = facts.unit
  return (
    <SimpleGrid cols={{ base: 2, sm: 3 }} spacing="xs">
      <Entry
        at="/spec/privacy/epsilon"
        label={`ε per ${unitWord(facts)}`}
        isRequired
        value={draft.epsilon}
        set={(epsilon) => change({ epsilon })}
      />
      <Entry
        at="/spec/privacy/delta"
        label="δ"
        placeholder="0 for none"
        isRequired
        value={draft.delta}
        set={(delta) => change({ delta })}
      />
      <Choice
        at="/spec/privacy/noise"
        label="Noise"
        value={draft.noise}
        set={(noise) => change({ noise })}
        options={optionsFrom(noises)}
      />
      {kind !== "record" && (
        <>
          <Entry
            at="/spec/bounds/max_groups"
            label="Groups of a user"
            placeholder={String(max_groups_per_user ?? 1)}
            value={draft.max_groups}
            set={(max_groups) => change({ max_groups })}
          />
          <Entry
            at="/spec/bounds/max_rows"
            label="Rows in each"
            placeholder={String(max_rows_per_user_group ?? 1)}
            value={draft.max_rows}
            set={(max_rows) => change({ max_rows })}
          />
        </>
      )}
    </SimpleGrid>
  )
}

/** The query as text: the form writes it, until somebody does. */
export function QueryText({ draft, change, facts }: QueryProps) {
  const { id, error } = useField("/spec/sql")
  const isByHand = draft.text !== null
  return (
    <Stack gap="xs">
      <Textarea
        id={id}
        error={error}
        label="SQL"
        description="What is sent. The form writes it; edit it, or write the typed spec as JSON."
        value={textOf(draft, facts)}
        onChange={(event) => change({ text: event.currentTarget.value })}
        autosize
        minRows={4}
        maxRows={24}
        spellCheck={false}
        styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)" } }}
      />
      {isByHand && (
        <Alert variant="outline" role="status" title="Written by hand: the form no longer follows.">
          <Button size="xs" variant="default" onClick={() => change({ text: null })}>
            Let the form write it again
          </Button>
        </Alert>
      )}
    </Stack>
  )
}
