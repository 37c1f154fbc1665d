import { PageHeader } from "../../components/PageHeader"

export default function DatasetList() {
  return (
    <PageHeader title="Datasets" about="What is registered, and what may still be asked of it." />
  )
}
