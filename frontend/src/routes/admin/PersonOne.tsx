import { Button, Divider, Group, Modal, Stack, Text, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import {
  activatePerson,
  changeRoles,
  invitePerson,
  personKeys,
  writeMailAddress,
} from "../../api/people"
import { ProblemNotice } from "../../components/ProblemNotice"
import { SecretOnce } from "../../components/SecretOnce"
import { Time } from "../../components/Time"
import { whyNotTogether } from "../../lib/roles"
import { Identities } from "./Identities"
import { Leaving } from "./Leaving"
import { RoleChoice, type RoleName } from "./RoleChoice"

type Props = {
  person: Schemas["PersonRead"]
  address: string | null
  ways: Schemas["WaysRead"] | undefined
  whenClosed: () => void
}

export function PersonOne({ person, address, ways, whenClosed }: Props) {
  return (
    <Modal
      opened
      onClose={whenClosed}
      title={person.name}
      size="lg"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="lg">
        {person.active ? (
          <>
            <Roles person={person} />
            <MailAddress person={person} address={address} />
            {ways?.password && <Invitation person={person} />}
            {ways?.oidc && <Identities person={person} />}
            <Divider />
          </>
        ) : (
          <Return person={person} />
        )}
        <Leaving person={person} />
      </Stack>
    </Modal>
  )
}

function Roles({ person }: { person: Schemas["PersonRead"] }) {
  const [roles, setRoles] = useState(person.roles as RoleName[])
  const changing = useChange(changeRoles, personKeys.all)
  const wrong = whyNotTogether(roles)
  const isSame = [...roles].sort().join() === [...person.roles].sort().join()
  return (
    <Stack gap="xs" align="flex-start">
      {changing.error && <ProblemNotice error={changing.error} />}
      <RoleChoice value={roles} onChange={setRoles} error={wrong} />
      <Button
        size="xs"
        disabled={isSame || wrong !== null}
        loading={changing.isPending}
        onClick={() => changing.mutate({ principal_id: person.id, roles })}
      >
        Save the roles
      </Button>
    </Stack>
  )
}

function MailAddress({ person, address }: Pick<Props, "person" | "address">) {
  const [text, setText] = useState(address ?? "")
  const writing = useChange(writeMailAddress, personKeys.all)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    writing.mutate({ principal_id: person.id, address: text.trim() || null })
  }
  return (
    <form onSubmit={submit}>
      {writing.error && <ProblemNotice error={writing.error} />}
      <Group align="flex-end" gap="xs">
        <TextInput
          type="email"
          label="Mail address"
          description="Where this person is told what waits; empty for nowhere"
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          style={{ flex: "1 1 14rem" }}
        />
        <Button type="submit" size="sm" variant="default" loading={writing.isPending}>
          Save the address
        </Button>
      </Group>
    </form>
  )
}

function Invitation({ person }: { person: Schemas["PersonRead"] }) {
  const inviting = useChange(invitePerson)
  const made = inviting.data
  return (
    <Stack gap="xs" align="flex-start">
      {inviting.error && <ProblemNotice error={inviting.error} />}
      {made ? (
        <SecretOnce
          title="An invitation to set a password"
          secret={
            made.token === null ? null : `${location.origin}/sign-in/invitation#${made.token}`
          }
          whenDone={() => inviting.reset()}
        >
          <Text size="sm">
            Give this address to {person.name} alone. It works once, until{" "}
            <Time at={made.expires_at} />.
          </Text>
        </SecretOnce>
      ) : (
        <Button
          size="xs"
          variant="default"
          loading={inviting.isPending}
          onClick={() => inviting.mutate(person.id)}
        >
          Invite to set a password
        </Button>
      )}
    </Stack>
  )
}

function Return({ person }: { person: Schemas["PersonRead"] }) {
  const returning = useChange(activatePerson, personKeys.all)
  return (
    <Stack gap="xs" align="flex-start">
      {returning.error && <ProblemNotice error={returning.error} />}
      <Text size="sm">
        {person.name} has left
        {person.deactivated_at && (
          <>
            {" "}
            (<Time at={person.deactivated_at} />)
          </>
        )}
        . Who comes back needs a new key or a new invitation.
      </Text>
      <Button
        size="xs"
        variant="default"
        loading={returning.isPending}
        onClick={() => returning.mutate(person.id)}
      >
        Let {person.name} work here again
      </Button>
    </Stack>
  )
}
