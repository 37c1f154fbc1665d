import { PageHeader } from "../../components/PageHeader"

export default function JobList() {
  return <PageHeader title="Jobs" about="What was asked, and what became of it." />
}
