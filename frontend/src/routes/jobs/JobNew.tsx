import { PageHeader } from "../../components/PageHeader"

export default function JobNew() {
  return <PageHeader title="New job" about="What it would cost is shown before it is sent." />
}
