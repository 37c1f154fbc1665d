import { Choice, Entry, optionsFrom } from "../../../components/fields"
import { Section } from "../../../components/Titled"
import { unitWord } from "./columns"
import type { Part } from "./part"
import { expectedDraw, type TrainForm } from "./train"

export function Steps({ form, set, facts }: Part) {
  const drawn = expectedDraw(form.rate, facts.nominal)
  const unit = unitWord(facts)
  return (
    <Section title="Steps">
      <Entry
        at="/spec/steps"
        label="Steps"
        isRequired
        value={form.steps}
        set={(steps) => set({ steps })}
      />
      <Entry
        at="/spec/sampling/rate"
        label="Sampling rate"
        about={
          drawn === null
            ? `The chance of each ${unit} to be in a step, such as 0.01`
            : `About ${drawn} of ${facts.nominal} ${unit}s a step, by the public nominal size`
        }
        isRequired
        value={form.rate}
        set={(rate) => set({ rate })}
      />
      {facts.unit.kind !== "record" && (
        <>
          <Entry
            at="/spec/user/rows_most"
            label="Rows kept of each user"
            placeholder={String(facts.unit.max_rows_per_user ?? "")}
            value={form.rows_most}
            set={(rows_most) => set({ rows_most })}
          />
          <Choice
            at="/spec/user/each_step"
            label="Of these, in a step"
            none="As the model takes them"
            value={form.each_step}
            set={(each_step) => set({ each_step })}
            options={optionsFrom({ all: "all", one: "one, chosen afresh" })}
          />
        </>
      )}
    </Section>
  )
}

const clipModes = {
  flat: "all layers together",
  per_layer: "each layer by itself",
  stream: "all together, in little memory",
}
const clipWays = {
  norm: "a norm that I give",
  profile: "a norm chosen by a charged look at the gradients",
  adaptive: "a norm that follows a quantile from step to step",
}

export function Clip({ form, set }: Part) {
  return (
    <Section title="Clipping">
      <Choice
        at="/spec/clip/mode"
        label="Clipped"
        value={form.clip_mode}
        set={(clip_mode) => set({ clip_mode })}
        options={optionsFrom(clipModes)}
      />
      <Choice
        at="/clip_by"
        label="To"
        value={form.clip_by}
        set={(by) => set({ clip_by: by as TrainForm["clip_by"] })}
        options={optionsFrom(clipWays)}
      />
      {form.clip_by !== "profile" && (
        <Entry
          at="/spec/clip/norm_l2"
          label={form.clip_by === "norm" ? "Norm C" : "First norm C"}
          isRequired
          value={form.norm_l2}
          set={(norm_l2) => set({ norm_l2 })}
        />
      )}
      {form.clip_by !== "norm" && (
        <Entry
          at={`/spec/clip/${form.clip_by}/quantile`}
          label="Quantile of the norms"
          placeholder="0.5"
          value={form.clip_quantile}
          set={(clip_quantile) => set({ clip_quantile })}
        />
      )}
      {form.clip_by === "profile" && (
        <Entry
          at="/spec/clip/profile/epsilon"
          label="ε of the look, at δ 0"
          placeholder="0.1"
          value={form.clip_epsilon}
          set={(clip_epsilon) => set({ clip_epsilon })}
        />
      )}
      {form.clip_by === "adaptive" && (
        <>
          <Entry
            at="/spec/clip/adaptive/learning_rate"
            label="How fast it follows"
            placeholder="0.2"
            value={form.clip_learning_rate}
            set={(clip_learning_rate) => set({ clip_learning_rate })}
          />
          <Entry
            at="/spec/clip/adaptive/count_noise"
            label="Noise of its counts"
            placeholder="10"
            value={form.clip_count_noise}
            set={(clip_count_noise) => set({ clip_count_noise })}
          />
        </>
      )}
    </Section>
  )
}

const noiseWays = { target: "calibrated from ε", multiplier: "a multiplier that I give" }
const starts = { empty: "the run by itself", now: "the budget, with the run in it" }

export function Noise({ form, set, facts }: Part) {
  const unit = unitWord(facts)
  return (
    <Section title="Noise">
      <Choice
        at="/noise_by"
        label="Noise"
        value={form.noise_by}
        set={(by) => set({ noise_by: by as TrainForm["noise_by"] })}
        options={optionsFrom(noiseWays)}
      />
      {form.noise_by === "multiplier" ? (
        <Entry
          at="/spec/noise/noise_multiplier"
          label="Noise multiplier"
          about="Standard deviation of the noise over C"
          isRequired
          value={form.multiplier}
          set={(multiplier) => set({ multiplier })}
        />
      ) : (
        <>
          <Choice
            at="/spec/noise/target/from"
            label="A target for"
            value={form.from}
            set={(from) => set({ from })}
            options={optionsFrom(starts)}
          />
          <Entry
            at="/spec/noise/target/epsilon"
            label={`Target ε per ${unit}`}
            isRequired
            value={form.epsilon}
            set={(epsilon) => set({ epsilon })}
          />
          <Entry
            at="/spec/noise/target/delta"
            label="at δ"
            isRequired
            placeholder="1e-6"
            value={form.delta}
            set={(delta) => set({ delta })}
          />
        </>
      )}
    </Section>
  )
}
