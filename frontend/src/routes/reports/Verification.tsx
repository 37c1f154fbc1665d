import { Button, Code, FileInput, Group, Stack, Text } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import type { Schemas } from "../../api/client"
import { Checks } from "../../components/Checks"
import { LoadingState } from "../../components/LoadingState"
import { checkSignature, checks } from "../../lib/integrity"

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
      {found.data && <Checks label="Checked in this browser" of={all} />}
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
