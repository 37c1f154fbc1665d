import { Button, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { documentQuery } from "../../api/reports"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"

/** The report as it is rendered, in a frame that runs nothing and reaches nobody. */
export function WholeReport({ reportId }: { reportId: string }) {
  const [isOpen, setIsOpen] = useState(false)
  const page = useQuery({ ...documentQuery(reportId, "html"), enabled: isOpen })
  return (
    <section aria-labelledby="whole">
      <Title order={2} id="whole" mb="sm">
        The whole report
      </Title>
      <Button
        size="xs"
        variant="default"
        aria-expanded={isOpen}
        onClick={() => setIsOpen(!isOpen)}
        mb="sm"
      >
        {isOpen ? "Close it" : "Read it here"}
      </Button>
      {isOpen && page.error && <ProblemNotice error={page.error} retry={page.refetch} />}
      {isOpen && page.isPending && <LoadingState />}
      {isOpen && page.data && (
        <iframe
          title="The whole report"
          sandbox=""
          srcDoc={page.data}
          style={{
            display: "block",
            width: "100%",
            height: "85vh",
            border: "1px solid var(--mantine-color-default-border)",
            background: "#fff",
          }}
        />
      )}
    </section>
  )
}
