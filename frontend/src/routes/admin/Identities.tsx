import { Button, Group, Stack, Text, TextInput } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { identitiesQuery, linkIdentity, personKeys, unlinkIdentity } from "../../api/people"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"

/** Who somebody is at the identity provider. */
export function Identities({ person }: { person: Schemas["PersonRead"] }) {
  const links = useQuery(identitiesQuery(person.id))
  const linking = useChange(linkIdentity, personKeys.all)
  const ending = useChange(unlinkIdentity, personKeys.all)
  const [email, setEmail] = useState("")
  const submit = (event: FormEvent) => {
    event.preventDefault()
    linking.mutate(
      { principal_id: person.id, email: email.trim() },
      { onSuccess: () => setEmail("") },
    )
  }
  const error = links.error ?? linking.error ?? ending.error
  return (
    <Stack gap="xs">
      {error && <ProblemNotice error={error} />}
      {links.isPending && <LoadingState lines={1} />}
      {links.data?.items.map((link) => (
        <Group key={link.id} justify="space-between">
          <Text size="sm" className="name">
            {link.email ?? link.subject} at {link.issuer}
            {link.bound_at === null && link.email !== null && ", not used yet"}
          </Text>
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => ending.mutate({ principal_id: person.id, identity_id: link.id })}
          >
            End the link
          </Button>
        </Group>
      ))}
      <form onSubmit={submit}>
        <Group align="flex-end" gap="xs">
          <TextInput
            type="email"
            label="Address at the identity provider"
            description="As the provider has verified it"
            value={email}
            onChange={(event) => setEmail(event.currentTarget.value)}
            required
            style={{ flex: "1 1 14rem" }}
          />
          <Button type="submit" variant="default" loading={linking.isPending}>
            Link
          </Button>
        </Group>
      </form>
    </Stack>
  )
}
