import { Button, Checkbox, Modal, NativeSelect, Stack, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { apiKeyKeys, createApiKey } from "../../api/keys"
import { useChange } from "../../api/pages"
import { ProblemNotice } from "../../components/ProblemNotice"
import { dayAhead, endOfDay } from "../../lib/days"
import { rightNames } from "../../lib/keys"

type Right = NonNullable<Schemas["ApiKeyCreate"]["rights"]>[number]

const rights = Object.keys(rightNames) as Right[]

type Props = {
  isOpen: boolean
  people: Schemas["PersonRead"][]
  whenClosed: () => void
  whenMade: (made: Schemas["ApiKeyCreated"]) => void
}

export function KeyMake({ isOpen, people, whenClosed, whenMade }: Props) {
  const [owner, setOwner] = useState("")
  const [chosen, setChosen] = useState<Right[]>(rights)
  const [day, setDay] = useState(dayAhead(90))
  const [isRunner, setIsRunner] = useState(false)
  const making = useChange(createApiKey, apiKeyKeys.all)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    making.mutate(
      {
        principal_id: owner,
        is_runner: isRunner,
        rights: chosen.length === rights.length ? null : chosen,
        expires_at: endOfDay(day),
      },
      {
        onSuccess: (made) => {
          whenMade(made)
          whenClosed()
        },
      },
    )
  }
  return (
    <Modal
      opened={isOpen}
      onClose={whenClosed}
      title="Make a key"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack>
          {making.error && <ProblemNotice error={making.error} />}
          <NativeSelect
            label="Whose"
            value={owner}
            onChange={(event) => setOwner(event.currentTarget.value)}
            data={[
              { value: "", label: "Choose a person", disabled: true },
              ...people.map((each) => ({ value: each.id, label: each.name })),
            ]}
            required
            data-autofocus
          />
          <Checkbox.Group
            label="What it may do"
            description="Never more than the roles of its owner allow"
            value={chosen}
            onChange={(values) => setChosen(values as Right[])}
            error={chosen.length === 0 ? "Choose at least one." : null}
          >
            <Stack gap="xs" mt={6}>
              {rights.map((right) => (
                <Checkbox key={right} value={right} label={rightNames[right]} />
              ))}
            </Stack>
          </Checkbox.Group>
          <TextInput
            type="date"
            label="Last day"
            description="Empty: it ends when somebody revokes it"
            value={day}
            onChange={(event) => setDay(event.currentTarget.value)}
          />
          <Checkbox
            label="For a program that runs jobs outside of this service"
            checked={isRunner}
            onChange={(event) => setIsRunner(event.currentTarget.checked)}
          />
          <Button
            type="submit"
            loading={making.isPending}
            disabled={owner === "" || chosen.length === 0}
          >
            Make the key
          </Button>
        </Stack>
      </form>
    </Modal>
  )
}
