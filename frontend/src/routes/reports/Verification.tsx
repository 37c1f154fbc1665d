import { Button, Code, FileInput, Group, List, Stack, Text } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import type { Schemas } from "../../api/client"
import { LoadingState } from "../../components/LoadingState"
import { type Check, checkSignature, checks } from "../../lib/integrity"

type Props = { report: Schemas["ReportRead"]; text: string }

/** What this browser finds by itself, and how to find all of it without the service. */
export function Verification({ report, text }: Props) {
  const found = useQuery({
    queryKey: ["checks", report.id, report.sha256],
    queryFn: () => checks(text, report),
    staleTime: Number.POSITIVE_INFINITY,
  })
  const signature = useMutation({
    mutationFn: async (file: File) => checkSignature(text, await file.text()),
  })
  const all = [...(found.data ?? []), ...(signature.data ? [signature.data] : [])]
  return (
    <Stack gap="md" maw={760}>
      {found.isPending && <LoadingState lines={2} />}
      {found.data && (
        <List size="sm" listStyleType="none" spacing={4} aria-label="Checked in this browser">
          {all.map((each) => (
            <List.Item key={each.what}>
              <Line check={each} />
            </List.Item>
          ))}
        </List>
      )}
      <FileInput
        label="Check the signature"
        description="With the public key of the house, which you got from somebody you trust"
        placeholder="Choose signing.key.pub"
        maw={420}
        clearable
        clearButtonProps={{ "aria-label": "Choose no key" }}
        onChange={(file) => (file ? signature.mutate(file) : signature.reset())}
      />
      <div>
        <Text size="sm" mb={4}>
          Without this service: download the JSON and the ledger's bundle, and run
        </Text>
        <Code block tabIndex={0} style={{ overflowX: "auto" }}>
          {`epsilon-ledger verify-report report-${report.id}.json --bundle ledger.jsonl --public-key signing.key.pub`}
        </Code>
        <Group mt="xs">
          <Button
            component="a"
            href="/v1/ledger/export"
            download="ledger.jsonl"
            size="xs"
            variant="default"
          >
            The ledger's bundle
          </Button>
        </Group>
        <Text size="sm" c="dimmed" mt="xs">
          It builds the report again from the ledger and names the first difference. What neither
          checks: that every job which read the data asked the ledger first.
        </Text>
      </div>
    </Stack>
  )
}

const marks = { true: "✓", false: "✗", null: "?" }
const words = { true: "holds", false: "does not hold", null: "not checked" }

function Line({ check }: { check: Check }) {
  const key = String(check.holds) as keyof typeof marks
  const isBad = check.holds === false
  return (
    <Text size="sm" c={isBad ? "var(--mantine-color-error)" : undefined} role="status">
      <span aria-hidden="true">{marks[key]} </span>
      {check.what}: <b>{words[key]}</b>
      {check.holds !== true && <span className="name">, {check.said}</span>}
    </Text>
  )
}
