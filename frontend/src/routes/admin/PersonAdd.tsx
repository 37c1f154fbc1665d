import { Button, Modal, Stack, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import { useChange } from "../../api/pages"
import { createPerson, personKeys } from "../../api/people"
import { ProblemNotice } from "../../components/ProblemNotice"
import { whyNotTogether } from "../../lib/roles"
import { RoleChoice, type RoleName } from "./RoleChoice"

export function PersonAdd({ isOpen, whenClosed }: { isOpen: boolean; whenClosed: () => void }) {
  const [name, setName] = useState("")
  const [roles, setRoles] = useState<RoleName[]>(["ml_engineer"])
  const adding = useChange(createPerson, personKeys.all)
  const wrong = whyNotTogether(roles)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (wrong !== null) return
    adding.mutate(
      { name: name.trim(), roles },
      {
        onSuccess: () => {
          setName("")
          setRoles(["ml_engineer"])
          whenClosed()
        },
      },
    )
  }
  return (
    <Modal
      opened={isOpen}
      onClose={whenClosed}
      title="Add a person"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack>
          {adding.error && <ProblemNotice error={adding.error} />}
          <TextInput
            label="Name"
            description="As it stands in the ledger and in reports"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            required
            data-autofocus
          />
          <RoleChoice value={roles} onChange={setRoles} error={wrong} />
          <Button type="submit" loading={adding.isPending} disabled={wrong !== null}>
            Add
          </Button>
        </Stack>
      </form>
    </Modal>
  )
}
