import { SimpleGrid, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { datasetsQuery } from "../../../api/datasets"
import { Choice, Entry, optionsFrom } from "../../../components/fields"
import { Section } from "../../../components/Titled"
import type { Part } from "./part"
import { expectedDraw } from "./train"

export function Optimizer({ form, set }: Omit<Part, "facts">) {
  return (
    <Section title="Optimizer">
      <Choice
        at="/spec/optimizer/name"
        label="Optimizer"
        value={form.optimizer}
        set={(optimizer) => set({ optimizer })}
        options={optionsFrom({ sgd: "SGD", adam: "Adam" })}
      />
      <Entry
        at="/spec/optimizer/learning_rate"
        label="Learning rate"
        isRequired
        value={form.learning_rate}
        set={(learning_rate) => set({ learning_rate })}
      />
      {form.optimizer === "sgd" ? (
        <Entry
          at="/spec/optimizer/momentum"
          label="Momentum"
          placeholder="0"
          value={form.momentum}
          set={(momentum) => set({ momentum })}
        />
      ) : (
        <Choice
          at="/spec/optimizer/noise_bias_correction"
          label="The noise's variance is"
          value={form.corrects_noise}
          set={(corrects_noise) => set({ corrects_noise })}
          none="taken off the second moment"
          options={[{ value: "false", label: "left in it" }]}
        />
      )}
      <Choice
        at="/spec/optimizer/schedule/name"
        label="Learning rate over the run"
        value={form.schedule}
        set={(schedule) => set({ schedule })}
        options={optionsFrom({
          constant: "stays",
          cosine: "falls as a cosine",
          linear: "falls evenly",
        })}
      />
      <Entry
        at="/spec/optimizer/schedule/warm_up_steps"
        label="Steps to warm up"
        placeholder="0"
        value={form.warm_up_steps}
        set={(warm_up_steps) => set({ warm_up_steps })}
      />
    </Section>
  )
}

export function Rest({ form, set, facts }: Part) {
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const open = datasets.data?.items.filter(({ access }) => access === "public") ?? []
  const drawn = expectedDraw(form.rate, facts.nominal)
  return (
    <details>
      <Text component="summary" fw={500} size="sm">
        Canaries, evaluation and the machine
      </Text>
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs" mt="xs">
        <Entry
          at="/spec/audit/canaries"
          label="Canaries"
          about="Made-up records by which the run audits itself; empty for none"
          value={form.canaries}
          set={(canaries) => set({ canaries })}
        />
        <Choice
          at="/spec/evaluation/dataset_id"
          label="Evaluated on"
          none="nothing"
          value={form.evaluation}
          set={(evaluation) => set({ evaluation })}
          options={open.map(({ id, name }) => ({ value: id, label: `${name} (public)` }))}
        />
        {form.evaluation !== "" && (
          <Entry
            at="/spec/evaluation/every_steps"
            label="every so many steps"
            placeholder="at the end"
            value={form.every_steps}
            set={(every_steps) => set({ every_steps })}
          />
        )}
        <Choice
          at="/spec/algorithm"
          label="Learns from"
          value={form.algorithm}
          set={(algorithm) => set({ algorithm })}
          options={optionsFrom({
            dp_sgd: "clipped gradients",
            dp_zo: "one number of each, without gradients",
          })}
        />
        {form.algorithm === "dp_zo" && (
          <Entry
            at="/spec/difference_step"
            label="Difference step"
            placeholder="0.001"
            value={form.difference_step}
            set={(difference_step) => set({ difference_step })}
          />
        )}
        <Choice
          at="/spec/device"
          label="Device"
          value={form.device}
          set={(device) => set({ device })}
          options={optionsFrom({ cpu: "CPU", gpu: "GPU" })}
        />
        <Choice
          at="/spec/precision"
          label="Layers multiply in"
          value={form.precision}
          set={(precision) => set({ precision })}
          options={optionsFrom({ float32: "float32", bfloat16: "bfloat16" })}
        />
        <Entry
          at="/spec/normalise_by"
          label="Public divisor of a step"
          placeholder={drawn ?? ""}
          value={form.normalise_by}
          set={(normalise_by) => set({ normalise_by })}
        />
        <Entry
          at="/spec/physical_batch_max"
          label="At once in memory"
          placeholder="256"
          value={form.physical_batch_max}
          set={(physical_batch_max) => set({ physical_batch_max })}
        />
        <Entry
          at="/spec/chunk_steps"
          label="Steps of a chunk"
          placeholder="25"
          value={form.chunk_steps}
          set={(chunk_steps) => set({ chunk_steps })}
        />
        <Entry
          at="/spec/checkpoint_every_steps"
          label="Steps between checkpoints"
          placeholder="a tenth of the run"
          value={form.checkpoint_every_steps}
          set={(checkpoint_every_steps) => set({ checkpoint_every_steps })}
        />
      </SimpleGrid>
    </details>
  )
}
